/* What the Train page says of experiments, in sentences. Pure: runs in a browser and in Node. */
import { count, counted, duration, interval, known, number, percent, signed } from '../../web/lib/format.js';
import { valueAt } from './series.js';

/** @typedef {import('../../web/generated/types').Experiment} Experiment */
/** @typedef {import('../../web/generated/types').TrainedRun} TrainedRun */
/** @typedef {import('../../web/generated/types').PromptStep} PromptStep */
/** @typedef {TrainedRun['state']} RunState */
/** @typedef {(scheme: string) => string} TitleOf */

export const SUCCESS = 'eval/t1/success';
/** States in which a run takes or waits for its turn. @type {RunState[]} */
const GOING = ['running', 'starting', 'paused', 'queued'];
/** States out of which a run can be resumed. @type {RunState[]} */
const RESUMABLE = ['stopped', 'killed', 'waiting'];
/** @type {Record<RunState, string>} */
const WORDS = {
  queued: 'queued', waiting: 'suspended: press Resume', starting: 'starting', running: 'training', paused: 'paused',
  stopped: 'stopped', finished: 'finished', failed: 'failed', killed: 'killed: press Resume to continue',
};

/** @param {readonly RunState[]} states of the runs of an experiment */
export const isGoing = (states) => states.some((state) => GOING.includes(state));

/** @param {{ environment: string, algorithm: string, policy: string }} experiment the embedded policy is not named */
export const about = ({ environment, algorithm, policy }) =>
  `${environment}, ${algorithm.toUpperCase()}${policy === 'tiny' ? '' : ` of ${policy}`}`;

/** How far the runs of a listed experiment are. @param {readonly RunState[]} states */
export const standing = (states) =>
  (isGoing(states) ? 'in progress' : `${states.filter((state) => state === 'finished').length} of ${states.length} finished`);

/** @param {import('../../web/generated/types').TrainingEstimate} estimate */
export const estimateText = ({ runs, steps, seconds, rate, measured }) =>
  `${counted(runs, 'run')} of ${steps} steps, one after another: about ${duration(seconds)} `
  + `(${rate.toFixed(1)} s per step, ${measured ? 'measured on this machine' : 'not measured yet'}).`;

/** How far an experiment is, and what can be done with it. @param {Experiment} experiment */
export function progressOf({ runs, steps }) {
  const states = runs.map((run) => run.state);
  const [done, total] = [runs.reduce((sum, run) => sum + Math.min(run.step, steps), 0), steps * runs.length];
  const paces = runs.filter((run) => run.step && run.elapsed).map((run) => run.elapsed / run.step);
  const [going, paused] = [isGoing(states), states.includes('paused')];
  const left = going && paces.length ? duration((total - done) * paces.reduce((a, b) => a + b, 0) / paces.length) : '';
  return {
    done, total, text: `${done} of ${total} steps${left && `, about ${left} left`}`,
    can: { pause: going && !paused, go: paused || states.some((state) => RESUMABLE.includes(state)), stop: going },
  };
}

/** @param {TrainedRun} run */
export const stateText = ({ state, place }) => (state === 'queued' && place ? `queued, position ${place}` : WORDS[state]);

/** The k-th evaluation of a run, with its 95 % interval where it has one.
 * @param {import('./series.js').MetricLines} metrics @param {number} k */
export function evaluationText({ of }, k) {
  const { x, y } = of(SUCCESS);
  const [low, high] = ['low', 'high'].map((end) => valueAt(of(`${SUCCESS}_${end}`), x[k]));
  return interval(y[k], low, high);
}

/** The comparisons of schemes, paired by seed, with their 95 % intervals. @param {Experiment} experiment @param {TitleOf} title */
export const comparisonText = ({ comparisons }, title) => comparisons.map(({ scheme, baseline, seeds, mean, low, high }) => {
  if (!known(mean) || !known(low) || !known(high)) {
    return `${title(scheme)} and ${title(baseline)}: ${counted(seeds, 'seed')} finished under both; at least 3 are needed for a comparison.`;
  }
  const result = low > 0 ? 'higher' : high < 0 ? 'lower' : 'no significant difference';
  return `${title(scheme)} − ${title(baseline)}, success rate at temperature 1: ${signed(mean, 2)}, `
    + `95 % interval [${signed(low, 2)}, ${signed(high, 2)}] over ${count(seeds)} paired seeds: ${result}.`;
}).join(' ');

/** Index of the best evaluation before the last, from which success can have been lost. @param {ArrayLike<number>} means */
export function bestBefore(means) {
  const earlier = Array.from(means).slice(0, Math.max(means.length - 1, 1));
  return Math.max(0, earlier.indexOf(Math.max(...earlier.filter(known))));
}

/**
 * On which prompts the success rate changed by half between two evaluations.
 *
 * @param {number[]} prompts
 * @param {ArrayLike<number>[]} success [prompts][steps]
 * @param {number} from
 * @param {number} to
 */
export function changeText(prompts, success, from, to) {
  /** @param {number} a @param {number} b */
  const dropped = (a, b) => prompts.filter((_, i) => success[i][a] - success[i][b] >= 0.5);
  const fell = dropped(from, to);
  return `The success rate fell by at least 50 percentage points on ${fell.length} of ${prompts.length} prompts`
    + `${fell.length ? ` (${fell.join(', ')})` : ''} and rose by as much on ${dropped(to, from).length}.`;
}

/** The rollout of a prompt at a step, and what changed since the step before. @param {PromptStep} now @param {PromptStep} [before] */
export function stepText(now, before) {
  const result = now.own === null ? 'success unknown' : now.own ? 'success' : 'no success';
  return `Step ${now.step}: ${result}, return ${number(now.return, 2)}, ${counted(now.turns.length, 'turn')}; `
    + `${percent(now.share)} of the weight on action tokens. ${before ? actionsText(before, now) : ''}`.trim();
}

/** The first turn whose actions differ from those of the step before. @param {PromptStep} before @param {PromptStep} now */
function actionsText(before, now) {
  /** @param {PromptStep} step @param {number} k */
  const line = ({ turns }, k) => (turns[k] ? turns[k].actions.join(', ') || 'no action' : 'end of the episode');
  for (let k = 0; k < Math.max(before.turns.length, now.turns.length); k++) {
    const [a, b] = [line(before, k), line(now, k)];
    if (a !== b) return `First change since step ${before.step}: turn ${k + 1}, ${a} → ${b}.`;
  }
  return `Same actions as at step ${before.step}.`;
}
