/* The distribution of the signal by token kind, and the weight that follows from it. */
import { folded, scrolled, table } from '../../web/lib/components/table.js';
import { count, known, number } from '../../web/lib/format.js';
import * as plots from '../../web/lib/plots.js';
import { store } from '../../web/lib/store.js';
import { KIND, tokenWeight } from '../../web/trace/weights.js';
import { statistics } from './sums.js';

/** @typedef {import('./sums.js').TuneBatch} TuneBatch */
/** @typedef {NonNullable<TuneBatch['distributions'][string]>} Distribution */
/** @typedef {import('../../web/generated/types').Statistics} Statistics */

/** As the traces of the figure have them. */
const KINDS = /** @type {const} */ ({ reasoning: KIND.REASONING, action: KIND.ACTION, format: KIND.FORMAT });
const NAMES = /** @type {(keyof typeof KINDS)[]} */ (Object.keys(KINDS));
const POINTS = 120;
const SCOPES = { batch: 'of the batch', group: 'of the group open in Trace', trajectory: 'of the trajectory open in Trace' };

/** @param {import('../../web/lib/plots.js').Figure} figure @param {number[]} quantiles */
export function curveChart(figure, quantiles) {
  const card = plots.chartCard('Distribution of the signal by token kind, and the resulting weight');
  const numbersBox = scrolled();

  /** @param {TuneBatch} batch */
  function update(batch) {
    const { signal } = store.settings;
    const [shape, found, name] = [batch.distributions[signal], statistics(batch, store.settings), store.signalTitle(signal)];
    card.told.textContent = !shape ? `${name}: unavailable in this batch.`
      : found ? moments(found) : `${name}: not recorded for every action token, so μ and σ are undefined.`;
    numbersBox.replaceChildren(table(
      shape ? `${name} by token kind; in brackets the weight at that quantile` : `${name}: unavailable`,
      ['kind', 'tokens', 'not recorded', 'mean', 'std', ...quantiles.map((q) => `${Math.round(100 * q)} %`)],
      shape ? NAMES.map((kind) => row(kind, shape, found)) : [], { rowHeads: true }));
  }

  /** @param {keyof typeof KINDS} kind @param {Distribution} shape @param {Statistics | null} found */
  function row(kind, shape, found) {
    const { n, lack, mean, std, quantiles: values } = shape.kinds[kind];
    return [kind, String(n), String(lack), number(mean), number(std),
      ...quantiles.map((_, i) => (values ? `${number(values[i], 2)} (${number(weight(KINDS[kind], values[i], found), 2)})` : '–'))];
  }

  /** @param {TuneBatch} batch */
  function draw(batch) {
    const { signal, beta } = store.settings;
    const shape = batch.distributions[signal];
    const found = statistics(batch, store.settings);
    const { data, layout } = figure;
    const traces = shape ? [...histograms(data, shape), ...weights(data.slice(NAMES.length), shape.edges, found)] : [];
    plots.draw(card.plot, traces, plots.merge(layout, {
      uirevision: signal, ...(shape && found?.count ? band(layout, found) : { shapes: [], annotations: [] }),
      xaxis: { title: { text: store.signalTitle(signal) }, ...(shape ? { range: [shape.edges[0], shape.edges.at(-1)] } : {}) },
      yaxis2: { range: [0, Math.max(1.5, 1 + beta) * 1.06] },
    }));
  }

  return { node: card.node, table: folded('Distribution as a table', numbersBox), update, draw };
}

/** @param {Statistics} found */
function moments({ mu, sigma, count: tokens }) {
  const { scope, beta } = store.settings;
  return `μ ${number(mu)}, σ ${number(sigma)} over the ${count(tokens)} action tokens ${SCOPES[scope]}. `
    + `An action token at μ has weight ${number(1 + beta / 2, 2)}.`;
}

/** @param {number} kind @param {number} value @param {Statistics | null} found */
const weight = (kind, value, found) => tokenWeight(kind, value, found, store.settings.alpha, store.settings.beta);

/** @param {plots.PlotlyObject[]} traces @param {Distribution} shape */
function histograms(traces, { edges, kinds }) {
  const x = edges.slice(1).map((edge, i) => (edge + edges[i]) / 2);
  return NAMES.flatMap((kind, k) => {
    const { n, counts } = kinds[kind];
    const y = counts.map((tokens) => tokens / n);
    return n ? [{ ...traces[k], x, y, name: `${kind} (${count(n)} tokens)`, fillcolor: `var(--af-${kind})22` }] : [];
  });
}

/** The weight of actions and of other tokens, by the value of the signal.
 * @param {plots.PlotlyObject[]} traces @param {number[]} edges @param {Statistics | null} found */
function weights(traces, edges, found) {
  const [low, high] = [edges[0], edges[edges.length - 1]];
  const x = Array.from({ length: POINTS + 1 }, (_, i) => low + (high - low) * i / POINTS);
  return [KIND.ACTION, KIND.REASONING].map((kind, k) => (
    { ...traces[k], x, y: x.map((value) => weight(kind, value, found)).map((w) => (known(w) ? w : null)) }));
}

/** μ as a line, within a band of ± σ. @param {plots.PlotlyObject} layout @param {Statistics} found */
function band({ shapes: [area, line], annotations }, { mu, sigma }) {
  const [low, high] = [mu - sigma, mu + sigma];
  return {
    shapes: [{ ...area, x0: low, x1: high }, { ...line, x0: mu, x1: mu }],
    annotations: [mu, high, low].map((x, k) => ({ ...annotations[k], x })),
  };
}
