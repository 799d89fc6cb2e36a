/* The top bar: run picker, what is loaded, copy link, theme, help. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el, button, icon } = AF.dom;

  const ICONS = {
    exchange: 'M7 4v14M3.5 14.5 7 18l3.5-3.5M17 20V6M13.5 9.5 17 6l3.5 3.5',
    link: 'M10 13.5a4 4 0 0 0 6 .4l2.6-2.6a4 4 0 0 0-5.7-5.7l-1.4 1.4M14 10.5a4 4 0 0 0-6-.4l-2.6 2.6a4 4 0 0 0 5.7 5.7l1.4-1.4',
    theme: 'M20 14.5A8.5 8.5 0 1 1 9.5 4a6.8 6.8 0 0 0 10.5 10.5z',
  };
  const KEYS = [
    ['← →', 'previous, next turn'], ['J K', 'next, previous trajectory'], ['[ ]', 'previous, next high-weight token'],
    ['1 – 6', 'colour by weight, kind, energy, entropy, surprise, credit'], ['B', 'swap settings A and B'],
    ['/', 'search in the text'], ['Space', 'play, pause'], ['P', 'play on yourself from this turn'], ['W', 'what if: replay the update, branch, edit'], ['C', 'copy a link to this view'],
    ['T', 'token table'], ['?', 'this list'], ['Esc', 'unpin the token, close, leave the text'],
    ['Tab, then ← →', 'into the text, from token to token'],
  ];
  const THEME = 'actfocus.theme';
  const NOTE_MS = 120;
  let parts = null;
  let note = null;

  function mount(element) {
    const select = el('select', 'af-run', { onchange: () => AF.go({ run: select.value, filter: AF.store.place.filter }) });
    select.setAttribute('aria-label', 'Run');
    const loaded = el('div', 'af-loaded');
    const copied = button('af-tool', icon(ICONS.link), 'Copy a link to this view (C)', copyLink);
    element.replaceChildren(el('header', 'af-bar',
      el('div', 'af-brand', el('span', 'af-mark'), 'ActFocus', el('span', 'af-brand-2', ' Studio')),
      el('div', 'af-bar-gap'), el('label', 'af-run-label', 'Run', select), loaded,
      AF.drawer.toggler(icon(ICONS.exchange)), copied, button('af-tool', icon(ICONS.theme), 'Light or dark theme', toggleTheme),
      button('af-tool', '?', 'Keys and help (?)', help)), dialog());
    parts = { select, loaded, copied, dialog: element.querySelector('dialog') };
    const theme = root.localStorage.getItem(THEME);
    if (theme) document.body.classList.toggle('dark', theme === 'dark');
  }

  function dialog() {
    const rows = KEYS.map(([key, what]) => el('tr', '', el('th', '', el('kbd', '', key)), el('td', '', what)));
    const node = el('dialog', 'af-help',
      el('h2', '', 'Reading this page'),
      el('p', '', 'A policy sampled these tokens while it acted in an environment, and the episode ended with one return. Training turns '
        + 'the return into a gradient on every token that the policy sampled; the weight of a token scales its gradient. '
        + 'Strong blue is a high weight, faint blue a low one. The underline shows the kind of the token: reasoning, action, format, or text that was only read.'),
      el('p', '', 'Move α and β in the sidebar to shift weight between reasoning and action tokens. '
        + 'Click a token for its numbers.'),
      el('table', 'af-keys', el('tbody', '', ...rows)),
      el('form', '', { method: 'dialog' }, el('button', 'af-button', 'Close')));
    node.addEventListener('click', (event) => { if (event.target === node) node.close(); });
    return node;
  }

  /* On a narrow screen the sidebar would cover the page, so it starts closed. */
  function makeRoom() {
    const toggle = document.querySelector('.sidebar.open .toggle-button');
    if (toggle && root.innerWidth < 900) toggle.click();
  }

  const help = () => (parts.dialog.open ? parts.dialog.close() : parts.dialog.showModal());

  function toggleTheme() {
    const dark = document.body.classList.toggle('dark');
    root.localStorage.setItem(THEME, dark ? 'dark' : 'light');
    for (const listener of themeListeners) listener();
  }
  const themeListeners = [];

  async function copyLink() {
    const link = AF.store.address();
    root.history.replaceState(root.history.state, '', link);
    try {
      await root.navigator.clipboard.writeText(link);
      say('Link copied.');
    } catch (error) {
      say('The browser did not allow copying; the link is in the address bar.');
    }
  }

  let hide = 0;
  /* Show a short message for a moment; screen readers announce it. */
  function say(text) {
    let toast = document.getElementById('af-toast');
    if (!toast) {
      toast = el('div', 'af-toast', { id: 'af-toast' });
      toast.setAttribute('role', 'status');
      document.body.append(toast);
    }
    toast.textContent = text;
    toast.classList.add('on');
    clearTimeout(hide);
    hide = setTimeout(() => toast.classList.remove('on'), 2200);
  }

  /* The share of the trajectories that succeeded, of those of which it is known. */
  function rate(counts) {
    const known = counts.success + counts.failure;
    const unknown = counts.all - known;
    if (!known) return 'success unknown';
    return `${AF.dom.percent(counts.success / known)} success${unknown ? ` (${unknown.toLocaleString('en')} unknown)` : ''}`;
  }

  /* Show the run and its facts, from a page's payload. */
  function show(data) {
    const { select, loaded } = parts;
    select.replaceChildren(...data.runs.map((name) => el('option', '', { value: name }, name)));
    if (!data.run) {
      select.prepend(el('option', '', { value: '' }, 'choose a run'));
      select.value = '';
      return;
    }
    const { run, place, batch } = data;
    select.value = run.name;
    const all = place.counts.all;
    const facts = [['policy', run.policy], ['reference', run.reference || 'unavailable'],
      ['environment', environment(run)],
      ['trajectories', `${all.toLocaleString('en')} · ${rate(place.counts)}`]];
    loaded.replaceChildren(...facts.map(([name, value]) =>
      el('span', 'af-fact', { title: `${name}: ${value}` }, el('span', 'af-fact-name', name), ' ', value)));
    select.title = facts.map(([name, value]) => `${name}: ${value}`).join('\n');
    if (run.approximate) {
      loaded.append(el('span', 'af-badge', { title: 'These rollouts were re-tokenised at import: token ids and boundaries may differ '
        + 'from those sampled.' }, 'approximate'));
    }
    const missing = Object.keys(batch.signals).filter((name) => !batch.signals[name]).map(AF.store.signalTitle);
    if (missing.length) {
      loaded.append(el('span', 'af-badge', { title: `${missing.join(', ')} unavailable. Compute them with: ${run.score}` },
        `${missing.join(', ')} unavailable`));
    }
  }

  function environment(run) {
    const name = (run.env || 'unknown').replace('_', ' ');
    const slippery = run.options.slippery;
    return name + (slippery === true ? ', slippery' : slippery === false ? ', deterministic' : '');
  }

  function mountNote(element) {
    note = element;
    note.className += ' af-note';
    // After a delay: laying out the sidebar in the same frame would delay the repainting of the text.
    let due = 0;
    AF.store.on(() => { clearTimeout(due); due = setTimeout(showNote, NOTE_MS); });
    showNote();
  }

  const SCOPE_WARNING = {
    group: 'μ and σ are computed within each group. The method computes them over the whole batch.',
    trajectory: 'μ and σ are computed within this trajectory. The method computes them over the whole batch, '
      + 'so a trajectory alone does not determine its weights.',
  };

  function showNote() {
    const warning = SCOPE_WARNING[AF.store.settings.scope];
    const kept = AF.store.kept();
    note.replaceChildren(...[
      warning && el('p', 'af-warning', { role: 'status' }, warning),
      el('p', 'af-kept', el('b', '', 'A '), AF.store.describe(AF.store.settings)),
      el('p', 'af-kept', el('b', '', 'B '), kept ? AF.store.describe(kept) : 'not set'),
    ].filter(Boolean));
  }

  /* Go to a tab by its title. */
  function tab(title) {
    const node = [...document.querySelectorAll('#af-tabs [role=tab]')].find((t) => t.textContent.trim() === title);
    if (node) node.click();
  }

  AF.frame = { tab, mount, makeRoom, mountNote, show, help, say, copyLink, toggleTheme, onTheme: (f) => themeListeners.push(f) };
})(self);
