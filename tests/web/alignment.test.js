/* Where the rollouts of a group differ. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { numbers } from '../../app/actfocus_studio/web/lib/columns.js';
import { chosen, cut, distances, leaving, outliers, sharedByAll } from '../../app/actfocus_studio/pages/groups/alignment.js';

test('what all begin with ends at the first token in which two differ', () => {
  assert.equal(sharedByAll([[1, 2, 3], [1, 2, 4], [1, 2, 3]]), 2);
  assert.equal(sharedByAll([[1, 2], [1, 2, 3]]), 2);
  assert.equal(sharedByAll([[1], [2]]), 0);
  assert.equal(sharedByAll([[5, 6], [5, 6]]), 2);
});

test('the one that differs first leaves the others before they part', () => {
  const rollouts = [[1, 2, 3, 4], [1, 2, 3, 5], [1, 9, 9, 9]];
  assert.deepEqual(leaving(rollouts), [3, 3, 1]);
  assert.equal(outliers(rollouts).first, 2);
  // Of two pairs neither, and of two rollouts neither.
  assert.equal(outliers([[1, 2], [1, 2], [1, 3], [1, 3]]).first, null);
  assert.deepEqual([outliers([[1], [2]]).first, outliers([[1], [2]]).most], [null, null]);
});

test('the one that differs most has the fewest tokens in common with the others, in any order', () => {
  const rollouts = [[1, 5, 6, 7], [1, 7, 6, 5], [1, 5, 8, 9]];
  assert.deepEqual(distances(rollouts.slice(0, 2), 1), [0, 0]);
  const far = distances(rollouts, 1);
  assert.ok(Math.abs(far[2] - 2 / 3) < 1e-12 && Math.abs(far[0] - 1 / 3) < 1e-12);
  assert.equal(outliers(rollouts).most, 2);
  // Equal rollouts do not differ, nor do those that end with what they share.
  assert.deepEqual(distances([[1], [1]], 1), [0, 0]);
  assert.equal(outliers([[1], [1], [1]]).most, null);
});

test('columns are those of the address, else the highest and the lowest returns', () => {
  const members = [0.5, 1, null, 0, 0.2, 1].map((value) => ({ return: value }));
  assert.deepEqual(chosen('0,4,77', members), [0, 4]);
  assert.deepEqual(chosen('5,0', members), [5, 0]);
  // An unknown return is neither.
  assert.deepEqual(chosen('usual', members), [1, 3, 4, 5]);
  assert.deepEqual(chosen('usual', members.slice(1, 4)), [0, 1, 2]);
  assert.deepEqual(chosen('', members.slice(0, 2)), [0, 1]);
  assert.deepEqual(chosen('99,98', members.slice(0, 1)), [0]);
});

test('a part of the tokens keeps their kinds and turns', () => {
  /** @param {Uint8Array | Int32Array} values */
  const data = (values) => Buffer.from(values.buffer).toString('base64');
  const tokens = {
    text: { dtype: /** @type {const} */ ('text'), data: ['a', 'b', 'c'] }, kind: { dtype: /** @type {const} */ ('uint8'), data: data(Uint8Array.of(1, 3, 4)) },
    turn: { dtype: /** @type {const} */ ('int32'), data: data(Int32Array.of(-1, 0, 70000)) },
  };
  const part = cut(tokens, 1);
  assert.deepEqual(part.text.data, ['b', 'c']);
  assert.deepEqual([...numbers(part.kind)], [3, 4]);
  assert.deepEqual([...numbers(part.turn)], [0, 70000]);
  assert.deepEqual([...numbers(cut(tokens, 0, 1).turn)], [-1]);
});
