/* The text as messages: roles named; reasoning, calls, results and observations as blocks; JSON laid out. The tokens are those of
   the stream, all of them and in its order. */
import { el } from '../lib/dom.js';
import { counted } from '../lib/format.js';
import { appendJson } from './json_block.js';
import { emptyToken, heading, setText } from './tokens.js';
import { KIND } from './weights.js';

/** @typedef {import('./tokens.js').TokenView} TokenView */
/** @typedef {import('../generated/types').DialogueData} Dialogue */
/** @typedef {import('../generated/types').DialogueMessage} Message */
/** @typedef {import('../generated/types').TextBlock} Block */
/** @typedef {{ turn: number, messages: number[] }} Card */

const TITLES = { text: '', observation: 'Observation', reasoning: 'Reasoning', call: 'Call', answer: 'Answer', result: 'Result', tools: 'Tool' };
const LONG = 800; // tokens of a result that is folded at first
const PREVIEW = 90; // characters

/** Makes the cards of a dialogue, for `build` of tokens.js. @param {Dialogue} dialogue */
export const messageCards = (dialogue) => (/** @type {TokenView} */ view) => {
  const starts = offsets(view.model.text);
  /** @type {number[][]} */
  const blocksOf = dialogue.messages.map(() => []);
  dialogue.blocks.forEach((block, k) => blocksOf[block.message].push(k));
  return grouped(view, dialogue).map(({ turn, messages }) => {
    const nodes = messages.map((k) => messageNode(view, dialogue, k, blocksOf[k], starts));
    const [first, last] = [dialogue.messages[messages[0]], dialogue.messages[messages[messages.length - 1]]];
    const node = card(view, turn, nodes, dialogue, messages.flatMap((k) => blocksOf[k]));
    view.ranges.set(node, [first.start, last.end]);
    return node;
  });
};

/** The number of UTF-16 units before each token. @param {string[]} text */
function offsets(text) {
  const starts = new Uint32Array(text.length + 1);
  for (let i = 0; i < text.length; i++) starts[i + 1] = starts[i] + text[i].length;
  return starts;
}

/** Consecutive messages of one turn. A header may be of the turn before, so what a message says decides.
 * @param {TokenView} view @param {Dialogue} dialogue */
function grouped({ model: { turn, kinds } }, { messages }) {
  /** @type {Card[]} */
  const cards = [];
  messages.forEach(({ start, body, end }, k) => {
    let i = Math.min(body, end - 1);
    while (i < end - 1 && kinds[i] === KIND.TEMPLATE) i++;
    const own = kinds[i] === KIND.TEMPLATE ? turn[start] : turn[i];
    const last = cards.at(-1);
    if (last && last.turn === own) last.messages.push(k);
    else cards.push({ turn: own, messages: [k] });
  });
  return cards;
}

/** @param {TokenView} view @param {number} turn @param {HTMLElement[]} nodes @param {Dialogue} dialogue @param {number[]} blocks */
function card(view, turn, nodes, dialogue, blocks) {
  const { turns } = view.model;
  if (turn < 0) {
    const tools = blocks.filter((k) => dialogue.blocks[k].type === 'tools').length;
    return el('details', 'af-turn af-prologue',
      el('summary', '', 'System prompt', el('span', 'af-quiet', tools ? ` defines ${counted(tools, 'tool')}` : '')), ...nodes);
  }
  const record = turns[turn];
  const calls = blocks.filter((k) => dialogue.blocks[k].type === 'call' && dialogue.messages[dialogue.blocks[k].message].sampled);
  const what = calls.map((k) => dialogue.blocks[k].name || 'a tool').join(', ');
  view.cards[turn] = el('section', record?.malformed ? 'af-turn malformed' : 'af-turn', { role: 'group', 'aria-label': `Turn ${turn + 1}` },
    heading(turn, record, what ? [el('span', 'af-acts', `calls ${what}`)] : undefined), ...nodes);
  return view.cards[turn];
}

/**
 * @param {TokenView} view
 * @param {Dialogue} dialogue
 * @param {number} k
 * @param {number[]} blocks indices of its blocks
 * @param {Uint32Array} starts
 */
function messageNode(view, dialogue, k, blocks, starts) {
  const message = dialogue.messages[k];
  const { role, start, body, close, end, sampled } = message;
  const note = role === 'assistant' && !sampled ? 'in the prompt, not sampled here' : '';
  return el('article', `af-msg${sampled ? ' own' : ''}`, { 'aria-label': role || 'text' },
    el('header', 'af-msg-head', el('b', '', role || 'text'), note && el('span', 'af-quiet', note), tags(view, start, body)),
    ...blocks.map((b) => blockNode(view, dialogue, b, starts, sampled)), tags(view, close, end, ' close'));
}

/** Tokens of the template around a message. @param {TokenView} view @param {number} start @param {number} end @param {string} [cls] */
function tags(view, start, end, cls = '') {
  if (start === end) return null;
  const node = el('span', `af-msg-tags${cls}`);
  append(view, node, start, end);
  return node;
}

/** @param {TokenView} view @param {HTMLElement} node @param {number} start @param {number} end */
function append(view, node, start, end) {
  for (let i = start; i < end; i++) {
    const span = emptyToken(view, i, i === start);
    setText(span, view.model.text[i]);
    node.append(span);
  }
}

/** @param {TokenView} view @param {Dialogue} dialogue @param {number} k @param {Uint32Array} starts @param {boolean} sampled */
function blockNode(view, dialogue, k, starts, sampled) {
  const block = dialogue.blocks[k];
  const { type, start, end, layout } = block;
  const body = el('div', `af-block ${sampled ? 'policy' : 'read'}`);
  if (layout.length) appendJson(view, body, start, end, starts[start], layout);
  else append(view, body, start, end);
  if (!TITLES[type]) return body;
  const open = type !== 'tools' && !(type === 'result' && end - start > LONG);
  return el('details', `af-part ${type}${block.error ? ' failed' : ''}`, { open, 'aria-label': `${TITLES[type]} ${block.name}`.trim() },
    el('summary', '', ...title(view, dialogue, block)), body);
}

/** @param {TokenView} view @param {Dialogue} dialogue @param {Block} block @returns {(Node | string)[]} */
function title({ model: { text } }, dialogue, { type, name, call, error, closed, start, end }) {
  const what = el('b', '', TITLES[type]);
  const parts = [what, ...(name ? [' ', el('span', 'af-part-name', name)] : [])];
  if (type === 'call' || type === 'result') {
    if (error) parts.push(' ', el('span', 'af-flag', 'error'));
    if (!closed) parts.push(' ', el('span', 'af-flag', 'not closed'));
    else if (type === 'call' && error === null) parts.push(' ', el('span', 'af-quiet', 'no result'));
    if (type === 'result' && call === null) parts.push(' ', el('span', 'af-quiet', 'of no call in sight'));
  }
  parts.push(el('span', 'af-quiet af-part-size', counted(end - start, 'token')));
  const preview = text.slice(start, Math.min(end, start + PREVIEW)).join('').replace(/\s+/g, ' ').trim().slice(0, PREVIEW);
  parts.push(el('span', 'af-part-preview', preview));
  return parts;
}
