/* A person plays on from a turn in place of the policy; the environment and the oracle respond. */
import { lineOf, post } from '../../web/lib/api.js';
import { alertLine } from '../../web/lib/components/alert.js';
import { checkbox, form, submitButton } from '../../web/lib/components/form.js';
import { el, textButton } from '../../web/lib/dom.js';
import { counted, signed } from '../../web/lib/format.js';
import { store } from '../../web/lib/store.js';
import * as label from '../../web/trace/label.js';
import { image, shopPage } from '../../web/trace/state_view.js';

/** @typedef {import('../../web/generated/types').PlayResponse} PlayResponse */
/** @typedef {import('../../web/generated/types').PlayedTurn} PlayedTurn */
/** @typedef {import('../../web/generated/types').State} State */

/** @type {Record<string, string>} */
const ARROWS = { ArrowLeft: 'Left', ArrowRight: 'Right', ArrowUp: 'Up', ArrowDown: 'Down' };
const LISTED = 40; // most actions that get a button; others can be typed
const SEPARATOR = '||';

/** @param {() => void} onLeave back to the trajectory */
export function createGame(onLeave) {
  let from = 0;
  let waiting = 0;
  /** @type {string[][]} */
  let moves = [];
  /** @type {string[]} actions of the turn that is not complete */
  let pending = [];
  /** @type {PlayResponse | null} */
  let data = null;

  const title = el('b', '');
  const note = el('p', 'af-play-note', { 'aria-live': 'polite' });
  const alert = alertLine({ cls: 'af-play-error' });
  const stage = el('div', 'af-play-stage');
  const choices = el('div', 'af-play-choices');
  const log = el('ol', 'af-play-log');
  const input = el('input', 'af-play-input', { type: 'text', spellcheck: false, autocomplete: 'off', maxLength: 400, 'aria-label': 'Your answer' });
  const submit = submitButton('Answer', 'af-button');
  const back = textButton('Undo', undo);
  const costs = checkbox('Show the cost of each action', show);
  costs.node.className = 'af-play-hints';
  const node = el('section', 'af-play', { hidden: true, 'aria-label': 'Play' },
    el('header', 'af-play-head', title, costs.node,
      el('span', 'af-play-tools', back, textButton('Start over', () => start(from)), textButton('Back to the trajectory', onLeave))),
    note, alert.node, el('div', 'af-play-board', stage, el('div', 'af-play-side', choices, form('af-play-form', answer, input, submit))),
    log);

  /** @param {number} turn */
  function start(turn) {
    from = turn;
    moves = [];
    data = null;
    node.hidden = false;
    clear();
    // No answer is accepted before the state has arrived.
    input.disabled = submit.disabled = true;
    ask();
  }

  function stop() {
    node.hidden = true;
  }

  function clear() {
    pending = [];
    input.value = '';
  }

  /** Ask for the state after all moves so far; an outdated answer is dropped. */
  async function ask() {
    const number = ++waiting;
    const { run, trajectory } = store.place;
    const answered = await post('trace/play', { run, trajectory, turn: from, moves }).catch(lineOf);
    if (node.hidden || number !== waiting) return;
    alert.say(typeof answered === 'string' ? answered : '');
    if (typeof answered === 'string') {
      moves.pop();
      return;
    }
    data = answered;
    clear();
    show();
  }

  const ended = () => !data || data.now.terminated || data.now.truncated;

  /** @param {string} action */
  function act(action) {
    if (!data || ended()) return;
    pending.push(action);
    input.value = pending.join(` ${SEPARATOR} `);
    if (pending.length >= Math.min(data.now.per_turn, data.now.left)) answer();
    else show();
  }

  function answer() {
    if (ended()) return;
    moves.push(input.value.split(SEPARATOR).map((text) => text.trim()).filter(Boolean));
    ask();
  }

  function undo() {
    if (pending.pop() !== undefined) {
      input.value = pending.join(` ${SEPARATOR} `);
      show();
    } else if (moves.pop()) ask();
  }

  /** Handle an arrow key if the environment has such an action; returns whether it did. @param {string} name */
  function key(name) {
    if (node.hidden || !data || ended() || !(ARROWS[name] in data.now.costs)) return false;
    act(ARROWS[name]);
    return true;
  }

  function show() {
    if (!data) return;
    const { now, played } = data;
    const over = ended();
    title.textContent = `Playing from turn ${from + 1}`;
    note.replaceChildren(el('b', '', where(now)), over ? '' : ` ${label.state(now.value, now.facts, now.env)}.`);
    stage.replaceChildren(now.page ? shopPage(now.page, costs.box.checked ? now.costs : null, over ? null : act) : image(now.picture, 'The environment now'));
    choices.replaceChildren(...(over || now.page ? [] : buttons(now)));
    input.disabled = submit.disabled = over;
    input.placeholder = now.page ? 'search[red dress] or click[buy now]' : `actions, separated by ${SEPARATOR}`;
    back.disabled = !moves.length && !pending.length;
    log.replaceChildren(...played.map((turn, i) => entry(turn, from + i)));
  }

  /** @param {State} now */
  function buttons(now) {
    const nodes = Object.entries(now.costs).slice(0, LISTED).map(([action, cost]) => {
      const move = textButton(action, () => act(action), 'af-move');
      // After the first action of a turn the costs would be those of another state.
      if (costs.box.checked && !pending.length) move.append(' ', label.chip(cost));
      return move;
    });
    const begun = pending.length ? [el('span', 'af-quiet', `${pending.join(' → ')} → `)] : [];
    return [...begun, el('div', 'af-moves', ...nodes)];
  }

  return { node, start, stop, key, isOn: () => !node.hidden };
}

/** @param {State} now */
function where(now) {
  if (now.success) return 'Goal reached.';
  if (now.terminated) return 'Episode over: goal not reached.';
  if (now.truncated) return 'Turn limit reached.';
  return `Turn ${now.turn + 1} of ${now.turns}, ${counted(now.left, 'action')} left, ${now.per_turn} per turn.`;
}

/** @param {PlayedTurn} turn @param {number} k */
const entry = (turn, k) => el('li', '', el('b', '', `Turn ${k + 1} `),
  ...label.actions(turn.actions, turn.oracle),
  ' ', ...label.rest(turn.oracle), !turn.valid && ' ', !turn.valid && el('span', 'af-flag', 'not a valid action'),
  el('span', 'af-gain', ` reward ${signed(turn.reward + turn.penalty, 2)}`));
