/* Parts of forms: selects, check boxes, and labelled fields. */
import { el } from '../dom.js';

/** @typedef {readonly [value: string | number, title: string, disabled?: boolean]} Option */

/**
 * @param {string} label for screen readers; '' where a `field` around it has one
 * @param {readonly (Option | string | number)[]} options a value alone is its own title
 * @param {(value: string) => void} [onChoose]
 * @param {string | number} [value] the one that is selected; the first one by default
 */
export function select(label, options, onChoose = () => {}, value = undefined) {
  const node = el('select', '', { onchange: () => onChoose(node.value) }, label ? { 'aria-label': label } : null);
  setOptions(node, options, value);
  return node;
}

/**
 * Replace the options; `value` is selected.
 *
 * @param {HTMLSelectElement} node
 * @param {readonly (Option | string | number)[]} options a value alone is its own title
 * @param {string | number} [value]
 */
export function setOptions(node, options, value) {
  node.replaceChildren(...options.map((option) => {
    const [name, title, disabled] = typeof option === 'object' ? option : [option, option];
    return el('option', '', { value: String(name), disabled: Boolean(disabled) }, title);
  }));
  if (value !== undefined) node.value = String(value);
}

/** A control under its title. @param {string} title @param {Node} control @param {string} [hint] */
export const field = (title, control, hint) =>
  el('label', 'af-field', el('b', '', title), hint && el('span', 'af-quiet', hint), control);

/**
 * A check box; `node` is its label.
 *
 * @param {string} text
 * @param {(checked: boolean) => void} onChange
 * @param {boolean} [checked]
 */
export function checkbox(text, onChange, checked = false) {
  const box = el('input', '', { type: 'checkbox', checked, onchange: () => onChange(box.checked) });
  return { node: el('label', 'af-check', box, text), box };
}

/**
 * A form whose content goes nowhere by itself.
 *
 * @param {string} cls
 * @param {() => void} onSubmit
 * @param {...(Node | string | false | null)} parts
 */
export function form(cls, onSubmit, ...parts) {
  /** @param {SubmitEvent} event */
  function onsubmit(event) {
    event.preventDefault();
    onSubmit();
  }
  return el('form', cls, { onsubmit }, ...parts);
}

/** The button that submits a form. @param {string} text @param {string} [cls] */
export const submitButton = (text, cls = 'af-button primary') => el('button', cls, { type: 'submit' }, text);
