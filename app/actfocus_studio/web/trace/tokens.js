/* The text: turns as cards, tokens as spans with their real white space, painted by weight. */
import { el, perFrame, settle } from '../lib/dom.js';
import { known } from '../lib/format.js';
import * as label from './label.js';
import { KIND } from './weights.js';

/** @typedef {import('./model.js').TokenModel} TokenModel */
/** @typedef {import('./model.js').Turn} Turn */
/** @typedef {'weight' | 'kind' | 'energy' | 'entropy' | 'nll' | 'credit' | 'signed'} Mode */
/** @typedef {ReturnType<typeof build>} TokenView */

/** The kinds as shown: name, letter and colour. */
const KINDS = [
  ['system', 'S', '127,127,127'], ['user', 'U', '86,180,233'], ['template', '', ''], ['reasoning', 'R', '230,159,0'],
  ['action', 'A', '0,114,178'], ['format', 'F', '204,121,167'], ['malformed', 'M', '213,94,0'],
];
export const NAMES = KINDS.map(([name]) => name);
const LETTERS = KINDS.map(([, letter]) => letter);
/** Event of a token or card that is to be seen: whatever hides it opens. */
export const REVEAL = 'af-reveal';
const LEGEND = [3, 4, 5, 6, 1, 0, 2];

/* Colour scales: an RGB and the opacity at full scale; LEVELS strings each, made once. */
const LEVELS = 256;
/** @param {string} rgb @param {number} top */
const scale = (rgb, top) => Array.from({ length: LEVELS }, (_, i) => (i ? `rgba(${rgb},${(top * i / (LEVELS - 1)).toFixed(4)})` : ''));
const SCALES = [
  scale('0,114,178', 0.75), // weight
  scale('0,158,115', 0.65), // signals
  scale('33,102,172', 0.75), // credit, towards more
  scale('179,88,6', 0.75), // credit, towards less
];
const KIND_FILL = KINDS.map(([, , rgb]) => rgb && `rgba(${rgb},0.42)`);
const UNAVAILABLE = -2;
const NOTHING = -3;

/** Legend of the kinds that occur, with underline and letter as on the tokens. @param {Iterable<number>} shown */
export function kindKeys(shown) {
  const seen = new Set(shown);
  return el('span', 'af-keys-row', ...LEGEND.filter((k) => seen.has(k)).map((k) =>
    el('span', `af-key k${k}`, LETTERS[k] ? { 'data-letter': LETTERS[k] } : null, NAMES[k])));
}

/**
 * Build the cards of a trajectory into `box`.
 *
 * @param {HTMLElement} box
 * @param {TokenModel} model
 * @param {(view: any) => HTMLElement[]} [cardsOf] makes the cards; by default the stream as the model saw it, turn by turn
 */
export function build(box, model, cardsOf = cards) {
  const view = {
    box, model, spans: /** @type {HTMLSpanElement[]} */ (new Array(model.n)), last: new Int32Array(model.n).fill(-1),
    cards: /** @type {HTMLElement[]} */ ([]), ranges: /** @type {Map<Element, [first: number, end: number]>} */ (new Map()),
    seen: /** @type {Set<Element>} */ (new Set()), mode: /** @type {Mode} */ ('weight'), rover: 0,
    pin: /** @type {number | null} */ (null), hot: /** @type {number | null} */ (null), found: /** @type {number[]} */ ([]),
    rest: () => {},
    /** A token was clicked. @param {number} _i */
    onPin: (_i) => {},
    /** The pointer is over a token, or over none. @param {number | null} _i @param {Element} [_node] */
    onHover: (_i, _node) => {},
  };
  // What `paint` put off is painted in a task after the next frame.
  view.rest = perFrame(() => window.setTimeout(() => paintRange(view, view.mode, 0, model.n), 0));
  box.replaceChildren(...cardsOf(view));
  watchSight(view);
  rove(view, Math.max(model.kinds.findIndex((kind) => kind >= KIND.REASONING), 0));
  box.onclick = (event) => {
    const i = indexOf(event.target);
    if (i !== null) view.onPin(i);
  };
  box.onmouseover = (event) => view.onHover(indexOf(event.target), /** @type {Element} */ (event.target));
  box.onmouseleave = () => view.onHover(null);
  return view;
}

/** The token of an element, or null. @param {EventTarget | null} target */
function indexOf(target) {
  const span = /** @type {HTMLElement | null} */ (target instanceof Element ? target.closest('.t') : null);
  return span ? Number(span.dataset.i) : null;
}

