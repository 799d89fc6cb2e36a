/* The What-if panel without a page: the arithmetic of the walkthrough, the scale of a tree, spans of an edit, stored answers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bounds, compact, scientific } from '../../app/actfocus_studio/web/lib/format.js';
import { atLeast, replayOf, summary, walkedStep } from '../../app/actfocus_studio/panels/whatif/questions.js';
import { scaleOf } from '../../app/actfocus_studio/panels/whatif/scale.js';
import { movedTo, partOf } from '../../app/actfocus_studio/panels/whatif/spans.js';
import { STAGES, byKind, chain, readUpdate, shades } from '../../app/actfocus_studio/panels/whatif/stages.js';

/** @typedef {import('../../app/actfocus_studio/web/generated/types').Motion} Motion */

/** @param {{ buffer: ArrayBufferLike }} array */
const base64 = (array) => Buffer.from(array.buffer).toString('base64');
/** @param {number[]} values @returns {import('../../app/actfocus_studio/web/generated/types').Float32Column} */
const floats = (values) => ({ dtype: 'float32', data: base64(Float32Array.from(values)) });

/* One turn: a token that was read, one of reasoning, two of an action, and the end. */
const U = NaN;
/** @type {Motion} */
const MOTION = {
  id: 'replay-000000000000', scheme: 'actfocus', params: { alpha: 0.1, beta: 0.5 }, lr: 0.0001, update_norm: 0.25, gradient_norm: 0.5,
  trajectories: 8, returns: [1, 0, 0, 1], divisor: 20,
  signal: { name: 'energy', values: floats([U, -8, -12, -10, -11]), z: floats([U, U, -1, 1, U]), mean: -11, std: 1, count: 1234 },
  columns: {
    advantage: floats([U, 1, 1, 1, 1]), weight: floats([U, 0.1, 1.25, 1.5, 0.1]), loss: floats([U, -0.005, -0.0625, -0.075, -0.005]),
    share: floats([U, 0, 0.125, 0.25, 0.025]), before: floats([U, -1, -2, -3, -0.5]), after: floats([U, -0.5, -2, -3.25, -0.5]),
    change: floats([U, 0.5, 0, -0.25, 0]),
  },
  pane: {
    id: 'a-0', group: 'a', rollout: 0, return: 1, success: true, terminated: true, truncated: false,
    tokens: {
      text: { dtype: 'text', data: ['P', 'think', 'Up', ' Up', 'end'] },
      kind: { dtype: 'uint8', data: base64(Uint8Array.from([1, 3, 4, 4, 5])) },
      turn: { dtype: 'int32', data: base64(Int32Array.from([0, 0, 0, 0, 0])) },
      logprob: floats([U, -1, -2, -4, -0.5]), energy: floats([U, -8, -12, -10, -11]),
    },
    turns: [
      { end: false, actions: ['Up'], valid: true, malformed: false, reward: 1, penalty: -0.25, oracle: null, picture: null, page: null },
      { end: true, actions: [], valid: true, malformed: false, reward: null, penalty: null, oracle: null, picture: null, page: null },
    ],
  },
};
const TITLES = { scheme: 'ActFocus', signal: 'energy' };
const UPDATE = readUpdate(MOTION, TITLES);

/** What a step says. @param {number} n @param {ReturnType<typeof readUpdate>} [u] */
const said = (n, u = UPDATE) => STAGES[n].summary(u).flat().join('');

