/* Keyboard shortcuts. Disabled while typing and in controls that use the same keys. */
import { isCommand } from '../lib/dom.js';

const BUSY = 'input:not([type=checkbox]), textarea, select, dialog, [contenteditable], [role=slider], [role=listbox], '
  + '[role=combobox], [role=tab], [role=radiogroup]';

/** A focused token handles the arrow keys itself. @param {Record<string, () => void>} actions by key, or
 * `token:` or `shift:` and a key */
export function install(actions) {
  document.addEventListener('keydown', (event) => {
    const target = /** @type {Element} */ (event.target);
    if (isCommand(event) || event.defaultPrevented || target.closest?.(BUSY)) return;
    const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    // Space and Enter press the button that has the focus.
    if ((name === ' ' || name === 'Enter') && target.closest('button, summary, a')) return;
    const action = (target.classList?.contains('t') && actions[`token:${name}`])
      || (event.shiftKey && actions[`shift:${name}`]) || actions[name];
    if (!action) return;
    event.preventDefault();
    action();
  });
}
