/* What is said of a computation of signals, while it runs and once when it ends. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { jobText } from '../../app/actfocus_studio/web/lib/signals_text.js';

/** @typedef {import('../../app/actfocus_studio/web/lib/signals_text.js').SignalsJob} SignalsJob */
/** @param {SignalsJob['job']['state']} state @param {Partial<SignalsJob>} [more] @returns {SignalsJob} */
const job = (state, more = {}) => ({
  job: { state, id: '1', run: 'r', phase: '', done: 0, total: 0, seconds_left: null, message: 'why' }, reference: '', sample: null, ...more,
});

test('a job is told while it runs and once when it ends', () => {
  assert.equal(jobText(job('running'), undefined), 'Computing signals of r …');
  assert.equal(jobText(job('running', { reference: 'tiny' }), undefined), 'Scoring r with tiny …');
  assert.equal(jobText(job('failed'), 'running'), 'Computing signals of r failed: why');
  assert.match(jobText(job('cancelled'), 'running'), /was cancelled\. What was computed is kept\.$/);
  assert.equal(jobText(job('done'), 'running'), 'The signals of r were computed and stored in its folder.');
  for (const was of /** @type {const} */ ([undefined, 'idle', 'done'])) assert.equal(jobText(job('done'), was), '');
});

test('a sample says how long the rest takes', () => {
  const sample = { groups: 8, groups_left: 56, seconds: 100, seconds_left: 700 };
  assert.equal(jobText(job('done', { reference: 'tiny', sample }), 'running'),
    '8 of 64 groups of r that had no scores of tiny were scored in 2 minutes; the rest takes about 12 minutes.');
  const all = { ...sample, groups_left: 0, seconds_left: 0 };
  assert.equal(jobText(job('done', { sample: all }), 'running'), 'The signals of r were computed and stored in its folder.');
});
