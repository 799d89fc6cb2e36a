/* What is said of a computation of signals. Pure: runs in a browser and in Node. */
import { count, duration } from './format.js';

/** @typedef {import('../generated/types').SignalsJob} SignalsJob */

export const PHASES = { starting: 'Loading the model', score: 'Rollouts' };

/** What is said of the computation of signals; '' where there is nothing new to say.
 * @param {SignalsJob} now @param {SignalsJob['job']['state'] | undefined} was its state before */
export function jobText({ job: { state, run, message }, reference, sample }, was) {
  const begun = reference ? `Scoring ${run} with ${reference}` : `Computing signals of ${run}`;
  if (state === 'running') return `${begun} …`;
  if (was !== 'running') return '';
  if (state === 'cancelled') return `${begun} was cancelled. What was computed is kept.`;
  if (state === 'failed') return `${begun} failed: ${message}`;
  return sample ? sampleText(run, reference, sample) : `The signals of ${run} were computed and stored in its folder.`;
}

/** @param {string} run @param {string} reference @param {NonNullable<SignalsJob['sample']>} sample */
function sampleText(run, reference, { groups, groups_left: left, seconds, seconds_left: rest }) {
  const all = groups + left;
  if (!left) return `The signals of ${run} were computed and stored in its folder.`;
  const pace = rest === null ? '' : `; the rest takes about ${duration(rest)}`;
  return `${count(groups)} of ${count(all)} groups of ${run} that had no scores of ${reference} were scored in ${duration(seconds)}${pace}.`;
}
