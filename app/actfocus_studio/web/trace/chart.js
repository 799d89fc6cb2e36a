/* The chart of weight and signal by token position, drawn by plotly, which is loaded after the first paint. */
import { el } from '../lib/dom.js';
import * as plots from '../lib/plots.js';
import { store } from '../lib/store.js';

/** @typedef {import('../../pages/trace/model.js').TraceModel} TraceModel */
/** @typedef {import('../lib/plots.js').PlotlyObject} PlotlyObject */

const GAP_MS = 90; // between two redraws while a slider moves, at least: the text comes first,
const SHARE = 0.1; // and together they take so much of the time at most, however slow the machine
const LABEL = 0.05; // the width of a turn's label, of that of the chart
const PLAIN_HEIGHT = 112; // without a picture beside the text

/**
 * @param {import('../lib/plots.js').Figure} figure the two lines and the layout, without data
 * @param {{ onHover: (i: number | null) => void, onPin: (i: number) => void, onZoom: (i: number) => void }} on
 */
export function createChart(figure, { onHover, onPin, onZoom }) {
  const plot = /** @type {import('../globals').PlotlyElement} */ (el('div', 'af-plot'));
  const marks = { hot: el('div', 'af-mark-x'), pin: el('div', 'af-mark-x pin') };
  /** @type {{ hot: number | null, pin: number | null }} */
  const marked = { hot: null, pin: null };
  const note = el('p', 'af-quiet af-line-note', 'Loading the chart …');
  const node = el('section', 'af-line', { 'aria-label': 'Weight and signal by position' },
    el('div', 'af-plot-box', plot, marks.hot, marks.pin), note);
  /** @type {TraceModel | null} */
  let model = null;
  let ready = false;
  let listening = false;
  let seen = false;
  let stale = true;
  let due = 0;
  let drawn = 0;
  let took = 0;

  new IntersectionObserver((entries) => {
    seen = entries[entries.length - 1].isIntersecting;
    if (stale) update();
  }).observe(node);

  /** Load plotly after the first paint: it is large, and the text does not need it. */
  function load() {
    plots.ready().then(() => {
      ready = true;
      note.hidden = true;
      update();
    }, () => { note.textContent = 'The chart could not be loaded.'; });
  }

  /** @param {TraceModel} shown */
  function fill(shown) {
    model = shown;
    update();
  }

  /** Redraw soon if visible, else when it becomes visible. */
  function update() {
    stale = true;
    if (!ready || due || !seen) return;
    const wait = Math.max(GAP_MS, took / SHARE) - (performance.now() - drawn);
    due = window.setTimeout(() => requestAnimationFrame(() => window.setTimeout(draw, 0)), Math.max(wait, 0));
  }

  function draw() {
    due = 0;
    if (!model || !plot.isConnected) return;
    const began = performance.now();
    const traces = lines(figure, model);
    window.Plotly.react(plot, traces, layout(figure, model, traces), { displayModeBar: false, responsive: true, scrollZoom: false });
    drawn = performance.now();
    stale = false;
    // The first drawing sets the plot up; its time does not predict the next one's.
    if (listening) took = drawn - began;
    else listen();
    place();
  }

  function listen() {
    listening = true;
    /** @param {{ points?: { x: number }[] }} event */
    const at = (event) => event.points?.[0]?.x ?? null;
    plot.on('plotly_hover', (event) => onHover(at(event)));
    plot.on('plotly_unhover', () => onHover(null));
    plot.on('plotly_click', (event) => {
      const i = at(event);
      if (i !== null) onPin(i);
    });
    plot.on('plotly_relayout', (change) => {
      place();
      const from = change['xaxis.range[0]'];
      if (from !== undefined) onZoom(Math.max(0, Math.ceil(from)));
    });
  }

  /** Mark the positions of the pinned and the hovered token as thin vertical lines. */
  function place() {
    const full = plot._fullLayout;
    for (const name of /** @type {const} */ (['hot', 'pin'])) {
      const i = marked[name];
      const inside = full && i !== null && i >= full.xaxis.range[0] && i <= full.xaxis.range[1];
      marks[name].hidden = !inside;
      if (inside) marks[name].style.transform = `translateX(${(full._size.l + full.xaxis.l2p(i)).toFixed(1)}px)`;
    }
  }

  /** @param {'hot' | 'pin'} name @param {number | null} i */
  function mark(name, i) {
    marked[name] = i;
    if (ready) place();
  }

  return { node, load, fill, update, mark };
}

/** The colours of the two lines and their axes, for the theme of the page. */
const colours = () => (document.body.classList.contains('dark') ? ['#56b4e9', '#2cc295'] : ['#0072b2', '#007a59']);

/** @param {import('../lib/plots.js').Figure} figure @param {TraceModel} model */
function lines({ data: [weight, signal] }, model) {
  const name = store.settings.signal;
  const values = model.signal[name];
  const x = Array.from({ length: model.n }, (_, i) => i);
  const [own, other] = colours();
  return [
    { ...weight, x, y: model.weights, line: { ...weight.line, color: own } },
    { ...signal, x, y: x.map((i) => (model.sampled(i) ? values[i] : NaN)), name: store.signalTitle(name),
      line: { ...signal.line, color: other } },
  ];
}

/** The turns whose labels do not cover each other. @param {TraceModel['spans']} turns @param {number} width of a label, in tokens */
function apart(turns, width) {
  let end = -Infinity;
  return turns.filter(({ start }) => {
    if (start < end) return false;
    end = start + width;
    return true;
  });
}

/** @param {import('../lib/plots.js').Figure} figure @param {TraceModel} model @param {PlotlyObject[]} traces */
function layout(figure, model, [weight, signal]) {
  const t = plots.theme();
  const turns = model.spans.filter((span) => span.k >= 0);
  const there = model.ranges[store.settings.signal];
  /** @param {string} text @param {PlotlyObject} trace */
  const title = (text, trace) => ({ text, font: { color: trace.line.color, size: 12 }, standoff: 4 });
  return plots.merge(figure.layout, {
    height: model.plain ? PLAIN_HEIGHT : figure.layout.height,
    uirevision: model.data.trajectory.id, font: { color: t.muted, family: t.font },
    xaxis: { range: [-0.5, model.n - 0.5], linecolor: t.edge, tickcolor: t.edge },
    yaxis: { gridcolor: t.edge, range: [0, model.weightTop * 1.05], title: title('weight', weight) },
    yaxis2: { showticklabels: Boolean(there), title: title(there || model.plain ? signal.name : `${signal.name} unavailable`, signal) },
    hoverlabel: { bgcolor: t.surface, bordercolor: t.edge, font: { color: t.text, size: 12 } },
    shapes: turns.filter((span) => span.k % 2 === 1).map((span) => ({ type: 'rect', xref: 'x', yref: 'paper', x0: span.start - 0.5,
      x1: span.end - 0.5, y0: 0, y1: 1, fillcolor: t.shade, line: { width: 0 }, layer: 'below' })),
    annotations: apart(turns, model.n * LABEL).map((span) => ({ x: span.start, y: 1, xref: 'x', yref: 'paper', text: `turn ${span.k + 1}`, showarrow: false,
      xanchor: 'left', yanchor: 'top', font: { size: 10, color: t.muted } })),
  });
}
