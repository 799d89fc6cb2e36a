/* What a setting does to a batch, from sums over the batch. Pure: runs in a browser and in Node. */
import { known } from '../../web/lib/format.js';
import { massByKind } from '../../web/trace/weights.js';

/** @typedef {import('../../web/lib/columns.js').Unpacked<import('../../web/generated/types').TuneBatch>} TuneBatch */
/** @typedef {import('../../web/lib/store.js').Settings} Settings */
/** @typedef {(number | null)[][]} Field values by β and α; null where there is none */

export const ALPHAS = Array.from({ length: 51 }, (_, i) => i / 50);
export const BETAS = Array.from({ length: 41 }, (_, i) => i / 20);

/** The statistics of the signal in the scope; null where an action token lacks the signal.
 * @param {TuneBatch} batch @param {Settings} settings */
export const statistics = (batch, { signal, scope }) => batch.signals[signal]?.[scope] ?? null;

/**
 * The share of the weight on actions, and the effective tokens, in number and as a share of all response tokens.
 *
 * @param {TuneBatch} batch
 * @param {Settings} settings
 * @param {number} [alpha]
 * @param {number} [beta]
 */
export function balance(batch, settings, alpha = settings.alpha, beta = settings.beta) {
  const sums = statistics(batch, settings)?.sums ?? null;
  const { mass, total, tokens, effective } = massByKind(batch.kinds, sums, alpha, beta, settings.adv);
  return { share: mass.action / total, spread: effective / tokens, effective, tokens };
}

/** Both shares over ALPHAS and BETAS. @param {TuneBatch} batch @param {Settings} settings */
export function fields(batch, settings) {
  const cells = BETAS.map((beta) => ALPHAS.map((alpha) => balance(batch, settings, alpha, beta)));
  /** @param {'share' | 'spread'} name @returns {Field} */
  const field = (name) => cells.map((row) => row.map((cell) => (known(cell[name]) ? cell[name] : null)));
  return { share: field('share'), spread: field('spread') };
}
