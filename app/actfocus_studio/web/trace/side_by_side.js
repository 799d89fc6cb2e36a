/* Trajectories beside each other, linked: what the pointer is on is marked in all, scrolling and the arrow keys go together. */
import { announcer, el, isCommand, perFrame, settle } from '../lib/dom.js';
import { visible } from '../lib/format.js';
import { spanOf, tokenModel } from './model.js';
import { ending, image } from './state_view.js';
import * as tokens from './tokens.js';

/** @typedef {import('./model.js').Turn} Turn */
/** @typedef {ReturnType<typeof createPane>} Pane */
/** @typedef {(from: Pane, to: Pane, i: number) => number | null} Counterpart the token of another pane that belongs to token i */

/** Events after which the others follow a pane. */
const LEAD = ['pointerenter', 'pointerdown', 'focusin', 'wheel', 'touchstart'];
const PASSIVE = { passive: true };

/**
 * One trajectory. What is painted is set in its `model`.
 *
 * @param {string} title
 * @param {string} about
 * @param {{ tokens: import('./model.js').Tokens, turns: Turn[] }} data
 */
export function createPane(title, about, data) {
  const model = tokenModel(data.tokens, data.turns);
  const what = el('span', 'af-quiet', about);
  const box = el('div', 'af-text', { role: 'region', 'aria-label': title });
  const view = tokens.build(box, model);
  const node = el('section', 'af-pane', el('header', 'af-pane-head', el('b', '', title), what), box);
  return { title, model, what, box, view, node, data };
}

/**
 * Link panes.
 *
 * @param {Pane[]} panes
 * @param {Counterpart} counterpart
 * @param {(pane: Pane, i: number) => void} onToken token i is under the pointer
 * @param {() => void} [onMove] token i was moved to, by key or click
 */
export function link(panes, counterpart, onToken, onMove = () => {}) {
  let lead = panes[0];
  // Cards get their true height once visible, so align again.
  const follow = perFrame(() => settle(2, () => {
    for (const p of panes) if (p !== lead) align(lead.box, p.box);
  }));

  /** @param {Pane} p @param {number | null} i */
  function hover(p, i) {
    for (const other of panes) tokens.mark(other.view, 'hot', i === null ? null : counterpart(p, other, i));
    if (i !== null) onToken(p, i);
  }

  /** Move to a token: the focus moves, and screen readers announce it. @param {Pane} p @param {number} i */
  function walk(p, i) {
    if (i < 0 || i >= p.model.n) return;
    tokens.rove(p.view, i);
    p.view.spans[i].closest('details')?.setAttribute('open', '');
    p.view.spans[i].focus({ preventScroll: true });
    reveal(p, i);
    onMove();
  }

  /** Bring a token into view. @param {Pane} p @param {number} i */
  function reveal(p, i) {
    tokens.reveal(p.view, p.view.spans[i], 'near');
    hover(p, i);
  }

  /** @param {Pane} p @param {KeyboardEvent} event */
  function keydown(p, event) {
    const step = event.key === 'ArrowLeft' ? -1 : event.key === 'ArrowRight' ? 1 : 0;
    const inText = event.target instanceof Element && event.target.classList.contains('t');
    if (!step || !inText || isCommand(event)) return;
    event.preventDefault();
    event.stopPropagation();
    walk(p, p.view.rover + step);
  }

  /** The system prompt is folded in all panes or in none. @param {HTMLDetailsElement} details */
  function unfold(details) {
    for (const p of panes) {
      const own = /** @type {HTMLDetailsElement | null} */ (p.box.querySelector('.af-prologue'));
      if (own && own.open !== details.open) own.open = details.open;
    }
  }

  for (const p of panes) {
    p.view.onPin = (i) => walk(p, i);
    p.view.onHover = (i) => hover(p, i);
    const take = () => { lead = p; };
    const scrolled = () => { if (lead === p) follow(); };
    for (const event of LEAD) p.box.addEventListener(event, take, PASSIVE);
    p.box.addEventListener('scroll', scrolled, PASSIVE);
    p.box.addEventListener('keydown', (event) => keydown(p, event));
    p.box.addEventListener('toggle', (event) => unfold(/** @type {HTMLDetailsElement} */ (event.target)), true);
  }
  return { reveal };
}

