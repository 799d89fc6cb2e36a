/* The table of rollouts: its columns, its rows as they arrive, and opening one of them. */
import { lineOf, post } from '../../web/lib/api.js';
import { unpack } from '../../web/lib/columns.js';
import { grid } from '../../web/lib/components/grid.js';
import { el } from '../../web/lib/dom.js';
import { listOf } from '../../web/lib/list_query.js';
import { openInTrace } from '../../web/lib/navigation.js';
import { store } from '../../web/lib/store.js';
import { columnChooser } from './chooser.js';
import { addressOf, goesElsewhere } from './links.js';
import { PAGE, rowStore } from './rows.js';
import { classOf, shownColumns, textOf, widthOf } from './values.js';

/** @typedef {import('../../web/generated/types').ListAbout} About */
/** @typedef {import('../../web/generated/types').ListColumn} ListColumn */
/** @typedef {import('./rows.js').Rows} Rows */
/** @typedef {import('../../web/lib/components/grid.js').Order} Order */

const NARROW = 700;

/** @param {{ onOrder: (order: Order) => void, onColumns: (columns: string) => void, onError: (line: string) => void }} listeners */
export function rolloutTable({ onOrder, onColumns, onError }) {
  const { place } = store;
  const loaded = rowStore(load);
  const rows = grid({ label: 'Rollouts', cellsOf, onOpen: open, onSort: onOrder, onSight: loaded.need });
  const chooser = columnChooser(onColumns);
  /** @type {readonly ListColumn[]} */
  let columns = [];
  let asked = '';
  let filled = '';
  /** @type {Promise<Rows | null>} */
  let first = Promise.resolve(null);

  const isNarrow = () => window.innerWidth < NARROW;
  const names = () => columns.map(({ name }) => name);

  /**
   * List what the address says; the first rows once they are there, or null if they are not asked for any more.
   *
   * @param {About} about
   * @param {string} key of what is asked for
   */
  async function fill(about, key) {
    asked = key;
    columns = shownColumns(about.columns, place.columns, place.sort, Boolean(place.search), isNarrow());
    chooser.fill(about.columns, columns);
    rows.node.ariaBusy = 'true';
    loaded.clear();
    first = get(0, key);
    const found = await first;
    if (!found || key !== asked) return null;
    rows.node.ariaBusy = 'false';
    // The same list under other columns or another setting stays where it is.
    const list = JSON.stringify([place.run, listOf(place)]);
    loaded.put(0, found);
    rows.setColumns(columns.map((column) => ({
      name: column.name, title: column.title, width: widthOf(column, isNarrow()), help: column.meaning, text: column.kind !== 'number',
    })), found.need ? ['', 1] : [place.sort, place.descending ? -1 : 1]);
    rows.fill(found.total, list !== filled, nothingText(found));
    rows.mark(found.position, list !== filled && found.position !== null);
    filled = list;
    return found;
  }

  /** @param {number} page @param {string} key @returns {Promise<Rows | null>} */
  async function get(page, key) {
    try {
      const answer = await post('rollouts/rows', { view: store.view(), columns: names(), offset: page * PAGE, limit: PAGE });
      return key === asked ? unpack(answer) : null;
    } catch (error) {
      if (key === asked) onError(lineOf(error));
      return null;
    }
  }

  /** @param {number} page */
  async function load(page) {
    const key = asked;
    const found = await get(page, key);
    if (key !== asked) return;
    if (found) loaded.put(page, found);
    else loaded.drop(page);
    rows.update(page * PAGE, (page + 1) * PAGE);
  }

  /** @param {number} row */
  function cellsOf(row) {
    const found = loaded.at(row);
    if (!found) return null;
    const { rows: page, k } = found;
    return columns.map((column) => {
      if (column.name === 'id') return link(page, k);
      const values = page.columns[column.name];
      if (!values) return '';
      return el('span', classOf(column, values[k]), textOf(column, values[k]));
    });
  }

  /** @param {Rows} page @param {number} k */
  function link({ ids, tokens }, k) {
    const token = tokens && tokens[k] >= 0 ? tokens[k] : null;
    return el('a', 'af-link', { href: addressOf({ trajectory: ids[k], token }), tabIndex: -1 }, ids[k]);
  }

  /** @param {number} row @param {Event} event */
  function open(row, event) {
    const found = loaded.at(row);
    if (!found || goesElsewhere(event)) return;
    event.preventDefault();
    const trajectory = found.rows.ids[found.k];
    rows.mark(row);
    openInTrace({ run: place.run, reference: place.reference, filter: 'all', trajectory });
  }

  /** Mark the rollout that was opened, where it is among those listed. @param {import('../../web/generated/types').Opened} opened */
  function mark({ run, list, filter, place: found }) {
    if (run.name !== place.run) return;
    rows.mark(list ? list.position : filter === 'all' ? found.position : null, true);
  }

  return { node: rows.frame, chooser: chooser.node, fill, mark, names, isNarrow };
}

/** Why no rollout is listed. @param {Rows} found */
function nothingText({ errors, need }) {
  if (errors.where || errors.search) return 'Nothing can be listed: see the line above.';
  return need ? 'The list needs something that is being computed.' : 'No rollout meets all of these conditions.';
}
