/* The computation of signals that all pages share: started by any of them, followed once, shown by all. */
import { post } from './api.js';

/** @typedef {import('../generated/types').SignalsJob} SignalsJob */
/** @typedef {(now: SignalsJob, was: SignalsJob | null) => void} Listener */

const POLL_MS = 700;

/** @type {Listener[]} */
const listeners = [];
/** @type {SignalsJob | null} */
let last = null;
let timer = 0;

/** `listener` is called with every new state of the job, and at once if one is known. @param {Listener} listener */
export function onSignals(listener) {
  listeners.push(listener);
  if (last) listener(last, null);
}

/** Take a state of the job: tell the listeners, and look again while it runs. @param {SignalsJob} now */
export function follow(now) {
  const was = last;
  last = now;
  for (const listener of listeners) listener(now, was);
  clearTimeout(timer);
  if (now.job.state === 'running') timer = window.setTimeout(look, POLL_MS);
}

/** Ask for the state of the job. A server that is away for a moment is asked again. */
export async function look() {
  const now = await post('scoring/look', {}).catch(() => null);
  if (now) follow(now);
  else if (last?.job.state === 'running') timer = window.setTimeout(look, POLL_MS);
}

export const cancel = () => post('scoring/cancel', {}).then(follow);

/** Whether a job has just ended well. @param {SignalsJob} now @param {SignalsJob | null} was */
export const hasEnded = (now, was) => now.job.state === 'done' && was?.job.state === 'running' && was.job.id === now.job.id;
