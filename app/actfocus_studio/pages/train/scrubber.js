/* One evaluation prompt at every evaluated step: a slider over steps, and the rollout shaded as on the Trace page. */
import { player } from '../../web/lib/components/player.js';
import { numbers } from '../../web/lib/columns.js';
import { el, linkButton, quiet, textButton } from '../../web/lib/dom.js';
import { tokenModel } from '../../web/trace/model.js';
import * as tokens from '../../web/trace/tokens.js';
import { successCell } from './evaluations.js';
import { stepText } from './words.js';

const STEP_MS = 900;
const CELLS = 'Cells: success rate over all rollouts of the prompt in %.';
const WEIGHTED = 'First rollout at each evaluated step, shaded by weight under the scheme of this run. Energy is that of the frozen '
  + `reference; μ and σ are over the rollouts shown here. ${CELLS}`;
const UNWEIGHTED = 'First rollout at each evaluated step. Weights unavailable: the scheme of this run needs signals that evaluations '
  + `do not have. ${CELLS}`;

/**
 * @param {import('../../web/generated/types').PromptOverTime} found
 * @param {string} heading
 * @param {(step: number, id: string) => void} onOpen a rollout is wanted on the Trace page
 */
export function promptOverTime({ steps, prompt, weighted }, heading, onOpen) {
  const weights = steps.map((step) => Float64Array.from(numbers(step.tokens.weight)));
  const weightTop = Math.max(...weights.flatMap((one) => [...one.filter(Number.isFinite)]), 1e-9);
  const text = el('div', 'af-overtime-text af-text');
  const summary = el('p', 'af-overtime-told', { 'aria-live': 'polite' });
  const cells = steps.map(({ step, success }, k) => successCell(success, '?', `step ${step}`, () => show(k)));
  const playing = player({ label: 'Evaluated step', milliseconds: STEP_MS, onStep: show, onPlaying: face });
  const play = textButton('Play', playing.toggle);
  const open = linkButton('Open in Trace', () => onOpen(steps[now].step, steps[now].id));
  let now = steps.length - 1;
  playing.reset(steps.length);
  show(now);

  /** @param {boolean} on */
  function face(on) {
    play.textContent = on ? 'Pause' : 'Play';
  }

  /** @param {number} k */
  function show(k) {
    const step = steps[k];
    now = k;
    playing.at(k, `step ${step.step}`);
    cells.forEach((cell, i) => cell.classList.toggle('on', i === k));
    summary.textContent = stepText(step, steps[k - 1]);
    const model = Object.assign(tokenModel(step.tokens, step.turns), { weights: weights[k], weightTop });
    tokens.paint(tokens.build(text, model), 'weight');
  }

  return el('section', 'af-overtime', el('h4', '', `Prompt ${prompt} over time: ${heading}`),
    quiet(weighted ? WEIGHTED : UNWEIGHTED), el('div', 'af-overtime-strip', ...cells),
    el('p', 'af-overtime-tools', playing.slider, play, open), summary, text);
}
