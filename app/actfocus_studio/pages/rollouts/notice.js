/* What keeps some columns unknown, and the way to get them: computing them, or scoring the run first. */
import * as scoring from '../../panels/scoring/panel.js';
import { post } from '../../web/lib/api.js';
import { el, textButton } from '../../web/lib/dom.js';
import { store } from '../../web/lib/store.js';
import { jobLine } from './job.js';

/** @typedef {import('../../web/generated/types').ListAbout} About */
/** @typedef {import('../../web/generated/types').ListStart['what']} What */

const PHASES = {
  starting: 'Starting', values: 'Computing the columns: rollouts', text: 'Indexing the texts: rollouts', tokens: 'Reading the tokens: rollouts',
};

/**
 * @param {object} how
 * @param {boolean} how.canCompute false in a studio that computes nothing
 * @param {() => void} how.onDone something was computed, or given up
 * @param {(line: string) => void} how.onError
 */
export function notice({ canCompute, onDone, onError }) {
  /** What was cancelled or failed is not started again by itself. @type {Set<string>} */
  const given = new Set();
  let doing = '';
  const line = el('span', '');
  const node = el('div', 'af-list-notice', { hidden: true }, line);
  const computing = jobLine({
    look: 'rollouts/job', cancel: 'rollouts/cancel', label: 'progress of the list', phases: PHASES, onError: failed,
    onEnd: (job) => {
      if (job.state !== 'done') failed(job.state === 'failed' ? job.message : '');
      onDone();
    },
  });
  /** @param {string} text */
  function failed(text) {
    given.add(doing);
    node.hidden = !line.childElementCount;
    onError(text);
  }

  /** Compute what a table needs; by itself only once. While something is computed nothing is begun: afterwards all is asked for again.
   * @param {What} what @param {string} key of what is asked for @param {boolean} [again] */
  function compute(what, key, again = false) {
    if (!canCompute || computing.isRunning() || (given.has(key) && !again)) return;
    given.delete(key);
    doing = key;
    if (what === 'values') node.hidden = true;
    computing.begin(post('rollouts/start', { view: store.view(), what }));
  }

  /** Say what is unknown. @param {About} about @param {string} key of the columns */
  function show(about, key) {
    const parts = [];
    if (!about.references.length) {
      parts.push(el('span', '', 'No reference model has scored this run, so energies are unknown, and so is what depends on them. '));
      if (scoring.isOffered()) parts.push(textButton('Score …', () => scoring.openScoring()));
    }
    if (!about.computed) {
      const names = about.columns.filter(({ source }) => source === 'computed').map(({ title }) => title);
      parts.push(el('span', '', `Not computed yet under this setting: ${names.join(', ')}. `));
      if (canCompute) parts.push(textButton('Compute them', () => compute('values', key, true)));
    }
    parts.push(...about.notes.map((note) => el('span', '', `${note}. `)));
    node.hidden = !parts.length;
    line.replaceChildren(...parts);
  }

  return { nodes: [node, computing.node], show, compute, look: computing.look };
}
