/* The drawer at the right: import a file, check a run, export a selection. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el, button } = AF.dom;
  const POLL_MS = 500;
  const RULE_HELP = { think_answer: 'think and answer tags', tool_call: 'tool calls', boxed: '\\boxed{…}', react: 'ReAct, “Action:”' };
  const SEVERITY = { error: 'error', warning: 'warning', info: 'note' };
  const PHASES = { import: 'Importing', check: 'Checking', export: 'Exporting', starting: 'Starting' };
  const FILTER = { all: 'all rollouts', success: 'successful rollouts', failure: 'failed rollouts', malformed: 'rollouts with malformed or illegal actions' };

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
      section('Check', el('p', 'af-quiet', 'Validates the rollouts of a run: masks, token ids, log-probs, scores and groups.'), page.check, page.report),
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
    return el('div', '', el('label', 'af-drop', { htmlFor: 'af-file' }, el('b', '', 'Drop a file of rollouts here'), el('span', '', 'or choose a file'), input),
      el('p', 'af-quiet', `Formats: ${menu.formats.join(', ')}; optionally compressed (.gz, .zst), up to ${menu.upload_max >> 20} MiB. For larger files and folders use `,
        el('code', '', 'actfocus app FILE'), '.'));
  }

  function exportForm(menu) {
    const f = { format: choice(menu.exports, 'parquet'), part: choice(menu.parts, 'run'), filter: choice(Object.entries(FILTER), 'all'),
      note: el('p', 'af-quiet'), start: el('button', 'af-button primary', { type: 'submit' }, 'Export') };
    page.export = f;
    f.format.onchange = weights;
    f.part.onchange = weights;
    return el('form', '', { onsubmit: (event) => { event.preventDefault(); exportNow(); } },
      field('Format', f.format), field('Scope', f.part), field('Rollouts', f.filter), f.note, f.start);
  }

  function weights() {
    const { format, part, filter, note } = page.export;
    filter.disabled = part.value === 'trajectory';
    note.textContent = ['html', 'advantages'].includes(format.value) ? `Weights: ${AF.store.describe({ ...AF.store.settings, scope: 'batch', adv: false })}; `
      + 'μ and σ over the whole batch.' : '';
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

  /* Show an error line; the next successful answer clears it. */
  function say(text) {
    if (!page.error) return;
    page.error.hidden = !text;
    page.error.textContent = text;
    if (text) page.error.scrollIntoView({ block: 'nearest' });
  }

  // --- import ----------------------------------------------------------------------------------------

  function take(file) {
    page.file = null;
    card(el('p', '', `${file.name} …`));
    ask({ op: 'announce', name: file.name, size: file.size }, ({ ticket }) => {
      const request = new XMLHttpRequest();
      const bar = el('progress', 'af-progress', { max: 1, value: 0 });
      bar.setAttribute('aria-label', 'Upload progress');
      card(el('p', '', `Uploading ${file.name} …`), bar);
      request.upload.onprogress = (event) => { if (event.total) bar.value = event.loaded / event.total; };
      request.onload = () => (request.status === 200 ? ask({ op: 'inspect', ticket, run: AF.store.place.run }, (data) => known(ticket, data.file))
        : lost(`${file.name}: upload rejected (${request.responseText.slice(0, 80)}).`));
      request.onerror = () => lost(`${file.name}: upload failed; was the file changed meanwhile?`);
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

  /* The file was uploaded and its format is known: ask for what is needed to read it. */
  function known(ticket, file) {
    page.file = file;
    const tokenizer = file.needs_tokenizer ? choice(file.tokenizers.map((name) => [name, name]), file.tokenizers[0]) : null;
    const rule = choice([...page.menu.rules.map((name) => [name, `${name}: ${RULE_HELP[name] || ''}`]), ['pattern:', 'pattern: a regular expression']], 'think_answer');
    const pattern = el('input', 'af-pattern', { type: 'text', maxLength: page.menu.pattern_max, placeholder: 'Move: (?P<action>\\w+)', spellcheck: false });
    pattern.setAttribute('aria-label', 'Pattern: regular expression with a group named action');
    pattern.hidden = true;
    rule.onchange = () => { pattern.hidden = rule.value !== 'pattern:'; };
    const begin = (event) => {
      event.preventDefault();
      const spans = rule.value === 'pattern:' ? `pattern:${pattern.value}` : rule.value;
      ask({ op: 'import', ticket, tokenizer: tokenizer && tokenizer.value, spans }, (data) => { card(); took(data); });
    };
    card(el('form', '', { onsubmit: begin },
      el('p', '', el('b', '', file.name), el('br'), `${file.format} · ${file.rollouts.toLocaleString('en')} ${file.rollouts === 1 ? 'line' : 'lines or rows'} · ${size(file.bytes)}`),
      tokenizer && field('Tokenizer', tokenizer, 'Of the model that generated the rollouts.'),
      file.needs_tokenizer && field('Span rule', rule, 'How actions are found in the text.'), file.needs_tokenizer && pattern,
      el('button', 'af-button primary', { type: 'submit' }, 'Import')));
  }

  const size = (bytes) => (bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

  // --- progress and results --------------------------------------------------------------------------

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
    return el('div', 'af-imported', el('p', '', el('b', '', run), ` imported: ${what.trajectories.toLocaleString('en')} rollouts in `
      + `${what.groups.toLocaleString('en')} groups, ${what.tokens.toLocaleString('en')} tokens, ${what.action_tokens.toLocaleString('en')} action tokens.`,
    what.approximate && el('span', 'af-badge', { title: 'The text was retokenized: token ids and boundaries may differ from those that were sampled.' }, 'approximate')),
    el('button', 'af-button primary', { type: 'button', onclick: () => show(run) }, 'Open in Trace'));
  }

  /* Start the download, and keep the link. */
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

  // --- results of a check ------------------------------------------------------------------------------

  function report(run, found) {
    const counted = `${found.trajectories.toLocaleString('en')} rollouts, ${found.tokens.toLocaleString('en')} tokens`;
    page.report.replaceChildren(
      el('p', 'af-report-head', el('b', '', run), `: ${counted}. `, found.findings.length ? (found.healthy ? 'No errors.' : 'Errors: do not train on these rollouts.') : 'No findings.'),
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
