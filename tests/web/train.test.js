/* Metrics of a run as lines, and what the Train page says of experiments. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { across, metricLines, thin, valueAt } from '../../app/actfocus_studio/pages/train/series.js';
import * as words from '../../app/actfocus_studio/pages/train/words.js';

/** @typedef {import('../../app/actfocus_studio/web/generated/types').Experiment} Experiment */
/** @typedef {import('../../app/actfocus_studio/web/generated/types').TrainedRun} TrainedRun */
/** @typedef {import('../../app/actfocus_studio/web/generated/types').PromptStep} PromptStep */

/** @param {number[]} values */
const column = (values) => ({ dtype: /** @type {const} */ ('float64'), data: Buffer.from(Float64Array.from(values).buffer).toString('base64') });
/** @param {Record<string, number[]>} values */
const columns = (values) => Object.fromEntries(Object.entries(values).map(([name, of]) => [name, column(of)]));
/** @param {Record<string, number[]>[]} parts */
function lines(...parts) {
  const found = metricLines();
  for (const part of parts) found.append(columns(part));
  return found;
}

test('metrics are appended, without rows that lack them and steps that a resumed run repeats', () => {
  const run = lines({ step: [0, 1, 2], m: [0.1, NaN, 0.3] });
  const m = run.of('m');
  assert.deepEqual(m, { x: [0, 2], y: [0.1, 0.3] });
  run.append(columns({ step: [1, 2, 3, 4], m: [9, 9, 0.4, Infinity], n: [9, 9, 9, 7] }));
  run.append({});
  assert.equal(run.of('m'), m);
  assert.deepEqual(m, { x: [0, 2, 3], y: [0.1, 0.3, 0.4] });
  assert.deepEqual(run.of('n'), { x: [3, 4], y: [9, 7] });
  assert.deepEqual([valueAt(m, 2), valueAt(m, 1)], [0.3, undefined]);
  assert.deepEqual([run.hasRows(), metricLines().hasRows()], [true, false]);
});

test('a thinned line keeps its extremes and the visible range', () => {
  let value = 0;
  const x = Array.from({ length: 10_000 }, (_, i) => i);
  const y = x.map((i) => (value += Math.sin(i * i * 0.37) + Math.cos(i * 1.7)));
  const whole = thin(x, y, null, 800);
  assert.ok(whole.x.length <= 803);
  assert.deepEqual(whole.x, [...new Set(whole.x)].sort((a, b) => a - b));
  assert.deepEqual([whole.x[0], whole.x.at(-1)], [0, 9999]);
  assert.deepEqual(whole.y, whole.x.map((i) => y[i]));
  for (let k = 0; k < 10_000; k += 25) {
    const [part, kept] = [y.slice(k, k + 25), whole.y.filter((_, i) => whole.x[i] >= k && whole.x[i] < k + 25)];
    assert.deepEqual([Math.min(...kept), Math.max(...kept)], [Math.min(...part), Math.max(...part)], 'of every segment');
  }
  const close = thin(x, y, [4000.5, 4300], 800);
  for (let i = 4000; i < 4302; i++) assert.ok(close.x.includes(i));
  assert.ok(close.x.length < 600 && close.x.at(-1) === 9999);
});

test('short lines are drawn as they are', () => {
  assert.deepEqual(thin([], [], null, 800), { x: [], y: [] });
  assert.deepEqual(thin([3, 7], [1, 2], null, 800), { x: [3, 7], y: [1, 2] });
  assert.deepEqual(thin([3, 7], [1, 2], [4, 5], 800), { x: [3, 7], y: [1, 2] });
});

test('the mean line is over the steps that all seeds have', () => {
  const seeds = [[0, 1, 2, 4], [0, 2, 3, 4, 6], [0, 2, 4, 5]].map((steps, k) =>
    lines({ step: steps, m: steps.map((step) => 10 * step + k) }));
  const average = () => across(seeds.map((seed) => seed.of('m')));
  assert.deepEqual(average().x, [0, 2, 4]);
  seeds.forEach((seed, k) => seed.append(columns({ step: [9, 10], m: [90 + k, NaN] })));
  const { x, mean, low, high } = average();
  assert.deepEqual([x, mean, low, high], [[0, 2, 4, 9], [1, 21, 41, 91], [0, 20, 40, 90], [2, 22, 42, 92]]);
  assert.deepEqual(across([seeds[0].of('m'), seeds[2].of('m')]).x, [0, 2, 4, 9], 'other seeds are another average');
});

