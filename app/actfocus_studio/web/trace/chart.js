/* The chart of weight and signal by token position, drawn by plotly, which is loaded after the first paint. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el } = AF.dom;
  const { KIND } = AF.weights;
  const GAP_MS = 90; // between two redraws while a slider moves, at least: the text comes first,
  const SHARE = 0.1; // and together they take so much of the time at most, however slow the machine

  function create(skeleton, onHover, onPin, onZoom) {
    const line = { figure: JSON.parse(skeleton), ready: false, due: 0, drawn: 0, took: 0, seen: false, stale: true };
    line.plot = el('div', 'af-plot');
    line.hotMark = el('div', 'af-mark-x');
    line.pinMark = el('div', 'af-mark-x pin');
    line.note = el('p', 'af-quiet af-line-note', 'Loading the chart …');
    line.node = el('section', 'af-line', el('div', 'af-plot-box', line.plot, line.hotMark, line.pinMark), line.note);
    line.node.setAttribute('aria-label', 'Weight and signal by position');
    Object.assign(line, { onHover, onPin, onZoom });
    new IntersectionObserver((entries) => {
      line.seen = entries[entries.length - 1].isIntersecting;
      if (line.stale) update(line);
    }).observe(line.node);
    return line;
  }

  /* Load plotly after the first paint: it is large, and the text does not need it. */
  function load(line) {
    if (line.requested) return;
    line.requested = true;
    const script = el('script', '', { src: 'studio/plotly.min.js', async: true });
    script.onload = () => { line.ready = true; line.note.hidden = true; update(line); };
    script.onerror = () => { line.note.textContent = 'The chart could not be loaded.'; };
    document.head.append(script);
  }

  function fill(line, model) {
    line.model = model;
    line.revision = model.trajectory.id;
    update(line);
  }

  /* Redraw soon if visible, else when it becomes visible. */
  function update(line) {
    line.stale = true;
    if (!line.ready || line.due || !line.seen) return;
    const wait = Math.max(GAP_MS, line.took / SHARE) - (performance.now() - line.drawn);
    line.due = root.setTimeout(() => { line.due = 0; root.requestAnimationFrame(() => root.setTimeout(() => draw(line), 0)); }, Math.max(wait, 0));
  }

  function draw(line) {
    const { model, figure } = line;
    if (!model || !line.plot.isConnected) return;
    const began = performance.now();
    const { settings } = AF.store;
    const x = Array.from({ length: model.n }, (_, i) => i);
    const [weight, signal] = figure.data;
    const written = (i) => model.kinds[i] >= KIND.REASONING;
    Object.assign(weight, { x, y: x.map((i) => (Number.isFinite(model.weights[i]) ? model.weights[i] : null)) });
    Object.assign(signal, { x, y: x.map((i) => (written(i) ? model.signal[settings.signal][i] : null)), name: AF.store.signalTitle(settings.signal) });
    [weight.line.color, signal.line.color] = colours();
    root.Plotly.react(line.plot, figure.data, layout(line), { displayModeBar: false, responsive: true, scrollZoom: false });
    line.drawn = performance.now();
    line.stale = false;
    // The first drawing sets the plot up; its time does not predict the next one's.
    if (line.listening) line.took = line.drawn - began;
    else listen(line);
    marks(line);
  }

  /* Of the two lines and their axes, for the theme of the page. */
  const colours = () => (document.body.classList.contains('dark') ? ['#56b4e9', '#2cc295'] : ['#0072b2', '#007a59']);

  function layout(line) {
    const { model, figure } = line;
    const style = getComputedStyle(document.body);
    const [text, muted, edge, shade] = ['--af-text', '--af-muted', '--af-line', '--af-shade'].map((v) => style.getPropertyValue(v).trim());
    const [weight, signal] = colours();
    const turns = model.turnSpans;
    const name = AF.store.signalTitle(AF.store.settings.signal);
    const known = model.ranges[AF.store.settings.signal];
    const range = [-0.5, model.n - 0.5];
    return {
      ...figure.layout, uirevision: line.revision, font: { ...figure.layout.font, color: muted, family: style.fontFamily },
      xaxis: { ...figure.layout.xaxis, range, linecolor: edge, tickcolor: edge },
      yaxis: { ...figure.layout.yaxis, gridcolor: edge, range: [0, model.weightTop * 1.05], title: { text: 'weight', font: { color: weight, size: 12 }, standoff: 4 } },
      yaxis2: { ...figure.layout.yaxis2, showticklabels: Boolean(known), title: { text: known ? name : `${name} unavailable`, font: { color: signal, size: 12 }, standoff: 4 } },
      hoverlabel: { bgcolor: style.getPropertyValue('--af-surface').trim(), bordercolor: edge, font: { color: text, size: 12 } },
      shapes: turns.filter((t) => t.k % 2 === 1).map((t) => ({ type: 'rect', xref: 'x', yref: 'paper', x0: t.start - 0.5,
        x1: t.end - 0.5, y0: 0, y1: 1, fillcolor: shade, line: { width: 0 }, layer: 'below' })),
      annotations: turns.map((t) => ({ x: t.start, y: 1, xref: 'x', yref: 'paper', text: `turn ${t.k + 1}`, showarrow: false,
        xanchor: 'left', yanchor: 'top', font: { size: 10, color: muted } })),
    };
  }

  function listen(line) {
    line.listening = true;
    const at = (event) => event.points && event.points.length ? event.points[0].x : null;
    line.plot.on('plotly_hover', (event) => line.onHover(at(event)));
    line.plot.on('plotly_unhover', () => line.onHover(null));
    line.plot.on('plotly_click', (event) => line.onPin(at(event)));
    line.plot.on('plotly_relayout', (change) => {
      marks(line);
      const from = change['xaxis.range[0]'];
      if (from !== undefined) line.onZoom(Math.max(0, Math.ceil(from)));
    });
  }

  /* Mark the positions of the pinned and the hovered token as thin vertical lines. */
  function marks(line) {
    place(line, line.pinMark, line.pinned);
    place(line, line.hotMark, line.hot);
  }

  function place(line, mark, i) {
    const full = line.plot._fullLayout;
    const inside = full && i !== null && i !== undefined && i >= full.xaxis.range[0] && i <= full.xaxis.range[1];
    mark.hidden = !inside;
    if (inside) mark.style.transform = `translateX(${(full._size.l + full.xaxis.l2p(i)).toFixed(1)}px)`;
  }

  function hot(line, i) { line.hot = i; if (line.ready) place(line, line.hotMark, i); }
  function pin(line, i) { line.pinned = i; if (line.ready) place(line, line.pinMark, i); }

  AF.line = { create, load, fill, update, hot, pin, marks };
})(self);
