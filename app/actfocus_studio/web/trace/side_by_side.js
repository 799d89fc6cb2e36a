/* Trajectories beside each other, linked: what the pointer is on is marked in all, scrolling and the
   arrow keys go together. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el, perFrame, visible } = AF.dom;
  const { tokens } = AF;

  /* One trajectory as the token view takes it; the caller fills in what is painted. */
  function model(data) {
    const n = data.text.length;
    const m = { n, text: data.text, turn: data.turn, kinds: data.kind, turns: data.turns, shown: tokens.shownKinds(data.kind, data.turn, data.turns),
      signed: new Float64Array(n), signedTop: 1, weights: new Float64Array(n), weightTop: 1.5, signal: { energy: data.energy }, ranges: {}, spans: new Map() };
    m.turn.forEach((k, i) => { if (!m.spans.has(k)) m.spans.set(k, [i, i]); m.spans.get(k)[1] = i + 1; });
    return m;
  }

  function create(title, about, data) {
    const p = { data, model: model(data), title, what: el('span', 'af-quiet', about), box: el('div', 'af-text') };
    p.box.setAttribute('role', 'region');
    p.box.setAttribute('aria-label', title);
    p.node = el('section', 'af-pane', el('header', 'af-pane-head', el('b', '', title), p.what), p.box);
    return p;
  }

  /* `counterpart(from, to, i)`: the token of another pane that belongs to token i, or null.
     `onToken(pane, i)`: token i is under the pointer; `onMove()`: token i was moved to, by key or click. */
  function link(panes, counterpart, onToken, onMove = () => {}) {
    const group = { panes, lead: panes[0], counterpart, onToken, onMove };
    for (const p of panes) {
      p.view = tokens.build(p.box, p.model, (i) => walk(group, p, i), (i) => hover(group, p, i));
      for (const event of ['pointerenter', 'pointerdown', 'focusin', 'wheel', 'touchstart']) {
        p.box.addEventListener(event, () => { group.lead = p; }, { passive: true });
      }
      p.box.addEventListener('scroll', () => { if (group.lead === p) group.follow(); }, { passive: true });
      p.box.addEventListener('keydown', (event) => keydown(group, p, event));
      p.box.addEventListener('toggle', (event) => unfold(group, event.target), true);
    }
    // Cards get their true height once visible, so align again.
    group.follow = perFrame(() => {
      let tries = 2;
      (function settle() {
        for (const p of panes) if (p !== group.lead) align(group.lead.box, p.box);
        if (tries--) root.requestAnimationFrame(settle);
      })();
    });
    return group;
  }

  /* The same place of the same turn. */
  function sameTurn(from, to, i) {
    if (from.data === to.data) return i;
    const k = from.model.turn[i];
    const own = to.model.spans.get(k);
    const j = own && own[0] + i - from.model.spans.get(k)[0];
    return own && j < own[1] ? j : null;
  }

  function hover(group, p, i) {
    for (const other of group.panes) tokens.hot(other.view, i === null ? null : group.counterpart(p, other, i));
    if (i !== null) group.onToken(p, i);
  }

  /* Move to a token, by key or click: the focus moves, and screen readers announce it. */
  function walk(group, p, i) {
    if (i < 0 || i >= p.model.n) return;
    tokens.rove(p.view, i);
    p.view.spans[i].closest('details')?.setAttribute('open', '');
    p.view.spans[i].focus({ preventScroll: true });
    tokens.reveal(p.view, p.view.spans[i], 'near');
    hover(group, p, i);
    group.onMove();
  }

  function keydown(group, p, event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey || !event.target.classList.contains('t')) return;
    event.preventDefault();
    event.stopPropagation();
    walk(group, p, p.view.rover + step);
  }

  /* The system prompt is folded in all panes or in none. */
  function unfold(group, details) {
    for (const p of group.panes) {
      const own = p.box.querySelector('.af-prologue');
      if (own && own.open !== details.open) own.open = details.open;
    }
  }

  function align(lead, box) {
    const top = lead.getBoundingClientRect().top;
    const cards = [...lead.children];
    const card = cards.find((node) => node.getBoundingClientRect().bottom > top + 1) || cards[cards.length - 1];
    const to = box.children[cards.indexOf(card)];
    if (!to) return;
    const at = card.getBoundingClientRect();
    const there = to.getBoundingClientRect();
    const share = (top - at.top) / at.height;
    box.scrollTop += there.top + (share < 0 ? top - at.top : share * there.height) - box.getBoundingClientRect().top;
  }

  /* Bring a token of a pane into view. */
  function reveal(group, p, i) {
    tokens.reveal(p.view, p.view.spans[i], 'near');
    hover(group, p, i);
  }

  /* The beginning of the readout of a token. */
  function name(p, i) {
    const m = p.model;
    return [el('b', 'af-readout-token', visible(m.text[i]) || '∅'),
      ` ${tokens.NAMES[m.shown[i]]}, position ${i}${m.turn[i] < 0 ? '' : `, turn ${m.turn[i] + 1}`}: `];
  }

  /* The states of a trajectory as a row of small pictures. */
  function worlds(data) {
    const drawn = data.turns.filter((turn) => turn.picture);
    if (!drawn.length) return null;
    return el('div', 'af-worlds', ...drawn.map((turn, k) => el('figure', '', AF.timeline.image(turn.picture, ''),
      el('figcaption', '', turn.end ? AF.timeline.outcome(data) : turn.actions.join(' → ') || `turn ${k + 1}: no action`))));
  }

  AF.panes = { create, link, sameTurn, reveal, name, worlds };
})(self);
