import assert from 'node:assert/strict';
import test from 'node:test';

import { numbers, unpack } from '../../app/actfocus_studio/web/lib/columns.js';

/** The bytes of an array in base64, as the server writes them. @param {ArrayBufferView} array */
const base64 = (array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength).toString('base64');

test('every bit of a float arrives, and NaN with it', () => {
  const values = new Float32Array([0.1, -0, NaN, Infinity, 1e-45]);
  const found = numbers({ dtype: 'float32', data: base64(values) });
  assert.deepEqual([...new Uint32Array(found.buffer)], [...new Uint32Array(values.buffer)]);
});

test('integers keep their sign and their range', () => {
  assert.deepEqual([...numbers({ dtype: 'int32', data: base64(new Int32Array([-1, 0, 2 ** 31 - 1])) })], [-1, 0, 2 ** 31 - 1]);
  assert.deepEqual([...numbers({ dtype: 'uint8', data: base64(new Uint8Array([0, 5, 255])) })], [0, 5, 255]);
});

test('an empty column is empty', () => {
  assert.equal(numbers({ dtype: 'float32', data: '' }).length, 0);
});

test('an answer is unpacked to lists, however deep its columns are', () => {
  const text = /** @type {const} */ ({ dtype: 'text', data: ['a'] });
  const column = /** @type {const} */ ({ dtype: 'float64', data: base64(new Float64Array([0.1, 1e300])) });
  const answer = { n: 2, none: null, text, by: { kind: column }, rows: [{ values: column, name: 'x' }], names: ['y'] };
  assert.deepEqual(unpack(answer), {
    n: 2, none: null, text: ['a'], by: { kind: [0.1, 1e300] }, rows: [{ values: [0.1, 1e300], name: 'x' }], names: ['y'],
  });
});
