/* The Tune page: maps over alpha and beta, the distribution of the signal, and export of the setting. */
import * as whatif from '../../panels/whatif/panel.js';
import * as frame from '../../shell/top_bar.js';
import { requestQueue } from '../../web/lib/api.js';
import { unpack } from '../../web/lib/columns.js';
import { pageBody } from '../../web/lib/components/page_body.js';
import { el, quiet } from '../../web/lib/dom.js';
import { count, known, percent } from '../../web/lib/format.js';
import * as plots from '../../web/lib/plots.js';
import { store } from '../../web/lib/store.js';
import { curveChart } from './curve.js';
import { exporter } from './exporter.js';
import { mapCharts } from './maps.js';
import { balance, statistics } from './sums.js';

/** @typedef {import('./sums.js').TuneBatch} TuneBatch */

const GAP_MS = 90; // least time between redraws while a slider moves
const EXPORT_MS = 400; // delay after the last change before the export is requested

/**
 * @param {HTMLElement} element
 * @param {object} config
 * @param {Record<'maps' | 'curve', plots.Figure>} config.figures
 * @param {number[]} config.quantiles
 * @param {[import('./exporter.js').Format, string][]} config.exports
 */
export function mount(element, { figures, quantiles, exports }) {
  const lead = el('p', 'af-lead af-sentence');
  const maps = mapCharts(figures.maps);
  const curve = curveChart(figures.curve, quantiles);
  const text = exporter(exports);
  const { alert, body, wait, seen } = pageBody(element, 'af-tune', wake,
    lead, el('div', 'af-charts two', ...maps.nodes), maps.table, curve.node, curve.table, replay(), text.node);
  const { ask } = requestQueue((line) => line && fail(line));
  /** @type {TuneBatch | null} */
  let batch = null;
  // What the batch and the texts were last asked for.
  let shown = '';
  let written = '';
  let due = 0;

  function wake() {
    const { run, reference, step, trajectory } = store.place;
    if (!seen() || !run) return;
    if (step === null) {
      wait('No run is open.');
      return;
    }
    const wanted = JSON.stringify([run, reference, step, trajectory]);
    if (wanted !== shown) {
      shown = wanted;
      ask('tune/batch', { view: store.view() }, (answer) => wanted === shown && show(unpack(answer)));
    }
    write();
    update();
  }

  function write() {
    const { alpha, beta, signal } = store.settings;
    const wanted = JSON.stringify([store.place.run, alpha, beta, signal]);
    if (wanted === written) return;
    written = wanted;
    ask('tune/export', { view: store.view() }, ({ texts }) => wanted === written && text.fill(texts));
  }

  /** @param {string} line */
  function fail(line) {
    shown = written = '';
    batch = null;
    alert.say(line);
    wait('No batch to tune on.');
  }

  /** @param {TuneBatch} answer */
  function show(answer) {
    batch = answer;
    alert.say('');
    wait();
    update();
  }

  function update() {
    if (!batch) return;
    lead.replaceChildren(...sentence(batch));
    maps.update(batch);
    curve.update(batch);
    text.update();
    draw();
  }

  function moved() {
    if (!seen() || !batch) return;
    update();
    clearTimeout(due);
    due = window.setTimeout(write, EXPORT_MS);
  }

  const draw = plots.drawing(body, () => {
    if (!batch) return;
    maps.draw(batch);
    curve.draw(batch);
  }, GAP_MS);

  store.on(moved);
  frame.onTheme(draw);
}

/** The link to the what-if panel. */
const replay = () => el('section', 'af-chart',
  el('div', 'af-open-head', el('h3', '', 'Replay one update'), whatif.opener('replay', 'Replay …', 'The what-if panel')),
  quiet('One update under each of two schemes, from the same checkpoint and rollouts: the change in log-prob of every token.'));

/** What the setting does, in words. @param {TuneBatch} batch */
function sentence(batch) {
  const { settings } = store;
  const { share, effective, tokens } = balance(batch, settings);
  const what = settings.adv ? 'weight × |advantage|' : 'weight';
  if (!tokens) return ['This batch has no response tokens.'];
  if (known(share)) {
    return [`${store.describe(settings)}: actions are `, el('b', '', percent(batch.kinds.action.n / tokens)),
      ' of the response tokens of the batch and get ', el('b', '', percent(share)), ` of the ${what}. Effective tokens: `,
      el('b', '', count(Math.round(effective))), ` of ${count(tokens)}.`];
  }
  if (statistics(batch, settings) || settings.beta === 0) return [`The total ${what} is 0 at this setting.`];
  return [`${store.signalTitle(settings.signal)}: unavailable, so only β = 0 can be mapped. Compute it with `, el('code', '', batch.score),
    ' or choose another signal.'];
}
