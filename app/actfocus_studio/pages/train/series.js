/* A run's metrics as lines over its steps. Pure: runs in a browser and in Node. */
import { numbers } from '../../web/lib/columns.js';

/** @typedef {{ x: number[], y: number[] }} Line steps and values */
/** @typedef {import('../../web/generated/types').TrainedRun['metrics']} Columns */
/** @typedef {ReturnType<typeof metricLines>} MetricLines */

/** The metrics of a run. Rows are only ever appended. */
export function metricLines() {
  /** @type {Map<string, Line>} */
  const lines = new Map();
  let last = -Infinity;

  /** The line of a metric, with the rows that have it; always the same object. @param {string} name @returns {Line} */
  function of(name) {
    const line = lines.get(name) ?? { x: [], y: [] };
    lines.set(name, line);
    return line;
  }

  /** Append rows. Steps that a resumed run repeats are skipped. @param {Columns} columns */
  function append({ step, ...columns }) {
    if (!step) return;
    const values = Object.entries(columns).map(([name, column]) => ({ line: of(name), of: numbers(column) }));
    numbers(step).forEach((at, k) => {
      if (at <= last) return;
      last = at;
      for (const { line, of: all } of values) {
        if (!Number.isFinite(all[k])) continue;
        line.x.push(at);
        line.y.push(all[k]);
      }
    });
  }

  return { of, append, hasRows: () => last >= 0 };
}

/** The value at a step; undefined where there is none. @param {Line} line @param {number} step @returns {number | undefined} */
export const valueAt = ({ x, y }, step) => y[x.indexOf(step)];

/** Mean, minimum and maximum of several lines at their common steps: the mean line of a chart and its band.
 * @param {Line[]} several */
export function across(several) {
  const [first, ...others] = several.map(({ x, y }) => new Map(x.map((step, k) => [step, y[k]])));
  const rows = [...first]
    .map(([step, value]) => ({ step, values: [value, ...others.map((other) => other.get(step) ?? NaN)] }))
    .filter(({ values }) => values.every(Number.isFinite));
  return {
    x: rows.map(({ step }) => step),
    mean: rows.map(({ values }) => values.reduce((a, b) => a + b, 0) / values.length),
    low: rows.map(({ values }) => Math.min(...values)),
    high: rows.map(({ values }) => Math.max(...values)),
  };
}

/**
 * A line with about `points` points, which keep the minimum and maximum of every segment.
 *
 * @param {number[]} x
 * @param {number[]} y
 * @param {number[] | null} sight the visible range of steps, drawn in detail; null for all
 * @param {number} points
 * @returns {Line}
 */
export function thin(x, y, sight, points) {
  const [from, to] = sight ? [below(x, sight[0]), below(x, sight[1]) + 2] : [0, x.length];
  const [a, b] = [Math.max(from - 1, 0), Math.min(to, x.length)];
  const at = [...extremes(y, 0, a, points / 8), ...extremes(y, a, b, points), ...extremes(y, b, y.length, points / 8)];
  return { x: at.map((i) => x[i]), y: at.map((i) => y[i]) };
}

/** Indices from `a` to `b`: all, or the first, the last and the extremes of segments. @param {number[]} y @param {number} a
 * @param {number} b @param {number} points */
function extremes(y, a, b, points) {
  if (b - a <= points) return Array.from({ length: b - a }, (_, i) => a + i);
  const segments = Math.max(1, Math.floor(points / 2));
  const kept = new Set([a]);
  for (let k = 0; k < segments; k++) {
    const from = a + Math.floor(k * (b - a) / segments);
    const to = a + Math.floor((k + 1) * (b - a) / segments);
    let [low, high] = [from, from];
    for (let i = from; i < to; i++) {
      if (y[i] < y[low]) low = i;
      if (y[i] > y[high]) high = i;
    }
    kept.add(Math.min(low, high)).add(Math.max(low, high));
  }
  return kept.add(b - 1);
}

/** The number of values below `value`. @param {number[]} values @param {number} value */
const below = (values, value) => values.filter((one) => one < value).length;
