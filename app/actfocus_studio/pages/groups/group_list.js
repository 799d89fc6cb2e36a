/* The table of groups: all of them, or those selected in a chart. */
import { grid } from '../../web/lib/components/grid.js';
import { compareValues } from '../../web/lib/components/grid_rows.js';
import { announcer, el, linkButton } from '../../web/lib/dom.js';
import { number } from '../../web/lib/format.js';
import { store } from '../../web/lib/store.js';
import { FLAT, PARTS, column, rate } from './diagnosis.js';

/** @typedef {import('./diagnosis.js').Diagnosis} Diagnosis */
/** @typedef {import('./diagnosis.js').Selection} Selection */

const MOST = 460; // pixels
const COLUMNS = [
  { name: 'label', title: 'group', width: 170, text: true }, { name: 'rollouts', title: 'rollouts', width: 90 },
  { name: 'mean_return', title: 'mean return', width: 110 }, { name: 'success', title: 'success', width: 90 },
  { name: 'sigma', title: 'σ of returns', width: 190 }, { name: 'all', title: 'mean, all', width: 100 },
  { name: 'reasoning', title: 'reasoning', width: 100 }, { name: 'action', title: 'action', width: 90 }, { name: 'kept', title: 'filter', width: 90 },
];

/** @param {{ onOpen: (i: number) => void, onAll: () => void }} listeners */
export function groupList({ onOpen, onAll }) {
  /** @type {import('../../web/lib/components/grid_rows.js').Order} */
  let order = ['sigma', -1];
  let again = () => {};
  /** @type {Diagnosis | null} */
  let shown = null;
  /** @type {number[]} the groups in the order of the table */
  let listed = [];
  const chosen = el('p', 'af-chosen');
  const rows = grid({
    label: 'Groups', most: MOST, cellsOf, onOpen: (row) => onOpen(listed[row]),
    onSort: (by) => {
      order = by;
      rows.setColumns(COLUMNS, order);
      again();
    },
  });
  const live = announcer();
  const node = el('section', 'af-chart', el('h3', '', 'Groups'), chosen, rows.frame, live);
  rows.setColumns(COLUMNS, order);

  /** @param {Diagnosis} data @param {Selection | null} brush @param {number | null} open */
  function fill(data, brush, open) {
    again = () => fill(data, brush, open);
    const [by, way] = order;
    const values = valuesOf(data, by) ?? [];
    shown = data;
    listed = [...data.kept.keys()].filter((i) => !brush || brush.groups.has(i))
      .sort((a, b) => compareValues(values[a] ?? null, values[b] ?? null, way));
    chosen.replaceChildren(...(brush
      ? [el('b', '', `${listed.length} of ${data.kept.length} groups`), `: ${brush.text} `, linkButton('show all', onAll)]
      : ['All groups. Open one to see its rollouts.']));
    live.textContent = brush ? `${listed.length} groups selected` : '';
    rows.fill(listed.length);
    const at = open === null ? -1 : listed.indexOf(open);
    rows.mark(at < 0 ? null : at);
  }

  /** @param {number} row */
  function cellsOf(row) {
    if (!shown) return null;
    const data = shown;
    const i = listed[row];
    const { label, rollouts, mean_return: mean, sigma } = data.groups;
    const flat = sigma[i] === 0 && el('span', 'af-badge', { title: FLAT.title }, FLAT.text);
    return [el('span', 'af-link', label[i]), rollouts[i], number(mean[i], 2), rate(data, i), el('span', '', number(sigma[i]), ' ', flat),
      ...PARTS.map(([part]) => number(column(data, store.place.measure, part)?.[i])), data.kept[i] ? 'kept' : 'dropped'];
  }

  return { node, fill };
}

/** The values of a column. @param {Diagnosis} data @param {string} name @returns {(number | string)[] | undefined} */
const valuesOf = ({ groups, kept }, name) => groups.means[`${store.place.measure}_${name}`] ?? Reflect.get({ ...groups, kept }, name);
