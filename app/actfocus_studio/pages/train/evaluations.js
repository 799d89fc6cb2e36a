/* Evaluation prompts at every evaluated step: a cell for every success rate, and what changed between two steps. */
import { select } from '../../web/lib/components/form.js';
import { table } from '../../web/lib/components/table.js';
import { numbers } from '../../web/lib/columns.js';
import { el, quiet, textButton } from '../../web/lib/dom.js';
import { known, percent } from '../../web/lib/format.js';
import { bestBefore, changeText } from './words.js';

/**
 * @param {import('../../web/generated/types').PromptEvaluations} found
 * @param {string} heading
 * @param {object} how
 * @param {(step: number, trajectory: string) => void} how.onCell
 * @param {(prompt: number) => void} how.onPrompt
 */
export function evaluationNodes({ steps, prompts, ...found }, heading, { onCell, onPrompt }) {
  const success = found.success.map((column) => numbers(column));
  const mean = numbers(found.mean);
  const change = el('p', '', { 'aria-live': 'polite' });
  /** @param {string} label @param {number} k the step that is chosen first */
  const step = (label, k) => select(label, steps.map((value, i) => [i, `step ${value} (${rate(mean[i])})`]), update, k);
  const from = step('from step', bestBefore(mean));
  const to = step('to step', steps.length - 1);
  update();

  function update() {
    change.textContent = changeText(prompts, success, Number(from.value), Number(to.value));
  }

  const rows = prompts.map((prompt, i) => [textButton(String(prompt), () => onPrompt(prompt), 'af-link', { title: `Show prompt ${prompt} at every evaluated step` }),
    ...steps.map((value, k) => {
    const id = found.ids[i][k];
    const title = `Open prompt ${prompt} at step ${value}: success rate ${rate(success[i][k])}`;
    return successCell(success[i][k], '', title, () => id !== null && onCell(value, id));
  })]);
  return [
    el('h3', '', `Evaluation prompts at every evaluated step: ${heading}`),
    quiet('Success rate in % at temperature 1. Select a cell to open its rollouts, a prompt to show it over time. '
      + 'Change between two evaluations:'),
    el('p', 'af-race-pick', 'from ', from, ' to ', to), change,
    el('div', 'af-cells', table('', ['prompt', ...steps.map((value) => `step ${value}`)], rows, { cls: '', rowHeads: true })),
  ];
}

/** @param {number} share */
const rate = (share) => (known(share) ? percent(share) : 'unknown');

/**
 * A success rate as a shaded button.
 *
 * @param {number | null} share
 * @param {string} unknown its text where it is not known
 * @param {string} title
 * @param {() => void} onclick
 */
export function successCell(share, unknown, title, onclick) {
  const text = known(share) ? `${Math.round(100 * share)}` : unknown;
  const node = textButton(text, onclick, 'af-cell', { title });
  node.style.setProperty('--share', String(share || 0));
  return node;
}
