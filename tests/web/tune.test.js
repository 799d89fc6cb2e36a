/* The maps of the Tune page over alpha and beta. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ALPHAS, BETAS, balance, fields, statistics } from '../../app/actfocus_studio/pages/tune/sums.js';

/** @typedef {import('../../app/actfocus_studio/pages/tune/sums.js').TuneBatch} TuneBatch */
/** @typedef {import('../../app/actfocus_studio/pages/tune/sums.js').Settings} Settings */

/** @param {number} n */
const kind = (n) => ({ n, a1: n, a2: n });
/* Two action tokens at s = 0.25 and s = 0.75. */
const scope = { mu: 0, sigma: 1, count: 2, sums: { s1: 1, s2: 0.625, a1: 1, b1: 1, b2: 0.625 } };
/** @type {TuneBatch} */
const batch = {
  trajectories: 1, unscored: 0, kinds: { reasoning: kind(6), action: kind(2), format: kind(2) },
  signals: { energy: { batch: scope, group: { ...scope, mu: 9 }, trajectory: scope }, entropy: null },
  ranges: {}, advantage: null, advantage_max: 1, distributions: {}, score: '',
};
/** @type {Settings} */
const settings = { alpha: 0.5, beta: 2, signal: 'energy', scope: 'batch', adv: false };

test('a setting is balanced by the weights of all tokens', () => {
  // Weights: 1.5 and 2.5 on the actions, 0.5 on eight others.
  const { share, spread, effective, tokens } = balance(batch, settings);
  assert.equal(share, 4 / 8);
  assert.equal(tokens, 10);
  assert.ok(Math.abs(effective - 64 / (1.5 ** 2 + 2.5 ** 2 + 8 * 0.25)) < 1e-12);
  assert.equal(spread, effective / 10);
  assert.equal(balance(batch, settings, 1, 0).share, 0.2);
});

test('statistics are those of the scope', () => {
  assert.equal(statistics(batch, settings)?.mu, 0);
  assert.equal(statistics(batch, { ...settings, scope: 'group' })?.mu, 9);
  assert.equal(statistics(batch, { ...settings, signal: 'shift' }), null);
});

test('a map has a value wherever there is one', () => {
  const { share, spread } = fields(batch, settings);
  assert.deepEqual([share.length, share[0].length], [BETAS.length, ALPHAS.length]);
  assert.equal(share[BETAS.indexOf(2)][ALPHAS.indexOf(0.5)], 0.5);
  assert.equal(spread[0][ALPHAS.indexOf(1)], 1);
  // Without the signal only beta = 0 has a value.
  const without = fields(batch, { ...settings, signal: 'entropy' }).share;
  assert.equal(without[0][0], 1);
  assert.ok(without.slice(1).flat().every((value) => value === null));
});
