/* Opening a trajectory, by the page or by the browser's Back and Forward. */
import { lineOf, post } from './api.js';
import { store } from './store.js';

/** @typedef {import('../generated/types').Api['trace/open']['response']} OpenResponse */

/** @type {((answer: OpenResponse) => void)[]} */
const listeners = [];
/** @type {OpenResponse | null} */
let opened = null;
/** @type {import('../generated/types').OpenRequest | null} */
let waiting = null;
let busy = false;

/** `listener` is called whenever a trajectory was opened, and at once if one is open already.
 * @param {(answer: OpenResponse) => void} listener */
export function onOpened(listener) {
  listeners.push(listener);
  if (opened) listener(opened);
}

/** A part of the page that fails keeps no other from what was opened.
 * @param {(answer: OpenResponse) => void} listener @param {OpenResponse} answer */
function notify(listener, answer) {
  try {
    listener(answer);
  } catch (error) {
    reportError(error);
  }
}

/**
 * Open what the view names. One request at a time: of those made meanwhile only the last is sent.
 *
 * @param {Partial<import('../generated/types').View>} view what is left out is the default
 * @param {boolean} [restore] take over every parameter of the view, as of an address
 */
export async function go(view, restore = false) {
  waiting = { view, restore };
  if (busy) return;
  busy = true;
  while (waiting) {
    const request = waiting;
    waiting = null;
    const answer = await post('trace/open', request).catch((error) => ({ error: lineOf(error), runs: null, view: null }));
    opened = answer;
    store.opened(answer);
    for (const listener of listeners) notify(listener, answer);
    store.remember();
    store.placed();
  }
  busy = false;
}

/** Open a trajectory on the Trace page. @param {Partial<import('../generated/types').View>} view */
export function openInTrace(view) {
  store.showTab('trace');
  go(view);
}

/** Open what the address names, and again whenever the browser goes back or forward. */
export function start() {
  const restore = () => go(Object.fromEntries(new URLSearchParams(window.location.search)), true);
  window.addEventListener('popstate', () => {
    store.returned();
    restore();
  });
  restore();
}
