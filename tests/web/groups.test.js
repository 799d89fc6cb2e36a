/* The groups of a run, and the rollouts of one of them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { binaryCurve, places, pvalue, returnBins } from '../../app/actfocus_studio/pages/groups/diagnosis.js';
import { oddities, spoken, weights } from '../../app/actfocus_studio/pages/groups/rollouts.js';

/** @param {number[]} returns */
const bins = (returns) => returnBins({ rollouts: { return: returns, group: returns.map((_, i) => i % 3), success: [] } });

test('few distinct returns get a bin each', () => {
  assert.deepEqual(bins([1, 0, 1, 1 + 1e-9]).map(({ text, rollouts, groups }) => [text, rollouts, [...groups]]),
    [['0.00', 1, [1]], ['1.00', 3, [0, 2]]]);
});

test('many returns are binned, and the largest is in the last bin', () => {
  const found = bins(Array.from({ length: 25 }, (_, i) => i - 12));
  assert.equal(found.length, 12);
  assert.equal(found[0].text, '−12.00 to −10.00');
  assert.deepEqual(found.map((bin) => bin.rollouts), [2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3]);
});

test('groups at one place are one point, and those of unknown success are none', () => {
  const groups = { success: [0.5, NaN, 0.5, 1], sigma: [0.5, 0.5, 0.5 + 1e-9, 0] };
  assert.deepEqual(places({ groups }), [[0, 2], [3]]);
});

test('success determines the spread of two returns', () => {
  const groups = { success: [0.5, 1], sigma: [1, 0] };
  const curve = binaryCurve({ groups, rollouts: { return: [-1, 1, 1, 1] } });
  assert.equal(curve?.y[50], 1);
  assert.equal(binaryCurve({ groups: { ...groups, sigma: [0.9, 0] }, rollouts: { return: [-1, 1] } }), null);
  assert.equal(binaryCurve({ groups: { ...groups, success: [0.5, NaN] }, rollouts: { return: [-1, 1] } }), null);
  assert.equal(binaryCurve({ groups, rollouts: { return: [-1, 0, 1] } }), null);
  assert.equal(binaryCurve({ groups: { success: [1], sigma: [0] }, rollouts: { return: [1, 1] } }), null);
});

test('p values', () => {
  assert.deepEqual([0.0123, 0.0004, 0, null].map(pvalue), ['0.012', '4e−4', '0e+0', 'unavailable']);
});

/** @param {Partial<import('../../app/actfocus_studio/pages/groups/rollouts.js').Rollout>} own */
const rollout = (own) => ({
  id: 'x', rollout: 0, return: 1, success: /** @type {boolean | null} */ (true), malformed: 0, truncated: false, actions: [['Up']],
  kinds: [3, 4, 5], turns: [], signals: {}, stats: {}, ...own,
});

test('what is unusual in a group is said', () => {
  const long = { kinds: new Array(9).fill(3) };
  assert.deepEqual(oddities([rollout({}), rollout({ success: false, malformed: 2 }), rollout(long), rollout({})]),
    ['', 'the only failure, 2 malformed or illegal', 'longer than most', '']);
  assert.deepEqual(oddities([rollout({}), rollout({ success: false }), rollout({ success: null, truncated: true })]), ['', '', 'truncated']);
  assert.deepEqual(oddities([rollout({}), rollout({ success: false })]), ['', '']);
});

test('a rollout in words', () => {
  assert.equal(spoken(rollout({ malformed: 1 }), 'truncated'), 'Rollout 0: success, return 1.00, 1 turns, 1 action and 1 reasoning tokens, '
    + '1 turns malformed or illegal, truncated. Open it in Trace.');
});

test('the weights of response tokens take the signal of the actions', () => {
  const sums = { s1: 0, s2: 0, a1: 0, b1: 0, b2: 0 };
  const scope = { mu: 1, sigma: 2, count: 2, sums };
  const stats = { energy: { batch: scope, group: scope, trajectory: scope } };
  const r = rollout({ kinds: [3, 4, 4, 5], signals: { energy: [1, 1e9] }, stats });
  const settings = { alpha: 0.25, beta: 2, signal: 'energy', scope: /** @type {const} */ ('batch'), adv: false };
  assert.deepEqual(weights(r, settings), [0.25, 2, 3, 0.25]);
  assert.deepEqual(weights(r, { ...settings, signal: 'shift' }), [0.25, NaN, NaN, 0.25]);
});
