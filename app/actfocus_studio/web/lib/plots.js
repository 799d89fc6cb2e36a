/* What the charts of several pages share: plotly's file, the colours of the theme, and drawing where it is seen. */
import { el, onSight, perFrame, quiet } from './dom.js';

/** @typedef {Record<string, any>} PlotlyObject a trace, an axis, a shape or a layout, as plotly defines it */
/** @typedef {{ data: PlotlyObject[], layout: PlotlyObject }} Figure */

const FILE = 'studio/plotly.min.js';
/** @type {Promise<void> | null} */
let loading = null;

/** Plotly, loaded by the first call. @returns {Promise<void>} */
export function ready() {
  loading ??= new Promise((resolve, reject) => {
    document.head.append(el('script', '', { src: FILE, async: true, onload: () => resolve(), onerror: () => reject(new Error('plotly')) }));
  });
  return loading;
}

/** A chart under its title, with a sentence above and a remark below it. @param {string} title */
export function chartCard(title) {
  const told = el('p', 'af-chart-told');
  const plot = /** @type {import('../globals').PlotlyElement} */ (el('div', 'af-chart-plot'));
  const more = quiet();
  const node = el('section', 'af-chart', { 'aria-label': title }, el('h3', '', title), told, plot, more);
  return { node, told, plot, more };
}

/** A colour of the style sheet as it is now. @param {string} name */
export const colour = (name) => getComputedStyle(document.body).getPropertyValue(`--af-${name}`).trim();

/** The colours of the page as it is now. */
export const theme = () => ({
  text: colour('text'), muted: colour('muted'), edge: colour('line'), surface: colour('surface'), shade: colour('shade'),
  font: getComputedStyle(document.body).fontFamily,
});

/** A part of a figure with the colours as they are now, in place of `var(--af-NAME)`. @param {any} part @returns {any} */
function coloured(part) {
  if (typeof part === 'string') return part.replace(/^var\(--af-([\w-]+)\)/, (_, name) => colour(name));
  // Data is left as it is; a stop of a colour scale is a number beside a colour.
  if (Array.isArray(part) && (typeof part[0] !== 'number' || typeof part[1] === 'string')) return part.map(coloured);
  return isObject(part) ? Object.fromEntries(Object.entries(part).map(([name, value]) => [name, coloured(value)])) : part;
}

/** @param {unknown} value @returns {value is PlotlyObject} */
const isObject = (value) => Object.prototype.toString.call(value) === '[object Object]';

/** `own` over `base`, also within the objects in them. @param {PlotlyObject} base @param {PlotlyObject} own @returns {PlotlyObject} */
export const merge = (base, own) => ({
  ...base, ...own, ...Object.fromEntries(Object.keys(own).filter((name) => isObject(own[name]) && isObject(base[name]))
    .map((name) => [name, merge(base[name], own[name])])),
});

/** The nodes that have their listeners. @type {WeakSet<HTMLElement>} */
const heard = new WeakSet();

/**
 * Draw into a visible node; returns false if it is not visible. Colours may be names of the style sheet, `var(--af-NAME)`.
 *
 * @param {import('../globals').PlotlyElement} node
 * @param {PlotlyObject[]} traces
 * @param {PlotlyObject} layout
 * @param {Record<string, (event: any) => void>} [listeners] of plotly's events; those of the first drawing stay
 */
export function draw(node, traces, layout, listeners = {}) {
  if (!node.isConnected || !node.offsetWidth) return false;
  const full = merge({ font: { family: getComputedStyle(document.body).fontFamily } }, layout);
  window.Plotly.react(node, coloured(traces), coloured(full), { displayModeBar: false, responsive: true });
  if (!heard.has(node)) for (const [event, listener] of Object.entries(listeners)) node.on(event, listener);
  heard.add(node);
  return true;
}

/**
 * Draw the charts in a node as soon as they can be: when plotly is loaded and the node is in sight, whichever comes last.
 *
 * @param {Element} node
 * @param {() => void} work called with plotly loaded and the node in sight
 * @param {number} [gap] milliseconds between two drawings, at least
 * @returns {() => void} to be called when there is something new to draw
 */
export function drawing(node, work, gap = 0) {
  let last = -gap;
  let waiting = false;

  async function draws() {
    await ready();
    waiting = false;
    if (!seen()) return;
    work();
    last = performance.now();
  }

  const later = perFrame(() => {
    if (waiting || !seen()) return;
    waiting = true;
    window.setTimeout(draws, Math.max(0, last + gap - performance.now()));
  });
  const seen = onSight(node, later);
  return later;
}

/** Escape text for plotly, which interprets some tags. @param {string} text */
export const plain = (text) => text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
