/* The Train page: start experiments, follow them and inspect their evaluations. */
import * as frame from '../../shell/top_bar.js';
import { requestQueue } from '../../web/lib/api.js';
import { alertLine } from '../../web/lib/components/alert.js';
import { downloadLink, el, quiet, reveal, write } from '../../web/lib/dom.js';
import { counted } from '../../web/lib/format.js';
import { openInTrace } from '../../web/lib/navigation.js';
import { store } from '../../web/lib/store.js';
import { createCharts } from './charts.js';
import { evaluationNodes } from './evaluations.js';
import { trainingForm } from './form.js';
import { progressOfRuns } from './progress.js';
import { promptOverTime } from './scrubber.js';
import { metricLines } from './series.js';
import { about, comparisonText, isGoing, standing } from './words.js';

/** @typedef {import('../../web/generated/types').Experiment} Experiment */
/** @typedef {import('../../web/generated/types').ExperimentSummary} ExperimentSummary */
/** @typedef {import('../../web/generated/types').TrainedRun} TrainedRun */
/**
 * @typedef {object} Menu
 * @property {string[]} environments
 * @property {string[]} algorithms
 * @property {string[]} times
 * @property {[name: string, title: string][]} schemes
 * @property {number} seeds at most
 * @property {Record<string, string>} metrics name -> description
 * @property {import('../../web/lib/plots.js').Figure} figure
 */

const TICK_MS = 250;
const POLL_MS = 1000;
const IDLE_MS = 5000;
const LIST_MS = 10000;
const PATIENCE_MS = 20000;

