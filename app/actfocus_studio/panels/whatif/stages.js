/* One update on one trajectory as nine steps, and the arithmetic of each. Pure: runs in a browser and in Node. */
import { KIND } from '../../web/generated/constants.js';
import { decode, numbers } from '../../web/lib/columns.js';
import { compact, count, known, number, percent, signed } from '../../web/lib/format.js';

/** @typedef {import('../../web/generated/types').Motion} Motion */
/** @typedef {ReturnType<typeof readUpdate>} Update */
/** @typedef {string | [strong: string]} Words */
/** @typedef {'logprob' | 'reward' | 'advantage' | 'energies' | 'z' | 'weight' | 'loss' | 'share' | 'change'} Column of an update */
/**
 * `shade`: value -> -1 .. 1, given the largest value by size, or the range where `whole`; `line`: the step for one token;
 * `summary`: what happens, with its numbers.
 *
 * @typedef {{ title: string, unit: string, column: Column, whole?: boolean, shade?: (value: number, top: number, low: number) => number,
 *   line: (u: Update, i: number) => string | null, summary: (u: Update) => Words[] }} Stage
 */

/** The answer with its columns decoded. @param {Motion} motion @param {{ scheme: string, signal: string }} titles */
export function readUpdate(motion, titles) {
  const { tokens, turns } = motion.pane;
  const kinds = numbers(tokens.kind);
  const rewards = turns.filter((turn) => !turn.end).map(({ reward, penalty }) => (known(reward) ? reward + (penalty ?? 0) : NaN));
  return {
    ...motion, titles, kinds, rewards, logprob: numbers(tokens.logprob), ...decode({ ...motion.columns }),
    reward: Float32Array.from(numbers(tokens.turn), (k, i) => (kinds[i] >= KIND.REASONING ? rewards[k] : NaN)),
    energies: motion.signal && numbers(motion.signal.values), z: motion.signal && numbers(motion.signal.z),
    sampled: kinds.filter((kind) => kind >= KIND.REASONING).length,
  };
}

/** @param {Update} u @param {number} i */
export const isSampled = ({ kinds }, i) => kinds[i] >= KIND.REASONING;

/** @param {number} x */
const small = (x) => compact(x, 0.01);
/** @param {number} value @param {number} top */
const inverted = (value, top) => -value / top;
/** @param {Update} u */
const returnOf = ({ pane }) => number(pane.return, 2);

/** @type {Stage[]} */
export const STAGES = [
  {
    title: 'Rollout', unit: 'log-prob', column: 'logprob', shade: inverted, line: (u, i) => `log π(y) = ${number(u.logprob[i])}`,
    summary: (u) => [`The policy acted for ${u.rewards.length} turns and sampled ${u.sampled} of these ${
      u.kinds.length} tokens. A stronger colour marks a lower log-probability.`],
  },
  {
    title: 'Rewards', unit: 'reward of the turn', column: 'reward', line: (u) => `R = ${returnOf(u)}`,
    summary: (u) => [`Rewards of the turns: `, [u.rewards.map((reward) => signed(reward, 2)).join(', ')], '. The return is ', [returnOf(u)],
      `. Returns of the ${u.returns.length} rollouts of this prompt: ${u.returns.map((x) => number(x, 1)).join(', ')}.`],
  },
  { title: 'Advantages', unit: 'advantage', column: 'advantage', line: (u, i) => `A = ${number(u.advantage[i], 2)}`,
    summary: advantages },
  {
    title: 'Energies', unit: 'energy', whole: true, column: 'energies',
    shade: (value, top, low) => (value - low) / Math.max(top - low, 1e-9),
    line: ({ signal, energies }, i) => signal && energies && `${signal.name === 'energy' ? 'E' : signal.name} = ${number(energies[i])}`,
    summary: ({ signal, titles }) => [signal
      ? `The frozen reference scores every token. Its ${titles.signal} measures its uncertainty; a stronger colour is a higher value.`
      : `${titles.scheme} uses no signal: this step does not apply.`],
  },
  {
    title: 'z', unit: 'z', column: 'z', line: ({ z }, i) => z && known(z[i]) ? `z = ${number(z[i], 2)}` : null,
    summary: ({ signal, titles }) => [signal
      ? `Action tokens only: z = (E − μ) / σ with μ = ${number(signal.mean)} and σ = ${number(signal.std)} over the ${
        count(signal.count)} action tokens of the batch.`
      : `${titles.scheme} standardises no signal: this step does not apply.`],
  },
  {
    title: 'Weights', unit: 'weight', column: 'weight', shade: (value, top) => value / Math.max(top, 1),
    line: (u, i) => `w = ${number(u.weight[i])}`,
    summary: ({ signal, params: { alpha, beta } }) => [signal
      ? `Reasoning tokens weigh α${known(alpha) ? ` = ${number(alpha, 2)}` : ''}, action tokens 1 + β · sigmoid(z)${
        known(beta) ? ` with β = ${number(beta, 2)}` : ''}.`
      : 'The scheme gives every token its weight.'],
  },
  {
    title: 'Loss term', unit: '−w A / Z', column: 'loss', shade: inverted, line: (u, i) => `−w A / Z = ${small(u.loss[i])}`,
    summary: (u) => [`The token’s loss term at ratio 1: −w · A / Z, where Z = ${number(u.divisor, 1)} is the sum of weights of the mini-batch. `
      + 'Blue raises the probability of a token, brown lowers it.'],
  },
  {
    title: 'Gradient share', unit: 'share of |w A|', column: 'share', line: (u, i) => `|w A| / Σ = ${small(u.share[i])}`,
    summary: (u) => ['|w A| as a share of its sum over the batch. This trajectory has ',
      [percent(u.share.reduce((sum, x) => sum + (x || 0), 0))], `, as one of ${u.trajectories}.`],
  },
  {
    title: 'New log-probs', unit: 'change of log-prob', column: 'change',
    line: (u, i) => `log π(y) = ${number(u.before[i])} → ${number(u.after[i])} (${signed(u.change[i])})`,
    summary: (u) => [`The optimiser steps at learning rate ${u.lr.toPrecision(2)}: gradient norm ${compact(u.gradient_norm)}, norm of the `
      + `parameter change ${compact(u.update_norm)}. The log-probabilities of these tokens change accordingly. `
      + 'A token’s probability also changes through the gradients of other tokens.'],
  },
];

