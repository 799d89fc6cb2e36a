/* The pinned token: its numbers, and its term of the loss. */
import { el } from '../lib/dom.js';
import { known, number, UNKNOWN, visible } from '../lib/format.js';
import { store } from '../lib/store.js';
import * as tokens from './tokens.js';

/** @typedef {import('../../pages/trace/model.js').TraceModel} TraceModel */
/** @typedef {[name: string, value: string, help?: string]} Fact */

/** @type {Record<string, string>} */
const ROLE = {
  system: 'Task description.', user: 'Observation from the environment.',
  template: 'Chat template, not sampled.', reasoning: 'Sampled by the policy: reasoning.', action: 'Sampled by the policy: an action.',
  format: 'Sampled by the policy: a tag or white space.', malformed: 'Sampled by the policy outside the answer format: not an action.',
};

const HINT = 'Click a token, or press ] for the next high-weight token.';
const UNSAMPLED = 'The policy read this token and did not sample it: it is not in the loss and has no weight.';

export function createInspector() {
  const node = el('aside', 'af-inspector', { 'aria-label': 'Pinned token' });

  function empty() {
    node.replaceChildren(el('div', 'af-hint', el('b', '', 'No token pinned'), el('p', '', HINT)));
  }

  /** @param {TraceModel} model @param {number} i */
  function show(model, i) {
    const name = tokens.NAMES[model.shown[i]];
    const turn = model.turn[i] < 0 ? 'before the first' : String(model.turn[i] + 1);
    node.replaceChildren(
      el('div', 'af-pinned', el('span', `af-token k${model.shown[i]}`, visible(model.text[i]) || '(adds no text)'),
        el('span', `af-kind k${model.shown[i]}`, name)),
      el('p', 'af-quiet', ROLE[name]),
      list([['id', String(model.ids[i])], ['position', `${i} of ${model.n}`], ['turn', turn]]),
      ...(model.sampled(i) ? sections(model, i) : [el('p', 'af-hint', UNSAMPLED)]));
  }

  empty();
  return { node, empty, show };
}

/** @param {TraceModel} model @param {number} i */
const sections = (model, i) => [
  section('Weight', list(weightFacts(model, i))),
  section('Log-probability and entropy (nats)', list(probabilityFacts(model, i))),
  section('Top next tokens of the reference', alternatives(model, i)),
  section('Loss term', equation(model, i)),
];

/** @param {string} title @param {Node} body */
const section = (title, body) => el('section', '', el('h3', '', title), body);

/** @param {Fact[]} facts */
const list = (facts) => el('dl', 'af-facts', ...facts.flatMap(([name, value, title]) =>
  [el('dt', '', title ? { title } : null, name), el('dd', value === UNKNOWN ? 'na' : '', value)]));

/** @param {TraceModel} model @param {number} i @returns {Fact[]} */
function weightFacts(model, i) {
  const { settings } = store;
  const { stats, advantage, mass } = model;
  const value = model.signal[settings.signal][i];
  const w = model.weights[i];
  const share = (settings.adv ? w * Math.abs(advantage ?? NaN) : w) / mass.total;
  return [
    [store.signalTitle(settings.signal), number(value), 'the signal that raises the weight of an action token'],
    ['z', number(stats ? (value - stats.mu) / stats.sigma : NaN, 2), 'the signal, standardised over action tokens: (signal − μ) / σ'],
    ['weight w', number(w)],
    ['gradient share', known(share) ? `${(share * 100).toPrecision(3)} %` : UNKNOWN, 'of the total weight of the batch'],
    ['advantage A', number(advantage), 'the trajectory’s return, standardised over its group'],
  ];
}

/** @param {TraceModel} model @param {number} i @returns {Fact[]} */
const probabilityFacts = (model, i) => [
  ['log-prob, policy', number(model.logprob[i])], ['log-prob, reference', number(model.refLogprob[i])],
  ['entropy, policy', number(model.policyEntropy[i])], ['entropy, reference', number(model.signal.entropy[i])],
  ['energy, reference', number(model.signal.energy[i])],
  ['ratio ρ', '1.000', 'probability under the updated policy over that under the sampling policy: 1 before an update'],
];

/** @param {TraceModel} model @param {number} i */
function alternatives({ data: { alternatives: top }, ids, text, refLogprob }, i) {
  if (!top || !top.texts[i].length) return el('p', 'na', UNKNOWN);
  const rows = top.texts[i].map((other, k) => ({ text: other, p: Math.exp(top.logprobs[i][k] ?? NaN), own: top.ids[i][k] === ids[i] }));
  if (!rows.some((row) => row.own) && known(refLogprob[i])) rows.push({ text: text[i], p: Math.exp(refLogprob[i]), own: true });
  return el('div', 'af-top', ...rows.map((row) => {
    const bar = el('span', 'af-top-bar');
    bar.style.width = `${Math.max(row.p * 100, 0.5)}%`;
    return el('div', row.own ? 'af-top-row own' : 'af-top-row', { title: row.own ? 'the token that was sampled' : '' },
      el('span', 'af-top-text', visible(row.text) || '∅'), el('span', 'af-top-track', bar),
      el('span', 'af-top-p', row.p < 0.001 ? '<0.1 %' : `${(row.p * 100).toFixed(1)} %`));
  }));
}

/** -(w / sum w) min(rho A, clip(rho) A), with its numbers; rho is 1 under the policy that sampled.
 * @param {TraceModel} model @param {number} i */
function equation({ weights, plainMass: { total }, advantage }, i) {
  const term = -(weights[i] / total) * (advantage ?? NaN);
  const there = known(term);
  const A = number(advantage);
  return el('div', 'af-equation',
    el('div', '', '− (w / Σw) · min(ρA, clip(ρ)A)'),
    el('div', there ? '' : 'na', there ? `= − (${number(weights[i])} / ${total.toFixed(1)}) · min(${A}, ${A})` : UNKNOWN),
    there && el('div', 'af-result', `= ${term === 0 ? '0' : term.toExponential(2).replace(/-/g, '−').replace('e+0', '')}`),
    el('p', 'af-quiet', advantage === 0
      ? 'A = 0: all rollouts of this group have the same return, so there is no gradient.'
      : 'ρ = 1 under the policy that sampled the rollout, so clipping is inactive. Σw is over the batch.'));
}
