/* Opening a trajectory, by the page or by the browser's Back and Forward. */
import { lineOf, post } from './api.js';
import { listOf } from './list_query.js';
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
 * Open what the view names, as one of the rollouts that are listed. One request at a time: of those made meanwhile only the last is sent.
 *
 * @param {Partial<import('../generated/types').View>} view what is left out is the default
 * @param {boolean} [restore] take over every parameter of the view, as of an address
 */
export async function go(view, restore = false) {
  const whole = restore ? view : { ...listOf(store.place), ...view };
  if (!restore) Object.assign(store.place, listOf(/** @type {import('./list_query.js').ListQuery} */ (whole)));
  waiting = { view: whole, restore };
  if (busy) return;
  busy = true;
  while (waiting) {
    const request = waiting;
    waiting = null;
    const answer = await post('trace/open', request).catch((error) => ({ error: lineOf(error), view: null }));
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

/** Open a token on the Trace page, and keep all else as it is.
 * @param {{ trajectory: string, turn: number, token: number }} where */
export function openToken(where) {
  store.showTab('trace');
  go({ ...store.view(), tab: 'trace', filter: 'all', step: null, ...where }, true);
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