/**
 * Linked panes in a grid, under a legend and the numbers of the token under the pointer, which screen readers announce.
 *
 * @param {Pane[]} panes
 * @param {Counterpart} counterpart
 * @param {(pane: Pane, i: number, k: number) => string} tell the numbers of a sampled token of pane k; '' to leave the pane out
 * @param {string} [unsampled] what is said of any other token
 */
export function sideBySide(panes, counterpart, tell, unsampled = 'read by the policy, not sampled') {
  const kinds = tokens.kindKeys(panes.flatMap(({ model }) => [...model.shown]));
  const legend = el('div', 'af-legend', kinds);
  const readout = el('p', 'af-readout', 'Hover over a token, or move with the arrow keys.');
  const live = announcer();
  const sticky = el('div', 'af-sticky', legend, readout);
  const grid = el('div', `af-panes ${['', 'one', '', 'three'][panes.length]}`, ...panes.map((p) => p.node));
  /** @type {[pane: Pane, i: number]} */
  let last;

  /** @param {Pane} from @param {number} i */
  function show(from, i) {
    last = [from, i];
    const told = () => panes.map((p, k) => numbersOf(p, k, from, counterpart(from, p, i))).filter(Boolean).join(' · ');
    readout.replaceChildren(...tokenName(from, i), from.model.sampled(i) ? told() : unsampled);
  }

  /** @param {Pane} pane @param {number} k @param {Pane} from @param {number | null} i */
  function numbersOf(pane, k, from, i) {
    if (i === null) return `${pane.title} –`;
    const text = tell(pane, i, k);
    const token = pane.data === from.data ? '' : `“${visible(pane.model.text[i])}” `;
    return text && `${pane.title} ${token}${pane.model.sampled(i) ? text : 'not in the loss'}`;
  }

  /** Show a colour scale before the kinds, and numbers as they are now. @param {Node | null} scale */
  function refresh(scale) {
    legend.replaceChildren(scale ?? '', kinds);
    if (last) show(...last);
  }

  const { reveal } = link(panes, counterpart, show, () => { live.textContent = readout.textContent; });
  return { nodes: [sticky, grid, live], grid, reveal, refresh };
}

/** Paint values with a sign on a scale that ends at `top`. @param {Pane} pane @param {ArrayLike<number>} values @param {number} top */
export function paintSigned({ model, view }, values, top) {
  Object.assign(model, { signed: Float64Array.from(values), signedTop: top });
  tokens.paint(view, 'signed');
}

/** The same place of the same turn. @type {Counterpart} */
export function sameTurn(from, to, i) {
  if (from.data === to.data) return i;
  const k = from.model.turn[i];
  const there = spanOf(to.model, k);
  const j = there ? there.start + i - from.model.turn.indexOf(k) : -1;
  return there && j >= there.start && j < there.end ? j : null;
}

/** Scroll a box to where another one is. @param {HTMLElement} lead @param {HTMLElement} box */
function align(lead, box) {
  const { top } = lead.getBoundingClientRect();
  const all = [...lead.children];
  const card = all.find((node) => node.getBoundingClientRect().bottom > top + 1) || all[all.length - 1];
  const to = box.children[all.indexOf(card)];
  if (!to) return;
  const at = card.getBoundingClientRect();
  const there = to.getBoundingClientRect();
  const share = (top - at.top) / at.height;
  box.scrollTop += there.top + (share < 0 ? top - at.top : share * there.height) - box.getBoundingClientRect().top;
}

/** The beginning of the readout of a token. @param {Pane} p @param {number} i */
export function tokenName({ model }, i) {
  const turn = model.turn[i] < 0 ? '' : `, turn ${model.turn[i] + 1}`;
  return [el('b', 'af-readout-token', visible(model.text[i]) || '∅'), ` ${tokens.NAMES[model.shown[i]]}, position ${i}${turn}: `];
}

/**
 * The states of a trajectory as a row of small pictures; null where there are none.
 *
 * @param {{ turns: Turn[], success: boolean | null, terminated: boolean, truncated: boolean }} data
 */
export function pictures(data) {
  const drawn = data.turns.filter((turn) => turn.picture);
  if (!drawn.length) return null;
  return el('div', 'af-worlds', ...drawn.map((turn, k) => el('figure', '', image(turn.picture, ''),
    el('figcaption', '', turn.end ? ending(data) : turn.actions.join(' → ') || `turn ${k + 1}: no action`))));
}
