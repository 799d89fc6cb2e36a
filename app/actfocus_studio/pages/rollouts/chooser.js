/* Which columns the table has: a panel of check boxes under a button. */
import { checkbox } from '../../web/lib/components/form.js';
import { el, linkButton } from '../../web/lib/dom.js';

/** @typedef {import('../../web/generated/types').ListColumn} ListColumn */

/** @type {[source: ListColumn['source'], title: string][]} */
const PARTS = [['stored', 'In the run'], ['computed', 'Computed from the tokens']];

/** @param {(columns: string) => void} onChoose names separated by commas; empty: the usual ones */
export function columnChooser(onChoose) {
  const list = el('div', 'af-chooser-list');
  const node = el('details', 'af-chooser', { onkeydown: (event) => { if (event.key === 'Escape') close(event); } },
    el('summary', 'af-button', 'Columns'), list);
  document.addEventListener('click', (event) => {
    if (!node.contains(/** @type {Node} */ (event.target))) node.open = false;
  });

  /** @param {KeyboardEvent} event */
  function close(event) {
    event.stopPropagation();
    node.open = false;
    node.querySelector('summary')?.focus();
  }

  /** @param {readonly ListColumn[]} all @param {readonly ListColumn[]} shown */
  function fill(all, shown) {
    const now = new Set(shown.map(({ name }) => name));
    const focused = [...list.querySelectorAll('input')].findIndex((box) => box === document.activeElement);
    list.replaceChildren(linkButton('the usual columns', () => onChoose('')), ...PARTS.map(([source, title]) =>
      el('fieldset', '', el('legend', '', title), ...all.filter((column) => column.source === source && column.name !== 'id').map((column) => {
        const { node: label } = checkbox(column.title, (on) => choose(column.name, on), now.has(column.name));
        label.title = column.meaning;
        return label;
      }))));
    if (focused >= 0) list.querySelectorAll('input')[focused]?.focus();

    /** @param {string} name @param {boolean} on */
    function choose(name, on) {
      now[on ? 'add' : 'delete'](name);
      onChoose(all.filter((column) => now.has(column.name) && column.source !== 'search').map((column) => column.name).join(','));
    }
  }

  return { node, fill };
}
