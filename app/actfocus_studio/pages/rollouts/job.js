/* A job of the server, followed until it has ended. */
import { lineOf, post } from '../../web/lib/api.js';
import { progressView } from '../../web/lib/components/progress.js';

/** @typedef {import('../../web/generated/types').JobStatus} JobStatus */
/** @typedef {'rollouts/job' | 'rollouts/cancel'} Look */

const POLL_MS = 400;

/**
 * @param {object} how
 * @param {Look} how.look
 * @param {Look} how.cancel
 * @param {string} how.label
 * @param {Record<string, string>} how.phases
 * @param {(job: JobStatus) => void} how.onEnd it was running before, and is not now
 * @param {(line: string) => void} how.onError
 */
export function jobLine({ look, cancel, label, phases, onEnd, onError }) {
  const { node, show } = progressView({ phases, label, onCancel: () => follow(post(cancel, {})) });
  let poll = 0;
  let isRunning = false;

  /** Show the status that a request answers with, and those that follow. @param {Promise<JobStatus>} answer */
  async function follow(answer) {
    clearTimeout(poll);
    let job;
    try {
      job = await answer;
    } catch (error) {
      isRunning = false;
      onError(lineOf(error));
      return;
    }
    show(job);
    const was = isRunning;
    isRunning = job.state === 'running';
    if (isRunning) poll = window.setTimeout(() => follow(post(look, {})), POLL_MS);
    else if (was) onEnd(job);
  }

  /** Follow a job that this request starts. It counts as running: it may be done before it is looked at.
   * @param {Promise<JobStatus>} answer */
  function begin(answer) {
    isRunning = true;
    return follow(answer);
  }

  return { node, begin, look: () => follow(post(look, {})), isRunning: () => isRunning };
}
