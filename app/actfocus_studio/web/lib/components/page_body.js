/* A page of charts and tables: its body is shown once there is data, and a line in its place until then. */
import { el, onSight } from '../dom.js';
import { store } from '../store.js';
import { alertLine } from './alert.js';

/**
 * Fill a page's element. `wake` is called whenever the page comes into sight or another trajectory is opened.
 *
 * @param {HTMLElement} element
 * @param {string} cls
 * @param {() => void} wake
 * @param {...Node} children of the body
 */
export function pageBody(element, cls, wake, ...children) {
  const alert = alertLine();
  const empty = el('div', 'af-empty', 'Loading …');
  const body = el('div', 'af-pagebody', { hidden: true }, ...children);

  /** Show this text in place of the body; without a text the body. @param {string} [text] */
  function wait(text = '') {
    body.hidden = Boolean(text);
    empty.hidden = !text;
    empty.textContent = text;
  }

  element.classList.add('af-page', cls);
  element.replaceChildren(alert.node, empty, body);
  store.onPlace(() => {
    if (!store.place.run) wait('No run is open.');
    wake();
  });
  return { alert, body, wait, seen: onSight(element, wake) };
}
