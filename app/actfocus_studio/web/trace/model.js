/* The tokens of a trajectory as the token view takes them. Pure: runs in a browser and in Node. */
import { numbers } from '../lib/columns.js';
import { KIND } from './weights.js';

/** @typedef {Pick<import('../generated/types').TracedTokens, 'text' | 'kind' | 'turn'>} Tokens */
/** @typedef {import('../generated/types').Turn} Turn */
/** @typedef {{ k: number, start: number, end: number }} Span tokens of turn k */
/**
 * What is painted is filled in by who shows the tokens: `weights` and `weightTop`, `signed` and `signedTop` (any value with a
 * sign), `signal` and `ranges`, `advantage` and `advantageMax`.
 *
 * @typedef {ReturnType<typeof tokenModel>} TokenModel
 */

export const MALFORMED = 6;

/** @param {Tokens} tokens @param {Turn[]} turns */
export function tokenModel(tokens, turns) {
  const text = tokens.text.data;
  const kinds = numbers(tokens.kind);
  const turn = numbers(tokens.turn);
  return {
    n: text.length, text, kinds, turn, turns,
    /** Whether the policy sampled it. @param {number} i */
    sampled: (i) => kinds[i] >= KIND.REASONING,
    shown: shownKinds(kinds, turn, turns), spans: turnSpans(turn),
    weights: new Float64Array(text.length), weightTop: 1.5, signed: new Float64Array(text.length), signedTop: 1,
    /** @type {Record<string, Float32Array>} */
    signal: {},
    /** @type {Record<string, number[] | null>} */
    ranges: {},
    /** Number of its first tokens that are those of an earlier context of the rollout. */
    shared: 0,
    /** @type {number | null} */
    advantage: null,
    advantageMax: 1,
  };
}

/**
 * Kinds as shown: format tokens of a turn without a valid answer are malformed.
 *
 * @param {Uint8Array} kinds
 * @param {Int32Array} turn
 * @param {Turn[]} turns
 */
export const shownKinds = (kinds, turn, turns) =>
  kinds.map((kind, i) => (kind === KIND.FORMAT && turns[turn[i]]?.malformed ? MALFORMED : kind));

/** The tokens of each turn, in order; those before the first one are of turn -1. @param {Int32Array} turn */
export function turnSpans(turn) {
  /** @type {Span[]} */
  const spans = [];
  turn.forEach((k, i) => {
    const last = spans.at(-1);
    if (last && last.k === k) last.end = i + 1;
    else spans.push({ k, start: i, end: i + 1 });
  });
  return spans;
}

/** @param {TokenModel} model @param {number} k @returns {Span | undefined} */
export const spanOf = (model, k) => model.spans.find((span) => span.k === k);