/** @param {HTMLElement} element @param {{ menu: Menu }} config */
export function mount(element, { menu }) {
  const { place } = store;
  /** @type {Record<string, string>} */
  const titles = Object.fromEntries(menu.schemes);
  /** @param {string} scheme */
  const title = (scheme) => titles[scheme] ?? scheme;
  /** @param {TrainedRun} run */
  const headingOf = (run) => `${title(run.scheme)}, seed ${run.seed}`;

  const alert = alertLine();
  const { ask } = requestQueue(alert.say);
  const form = trainingForm(menu, ask, started);
  const list = el('ul', 'af-race-list');
  const head = el('header', 'af-race-head');
  const claim = el('p', 'af-race-claim', { 'aria-live': 'polite' });
  const charts = createCharts({ title, menu });
  const runs = el('div', 'af-race-runs');
  const after = el('section', 'af-race-after');
  const details = el('section', 'af-race-details');
  const shown = el('div', 'af-race', { hidden: true }, head, claim, charts.node, runs, after, details);
  const nothing = el('div', 'af-empty',
    'Choose what to train on the left and press Start. Training runs in a separate process, so you can close this page.');
  /** @type {Experiment | null} */
  let experiment = null;
  /** Run -> its metrics so far. @type {Map<string, ReturnType<typeof metricLines>>} */
  let lines = new Map();
  /** @type {Record<string, number>} */
  let cursors = {};
  /** @type {ReturnType<typeof progressOfRuns> | null} */
  let progress = null;
  /** @type {ExperimentSummary[]} */
  let listed = [];
  let awake = false;
  /** When the list and the experiment were last asked for, and whether the latter was not answered yet. */
  const asked = { list: 0, look: 0, waiting: false };

  element.classList.add('af-train');
  element.replaceChildren(alert.node, el('div', 'af-train-columns',
    el('aside', 'af-train-side', form.node, el('h3', '', 'Experiments'), list), el('div', 'af-train-main', nothing, shown)));
  store.onTab(wake);
  frame.onTheme(redraw);
  window.setInterval(tick, TICK_MS);

  // --- which experiment is shown -----------------------------------------------------------------------

  /** The page asks for nothing before it is seen. */
  function wake() {
    if (awake || place.tab !== 'train') return;
    awake = true;
    form.load();
    askList(() => show(place.race || listed[0]?.id));
  }

  function tick() {
    if (place.tab !== 'train' || document.hidden) return;
    wake();
    const now = performance.now();
    if (!experiment || (asked.waiting && now - asked.look < PATIENCE_MS)) return;
    if (now - asked.list > LIST_MS) askList();
    if (now - asked.look > (isGoing(experiment.runs.map((run) => run.state)) ? POLL_MS : IDLE_MS)) look();
  }

  /** @param {string} id */
  function started(id) {
    show(id);
    askList();
  }

  /** Ask for the list of experiments. @param {() => void} [then] */
  function askList(then = () => {}) {
    asked.list = performance.now();
    ask('train/list', {}, ({ experiments }) => {
      if (JSON.stringify(experiments) !== JSON.stringify(listed)) list.replaceChildren(...experiments.map((one) => el('li', '', row(one))));
      listed = experiments;
      mark();
      then();
    });
  }

  /** @param {ExperimentSummary} one */
  const row = (one) => el('button', 'af-row', { type: 'button', onclick: () => show(one.id) },
    el('span', 'af-row-text', el('b', '', one.id), el('span', 'af-row-what', `${about(one)}, ${counted(one.states.length, 'run')}`)),
    el('span', 'af-gain', standing(one.states)));

  /** Mark the experiment that is shown. */
  function mark() {
    list.querySelectorAll('.af-row').forEach((node, k) => node.classList.toggle('on', listed[k].id === place.race));
  }

  /** @param {string | undefined} id */
  function show(id) {
    if (!id) return;
    if (id !== experiment?.id) {
      experiment = null;
      lines = new Map();
      cursors = {};
      after.replaceChildren();
      details.replaceChildren();
    }
    store.put({ race: id });
    mark();
    look();
  }

  function look() {
    Object.assign(asked, { look: performance.now(), waiting: true });
    ask('train/look', { id: place.race, cursors }, (answer) => {
      asked.waiting = false;
      if (answer.id !== place.race) return;
      experiment = answer;
      for (const run of answer.runs) take(run);
      if (answer.runs.some((run) => run.more)) look();
      else draw(answer);
    });
  }

  /** @param {TrainedRun} run */
  function take({ name, metrics, cursor }) {
    const known = lines.get(name) ?? metricLines();
    known.append(metrics);
    lines.set(name, known);
    cursors[name] = cursor;
  }

  // --- the experiment ----------------------------------------------------------------------------------

  /** @param {Experiment} now */
  function draw(now) {
    nothing.hidden = true;
    shown.hidden = false;
    if (progress?.id !== now.id) {
      progress = progressOfRuns(now, title, {
        onControl: (what) => ask('train/control', { id: now.id, what }, look),
        onRollouts: (run) => openInTrace({ run: run.name, step: run.step }),
        onEvaluations: (run) => showEvaluations(now.id, run),
        onDetails: (run) => showDetails(now.id, run),
      });
      head.replaceChildren(...progress.head);
      runs.replaceChildren(progress.runs);
    }
    progress.update(now, lines);
    write(claim, comparisonText(now, title));
    redraw();
  }

  function redraw() {
    if (experiment) charts.update({ experiment, lines });
  }

  /** Evaluation prompts at every evaluated step, and one of them over time. @param {string} id @param {TrainedRun} run */
  function showEvaluations(id, run) {
    const over = el('div', '');
    ask('train/evaluation', { id, name: run.name }, ({ evaluation: found }) => {
      if (!found?.steps.length) {
        after.replaceChildren(quiet('No evaluation has been stored yet.'));
        return;
      }
      /** @param {number} step @param {string} trajectory */
      const openAt = (step, trajectory) => openInTrace({ run: found.run, step, trajectory });
      /** @param {number} seed */
      function onPrompt(seed) {
        over.replaceChildren(quiet('Scoring rollouts …'));
        ask('train/prompt', { id, name: run.name, seed }, (prompt) => {
          over.replaceChildren(promptOverTime(prompt, headingOf(run), openAt));
          reveal(over);
        });
      }
      after.replaceChildren(...evaluationNodes(found, headingOf(run), { onCell: openAt, onPrompt }), over);
      reveal(after);
    });
  }

  /** The log and config of a run, and how to repeat it. @param {string} id @param {TrainedRun} run */
  function showDetails(id, run) {
    ask('train/details', { id, name: run.name }, ({ log, config, command, python }) => {
      /** @param {string} heading @param {string} text @param {...(Node | '')} more */
      const part = (heading, text, ...more) => [el('h4', '', heading), el('pre', 'af-log', { tabIndex: 0 }, text), ...more];
      details.replaceChildren(el('h3', '', headingOf(run)), ...part('Command', command), ...part('Python', python),
        ...part('Config', config || 'Not written yet.', config && downloadLink(config, `${run.name}.config.json`)),
        ...part('Log', log || 'Empty.', downloadLink(log, `${run.name}.log.txt`)));
      reveal(details);
    });
  }
}
