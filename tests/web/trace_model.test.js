import assert from 'node:assert/strict';
import test from 'node:test';

import { nextHeavy } from '../../app/actfocus_studio/pages/trace/model.js';
import { shownKinds, spanOf, tokenModel, turnSpans } from '../../app/actfocus_studio/web/trace/model.js';
import { KIND, massByKind, sigmoid, tokenWeight } from '../../app/actfocus_studio/web/trace/weights.js';

/** @param {ArrayBufferView} array */
const base64 = (array) => Buffer.from(array.buffer).toString('base64');
/** @param {boolean} malformed @returns {any} */
const turn = (malformed) => ({ malformed });

test('format tokens of a turn without a valid answer are malformed', () => {
  const kinds = Uint8Array.from([KIND.FORMAT, KIND.FORMAT, KIND.ACTION, KIND.FORMAT]);
  assert.deepEqual([...shownKinds(kinds, Int32Array.from([-1, 0, 0, 1]), [turn(true), turn(false)])], [5, 6, 4, 5]);
});

test('spans are the runs of one turn, the prologue among them', () => {
  assert.deepEqual(turnSpans(Int32Array.from([-1, -1, 0, 0, 0, 1])),
    [{ k: -1, start: 0, end: 2 }, { k: 0, start: 2, end: 5 }, { k: 1, start: 5, end: 6 }]);
  assert.deepEqual(turnSpans(new Int32Array(0)), []);
});

test('a model of tokens has their columns', () => {
  const m = tokenModel({
    text: { dtype: 'text', data: ['a', 'b'] },
    kind: { dtype: 'uint8', data: base64(Uint8Array.from([1, 4])) },
    turn: { dtype: 'int32', data: base64(Int32Array.from([-1, 0])) },
  }, [turn(false)]);
  assert.deepEqual([m.n, m.text[1], m.kinds[1], m.turn[0]], [2, 'b', 4, -1]);
  assert.deepEqual([spanOf(m, 0)?.start, spanOf(m, 7)], [1, undefined]);
});

test('the sigmoid does not overflow', () => {
  assert.deepEqual([sigmoid(-1e9), sigmoid(0), sigmoid(1e9)], [0, 0.5, 1]);
});

test('an action without its signal has no weight, which is not 0', () => {
  assert.equal(tokenWeight(KIND.REASONING, NaN, null, 0.1, 0.5), 0.1);
  assert.ok(Number.isNaN(tokenWeight(KIND.ACTION, NaN, { mu: 0, sigma: 1 }, 0.1, 0.5)));
  assert.equal(tokenWeight(KIND.ACTION, NaN, null, 0.1, 0), 1);
});

test('shares without a signal are unknown only where beta asks for it', () => {
  const kinds = { reasoning: { n: 8, a1: 8, a2: 8 }, action: { n: 2, a1: 2, a2: 2 }, format: { n: 0, a1: 0, a2: 0 } };
  assert.deepEqual(massByKind(kinds, null, 0.5, 0, false).mass, { reasoning: 4, action: 2, format: 0 });
  assert.ok(Number.isNaN(massByKind(kinds, null, 0.5, 1, false).total));
  assert.equal(massByKind(kinds, null, 1, 0, false).effective, 10);
});

test('the next high-weight token is in the top tenth, and none where all are equal', () => {
  const kinds = Uint8Array.from({ length: 20 }, () => KIND.REASONING);
  const weights = Float64Array.from({ length: 20 }, (_, i) => (i === 4 || i === 15 ? 2 : 1));
  /** @type {any} */
  const m = { n: 20, kinds, weights };
  assert.deepEqual(nextHeavy(m, null, 1), { token: 4, flat: false });
  assert.deepEqual(nextHeavy(m, 4, 1), { token: 15, flat: false });
  assert.deepEqual(nextHeavy(m, null, -1), { token: 15, flat: false });
  assert.deepEqual(nextHeavy(m, 15, 1), { token: null, flat: false });
  assert.deepEqual(nextHeavy({ ...m, weights: new Float64Array(20).fill(1) }, null, 1), { token: null, flat: true });
});
