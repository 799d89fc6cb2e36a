/* The table of groups: all of them, or those selected in a chart. */
import { compareValues, scrolled, sortableHead, tableRow } from '../../web/lib/components/table.js';
import { announcer, el, linkButton } from '../../web/lib/dom.js';
import { number } from '../../web/lib/format.js';
import { store } from '../../web/lib/store.js';
import { PARTS, column, rate } from './diagnosis.js';

/** @typedef {import('./diagnosis.js').Diagnosis} Diagnosis */
/** @typedef {import('./diagnosis.js').Selection} Selection */

const ROWS = 400;
const HEADS = {
  label: 'group', rollouts: 'rollouts', mean_return: 'mean return', success: 'success', sigma: 'σ of returns', all: 'mean, all',
  reasoning: 'reasoning', action: 'action', kept: 'filter',
};
const FLAT = 'all returns are equal: the advantage is 0, so there is no gradient';

/** @param {{ onOpen: (i: number) => void, onAll: () => void }} listeners */
export function groupList({ onOpen, onAll }) {
  /** @type {import('../../web/lib/components/table.js').Order} */
  let order = ['sigma', -1];
  let again = () => {};
  const head = sortableHead(HEADS, order, (chosen) => {
    order = chosen;
    again();
  });
  const chosen = el('p', 'af-chosen');
  const body = el('tbody', '');
  const live = announcer();
  const node = el('section', 'af-chart', chosen, scrolled(el('table', 'af-grid', el('caption', '', 'Groups'), head, body)), live);

  /** @param {Diagnosis} data @param {Selection | null} brush @param {number | null} open */
  function fill(data, brush, open) {
    again = () => fill(data, brush, open);
    const [by, way] = order;
    const values = valuesOf(data, by) ?? [];
    const rows = [...data.kept.keys()].filter((i) => !brush || brush.groups.has(i))
      .sort((a, b) => compareValues(values[a] ?? null, values[b] ?? null, way));
    chosen.replaceChildren(...(brush
      ? [el('b', '', `${rows.length} of ${data.kept.length} groups`), `: ${brush.text} `, linkButton('show all', onAll)]
      : ['All groups. Open one to see its rollouts.']));
    live.textContent = brush ? `${rows.length} groups selected` : '';
    body.replaceChildren(...rows.slice(0, ROWS).map((i) => row(data, i, i === open)));
    const more = rows.length - ROWS;
    if (more > 0) body.append(el('tr', '', el('td', '', { colSpan: Object.keys(HEADS).length }, `and ${more} more: select some in a chart`)));
  }

  /** @param {Diagnosis} data @param {number} i @param {boolean} open */
  function row(data, i, open) {
    const { label, rollouts, mean_return: mean, sigma } = data.groups;
    const flat = sigma[i] === 0 && el('span', 'af-badge', { title: FLAT }, 'zero variance');
    const made = tableRow([linkButton(label[i], () => onOpen(i)), rollouts[i], number(mean[i], 2), rate(data, i),
      el('td', 'num', number(sigma[i]), flat), ...PARTS.map(([part]) => number(column(data, store.place.measure, part)?.[i])),
      data.kept[i] ? 'kept' : 'dropped']);
    if (open) Object.assign(made, { className: 'on', ariaCurrent: 'true' });
    return made;
  }

  return { node, fill };
}

/** The values of a column. @param {Diagnosis} data @param {string} name @returns {(number | string)[] | undefined} */
const valuesOf = ({ groups, kept }, name) => groups.means[`${store.place.measure}_${name}`] ?? Reflect.get({ ...groups, kept }, name);
