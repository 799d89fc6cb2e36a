/* The common scale of a tree of outcomes. Pure: runs in a browser and in Node. */

/** @typedef {import('../../web/generated/types').BranchResult} BranchResult */
/** @typedef {import('../../web/generated/types').BranchNode} BranchNode */
/** @typedef {import('../../web/generated/types').MeanInterval} MeanInterval */

const MARGIN = 0.03;

/** @param {MeanInterval} estimate */
const ends = ({ mean, low, high }) => [low ?? mean, mean, high ?? mean];

/** @param {BranchNode} node @returns {number[]} */
const values = ({ to_go, optimal, children }) => [...ends(to_go), optimal?.turn ?? to_go.mean, ...children.flatMap(values)];

/** From the lowest to the highest value that is drawn, with a margin.
 * @param {BranchResult} result @returns {[low: number, high: number]} */
export function scaleOf({ tree, to_go, original, optimal }) {
  const all = [original.to_go, ...ends(to_go), optimal?.value ?? to_go.mean, ...tree.flatMap(values)];
  const low = Math.min(...all);
  const high = Math.max(...all);
  const margin = high - low < 1e-6 ? 0.5 : MARGIN * (high - low);
  return [low - margin, high + margin];
}
