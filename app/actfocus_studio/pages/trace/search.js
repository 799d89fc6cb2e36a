/* Searching in the text of the open trajectory. */
import { el } from '../../web/lib/dom.js';
import * as tokens from '../../web/trace/tokens.js';

/** @param {() => tokens.TokenView} viewOf */
export function createSearch(viewOf) {
  /** @type {number[]} */
  let matches = [];
  let match = -1;
  const input = el('input', 'af-search', { type: 'search', placeholder: 'Search  /', 'aria-label': 'Search in the text',
    oninput: () => find(0), onkeydown: key });
  const count = el('span', 'af-quiet af-count');

  /** @param {0 | 1 | -1} step 0: a new text */
  function find(step) {
    const view = viewOf();
    if (!step) {
      matches = tokens.search(view, input.value);
      match = -1;
    }
    if (matches.length) {
      match = (match + (step || 1) + matches.length) % matches.length;
      tokens.reveal(view, view.spans[matches[match]], 'near');
    }
    count.textContent = !input.value ? '' : matches.length ? `${match + 1} of ${matches.length}` : 'not found';
  }

  /** @param {KeyboardEvent} event */
  function key(event) {
    if (event.key === 'Enter') find(event.shiftKey ? -1 : 1);
    else if (event.key === 'Escape') {
      input.value = '';
      find(0);
      input.blur();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** Another trajectory is open. */
  function reset() {
    count.textContent = input.value = '';
    matches = [];
  }

  /** The text was built again: mark what was found in it. */
  const again = () => { if (input.value) tokens.search(viewOf(), input.value); };

  return { input, count, reset, again };
}
