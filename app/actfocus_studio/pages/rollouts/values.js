/* How the values of a list are shown, and how wide its columns are. Pure: runs in a browser and in Node. */
import { count, number } from '../../web/lib/format.js';

/** @typedef {import('../../web/generated/types').ListColumn} ListColumn */
/** @typedef {Pick<ListColumn, 'name' | 'kind' | 'unit' | 'whole'>} Form what the form of a value depends on */

/** What stands for an unknown value in a table. */
export const NONE = '–';

/** A value as text. @param {Form} column @param {number | string} value NaN and '' are unknown */
export function textOf({ name, kind, unit, whole }, value) {
  if (typeof value === 'string') return value || NONE;
  if (kind === 'truth') {
    const words = name === 'success' ? ['failure', 'success'] : ['no', 'yes'];
    return Number.isNaN(value) ? 'unknown' : words[value];
  }
  if (Number.isNaN(value)) return NONE;
  if (unit === 'share') return `${(value * 100).toFixed(1)} %`;
  return whole ? count(value).replace('-', '−') : number(value);
}

/** A number in four digits at least, so that small ones differ too. @param {number} value */
export const digits = (value) => (Math.abs(value) >= 1 ? number(value) : `${Number(value.toPrecision(4))}`.replace(/-/g, '−'));

/** The class of a value that is good, bad or unknown. @param {Form} column @param {number | string} value */
export function classOf({ name, kind }, value) {
  if (value === '' || Number.isNaN(value)) return 'na';
  if (name === 'success') return value ? 'won' : '';
  return kind === 'truth' && value && BAD.includes(name) ? 'bad' : '';
}

const BAD = ['malformed', 'truncated', 'illegal'];
const NARROW_ID = 112;
const LETTER = 7.4; // pixels, of the table's font at most
/** @type {Record<string, number>} */
const WIDTHS = { id: 168, group: 130, env: 120, agent: 110, error: 200, success: 84 };

/** The width of a column in pixels: its values fit in, and its title with the arrow of its order.
 * @param {Pick<ListColumn, 'name' | 'kind' | 'title'>} column @param {boolean} [isNarrow] there is little room */
export const widthOf = ({ name, kind, title }, isNarrow = false) => (isNarrow && name === 'id' ? NARROW_ID
  : Math.max(WIDTHS[name] ?? (kind === 'text' ? 130 : 70), Math.ceil(title.length * LETTER) + 38));

/**
 * The columns that are shown, in the order of the list.
 *
 * @param {readonly ListColumn[]} all
 * @param {string} chosen names separated by commas; empty: the usual ones
 * @param {string} sort the column that orders the list is always among them
 * @param {boolean} searched the columns beside a search are
 * @param {boolean} isNarrow where there is little room: those that tell most
 */
export function shownColumns(all, chosen, sort, searched, isNarrow) {
  const names = new Set(chosen ? chosen.split(',') : all.filter((column) => (isNarrow ? NARROW.includes(column.name) : column.usual)).map(({ name }) => name));
  names.add('id');
  if (sort) names.add(sort);
  if (searched) names.add('hits');
  return all.filter(({ name, source }) => names.has(name) && (source !== 'search' || searched));
}

const NARROW = ['id', 'success', 'return', 'tokens', 'change'];
