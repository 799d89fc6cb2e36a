/* The progress of a job, with a button to cancel it. Updates reuse the same elements, so neither a click nor the keyboard
   focus is lost. */
import { el, textButton, write } from '../dom.js';
import { duration } from '../format.js';

/** @typedef {import('../../generated/types').JobStatus} JobStatus */

/**
 * @param {{ phases: Record<string, string>, label?: string, onCancel?: () => void }} how `phases`: name -> what is said of it
 */
export function progressView({ phases, label = 'progress', onCancel }) {
  const text = el('p', '');
  const bar = el('progress', 'af-progress', { 'aria-label': label });
  const node = el('div', 'af-job-line', { hidden: true }, text, bar, onCancel && textButton('Cancel', onCancel, 'af-link'));

  /** Show the status of a job; hidden unless it runs. @param {JobStatus} job */
  function show(job) {
    node.hidden = job.state !== 'running';
    if (node.hidden) return;
    write(text, `${phases[job.phase] || job.phase}${advance(job)}`);
    bar.max = job.total || 1;
    if (job.total) bar.value = job.done;
    else bar.removeAttribute('value');
  }

  return { node, show };
}

/** How far a job is, and how long it may take. @param {JobStatus} job */
export function advance({ done, total, seconds_left: left }) {
  const rest = left === null ? '' : `, about ${duration(left)} left`;
  return total ? ` ${done} of ${total}${rest}` : ' …';
}
