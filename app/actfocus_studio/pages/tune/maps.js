/* Two maps over alpha and beta: the share of the weight on actions, and the effective tokens. */
import { folded, scrolled, table } from '../../web/lib/components/table.js';
import { linkButton, write } from '../../web/lib/dom.js';
import { number, percent } from '../../web/lib/format.js';
import * as plots from '../../web/lib/plots.js';
import { store } from '../../web/lib/store.js';
import { ALPHAS, BETAS, balance, fields } from './sums.js';

/** @typedef {import('./sums.js').TuneBatch} TuneBatch */

const FEW_ALPHAS = [0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1];
const FEW_BETAS = [0, 0.25, 0.5, 1, 1.5, 2];

/** @param {import('../../web/lib/plots.js').Figure} figure */
export function mapCharts(figure) {
  const share = plots.chartCard('Share of weight on actions');
  const spread = plots.chartCard('Effective tokens, share of all response tokens');
  const cells = FEW_BETAS.map((beta) => FEW_ALPHAS.map((alpha) => ({ alpha, beta, node: linkButton('', () => set(alpha, beta)) })));
  const numbers = table('Share of weight on actions / effective tokens as a share of response tokens; select a cell to set α and β',
    ['β \\ α', ...FEW_ALPHAS.map((alpha) => number(alpha, 2))],
    cells.map((row, k) => [number(FEW_BETAS[k], 2), ...row.map(({ node }) => node)]), { rowHeads: true });
  /** Computed for one batch; a slider leaves them as they are. @type {{ of: unknown[], share: unknown, spread: unknown }} */
  let maps = { of: [], share: [], spread: [] };

  /** Say what the setting does. @param {TuneBatch} batch */
  function update(batch) {
    const { settings } = store;
    const now = balance(batch, settings);
    share.told.textContent = `Current setting: ${percent(now.share)}. Click on the map to set α and β.`;
    spread.told.textContent = `Current setting: ${percent(now.spread)}, that is (Σw)² / Σw² divided by the number of response tokens.`;
    share.more.textContent = settings.scope === 'batch' ? ''
      : `μ and σ are taken within each ${settings.scope}, as chosen in the sidebar; the method takes them over the batch.`;
    for (const { alpha, beta, node } of cells.flat()) {
      const cell = balance(batch, settings, alpha, beta);
      write(node, `${percent(cell.share)} / ${percent(cell.spread)}`);
      node.ariaLabel = `alpha ${alpha}, beta ${beta}: ${percent(cell.share)} on actions, ${percent(cell.spread)} effective; set`;
      node.ariaCurrent = String(alpha === settings.alpha && beta === settings.beta);
    }
  }

  /** @param {TuneBatch} batch */
  function draw(batch) {
    const { signal, scope, adv } = store.settings;
    const of = [batch, signal, scope, adv];
    if (of.some((value, i) => value !== maps.of[i])) maps = { of, ...fields(batch, store.settings) };
    const [field, presets, setting] = figure.data;
    const kept = store.kept();
    /** @param {{ alpha: number, beta: number }} at @param {string} symbol @param {string} letter */
    const mark = (at, symbol, letter) => plots.merge(setting, { x: [at.alpha], y: [at.beta], text: [letter], marker: { symbol } });
    // The last trace is the setting.
    const marks = [...(kept ? [mark(kept, 'square', 'B')] : []), mark(store.settings, 'circle', kept ? 'A' : '')];
    for (const [{ plot }, z] of /** @type {const} */ ([[share, maps.share], [spread, maps.spread]])) {
      plots.draw(plot, [{ ...field, x: ALPHAS, y: BETAS, z }, presets, ...marks], figure.layout, {
        plotly_click: ({ points: [{ x, y }] }) => set(x, y),
      });
    }
  }

  return { nodes: [share.node, spread.node], table: folded('Maps as a table', scrolled(numbers)), update, draw };
}

/** @param {number} alpha @param {number} beta */
const set = (alpha, beta) => store.set({ alpha: Math.round(alpha * 100) / 100, beta: Math.round(beta * 100) / 100 }, true);