test('every step says what it does with the numbers of the update', () => {
  assert.equal(STAGES.length, 9);
  assert.equal(said(0), 'The policy acted for 1 turns and sampled 4 of these 5 tokens. A stronger colour marks a lower log-probability.');
  assert.equal(said(1), 'Rewards of the turns: +0.75. The return is 1.00. Returns of the 4 rollouts of this prompt: 1.0, 0.0, 0.0, 1.0.');
  assert.match(said(2), /\(1\.00 − 0\.50\) \/ 0\.50 = 1\.00, the same for every token\. Above the mean/);
  assert.match(said(3), /Its energy measures its uncertainty/);
  assert.match(said(4), /μ = −11\.000 and σ = 1\.000 over the 1,234 action tokens/);
  assert.match(said(5), /α = 0\.10, action tokens 1 \+ β · sigmoid\(z\) with β = 0\.50\./);
  assert.match(said(6), /Z = 20\.0 is/);
  assert.match(said(7), /has 40 %, as one of 8\./);
  assert.match(said(8), /learning rate 0\.00010: gradient norm 0\.500, norm of the parameter change 0\.250\./);
});

test('a step that a scheme does not have says so and paints nothing', () => {
  const plain = readUpdate({ ...MOTION, scheme: 'uniform', signal: null }, { scheme: 'Uniform', signal: '' });
  assert.equal(said(3, plain), 'Uniform uses no signal: this step does not apply.');
  assert.equal(said(4, plain), 'Uniform standardises no signal: this step does not apply.');
  assert.equal(said(5, plain), 'The scheme gives every token its weight.');
  assert.deepEqual([...shades(plain, STAGES[3])], [0, 0, 0, 0, 0]);
  assert.equal(byKind(plain, STAGES[4]), null);
  assert.deepEqual(chain(plain, 5, 2).map(([title]) => title), ['Rollout', 'Rewards', 'Advantages', 'Weights']);
});

test('a group with equal returns has no advantage', () => {
  const flat = readUpdate({ ...MOTION, returns: [1, 1], columns: { ...MOTION.columns, advantage: floats([U, 0, 0, 0, 0]) } }, TITLES);
  assert.match(said(2, flat), /the advantage is 0, so this trajectory contributes no gradient/);
  assert.deepEqual([...shades(flat, STAGES[2])].map(Math.abs), [0, 0, 0, 0, 0]);
});

test('colours are shares of the largest value of the step', () => {
  assert.deepEqual([...shades(UPDATE, STAGES[0])], [0, 0.25, 0.5, 1, 0.125]); // a lower log-prob is stronger
  assert.deepEqual([...shades(UPDATE, STAGES[3])], [0, 1, 0, 0.5, 0.25]); // energies: between the lowest and the highest
  assert.deepEqual([...shades(UPDATE, STAGES[4])], [0, 0, -1, 1, 0]);
  assert.deepEqual([...shades(UPDATE, STAGES[8])], [0, 1, 0, -0.5, 0]);
});

test('the arithmetic of a token grows with the steps', () => {
  assert.deepEqual(chain(UPDATE, 0, 3), [['Rollout', 'log π(y) = −4.000']]);
  assert.deepEqual(chain(UPDATE, 8, 3).map(([, line]) => line), ['log π(y) = −4.000', 'R = 1.00', 'A = 1.00', 'E = −10.000', 'z = 1.00',
    'w = 1.500', '−w A / Z = −0.075', '|w A| / Σ = 0.250', 'log π(y) = −3.000 → −3.250 (−0.250)']);
  assert.ok(!chain(UPDATE, 8, 1).some(([title]) => title === 'z'));
  assert.deepEqual(chain(UPDATE, 8, 0), [['', 'Read by the policy, not sampled: not in the loss.']]);
});

test('a step by kind has count, mean and sum', () => {
  assert.deepEqual(byKind(UPDATE, STAGES[5]), [['reasoning', 1, '0.100', '0.100'], ['action', 2, '1.375', '2.750'], ['format', 1, '0.100', '0.100']]);
  assert.deepEqual(byKind(UPDATE, STAGES[4])?.[0], ['reasoning', 0, '–', '–']);
});

