/* The turns: the environment as a picture, the list of turns, and the player. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el, button, icon } = AF.dom;
  const PLAY_MS = 1300;
  const ICONS = { back: 'M15 5l-7 7 7 7', on: 'M9 5l7 7-7 7', play: 'M8 5l11 7-11 7z', pause: 'M8 5v14M16 5v14' };

  /* `onTurn(k)`: a person chose a turn; `onPlay(k)`: wants to play on from it. */
  function create(onTurn, onPlay) {
    const rail = { turn: 0, turns: [], timer: 0 };
    rail.picture = el('div', 'af-picture');
    rail.caption = el('p', 'af-caption');
    rail.play = button('af-tool', icon(ICONS.play), 'Play (Space)', () => toggle(rail));
    rail.scrub = el('input', 'af-scrub', { type: 'range', min: 0, step: 1, oninput: () => onTurn(+rail.scrub.value) });
    rail.scrub.setAttribute('aria-label', 'Turn');
    rail.list = el('ol', 'af-turns');
    rail.onTurn = onTurn;
    const player = el('div', 'af-player', { role: 'toolbar' },
      button('af-tool af-back', icon(ICONS.back), 'Previous turn (←)', () => onTurn(rail.turn - 1)), rail.play,
      button('af-tool af-on', icon(ICONS.on), 'Next turn (→)', () => onTurn(rail.turn + 1)), rail.scrub);
    player.setAttribute('aria-label', 'Turns');
    rail.takeover = el('button', 'af-button af-takeover', { type: 'button', title: 'Answer yourself from this turn on (P)', onclick: () => onPlay(rail.turn) }, 'Play from here');
    rail.takeover.setAttribute('aria-pressed', 'false');
    rail.whatif = AF.whatif.opener('branch', 'What if …', 'Branch or edit this trajectory, replay its update (W)');
    rail.node = el('aside', 'af-rail', el('div', 'af-stage', rail.picture, rail.caption, player, rail.takeover, rail.whatif), rail.list);
    rail.node.setAttribute('aria-label', 'Turns of the trajectory');
    return rail;
  }

  function fill(rail, model) {
    stop(rail);
    rail.turns = model.turns;
    rail.model = model;
    rail.scrub.max = model.turns.length - 1;
    rail.rows = model.turns.map((turn, k) => row(rail, turn, k));
    rail.list.replaceChildren(...rail.rows.map((node) => el('li', '', node)));
  }

  function row(rail, turn, k) {
    const node = el('button', 'af-row', { type: 'button', onclick: () => rail.onTurn(k) }, image(turn.picture, ''));
    const text = el('span', 'af-row-text', el('b', '', turn.end ? 'End' : `Turn ${k + 1}`));
    if (turn.end) text.append(el('span', 'af-row-what', outcome(rail.model.trajectory)));
    else text.append(el('span', 'af-row-what', turn.actions.join(' → ') || 'no action'));
    node.append(text);
    if (!turn.end) {
      const total = turn.reward + turn.penalty;
      const notes = el('span', 'af-row-end', AF.verdict.sign(turn.oracle));
      if (!turn.valid) {
        notes.append(el('span', 'af-flag', { title: turn.malformed ? 'malformed answer' : 'illegal action' }, turn.malformed ? 'M' : 'I'));
      }
      if (total) notes.append(el('span', 'af-gain', { title: 'reward of the turn' }, `${total > 0 ? '+' : '−'}${Math.abs(+total.toFixed(2))}`));
      node.append(notes);
    }
    return node;
  }

  function outcome(t) {
    if (t.success) return 'goal reached';
    if (t.success === null && t.terminated) return 'success unknown';
    return t.terminated ? 'failed' : t.truncated ? 'out of turns' : 'stopped';
  }

  /* Pictures are images from a data address: nothing inside one can run. */
  function image(svg, label) {
    if (!svg) return el('span', 'af-no-picture', { title: 'no picture of this environment' }, label ? 'picture unavailable' : '–');
    return el('img', '', { src: `data:image/svg+xml,${encodeURIComponent(svg)}`, alt: label });
  }

  function select(rail, k) {
    rail.turn = k;
    const turn = rail.turns[k];
    const label = turn.end ? 'The end' : `Turn ${k + 1} of ${rail.turns.length - 1}`;
    const what = `${label}: the environment ${turn.end ? 'at the end' : 'before the answer'}`;
    rail.picture.replaceChildren(turn.page ? AF.play.page(turn.page, null, null) : image(turn.picture, what));
    rail.picture.classList.toggle('page', Boolean(turn.page));
    rail.caption.replaceChildren(el('b', '', label), ' ',
      turn.end ? outcome(rail.model.trajectory) : turn.actions.length ? `then ${turn.actions.join(', ')}` : 'then no action');
    if (turn.oracle) rail.caption.append(el('span', 'af-known', AF.verdict.state(turn.oracle.value, turn.oracle.facts, rail.model.trajectory.env)));
    rail.takeover.disabled = Boolean(turn.end) || !turn.picture;
    rail.scrub.value = k;
    rail.scrub.setAttribute('aria-valuetext', label);
    rail.rows.forEach((node, i) => {
      node.classList.toggle('on', i === k);
      if (i === k) node.setAttribute('aria-current', 'step');
      else node.removeAttribute('aria-current');
    });
    if (k === rail.turns.length - 1) stop(rail);
  }

  function toggle(rail) {
    if (rail.timer) return stop(rail);
    const last = rail.turns.length - 1;
    if (rail.turn >= last) rail.onTurn(0);
    rail.timer = root.setInterval(() => rail.onTurn(rail.turn + 1), PLAY_MS);
    face(rail, 'pause', 'Pause (Space)');
    return undefined;
  }

  function stop(rail) {
    root.clearInterval(rail.timer);
    rail.timer = 0;
    face(rail, 'play', 'Play (Space)');
  }

  function face(rail, name, label) {
    rail.play.replaceChildren(icon(ICONS[name]));
    rail.play.title = label;
    rail.play.setAttribute('aria-label', label);
  }

  AF.rail = { create, fill, select, toggle, stop, outcome, image };
})(self);
