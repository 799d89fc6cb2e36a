/* Which rows of a long table are in sight, and where a key moves to. Pure: runs in a browser and in Node. */

/** Rows beyond either edge that are drawn as well, so that a slow scroll shows no blank ones. */
const SPARE = 6;

/**
 * The rows in sight, from `first` to before `end`.
 *
 * @param {number} top how far the rows are scrolled, in pixels
 * @param {number} height of the part in sight
 * @param {number} rowHeight
 * @param {number} total
 */
export function inSight(top, height, rowHeight, total) {
  const first = Math.max(0, Math.min(Math.floor(top / rowHeight), total) - SPARE);
  return { first, end: Math.min(total, Math.max(0, Math.ceil((top + height) / rowHeight)) + SPARE) };
}

/**
 * The row that a key moves to; null for a key that moves nowhere.
 *
 * @param {string} key
 * @param {number} row the current one; -1 before there is one
 * @param {number} total
 * @param {number} page rows in sight
 */
export function moved(key, row, total, page) {
  /** @type {Record<string, number>} */
  const targets = { ArrowUp: row - 1, ArrowDown: row + 1, PageUp: row - page, PageDown: row + page, Home: 0, End: total - 1 };
  if (!Object.hasOwn(targets, key) || !total) return null;
  return Math.min(Math.max(targets[key], 0), total - 1);
}

/**
 * How far to scroll so that a row stands below the head and above the lower edge; null if it does already.
 *
 * @param {number} row
 * @param {number} rowHeight
 * @param {number} top how far the rows are scrolled
 * @param {number} height of the part in sight, without the head
 */
export function scrollFor(row, rowHeight, top, height) {
  if (row * rowHeight < top) return row * rowHeight;
  if ((row + 1) * rowHeight > top + height) return (row + 1) * rowHeight - height;
  return null;
}

/** @typedef {[name: string, way: 1 | -1]} Order a column, and 1 for ascending */

/** The order after a press on a column's head: another column begins with A or with its largest number.
 * @param {Order} order @param {string} name @param {boolean} isNumber @returns {Order} */
export function pressed([by, way], name, isNumber) {
  if (by === name) return [name, way === 1 ? -1 : 1];
  return [name, isNumber ? -1 : 1];
}

/**
 * Compare two values in an order; unknown ones come last in both.
 *
 * @param {number | string | null} a
 * @param {number | string | null} b
 * @param {1 | -1} way
 */
export function compareValues(a, b, way) {
  const [noA, noB] = [a, b].map((value) => value === null || Number.isNaN(value));
  if (noA || noB) return Number(noA) - Number(noB);
  return way * (/** @type {number} */ (a) < /** @type {number} */ (b) ? -1 : a === b ? 0 : 1);
}
