/* Tables: a caption, a head, and rows whose cells are text or nodes; numbers are aligned to the right. */
import { el } from '../dom.js';

/** @typedef {string | number | Node | null} Cell */

/** @typedef {{ text?: readonly number[], rowHeads?: boolean }} How `text`: columns that are no numbers, the first one by default;
 * `rowHeads`: the first cell of a row is its head */

/**
 * Rows, cells and heads that are elements of a table already are taken as they are.
 *
 * @param {string | readonly (string | Node)[]} caption
 * @param {readonly (string | Node)[]} heads
 * @param {readonly (readonly Cell[] | HTMLTableRowElement)[]} rows
 * @param {How & { cls?: string }} [how]
 */
export function table(caption, heads, rows, { cls = 'af-grid', ...how } = {}) {
  return el('table', cls, el('caption', '', ...[caption].flat()),
    el('thead', '', el('tr', '', ...heads.map((head, k) => wrapped(head, k, 'col', how)))),
    el('tbody', '', ...rows.map((row) => (row instanceof HTMLTableRowElement ? row : tableRow(row, how)))));
}

/** @param {readonly Cell[]} cells @param {How} [how] */
export const tableRow = (cells, how = {}) =>
  el('tr', '', ...cells.map((cell, k) => wrapped(cell, k, how.rowHeads && k === 0 ? 'row' : '', how)));

/** @param {Cell} cell @param {number} k @param {string} scope of a head @param {How} how */
function wrapped(cell, k, scope, { text = [0] }) {
  if (cell instanceof HTMLTableCellElement) return cell;
  const align = text.includes(k) ? '' : 'num';
  return scope ? el('th', align, { scope }, cell) : el('td', align, cell);
}

/**
 * A region for a table that may be wider than the page; it takes the focus, so that the keyboard can scroll it.
 *
 * @param {string} label
 * @param {...(Node | string)} children
 */
export const scrollRegion = (label, ...children) =>
  el('section', 'af-wide', { tabIndex: 0, role: 'region', 'aria-label': label }, ...children);

/** A box of limited height for a long table. @param {...(Node | string)} children */
export const scrolled = (...children) => el('div', 'af-scroll', ...children);

/** Tables under a line that opens and closes them. @param {string} summary @param {...Node} tables */
export const folded = (summary, ...tables) => el('details', 'af-tables', el('summary', '', summary), ...tables);
