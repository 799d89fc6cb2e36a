/* The rows of the list that have arrived, in pages of a fixed size; others are asked for when they come into sight. */

/** @typedef {import('../../web/lib/columns.js').Unpacked<import('../../web/generated/types').ListRows>} Rows */

export const PAGE = 200;

/** @param {(page: number) => void} load asks for a page */
export function rowStore(load) {
  /** @type {Map<number, Rows | null>} null: asked for */
  const pages = new Map();

  /** Ask for what is not there of some rows. @param {number} first @param {number} end */
  function need(first, end) {
    for (let page = Math.floor(first / PAGE); page * PAGE < end; page++) {
      if (pages.has(page)) continue;
      pages.set(page, null);
      load(page);
    }
  }

  /** The page that holds a row, and its place there; null where it has not arrived. @param {number} row */
  function at(row) {
    const rows = pages.get(Math.floor(row / PAGE));
    return rows ? { rows, k: row % PAGE } : null;
  }

  return {
    need, at,
    /** @param {number} page @param {Rows} rows */
    put: (page, rows) => { pages.set(page, rows); },
    /** A page that did not arrive is asked for again when it is next in sight. @param {number} page */
    drop: (page) => { pages.delete(page); },
    clear: () => pages.clear(),
  };
}
