/* The work on a question: it is followed until the answer is there, in two parts where the first is quick. */
import { progressView } from '../../web/lib/components/progress.js';
import { el, write } from '../../web/lib/dom.js';

/** @typedef {import('../../web/generated/types').WhatIfStatus} Status */

const POLL_MS = 150;
const PHASES = {
  starting: 'Loading the policy', replay: 'Computing the update', rollout: 'Sampling rollouts', score: 'Scoring',
  rebuild: 'Recomputing earlier steps', rest: 'Remaining groups',
};

/**
 * @param {ReturnType<typeof import('../../web/lib/api.js').requestQueue>} queue
 * @param {object} on
 * @param {() => boolean} on.isOpen the panel is open, so the work is worth following
 * @param {(status: { running: boolean, waiting: boolean }) => void} on.status `waiting`: nothing of our own answer is there yet
 * @param {(id: string) => void} on.first the answer, or its first part, is there
 * @param {(id: string) => void} on.whole the rest of it is there as well
 * @param {() => void} on.done
 * @param {(line: string) => void} on.failed
 */
export function createWork(queue, on) {
  const look = () => queue.ask('whatif/look', {}, took);
  const view = progressView({ phases: PHASES, onCancel: () => queue.ask('whatif/cancel', {}, took) });
  const told = el('p', 'af-quiet');
  const node = el('div', 'af-whatif-work', { 'aria-live': 'polite' }, view.node, told);
  let timer = 0;
  let running = false;
  let own = ''; // id of the job that this page started, while it runs
  let first = 0; // seconds until the first part
  let all = 0; // and until the whole

  /** @param {Status} job */
  function took(job) {
    clearTimeout(timer);
    running = job.state === 'running';
    if (running && on.isOpen()) timer = window.setTimeout(look, POLL_MS);
    const ours = own !== '' && own === job.id;
    if (!running) own = '';
    on.status({ running, waiting: running && !(ours && job.first) });
    if (ours) follow(job);
    view.show(job.first ? { ...job, phase: 'rest', total: 0, seconds_left: null } : job);
    write(told, running ? '' : job.state === 'cancelled' ? `${job.message}.` : seconds());
  }

  /** @param {Status} job */
  function follow(job) {
    if (job.state === 'running' && job.first && !first) {
      first = job.first_seconds;
      on.first(job.first);
    }
    if (job.state === 'failed') on.failed(job.message);
    if (job.state !== 'done') return;
    all = job.seconds;
    if (first) on.whole(job.answer);
    else on.first(job.answer);
    on.done();
  }

  function seconds() {
    if (!all) return '';
    return `${first ? `This group after ${first.toFixed(1)} s, all after` : 'Answered in'} ${all.toFixed(1)} s.`;
  }

  /** A job of this page was started. @param {Status} job */
  function started(job) {
    first = all = 0;
    own = job.id;
    took(job);
  }

  return { node, look, started, isOurs: () => own !== '' };
}
