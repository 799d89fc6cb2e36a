/* The charts of an experiment: one colour and dash pattern per scheme, a thin line per seed, a thick line for their mean.
   Only visible charts with new data are redrawn, one per frame, so that long runs stay responsive. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el } = AF.dom;
  const { plots, series } = AF;
  // Colour in the light theme, in the dark theme, and dash pattern.
  const LOOK = { uniform: ['#6f7b89', '#aab4c0', 'solid'], actfocus: ['#0072b2', '#56b4e9', 'solid'], role_only: ['#b87e00', '#e69f00', 'dash'],
    energy_only: ['#00805d', '#2fc79a', 'dot'] };
  const colourOf = (scheme) => LOOK[scheme][document.body.classList.contains('dark') ? 1 : 0];
  const dashOf = (scheme) => LOOK[scheme][2];
  const BORDER = { solid: 'solid', dash: 'dashed', dot: 'dotted' };
  const SHOWN = ['eval/t1/success', 'success/rate', 'mass/action', 'entropy/action', 'kl/update', 'format/well_formed'];
  const POINTS = 800; // approximate maximum per visible line

  function create(menu) {
    const charts = { menu, cells: [], race: null, due: new Set() };
    charts.legend = el('div', 'af-race-legend');
    charts.cells = SHOWN.map((name) => cell(charts, name));
    charts.node = el('div', 'af-race-charts', charts.legend, ...charts.cells.map((c) => c.node));
    const sight = new IntersectionObserver((entries) => entries.forEach((entry) => {
      const c = charts.cells.find((one) => one.plot === entry.target);
      c.inSight = entry.isIntersecting;
      if (c.inSight) queue(charts, c);
    }), { rootMargin: '100px' });
    charts.cells.forEach((c) => sight.observe(c.plot));
    return charts;
  }

  function cell(charts, name) {
    const select = el('select', '', { onchange: () => { Object.assign(c, { name: select.value, revision: c.revision + 1, sight: null }); queue(charts, c); } },
      ...Object.entries(charts.menu.metrics).map(([key, text]) => el('option', '', { value: key, title: text }, key)));
    select.value = name;
    select.setAttribute('aria-label', 'Metric');
    const about = el('p', 'af-quiet');
    const plot = el('div', 'af-race-plot');
    const c = { name, select, about, plot, revision: 0, sight: null, drawn: '', inSight: false };
    c.node = el('section', 'af-race-chart', select, about, plot);
    // A chart is not redrawn while it is dragged.
    plot.addEventListener('pointerdown', () => {
      c.held = true;
      root.addEventListener('pointerup', () => { c.held = false; queue(charts, c); }, { once: true });
    });
    return c;
  }

  /* `race`: {id, runs: [{name, scheme, seed, rows}]}. Rows are appended; the zoom is kept. */
  function update(charts, race) {
    const schemes = [...new Set(race.runs.map((run) => run.scheme))];
    const dark = document.body.classList.contains('dark');
    const other = !charts.race || charts.race.id !== race.id;
    if (other || charts.dark !== dark) {
      charts.legend.replaceChildren(...schemes.map((scheme) => {
        const mark = el('span', 'af-race-mark');
        mark.style.borderTop = `3px ${BORDER[dashOf(scheme)]} ${colourOf(scheme)}`;
        return el('span', 'af-race-key', mark, title(charts, scheme));
      }), race.runs.length > schemes.length ? el('span', 'af-quiet', 'Thin lines: seeds. Thick line: mean over seeds. Band: minimum to maximum.') : '');
      charts.dark = dark;
    }
    if (other) for (const c of charts.cells) c.sight = null;
    charts.race = race;
    charts.cells.forEach((c) => queue(charts, c));
  }

  const title = (charts, scheme) => (charts.menu.schemes.find(([name]) => name === scheme) || [scheme, scheme])[1];

  function queue(charts, c) {
    if (!charts.race) return;
    const waiting = charts.due.size > 0;
    charts.due.add(c);
    if (!waiting) plots.ready(() => root.requestAnimationFrame(() => next(charts)));
  }

  /* Draw one due chart and schedule the next for the next frame; charts without new data are skipped. */
  function next(charts) {
    for (const c of charts.due) {
      charts.due.delete(c);
      if (draw(charts, c)) break;
    }
    if (charts.due.size) root.requestAnimationFrame(() => next(charts));
  }

  function draw(charts, c) {
    if (c.held || !c.inSight || !c.plot.offsetWidth) return false;
    const state = JSON.stringify([charts.race.id, c.name, c.revision, c.sight, document.body.classList.contains('dark'),
      charts.race.runs.map((run) => series.of(run.rows, c.name).x.length)]);
    if (state === c.drawn) return false;
    c.drawn = state;
    c.about.textContent = charts.menu.metrics[c.name] || '';
    const traces = [...new Set(charts.race.runs.map((run) => run.scheme))].flatMap((scheme) => lines(charts, c, scheme));
    plots.draw(c.plot, traces, layout(charts, c));
    if (!c.listens) {
      c.listens = true;
      c.plot.on('plotly_relayout', (event) => zoomed(charts, c, event));
    }
    return true;
  }

  /* After zooming, the visible range is drawn in more detail. */
  function zoomed(charts, c, event) {
    const [from, to] = [event['xaxis.range[0]'], event['xaxis.range[1]']];
    if (Number.isFinite(from) && Number.isFinite(to)) c.sight = [from, to];
    else if (event['xaxis.autorange']) c.sight = null;
    queue(charts, c);
  }

  function lines(charts, c, scheme) {
    const [colour, dash] = [colourOf(scheme), dashOf(scheme)];
    const runs = charts.race.runs.filter((run) => run.scheme === scheme && run.rows.length);
    const evaluated = c.name.startsWith('eval/');
    const several = runs.length > 1;
    const traces = runs.map((run) => {
      const column = series.of(run.rows, c.name);
      const trace = { ...series.thin(column.x, column.y, c.sight, POINTS), name: `${title(charts, scheme)}, seed ${run.seed}`, type: 'scatter',
        mode: evaluated ? 'lines+markers' : 'lines', line: { color: colour, dash, width: several ? 1 : 2, simplify: false }, marker: { size: 5 },
        opacity: several ? 0.45 : 1, hovertemplate: '%{y:.3f}<extra>%{fullData.name}</extra>' };
      if (evaluated && !several) trace.error_y = whiskers(run, c, trace, colour);
      return trace;
    });
    return several ? [...traces, ...mean(charts, c, scheme, runs, colour, dash)] : traces;
  }

  /* The 95 % interval of every evaluation that has one. */
  function whiskers(run, c, { x, y }, colour) {
    const ends = ['low', 'high'].map((end) => {
      const { x: steps, y: values } = series.of(run.rows, `${c.name}_${end}`);
      return new Map(steps.map((step, k) => [step, values[k]]));
    });
    if (!ends[0].size) return undefined;
    return { type: 'data', symmetric: false, thickness: 1, width: 3, color: colour,
      array: x.map((step, k) => ends[1].get(step) - y[k]), arrayminus: x.map((step, k) => y[k] - ends[0].get(step)) };
  }

  /* The mean over seeds at their common steps, and the band from minimum to maximum. */
  function mean(charts, c, scheme, runs, colour, dash) {
    const found = series.across(runs.map((run) => series.of(run.rows, c.name)));
    const line = (name) => series.thin(found.x, found[name], c.sight, POINTS);
    const edge = { mode: 'lines', line: { width: 0 }, hoverinfo: 'skip' };
    return [{ ...line('low'), ...edge }, { ...line('high'), ...edge, fill: 'tonexty', fillcolor: `${colour}22` },
      { ...line('mean'), mode: 'lines', line: { color: colour, dash, width: 2.5, simplify: false }, name: `${title(charts, scheme)}, mean of ${runs.length} seeds`,
        hovertemplate: '%{y:.3f}<extra>%{fullData.name}</extra>' }];
  }

  function layout(charts, c) {
    const share = /success|well_formed|mass\/(action|reasoning|format|action_tokens)$/.test(c.name);
    return plots.layout(charts.menu.figure, { x: { text: 'step' }, y: share ? { range: [0, 1.02] } : {}, uirevision: `${charts.race.id}-${c.revision}` });
  }

  AF.charts = { create, update, title };
})(self);