/** @param {TokenView} view */
function cards(view) {
  const { turn, n } = view.model;
  const nodes = [];
  for (let first = 0, end = 0; first < n; first = end) {
    while (end < n && turn[end] === turn[first]) end++;
    const node = card(view, first, end);
    view.ranges.set(node, [first, end]);
    nodes.push(node);
  }
  return nodes;
}

/** @param {TokenView} view @param {number} start @param {number} end */
function card(view, start, end) {
  const k = view.model.turn[start];
  const body = blocks(view, start, end);
  if (k < 0) {
    return el('details', 'af-turn af-prologue',
      el('summary', '', 'System prompt', el('span', 'af-quiet', ` ${end - start} tokens`)), ...body);
  }
  const turn = view.model.turns[k];
  const cls = turn?.malformed ? 'af-turn malformed' : 'af-turn';
  view.cards[k] = el('section', cls, { role: 'group', 'aria-label': `Turn ${k + 1}` }, heading(k, turn), ...body);
  return view.cards[k];
}

/** The head of a turn; `what`: what was done in it, by default its actions.
 * @param {number} k @param {Turn | undefined} turn @param {(Node | string)[]} [what] */
export function heading(k, turn, what) {
  const head = el('header', 'af-turn-head', el('b', '', `Turn ${k + 1}`));
  if (!turn) return head;
  head.append(el('span', '', ...(what ?? label.actions(turn.actions, turn.oracle))));
  if (turn.malformed) head.append(el('span', 'af-flag', 'malformed answer'));
  else if (!turn.valid) head.append(el('span', 'af-flag', 'illegal action'));
  head.append(...label.rest(turn.oracle), el('span', 'af-gain', gain(turn)));
  return head;
}

/** @param {Turn} turn */
function gain({ reward, penalty }) {
  if (!known(reward)) return 'reward unavailable';
  return `reward ${label.gain(reward, 3)}${penalty ? `, penalty ${label.gain(penalty, 3)}` : ''}`;
}

/** Observations and sampled text, each in a block of its own. @param {TokenView} view @param {number} start @param {number} end */
function blocks(view, start, end) {
  const { kinds } = view.model;
  const out = [];
  for (let i = start; i < end;) {
    const sampled = kinds[i] >= KIND.REASONING;
    const block = el('div', sampled ? 'af-block policy' : 'af-block read');
    for (const first = i; i < end && (kinds[i] >= KIND.REASONING) === sampled; i++) block.append(token(view, i, i === first));
    out.push(block);
  }
  return out;
}

/** @param {TokenView} view @param {number} i @param {boolean} begins its block */
function token(view, i, begins) {
  const span = emptyToken(view, i, begins);
  setText(span, view.model.text[i]);
  return span;
}

/** A token without its text. @param {TokenView} view @param {number} i @param {boolean} begins its block */
export function emptyToken(view, i, begins) {
  const { shown, text, shared } = view.model;
  const kind = shown[i];
  const first = begins || shown[i - 1] !== kind;
  const span = document.createElement('span');
  span.className = `t k${kind}${first ? ' seg' : ''}${text[i] ? '' : ' void'}${i < shared ? ' shared' : ''}`;
  span.dataset.i = String(i);
  if (first && LETTERS[kind]) span.dataset.letter = LETTERS[kind];
  view.spans[i] = span;
  return span;
}

/** @param {HTMLElement} node @param {string} text */
export function setText(node, text) {
  if (text.includes('\n')) setLines(node, text);
  else node.textContent = text;
}

/** The text with an empty mark before every newline; the mark is drawn by the style sheet, so that what is selected and copied
 * is the text itself. @param {HTMLElement} span @param {string} text */
function setLines(span, text) {
  text.split('\n').forEach((line, k) => {
    if (k) span.append(el('i', 'nl'), '\n');
    if (line) span.append(line);
  });
}

/** Paint every token; only those whose colour changed are touched. The cards in sight come first and the others right after
 * their frame, so that a slider's frame is not late. @param {TokenView} view @param {Mode} mode */
export function paint(view, mode) {
  // The codes of kinds are also levels of a scale.
  if (mode !== view.mode) view.last.fill(-1);
  view.mode = mode;
  if (!view.seen.size) paintRange(view, mode, 0, view.model.n);
  for (const node of view.seen) paintRange(view, mode, .../** @type {[number, number]} */ (view.ranges.get(node)));
  if (view.seen.size) view.rest();
}

/** @param {TokenView} view @param {Mode} mode @param {number} start @param {number} end */
function paintRange({ spans, last, model }, mode, start, end) {
  for (let i = start; i < end; i++) {
    const code = level(model, mode, i);
    if (code === last[i]) continue;
    last[i] = code;
    spans[i].style.backgroundColor = code < 0 ? '' : mode === 'kind' ? KIND_FILL[code] : SCALES[code >> 8][code & 255];
    spans[i].classList.toggle('na', code === UNAVAILABLE);
  }
}

