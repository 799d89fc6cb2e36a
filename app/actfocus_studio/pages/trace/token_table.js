/* The tokens as tables of numbers, one per turn. */
import { table } from '../../web/lib/components/table.js';
import { el, write } from '../../web/lib/dom.js';
import { known, number, visible } from '../../web/lib/format.js';
import { NAMES } from '../../web/trace/tokens.js';

/** @typedef {import('./model.js').TraceModel} TraceModel */

const COLUMNS = ['position', 'kind', 'text', 'weight', 'energy', 'entropy', 'surprise', 'shift'];
const SIGNALS = ['energy', 'entropy', 'nll', 'shift'];

/** @param {(i: number) => void} onPin */
export function createTable(onPin) {
  const node = el('div', 'af-table', { hidden: true, tabIndex: 0 });
  /** @type {TraceModel | null} */
  let model = null;
  /** @type {HTMLElement[]} */
  let cells = [];

  /** @param {TraceModel} shown */
  function fill(shown) {
    model = shown;
    toggle(!node.hidden);
  }

  /** @param {boolean} on */
  function toggle(on) {
    node.hidden = !on;
    cells = [];
    node.replaceChildren(...(on && model ? sections(model) : []));
    update();
  }

  /** @param {TraceModel} m */
  const sections = (m) => m.spans.map(({ k, start, end }) => {
    const rows = Array.from({ length: end - start }, (_, i) => row(m, start + i));
    return el('section', 'af-turn', table(k < 0 ? 'System prompt' : `Turn ${k + 1}`, COLUMNS, rows, { cls: '', text: [1, 2] }));
  });

  /** @param {TraceModel} m @param {number} i */
  function row(m, i) {
    const sampled = m.sampled(i);
    cells[i] = el('td', 'num');
    return el('tr', '', { onclick: () => onPin(i) }, el('td', 'num', String(i)),
      el('td', '', el('span', `af-kind k${m.shown[i]}`, NAMES[m.shown[i]])), el('td', 'mono', visible(m.text[i])), cells[i],
      ...SIGNALS.map((name) => m.signal[name][i]).map((value) =>
        el('td', sampled && !known(value) ? 'num na' : 'num', sampled ? number(value) : '–')));
  }

  /** The weights follow the settings. */
  function update() {
    if (!model) return;
    const { sampled, weights } = model;
    // A token that was only read has no weight, which differs from a weight of 0.
    cells.forEach((cell, i) => write(cell, sampled(i) ? number(weights[i]) : '–'));
  }

  return { node, fill, update, toggle };
}
