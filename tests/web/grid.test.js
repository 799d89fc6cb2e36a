/* The rows of a long table: which are in sight, and where keys move to. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inSight, moved, pressed, scrollFor } from '../../app/actfocus_studio/web/lib/components/grid_rows.js';

test('only rows in sight are drawn, with a few to spare, and never one that is not there', () => {
  assert.deepEqual(inSight(0, 300, 30, 100000), { first: 0, end: 16 });
  assert.deepEqual(inSight(30 * 5000, 300, 30, 100000), { first: 4994, end: 5016 });
  assert.deepEqual(inSight(30 * 99990, 300, 30, 100000), { first: 99984, end: 100000 });
  assert.deepEqual(inSight(0, 300, 30, 3), { first: 0, end: 3 });
  // A list that became shorter while it was scrolled down.
  assert.deepEqual(inSight(90000, 300, 30, 0), { first: 0, end: 0 });
  for (const top of [0, 1, 29, 30, 31, 1234.5]) {
    const { first, end } = inSight(top, 301, 30, 1000);
    assert.ok(first * 30 <= top && end * 30 >= top + 301, `a gap at ${top}`);
  }
});

test('keys move within the rows', () => {
  assert.equal(moved('ArrowDown', -1, 10, 4), 0);
  assert.equal(moved('ArrowDown', 9, 10, 4), 9);
  assert.equal(moved('ArrowUp', 0, 10, 4), 0);
  assert.equal(moved('PageDown', 3, 10, 4), 7);
  assert.equal(moved('PageDown', 8, 10, 4), 9);
  assert.equal(moved('PageUp', 2, 10, 4), 0);
  assert.equal(moved('Home', 5, 10, 4), 0);
  assert.equal(moved('End', 5, 10, 4), 9);
  assert.equal(moved('End', -1, 0, 4), null);
  assert.equal(moved('x', 5, 10, 4), null);
  assert.equal(moved('toString', 5, 10, 4), null);
});

test('a row that is out of sight is scrolled to, and one in sight is not', () => {
  assert.equal(scrollFor(5, 30, 0, 300), null);
  assert.equal(scrollFor(9, 30, 0, 300), null);
  assert.equal(scrollFor(10, 30, 0, 300), 30);
  assert.equal(scrollFor(2, 30, 90, 300), 60);
});

test('numbers begin with the largest, text with A, and a second press turns the order', () => {
  assert.deepEqual(pressed(['id', 1], 'tokens', true), ['tokens', -1]);
  assert.deepEqual(pressed(['tokens', -1], 'tokens', true), ['tokens', 1]);
  assert.deepEqual(pressed(['tokens', 1], 'group', false), ['group', 1]);
  assert.deepEqual(pressed(['group', 1], 'group', false), ['group', -1]);
});
