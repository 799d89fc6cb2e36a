/* The gradient share by kind, for the batch and for the trajectory: a sentence and stacked bars. */
import * as scoring from '../../panels/scoring/panel.js';
import { el, textButton, write } from '../../web/lib/dom.js';
import { count, counted, known, percent } from '../../web/lib/format.js';
import { store } from '../../web/lib/store.js';
import { massByKind } from '../../web/trace/weights.js';
import { ownSums, statsOf } from './model.js';

/** @typedef {import('./model.js').TraceModel} TraceModel */
/** @typedef {import('../../web/lib/store.js').Settings} Settings */
/** @typedef {ReturnType<typeof massByKind>} Mass */

const KINDS = /** @type {const} */ (['action', 'reasoning', 'format']);

export function createShares() {
  const batch = panel('Batch');
  const own = panel('This trajectory');
  const node = el('section', 'af-mass', { 'aria-label': 'Gradient share' }, batch.node, own.node);

  /** @param {TraceModel} model */
  function update(model) {
    write(batch.title, batchTitle(model));
    batch.update(model, model.batch.kinds, (s) => statsOf(model, s)?.sums ?? null);
    own.update(model, model.ownKinds, (s) => ownSums(model, s));
  }

  return { node, update };
}

/** @param {TraceModel} model */
function batchTitle({ batch: { trajectories, unscored, signals }, data: { run } }) {
  const all = `Batch: ${counted(trajectories, 'trajectory', 'trajectories')}`;
  if (!unscored) return all;
  return signals.energy ? `${all} that ${run.reference} scored; ${count(unscored)} more are not scored yet`
    : `${all}, ${count(unscored)} of them not scored yet, this one too`;
}

/** A panel is built once; a slider only changes texts and widths. @param {string} heading */
function panel(heading) {
  const title = el('h2', '', heading);
  const told = el('p', 'af-sentence');
  const effective = el('p', 'af-effective');
  const [uniform, current, kept] = ['Uniform', 'A', 'B'].map(barRow);
  const node = el('div', 'af-panel', title, told, el('div', 'af-bars', uniform.node, current.node, kept.node), effective);

  /**
   * @param {TraceModel} model
   * @param {import('../../web/trace/weights.js').Kinds} kinds
   * @param {(s: Settings) => import('../../web/trace/weights.js').SigmoidSums | null} sumsOf
   */
  function update(model, kinds, sumsOf) {
    const { settings } = store;
    const other = store.kept();
    /** @param {Settings} s */
    const of = (s) => massByKind(kinds, sumsOf(s), s.alpha, s.beta, s.adv);
    const now = of(settings);
    uniform.show(massByKind(kinds, null, 1, 0, settings.adv));
    current.show(now);
    write(current.name, other ? 'A' : 'Current');
    kept.node.hidden = !other;
    if (other) kept.show(of(other));
    told.replaceChildren(...sentence(kinds.action.n, now, settings, model.data.run.score));
    write(effective, known(now.effective) ? `Effective tokens: ${count(Math.round(now.effective))} of ${count(now.tokens)}.` : '');
  }

  return { node, title, update };
}

/** @param {number} actions @param {Mass} now @param {Settings} settings @param {string} command */
function sentence(actions, now, settings, command) {
  const share = now.mass.action / now.total;
  const what = settings.adv ? 'weight × |advantage|' : 'weight';
  if (!now.tokens) return ['The policy sampled no tokens here.'];
  if (now.total === 0) return [`The total ${what} is 0: there is no gradient.`];
  if (!known(share)) {
    const compute = scoring.isOffered() && settings.signal !== 'nll'
      ? [textButton('Score …', () => scoring.openScoring(), 'af-button af-score', { title: `As ${command} does` })]
      : ['Compute it with ', el('code', '', command), ','];
    return ['Weight ', el('b', 'na', 'unavailable'), `: ${store.signalTitle(settings.signal)} was not recorded. `, ...compute,
      ' or choose another signal, or set β to 0.'];
  }
  return ['Action tokens are ', el('b', '', percent(actions / now.tokens)), ' of the sampled tokens and carry ',
    el('b', 'af-strong', percent(share)), ` of the ${what}.`];
}

/** @param {string} title */
function barRow(title) {
  const name = el('span', 'af-bar-name', title);
  const pieces = KINDS.map((kind) => el('span', `af-piece ${kind}`));
  const track = el('span', 'af-stack', ...pieces);

  /** @param {Mass} result */
  function show({ mass, total }) {
    KINDS.forEach((kind, k) => {
      const share = mass[kind] / total;
      pieces[k].style.width = known(share) ? `${share * 100}%` : '0';
      pieces[k].title = `${kind}: ${percent(share)}`;
      write(pieces[k], share > 0.07 ? percent(share) : '');
    });
    track.classList.toggle('na', !known(total));
  }

  return { node: el('div', 'af-bar-row', name, track), name, show };
}
