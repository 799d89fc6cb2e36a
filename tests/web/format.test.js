import assert from 'node:assert/strict';
import test from 'node:test';

import { counted, duration, interval, number, outcome, percent, short, signed, visible } from '../../app/actfocus_studio/web/lib/format.js';

test('a number has a minus sign, and no sign where it rounds to 0', () => {
  assert.equal(number(-1.23456), '−1.235');
  assert.equal(number(-0.0001), '0.000');
  assert.equal(number(2, 0), '2');
});

test('what is not a number is unavailable, never 0', () => {
  for (const value of [null, undefined, NaN, Infinity]) {
    assert.equal(number(value), 'unavailable');
    assert.equal(signed(value), 'unavailable');
    assert.equal(percent(value), 'unavailable');
    assert.equal(interval(value, 0, 1), 'unavailable');
  }
});

test('a signed number has a plus only above 0', () => {
  assert.deepEqual([1, -1, 0, 0.0001, -0.0001].map((x) => signed(x, 2)), ['+1.00', '−1.00', '0.00', '0.00', '0.00']);
});

test('a share below one percent keeps a digit', () => {
  assert.deepEqual([0, 0.004, 0.0149, 0.5, 1].map(percent), ['0 %', '0.4 %', '1 %', '50 %', '100 %']);
});

test('an interval is left out where there is none', () => {
  assert.equal(interval(0.5, 0.25, 0.75), '0.50 [0.25, 0.75]');
  assert.equal(interval(0.5, null, null), '0.50');
});

test('texts', () => {
  assert.deepEqual([true, false, null, undefined].map(outcome), ['success', 'failure', 'success unknown', 'success unknown']);
  assert.deepEqual([0.2, 89, 91].map(duration), ['1 s', '89 s', '2 minutes']);
  assert.deepEqual([counted(1, 'action'), counted(1200, 'action')], ['1 action', '1,200 actions']);
  assert.equal(short(-0.5), '−0.5');
  assert.equal(visible(' a\n\t\r'), '·a⏎⇥␍');
});