/** @param {Partial<TrainedRun>} more @returns {TrainedRun} */
const run = (more) => ({
  name: 'r', scheme: 'uniform', seed: 0, state: 'running', step: 0, phase: '', elapsed: 0, message: '', log: '', place: null,
  metrics: {}, cursor: 0, more: false, ...more,
});
/** @param {TrainedRun[]} runs @returns {Experiment} */
const experiment = (...runs) => ({ id: 'e', environment: 'Sokoban', algorithm: 'ppo', policy: 'tiny', steps: 10, runs, comparisons: [] });

test('an experiment says how far it is and what can be done with it', () => {
  const going = words.progressOf(experiment(run({ step: 5, elapsed: 20 }), run({ state: 'queued' })));
  assert.deepEqual(going, { done: 5, total: 20, text: '5 of 20 steps, about 60 s left', can: { pause: true, go: false, stop: true } });
  const states = /** @type {const} */ ([['paused', false, true, true], ['stopped', false, true, false], ['finished', false, false, false]]);
  for (const [state, pause, go, stop] of states) {
    const { can, text } = words.progressOf(experiment(run({ state, step: 12, elapsed: 1 })));
    assert.deepEqual(can, { pause, go, stop });
    assert.ok(text.startsWith('10 of 10 steps'));
  }
  assert.equal(words.stateText(run({ state: 'queued', place: 3 })), 'queued, position 3');
  assert.equal(words.about({ ...experiment(), policy: 'mine' }), 'Sokoban, PPO of mine');
  assert.deepEqual([words.standing(['finished', 'queued']), words.standing(['finished', 'failed'])], ['in progress', '1 of 2 finished']);
});

test('an evaluation has the interval of its own step', () => {
  const metrics = lines({ step: [0, 5], [words.SUCCESS]: [0.5, 0.75], [`${words.SUCCESS}_low`]: [NaN, 0.6], [`${words.SUCCESS}_high`]: [NaN, 0.9] });
  assert.deepEqual([0, 1].map((k) => words.evaluationText(metrics, k)), ['0.50', '0.75 [0.60, 0.90]']);
});

test('comparisons', () => {
  const one = { scheme: 'a', baseline: 'b', seeds: 3, mean: 0.1, low: 0.02, high: 0.18 };
  /** @param {Partial<typeof one> | { mean: null, low: null, high: null, seeds: number }} more */
  const text = (more) => words.comparisonText({ ...experiment(), comparisons: [{ ...one, ...more }] }, (name) => name.toUpperCase());
  assert.equal(text({}), 'A − B, success rate at temperature 1: +0.10, 95 % interval [+0.02, +0.18] over 3 paired seeds: higher.');
  assert.match(text({ mean: -0.1, low: -0.2, high: -0.05 }), /−0\.10, 95 % interval \[−0\.20, −0\.05\] .*: lower\.$/);
  assert.match(text({ low: -0.01 }), /no significant difference\.$/);
  assert.equal(text({ mean: null, low: null, high: null, seeds: 1 }),
    'A and B: 1 seed finished under both; at least 3 are needed for a comparison.');
});

test('evaluations: the best before the last, and the prompts that changed by half', () => {
  assert.deepEqual([[0.2, 0.9, 0.5, 1], [NaN, 0.1, NaN], [0.4], [NaN, NaN]].map(words.bestBefore), [1, 1, 0, 0]);
  const success = [[1, 0.5], [0, 1], [NaN, 0], [0.6, 0.2]];
  assert.equal(words.changeText([7, 8, 9, 10], success, 0, 1),
    'The success rate fell by at least 50 percentage points on 1 of 4 prompts (7) and rose by as much on 1.');
});

test('a prompt over time names the first turn that changed', () => {
  /** @param {number} number @param {...string[]} actions @returns {PromptStep} */
  const step = (number, ...actions) => ({
    step: number, id: '', success: 1, own: true, return: 1, share: 0.25,
    tokens: /** @type {any} */ (null), turns: actions.map((names) => /** @type {any} */ ({ actions: names })),
  });
  assert.equal(words.stepText(step(3, ['Up'])), 'Step 3: success, return 1.00, 1 turn; 25 % of the weight on action tokens.');
  assert.match(words.stepText(step(3, ['Up'], []), step(1, ['Up'])), /First change since step 1: turn 2, end of the episode → no action\.$/);
  assert.match(words.stepText(step(3, ['Up']), step(1, ['Up'])), /Same actions as at step 1\.$/);
  assert.match(words.stepText({ ...step(3), own: null, return: null, share: null }), /success unknown, return unavailable, 0 turns; unavailable/);
});
