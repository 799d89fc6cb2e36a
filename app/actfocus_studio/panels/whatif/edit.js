/* An edited trajectory, scored again, beside the original. */
import { select } from '../../web/lib/components/form.js';
import { segmented } from '../../web/lib/components/segmented.js';
import { scrollRegion, table } from '../../web/lib/components/table.js';
import { decode, numbers } from '../../web/lib/columns.js';
import { el } from '../../web/lib/dom.js';
import { known, number, percent, scientific } from '../../web/lib/format.js';
import { ramp } from '../../web/trace/ramp.js';
import { createPane, sideBySide } from '../../web/trace/side_by_side.js';
import * as tokens from '../../web/trace/tokens.js';
import { movedTo } from './spans.js';

/** @typedef {import('../../web/generated/types').EditShown} EditShown */
/** @typedef {import('../../web/generated/types').EditPane} EditPane */
/** @typedef {'credit' | 'weight' | 'energy' | 'kind'} Mode */
/** @typedef {import('./panel.js').Actions} Actions */

const KINDS = ['reasoning', 'action', 'format'];
/** @type {[Mode, string][]} */
const MODES = [['credit', 'Credit'], ['weight', 'Weight'], ['energy', 'Energy'], ['kind', 'Kind']];
/** What is painted; it stays for the next edit. */
const chosen = { mode: /** @type {Mode} */ ('credit'), scheme: 'actfocus' };

/** @param {EditShown} what @param {Actions} on */
export function draw(what, { title }) {
  const { result } = what;
  const sides = [side('Original', result.replaced, result.span, what.original), side('Edited', result.text, result.new_span, what.edited)];
  const panes = sides.map(({ pane }) => pane);
  const names = Object.keys(what.original.schemes);
  if (!names.includes(chosen.scheme)) [chosen.scheme] = names;

  const { nodes, reveal, refresh } = sideBySide(panes, (from, to, i) => (from === to ? i : movedTo(result, from === panes[1], i)),
    (_, i, k) => sides[k].tell(i));

  const modes = segmented('Colour by', MODES, (mode) => paint({ mode }));
  const schemes = select('Scheme', names.map((name) => [name, title(name)]), (scheme) => paint({ scheme }), chosen.scheme);

  /** @param {Partial<typeof chosen>} [changes] */
  function paint(changes) {
    Object.assign(chosen, changes);
    modes.show(chosen.mode);
    const top = Math.max(...sides.map((s) => s.take()), 1e-12);
    for (const s of sides) s.paint(top, what.range);
    refresh(scaleOf(top, what.range));
  }
  paint();
  requestAnimationFrame(() => reveal(panes[0], result.span[0]));
  return { nodes: [el('p', 'af-sentence', ...sentence(what)), shares(what, title), el('div', 'af-tools', modes.node, schemes),
    ...nodes] };
}

/** One of the two trajectories. @param {string} name @param {string} text @param {[number, number]} edited @param {EditPane} data */
function side(name, text, [first, end], data) {
  const pane = createPane(name, `“${text}”`, data);
  const { model, view } = pane;
  const energy = numbers(data.tokens.energy);
  const unknown = new Float32Array(model.n).fill(NaN);
  /** Those of the chosen scheme. @type {Record<'weight' | 'credit', Float32Array>} */
  let values;
  for (const span of view.spans.slice(first, end)) span.classList.add('af-edited');
  model.signal.energy = energy;

  /** @param {number} i */
  const tell = (i) => `energy ${number(energy[i], 2)}, weight ${number(values.weight[i], 2)}, credit ${scientific(values.credit[i])}`;

  /** Take the values of the chosen scheme; returns the largest |credit|. */
  function take() {
    const columns = data.schemes[chosen.scheme];
    values = columns ? decode({ ...columns }) : { weight: unknown, credit: unknown };
    return values.credit.reduce((most, x) => Math.max(most, Math.abs(x) || 0), 0);
  }

  /** @param {number} top of the credits of both @param {[number, number] | null} range of the energy */
  function paint(top, range) {
    Object.assign(model, { signed: Float64Array.from(values.credit), signedTop: top, weights: Float64Array.from(values.weight) });
    model.ranges.energy = range;
    tokens.paint(view, chosen.mode === 'credit' ? 'signed' : chosen.mode);
  }

  return { pane, tell, take, paint };
}

/** @param {number} top @param {[number, number] | null} range */
function scaleOf(top, range) {
  if (chosen.mode === 'weight') return ramp('0', '1.5', 'weight', 'weight');
  if (chosen.mode === 'energy') return range && ramp(number(range[0], 1), number(range[1], 1), 'signal', 'energy');
  if (chosen.mode === 'kind') return null;
  return ramp(`−${scientific(top)}`, `+${scientific(top)}`, 'credit', 'effective credit: blue more likely, brown less likely');
}

/** @param {EditShown} what */
function sentence({ result }) {
  const { span, later } = result.energy;
  const energy = [span.some(known) && `Mean energy of the span ${number(span[0], 2)} → ${number(span[1], 2)}`,
    known(later[0]) && `of the tokens after it ${number(later[0], 2)} → ${number(later[1], 2)}`].filter(Boolean).join('; ');
  /** @param {[number, number]} range */
  const size = ([first, end]) => end - first;
  return [el('b', '', `“${result.replaced}”`), ' → ', el('b', '', `“${result.text}”`),
    ` (${size(result.span)} tokens → ${size(result.new_span)}). `, energy && `${energy}.`];
}

/** @param {EditShown} what @param {Actions['title']} title */
function shares({ result }, title) {
  const rows = Object.entries(result.schemes).map(([name, { missing, share, credit }]) => {
    if (missing.length) return [title(name), `unavailable: no ${missing.join(', ')}`, ...KINDS.map(() => null)];
    const shared = KINDS.map((kind) => share.map((of) => percent(of[kind] ?? 0)).join(' → '));
    return [title(name), ...shared, credit.map((x) => scientific(x)).join(' → ')];
  });
  const caption = 'Share of the trajectory’s weight by kind, and total credit';
  return scrollRegion(caption, table(caption, ['scheme', ...KINDS, 'Σ |credit|'], rows, { cls: '', rowHeads: true }));
}
