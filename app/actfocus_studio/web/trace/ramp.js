/* The scale of a colour: its two ends, and what the numbers are. */
import { el } from '../lib/dom.js';
import { number } from '../lib/format.js';

/**
 * @param {string} low
 * @param {string} high
 * @param {'weight' | 'signal' | 'credit'} colours
 * @param {string} [text]
 * @param {string} [title]
 */
export const ramp = (low, high, colours, text = '', title = '') => el('span', 'af-ramp', { title },
  el('span', 'af-ramp-end', low), el('span', `af-ramp-bar ${colours}`), el('span', 'af-ramp-end', high), text && el('span', 'af-quiet', text));

/** The scale of values with a sign, whose colours saturate at its ends. @param {number} top @param {string} text @param {string} title */
export const signedRamp = (top, text, title) => ramp(`≤ −${number(top, 2)}`, `≥ +${number(top, 2)}`, 'credit', text, title);
