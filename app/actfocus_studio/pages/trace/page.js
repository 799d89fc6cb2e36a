/* The Trace page: one trajectory, and all that depends on the sliders. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el, button, icon, number, perFrame } = AF.dom;
  const { KIND, tokenWeights } = AF.weights;
  const { store, tokens, timeline, inspector, gradientShare, line, table } = AF;

  const COLOURS = [['weight', 'Weight'], ['kind', 'Kind'], ['energy', 'Energy'], ['entropy', 'Entropy'], ['nll', 'Surprise'], ['credit', 'Credit']];
  const COLOUR_HELP = {
    weight: 'weight of the token in the loss', kind: 'reasoning, action, format, or text that was only read',
    energy: '−log Σ exp of the reference’s logits, in nats: high where the reference is uncertain',
    entropy: 'entropy of the reference’s next-token distribution, in nats', nll: '−log-probability under the policy, in nats: high for an unlikely token',
    credit: 'weight × advantage: blue tokens become more likely, brown ones less likely',
  };
  const TABLE_ICON = 'M4 5h16v14H4zM4 10h16M4 15h16M10 5v14';
  const { WIDEST } = AF.traceModel;

  const page = { model: null, text: null, matches: [], match: -1, legendOf: '' };

  function mount(element, props, watch) {
    build(element, props);
    AF.keys.install(ACTIONS);
    AF.frame.makeRoom();
    store.on(() => { refresh(); });
    AF.frame.onTheme(() => line.update(page.line));
    watch('value', () => open(props.value));
    if (props.value) open(props.value);
  }

  // --- building the page -------------------------------------------------------------------

  function build(element, props) {
    page.alert = el('div', 'af-alert', { hidden: true });
    page.alert.setAttribute('role', 'alert');
    page.picker = el('nav', 'af-picker');
    page.picker.setAttribute('aria-label', 'Trajectories');
    page.share = gradientShare.create();
    page.timeline = timeline.create(goTurn, takeOver);
    page.game = AF.play.create(leave);
    page.inspector = inspector.create();
    page.box = el('div', 'af-text', { id: 'af-text' });
    page.box.setAttribute('aria-label', 'Trajectory text');
    page.box.setAttribute('role', 'region');
    page.table = table.create(pin);
    page.line = line.create(props.figure, hover, (i) => pin(i, true), zoomed);
    page.live = el('div', 'af-spoken');
    page.live.setAttribute('aria-live', 'polite');
    page.tip = el('div', 'af-tip', { hidden: true });
    page.tip.setAttribute('role', 'tooltip');
    page.empty = el('div', 'af-empty', 'Loading …');
    page.body = el('div', 'af-body', { hidden: true }, page.picker, page.share.node,
      el('div', 'af-columns', page.timeline.node,
        el('main', 'af-main', tools(), page.box, page.table.node, page.game.node), page.inspector.node), page.line.node);
    element.replaceChildren(page.alert, page.empty, page.body, page.live, page.tip);
    element.className += ' af-trace';
    inspector.empty(page.inspector);
  }

  function tools() {
    page.colours = el('div', 'af-segments', { role: 'radiogroup' }, ...COLOURS.map(([name, title], i) => {
      const node = el('button', 'af-segment', { type: 'button', title: `${COLOUR_HELP[name]} (${i + 1})`, onclick: () => colour(name) }, title);
      node.dataset.colour = name;
      node.setAttribute('role', 'radio');
      return node;
    }));
    page.colours.setAttribute('aria-label', 'Colour by');
    page.colours.onkeydown = arrows;
    page.legend = el('div', 'af-legend');
    page.search = el('input', 'af-search', { type: 'search', placeholder: 'Search  /', oninput: () => find(0), onkeydown: searchKey });
    page.search.setAttribute('aria-label', 'Search in the text');
    page.count = el('span', 'af-quiet af-count');
    page.tabular = button('af-tool', icon(TABLE_ICON), 'Token table (T)', toggleTable);
    page.tabular.setAttribute('aria-pressed', 'false');
    page.bar = el('div', 'af-tools', page.colours, el('div', 'af-find', page.count, page.search, page.tabular), page.legend);
    return page.bar;
  }

  /* Arrow keys within the colour choice, as in any group of radio buttons. */
  function arrows(event) {
    const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const names = COLOURS.map(([name]) => name);
    colour(names[(names.indexOf(store.place.color) + step + names.length) % names.length]);
    page.colours.querySelector('[aria-checked=true]').focus();
  }

  // --- a trajectory arrives ----------------------------------------------------------------------

  function open(json) {
    const data = JSON.parse(json);
    if (data.view) store.adopt(data.view);
    say(data.error || (data.notes || []).join(' '), Boolean(data.error));
    if (data.error) {
      if (!page.model && data.runs) {
        AF.frame.show(data);
        page.empty.textContent = 'No trajectory is open.';
      }
      store.placed();
      return;
    }
    AF.frame.show(data);
    leave();
    const fresh = data.view === null;
    Object.assign(store.place, { run: data.run.name, reference: data.run.reference || '', step: data.place.step,
      trajectory: data.place.id, filter: data.filter });
    if (fresh) Object.assign(store.place, { turn: 0, token: null });
    page.model = AF.traceModel(data);
    page.legendOf = '';
    page.empty.hidden = true;
    page.body.hidden = false;
    page.matches = [];
    page.count.textContent = page.search.value = '';
    page.picker.replaceChildren(...AF.picker(data, go));
    page.text = tokens.build(page.box, page.model, pin, hover);
    timeline.fill(page.timeline, page.model);
    gradientShare.fill(page.share, page.model);
    refresh();
    table.fill(page.table, page.model);
    page.box.scrollTop = 0;
    const { turn, token } = store.place;
    showTurn(turn, turn > 0 && token === null);
    setPin(token !== null && token < page.model.n ? token : null, token !== null);
    store.remember();
    store.placed();
    line.fill(page.line, page.model);
    root.requestAnimationFrame(() => root.setTimeout(() => { page.painted = performance.now(); line.load(page.line); }, 0));
  }

  /* Weights and colours at once; sentence, bars and inspector in the next frame; the chart after it. */
  // --- settings changed ------------------------------------------------------------------------

  function refresh() {
    const m = page.model;
    if (!m) return;
    const { settings } = store;
    m.stats = m.statsOf(settings);
    m.weights = tokenWeights(m.kinds, m.signal[settings.signal], m.stats, settings.alpha, settings.beta);
    const kept = store.kept();
    m.weightTop = Math.max(WIDEST, 1 + settings.beta, kept ? 1 + kept.beta : 0);
    const of = (byAdvantage) => AF.weights.massByKind(m.batch.kinds, m.sumsOf(settings), settings.alpha, settings.beta, byAdvantage);
    m.mass = of(settings.adv);
    m.plainMass = of(false);
    tokens.paint(page.text, store.place.color);
    later();
  }

  const later = perFrame(() => {
    gradientShare.update(page.share, page.model);
    legend();
    if (store.place.token !== null) inspector.show(page.inspector, page.model, store.place.token);
    table.update(page.table);
    line.update(page.line);
  });

  function colour(name) {
    store.place.color = name;
    tokens.forget(page.text);
    tokens.paint(page.text, name);
    legend();
    store.remember();
  }

  function legend() {
    const m = page.model;
    const mode = store.place.color;
    for (const node of page.colours.children) {
      const on = node.dataset.colour === mode;
      node.setAttribute('aria-checked', String(on));
      node.tabIndex = on ? 0 : -1;
    }
    const of = `${mode} ${m.weightTop}`;
    if (page.legendOf === of) return;
    page.legendOf = of;
    page.legend.replaceChildren(...AF.ramp(m, mode), tokens.kindKeys(m.shown));
  }

  // --- turns and tokens ----------------------------------------------------------------------

  function goTurn(k) {
    if (!page.model || k < 0 || k >= page.model.turns.length) return;
    showTurn(k, true);
  }

  function showTurn(k, scroll) {
    const turn = Math.min(k, page.model.turns.length - 1);
    store.place.turn = turn;
    timeline.select(page.timeline, turn);
    page.text.cards.forEach((card, i) => card && card.classList.toggle('on', i === turn));
    const card = page.text.cards[Math.min(turn, page.text.cards.length - 1)];
    if (scroll && card) {
      if (turn === page.model.turns.length - 1) tokens.reveal(page.text, card.lastElementChild, 'near');
      else tokens.reveal(page.text, card, 'start');
    }
    store.remember();
  }

  /* Pin a token; unpin it if it is pinned already. `scroll`: bring it into view. */
  function pin(i, scroll = false) {
    if (i === null || !page.model) return;
    setPin(i === store.place.token && !scroll ? null : i, scroll);
    if (store.place.token !== null && page.model.turn[i] >= 0 && page.model.turn[i] !== store.place.turn) showTurn(page.model.turn[i], false);
    store.remember();
  }

  function setPin(i, scroll) {
    store.place.token = i;
    tokens.pin(page.text, i);
    line.pin(page.line, i);
    if (i === null) {
      inspector.empty(page.inspector);
      return;
    }
    if (scroll) tokens.reveal(page.text, page.text.spans[i], 'near');
    inspector.show(page.inspector, page.model, i);
    const m = page.model;
    page.live.textContent = `${m.text[i].trim() || 'white space'}, ${tokens.NAMES[m.shown[i]]}, position ${i}, `
      + (m.kinds[i] >= KIND.REASONING ? `weight ${number(m.weights[i], 2)}` : 'not in the loss');
  }

  /* Pin the first token of a kind from the current turn on, else of the trajectory. */
  function pinFirst(kind) {
    const m = page.model;
    const at = m.kinds.findIndex((k, i) => k === kind && m.turn[i] >= store.place.turn);
    const first = at < 0 ? m.kinds.indexOf(kind) : at;
    if (first >= 0) pin(first, true);
  }

  /* The pointer is over a token, in the text or the chart: mark it in both. */
  function hover(i, node) {
    if (!page.text) return;
    tokens.hot(page.text, i);
    line.hot(page.line, i);
    page.tip.hidden = i === null || !node;
    if (page.tip.hidden) return;
    const m = page.model;
    const written = m.kinds[i] >= KIND.REASONING;
    page.tip.replaceChildren(el('b', '', tokens.NAMES[m.shown[i]]), written ? ` weight ${number(m.weights[i])}` : ' not in the loss',
      written && m.signal.energy[i] !== null ? ` · energy ${number(m.signal.energy[i], 2)}` : '');
    const at = node.closest('.t').getClientRects()[0] || node.getBoundingClientRect();
    page.tip.style.left = `${Math.min(Math.max(at.left, 8), root.innerWidth - page.tip.offsetWidth - 8)}px`;
    page.tip.style.top = `${at.top - page.tip.offsetHeight - 6}px`;
  }

  function zoomed(i) {
    if (page.text.spans[i]) tokens.reveal(page.text, page.text.spans[i], 'near');
  }

  /* A high-weight token is in the top tenth of the sampled tokens, and above their median. */
  function heavy(step) {
    const m = page.model;
    const all = Array.from(m.weights).filter((w, i) => m.kinds[i] >= KIND.REASONING && Number.isFinite(w)).sort((a, b) => a - b);
    const middle = all[Math.floor(all.length / 2)];
    const bound = all[Math.floor(all.length * 0.9)];
    const from = store.place.token === null ? (step > 0 ? -1 : m.n) : store.place.token;
    for (let i = from + step; i >= 0 && i < m.n; i += step) {
      if (m.kinds[i] >= KIND.REASONING && m.weights[i] >= bound && m.weights[i] > middle) {
        pin(i, true);
        return;
      }
    }
    AF.frame.say(all[0] === all[all.length - 1] ? 'All weights are equal here.' : 'No high-weight token in this direction.');
  }

  function walk(step) {
    const next = page.text.rover + step;
    if (next < 0 || next >= page.model.n) return;
    pin(next, true);
    page.text.spans[next].focus({ preventScroll: true });
  }

  // --- search and table ------------------------------------------------------------------------

  function find(step) {
    if (!step) {
      page.matches = tokens.search(page.text, page.search.value);
      page.match = -1;
    }
    const count = page.matches.length;
    if (count) {
      page.match = (page.match + (step || 1) + count) % count;
      tokens.reveal(page.text, page.text.spans[page.matches[page.match]], 'near');
    }
    page.count.textContent = !page.search.value ? '' : count ? `${page.match + 1} of ${count}` : 'not found';
  }

  function searchKey(event) {
    if (event.key === 'Enter') find(event.shiftKey ? -1 : 1);
    else if (event.key === 'Escape') {
      page.search.value = '';
      find(0);
      page.search.blur();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /* The person plays from turn k on; the game takes the place of the text. */
  function takeOver(k) {
    if (page.game.on) {
      leave();
      return;
    }
    if (!page.table.node.hidden) toggleTable();
    timeline.stop(page.timeline);
    page.box.hidden = page.bar.hidden = true;
    page.timeline.takeover.setAttribute('aria-pressed', 'true');
    page.timeline.takeover.textContent = 'Stop playing';
    AF.play.start(page.game, Math.min(k, page.model.turns.length - 2));
  }

  function leave() {
    if (!page.game.on) return;
    AF.play.stop(page.game);
    page.box.hidden = page.bar.hidden = false;
    page.timeline.takeover.setAttribute('aria-pressed', 'false');
    page.timeline.takeover.textContent = 'Play from here';
  }

  function toggleTable() {
    const on = page.table.node.hidden;
    page.box.hidden = on;
    page.tabular.setAttribute('aria-pressed', String(on));
    table.toggle(page.table, on);
  }

  // --- going somewhere else ----------------------------------------------------------------------

  function go(trajectory, changes = {}) {
    if (!trajectory && !('filter' in changes) && !('step' in changes)) return;
    const { run, reference, filter } = store.place;
    AF.go({ run, reference, filter, trajectory: trajectory || '', ...changes });
  }

  /* One line above the page: an error, or what was not found and what is shown instead. */
  function say(text, error) {
    page.alert.hidden = !text;
    page.alert.classList.toggle('error', error);
    page.alert.replaceChildren(el('span', '', text || ''), button('af-tool', '×', 'Close', () => { page.alert.hidden = true; }));
  }

  function escape() {
    if (!page.alert.hidden) page.alert.hidden = true;
    leave();
    if (document.activeElement && document.activeElement !== document.body) document.activeElement.blur();
    if (store.place.token !== null) pin(store.place.token);
  }

  const placeOf = () => page.model.data.place;
  const ready = (action) => () => { if (page.model) action(); };
  const ACTIONS = {
    ArrowLeft: ready(() => AF.play.key(page.game, 'ArrowLeft') || goTurn(store.place.turn - 1)),
    ArrowRight: ready(() => AF.play.key(page.game, 'ArrowRight') || goTurn(store.place.turn + 1)),
    ArrowUp: ready(() => AF.play.key(page.game, 'ArrowUp')), ArrowDown: ready(() => AF.play.key(page.game, 'ArrowDown')),
    p: ready(() => takeOver(store.place.turn)), w: ready(() => AF.whatif.open('branch')),
    'token:ArrowLeft': ready(() => walk(-1)), 'token:ArrowRight': ready(() => walk(1)),
    'token:Enter': ready(() => pin(page.text.rover)),
    j: ready(() => go(placeOf().next)), k: ready(() => go(placeOf().previous)),
    '[': ready(() => heavy(-1)), ']': ready(() => heavy(1)),
    b: () => store.swap(), '/': ready(() => page.search.focus()), ' ': ready(() => timeline.toggle(page.timeline)),
    c: () => AF.frame.copyLink(), t: ready(toggleTable), '?': () => AF.frame.help(), Escape: ready(escape),
  };
  COLOURS.forEach(([name], i) => { ACTIONS[String(i + 1)] = ready(() => colour(name)); });

  /* `state` is for debugging: nothing on the page depends on it. */
  AF.trace = { mount, open, pinFirst, state: page };
})(self);
