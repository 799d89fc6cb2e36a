/* A table of any number of rows of equal height, of which only those in sight are in the page. */
import { el, isCommand, perFrame } from '../dom.js';
import { inSight, moved, pressed, scrollFor } from './grid_rows.js';

/** @typedef {import('./grid_rows.js').Order} Order */
/** @typedef {{ name: string, title: string, width: number, help?: string, text?: boolean, sortable?: boolean }} GridColumn
 * `width`: in pixels, at least; `text`: no number, so aligned to the left */
/** @typedef {string | number | Node | null} Cell */

const ROW = 30;
const HEAD = 32;
let grids = 0;

/**
 * The keyboard moves the current cell by the arrow keys, and the current row by Home, End and the page keys; Enter opens it.
 *
 * @param {object} how
 * @param {string} how.label
 * @param {(row: number) => (readonly Cell[] | null)} how.cellsOf null: not loaded yet
 * @param {(row: number, event: Event) => void} how.onOpen a row was clicked, or chosen by Enter
 * @param {(order: Order) => void} [how.onSort]
 * @param {(first: number, end: number) => void} [how.onSight] these rows came into sight
 * @param {number} [how.most] the height in pixels above which its rows scroll; by default it has the height of its place
 */
export function grid({ label, cellsOf, onOpen, onSort = () => {}, onSight = () => {}, most = 0 }) {
  const id = `af-rows-${++grids}`;
  const head = el('div', 'af-rows-head', { role: 'rowgroup' });
  const body = el('div', 'af-rows-body', { role: 'rowgroup' });
  const inner = el('div', 'af-rows-inner', { role: 'presentation' }, head, body);
  const nothing = el('p', 'af-rows-none', { hidden: true });
  const node = el('div', 'af-rows', { role: 'grid', tabIndex: 0, 'aria-label': label, 'aria-readonly': true, onkeydown, onclick }, inner);
  const frame = el('div', 'af-rows-frame', node, nothing);
  /** @type {Map<number, HTMLElement>} */
  const drawn = new Map();
  /** @type {readonly GridColumn[]} */
  let columns = [];
  /** @type {Order} */
  let order = ['', 1];
  let total = 0;
  let row = -1;
  let column = 0;
  let marked = -1;

  const draw = perFrame(paint);
  node.addEventListener('scroll', draw, { passive: true });
  new ResizeObserver(draw).observe(node);

  const height = () => Math.max(ROW, node.clientHeight - HEAD);

  // --- what is drawn -----------------------------------------------------------------------------

  function paint() {
    if (!node.offsetWidth) return;
    const { first, end } = inSight(node.scrollTop, height(), ROW, total);
    for (const [i, made] of drawn) {
      if (i >= first && i < end) continue;
      made.remove();
      drawn.delete(i);
    }
    // In the order of the rows also in the document, as screen readers read them.
    let after = body.firstChild;
    for (let i = first; i < end; i++) {
      const made = drawn.get(i) ?? rowNode(i);
      drawn.set(i, made);
      if (made === after) after = after.nextSibling;
      else body.insertBefore(made, after);
    }
    describe();
    if (end > first) onSight(first, end);
  }

  /** @param {number} i */
  function rowNode(i) {
    const cells = cellsOf(i);
    const made = el('div', `af-rows-row${i === row ? ' now' : ''}${i === marked ? ' on' : ''}`, { role: 'row', 'aria-rowindex': i + 2, 'data-row': i },
      ...columns.map((of, k) => el('div', of.text ? 'af-rows-cell' : 'af-rows-cell num',
        { role: k ? 'gridcell' : 'rowheader', id: `${id}-${i}-${k}`, 'aria-colindex': k + 1 }, cells ? cells[k] : k ? '' : '…')));
    if (i === marked) made.ariaSelected = 'true';
    made.style.transform = `translateY(${i * ROW}px)`;
    return made;
  }

  /** Name the current cell, as long as it is in the page. */
  function describe() {
    if (drawn.has(row)) node.setAttribute('aria-activedescendant', `${id}-${row}-${column}`);
    else node.removeAttribute('aria-activedescendant');
  }

  /** Draw again what is in sight: cells that were loaded or that depend on a setting. */
  function refresh() {
    for (const made of drawn.values()) made.remove();
    drawn.clear();
    draw();
  }

  /** Draw again those of some rows that are in sight: their cells have arrived. @param {number} first @param {number} end */
  function update(first, end) {
    for (const i of [...drawn.keys()]) if (i >= first && i < end) redraw(i);
  }

  /** @param {number} i */
  function redraw(i) {
    const old = drawn.get(i);
    if (!old) return;
    const made = rowNode(i);
    old.replaceWith(made);
    drawn.set(i, made);
  }

  // --- columns and order -------------------------------------------------------------------------

  /** Set the columns and the order that their heads show. @param {readonly GridColumn[]} now @param {Order} [by] */
  function setColumns(now, by = order) {
    columns = now;
    order = by;
    column = Math.min(column, Math.max(columns.length - 1, 0));
    node.style.setProperty('--af-columns', columns.map(({ width }) => `minmax(${width}px, ${width}fr)`).join(' '));
    inner.style.minWidth = `${columns.reduce((sum, { width }) => sum + width, 0)}px`;
    node.ariaColCount = String(columns.length);
    const had = head.contains(document.activeElement) ? [...head.querySelectorAll('button')].indexOf(/** @type {any} */ (document.activeElement)) : -1;
    head.replaceChildren(el('div', 'af-rows-row', { role: 'row', 'aria-rowindex': 1 }, ...columns.map(headNode)));
    if (had >= 0) head.querySelectorAll('button')[had]?.focus();
    refresh();
  }

  /** @param {GridColumn} of @param {number} k */
  function headNode(of, k) {
    const { name, title, help = '', text = false, sortable = true } = of;
    const made = el('div', text ? 'af-rows-cell' : 'af-rows-cell num', { role: 'columnheader', title: help, 'aria-colindex': k + 1 },
      sortable ? el('button', 'af-sort', { type: 'button', onclick: () => onSort(pressed(order, name, !text)) }, title) : title);
    if (sortable) made.ariaSort = order[0] === name ? (order[1] > 0 ? 'ascending' : 'descending') : 'none';
    return made;
  }

  // --- rows --------------------------------------------------------------------------------------

  /** Set the number of rows; all of them are read anew. `top`: begin at the first row; `empty`: what is said where there is none.
   * @param {number} count @param {boolean} [top] @param {string} [empty] */
  function fill(count, top = false, empty = 'Nothing to show.') {
    total = count;
    nothing.hidden = total > 0;
    nothing.textContent = empty;
    node.ariaRowCount = String(total + 1);
    body.style.height = `${total * ROW}px`;
    // Room for a scroll bar, should the table be wider than its place.
    if (most) frame.style.height = `${Math.min(most, HEAD + total * ROW + 16)}px`;
    row = top ? Math.min(0, total - 1) : Math.min(row, total - 1);
    if (top) node.scrollTop = 0;
    refresh();
  }

  /** Make a row the current one, and bring it into sight. @param {number} now */
  function go(now) {
    const was = row;
    row = now;
    redraw(was);
    redraw(row);
    const to = scrollFor(row, ROW, node.scrollTop, height());
    if (to !== null) node.scrollTop = to;
    paint();
  }

  /** Mark a row as the one that is open elsewhere; null: none. @param {number | null} now @param {boolean} [move] go there as well */
  function mark(now, move = false) {
    const was = marked;
    marked = now ?? -1;
    redraw(was);
    redraw(marked);
    if (move && now !== null && now < total) go(now);
  }

  /** @param {KeyboardEvent} event */
  function onkeydown(event) {
    if (event.target !== node || isCommand(event)) return;
    const { key } = event;
    if (key === 'Enter' && row >= 0) onOpen(row, event);
    else if (key === 'ArrowLeft' || key === 'ArrowRight') sideways(key === 'ArrowLeft' ? -1 : 1);
    else {
      const to = moved(key, row, total, Math.max(1, Math.floor(height() / ROW) - 1));
      if (to === null) return;
      go(to);
    }
    event.preventDefault();
  }

  /** @param {1 | -1} step */
  function sideways(step) {
    column = Math.min(Math.max(column + step, 0), columns.length - 1);
    if (row < 0) go(0);
    describe();
    for (const cell of body.querySelectorAll('.af-rows-cell.now')) cell.classList.remove('now');
    const cell = drawn.get(row)?.children[column];
    cell?.classList.add('now');
    cell?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  }

  /** @param {MouseEvent} event */
  function onclick(event) {
    const target = /** @type {Element} */ (event.target).closest('[data-row]');
    if (!target || !body.contains(target) || window.getSelection()?.toString()) return;
    const i = Number(target.getAttribute('data-row'));
    go(i);
    onOpen(i, event);
  }

  return { node, frame, setColumns, fill, refresh, update, mark };
}
