/* What the run picker says of a run. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { aboutText, bytesText, dateText, leftText, shortCount, sizeText, successText } from '../../app/actfocus_studio/panels/runs/words.js';

/** @param {Partial<import('../../app/actfocus_studio/panels/runs/words.js').RunSize>} [more] */
const size = (more) => ({ name: 'a', rollouts: 4, tokens: 1200, bytes: 3400, successes: 1, failures: 3, unknown: 0, error: '', ...more });

test('a date is told by its day, and one of today by its time', () => {
  const now = new Date(2026, 10, 28, 12, 0);
  const at = (month = 0, day = 1, hour = 0, minute = 0) => new Date(2026, month, day, hour, minute).getTime() / 1000;
  assert.equal(dateText(at(10, 28, 9, 5), now), 'today 09:05');
  assert.equal(dateText(at(10, 27, 23, 59), now), 'yesterday');
  assert.equal(dateText(at(2, 3), now), '3 Mar');
  assert.equal(dateText(new Date(2024, 2, 3).getTime() / 1000, now), '3 Mar 2024');
  assert.equal(dateText(null, now), 'date unknown');
});

test('sizes are short, and what is unknown is not 0', () => {
  assert.equal(bytesText(999), '999 B');
  assert.equal(bytesText(1234), '1.2 kB');
  assert.equal(bytesText(123_456_789), '123 MB');
  assert.equal(shortCount(9999), '9,999');
  assert.equal(shortCount(71_500), '71.5k');
  assert.equal(shortCount(999_600), '1M');
  assert.equal(sizeText(size()), '4 rollouts · 1,200 tokens · 3.4 kB');
  assert.equal(sizeText(size({ bytes: null })), '4 rollouts · 1,200 tokens · very many files');
  assert.equal(sizeText(size({ error: 'no', rollouts: null, tokens: null, bytes: null })), 'not readable');
});

test('the success rate is that of the rollouts of which it is known', () => {
  assert.equal(successText(size()), '25 % success');
  assert.equal(successText(size({ unknown: 2 })), '25 % success (2 unknown)');
  assert.equal(successText(size({ successes: 0, failures: 0, unknown: 4 })), 'success unknown');
  assert.equal(successText(size({ successes: 0, failures: 0, rollouts: 0 })), 'no rollouts');
  assert.equal(successText(size({ error: 'no', successes: null })), '');
});

test('what a run is about, and how long a deleted one is kept', () => {
  const run = { name: 'a', section: /** @type {const} */ ('yours'), folder: 'a', modified: 1, env: 'frozen_lake', policy: '', scheme: 'uniform', why_kept: '' };
  assert.equal(aboutText(run), 'frozen lake · uniform');
  assert.equal(leftText(7 * 86400, 0), '7 days left');
  assert.equal(leftText(86400, 0), '1 day left');
  assert.equal(leftText(5, 0), 'less than a day left');
});
