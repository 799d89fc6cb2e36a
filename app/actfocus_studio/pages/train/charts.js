/* The charts of a race: one colour and dash a scheme, a thin line a seed, the mean over it. A chart is drawn when
   something of it is new and it is in sight, one a frame, so that a long run stays smooth. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el } = AF.dom;
  const { plots, series } = AF;
  // Colour on light, on dark, and dash.
  const LOOK = { uniform: ['#6f7b89', '#aab4c0', 'solid'], actfocus: ['#0072b2', '#56b4e9', 'solid'], role_only: ['#b87e00', '#e69f00', 'dash'],
    energy_only: ['#00805d', '#2fc79a', 'dot'] };
  const colourOf = (scheme) => LOOK[scheme][document.body.classList.contains('dark') ? 1 : 0];
  const dashOf = (scheme) => LOOK[scheme][2];
  const BORDER = { solid: 'solid', dash: 'dashed', dot: 'dotted' };
  const SHOWN = ['eval/t1/success', 'success/rate', 'mass/action', 'entropy/action', 'kl/update', 'format/well_formed'];
  const POINTS = 800; // of a line in sight, about

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
    select.setAttribute('aria-label', 'Metric of this chart');
    const about = el('p', 'af-quiet');
    const plot = el('div', 'af-race-plot');
    const c = { name, select, about, plot, revision: 0, sight: null, drawn: '', inSight: false };
    c.node = el('section', 'af-race-chart', select, about, plot);
    // What is being dragged is not drawn anew.
    plot.addEventListener('pointerdown', () => {
      c.held = true;
      root.addEventListener('pointerup', () => { c.held = false; queue(charts, c); }, { once: true });
    });
    return c;
  }

  /* `race`: {id, runs: [{name, scheme, seed, rows}]}; rows grow, the zoom stays. */
  function update(charts, race) {
    const schemes = [...new Set(race.runs.map((run) => run.scheme))];
    const dark = document.body.classList.contains('dark');
    const other = !charts.race || charts.race.id !== race.id;
    if (other || charts.dark !== dark) {
      charts.legend.replaceChildren(...schemes.map((scheme) => {
        const mark = el('span', 'af-race-mark');
        mark.style.borderTop = `3px ${BORDER[dashOf(scheme)]} ${colourOf(scheme)}`;
        return el('span', 'af-race-key', mark, title(charts, scheme));
      }));
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

  /* One chart, and the next one in the next frame; those that have nothing new cost nothing. */
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

  /* What has come to sight is shown point by point, as far as there is room. */
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
      const own = series.of(run.rows, c.name);
      const trace = { ...series.thin(own.x, own.y, c.sight, POINTS), name: `${title(charts, scheme)}, seed ${run.seed}`, type: 'scatter',
        mode: evaluated ? 'lines+markers' : 'lines', line: { color: colour, dash, width: several ? 1 : 2, simplify: false }, marker: { size: 5 },
        opacity: several ? 0.45 : 1, hovertemplate: '%{y:.3f}<extra>%{fullData.name}</extra>' };
      if (evaluated && !several) trace.error_y = whiskers(run, c, trace, colour);
      return trace;
    });
    return several ? [...traces, ...mean(charts, c, scheme, runs, colour, dash)] : traces;
  }

  /* The interval of every evaluation, where it has one. */
  function whiskers(run, c, { x, y }, colour) {
    const ends = ['low', 'high'].map((end) => {
      const { x: steps, y: values } = series.of(run.rows, `${c.name}_${end}`);
      return new Map(steps.map((step, k) => [step, values[k]]));
    });
    if (!ends[0].size) return undefined;
    return { type: 'data', symmetric: false, thickness: 1, width: 3, color: colour,
      array: x.map((step, k) => ends[1].get(step) - y[k]), arrayminus: x.map((step, k) => y[k] - ends[0].get(step)) };
  }

  /* The mean over the seeds where all have the step, and the band from the lowest to the highest. */
  function mean(charts, c, scheme, runs, colour, dash) {
    const found = series.across(runs.map((run) => series.of(run.rows, c.name)));
    const line = (name) => series.thin(found.x, found[name], c.sight, POINTS);
    const edge = { mode: 'lines', line: { width: 0 }, hoverinfo: 'skip' };
    return [{ ...line('low'), ...edge }, { ...line('high'), ...edge, fill: 'tonexty', fillcolor: `${colour}22` },
      { ...line('mean'), mode: 'lines', line: { color: colour, dash, width: 2.5, simplify: false }, name: `${title(charts, scheme)}, mean of ${runs.length}`,
        hovertemplate: '%{y:.3f}<extra>%{fullData.name}</extra>' }];
  }

  function layout(charts, c) {
    const share = /success|well_formed|mass\/(action|reasoning|format|action_tokens)$/.test(c.name);
    return plots.layout(charts.menu.figure, { x: { text: 'step' }, y: share ? { range: [0, 1.02] } : {}, uirevision: `${charts.race.id}-${c.revision}` });
  }

  AF.charts = { create, update, title };
})(self);
