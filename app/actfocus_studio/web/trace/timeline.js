/* The timeline of turns: a picture of the environment, the list of turns, and the player. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el, button, icon } = AF.dom;
  const PLAY_MS = 1300;
  const ICONS = { back: 'M15 5l-7 7 7 7', on: 'M9 5l7 7-7 7', play: 'M8 5l11 7-11 7z', pause: 'M8 5v14M16 5v14' };

  /* `onTurn(k)`: turn k was selected; `onPlay(k)`: the person wants to play on from it. */
  function create(onTurn, onPlay) {
    const timeline = { turn: 0, turns: [], timer: 0 };
    timeline.picture = el('div', 'af-picture');
    timeline.caption = el('p', 'af-caption');
    timeline.play = button('af-tool', icon(ICONS.play), 'Play (Space)', () => toggle(timeline));
    timeline.scrub = el('input', 'af-scrub', { type: 'range', min: 0, step: 1, oninput: () => onTurn(+timeline.scrub.value) });
    timeline.scrub.setAttribute('aria-label', 'Turn');
    timeline.list = el('ol', 'af-turns');
    timeline.onTurn = onTurn;
    const player = el('div', 'af-player', { role: 'toolbar' },
      button('af-tool af-back', icon(ICONS.back), 'Previous turn (←)', () => onTurn(timeline.turn - 1)), timeline.play,
      button('af-tool af-on', icon(ICONS.on), 'Next turn (→)', () => onTurn(timeline.turn + 1)), timeline.scrub);
    player.setAttribute('aria-label', 'Turns');
    timeline.takeover = el('button', 'af-button af-takeover', { type: 'button', title: 'Play on yourself from this turn (P)', onclick: () => onPlay(timeline.turn) }, 'Play from here');
    timeline.takeover.setAttribute('aria-pressed', 'false');
    timeline.whatif = AF.whatif.opener('branch', 'What if …', 'Branch or edit this trajectory, or replay its update (W)');
    timeline.node = el('aside', 'af-rail', el('div', 'af-stage', timeline.picture, timeline.caption, player, timeline.takeover, timeline.whatif), timeline.list);
    timeline.node.setAttribute('aria-label', 'Turns of the trajectory');
    return timeline;
  }

  function fill(timeline, model) {
    stop(timeline);
    timeline.turns = model.turns;
    timeline.model = model;
    timeline.scrub.max = model.turns.length - 1;
    timeline.rows = model.turns.map((turn, k) => row(timeline, turn, k));
    timeline.list.replaceChildren(...timeline.rows.map((node) => el('li', '', node)));
  }

  function row(timeline, turn, k) {
    const node = el('button', 'af-row', { type: 'button', onclick: () => timeline.onTurn(k) }, image(turn.picture, ''));
    const text = el('span', 'af-row-text', el('b', '', turn.end ? 'End' : `Turn ${k + 1}`));
    if (turn.end) text.append(el('span', 'af-row-what', outcome(timeline.model.trajectory)));
    else text.append(el('span', 'af-row-what', turn.actions.join(' → ') || 'no action'));
    node.append(text);
    if (!turn.end) {
      const total = turn.reward + turn.penalty;
      const notes = el('span', 'af-row-end', AF.label.sign(turn.oracle));
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
    return t.terminated ? 'failed' : t.truncated ? 'turn limit reached' : 'stopped';
  }

  /* Pictures are images with a data URL, so nothing inside one can run. */
  function image(svg, label) {
    if (!svg) return el('span', 'af-no-picture', { title: 'this environment has no picture' }, label ? 'picture unavailable' : '–');
    return el('img', '', { src: `data:image/svg+xml,${encodeURIComponent(svg)}`, alt: label });
  }

  function select(timeline, k) {
    timeline.turn = k;
    const turn = timeline.turns[k];
    const label = turn.end ? 'The end' : `Turn ${k + 1} of ${timeline.turns.length - 1}`;
    const what = `${label}: the environment ${turn.end ? 'at the end' : 'before the answer'}`;
    timeline.picture.replaceChildren(turn.page ? AF.play.page(turn.page, null, null) : image(turn.picture, what));
    timeline.picture.classList.toggle('page', Boolean(turn.page));
    timeline.caption.replaceChildren(el('b', '', label), ' ',
      turn.end ? outcome(timeline.model.trajectory) : turn.actions.length ? `then ${turn.actions.join(', ')}` : 'then no action');
    if (turn.oracle) timeline.caption.append(el('span', 'af-known', AF.label.state(turn.oracle.value, turn.oracle.facts, timeline.model.trajectory.env)));
    timeline.takeover.disabled = Boolean(turn.end) || !turn.picture;
    timeline.scrub.value = k;
    timeline.scrub.setAttribute('aria-valuetext', label);
    timeline.rows.forEach((node, i) => {
      node.classList.toggle('on', i === k);
      if (i === k) node.setAttribute('aria-current', 'step');
      else node.removeAttribute('aria-current');
    });
    if (k === timeline.turns.length - 1) stop(timeline);
  }

  function toggle(timeline) {
    if (timeline.timer) return stop(timeline);
    const last = timeline.turns.length - 1;
    if (timeline.turn >= last) timeline.onTurn(0);
    timeline.timer = root.setInterval(() => timeline.onTurn(timeline.turn + 1), PLAY_MS);
    face(timeline, 'pause', 'Pause (Space)');
    return undefined;
  }

  function stop(timeline) {
    root.clearInterval(timeline.timer);
    timeline.timer = 0;
    face(timeline, 'play', 'Play (Space)');
  }

  function face(timeline, name, label) {
    timeline.play.replaceChildren(icon(ICONS[name]));
    timeline.play.title = label;
    timeline.play.setAttribute('aria-label', label);
  }

  AF.timeline = { create, fill, select, toggle, stop, outcome, image };
})(self);
