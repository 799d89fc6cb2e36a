/* A state of an environment as a person sees it: a picture, or a page of the shop. */
import { el, textButton } from '../lib/dom.js';
import * as label from './label.js';

/** @typedef {import('../generated/types').ShopPage} ShopPage */
/** @typedef {import('../generated/types').ShopButton} ShopButton */

/** Pictures are images with a data URL, so nothing inside one can run. @param {string | null} svg @param {string} text */
export function image(svg, text) {
  if (!svg) return el('span', 'af-no-picture', { title: 'this environment has no picture' }, text ? 'picture unavailable' : '–');
  return el('img', '', { src: `data:image/svg+xml,${encodeURIComponent(svg)}`, alt: text });
}

/** How a trajectory ended. @param {{ success: boolean | null, terminated: boolean, truncated: boolean, error?: string }} t */
export function ending(t) {
  if (t.error) return `ended in an error: ${t.error.slice(0, 80)}`;
  if (t.success) return 'goal reached';
  if (t.success === null && t.terminated) return 'success unknown';
  return t.terminated ? 'failed' : t.truncated ? 'turn limit reached' : 'stopped';
}

/**
 * The shop's page as text and buttons.
 *
 * @param {ShopPage} shown
 * @param {Record<string, number> | null} costs of the actions, where they are to be shown
 * @param {((action: string) => void) | null} onAct null: read-only
 */
export function shopPage(shown, costs, onAct) {
  /** @param {ShopButton} b */
  function press(b) {
    const node = onAct ? textButton(b.label, () => onAct(b.action), 'af-move') : el('span', 'af-move still', b.label);
    node.classList.toggle('chosen', b.chosen);
    if (b.note) node.append(el('span', 'af-quiet', ` ${b.note}`));
    if (costs && b.action in costs) node.append(' ', label.chip(costs[b.action]));
    return node;
  }
  const groups = new Set(shown.buttons.map((b) => b.group));
  return el('div', 'af-shop', el('p', 'af-shop-goal', shown.instruction), el('h4', '', shown.title),
    ...shown.lines.map((line) => el('p', '', line)), shown.search && el('p', 'af-quiet', 'A search box: search[words]'),
    ...[...groups].map((group) => el('div', group === 'product' ? 'af-shop-list' : 'af-shop-row',
      group.startsWith('option:') && el('span', 'af-quiet', `${group.slice(7)} `), ...shown.buttons.filter((b) => b.group === group).map(press))));
}
