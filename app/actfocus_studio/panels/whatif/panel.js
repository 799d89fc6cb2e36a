/* The What-if panel: its forms, the progress of the work, the stored answers, and the answer that is shown. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el, button } = AF.dom;
  const { store } = AF;
  const POLL_MS = 150;
  const KINDS = [['replay', 'Replay'], ['branch', 'Branch'], ['edit', 'Edit'], ['motion', 'Walkthrough']];
  const LEADS = {
    replay: 'One update under each scheme, on the same rollouts and from the same parameters: the change of every token’s log-probability.',
    branch: 'Continue from a turn or a token: sample the policy again, or force its answer.',
    edit: 'Replace text in the trajectory. The reference scores it again; weights and credit are recomputed.',
    motion: 'One update on this trajectory, step by step, with its numbers.',
  };
  const ID = /^(replay|branch|edit)-[0-9a-f]{12}$/;
  const PHASES = { starting: 'Loading the policy', replay: 'Computing the update', rollout: 'Sampling rollouts', score: 'Scoring', rebuild: 'Recomputing earlier steps' };
  const WORK = { replay: 'replay', branch: 'branch', edit: 'edit', motion: 'replay' };

  const page = { open: false, kind: 'replay', facts: null, what: null, motion: null, list: [], form: {}, requested: '' };
  const channel = AF.channel((text) => say(text));
  const ask = (request, then) => {
    const { run, reference, trajectory } = store.place;
    const { alpha, beta, signal } = store.settings;
    channel.ask({ run, reference, trajectory, alpha, beta, signal, ...request }, then);
  };
  const title = (name) => page.titles[name] || name;

  // --- the parts ---------------------------------------------------------------------------------

  function mount(element, props) {
    page.menu = JSON.parse(props.menu);
    page.titles = Object.fromEntries(page.menu.schemes);
    page.alert = el('p', 'af-alert error', { hidden: true });
    page.alert.setAttribute('role', 'alert');
    page.tabs = el('div', 'af-segments', { role: 'radiogroup' }, ...KINDS.map(([kind, name]) => {
      const node = el('button', 'af-segment', { type: 'button', onclick: () => choose(kind) }, name);
      node.dataset.kind = kind;
      node.setAttribute('role', 'radio');
      return node;
    }));
    page.tabs.setAttribute('aria-label', 'What if');
    page.tabs.onkeydown = arrows;
    page.formBox = el('form', 'af-whatif-form', { onsubmit: (event) => { event.preventDefault(); start(); } });
    page.job = el('div', 'af-job-line');
    page.job.setAttribute('aria-live', 'polite');
    page.progress = AF.dom.progress(() => ask({ op: 'cancel' }, took));
    page.listBox = el('ul', 'af-asked');
    page.answer = el('main', 'af-answer');
    page.heading = el('h2', '', { tabIndex: -1 }, 'What if');
    page.node = el('section', 'af-whatif', { id: 'af-whatif-panel', hidden: true },
      el('header', 'af-whatif-head', page.heading, page.tabs, el('span', 'af-quiet af-whatif-where'), button('af-tool', icon(), 'Copy a link to this answer', AF.frame.copyLink), button('af-tool', '×', 'Close (Esc)', close)),
      page.alert, el('div', 'af-whatif-body', el('aside', 'af-whatif-side', page.formBox, page.job, el('h3', '', 'Stored answers'), page.listBox), page.answer));
    page.node.setAttribute('role', 'dialog');
    page.node.setAttribute('aria-label', 'What if');
    element.replaceChildren(page.node);
    document.addEventListener('keydown', keydown, true);
    store.onPlace(placed);
    store.onTab((name) => { if (page.open && name !== page.tab) close(); });
    store.on(() => { if (page.open) drawForm(); });
  }

  const icon = () => AF.dom.icon('M10 13.5a4 4 0 0 0 6 .4l2.6-2.6a4 4 0 0 0-5.7-5.7l-1.4 1.4M14 10.5a4 4 0 0 0-6-.4l-2.6 2.6a4 4 0 0 0 5.7 5.7l1.4-1.4');

  function arrows(event) {
    const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const names = KINDS.map(([kind]) => kind);
    choose(names[(names.indexOf(page.kind) + step + names.length) % names.length]);
    page.tabs.querySelector('[aria-checked=true]').focus();
  }

  /* The panel's keys take precedence over those of the page below it. */
  function keydown(event) {
    if (!page.open || event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open].af-help')) return;
    const typing = event.target.closest && event.target.closest('input:not([type=checkbox]), textarea, select, [contenteditable]');
    if (event.key === 'Escape') {
      close();
    } else if (typing || event.target.closest('.af-segments, [role=tab]')) {
      if (page.node.contains(event.target)) event.stopPropagation();
      return;
    } else if (page.kind === 'motion' && page.motion && !event.target.classList.contains('t') && !(event.key === ' ' && event.target.closest('button'))
      && AF.motion.key(page.motion, event.key)) {
      event.preventDefault();
    } else if (event.key === 'Tab' || event.key === 'Enter' || event.target.classList.contains('t') || (event.key === ' ' && event.target.closest('button'))) return;
    event.stopPropagation();
  }

  // --- opening, closing, another trajectory ----------------------------------------------------------

  /* `where`: one of KINDS, or the id of a stored answer. `quiet`: do not move the focus. */
  function open(where, quiet = false) {
    if (!page.node) return;
    // A lesson continues with the walkthrough that is shown.
    if (quiet && where === 'motion' && walking(store.place.motion)) {
      AF.motion.go(page.motion, +store.place.stage);
      return;
    }
    page.back = page.open ? page.back : document.activeElement;
    page.open = true;
    page.tab = store.place.tab;
    page.node.hidden = false;
    document.body.classList.add('af-asking-now');
    store.place.whatif = where;
    store.remember();
    page.what = page.motion = null;
    page.answer.replaceChildren(nothing());
    page.kind = ID.test(where) ? (store.place.motion ? 'motion' : where.split('-')[0]) : where;
    if (!quiet) page.heading.focus();
    refresh();
    if (ID.test(where)) show(where);
  }

  const walking = (scheme) => page.open && page.motion && page.motion.d.scheme === scheme && page.motion.d.pane.id === store.place.trajectory;
  /* Whether a walkthrough was requested and has not arrived yet. */
  const coming = () => page.open && page.kind === 'motion' && !page.motion && page.alert.hidden && !(page.facts && page.facts.why);

  const nothing = () => el('p', 'af-nothing', 'Set up a question in the form. The answer appears here, is stored with the run, and has its own link.');

  function close() {
    if (!page.open) return;
    page.open = false;
    page.node.hidden = true;
    document.body.classList.remove('af-asking-now');
    Object.assign(store.place, { whatif: '', motion: '', stage: '' });
    store.remember();
    if (page.back && page.back.isConnected) page.back.focus();
  }

  function choose(kind) {
    page.kind = kind;
    Object.assign(store.place, { whatif: kind, motion: '', stage: '' });
    store.remember();
    page.what = page.motion = null;
    page.answer.replaceChildren(nothing());
    say('');
    drawForm();
    if (kind === 'motion') walkThrough(tuned());
  }

  /* A trajectory was opened. At the first one, the panel opens if the address says so. */
  function placed() {
    const { whatif } = store.place;
    if (!page.arrived) {
      page.arrived = true;
      const valid = ID.test(whatif) || KINDS.some(([kind]) => kind === whatif);
      if (!valid) Object.assign(store.place, { whatif: '', motion: '', stage: '' });
      else if (store.place.run) open(whatif);
    } else if (page.open) refresh();
  }

  function refresh() {
    if (!store.place.run) return;
    const key = JSON.stringify([store.place.run, store.place.trajectory]);
    if (key !== page.key) page.form = { ...page.form, token: undefined, turn: undefined };
    page.key = key;
    drawForm();
    ask({ op: 'facts' }, ({ facts }) => {
      page.facts = facts;
      drawForm();
      const wanted = () => page.kind === 'motion' && !page.motion && store.place.whatif === 'motion';
      if (wanted()) ask({ op: 'list' }, ({ list }) => { listed(list); if (wanted()) walkThrough(store.place.motion || tuned()); });
    });
    ask({ op: 'list' }, ({ list }) => listed(list));
    ask({ op: 'look' }, took);
  }

  function say(text) {
    page.alert.hidden = !text;
    page.alert.textContent = text;
  }

  // --- the forms -----------------------------------------------------------------------------------------

  const { FORMS, spanOf, tuned } = AF.whatIfForms(page, { title, drawForm, walkThrough });

  function drawForm() {
    for (const node of page.tabs.children) {
      const on = node.dataset.kind === page.kind;
      node.setAttribute('aria-checked', String(on));
      node.tabIndex = on ? 0 : -1;
    }
    const { facts } = page;
    const parts = [el('p', 'af-quiet', LEADS[page.kind])];
    if (!facts || facts.run !== store.place.run) parts.push(el('p', 'af-quiet', 'Loading …'));
    else if (facts.why) parts.push(el('p', 'af-error', facts.why));
    else parts.push(...FORMS[page.kind](facts));
    const focused = page.formBox.contains(document.activeElement) ? document.activeElement.dataset.name : null;
    page.formBox.replaceChildren(...parts);
    page.node.querySelector('.af-whatif-where').textContent = store.place.run ? `${store.place.run}, ${store.place.trajectory}` : '';
    if (focused) page.formBox.querySelector(`[data-name="${focused}"]`)?.focus();
    busy();
  }

  // --- the work --------------------------------------------------------------------------------------------

  function start(more = {}) {
    const f = page.form;
    const made = {
      replay: () => ({ kind: 'replay', schemes: f.schemes, match: f.match, evaluation: f.evaluation, groups: f.groups, step: f.step }),
      branch: () => ({ kind: 'branch', turn: f.turn, token: f.token, rollouts: f.rollouts, temperature: f.temperature, seed: f.seed, same_dice: Boolean(f.same),
        action: f.force === 'action' ? f.said || '' : null, text: f.force === 'text' ? f.said || '' : null }),
      edit: () => {
        const span = spanOf(f, page.facts.turns[f.turn]);
        return { kind: 'edit', text: f.edited ?? span.text, ...(span.first === undefined ? { turn: f.turn } : { first: span.first, end: span.end }) };
      },
    }[WORK[page.kind]]();
    begin({ ...made, ...more });
  }

  function begin(request) {
    say('');
    page.answer.setAttribute('aria-busy', 'true');
    page.answered = page.first = 0;
    ask({ op: 'start', ...request }, (data) => { page.requested = data.job.id; took(data); });
  }

  function took({ job }) {
    root.clearTimeout(page.polling);
    page.state = job;
    if (job.state === 'running' && page.open) page.polling = root.setTimeout(() => ask({ op: 'look' }, took), POLL_MS);
    const own = page.requested && page.requested === job.id;
    if (job.state !== 'running' || (own && job.first)) page.answer.removeAttribute('aria-busy');
    if (own && job.state === 'running' && job.first && !page.first) {
      page.first = job.first_seconds;
      answered(job.first);
    }
    if (own && job.state === 'failed') say(job.message);
    if (own && job.state === 'done') {
      page.answered = job.seconds;
      page.requested = '';
      if (!page.first) answered(job.answer);
      else if (store.place.whatif === job.answer) completed(job.answer);
      ask({ op: 'list' }, ({ list }) => listed(list));
    } else if (own && job.state !== 'running') page.requested = '';
    busy();
  }

  function answered(id) {
    store.place.whatif = id;
    store.remember();
    show(id);
  }

  /* The whole answer replaces its first part; the trajectory that is shown stays. */
  function completed(id) {
    if (page.kind !== 'motion') show(id, page.what && page.what.id === id ? page.what.pane.id : undefined);
  }

  function busy() {
    const job = page.state;
    const running = Boolean(job && job.state === 'running');
    if (page.go) page.go.disabled = running;
    if (!running) {
      page.job.replaceChildren(job && job.state === 'cancelled' ? el('p', 'af-quiet', `${job.message}.`) : job && page.answered ? el('p', 'af-quiet', `${page.first ? `This group after ${page.first.toFixed(1)} s, all after` : 'Answered in'} ${page.answered.toFixed(1)} s.`) : '');
      return;
    }
    if (job.first) page.progress.show('Remaining groups …', 0, 0);
    else page.progress.show(`${PHASES[job.phase] || job.phase}${job.total ? ` ${job.done} of ${job.total}` : ' …'}`, job.done, job.total);
    if (!page.progress.node.isConnected) page.job.replaceChildren(page.progress.node);
  }

  // --- stored answers -----------------------------------------------------------------------------------

  function listed(list) {
    page.list = list;
    page.listBox.replaceChildren(...(list.length ? list.map((row) => {
      const node = el('button', 'af-row', { type: 'button', onclick: () => { store.place.motion = store.place.stage = ''; open(row.id); } },
        el('span', 'af-row-text', el('b', '', row.kind), el('span', 'af-row-what', summary(row))), row.kept ? '' : el('span', 'af-flag', { title: 'This run’s folder is not writable: the answer lasts only as long as the studio runs.' }, 'not stored'));
      node.classList.toggle('on', row.id === store.place.whatif);
      return el('li', '', node);
    }) : [el('li', 'af-quiet', 'None yet.')]));
  }

  function summary({ kind, request: r }) {
    if (kind === 'replay') return `step ${r.step}, ${r.schemes.map((one) => title(one.scheme)).join(', ')}${r.match === 'norm' ? ', equal gradient norm' : ''}${r.evaluation ? ', evaluated' : ''}`;
    const where = `${r.trajectory}, turn ${r.turn + 1}`;
    return kind === 'branch' ? `${where}, ${r.rollouts} samples${r.action ? `, ${r.action}` : ''}` : `${where}: “${r.text}”`;
  }

  // --- the answer ------------------------------------------------------------------------------------------

  const DRAW = { replay: AF.replay.draw, branch: AF.branch.draw, edit: AF.edit.draw };

  function show(id, trajectory) {
    if (page.kind === 'motion' && id.startsWith('replay')) return motion(id, store.place.motion || tuned());
    return ask({ op: 'show', id, ...(trajectory ? { trajectory } : {}) }, ({ what }) => {
      const rest = page.drawn && page.what && page.what.id === id && page.what.result.so_far && page.what.pane.id === what.pane.id;
      page.what = what;
      page.kind = what.kind;
      drawForm();
      for (const node of page.listBox.querySelectorAll('.af-row')) node.classList.remove('on');
      listed(page.list);
      if (rest) {
        page.drawn.renew(what);
        return;
      }
      const drawn = page.drawn = DRAW[what.kind](what, page.titles, { title,
        trajectory: (one) => show(id, one), motion: (scheme) => motion(id, scheme), evaluate: () => evaluate(what),
        open: (one) => { close(); AF.frame.tab('Trace'); AF.go({ run: what.run, trajectory: one }); } });
      page.group = drawn.group;
      page.answer.replaceChildren(...[...badges(what), ...drawn.nodes].filter(Boolean));
      page.answer.scrollTop = 0;
    });
  }

  function badges(what) {
    const lines = [...(what.result.badges || [])];
    if (!what.kept) lines.push('not stored: this run’s folder is not writable, so the answer and its link last only as long as the studio runs');
    return lines.map((line) => el('p', 'af-badge af-line-badge', line));
  }

  function evaluate({ request: r }) {
    page.kind = 'replay';
    begin({ kind: 'replay', schemes: r.schemes.map((one) => one.scheme), match: r.match, evaluation: 8, step: r.step, groups: r.groups ? nearest(r.groups.length) : undefined,
      ...(page.what ? { trajectory: page.what.pane.id } : {}) });
  }

  const nearest = (n) => page.menu.groups.find((g) => g >= n) || page.menu.groups[page.menu.groups.length - 1];

  // --- walkthrough -------------------------------------------------------------------------------------------

  /* Use a stored replay of this trajectory under this scheme, else start one on its group. */
  function walkThrough(scheme) {
    const { facts } = page;
    store.place.motion = scheme;
    // An earlier request may still be running; its answer is shown when it is done.
    if (!facts || facts.why || (page.requested && page.state.state === 'running')) return;
    const step = facts.trained ? facts.step : facts.steps[0];
    const fits = page.list.find(({ kind, request: r }) => kind === 'replay' && r.step === step && (!r.groups || r.groups.includes(facts.group)) && r.schemes.some((one) => one.scheme === scheme));
    if (fits) {
      store.place.whatif = fits.id;
      motion(fits.id, scheme);
    } else if (facts.steps.includes(step)) {
      begin({ kind: 'replay', schemes: [...new Set(['uniform', scheme])], match: 'rate', evaluation: 0, groups: page.menu.groups[1], step });
    } else say(`Step ${step} cannot be replayed: the checkpoint before it is not stored. Steps that can: ${facts.steps.join(', ') || 'none'}.`);
  }

  function motion(id, scheme) {
    page.kind = 'motion';
    Object.assign(store.place, { whatif: id, motion: scheme });
    store.remember();
    const trajectory = page.what && page.what.pane ? page.what.pane.id : store.place.trajectory;
    ask({ op: 'motion', id, scheme, trajectory }, (data) => {
      if (!page.open) return;
      drawForm();
      page.motion = AF.motion.draw(data.motion, { stage: (n) => { store.place.stage = n; store.remember(); } });
      page.answer.replaceChildren(...page.motion.nodes);
      page.answer.scrollTop = 0;
      const stage = Number.parseInt(store.place.stage, 10);
      AF.motion.go(page.motion, Number.isFinite(stage) ? Math.min(Math.max(stage, 0), AF.motion.STAGES.length - 1) : 0);
    });
  }

  /* A button that opens the panel from another page. */
  function opener(kind, text, help) {
    return el('button', 'af-button af-takeover', { type: 'button', title: help, onclick: () => open(kind) }, text);
  }

  /* `state` is for debugging: nothing on the page depends on it. */
  AF.whatif = { mount, answer: channel.answer, link: channel.link, open, close, coming, opener, title, state: page };
})(self);
