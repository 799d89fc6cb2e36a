/* A segmented control: a group of radio buttons in one row. */
import { el } from '../dom.js';

const STEPS = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 };

/**
 * @template {string} Value
 * @param {string} label
 * @param {readonly (readonly [value: Value, title: string, help?: string])[]} choices
 * @param {(value: Value) => void} onChoose called for a click or an arrow key; `show` then marks the choice
 */
export function segmented(label, choices, onChoose) {
  const nodes = new Map(choices.map(([value, title, help]) => [
    value, el('button', 'af-segment', { type: 'button', role: 'radio', title: help || '', onclick: () => onChoose(value) }, title),
  ]));
  const values = [...nodes.keys()];
  let chosen = values[0];

  /** @param {KeyboardEvent} event */
  function onkeydown(event) {
    const step = STEPS[/** @type {keyof typeof STEPS} */ (event.key)];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    onChoose(values[(values.indexOf(chosen) + step + values.length) % values.length]);
    nodes.get(chosen)?.focus();
  }

  /** @param {Value} value */
  function show(value) {
    chosen = value;
    for (const [other, node] of nodes) {
      node.setAttribute('aria-checked', String(other === value));
      node.tabIndex = other === value ? 0 : -1;
    }
  }

  show(chosen);
  return { node: el('div', 'af-segments', { role: 'radiogroup', 'aria-label': label, onkeydown }, ...nodes.values()), show };
}
