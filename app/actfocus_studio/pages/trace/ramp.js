/* The colour scale of the Trace page's legend. */
import { el } from '../../web/lib/dom.js';
import { number } from '../../web/lib/format.js';
import { store } from '../../web/lib/store.js';
import * as scale from '../../web/trace/ramp.js';

const FLAT = 'advantage 0: this trajectory contributes no gradient';

/** Nodes of the scale that a colour mode has: none for kinds, a remark where the numbers are missing.
 * @param {import('./model.js').TraceModel} m @param {import('../../web/lib/store.js').Place['color']} mode */
export function ramp(m, mode) {
  if (mode === 'kind') return [];
  if (mode === 'weight') return [scale.ramp('0', m.weightTop.toFixed(2).replace(/0$/, ''), 'weight')];
  if (mode === 'credit') {
    if (!m.advantage) return [el('span', 'af-badge', FLAT)];
    const top = m.weightTop * m.advantageMax;
    return [scale.ramp(number(-top, 1), `+${number(top, 1)}`, 'credit')];
  }
  const range = m.ranges[mode];
  return range ? [scale.ramp(number(range[0], 1), number(range[1], 1), 'signal')]
    : [el('span', 'af-badge', `${store.signalTitle(mode)} unavailable`), el('code', 'af-quiet', m.data.run.score)];
}
