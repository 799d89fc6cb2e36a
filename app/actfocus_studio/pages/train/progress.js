/* The progress of an experiment and of its runs. Elements are updated in place, so that clicks and keyboard focus survive. */
import { table } from '../../web/lib/components/table.js';
import { el, linkButton, textButton, write } from '../../web/lib/dom.js';
import { number } from '../../web/lib/format.js';
import { SUCCESS, about, evaluationText, progressOf, stateText } from './words.js';

/** @typedef {import('../../web/generated/types').Experiment} Experiment */
/** @typedef {import('../../web/generated/types').TrainedRun} TrainedRun */
/** @typedef {import('./series.js').MetricLines} MetricLines */
/** @typedef {'pause' | 'go' | 'stop'} Control */
/** @typedef {Record<'onRollouts' | 'onEvaluations' | 'onDetails', (run: TrainedRun) => void>} RunLinks */

const HEADS = ['run', 'state', 'steps', 'initial success rate', 'latest success rate', 'latest return', ''];
/** @type {[what: Control, text: string][]} */
const CONTROLS = [['pause', 'Pause'], ['go', 'Resume'], ['stop', 'Stop']];
const LOG_LINES = 8;

/**
 * @param {Experiment} experiment
 * @param {import('./words.js').TitleOf} title
 * @param {RunLinks & { onControl: (what: Control) => void }} how
 */
export function progressOfRuns(experiment, title, how) {
  const bar = el('progress', 'af-progress', { max: experiment.steps * experiment.runs.length, 'aria-label': 'Progress of the experiment' });
  const told = el('span', 'af-quiet');
  const controls = CONTROLS.map(([what, text]) => ({ what, node: textButton(text, () => how.onControl(what)) }));
  const rows = experiment.runs.map((run) => runRow(run, title, how));
  const head = [el('b', '', experiment.id), el('span', 'af-quiet', about(experiment)), bar, told,
    el('span', 'af-play-tools', ...controls.map(({ node }) => node))];
  const runs = table('Runs', HEADS, rows.map((row) => row.cells), { cls: 'af-runs', text: [0, 1, 6], rowHeads: true });

  /** @param {Experiment} now @param {Map<string, MetricLines>} lines */
  function update(now, lines) {
    const { done, text, can } = progressOf(now);
    bar.value = done;
    write(told, text);
    for (const { what, node } of controls) node.disabled = !can[what];
    now.runs.forEach((run, k) => rows[k].update(run, now.steps, lines.get(run.name)));
  }

  return { id: experiment.id, head, runs, update };
}

/** @param {TrainedRun} run @param {import('./words.js').TitleOf} title @param {RunLinks} how */
function runRow(run, title, { onRollouts, onEvaluations, onDetails }) {
  const state = el('div', '');
  const [step, first, latest, gained] = Array.from({ length: 4 }, () => el('span', ''));
  const rollouts = linkButton('rollouts', () => onRollouts(run));
  const evaluations = linkButton('evaluations', () => onEvaluations(run));
  const links = el('span', 'af-race-links', rollouts, evaluations, linkButton('log and commands', () => onDetails(run)));
  let shown = '';

  /** @param {TrainedRun} now @param {number} steps @param {MetricLines} [metrics] */
  function update(now, steps, metrics) {
    run = now;
    showState();
    const evaluated = metrics?.of(SUCCESS).y.length ?? 0;
    write(step, `${run.step} of ${steps}`);
    write(first, metrics && evaluated ? evaluationText(metrics, 0) : '–');
    write(latest, metrics && evaluated > 1 ? evaluationText(metrics, evaluated - 1) : '–');
    const value = metrics?.of('reward/return').y.at(-1);
    write(gained, value === undefined ? '–' : number(value, 2));
    rollouts.disabled = run.step < 1;
    evaluations.disabled = !evaluated;
  }

  /** A log keeps its scroll position while nothing changes. */
  function showState() {
    const { phase, message, log } = run;
    const text = stateText(run);
    const now = JSON.stringify([text, phase, message, log]);
    if (now === shown) return;
    shown = now;
    state.replaceChildren(el('div', '', text, phase && run.state === 'running' && el('span', 'af-quiet', ` ${phase}`),
      message && el('span', 'af-flag', message), log && el('pre', 'af-log', { tabIndex: 0 }, log.split('\n').slice(-LOG_LINES).join('\n'))));
  }

  return { cells: [`${title(run.scheme)}, seed ${run.seed}`, state, step, first, latest, gained, links], update };
}
