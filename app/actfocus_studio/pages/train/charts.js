/* The charts of an experiment: one colour and dash pattern per scheme, a thin line per seed, a thick line for their mean.
   Only visible charts with new data are redrawn, one per frame, so that long runs stay responsive. */
import { select } from '../../web/lib/components/form.js';
import { el, quiet } from '../../web/lib/dom.js';
import * as plots from '../../web/lib/plots.js';
import { across, metricLines, thin, valueAt } from './series.js';

/** @typedef {import('../../web/generated/types').Experiment} Experiment */
/** @typedef {import('../../web/generated/types').TrainedRun} TrainedRun */
/** @typedef {import('../../web/lib/plots.js').PlotlyObject} PlotlyObject */
/** @typedef {import('./series.js').Line} Line */
/** @typedef {import('./series.js').MetricLines} MetricLines */
/** @typedef {{ experiment: Experiment, lines: Map<string, MetricLines> }} Shown `lines`: run -> its metrics */
/** @typedef {{ title: import('./words.js').TitleOf, menu: import('./page.js').Menu }} How */

const FIRST = ['eval/t1/success', 'success/rate', 'mass/action', 'entropy/action', 'kl/update', 'format/well_formed'];
const SHARES = /success|well_formed|mass\/(action|reasoning|format|action_tokens)$/;
/** Approximate maximum per visible line. */
const POINTS = 800;
const NOTHING = metricLines();

/** @param {Experiment} experiment */
const schemesOf = ({ runs }) => [...new Set(runs.map((run) => run.scheme))];

/** @param {How} how */
export function createCharts(how) {
  const later = onePerFrame();
  const legend = el('div', 'af-race-legend');
  const charts = FIRST.map((name) => chart(how, name, later));
  const node = el('div', 'af-race-charts', legend, ...charts.map((one) => one.node));
  let legendOf = '';

  /** Draw what is new; the zoom is kept. @param {Shown} shown */
  function update(shown) {
    const { experiment } = shown;
    if (experiment.id !== legendOf) legend.replaceChildren(...legendNodes(experiment, how));
    legendOf = experiment.id;
    for (const one of charts) one.update(shown);
  }

  return { node, update };
}

/** @param {Experiment} experiment @param {How} how */
function legendNodes(experiment, { title, menu }) {
  const schemes = schemesOf(experiment);
  return [
    ...schemes.map((scheme) => el('span', 'af-race-key', el('span', `af-race-mark ${look(menu.figure, scheme).name}`), title(scheme))),
    experiment.runs.length > schemes.length
      ? el('span', 'af-quiet', 'Thin lines: seeds. Thick line: mean over seeds. Band: minimum to maximum.') : '',
  ];
}

/** The line of a scheme; another trainer's scheme looks like Uniform. @param {plots.Figure} figure @param {string} scheme */
const look = ({ data: [, , ...lines] }, scheme) => lines.find(({ name }) => name === scheme) ?? lines[0];

/** Drawing one chart per frame, once plotly is loaded; those that have nothing to draw take no frame. */
function onePerFrame() {
  /** @type {Set<() => boolean>} */
  const due = new Set();

  function next() {
    for (const draw of due) {
      due.delete(draw);
      if (draw()) break;
    }
    if (due.size) requestAnimationFrame(next);
  }

  /** @param {() => boolean} draw returns whether it drew */
  return async (draw) => {
    due.add(draw);
    if (due.size > 1) return;
    await plots.ready();
    requestAnimationFrame(next);
  };
}

