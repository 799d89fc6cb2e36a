/* One line above a page or in a panel that says what is wrong; hidden while nothing is. */
import { button, el } from '../dom.js';

/** @param {{ closable?: boolean, cls?: string }} [how] */
export function alertLine({ closable = false, cls = 'af-alert' } = {}) {
  const text = el('span', '');
  const node = el('p', cls, { hidden: true, role: 'alert' }, text, closable && button('af-tool', '×', 'Close', close));

  /** Show a line, or nothing. `error`: something failed, rather than being worth a note. @param {string} line */
  function say(line, error = true) {
    node.hidden = !line;
    node.classList.toggle('error', error);
    text.textContent = line;
  }

  function close() {
    node.hidden = true;
  }

  return { node, say, close };
}
