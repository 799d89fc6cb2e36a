/* Numbers and texts as the pages show them. Pure: runs in a browser and in Node. */

export const UNKNOWN = 'unavailable';

/** @param {number | null | undefined} value @returns {value is number} */
export const known = (value) => value !== null && value !== undefined && Number.isFinite(value);

/**
 * A number with `digits` decimals and a minus sign.
 *
 * @param {number | null | undefined} value
 * @param {number} [digits]
 */
export function number(value, digits = 3) {
  if (!known(value)) return UNKNOWN;
  const text = value.toFixed(digits);
  return Number(text) === 0 ? text.replace('-', '') : text.replace('-', '−');
}

/** The same with a sign; 0 has none. @param {number | null | undefined} value @param {number} [digits] */
export function signed(value, digits = 3) {
  const text = number(value, digits);
  return known(value) && Number(value.toFixed(digits)) > 0 ? `+${text}` : text;
}

/** A number in as few digits as it has, at most `digits` decimals. @param {number} value @param {number} [digits] */
export const short = (value, digits = 2) => `${+value.toFixed(digits)}`.replace('-', '−');

/** A share of 1 in percent. @param {number | null | undefined} share */
export function percent(share) {
  if (!known(share)) return UNKNOWN;
  const value = share * 100;
  return `${value !== 0 && value < 1 ? value.toFixed(1) : Math.round(value)} %`;
}

/**
 * An estimate with its interval, where it has one.
 *
 * @param {number | null | undefined} value
 * @param {number | null | undefined} low
 * @param {number | null | undefined} high
 * @param {number} [digits]
 */
export function interval(value, low, high, digits = 2) {
  return known(value) ? number(value, digits) + bounds(low, high, digits) : UNKNOWN;
}

/** An interval behind its estimate; nothing where there is none. @param {number | null | undefined} low
 * @param {number | null | undefined} high @param {number} [digits] */
export const bounds = (low, high, digits = 2) =>
  (known(low) && known(high) ? ` [${number(low, digits)}, ${number(high, digits)}]` : '');

/** A number in scientific notation; 0 is 0. @param {number | null | undefined} value @param {number} [digits] */
export function scientific(value, digits = 1) {
  if (!known(value)) return UNKNOWN;
  return value === 0 ? '0' : value.toExponential(digits).replace(/-/g, '−');
}

/** A number with three decimals, or in scientific notation where its size is below `least`.
 * @param {number | null | undefined} value @param {number} [least] */
export const compact = (value, least = 0.001) =>
  (known(value) && Math.abs(value) >= least ? number(value) : scientific(value));

/** A count with separators. @param {number} n */
export const count = (n) => n.toLocaleString('en');

/** @param {number} n @param {string} noun @param {string} [plural] */
export const counted = (n, noun, plural = `${noun}s`) => `${count(n)} ${n === 1 ? noun : plural}`;

/** A duration in seconds. @param {number} s */
export const duration = (s) => (s < 90 ? `${Math.max(1, Math.round(s))} s` : `${Math.round(s / 60)} minutes`);

/** How a rollout ended: null where nobody knows. @param {boolean | null | undefined} success */
export function outcome(success) {
  if (success === null || success === undefined) return 'success unknown';
  return success ? 'success' : 'failure';
}

/** Make the white space of a single token visible. @param {string} text */
export const visible = (text) => text.replace(/ /g, '·').replace(/\n/g, '⏎').replace(/\t/g, '⇥').replace(/\r/g, '␍');
