/* The rollouts of one group: their weights, and what distinguishes one. Pure: runs in a browser and in Node. */
import { number, outcome } from '../../web/lib/format.js';
import { KIND, tokenWeight } from '../../web/trace/weights.js';

/** @typedef {import('../../web/lib/store.js').Settings} Settings */
/** @typedef {import('../../web/lib/columns.js').Unpacked<import('../../web/generated/types').Ribbon>} Rollout */

const ODD = 1.5; // times the median length, or its inverse: labelled as long or short

/** The weights of a rollout's response tokens; NaN where the signal is missing. @param {Rollout} r @param {Settings} settings */
export function weights({ kinds, signals, stats }, { signal, scope, alpha, beta }) {
  const values = signals[signal];
  const moments = values && stats[signal] ? stats[signal][scope] : null;
  let k = 0;
  return kinds.map((kind) => tokenWeight(kind, kind === KIND.ACTION && values ? values[k++] : NaN, moments, alpha, beta));
}

/** What distinguishes each rollout from the others of its group.
 * @param {Pick<Rollout, 'success' | 'kinds' | 'malformed' | 'truncated'>[]} rollouts */
export function oddities(rollouts) {
  const compared = rollouts.length > 2;
  /** @param {boolean | null} success */
  const ended = (success) => rollouts.filter((r) => r.success === success).length;
  const judged = compared && !ended(null);
  const lengths = rollouts.map((r) => r.kinds.length).sort((a, b) => a - b);
  const middle = lengths[Math.floor(lengths.length / 2)];
  return rollouts.map(({ success, kinds, malformed, truncated }) => [
    judged && ended(success) === 1 && `the only ${outcome(success)}`,
    compared && kinds.length > ODD * middle && 'longer than most',
    compared && kinds.length < middle / ODD && 'shorter than most',
    malformed && `${malformed} malformed or illegal`,
    truncated && 'truncated',
  ].filter(Boolean).join(', '));
}

/** A rollout in words, as screen readers tell it. @param {Rollout} r @param {string} odd */
export function spoken(r, odd) {
  /** @param {number} kind */
  const tokens = (kind) => r.kinds.filter((k) => k === kind).length;
  return `Rollout ${r.rollout}: ${outcome(r.success)}, return ${number(r.return, 2)}, ${r.actions.length} turns, `
    + `${tokens(KIND.ACTION)} action and ${tokens(KIND.REASONING)} reasoning tokens${r.malformed ? `, ${r.malformed} turns malformed or illegal` : ''}`
    + `${odd && `, ${odd}`}. Open it in Trace.`;
}