/** Keep `view.seen`: the cards in sight. @param {TokenView} view */
function watchSight({ box, seen }) {
  const observer = new IntersectionObserver((entries) => {
    if (!entries[0].target.isConnected) observer.disconnect();
    for (const { target, isIntersecting } of entries) seen[isIntersecting ? 'add' : 'delete'](target);
  }, { root: box });
  for (const node of box.children) observer.observe(node);
}

/** What to paint, as one small number: scale * 256 + level, or one of the codes below 0.
 * @param {TokenModel} model @param {Mode} mode @param {number} i */
function level(model, mode, i) {
  if (mode === 'kind') return model.shown[i] === KIND.TEMPLATE ? NOTHING : model.shown[i];
  if (!model.sampled(i)) return NOTHING;
  if (mode === 'weight') return shade(0, model.weights[i] / model.weightTop);
  if (mode === 'credit') {
    return diverging(model.weights[i] * (model.advantage ?? NaN) / (model.weightTop * (model.advantageMax || 1)));
  }
  // Any value with a sign, on a scale that the model brings.
  if (mode === 'signed') return diverging(model.signed[i] / model.signedTop);
  const range = model.ranges[mode];
  return range ? shade(1, (model.signal[mode][i] - range[0]) / Math.max(range[1] - range[0], 1e-9)) : UNAVAILABLE;
}

/** @param {number} share */
const diverging = (share) => shade(share < 0 ? 3 : 2, Math.abs(share));

/** @param {number} index of a scale @param {number} share */
function shade(index, share) {
  if (Number.isNaN(share)) return UNAVAILABLE;
  return index * LEVELS + Math.round(Math.min(Math.max(share, 0), 1) * (LEVELS - 1));
}

/** Exactly one token can be reached by Tab. @param {TokenView} view @param {number} i */
export function rove(view, i) {
  view.spans[view.rover]?.removeAttribute('tabindex');
  view.rover = i;
  if (view.spans[i]) view.spans[i].tabIndex = 0;
}

/** Mark the token that is pinned or under the pointer, and no other. @param {TokenView} view @param {'pin' | 'hot'} name
 * @param {number | null} i */
export function mark(view, name, i) {
  const was = view[name];
  if (was !== null) view.spans[was].classList.remove(name);
  if (i !== null) view.spans[i].classList.add(name);
  view[name] = i;
}

/** Bring a card or token to sight inside the text's own scroller. Cards out of sight have estimated heights, so it looks again
 * once they are laid out. @param {TokenView} view @param {Element} node @param {'start' | 'near'} align */
export function reveal({ box }, node, align) {
  for (let details = node.closest('details'); details; details = details.parentElement?.closest('details') ?? null) details.open = true;
  node.dispatchEvent(new Event(REVEAL, { bubbles: true }));
  settle(4, () => {
    const frame = box.getBoundingClientRect();
    const at = node.getBoundingClientRect();
    if (align === 'start') box.scrollTop += at.top - frame.top - 8;
    else if (at.top < frame.top + 30 || at.bottom > frame.bottom - 30) box.scrollTop += at.top - frame.top - frame.height * 0.4;
  });
}

/** Mark the tokens that hold a piece of text; returns the first token of every match. @param {TokenView} view @param {string} wanted */
export function search(view, wanted) {
  for (const i of view.found) view.spans[i].classList.remove('found');
  const matches = findText(view.model.text, wanted);
  view.found = matches.flatMap(([first, end]) => Array.from({ length: end - first }, (_, k) => first + k));
  for (const i of view.found) view.spans[i].classList.add('found');
  return matches.map(([first]) => first);
}

/** Where a text occurs across tokens, in any case: first token and the one after the last, for every match.
 * @param {string[]} text @param {string} wanted @returns {[first: number, end: number][]} */
export function findText(text, wanted) {
  const needle = wanted.toLowerCase();
  const whole = text.join('').toLowerCase();
  /** @type {[number, number][]} */
  const matches = [];
  if (!needle) return matches;
  let first = 0;
  let begin = 0; // of that token in the whole text
  let at = whole.indexOf(needle);
  while (at >= 0) {
    while (begin + text[first].length <= at) begin += text[first++].length;
    let end = first;
    let from = begin;
    while (end < text.length && from < at + needle.length) from += text[end++].length;
    matches.push([first, end]);
    at = whole.indexOf(needle, at + needle.length);
  }
  return matches;
}
