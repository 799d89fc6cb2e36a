/* The tokens as a table of numbers. */
import { grid } from '../../web/lib/components/grid.js';
import { el } from '../../web/lib/dom.js';
import { known, number, visible } from '../../web/lib/format.js';
import { NAMES } from '../../web/trace/tokens.js';

/** @typedef {import('./model.js').TraceModel} TraceModel */

const COLUMNS = [
  { name: 'position', width: 84 }, { name: 'turn', width: 60 }, { name: 'kind', width: 104, text: true }, { name: 'text', width: 170, text: true },
  { name: 'weight', width: 84 }, { name: 'energy', width: 84 }, { name: 'entropy', width: 84 }, { name: 'surprise', width: 84 }, { name: 'shift', width: 84 },
].map((column) => ({ ...column, title: column.name, sortable: false }));
const SIGNALS = ['energy', 'entropy', 'nll', 'shift'];

/** @param {(i: number) => void} onPin */
export function createTable(onPin) {
  const rows = grid({ label: 'Tokens', cellsOf, onOpen: (i) => onPin(i) });
  const node = el('div', 'af-table', { hidden: true }, rows.frame);
  /** @type {TraceModel | null} */
  let model = null;
  rows.setColumns(COLUMNS);

  /** @param {TraceModel} shown */
  function fill(shown) {
    model = shown;
    rows.fill(shown.n, true);
  }

  /** @param {boolean} on */
  function toggle(on) {
    node.hidden = !on;
  }

  /** @param {number} i */
  function cellsOf(i) {
    if (!model) return null;
    const { sampled, weights, turn, shown, text, signal } = model;
    // A token that was only read has no weight, which differs from a weight of 0.
    return [String(i), turn[i] < 0 ? '–' : String(turn[i] + 1), el('span', `af-kind k${shown[i]}`, NAMES[shown[i]]), el('span', 'mono', visible(text[i])),
      sampled(i) ? number(weights[i]) : '–', ...SIGNALS.map((name) => signal[name][i]).map((value) =>
        el('span', sampled(i) && !known(value) ? 'na' : '', sampled(i) ? number(value) : '–'))];
  }

  return {
    node, fill, toggle,
    /** The weights follow the settings. */
    update: rows.refresh,
  };
}
