/* The weights of method.md section 3 and the gradient share they give, as pure functions.

   The twin of actfocus_core/credit/weights.py: the tests hold the two together to 1e-6.
   Kinds are numbers, as in TokenKind. Runs in a browser and in Node. */
import { KIND } from '../generated/constants.js';

export { KIND };

/** @typedef {import('../generated/types').Kinds} Kinds by kind: n tokens, and the sums of |A| and A^2 */
/** @typedef {import('../generated/types').SigmoidSums} SigmoidSums */
/** @typedef {{ mu: number, sigma: number }} Moments of the signal over the action tokens of a scope */

/** 1 / (1 + exp(-z)) without overflow. @param {number} z */
export const sigmoid = (z) => 0.5 * (1 + Math.tanh(0.5 * z));

/**
 * The weight of one token. NaN: an action without the signal that beta asks for.
 *
 * @param {number} kind
 * @param {number} value of the signal; NaN where it was not recorded
 * @param {Moments | null} stats
 * @param {number} alpha
 * @param {number} beta
 */
export function tokenWeight(kind, value, stats, alpha, beta) {
  if (kind < KIND.REASONING) return 0;
  if (kind !== KIND.ACTION) return alpha;
  if (beta === 0) return 1;
  return stats ? 1 + beta * sigmoid((value - stats.mu) / stats.sigma) : NaN;
}

/**
 * The weights of all tokens.
 *
 * @param {ArrayLike<number>} kinds
 * @param {ArrayLike<number>} values of the signal
 * @param {Moments | null} stats
 * @param {number} alpha
 * @param {number} beta
 */
export function tokenWeights(kinds, values, stats, alpha, beta) {
  const out = new Float64Array(kinds.length);
  for (let i = 0; i < kinds.length; i++) out[i] = tokenWeight(kinds[i], values[i], stats, alpha, beta);
  return out;
}

/** @type {SigmoidSums} */
const NO_SUMS = { s1: NaN, s2: NaN, a1: NaN, b1: NaN, b2: NaN };

/**
 * Gradient share by kind, in all, and the effective number of tokens (sum m)^2 / sum m^2. NaN where beta asks for a signal
 * that is not there.
 *
 * @param {Kinds} kinds
 * @param {SigmoidSums | null} sums of the sigmoid over the actions (data/batch_cache.py)
 * @param {number} alpha
 * @param {number} beta
 * @param {boolean} byAdvantage shares are of w |A| and not of w
 */
export function massByKind(kinds, sums, alpha, beta, byAdvantage) {
  const [first, second] = byAdvantage ? /** @type {const} */ (['a1', 'a2']) : /** @type {const} */ (['n', 'n']);
  const { reasoning, action, format } = kinds;
  const s = sums || NO_SUMS;
  const [s1, t1, t2] = byAdvantage ? [s.a1, s.b1, s.b2] : [s.s1, s.s1, s.s2];
  const boost = beta === 0 ? 0 : beta * s1;
  const square = beta === 0 ? 0 : 2 * beta * t1 + beta * beta * t2;
  const mass = { reasoning: alpha * reasoning[first], action: action[first] + boost, format: alpha * format[first] };
  const total = mass.reasoning + mass.action + mass.format;
  const squares = alpha * alpha * (reasoning[second] + format[second]) + action[second] + square;
  const tokens = reasoning.n + action.n + format.n;
  return { mass, total, tokens, effective: squares > 0 ? total * total / squares : squares === 0 ? 0 : NaN };
}
