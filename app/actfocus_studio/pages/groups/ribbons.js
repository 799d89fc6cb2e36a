/* The rollouts of one group as ribbons, one below the other, to spot the unusual one. */
import { el } from '../../web/lib/dom.js';
import { number } from '../../web/lib/format.js';
import * as plots from '../../web/lib/plots.js';
import { KIND } from '../../web/trace/weights.js';
import { oddities, spoken, weights } from './rollouts.js';

/** @typedef {import('./rollouts.js').Rollout} Rollout */

const HEIGHT = 14;
const LEAST_SCALE = 1.5; // the weight of full colour, at least

/** @param {(rollout: Rollout) => void} onOpen */
export function ribbonList(onOpen) {
  const node = el('ol', 'af-ribbons');
  /** @type {ReturnType<typeof row>[]} */
  let rows = [];

  /** @param {Rollout[]} rollouts */
  function fill(rollouts) {
    const odd = oddities(rollouts);
    rows = rollouts.map((rollout, i) => row(rollout, odd[i]));
    node.replaceChildren(...rows.map((one) => el('li', '', one.button)));
  }

  /** @param {Rollout} r @param {string} odd */
  function row(r, odd) {
    const canvas = el('canvas', 'af-ribbon-tokens', { 'aria-hidden': true });
    const track = el('span', 'af-ribbon-track', canvas);
    const sign = r.success ? '✓' : r.success === null ? '?' : '·';
    const button = el('button', 'af-ribbon',
      { type: 'button', title: `${r.id}: open it in Trace`, 'aria-label': spoken(r, odd), onclick: () => onOpen(r) },
      el('span', 'af-ribbon-name', `rollout ${r.rollout}`), track,
      el('span', `af-ribbon-end${r.success ? ' won' : ''}`, `${sign} ${number(r.return, 2)}`),
      el('span', 'af-ribbon-more', el('span', 'af-ribbon-actions', r.actions.map((turn) => turn.join(' ') || '–').join(' | ')),
        el('span', 'af-ribbon-odd', odd)));
    return { rollout: r, button, track, canvas };
  }

  /** Paint all ribbons on one scale, by kind or by their weight under these settings.
   * @param {import('../../web/lib/store.js').Settings | null} settings */
  function paint(settings) {
    const ratio = window.devicePixelRatio || 1;
    const accent = plots.colour('accent');
    const names = { [KIND.REASONING]: plots.colour('reasoning'), [KIND.ACTION]: plots.colour('action'), [KIND.FORMAT]: plots.colour('format') };
    const longest = Math.max(1, ...rows.map(({ rollout }) => rollout.kinds.length));
    for (const { rollout, track, canvas } of rows) {
      const width = track.clientWidth * (rollout.kinds.length / longest);
      const pen = canvas.getContext('2d');
      if (!width || !pen) continue;
      canvas.width = Math.max(1, Math.round(width * ratio));
      canvas.height = HEIGHT * ratio;
      canvas.style.width = `${width}px`;
      const each = canvas.width / rollout.kinds.length;
      const weighed = settings && weights(rollout, settings).map((w) => w / Math.max(LEAST_SCALE, 1 + settings.beta));
      rollout.kinds.forEach((kind, i) => {
        pen.fillStyle = weighed ? accent : names[kind];
        pen.globalAlpha = weighed ? alphaOf(weighed[i]) : 1;
        const left = Math.floor(i * each);
        pen.fillRect(left, 0, Math.max(1, Math.floor((i + 1) * each) - left), canvas.height);
      });
      // A gap where a new turn begins.
      for (const at of rollout.turns) pen.clearRect(Math.round(at * each) - ratio, 0, 2 * ratio, canvas.height);
    }
  }

  return { node, fill, paint };
}

/** @param {number} share of the scale */
const alphaOf = (share) => (Number.isFinite(share) ? 0.06 + 0.85 * Math.min(1, share) : 0);