test('the scale of a tree holds every value, with a margin', () => {
  /** @param {number} mean @param {number | null} low @param {number | null} high @returns {any} */
  const estimate = (mean, low, high) => ({ mean, low, high, n: 2 });
  /** @param {object} more @returns {any} */
  const node = (more) => ({ to_go: estimate(0, null, null), optimal: null, children: [], ...more });
  /** @type {any} */
  const result = { original: { to_go: 0 }, to_go: estimate(0.5, 0, 1), optimal: { value: 1 },
    tree: [node({ children: [node({ to_go: estimate(0, -1, 1) })] }), node({ optimal: { turn: 4 } })] };
  const [low, high] = scaleOf(result);
  assert.ok(Math.abs(low + 1.15) < 1e-9 && Math.abs(high - 4.15) < 1e-9);
  assert.deepEqual(scaleOf({ ...result, to_go: estimate(0, null, null), optimal: null, tree: [node({})] }), [-0.5, 0.5]);
});

test('parts of a reply, and where tokens went after an edit', () => {
  /** @type {any} */
  const turn = { span: [1, 5] };
  const kinds = [1, 5, 3, 3, 4];
  assert.deepEqual(partOf('thought', turn, kinds, null), { first: 2, end: 4 });
  assert.deepEqual(partOf('answer', turn, kinds, null), { first: 4, end: 5 });
  assert.deepEqual(partOf('token', turn, kinds, 3), { first: 3, end: 4 });
  assert.equal(partOf('token', turn, kinds, 0), null);
  assert.equal(partOf('answer', turn, [1, 5, 3, 3, 3], null), null);
  assert.equal(partOf('reply', turn, kinds, null), null);
  assert.equal(partOf('answer', { ...turn, span: null }, kinds, null), null);
  /** @type {any} */
  const edit = { span: [2, 4], new_span: [2, 3], shift: -1 };
  assert.deepEqual([1, 2, 3, 4].map((i) => movedTo(edit, false, i)), [1, null, null, 3]);
  assert.deepEqual([1, 2, 3].map((i) => movedTo(edit, true, i)), [1, null, 4]);
});

test('stored answers in words, and the one a walkthrough uses', () => {
  /** @param {string} name */
  const title = (name) => name.toUpperCase();
  /** @type {any} */
  const replay = { kind: 'replay', id: 'r', request: { step: 3, schemes: ['uniform', 'empg'], match: 'norm', evaluation: 8, groups: ['a', 'b'] } };
  const place = { trajectory: 'a-0', turn: 1 };
  assert.equal(summary(replay, title), 'step 3, UNIFORM, EMPG, equal gradient norm, evaluated');
  /** @type {any} */
  const branch = { kind: 'branch', request: { ...place, rollouts: 4, action: 'Up' } };
  assert.equal(summary(branch, title), 'a-0, turn 2, 4 samples, Up');
  /** @type {any} */
  const edit = { kind: 'edit', request: { ...place, text: 'x' } };
  assert.equal(summary(edit, title), 'a-0, turn 2: “x”');
  /** @type {any} */
  const facts = { trained: false, step: 7, steps: [3], group: 'b' };
  assert.equal(walkedStep(facts), 3);
  assert.equal(walkedStep({ ...facts, trained: true }), 7);
  assert.equal(replayOf([edit, branch, replay], facts, 'empg'), replay);
  assert.equal(replayOf([replay], facts, 'actfocus'), undefined);
  assert.equal(replayOf([replay], { ...facts, group: 'c' }, 'empg'), undefined);
  assert.deepEqual([0, 3, 4, 9].map((n) => atLeast([1, 4, 8], n)), [1, 4, 4, 8]);
});

test('numbers in scientific notation', () => {
  assert.deepEqual([scientific(0), scientific(-0.00012), scientific(0.5, 0), scientific(NaN)], ['0', '−1.2e−4', '5e−1', 'unavailable']);
  assert.deepEqual([compact(0.25), compact(-0.0002), compact(0), compact(0.005, 0.01), compact(null)],
    ['0.250', '−2.0e−4', '0', '5.0e−3', 'unavailable']);
  assert.deepEqual([bounds(0, 1), bounds(null, 1)], [' [0.00, 1.00]', '']);
});
