/* The drawer at the right: drop a file and import it, read the doctor's report, export a selection. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el, button } = AF.dom;
  const POLL_MS = 500;
  const RULE_HELP = { think_answer: 'think and answer tags', tool_call: 'tool calls', boxed: '\\boxed{…}', react: 'ReAct, “Action:”' };
  const SEVERITY = { error: 'error', warning: 'warning', info: 'note' };
  const PHASES = { import: 'Reading', check: 'The doctor looks', export: 'Writing', starting: 'Starting' };
  const FILTER = { all: 'all of them', success: 'only successes', failure: 'only failures', malformed: 'only malformed or illegal ones' };

  const page = { file: null, polling: 0, shown: '' };
  const channel = AF.channel(say);
  const { ask } = channel;

  // --- the parts ---------------------------------------------------------------------------------

  function mount(element, props) {
    const menu = JSON.parse(props.menu);
    page.menu = menu;
    page.error = el('p', 'af-error', { hidden: true });
    page.error.setAttribute('role', 'alert');
    page.card = el('div', 'af-drop-card', { hidden: true });
    page.job = el('div', 'af-drawer-job');
    page.job.setAttribute('aria-live', 'polite');
    page.progress = AF.dom.progress(() => ask({ op: 'cancel' }, took));
    page.progress.node.className = 'af-job-line';
    page.report = el('div', 'af-report');
    page.check = el('button', 'af-button', { type: 'button', onclick: () => ask({ op: 'check', run: AF.store.place.run }, took) }, 'Check this run');
    page.node = el('dialog', 'af-drawer', { id: 'af-drawer-panel' },
      el('header', 'af-drawer-head', el('h2', '', 'Import and export'), button('af-tool', '×', 'Close', close)),
      page.error, section('Import', dropZone(menu), page.card), page.job,
      section('Doctor', el('p', 'af-quiet', 'What is wrong with the rollouts of a run: masks, ids, scores, groups.'), page.check, page.report),
      section('Export', exportForm(menu)));
    page.node.setAttribute('aria-label', 'Import and export');
    page.node.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') close();
    });
    document.body.append(page.node);
    element.hidden = true;
    document.addEventListener('dragover', (event) => { if (holdsFile(event)) { event.preventDefault(); open(); } });
    document.addEventListener('drop', (event) => {
      if (!holdsFile(event)) return;
      event.preventDefault();
      if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
    });
    AF.store.on(() => { if (page.node.open) weights(); });
    AF.store.onPlace(name);
  }

  const section = (title, ...parts) => el('section', 'af-drawer-part', el('h3', '', title), ...parts);
  const holdsFile = (event) => event.dataTransfer && [...event.dataTransfer.types].includes('Files');
  const field = (text, node, hint) => el('label', 'af-field', el('b', '', text), hint && el('span', 'af-quiet', hint), node);
  const choice = (options, value) => Object.assign(el('select', '', ...options.map(([name, title]) => el('option', '', { value: name }, title))), { value });

  function dropZone(menu) {
    const input = el('input', '', { type: 'file', id: 'af-file', onchange: () => { if (input.files.length) take(input.files[0]); input.value = ''; } });
    return el('div', '', el('label', 'af-drop', { htmlFor: 'af-file' }, el('b', '', 'Drop a file of rollouts here'), el('span', '', 'or choose one'), input),
      el('p', 'af-quiet', `${menu.formats.join(', ')}. Also .gz and .zst, up to ${menu.upload_max >> 20} MiB; larger ones and folders with `,
        el('code', '', 'actfocus app FILE'), '.'));
  }

  function exportForm(menu) {
    const f = { format: choice(menu.exports, 'parquet'), part: choice(menu.parts, 'run'), filter: choice(Object.entries(FILTER), 'all'),
      note: el('p', 'af-quiet'), start: el('button', 'af-button primary', { type: 'submit' }, 'Export') };
    page.export = f;
    f.format.onchange = weights;
    f.part.onchange = weights;
    return el('form', '', { onsubmit: (event) => { event.preventDefault(); exportNow(); } },
      field('As', f.format), field('What', f.part), field('Which', f.filter), f.note, f.start);
  }

  function weights() {
    const { format, part, filter, note } = page.export;
    filter.disabled = part.value === 'trajectory';
    note.textContent = ['html', 'advantages'].includes(format.value) ? `Weights: ${AF.store.describe({ ...AF.store.settings, scope: 'batch', adv: false })}, `
      + 'over the whole batch.' : '';
  }

  // --- opening and closing -------------------------------------------------------------------------

  function toggler(sign) {
    const node = button('af-tool', sign, 'Import and export', () => (page.node && page.node.open ? close() : open()));
    node.id = 'af-drawer-button';
    return node;
  }

  function open() {
    if (!page.node || page.node.open) return;
    page.node.show();
    name();
    page.export.filter.value = AF.store.place.filter;
    weights();
    ask({ op: 'look' }, took);
  }

  const name = () => { page.check.textContent = `Check ${AF.store.place.run || 'this run'}`; };

  function close() {
    page.node.close();
    document.getElementById('af-drawer-button').focus();
  }

  /* One line; what came before it goes away with the next answer that is good. */
  function say(text) {
    if (!page.error) return;
    page.error.hidden = !text;
    page.error.textContent = text;
    if (text) page.error.scrollIntoView({ block: 'nearest' });
  }

  // --- a file comes in -------------------------------------------------------------------------------

  function take(file) {
    page.file = null;
    card(el('p', '', `${file.name} …`));
    ask({ op: 'announce', name: file.name, size: file.size }, ({ ticket }) => {
      const request = new XMLHttpRequest();
      const bar = el('progress', 'af-progress', { max: 1, value: 0 });
      bar.setAttribute('aria-label', 'progress of the upload');
      card(el('p', '', `${file.name} comes in …`), bar);
      request.upload.onprogress = (event) => { if (event.total) bar.value = event.loaded / event.total; };
      request.onload = () => (request.status === 200 ? ask({ op: 'inspect', ticket, run: AF.store.place.run }, (data) => known(ticket, data.file))
        : lost(`${file.name}: the studio did not take it (${request.responseText.slice(0, 80)}).`));
      request.onerror = () => lost(`${file.name}: could not be sent; was it changed meanwhile?`);
      request.open('PUT', `${page.menu.receive}${ticket}`);
      request.send(file);
    });
  }

  function lost(line) {
    card();
    say(line);
  }

  function card(...parts) {
    page.card.hidden = !parts.length;
    page.card.replaceChildren(...parts);
  }

  /* The file is here and its format is known: what is needed to read it is asked for. */
  function known(ticket, file) {
    page.file = file;
    const tokenizer = file.needs_tokenizer ? choice(file.tokenizers.map((name) => [name, name]), file.tokenizers[0]) : null;
    const rule = choice([...page.menu.rules.map((name) => [name, `${name}: ${RULE_HELP[name] || ''}`]), ['pattern:', 'a pattern …']], 'think_answer');
    const pattern = el('input', 'af-pattern', { type: 'text', maxLength: page.menu.pattern_max, placeholder: 'Move: (?P<action>\\w+)', spellcheck: false });
    pattern.setAttribute('aria-label', 'Pattern, a regular expression with a group named action');
    pattern.hidden = true;
    rule.onchange = () => { pattern.hidden = rule.value !== 'pattern:'; };
    const begin = (event) => {
      event.preventDefault();
      const spans = rule.value === 'pattern:' ? `pattern:${pattern.value}` : rule.value;
      ask({ op: 'import', ticket, tokenizer: tokenizer && tokenizer.value, spans }, (data) => { card(); took(data); });
    };
    card(el('form', '', { onsubmit: begin },
      el('p', '', el('b', '', file.name), el('br'), `${file.format} · ${file.rollouts.toLocaleString('en')} ${file.rollouts === 1 ? 'line' : 'lines or rows'} · ${size(file.bytes)}`),
      tokenizer && field('Tokenizer', tokenizer, 'Of the model that wrote them.'),
      file.needs_tokenizer && field('Where the actions are', rule), file.needs_tokenizer && pattern,
      el('button', 'af-button primary', { type: 'submit' }, 'Import')));
  }

  const size = (bytes) => (bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

  // --- a process works -------------------------------------------------------------------------------

  function took(data) {
    const { job } = data;
    root.clearTimeout(page.polling);
    if (job.state === 'running') page.polling = root.setTimeout(() => ask({ op: 'look' }, took), POLL_MS);
    if (job.state === 'failed') say(job.message);
    if (job.state === 'running') working(job);
    else page.job.replaceChildren(...[job.state === 'cancelled' && el('p', 'af-quiet', `${job.message}.`),
      job.state === 'done' && data.imported && imported(data), job.state === 'done' && data.file && written(job, data.file)].filter(Boolean));
    if (data.report) report(data.run, data.report);
  }

  function working(job) {
    const left = job.seconds_left === null ? '' : `, about ${Math.max(1, Math.round(job.seconds_left))} s left`;
    const share = job.total ? ` ${AF.dom.percent(job.done / job.total)}` : ' …';
    page.progress.show(`${PHASES[job.phase] || job.phase}${share}${left}`, job.done, job.total);
    if (!page.progress.node.isConnected) page.job.replaceChildren(page.progress.node);
  }

  function imported({ run, imported: what }) {
    return el('div', 'af-imported', el('p', '', el('b', '', run), ` is here: ${what.trajectories.toLocaleString('en')} rollouts in `
      + `${what.groups.toLocaleString('en')} groups, ${what.tokens.toLocaleString('en')} tokens, ${what.action_tokens.toLocaleString('en')} of actions.`,
    what.approximate && el('span', 'af-badge', { title: 'The text was tokenised again: ids and borders may differ from what was sampled.' }, 'approximate')),
    el('button', 'af-button primary', { type: 'button', onclick: () => show(run) }, 'Open in Trace'));
  }

  /* The file is fetched at once, and the link stays. */
  function written(job, file) {
    const link = el('a', 'af-link', { href: file.url, download: file.name }, file.name);
    if (page.shown !== job.id && page.asked) link.click();
    page.shown = job.id;
    page.asked = false;
    return el('p', 'af-job-line', `${file.rollouts.toLocaleString('en')} rollouts: `, link);
  }

  function exportNow() {
    const { format, part, filter } = page.export;
    const { run, reference, trajectory } = AF.store.place;
    const { alpha, beta, signal } = AF.store.settings;
    page.asked = true;
    ask({ op: 'export', run, reference, trajectory, format: format.value, part: part.value, filter: filter.disabled ? 'all' : filter.value, alpha, beta, signal }, took);
  }

  // --- the doctor's report -----------------------------------------------------------------------------

  function report(run, found) {
    const counted = `${found.trajectories.toLocaleString('en')} rollouts, ${found.tokens.toLocaleString('en')} tokens`;
    page.report.replaceChildren(
      el('p', 'af-report-head', el('b', '', run), `: ${counted}. `, found.findings.length ? (found.healthy ? 'No error.' : 'Training on these is wrong.') : 'Nothing is wrong.'),
      el('ul', '', ...found.findings.map((f) => el('li', `af-finding ${f.severity}`,
        el('p', '', el('span', `af-severity ${f.severity}`, SEVERITY[f.severity]), el('b', '', f.check), ` ${f.count.toLocaleString('en')} of ${f.of.toLocaleString('en')}`),
        el('p', 'af-quiet', `${f.message}.`),
        f.examples.length ? el('p', 'af-examples', ...f.examples.map((e) => el('button', 'af-link', { type: 'button', onclick: () => show(run, e.trajectory) }, e.name))) : null))));
  }

  function show(run, trajectory = '') {
    AF.frame.tab('Trace');
    AF.go({ run, trajectory, filter: 'all' });
    if (root.innerWidth < 900 || !trajectory) close();
  }

  AF.drawer = { mount, toggler, link: channel.link, answer: channel.answer, open, close };
})(self);
