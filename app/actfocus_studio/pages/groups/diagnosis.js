/* The groups of a step or run, as the server diagnosed them. Pure: runs in a browser and in Node. */
import { known, number, percent } from '../../web/lib/format.js';

/** @typedef {import('../../web/lib/store.js').View['measure']} Measure */
/** @typedef {'all' | 'reasoning' | 'action'} Part of the tokens of a group */
/** @typedef {import('../../web/lib/columns.js').Unpacked<import('../../web/generated/types').GroupsDiagnosis>} Diagnosis */
/** @typedef {ReturnType<typeof returnBins>[number]} Bin */
/** @typedef {{ groups: Set<number>, text: string, bin?: number }} Selection the groups chosen, and by what */

/** @type {readonly (readonly [part: Part, title: string])[]} */
export const PARTS = [['all', 'All response tokens'], ['reasoning', 'Reasoning tokens'], ['action', 'Action tokens']];
/** @type {Record<string, string>} by `Measure` */
export const MEASURES = {
  energy: 'energy', centred_energy: 'centred energy (not in the paper)', entropy: 'entropy of the reference',
  policy_entropy: 'entropy of the policy (not in the paper)',
};
/** What is said of a group whose returns are all equal. */
export const FLAT = { text: 'no spread: advantages are 0', title: 'all returns are equal: the advantage is 0, so there is no gradient' };
const DISTINCT = 12; // up to so many distinct returns get a bar each
const BINS = 12;

/** The mean signal of every group over a part of its tokens; undefined where it is not recorded.
 * @param {Diagnosis} data @param {Measure} measure @param {Part} part @returns {number[] | undefined} */
export const column = ({ groups }, measure, part) => groups.means[`${measure}_${part}`];

/** The success rate of a group over the rollouts of which it is known, and how many are not. @param {Diagnosis} data @param {number} i */
export const rate = ({ groups: { success, unknown_success: unknown } }, i) =>
  (known(success[i]) ? `${percent(success[i])}${unknown[i] ? ` (${unknown[i]} unknown)` : ''}` : 'unknown');

/** A bin per distinct return if they are few, else equal bins. @param {Pick<Diagnosis, 'rollouts'>} data */
export function returnBins({ rollouts: { return: returns, group } }) {
  const rounded = returns.map((r) => +r.toFixed(6));
  const values = [...new Set(rounded)].sort((a, b) => a - b);
  const low = values[0];
  const width = (values[values.length - 1] - low) / BINS;
  const few = values.length <= DISTINCT;
  const bins = Array.from({ length: few ? values.length : BINS }, (_, k) => {
    const [from, to] = few ? [values[k], values[k]] : [low + k * width, low + (k + 1) * width];
    const text = few ? number(from, 2) : `${number(from, 2)} to ${number(to, 2)}`;
    return { from, to, text, rollouts: 0, groups: /** @type {Set<number>} */ (new Set()) };
  });
  rounded.forEach((r, i) => {
    const bin = bins[few ? values.indexOf(r) : Math.min(BINS - 1, Math.floor((r - low) / width))];
    bin.rollouts += 1;
    bin.groups.add(group[i]);
  });
  return bins;
}

/** The groups by their place in σ and success rate: with 0/1 returns many coincide.
 * @param {{ groups: Pick<Diagnosis['groups'], 'success' | 'sigma'> }} data */
export function places({ groups: { success, sigma } }) {
  /** @type {Record<string, number[]>} */
  const found = {};
  sigma.forEach((s, i) => {
    if (known(success[i])) (found[`${success[i].toFixed(6)} ${s.toFixed(6)}`] ??= []).push(i);
  });
  return Object.values(found);
}

/** If success determines the return, σ is (high − low) √(p(1 − p)): the curve, or null.
 * @param {{ groups: Pick<Diagnosis['groups'], 'success' | 'sigma'>, rollouts: Pick<Diagnosis['rollouts'], 'return'> }} data */
export function binaryCurve({ groups: { success, sigma }, rollouts }) {
  const [a, b, ...more] = new Set(rollouts.return);
  /** @param {number} p */
  const of = (p) => Math.abs(a - b) * Math.sqrt(p * (1 - p));
  if (more.length || !sigma.every((s, i) => Math.abs(s - of(success[i])) <= 1e-6)) return null;
  const x = Array.from({ length: 101 }, (_, i) => i / 100);
  return { x, y: x.map(of) };
}

/** A p value as tables show it. @param {number | null} p */
export const pvalue = (p) => (known(p) && p < 0.001 ? p.toExponential(0).replace('-', '−') : number(p));
