/* The open trajectory: the columns that the server sent, and what follows from them whatever the settings. */
import { decode, numbers } from '../../web/lib/columns.js';
import { tokenModel } from '../../web/trace/model.js';
import { KIND, massByKind, sigmoid, tokenWeights } from '../../web/trace/weights.js';

/** @typedef {import('../../web/generated/types').Opened} Opened */
/** @typedef {import('../../web/generated/types').Statistics} Statistics */
/** @typedef {import('../../web/generated/types').SigmoidSums} SigmoidSums */
/** @typedef {import('../../web/lib/store.js').Settings} Settings */
/** @typedef {ReturnType<typeof traceModel>} TraceModel */

const WIDEST = 1.5; // the weight scale's least maximum, so that it is the same under all presets

/** With weights and gradient shares under a setting. @param {Opened} data @param {Settings} s @param {Settings | null} kept */
export function traceModel(data, s, kept) {
  const { tokens: t, batch } = data;
  const m = tokenModel(t, data.turns);
  const A = Math.abs(batch.advantage ?? NaN);
  /** @param {number} kind */
  const counts = (kind) => {
    const n = m.kinds.filter((k) => k === kind).length;
    return { n, a1: n * A, a2: n * A * A };
  };
  const { energy, entropy, nll, shift } = t;
  const model = {
    ...m, data, batch, shared: data.trajectory.shared, plain: !data.turns.some((turn) => turn.picture || turn.page),
    calls: sampledCalls(data),
    ids: numbers(t.id), logprob: numbers(t.logprob), refLogprob: numbers(t.ref_logprob), policyEntropy: numbers(t.policy_entropy),
    signal: /** @type {Record<string, Float32Array>} */ (decode({ energy, entropy, nll, shift })),
    ranges: batch.ranges, advantage: batch.advantage, advantageMax: batch.advantage_max,
    ownKinds: { reasoning: counts(KIND.REASONING), action: counts(KIND.ACTION), format: counts(KIND.FORMAT) },
  };
  return { ...model, ...weighed(model, s, kept) };
}

/** The calls of tools that the policy sampled in this context. @param {Opened} data */
const sampledCalls = ({ dialogue: { blocks, messages }, trajectory: { shared } }) =>
  blocks.filter(({ type, message, end }) => type === 'call' && messages[message].sampled && end > shared);

/** The turns that were malformed or illegal. @param {TraceModel} m */
export const badTurns = (m) => m.turns.flatMap((turn, k) => (turn.end || turn.valid ? [] : [k]));

/** @param {Pick<Opened, 'batch'>} data @param {Settings} s @returns {Statistics | null} */
export const statsOf = ({ batch }, s) => batch.signals[s.signal]?.[s.scope] ?? null;

/**
 * Weights, their scale and the gradient shares under a setting.
 *
 * @param {Pick<Opened, 'batch'> & { kinds: Uint8Array, signal: Record<string, Float32Array> }} m
 * @param {Settings} s
 * @param {Settings | null} kept setting B, whose weights the scale holds as well
 */
export function weighed({ kinds, signal, batch }, s, kept) {
  const stats = statsOf({ batch }, s);
  /** @param {boolean} byAdvantage */
  const mass = (byAdvantage) => massByKind(batch.kinds, stats && stats.sums, s.alpha, s.beta, byAdvantage);
  return {
    stats, weights: tokenWeights(kinds, signal[s.signal], stats, s.alpha, s.beta), mass: mass(s.adv), plainMass: mass(false),
    weightTop: Math.max(WIDEST, 1 + s.beta, kept ? 1 + kept.beta : 0),
  };
}

/** The sums over this trajectory, in the same form as the batch's.
 * @param {TraceModel} m @param {Settings} s @returns {SigmoidSums | null} */
export function ownSums(m, s) {
  const stats = statsOf(m, s);
  if (!stats) return null;
  const A = Math.abs(m.advantage ?? NaN);
  let s1 = 0;
  let s2 = 0;
  for (let i = 0; i < m.n; i++) {
    if (m.kinds[i] !== KIND.ACTION) continue;
    const value = sigmoid((m.signal[s.signal][i] - stats.mu) / stats.sigma);
    s1 += value;
    s2 += value * value;
  }
  return { s1, s2, a1: A * s1, b1: A * A * s1, b2: A * A * s2 };
}

/**
 * The next token with a high weight: in the top tenth of the sampled tokens, and above their median.
 *
 * @param {TraceModel} m
 * @param {number | null} from
 * @param {1 | -1} step
 * @returns {{ token: number | null, flat: boolean }} `flat`: all weights are equal
 */
export function nextHeavy(m, from, step) {
  /** @param {number} w @param {number} i */
  const counts = (w, i) => m.kinds[i] >= KIND.REASONING && Number.isFinite(w);
  const all = m.weights.filter(counts).sort();
  const middle = all[Math.floor(all.length / 2)];
  const bound = all[Math.floor(all.length * 0.9)];
  for (let i = (from ?? (step > 0 ? -1 : m.n)) + step; i >= 0 && i < m.n; i += step) {
    const w = m.weights[i];
    if (counts(w, i) && w >= bound && w > middle) return { token: i, flat: false };
  }
  return { token: null, flat: all[0] === all[all.length - 1] };
}
