/* A trajectory branched at one of its turns: the tree of outcomes, and each outcome as a trajectory. */
import { scrollRegion } from '../../web/lib/components/table.js';
import { numbers } from '../../web/lib/columns.js';
import { button, el, textButton } from '../../web/lib/dom.js';
import { bounds, counted, interval, number, percent } from '../../web/lib/format.js';
import { ended, named } from '../../web/trace/label.js';
import { createPane, pictures, sameTurn, sideBySide } from '../../web/trace/side_by_side.js';
import * as tokens from '../../web/trace/tokens.js';
import { scaleOf } from './scale.js';

/** @typedef {import('../../web/generated/types').BranchShown} BranchShown */
/** @typedef {import('../../web/generated/types').BranchNode} BranchNode */
/** @typedef {import('../../web/generated/types').WhatIfPane} WhatIfPane */
/** @typedef {import('./panel.js').Actions} Actions */

const LISTED = 12; // most outcomes of a node that get a button

/** @param {BranchShown} what @param {Actions} on */
export function draw(what, on) {
  const data = [what.original, what.outcome];
  const titles = ['Original', `Branch ${what.outcome.rollout + 1}`];
  const logprobs = data.map((t) => numbers(t.tokens.logprob));
  const panes = data.map((t, k) => createPane(titles[k], about(t), t));
  const { nodes, grid } = sideBySide(panes, sameTurn, (_, i, k) => `log-prob ${number(logprobs[k][i])}`);
  grid.replaceChildren(...panes.map((p, k) => el('div', 'af-pane-with', pictures(data[k]), p.node)));
  for (const { view } of panes) tokens.paint(view, 'kind');
  requestAnimationFrame(() => {
    for (const { view } of panes) {
      const card = view.cards[what.request.turn];
      if (card) tokens.reveal(view, card, 'start');
    }
  });
  return { nodes: [el('p', 'af-sentence', ...sentence(what)), tree(what, on), el('h3', '', 'Branch and original'), ...nodes] };
}

/** @param {WhatIfPane} t */
const about = (t) => `${ended(t)}, ${counted(t.turns.length - 1, 'turn')}`;

/** @param {BranchShown} what */
function sentence({ request, result }) {
  const { to_go, success, original, optimal } = result;
  const where = request.token === null ? `turn ${request.turn + 1}` : `token ${request.token} of turn ${request.turn + 1}`;
  const forced = request.action !== null ? `, with the answer forced to “${request.action}”`
    : request.text !== null ? `, with the continuation forced to “${request.text}”` : '';
  return [`From ${where}${forced}, ${counted(to_go.n, 'sample')}: mean return-to-go `, el('b', 'af-strong', number(to_go.mean, 2)),
    `${bounds(to_go.low, to_go.high)}, success ${percent(success.rate)}. `,
    `The stored trajectory: ${number(original.to_go, 2)} with ${named(original.actions)}. `,
    optimal ? `Optimal play: ${number(optimal.value, 2)}.` : 'There is no oracle for this environment.'];
}

/** @param {BranchShown} what @param {Actions} on */
function tree({ result, outcome: shown }, on) {
  const [low, high] = scaleOf(result);
  /** @param {number} x */
  const share = (x) => `${(100 * (x - low) / (high - low)).toFixed(1)}%`;

  /** A mark at its place on the common scale. @param {string} cls @param {number} x @param {string} [text] */
  function mark(cls, x, text = '') {
    const node = el('span', cls, text);
    node.style.left = share(x);
    return node;
  }

  /** Interval, mean and the oracle's value. @param {BranchNode} node @param {string} text */
  function lane({ to_go, optimal }, text) {
    const bar = to_go.low !== null && mark('af-lane-bar', Math.max(to_go.low, low));
    if (bar) bar.style.right = `calc(100% - ${share(Math.min(to_go.high ?? high, high))})`;
    return el('span', 'af-lane', { title: text }, bar, mark('af-lane-dot', to_go.mean),
      optimal && optimal.turn !== null && mark('af-lane-oracle', optimal.turn, '◆'));
  }

  /** A button for one outcome. @param {string} id */
  function chip(id) {
    const n = String(Number(id.split('~').pop()) + 1);
    const cls = id === shown.id ? 'af-chip on' : 'af-chip';
    return button(cls, n, `Open branch ${n}`, () => on.trajectory(id));
  }

  /** @param {BranchNode} node @param {number} depth @returns {HTMLElement} */
  function row(node, depth) {
    const { to_go, optimal, success } = node;
    const nested = node.children.map((child) => row(child, depth + 1));
    const children = el('ul', 'af-tree', { hidden: depth > 0 }, ...nested);
    const text = `return-to-go ${interval(to_go.mean, to_go.low, to_go.high)}${optimal ? `; oracle ${number(optimal.turn, 2)}` : ''}`;
    const line = el('div', 'af-branch', node.children.length ? fold(children) : el('span', 'af-fold'),
      el('span', 'af-branch-what', el('b', '', named(node.actions)),
        !node.valid && el('span', 'af-flag', 'invalid'), node.ended && el('span', 'af-quiet', ' end')),
      el('span', 'af-branch-count', `${node.count} of ${result.to_go.n}`), lane(node, text), el('span', 'af-branch-told', text),
      el('span', 'af-quiet', `success ${percent(success.rate)}`), el('span', 'af-chips', ...node.ids.slice(0, LISTED).map(chip)));
    line.style.setProperty('--depth', String(depth));
    return el('li', '', line, node.children.length > 0 && children);
  }

  return scrollRegion('Tree of outcomes', el('h3', '', 'Outcomes'),
    el('p', 'af-quiet', 'Each row is an outcome of the turn: its count, and its mean return-to-go (dot) with a 95 % interval (bar)',
      result.optimal ? ', and the return-to-go of its actions under optimal play (diamond).' : '.'),
    el('ul', 'af-tree', ...result.tree.map((node) => row(node, 0))));
}

/** A button that shows and hides the next turn of an outcome. @param {HTMLElement} children */
function fold(children) {
  const node = textButton('', () => show(!children.hidden), 'af-fold', { ariaLabel: 'Next turn of this outcome' });
  /** @param {boolean} hidden */
  function show(hidden) {
    children.hidden = hidden;
    node.textContent = hidden ? '▸' : '▾';
    node.ariaExpanded = String(!hidden);
  }
  show(children.hidden);
  return node;
}
