/* The Tune page: maps over alpha and beta, the distribution of the signal, and export of the setting. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el, number, percent, perFrame } = AF.dom;
  const { massByKind, tokenWeight, KIND } = AF.weights;
  const { store, plots } = AF;
  const ALPHAS = Array.from({ length: 51 }, (_, i) => i / 50);
  const BETAS = Array.from({ length: 41 }, (_, i) => i / 20);
  const FEW_ALPHAS = [0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1];
  const FEW_BETAS = [0, 0.25, 0.5, 1, 1.5, 2];
  const NAMES = { uniform: 'Uniform', actfocus: 'ActFocus', role_only: 'Role only', energy_only: 'Energy only' };
  const KINDS = ['reasoning', 'action', 'format'];
  const DASH = { reasoning: 'solid', action: 'solid', format: 'dot' };
  const GAP_MS = 90; // least time between redraws while a slider moves
  const EXPORT_MS = 400; // delay after the last change before the export is requested

  const page = { built: false, key: '', data: null, map: null, mapKey: '', texts: null };
  const channel = AF.channel((text) => say(text));

  // --- elements, created once ---------------------------------------------------------------------

  function mount(element, props) {
    page.figure = JSON.parse(props.figure);
    page.menu = JSON.parse(props.menu);
    page.alert = el('p', 'af-alert', { hidden: true });
    page.alert.setAttribute('role', 'alert');
    page.empty = el('div', 'af-empty', 'Loading …');
    page.lead = el('p', 'af-lead af-sentence');
    page.share = chart('Share of weight on actions');
    page.spread = chart('Effective tokens, share of all response tokens');
    page.curve = chart('Distribution of the signal by token kind, and the resulting weight');
    page.mapTable = el('div', 'af-scroll');
    page.curveTable = el('div', 'af-scroll');
    page.body = el('div', 'af-pagebody', { hidden: true }, page.lead,
      el('div', 'af-charts two', page.share.node, page.spread.node),
      el('details', 'af-tables', el('summary', '', 'Maps as a table'), page.mapTable),
      page.curve.node, el('details', 'af-tables', el('summary', '', 'Distribution as a table'), page.curveTable), replayed(), exporter());
    element.className += ' af-page af-tune';
    element.replaceChildren(page.alert, page.empty, page.body);
    page.built = true;
    store.onTab(wake);
    store.onPlace(() => { if (store.place.step === null) page.empty.textContent = 'No run is open.'; wake(); });
    store.on(moved);
    AF.frame.onTheme(() => { page.mapKey = ''; later(); });
    new ResizeObserver(later).observe(page.body);
    wake();
  }

  function chart(title) {
    const c = { told: el('p', 'af-chart-told'), plot: el('div', 'af-chart-plot'), more: el('p', 'af-quiet') };
    c.node = el('section', 'af-chart', el('h3', '', title), c.told, c.plot, c.more);
    c.node.setAttribute('aria-label', title);
    return c;
  }

  function exporter() {
    page.kinds = el('span', 'af-segments', { role: 'radiogroup' }, ...page.menu.exports.map(([name, title]) => {
      const node = el('button', 'af-segment', { type: 'button', onclick: () => choose(name) }, title);
      node.setAttribute('role', 'radio');
      node.dataset.name = name;
      return node;
    }));
    page.kinds.setAttribute('aria-label', 'Export format');
    page.kinds.onkeydown = (event) => {
      const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      const names = page.menu.exports.map(([name]) => name);
      choose(names[(names.indexOf(store.place.export) + step + names.length) % names.length]);
      page.kinds.querySelector('[aria-checked=true]').focus();
    };
    page.text = el('pre', 'af-code', { tabIndex: 0 });
    page.text.setAttribute('aria-label', 'Exported setting');
    page.needs = el('p', 'af-quiet');
    return el('section', 'af-chart', el('div', 'af-open-head', el('h3', '', 'Export the setting'), page.kinds,
      el('button', 'af-button', { type: 'button', onclick: copy }, 'Copy')), page.needs, page.text);
  }

  /* The link to the what-if panel. */
  function replayed() {
    return el('section', 'af-chart', el('div', 'af-open-head', el('h3', '', 'Replay one update'), AF.whatif.opener('replay', 'Replay …', 'The what-if panel')),
      el('p', 'af-quiet', 'One update under each of two schemes, from the same checkpoint and rollouts: the change in log-prob of every token.'));
  }

  function choose(name) {
    store.place.export = name;
    store.remember();
    fillText();
  }

  // --- requests --------------------------------------------------------------------------------------

  const here = () => page.built && store.place.tab === 'tune' && store.place.run && store.place.step !== null;

  function wake() {
    if (!here()) return;
    const { run, reference, step, trajectory } = store.place;
    const request = { op: 'batch', run, reference, step, trajectory };
    const key = JSON.stringify(request);
    if (key !== page.key) {
      page.key = key;
      channel.ask(request, ({ batch }) => { if (key === page.key) show(batch); });
    }
    askText();
  }

  function askText() {
    const { run } = store.place;
    const { alpha, beta, signal } = store.settings;
    const request = { op: 'export', run, alpha, beta, signal };
    const key = JSON.stringify(request);
    if (!here() || key === page.textKey) return;
    page.textKey = key;
    channel.ask(request, ({ texts }) => {
      if (key !== page.textKey) return;
      page.texts = texts;
      fillText();
    });
  }

  function say(text) {
    page.alert.textContent = text;
    page.alert.hidden = !text;
    if (!text) return;
    page.key = page.textKey = '';
    page.data = null;
    page.body.hidden = true;
    page.empty.hidden = false;
    page.empty.textContent = 'No batch to tune on.';
  }

  function show(batch) {
    page.data = batch;
    page.mapKey = '';
    page.empty.hidden = true;
    page.body.hidden = false;
    moved();
  }

  let due = 0;
  function moved() {
    if (!here() || !page.data) return;
    words();
    later();
    clearTimeout(due);
    due = setTimeout(askText, EXPORT_MS);
  }

  // --- the numbers -----------------------------------------------------------------------------------

  const stats = () => {
    const { signal, scope } = store.settings;
    const scopes = page.data.signals[signal];
    return scopes && scopes[scope];
  };

  /* Share of the weight on actions, and effective tokens, at one (alpha, beta). */
  function at(alpha, beta) {
    const moments = stats();
    const sums = massByKind(page.data.kinds, moments && moments.sums, alpha, beta, store.settings.adv);
    return { share: sums.mass.action / sums.total, spread: sums.effective / sums.tokens, effective: sums.effective, tokens: sums.tokens };
  }

  /* The maps [beta][alpha], recomputed only if the batch, signal, scope or advantage has changed. */
  function map() {
    const { signal, scope, adv } = store.settings;
    const key = `${page.key} ${signal} ${scope} ${adv} ${document.body.classList.contains('dark')}`;
    if (key === page.mapKey) return page.map;
    const cells = BETAS.map((beta) => ALPHAS.map((alpha) => at(alpha, beta)));
    const of = (name) => cells.map((row) => row.map((cell) => (Number.isFinite(cell[name]) ? cell[name] : null)));
    page.mapKey = key;
    page.map = { alphas: ALPHAS, betas: BETAS, share: of('share'), spread: of('spread') };
    return page.map;
  }

  const what = () => (store.settings.adv ? 'weight × |advantage|' : 'weight');

  function words() {
    const { settings } = store;
    const now = at(settings.alpha, settings.beta);
    const { kinds } = page.data;
    const name = store.signalTitle(settings.signal);
    if (!now.tokens) page.lead.textContent = 'This batch has no response tokens.';
    else if (!Number.isFinite(now.share)) {
      page.lead.replaceChildren(...(stats() || settings.beta === 0 ? [`The total ${what()} is 0 at this setting.`]
        : [`${name}: unavailable, so only β = 0 can be mapped. Compute it with `, el('code', '', page.data.score), ' or choose another signal.']));
    } else {
      page.lead.replaceChildren(`${store.describe(settings)}: actions are `, el('b', '', percent(kinds.action.n / now.tokens)), ' of the response tokens of the batch and get ',
        el('b', '', percent(now.share)), ` of the ${what()}. Effective tokens: `, el('b', '', Math.round(now.effective).toLocaleString('en')),
        ` of ${now.tokens.toLocaleString('en')}.`);
    }
    page.share.told.textContent = `Current setting: ${percent(now.share)}. Click on the map to set α and β.`;
    page.spread.told.textContent = `Current setting: ${percent(now.spread)}, that is (Σw)² / Σw² divided by the number of response tokens.`;
    page.share.more.textContent = settings.scope === 'batch' ? '' : `μ and σ are taken within each ${settings.scope}, as chosen in the sidebar; the method takes them over the batch.`;
    page.curve.told.textContent = moments();
    tables();
  }

  function moments() {
    const { settings } = store;
    const found = stats();
    const name = store.signalTitle(settings.signal);
    if (!page.data.distributions[settings.signal]) return `${name}: unavailable in this batch.`;
    if (!found) return `${name}: not recorded for every action token, so μ and σ are undefined.`;
    const scope = { batch: 'of the batch', group: 'of the group open in Trace', trajectory: 'of the trajectory open in Trace' }[settings.scope];
    return `μ ${number(found.mu, 3)}, σ ${number(found.sigma, 3)} over the ${found.count.toLocaleString('en')} action tokens ${scope}. `
      + `An action token at μ has weight ${number(1 + settings.beta / 2, 2)}.`;
  }

  // --- drawing ---------------------------------------------------------------------------------------

  let drawn = 0;
  let waiting = 0;
  const later = perFrame(() => {
    if (waiting || !page.data || !page.body.offsetWidth) return;
    const wait = Math.max(0, GAP_MS - (performance.now() - drawn));
    waiting = root.setTimeout(() => { waiting = 0; plots.ready(draw); }, wait);
  });

  function draw() {
    if (!page.body.offsetWidth) return;
    heat(page.share, map().share);
    heat(page.spread, map().spread);
    curves();
    drawn = performance.now();
  }

  function heat(c, z) {
    const t = plots.theme();
    const { settings } = store;
    const kept = store.kept();
    const scale = t.dark ? [[0, '#121a22'], [1, '#2f7fb8']] : [[0, '#f4f8fb'], [1, '#2a86c0']];
    const hover = 'α %{x:.2f}, β %{y:.2f}: %{z:.1%}<extra></extra>';
    const field = { type: 'contour', x: ALPHAS, y: BETAS, z, zmin: 0, zmax: 1, colorscale: scale, showscale: false, hovertemplate: hover, hoverongaps: false,
      contours: { coloring: 'heatmap', start: 0.1, end: 0.9, size: 0.1, showlabels: true, labelformat: '.0%', labelfont: { size: 10, color: t.text } },
      line: { width: 0.7, color: t.muted } };
    const presets = Object.entries(page.menu.presets);
    const marks = { x: presets.map(([, [a]]) => a), y: presets.map(([, [, b]]) => b), text: presets.map(([name]) => NAMES[name]), mode: 'markers+text', hoverinfo: 'skip', cliponaxis: false,
      textposition: presets.map(([, [a]]) => (a > 0.5 ? 'top left' : 'top right')), textfont: { size: 10.5, color: t.text },
      marker: { symbol: 'circle-open', size: 8, color: t.text, line: { width: 1.4 } } };
    const marker = (s, symbol, letter) => ({ x: [s.alpha], y: [s.beta], mode: 'markers+text', text: [letter], textposition: 'bottom center', textfont: { size: 12, color: t.text },
      hoverinfo: 'skip', cliponaxis: false, marker: { symbol, size: 14, color: '#d55e00', line: { width: 2, color: t.surface } } });
    const traces = [field, marks, ...(kept ? [marker(kept, 'square', 'B')] : []), marker(settings, 'circle', kept ? 'A' : '')];
    const done = plots.draw(c.plot, traces, plots.layout(page.figure, { height: 330, uirevision: 'tune',
      x: { text: 'α, reasoning weight', range: [-0.02, 1.02], nticks: 11, showgrid: false }, y: { text: 'β, action boost', range: [-0.06, 2.06], showgrid: false } }));
    if (!done || c.heard) return;
    c.heard = true;
    c.plot.on('plotly_click', (event) => set(event.points[0].x, event.points[0].y));
  }

  function set(alpha, beta) {
    store.set({ alpha: Math.round(alpha * 100) / 100, beta: Math.round(beta * 100) / 100 }, true);
  }

  function curves() {
    const { settings } = store;
    const t = plots.theme();
    const found = stats();
    const shape = page.data.distributions[settings.signal];
    const traces = [];
    const shapes = [];
    const top = Math.max(1.5, 1 + settings.beta) * 1.06;
    if (shape) {
      const { edges } = shape;
      const middle = edges.slice(1).map((e, i) => (e + edges[i]) / 2);
      for (const kind of KINDS) {
        const { n, counts } = shape.kinds[kind];
        if (!n) continue;
        traces.push({ x: middle, y: counts.map((count) => count / n), name: `${kind} (${n.toLocaleString('en')} tokens)`, mode: 'lines', fill: 'tozeroy', opacity: 0.9,
          line: { color: t.kinds[kind], width: 1.6, shape: 'hvh', dash: DASH[kind] }, fillcolor: `${t.kinds[kind]}22`, hovertemplate: `%{y:.1%} of ${kind}<extra></extra>` });
      }
      const x = Array.from({ length: 121 }, (_, i) => edges[0] + (edges[edges.length - 1] - edges[0]) * i / 120);
      const weight = (kind, value) => { const w = tokenWeight(kind, value, found, settings.alpha, settings.beta); return Number.isFinite(w) ? w : null; };
      traces.push({ x, y: x.map((v) => weight(KIND.ACTION, v)), yaxis: 'y2', name: 'weight of action tokens', mode: 'lines', line: { color: t.text, width: 2.4 }, hovertemplate: 'weight %{y:.3f}<extra></extra>' });
      traces.push({ x, y: x.map((v) => weight(KIND.REASONING, v)), yaxis: 'y2', name: 'weight of reasoning and format tokens', mode: 'lines', line: { color: t.text, width: 1.6, dash: 'dash' }, hovertemplate: 'weight %{y:.3f}<extra></extra>' });
      if (found && found.count) {
        const { mu, sigma } = found;
        shapes.push({ type: 'rect', xref: 'x', yref: 'paper', x0: mu - sigma, x1: mu + sigma, y0: 0, y1: 1, fillcolor: t.accent, opacity: 0.08, line: { width: 0 }, layer: 'below' },
          { type: 'line', xref: 'x', yref: 'paper', x0: mu, x1: mu, y0: 0, y1: 1, line: { color: t.accent, width: 1.4, dash: 'dot' } });
      }
    }
    const at = (x, text) => ({ x, y: 1, xref: 'x', yref: 'paper', text, showarrow: false, yanchor: 'bottom', font: { size: 11, color: t.accent } });
    const marks = shapes.length ? [at(found.mu, 'μ'), at(found.mu + found.sigma, 'μ + σ'), at(found.mu - found.sigma, 'μ − σ')] : [];
    plots.draw(page.curve.plot, traces, plots.layout(page.figure, { height: 330, uirevision: settings.signal, showlegend: true, hovermode: 'x', shapes, annotations: marks,
      margin: { l: 50, r: 56, t: 30, b: 70 }, legend: { orientation: 'h', y: -0.17, x: 0, font: { size: 11.5, color: t.text } },
      x: { text: '', ...(shape ? { range: [shape.edges[0], shape.edges[shape.edges.length - 1]] } : {}), title: { text: store.signalTitle(settings.signal), standoff: 2, font: { size: 11.5 } } },
      y: { text: 'share of tokens of the kind', tickformat: '.0%', rangemode: 'tozero' },
      yaxis2: { overlaying: 'y', side: 'right', range: [0, top], showgrid: false, zeroline: false, fixedrange: true, dtick: 0.5, linecolor: t.edge,
        title: { text: 'weight', standoff: 4, font: { size: 11.5 } } } }));
  }

  // --- tables ----------------------------------------------------------------------------------------

  function grid(caption, head, rows) {
    return el('table', 'af-grid', el('caption', '', caption), el('thead', '', el('tr', '', ...head.map((text, k) => el('th', k ? 'num' : '', { scope: 'col' }, text)))),
      el('tbody', '', ...rows.map((cells) => el('tr', '', ...cells.map((cell, k) => el(k ? 'td' : 'th', k ? 'num' : '', k ? {} : { scope: 'row' }, cell))))));
  }

  function tables() {
    const { settings } = store;
    const focused = page.mapTable.contains(document.activeElement) ? document.activeElement.dataset.place : null;
    page.mapTable.replaceChildren(grid('Share of weight on actions / effective tokens as a share of response tokens; select a cell to set α and β', ['β \\ α', ...FEW_ALPHAS.map((a) => number(a, 2))],
      FEW_BETAS.map((beta) => [number(beta, 2), ...FEW_ALPHAS.map((alpha) => {
        const cell = at(alpha, beta);
        const node = el('button', 'af-link', { type: 'button', onclick: () => set(alpha, beta) }, `${percent(cell.share)} / ${percent(cell.spread)}`);
        node.dataset.place = `${alpha} ${beta}`;
        node.setAttribute('aria-label', `alpha ${alpha}, beta ${beta}: ${percent(cell.share)} on actions, ${percent(cell.spread)} effective; set`);
        if (alpha === settings.alpha && beta === settings.beta) node.setAttribute('aria-current', 'true');
        return node;
      })])));
    if (focused) page.mapTable.querySelector(`[data-place="${focused}"]`).focus();
    const shape = page.data.distributions[settings.signal];
    const found = stats();
    const name = store.signalTitle(settings.signal);
    const rows = shape ? KINDS.map((kind) => {
      const of = shape.kinds[kind];
      const code = KIND[kind.toUpperCase()];
      return [kind, String(of.n), String(of.lack), number(of.mean, 3), number(of.std, 3), ...page.menu.quantiles.map((_, i) => {
        if (!of.quantiles) return '–';
        const w = tokenWeight(code, of.quantiles[i], found, settings.alpha, settings.beta);
        return `${number(of.quantiles[i], 2)} (${number(w, 2)})`;
      })];
    }) : [];
    page.curveTable.replaceChildren(grid(shape ? `${name} by token kind; in brackets the weight at that quantile` : `${name}: unavailable`,
      ['kind', 'tokens', 'not recorded', 'mean', 'std', ...page.menu.quantiles.map((q) => `${Math.round(100 * q)} %`)], rows));
  }

  // --- export ----------------------------------------------------------------------------------------

  function fillText() {
    const name = store.place.export;
    for (const node of page.kinds.children) {
      const on = node.dataset.name === name;
      node.setAttribute('aria-checked', String(on));
      node.tabIndex = on ? 0 : -1;
    }
    if (!page.texts) return;
    const { text, needs, installed } = page.texts[name];
    page.text.textContent = text;
    const notes = [needs && (installed ? `Requires the plug-in ${needs}.` : `Requires the plug-in ${needs}, which is not installed.`),
      store.settings.scope !== 'batch' && `μ and σ within each ${store.settings.scope} are for display only: the exported setting takes them over the batch, as the method does.`];
    page.needs.textContent = notes.filter(Boolean).join(' ');
  }

  async function copy() {
    try {
      await root.navigator.clipboard.writeText(page.text.textContent);
      AF.frame.say('Copied.');
    } catch (error) {
      root.getSelection().selectAllChildren(page.text);
      AF.frame.say('The browser blocked copying; the text is selected.');
    }
  }

  /* `state`, `map` and `at` are for inspection only. */
  AF.tune = { mount, answer: channel.answer, link: channel.link, state: page, map, at };
})(self);