/** @param {How} how @param {string} first the metric it shows first @param {(draw: () => boolean) => void} later */
function chart({ title, menu }, first, later) {
  const metric = select('Metric', Object.keys(menu.metrics), choose, first);
  for (const option of metric.options) option.title = menu.metrics[option.value];
  const told = quiet();
  const plot = /** @type {import('../../web/globals').PlotlyElement} */ (el('div', 'af-race-plot', { onpointerdown: hold }));
  const node = el('section', 'af-race-chart', metric, told, plot);
  /** @type {Shown | null} */
  let shown = null;
  /** The steps that were zoomed to. @type {number[] | null} */
  let sight = null;
  let revision = 0;
  let drawn = '';
  let visible = false;
  let held = false;

  new IntersectionObserver((entries) => {
    visible = entries[entries.length - 1].isIntersecting;
    if (visible) redraw();
  }, { rootMargin: '100px' }).observe(plot);

  const redraw = () => later(draw);

  /** @param {Shown} now */
  function update(now) {
    if (shown?.experiment.id !== now.experiment.id) sight = null;
    shown = now;
    redraw();
  }

  function choose() {
    revision += 1;
    sight = null;
    redraw();
  }

  /** It is not redrawn while it is dragged. */
  function hold() {
    held = true;
    window.addEventListener('pointerup', () => {
      held = false;
      redraw();
    }, { once: true });
  }

  function draw() {
    if (!shown || held || !visible || !plot.offsetWidth) return false;
    const { experiment } = shown;
    const lengths = experiment.runs.map((run) => lineOf(run).x.length);
    const state = JSON.stringify([experiment.id, metric.value, revision, sight, plots.colour('text'), lengths]);
    if (state === drawn) return false;
    drawn = state;
    told.textContent = menu.metrics[metric.value];
    plots.draw(plot, schemesOf(experiment).flatMap(traces), plots.merge(menu.figure.layout, {
      yaxis: SHARES.test(metric.value) ? { range: [0, 1.02] } : {}, uirevision: `${experiment.id}-${revision}`,
    }), { plotly_relayout: zoomed });
    return true;
  }

  /** After zooming, the visible range is drawn in more detail. @param {PlotlyObject} event */
  function zoomed(event) {
    const range = [event['xaxis.range[0]'], event['xaxis.range[1]']];
    if (range.every(Number.isFinite)) sight = range;
    else if (event['xaxis.autorange']) sight = null;
    redraw();
  }

  /** @param {TrainedRun} run */
  const metricsOf = (run) => shown?.lines.get(run.name) ?? NOTHING;

  /** @param {TrainedRun} run @param {string} [end] of the name, for a bound of the metric */
  const lineOf = (run, end = '') => metricsOf(run).of(metric.value + end);

  /** @param {number[]} x @param {number[]} y */
  const thinned = (x, y) => thin(x, y, sight, POINTS);

  /** @param {string} scheme @returns {PlotlyObject[]} */
  function traces(scheme) {
    const style = look(menu.figure, scheme);
    const runs = shown?.experiment.runs.filter((run) => run.scheme === scheme && metricsOf(run).hasRows()) ?? [];
    const evaluated = metric.value.startsWith('eval/');
    const several = runs.length > 1;
    const seeds = runs.map((run) => {
      const { x, y } = lineOf(run);
      const line = thinned(x, y);
      return plots.merge(style, {
        ...line, name: `${title(scheme)}, seed ${run.seed}`, mode: evaluated ? 'lines+markers' : 'lines', line: { width: several ? 1 : 2 },
        opacity: several ? 0.45 : 1, error_y: evaluated && !several ? whiskers(run, line, style.line.color) : undefined,
      });
    });
    return several ? [...seeds, ...average(runs, style, `${title(scheme)}, mean of ${runs.length} seeds`)] : seeds;
  }

  /** The 95 % interval of every evaluation that has one. @param {TrainedRun} run @param {Line} line @param {string} color */
  function whiskers(run, { x, y }, color) {
    const [low, high] = ['_low', '_high'].map((end) => lineOf(run, end));
    /** @param {Line} bound @param {1 | -1} sign */
    const lengths = (bound, sign) => x.map((step, k) => sign * ((valueAt(bound, step) ?? NaN) - y[k]));
    return low.x.length
      ? { type: 'data', symmetric: false, thickness: 1, width: 3, color, array: lengths(high, 1), arrayminus: lengths(low, -1) }
      : undefined;
  }

  /** The mean over seeds at their common steps, and the band from minimum to maximum.
   * @param {TrainedRun[]} runs @param {PlotlyObject} style @param {string} name */
  function average(runs, style, name) {
    const { x, mean, low, high } = across(runs.map((run) => lineOf(run)));
    const [lower, upper] = menu.figure.data;
    return [
      { ...lower, ...thinned(x, low) },
      { ...upper, ...thinned(x, high), fillcolor: `${style.line.color}22` },
      plots.merge(style, { ...thinned(x, mean), name, mode: 'lines', line: { width: 2.5 } }),
    ];
  }

  return { node, update };
}
