/* The Compare page: two trajectories or two schemes side by side, and tables of all schemes. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el, button, number, visible } = AF.dom;
  const { KIND } = AF.weights;
  const { store, tokens, panes, compareTables: tables } = AF;

  const PATIENCE_MS = 60000;
  const DEFAULT = { a: 'actfocus', b: 'uniform' };
  const PARTS = ['panes', 'credit', 'places', 'schemes', 'truth'];

  let send = null;
  let busy = null;
  let number_ = 0;
  const page = { built: false, done: {}, errors: {}, actions: [], panes: [], data: {}, focus: null };

  // --- requests: one at a time, always for the newest view -----------------------------------------

  const scheme = (side) => store.place[`scheme_${side}`] || DEFAULT[side];
  const tuned = (name) => name.split(':').pop() === 'actfocus';
  const KEPT = 'kept'; // ActFocus with the setting kept as B in the sidebar

  /* Part of the page -> the values that its answer depends on. */
  function keys() {
    const { place: p, settings: s } = store;
    const method = [s.alpha, s.beta, s.signal];
    const at = [p.run, p.reference, p.trajectory, p.other_run, p.other];
    const batch = [p.run, p.reference, p.step, p.controls, ...method];
    const shown = [scheme('a'), scheme('b')];
    return { panes: at, credit: [...at, ...shown, ...(shown.some(tuned) ? method : []), ...(shown.includes(KEPT) ? [p.kept] : [])],
      places: [p.run, p.trajectory], schemes: batch, truth: batch };
  }

  function sync() {
    if (!send || busy || !page.built || store.place.tab !== 'compare' || !store.place.trajectory) return;
    forget();
    const action = page.actions.shift();
    const current = keys();
    const part = PARTS.find((name) => JSON.stringify(current[name]) !== page.done[name]);
    if (!action && !part) return;
    busy = { op: action ? action.op : part, key: action ? null : JSON.stringify(current[part]), number: ++number_, since: performance.now() };
    if (busy.op === 'truth' || busy.op === 'schemes') page[busy.op].setAttribute('aria-busy', 'true');
    const { run, reference, step, trajectory, scheme_a, scheme_b, kept, other_run, other, controls } = store.place;
    const { alpha, beta, signal } = store.settings;
    send({ run, reference, step, trajectory, scheme_a, scheme_b, kept, other_run, other, controls, alpha, beta, signal,
      ...action, op: busy.op, number: busy.number });
  }

  /* When another trajectory is opened, pane B is reset: its trajectory belongs to another prompt. */
  function forget() {
    const at = JSON.stringify([store.place.run, store.place.trajectory]);
    if (page.at && page.at !== at) Object.assign(store.place, { other: '', other_run: '' });
    page.at = at;
  }

  let due = 0;
  const soon = () => { if (!due) due = root.setTimeout(() => { due = 0; sync(); }, 40); };

  function act(action) {
    page.actions.push(action);
    sync();
  }

  function answer(json) {
    const data = JSON.parse(json);
    if (!busy || data.number !== busy.number) return;
    const { op, key } = busy;
    busy = null;
    if (key !== null) page.done[op] = key;
    page.errors[op] = data.error || '';
    for (const name of ['schemes', 'truth']) if (op === name) page[name].removeAttribute('aria-busy');
    if (!data.error) HANDLERS[op](data);
    else if (op === 'report') page.report.disabled = false;
    say();
    sync();
  }

  function say() {
    const lines = [...new Set([...Object.values(page.errors), ...(page.notes || [])].filter(Boolean))];
    page.alert.hidden = !lines.length;
    page.alert.textContent = lines.join(' ');
  }

  // --- the parts -------------------------------------------------------------------------------------

  function mount(element, props) {
    page.element = element;
    page.menu = JSON.parse(props.menu);
    store.onTab(wake);
    store.onView(wake);
    wake();
  }

  function wake() {
    if (store.place.tab !== 'compare') return;
    if (!page.built) build();
    adapt();
    note();
    if (page.adopted && page.kept !== store.place.kept) {
      page.kept = store.place.kept;
      fillPickers();
    }
    soon();
  }

  function build() {
    page.alert = el('p', 'af-alert error', { hidden: true });
    page.alert.setAttribute('role', 'alert');
    page.pickers = { a: picker('a'), b: picker('b') };
    page.where = el('select', '', { onchange: () => elsewhere(+page.where.value) });
    page.where.setAttribute('aria-label', 'Source of B');
    page.member = el('select', '', { onchange: () => beside(page.places[page.where.value].run, page.member.value) });
    page.member.setAttribute('aria-label', 'Rollout of B');
    page.controls = el('input', '', { type: 'checkbox', onchange: () => { store.place.controls = page.controls.checked ? '1' : ''; store.remember(); } });
    page.report = el('button', 'af-button', { type: 'button', onclick: () => { page.report.disabled = true; act({ op: 'report' }); } }, 'Download report');
    page.file = el('span', '');
    page.asTable = el('button', 'af-button', { type: 'button', onclick: () => { page.rows.hidden = !page.rows.hidden; listTokens(); } }, 'Show tokens as a table');
    page.rows = wide('Tokens and their credit');
    page.rows.classList.add('af-rows');
    page.rows.hidden = true;
    page.legend = el('div', 'af-legend');
    page.readout = el('p', 'af-readout');
    page.live = el('div', 'af-spoken');
    page.live.setAttribute('aria-live', 'polite');
    page.grid = el('div', 'af-panes');
    page.note = el('p', 'af-quiet');
    page.told = el('span', '');
    page.cancel = el('button', 'af-button', { type: 'button', hidden: true, onclick: () => act({ op: 'cancel' }) }, 'Cancel');
    page.job = el('p', 'af-job-line', page.told, page.cancel);
    page.job.setAttribute('role', 'status');
    page.schemes = wide('Credit schemes', el('p', 'af-quiet', 'Computing …'));
    page.spearman = wide('Rank correlation between schemes', el('p', 'af-quiet', 'Computing …'));
    page.truth = wide('Scoreboard against ground truth', el('p', 'af-quiet', 'Computing …'));
    const swap = el('button', 'af-button', { type: 'button', title: 'Swap the schemes of A and B',
      onclick: () => choose({ a: scheme('b'), b: scheme('a') }) }, '⇄ Swap');
    page.element.classList.add('af-compare');
    page.element.replaceChildren(page.alert,
      el('div', 'af-picker', el('label', '', el('b', '', 'A '), page.pickers.a), el('label', '', el('b', '', 'B '), page.pickers.b), swap,
        el('span', 'af-beside', el('span', 'af-quiet', 'B: '), page.where, page.member),
        el('label', 'af-check', page.controls, 'null controls'), page.asTable, page.report, page.file),
      page.note, el('div', 'af-sticky', page.legend, page.readout), page.grid, page.rows,
      page.job, page.schemes, page.truth, page.spearman, page.live);
    page.built = true;
    note();
    root.setInterval(() => { if (busy && performance.now() - busy.since > PATIENCE_MS) { busy = null; sync(); } }, 1000);
    act({ op: 'job' });
  }

  /* A region for a table that may be wider than the page; it is focusable, so the keyboard can scroll it. */
  function wide(label, ...children) {
    const node = el('section', 'af-wide', { tabIndex: 0 }, ...children);
    node.setAttribute('role', 'region');
    node.setAttribute('aria-label', label);
    return node;
  }

  function picker(side) {
    const node = el('select', '', { onchange: () => choose({ [side]: node.value }) });
    node.setAttribute('aria-label', `Scheme of pane ${side.toUpperCase()}`);
    return node;
  }

  /* All schemes, and null controls if enabled; those that lack a signal are disabled. */
  function fillPickers() {
    const table = page.data.table;
    const lacking = new Set(table ? table.schemes.filter((row) => row.missing.length).map((row) => row.scheme) : []);
    const listed = table ? table.schemes.map((row) => row.scheme) : Object.keys(page.menu.schemes);
    for (const side of ['a', 'b']) {
      const names = listed.includes(scheme(side)) ? listed : [...listed, scheme(side)];
      const option = (name) => el('option', '', { value: name, disabled: lacking.has(name) && name !== scheme(side) },
        titleOf(name) + (lacking.has(name) ? ' (unavailable)' : ''));
      const kept = el('option', '', { value: KEPT, disabled: !store.kept() }, titleOf(KEPT));
      page.pickers[side].replaceChildren(...names.filter((name) => name !== KEPT).map(option), kept);
      page.pickers[side].value = scheme(side);
    }
  }

  const titleOf = (name) => (name === KEPT ? `Kept as B: ${store.kept() ? store.describe(store.kept()) : 'none yet (sidebar: “Keep as B”)'}` : tables.facts(page.menu, name).title);

  /* Follow schemes that a lesson has chosen. */
  function adapt() {
    if (!page.adopted || (page.pickers.a.value === scheme('a') && page.pickers.b.value === scheme('b') && page.controls.checked === Boolean(store.place.controls))) return;
    page.controls.checked = Boolean(store.place.controls);
    fillPickers();
  }

  function choose(changes) {
    for (const [side, name] of Object.entries(changes)) store.place[`scheme_${side}`] = name;
    store.remember();
    fillPickers();
    if (page.data.table) drawSchemes();
  }

  function note() {
    const { settings: s } = store;
    page.note.textContent = `ActFocus uses the setting of the sidebar: α ${+s.alpha.toFixed(2)}, β ${+s.beta.toFixed(2)}, ${store.signalTitle(s.signal)}. All other schemes use their defaults.`
      + (s.scope !== 'batch' ? ' On this page μ and σ are always those of the batch.' : '')
      + ' Credit is mask × weight × advantage, divided by the sum of weights and multiplied by the number of response tokens of the batch; under Uniform it equals the advantage.';
  }

  // --- the panes -----------------------------------------------------------------------------------

  function showPanes(data) {
    page.notes = data.notes;
    adopt(data);
    page.data.panes = data;
    page.same = !data.right;
    page.focus = null;
    page.readout.textContent = 'Hover over a token, or select one with the arrow keys.';
    const sides = [['a', data.left], ['b', data.right || data.left], ...(page.same ? [['difference', data.left]] : [])];
    page.panes = sides.map(([side, t]) => pane(side, t));
    page.grid.replaceChildren(...page.panes.map((p) => p.node));
    page.grid.classList.toggle('three', page.same);
    panes.link(page.panes, panes.sameTurn, tell, () => { page.live.textContent = page.readout.textContent; });
    page.legend.replaceChildren(tokens.kindKeys([...page.panes[0].model.shown, ...page.panes[1].model.shown]));
  }

  /* Take over the values that the server has validated; after that only the page changes them. */
  function adopt({ view, right, notes }) {
    if (!page.adopted) {
      Object.assign(store.place, { scheme_a: view.scheme_a, scheme_b: view.scheme_b, controls: view.controls ? '1' : '' });
      page.controls.checked = view.controls;
      page.adopted = true;
      fillPickers();
    }
    if (!right && notes.length && page.done.panes === JSON.stringify(keys().panes)) {
      Object.assign(store.place, { other: '', other_run: '' });
      page.done.panes = JSON.stringify(keys().panes);
    }
    store.remember();
  }

  function pane(side, t) {
    const p = panes.create(side === 'difference' ? 'A − B' : side.toUpperCase(), '', t);
    p.box.setAttribute('aria-label', side === 'difference' ? 'Difference A − B per token' : `Trajectory in pane ${side.toUpperCase()}`);
    return Object.assign(p, { side });
  }

  function showCredit(data) {
    const [a, b] = [data.a.credit, data.b.credit];
    page.data.credit = data;
    for (const p of page.panes) {
      const own = p.side === 'a' ? a : p.side === 'b' ? b : a && b && a.map((x, i) => (x === null || b[i] === null ? null : x - b[i]));
      p.model.known = Boolean(own);
      p.model.signed = own ? Float64Array.from(own, (x) => (x === null ? NaN : x)) : new Float64Array(p.model.n).fill(NaN);
      p.model.signedTop = data.top;
      tokens.paint(p.view, 'signed');
      p.what.textContent = about(p, data);
    }
    const end = number(data.top, 2);
    page.legend.replaceChildren(el('span', 'af-ramp', { title: 'All panes share this scale; colours saturate at its ends.' },
      el('span', 'af-ramp-end', `≤ −${end}`), el('span', 'af-ramp-bar credit'), el('span', 'af-ramp-end', `≥ +${end}`),
      el('span', 'af-quiet', 'credit: blue tokens become more likely, brown ones less likely')),
    tokens.kindKeys([...page.panes[0].model.shown, ...page.panes[1].model.shown]));
    if (page.focus) tell(...page.focus);
    listTokens();
  }

  /* The table of tokens, an alternative to coloured text. */
  function listTokens() {
    const on = !page.rows.hidden;
    page.asTable.setAttribute('aria-pressed', String(on));
    page.grid.hidden = on;
    const texts = page.panes.filter((p) => p.side !== 'difference' && (p.side === 'a' || !page.same));
    page.rows.replaceChildren(...(on ? texts.map((p) => tables.tokens(p, page.same ? page.panes : [p])) : []));
  }

  function about(p, data) {
    if (p.side === 'difference') return p.model.known ? 'credit under A minus credit under B: blue above 0, brown below' : 'unavailable';
    const t = p.data;
    const lacking = data[p.side].missing;
    const reason = lacking.length ? `unavailable: no ${lacking.join(', ')}; ${page.menu.how[lacking[0]]}`
      : p.model.known ? '' : 'unavailable: this rollout has no return';
    const where = t.run === store.place.run ? `step ${t.step}` : `${t.run}, step ${t.step}`;
    return `${titleOf(scheme(p.side))} · ${where}, rollout ${t.rollout}, return ${number(t.return, 2)}`
      + `, ${AF.dom.outcome(t.success)}${reason ? ` · ${reason}` : ''}`;
  }

  /* Write the credit of one token in every pane to the readout. */
  function tell(p, i) {
    page.focus = [p, i];
    const m = p.model;
    const written = m.kinds[i] >= KIND.REASONING;
    const values = page.panes.map((other) => {
      const j = panes.sameTurn(p, other, i);
      const name = other.side === 'difference' ? 'A − B' : other.side.toUpperCase();
      if (j === null) return `${name} –`;
      const text = other === p || other.data === p.data ? '' : ` “${visible(other.model.text[j])}”`;
      return other.model.kinds[j] < KIND.REASONING ? `${name}${text} not in the loss` : `${name}${text} ${signed(other.model.signed[j])}`;
    });
    page.readout.replaceChildren(...panes.name(p, i),
      written ? values.join(' · ') : 'not sampled by the policy, so it has no credit');
  }

  const signed = (x) => (Number.isFinite(x) ? `${x > 0 ? '+' : ''}${number(x)}` : 'unavailable');

  // --- the trajectory of pane B -------------------------------------------------------------------------

  function showPlaces(data) {
    page.places = data.places;
    const name = (p) => (p.run === store.place.run ? `same prompt, step ${p.step}` : `same prompt in ${p.run}, step ${p.step}`);
    page.where.replaceChildren(el('option', '', { value: -1 }, 'same trajectory'),
      ...data.places.map((p, k) => el('option', '', { value: k }, k ? name(p) : 'another rollout of the group')));
    const { run, other, other_run } = store.place;
    const k = other ? data.places.findIndex((p) => p.run === (other_run || run) && p.members.some((m) => m.id === other)) : -1;
    page.where.value = k;
    members(k);
  }

  function members(k) {
    const place = page.places[k];
    page.member.hidden = !place;
    if (!place) return;
    page.member.replaceChildren(...place.members.map((m) => el('option', '', { value: m.id },
      `rollout ${m.rollout}: return ${number(m.return, 2)}, ${AF.dom.outcome(m.success)}`)));
    page.member.value = store.place.other;
  }

  /* Show a place in pane B: in another step or run the rollout of the same index, in this step a different one. */
  function elsewhere(k) {
    const place = page.places[k];
    if (!place) return beside('', '');
    const { left } = page.data.panes;
    const here = k === 0;
    const member = place.members.find((m) => (here ? m.id !== left.id : m.rollout === left.rollout)) || place.members[0];
    return beside(place.run, member.id, k);
  }

  function beside(run, id, k) {
    store.place.other_run = run === store.place.run ? '' : run;
    store.place.other = id;
    if (k !== undefined || !id) members(k === undefined ? -1 : k);
    store.remember();
  }

  const { drawSchemes, showTable, showTruth, showJob, showReport } = AF.compareScoring(page, { act, choose, scheme, fillPickers });

  const HANDLERS = { panes: showPanes, credit: showCredit, places: showPlaces, schemes: showTable, truth: showTruth,
    job: showJob, score: showJob, judge: showJob, cancel: showJob, report: showReport };

  /* Whether every part of the page shows the current view. */
  function idle() {
    const current = keys();
    return !busy && !due && !page.actions.length && PARTS.every((name) => JSON.stringify(current[name]) === page.done[name]);
  }

  /* `state` and `idle` are for inspection only. */
  AF.compare = { idle, mount, answer, link: (request) => { send = request; soon(); }, state: page };
})(self);