/** @param {Update} u @returns {Words[]} */
function advantages(u) {
  const values = u.advantage.filter(known);
  if (Math.max(...values) - Math.min(...values) > 1e-6) {
    return ['The advantage: how much better than expected the outcome was. Under this scheme it differs between tokens.'];
  }
  const group = u.returns.map((x) => x ?? NaN);
  const mean = group.reduce((a, b) => a + b, 0) / group.length;
  const std = Math.sqrt(group.reduce((sum, x) => sum + (x - mean) ** 2, 0) / group.length);
  if (std < 1e-9) {
    return ['All rollouts of the group have the same return: the advantage is ', ['0'], ', so this trajectory contributes no gradient.'];
  }
  return [`Within its group: A = (R − mean) / std = (${returnOf(u)} − ${number(mean, 2)}) / ${number(std, 2)} = `, [number(values[0], 2)],
    ', the same for every token. ', values[0] < 0 ? 'Below the mean: the update lowers the probability of its tokens.'
      : 'Above the mean: the update raises the probability of its tokens.'];
}

/** How strongly each token is coloured at a step: -1 .. 1, 0 without a value. @param {Update} u @param {Stage} stage */
export function shades(u, { column, whole, shade = (value, size) => value / size }) {
  const values = u[column] ?? new Float32Array(u.kinds.length).fill(NaN);
  const of = values.filter((x, i) => known(x) && isSampled(u, i));
  const low = of.reduce((least, x) => Math.min(least, x), of[0] ?? 0);
  const top = of.reduce((most, x) => Math.max(most, whole ? x : Math.abs(x)), whole ? low : 1e-12);
  return Float64Array.from(values, (x) => (known(x) ? shade(x, top, low) : 0));
}

/** The arithmetic of one token up to step n: title and line of each step. @param {Update} u @param {number} n @param {number} i */
export function chain(u, n, i) {
  if (!isSampled(u, i)) return [['', 'Read by the policy, not sampled: not in the loss.']];
  return STAGES.slice(0, n + 1).flatMap((stage) => {
    const line = stage.line(u, i);
    return line ? [[stage.title, line]] : [];
  });
}

/** A step by kind: kind, tokens, mean and sum. @param {Update} u @param {Stage} stage */
export function byKind(u, { column }) {
  const values = u[column];
  return values && /** @type {const} */ (['reasoning', 'action', 'format']).map((kind) => {
    const own = values.filter((x, i) => u.kinds[i] === KIND[/** @type {keyof typeof KIND} */ (kind.toUpperCase())] && known(x));
    const sum = own.reduce((a, b) => a + b, 0);
    return [kind, own.length, own.length ? small(sum / own.length) : '–', own.length ? small(sum) : '–'];
  });
}
