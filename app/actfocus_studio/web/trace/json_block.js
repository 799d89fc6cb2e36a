/* Tokens of a block whose text has JSON in it, laid out in lines that fold. Every token stays one element with its own text:
   line breaks, indents and buttons are elements without text. */
import { el } from '../lib/dom.js';
import { counted } from '../lib/format.js';
import { jsonLayout } from './json_layout.js';
import { emptyToken, REVEAL, setText } from './tokens.js';

/** @typedef {import('./tokens.js').TokenView} TokenView */
/** @typedef {import('./json_layout.js').Fold & { toggle: HTMLButtonElement, mark: HTMLElement, folded: boolean }} Node in the whole text */
/** @typedef {{ at: number, to: number, node: HTMLElement }} Piece of the text, or a line break before `to` */

/** Event of a token: fold or unfold the innermost JSON value around it. */
export const FOLD = 'af-fold';
const INDENT_CH = 2;
const DEEPEST = 16; // levels that are indented

/**
 * Append tokens [start, end) to a block.
 *
 * @param {TokenView} view
 * @param {HTMLElement} block
 * @param {number} start
 * @param {number} end
 * @param {number} offset of the first token in the whole text, in UTF-16 units
 * @param {readonly number[][]} spans of the whole text that are JSON
 */
export function appendJson(view, block, start, end, offset, spans) {
  const { text } = view.model;
  const whole = text.slice(start, end).join('');
  const { breaks, folds } = merged(whole, offset, spans);
  const cuts = [...new Set([...breaks.keys(), ...folds.flatMap(({ open, close }) => [open, open + 1, close])])].sort((a, b) => a - b);
  const opens = new Map(folds.map((fold) => [fold.open, fold]));
  const closes = new Map(folds.map((fold) => [fold.close, fold]));
  /** @type {Piece[]} */
  const pieces = [];
  /** The piece of an event's token, if it is one of this block. @param {Event} event */
  const pieceOf = ({ target }) => pieces.find(({ node }) => target instanceof Element && target.contains(node));
  let next = 0;
  for (let i = start, at = offset; i < end; i++) {
    const span = emptyToken(view, i, i === start);
    // A line that begins with a token breaks before it; one that begins inside of it, there.
    if (breaks.has(at)) addBreak(at, block);
    const to = at + text[i].length;
    while (next < cuts.length && cuts[next] < at) next++;
    if (next === cuts.length || cuts[next] >= to) {
      setText(span, text[i]);
      pieces.push({ at, to, node: span });
    } else {
      for (let from = at; from < to;) {
        if (cuts[next] === from) {
          next++;
          addMarks(from, span, from > at);
        }
        const end_ = Math.min(cuts[next] ?? to, to);
        const piece = el('span', 'jp');
        setText(piece, text[i].slice(from - at, end_ - at));
        pieces.push({ at: from, to: end_, node: piece });
        span.append(piece);
        from = end_;
      }
    }
    block.append(span);
    at = to;
  }
  block.addEventListener(REVEAL, unfoldAround);
  block.addEventListener(FOLD, toggleAround);
  return block;

  /** @param {number} at @param {HTMLElement} to */
  function addBreak(at, to) {
    const indent = breaks.get(at);
    if (indent === undefined) return;
    const node = el('i', 'jb');
    // A space that begins the line is part of its indent.
    node.style.setProperty('--in', `${Math.max(0, Math.min(indent, DEEPEST) * INDENT_CH - Number(whole[at - offset] === ' '))}ch`);
    pieces.push({ at, to: at, node });
    to.append(node);
  }

  /** What stands before a character: a line break, the button of a fold, or the mark of a folded one.
   * @param {number} at @param {HTMLElement} span @param {boolean} inside */
  function addMarks(at, span, inside) {
    const closed = closes.get(at);
    if (closed) span.append(closed.mark);
    if (inside) addBreak(at, span);
    const fold = opens.get(at);
    if (!fold) return;
    fold.toggle.onclick = (event) => {
      event.stopPropagation();
      setFold(fold, !fold.folded);
    };
    pieces.push({ at, to: at, node: fold.toggle });
    span.append(fold.toggle);
  }

  /** @param {Node} fold @param {boolean} on */
  function setFold(fold, on) {
    fold.folded = on;
    fold.toggle.ariaExpanded = String(!on);
    fold.mark.hidden = !on;
    const shut = folds.filter(({ folded }) => folded);
    for (const { at, to, node } of pieces) {
      node.classList.toggle('gone', shut.some(({ open, close }) => at > open && to <= close));
    }
    for (const { close, mark, folded } of folds) mark.hidden = !folded || shut.some((other) => other.open < close && close < other.close);
  }

  /** A token that is to be seen was folded away. @param {Event} event */
  function unfoldAround(event) {
    const piece = pieceOf(event);
    for (const fold of folds) {
      if (piece && fold.folded && piece.at > fold.open && piece.to <= fold.close) setFold(fold, false);
    }
  }

  /** The innermost value that begins or goes on at a token. @param {Event} event */
  function toggleAround(event) {
    const piece = pieceOf(event);
    const fold = piece && folds.findLast(({ open, close }) => piece.to >= open && piece.at <= close);
    if (fold) setFold(fold, !fold.folded);
  }
}

/** Layouts of all JSON in a text: line breaks by position, and what folds. @param {string} whole @param {number} offset
 * @param {readonly number[][]} spans */
function merged(whole, offset, spans) {
  /** @type {Map<number, number>} */
  const breaks = new Map();
  /** @type {Node[]} */
  const folds = [];
  for (const [start, end] of spans) {
    const layout = jsonLayout(whole.slice(start - offset, end - offset));
    for (const { at, indent } of layout.breaks) breaks.set(start + at, indent);
    for (const { open, close, items } of layout.folds) {
      const toggle = el('button', 'jf', { type: 'button', tabIndex: -1, 'aria-expanded': true, 'aria-label': `Fold ${counted(items, 'item')}` });
      const mark = el('i', 'jm', { hidden: true, 'data-items': ` ${counted(items, 'item')} ` });
      folds.push({ open: start + open, close: start + close, items, toggle, mark, folded: false });
    }
  }
  return { breaks, folds };
}
