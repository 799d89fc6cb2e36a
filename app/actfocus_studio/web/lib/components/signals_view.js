/* The computation of signals as a page shows it: progress and time left, cancel, and after a sample how long the rest takes. */
import { el, textButton } from '../dom.js';
import { jobText, PHASES } from '../signals_text.js';
import { cancel, onSignals } from '../signals.js';
import { store } from '../store.js';
import { progressView } from './progress.js';

/** @param {(run: string, reference: string) => void} onRest score what a sample left */
export function signalsView(onRest) {
  const told = el('p', 'af-job-told');
  const rest = textButton('Score the rest', () => onRest(run, reference), 'af-button', { hidden: true });
  const progress = progressView({ phases: PHASES, label: 'progress of the signals', onCancel: cancel });
  const node = el('div', 'af-signals-job', { role: 'status', hidden: true }, told, rest, progress.node);
  let run = '';
  let reference = '';
  onSignals((now, was) => {
    const text = jobText(now, was?.job.state);
    ({ run } = now.job);
    ({ reference } = now);
    if (text) told.textContent = text;
    progress.show(now.job);
    rest.hidden = !now.sample?.groups_left;
    node.hidden = !told.textContent;
  });
  // What was said of a run goes when another one is opened.
  store.onPlace(() => {
    if (!progress.node.hidden || store.place.run === run) return;
    told.textContent = '';
    node.hidden = true;
  });
  return { node };
}
