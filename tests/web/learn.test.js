/* Steps of a lesson: the view that each opens. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { paragraphs, viewOf } from '../../app/actfocus_studio/pages/learn/steps.js';
import { VIEW } from '../../app/actfocus_studio/web/generated/constants.js';

/** @typedef {import('../../app/actfocus_studio/pages/learn/steps.js').Step} Step */

const current = { ...VIEW, run: 'a', step: 3, trajectory: 't', turn: 2, token: 9, alpha: 0.7 };
/** @param {Partial<Step>} more @returns {Step} */
const step = (more) => ({ say: '', view: {}, pin: '', question: null, ...more });

test('a step leaves what it does not name', () => {
  assert.deepEqual(viewOf(current, step({ view: { alpha: 0.1, tab: 'tune' } })), { ...current, alpha: 0.1, tab: 'tune' });
});

test('other rollouts open at their first trajectory, the same ones stay where they are', () => {
  assert.deepEqual(viewOf(current, step({ view: { run: 'b' } })), { ...current, run: 'b', trajectory: '', turn: 0, token: null });
  assert.deepEqual(viewOf(current, step({ view: { filter: 'all', run: 'a' } })), current);
  assert.equal(viewOf(current, step({ view: { filter: 'failure', trajectory: 'u' } })).trajectory, 'u');
});

test('a step that pins a token or names a turn unpins the current one', () => {
  assert.equal(viewOf(current, step({ pin: 'action' })).token, null);
  assert.deepEqual(viewOf(current, step({ view: { turn: 1, token: 4 } })), { ...current, turn: 1, token: 4 });
});

test('paragraphs', () => {
  assert.deepEqual(paragraphs('One\n  line.\n\nTwo.\n \nThree.'), ['One line.', 'Two.', 'Three.']);
});
