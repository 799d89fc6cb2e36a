/* A person plays on from a turn in place of the policy; the environment and the oracle respond. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el, button, icon } = AF.dom;
  const { label } = AF;
  const ARROWS = { ArrowLeft: 'Left', ArrowRight: 'Right', ArrowUp: 'Up', ArrowDown: 'Down' };
  const ICONS = { undo: 'M9 7L4 12l5 5M4 12h10a6 6 0 0 1 0 12' };
  const LISTED = 40; // most actions that get a button; others can be typed

  let send = null;
  let open = null;
  let number = 0;

  /* `onLeave()`: back to the trajectory. */
  function create(onLeave) {
    const game = { on: false, moves: [], pending: [], data: null, hints: false };
    game.title = el('b', '');
    game.note = el('p', 'af-play-note');
    game.note.setAttribute('aria-live', 'polite');
    game.stage = el('div', 'af-play-stage');
    game.choices = el('div', 'af-play-choices');
    game.log = el('ol', 'af-play-log');
    game.error = el('p', 'af-play-error', { hidden: true });
    game.error.setAttribute('role', 'alert');
    game.input = el('input', 'af-play-input', { type: 'text', spellcheck: false, autocomplete: 'off', maxLength: 400 });
    game.input.setAttribute('aria-label', 'Your answer');
    game.submit = el('button', 'af-button', { type: 'submit' }, 'Answer');
    game.undo = el('button', 'af-button', { type: 'button', onclick: () => undo(game) }, 'Undo');
    game.again = el('button', 'af-button', { type: 'button', onclick: () => start(game, game.from) }, 'Start over');
    const hints = el('input', '', { type: 'checkbox', onchange: () => { game.hints = hints.checked; show(game); } });
    const form = el('form', 'af-play-form', { onsubmit: (event) => { event.preventDefault(); typed(game); } }, game.input, game.submit);
    game.node = el('section', 'af-play', { hidden: true },
      el('header', 'af-play-head', game.title, el('label', 'af-play-hints', hints, 'Show the cost of each action'),
        el('span', 'af-play-tools', game.undo, game.again, el('button', 'af-button', { type: 'button', onclick: onLeave }, 'Back to the trajectory'))),
      game.note, game.error, el('div', 'af-play-board', game.stage, el('div', 'af-play-side', game.choices, form)), game.log);
    game.node.setAttribute('aria-label', 'Play');
    open = game;
    return game;
  }

  function start(game, turn) {
    Object.assign(game, { on: true, from: turn, moves: [], pending: [], data: null });
    game.node.hidden = false;
    game.input.value = '';
    // No answer is accepted before the state has arrived.
    game.input.disabled = game.submit.disabled = true;
    ask(game);
  }

  function stop(game) {
    game.on = false;
    game.node.hidden = true;
  }

  function ask(game) {
    number += 1;
    game.waiting = number;
    const { run, trajectory } = AF.store.place;
    send({ run, trajectory, turn: game.from, moves: game.moves, number });
  }

  /* An answer of the server; an outdated one is dropped. */
  function answer(json) {
    if (!open || !open.on || !json) return;
    const data = JSON.parse(json);
    if (data.number !== undefined && data.number !== open.waiting) return;
    open.error.hidden = !data.error;
    if (data.error) {
      open.error.textContent = data.error;
      open.moves.pop();
      return;
    }
    open.data = data;
    open.pending = [];
    open.input.value = '';
    show(open);
  }

  function act(game, action) {
    if (ended(game)) return;
    game.pending.push(action);
    game.input.value = game.pending.join(' || ');
    if (game.pending.length >= Math.min(game.data.now.per_turn, game.data.now.left)) typed(game);
    else show(game);
  }

  function typed(game) {
    if (!game.data || ended(game)) return;
    game.moves.push(game.input.value.split('||').map((text) => text.trim()).filter(Boolean));
    ask(game);
  }

  function undo(game) {
    if (game.pending.length) {
      game.pending.pop();
      game.input.value = game.pending.join(' || ');
      show(game);
    } else if (game.moves.length) {
      game.moves.pop();
      ask(game);
    }
  }

  const ended = (game) => !game.data || game.data.now.terminated || game.data.now.truncated;

  /* Handle an arrow key if the environment has such an action; returns whether it did. */
  function key(game, name) {
    if (!game.on || ended(game) || !(ARROWS[name] in game.data.now.costs)) return false;
    act(game, ARROWS[name]);
    return true;
  }

  // --- drawing ---------------------------------------------------------------------------

  function show(game) {
    const { now, played } = game.data;
    const over = ended(game);
    game.title.textContent = `Playing from turn ${game.from + 1}`;
    const where = over ? (now.success ? 'Goal reached.' : now.terminated ? 'Episode over: goal not reached.' : 'Turn limit reached.')
      : `Turn ${now.turn + 1} of ${now.turns}, ${now.left} action${now.left === 1 ? '' : 's'} left, ${now.per_turn} per turn.`;
    game.note.replaceChildren(el('b', '', where), ' ', over ? '' : `${label.state(now.value, now.facts, now.env)}.`);
    game.stage.replaceChildren(now.page ? page(now.page, game.hints && now.costs, over ? null : (a) => act(game, a)) : AF.timeline.image(now.picture, 'The environment now'));
    game.choices.replaceChildren(...(over || now.page ? [] : choices(game, now)));
    game.input.disabled = game.submit.disabled = over;
    game.input.placeholder = now.page ? 'search[red dress] or click[buy now]' : 'actions, separated by ||';
    game.undo.disabled = !game.moves.length && !game.pending.length;
    game.log.replaceChildren(...played.map((turn, i) => entry(turn, game.from + i)));
  }

  function choices(game, now) {
    const all = Object.entries(now.costs);
    const waiting = game.pending.length ? [el('span', 'af-quiet', `${game.pending.join(' → ')} → `)] : [];
    const nodes = all.slice(0, LISTED).map(([action, cost]) => {
      const node = el('button', 'af-move', { type: 'button', onclick: () => act(game, action) }, action);
      // After the first action of a turn the costs would be those of another state.
      if (game.hints && !game.pending.length) node.append(' ', label.chip(cost));
      return node;
    });
    return [...waiting, el('div', 'af-moves', ...nodes)];
  }

  /* The shop's page as text and buttons; `onAct` null: read-only. */
  function page(shown, costs, onAct) {
    const press = (b) => {
      const node = onAct ? el('button', 'af-move', { type: 'button', onclick: () => onAct(b.action) }, b.label) : el('span', 'af-move still', b.label);
      if (b.chosen) node.classList.add('chosen');
      if (b.note) node.append(el('span', 'af-quiet', ` ${b.note}`));
      if (costs && b.action in costs) node.append(' ', label.chip(costs[b.action]));
      return node;
    };
    const groups = new Map();
    for (const b of shown.buttons) groups.set(b.group, [...(groups.get(b.group) || []), b]);
    const parts = [el('p', 'af-shop-goal', shown.instruction), el('h4', '', shown.title), ...shown.lines.map((line) => el('p', '', line))];
    if (shown.search) parts.push(el('p', 'af-quiet', 'A search box: search[words]'));
    for (const [group, buttons] of groups) {
      if (group.startsWith('option:')) parts.push(el('div', 'af-shop-row', el('span', 'af-quiet', `${group.slice(7)} `), ...buttons.map(press)));
      else parts.push(el('div', group === 'product' ? 'af-shop-list' : 'af-shop-row', ...buttons.map(press)));
    }
    return el('div', 'af-shop', ...parts);
  }

  function entry(turn, k) {
    const total = turn.reward + turn.penalty;
    return el('li', '', el('b', '', `Turn ${k + 1} `), ...(turn.actions.length ? label.actions(turn.actions, turn.oracle) : [el('span', 'af-quiet', 'no action')]),
      ' ', ...label.rest(turn.oracle), ...(turn.valid ? [] : [' ', el('span', 'af-flag', 'not a valid action')]), el('span', 'af-gain', ` reward ${label.signed(total)}`));
  }

  AF.play = { create, start, stop, answer, key, page, link: (request) => { send = request; } };
})(self);
