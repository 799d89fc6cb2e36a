/* The progress of new rollouts; the page that started them opens the new run. */
import { alertLine } from '../web/lib/components/alert.js';
import { progressView } from '../web/lib/components/progress.js';
import { el, linkButton } from '../web/lib/dom.js';
import { go } from '../web/lib/navigation.js';

/** @typedef {{ job: import('../web/generated/types').JobStatus, started: boolean, error: string }} Progress `started`: by this page */

const JOB_KEY = 'actfocus.job';
const PHASES = { starting: 'Loading the policy', rollout: 'Sampling rollouts', score: 'Scoring with the reference' };

/**
 * @param {HTMLElement} element
 * @param {{ value: string }} props `Progress` as JSON, or empty
 * @param {(name: string, then: () => void) => void} watch
 */
export function mount(element, props, watch) {
  const alert = alertLine({ cls: 'af-error' });
  const progress = progressView({ phases: PHASES, label: 'progress of the rollout' });
  const ended = el('p', 'af-job-line', { hidden: true });
  element.replaceChildren(alert.node, progress.node, ended);
  watch('value', update);
  update();

  function update() {
    if (props.value) show(JSON.parse(props.value));
  }

  /** @param {Progress} now */
  function show({ job, started, error }) {
    const { id, state, message, run } = job;
    const open = () => go({ run });
    if (started) window.sessionStorage.setItem(JOB_KEY, id);
    document.body.classList.toggle('af-rolling', state === 'running');
    alert.say(error || (state === 'failed' ? `The rollout failed: ${message}` : ''));
    progress.show(job);
    ended.hidden = state !== 'done' && state !== 'cancelled';
    ended.replaceChildren(...(state === 'done' ? ['Done: ', linkButton(`open ${run}`, open)] : [`Rollout ${message}.`]));
    if (state !== 'done' || window.sessionStorage.getItem(JOB_KEY) !== id) return;
    window.sessionStorage.removeItem(JOB_KEY);
    open();
  }
}
