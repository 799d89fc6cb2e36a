/* The charts of a race: one colour and dash a scheme, a thin line a seed, the mean over it. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el } = AF.dom;
  const LOOK = { uniform: ['#7a8694', 'solid'], actfocus: ['#0072b2', 'solid'], role_only: ['#e69f00', 'dash'], energy_only: ['#009e73', 'dot'] };
  const SHOWN = ['eval/t1/success', 'success/rate', 'mass/action', 'entropy/action', 'kl/update', 'format/well_formed'];
  const POINTS = 800; // of a line at most; more are thinned to every k-th

  let asked = false;
  const waiting = [];

  /* Plotly's file, asked for once; `then` runs when it is there. */
  function plotly(then) {
    if (root.Plotly) return then();
    waiting.push(then);
    if (asked) return undefined;
    asked = true;
    const script = el('script', '', { src: 'studio/plotly.min.js', async: true });
    script.onload = () => waiting.splice(0).forEach((f) => f());
    document.head.append(script);
    return undefined;
  }

  function create(menu) {
    const charts = { menu, cells: [], race: null };
    charts.legend = el('div', 'af-race-legend');
    charts.cells = SHOWN.map((name) => cell(charts, name));
    charts.node = el('div', 'af-race-charts', charts.legend, ...charts.cells.map((c) => c.node));
    return charts;
  }

  function cell(charts, name) {
    const select = el('select', '', { onchange: () => { c.name = select.value; c.revision += 1; draw(charts, c); } },
      ...Object.entries(charts.menu.metrics).map(([key, text]) => el('option', '', { value: key, title: text }, key)));
    select.value = name;
    select.setAttribute('aria-label', 'Metric of this chart');
    const about = el('p', 'af-quiet');
    const plot = el('div', 'af-race-plot');
    const c = { name, select, about, plot, revision: 0 };
    c.node = el('section', 'af-race-chart', select, about, plot);
    return c;
  }

  /* `race`: {id, runs: [{name, scheme, seed, rows}]}; rows grow, the zoom stays. */
  function update(charts, race) {
    charts.race = race;
    const schemes = [...new Set(race.runs.map((run) => run.scheme))];
    charts.legend.replaceChildren(...schemes.map((s) => {
      const mark = el('span', 'af-race-mark');
      mark.style.borderTop = `3px ${{ solid: 'solid', dash: 'dashed', dot: 'dotted' }[LOOK[s][1]]} ${LOOK[s][0]}`;
      return el('span', 'af-race-key', mark, title(charts, s));
    }));
    plotly(() => charts.cells.forEach((c) => draw(charts, c)));
  }

  const title = (charts, scheme) => (charts.menu.schemes.find(([name]) => name === scheme) || [scheme, scheme])[1];

  function draw(charts, c) {
    const { race } = charts;
    if (!race || !c.plot.isConnected || !c.plot.offsetWidth) return;
    c.about.textContent = charts.menu.metrics[c.name] || '';
    const traces = [];
    for (const scheme of new Set(race.runs.map((run) => run.scheme))) traces.push(...lines(charts, c, scheme));
    root.Plotly.react(c.plot, traces, layout(charts, c), { displayModeBar: false, responsive: true });
  }

  function lines(charts, c, scheme) {
    const [colour, dash] = LOOK[scheme] || ['#cc79a7', 'dashdot'];
    const runs = charts.race.runs.filter((run) => run.scheme === scheme && run.rows.length);
    const evaluated = c.name.startsWith('eval/');
    const traces = [];
    const several = runs.length > 1;
    for (const run of runs) {
      const rows = run.rows.filter((row) => row[c.name] !== undefined && row[c.name] !== null);
      const every = Math.ceil(rows.length / POINTS);
      const kept = rows.filter((_, i) => i % every === 0 || i === rows.length - 1);
      const y = kept.map((row) => row[c.name]);
      const trace = { x: kept.map((row) => row.step), y, name: `${title(charts, scheme)}, seed ${run.seed}`, mode: evaluated ? 'lines+markers' : 'lines',
        line: { color: colour, dash, width: several ? 1 : 2 }, marker: { size: 5 }, opacity: several ? 0.45 : 1,
        hovertemplate: '%{y:.3f}<extra>%{fullData.name}</extra>', type: kept.length > 400 ? 'scattergl' : 'scatter' };
      if (evaluated && !several && kept.length && kept[0][`${c.name}_low`] !== undefined) {
        trace.error_y = { type: 'data', symmetric: false, thickness: 1, width: 3, color: colour,
          array: kept.map((row, i) => row[`${c.name}_high`] - y[i]), arrayminus: kept.map((row, i) => y[i] - row[`${c.name}_low`]) };
      }
      traces.push(trace);
    }
    if (several) traces.push(...mean(charts, c, scheme, runs, colour, dash));
    return traces;
  }

  /* The mean over the seeds where all have the step, and the band from the lowest to the highest. */
  function mean(charts, c, scheme, runs, colour, dash) {
    const at = new Map();
    for (const run of runs) for (const row of run.rows) if (Number.isFinite(row[c.name])) at.set(row.step, [...(at.get(row.step) || []), row[c.name]]);
    const steps = [...at.keys()].filter((step) => at.get(step).length === runs.length).sort((a, b) => a - b);
    const fill = `${colour}22`;
    return [
      { x: steps, y: steps.map((s) => Math.min(...at.get(s))), mode: 'lines', line: { width: 0 }, hoverinfo: 'skip', showlegend: false },
      { x: steps, y: steps.map((s) => Math.max(...at.get(s))), mode: 'lines', line: { width: 0 }, fill: 'tonexty', fillcolor: fill, hoverinfo: 'skip' },
      { x: steps, y: steps.map((s) => at.get(s).reduce((a, b) => a + b, 0) / runs.length), mode: 'lines', line: { color: colour, dash, width: 2.5 },
        name: `${title(charts, scheme)}, mean of ${runs.length}`, hovertemplate: '%{y:.3f}<extra>%{fullData.name}</extra>' },
    ];
  }

  function layout(charts, c) {
    const style = getComputedStyle(document.body);
    const [text, muted, edge] = ['--af-text', '--af-muted', '--af-line'].map((v) => style.getPropertyValue(v).trim());
    const base = charts.menu.figure.layout;
    const share = /success|well_formed|mass\/(action|reasoning|format|action_tokens)$/.test(c.name);
    return { ...base, uirevision: `${charts.race.id}-${c.revision}`, font: { ...base.font, color: muted, family: style.fontFamily },
      xaxis: { ...base.xaxis, linecolor: edge, tickcolor: edge, title: { text: 'step', standoff: 2, font: { size: 11 } } },
      yaxis: { ...base.yaxis, gridcolor: edge, ...(share ? { range: [0, 1.02] } : {}) },
      hoverlabel: { bgcolor: style.getPropertyValue('--af-surface').trim(), bordercolor: edge, font: { color: text, size: 11 } } };
  }

  AF.charts = { create, update, title };
})(self);
