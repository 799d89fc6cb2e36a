/* The pinned token: its numbers, and its term of the loss. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el, number, visible } = AF.dom;
  const { KIND } = AF.weights;

  const ROLE = {
    system: 'Task description.', user: 'Observation from the environment.',
    template: 'Chat template, not sampled.', reasoning: 'Sampled by the policy: reasoning.', action: 'Sampled by the policy: an action.',
    format: 'Sampled by the policy: a tag or white space.', malformed: 'Sampled by the policy outside the answer format: not an action.',
  };

  function create() {
    const node = el('aside', 'af-inspector');
    node.setAttribute('aria-label', 'Pinned token');
    return { node };
  }

  function empty(inspector) {
    inspector.node.replaceChildren(el('div', 'af-hint', el('b', '', 'No token pinned'),
      el('p', '', 'Click a token, or press ] for the next high-weight token.')));
  }

  function show(inspector, model, i) {
    const name = AF.tokens.NAMES[model.shown[i]];
    const written = model.kinds[i] >= KIND.REASONING;
    const facts = [
      ['id', String(model.ids[i])], ['position', `${i} of ${model.n}`],
      ['turn', model.turn[i] < 0 ? 'before the first' : String(model.turn[i] + 1)],
    ];
    inspector.node.replaceChildren(...[
      el('div', 'af-pinned', el('span', `af-token k${model.shown[i]}`, visible(model.text[i]) || '(adds no text)'),
        el('span', `af-kind k${model.shown[i]}`, name)),
      el('p', 'af-quiet', ROLE[name]),
      list(facts),
      !written && el('p', 'af-hint', 'The policy read this token and did not sample it: it is not in the loss and has no weight.'),
      written && section('Weight', list(weightFacts(model, i))),
      written && section('Log-probability and entropy (nats)', list(probabilityFacts(model, i))),
      written && section('Top next tokens of the reference', alternatives(model, i)),
      written && section('Loss term', equation(model, i)),
    ].filter(Boolean));
  }

  const section = (title, body) => el('section', '', el('h3', '', title), body);

  function list(facts) {
    return el('dl', 'af-facts', ...facts.flatMap(([name, value, title]) => [
      el('dt', '', title ? { title } : null, name),
      el('dd', value === 'unavailable' ? 'na' : '', value)]));
  }

  function weightFacts(model, i) {
    const { settings } = AF.store;
    const value = model.signal[settings.signal][i];
    const stats = model.stats;
    const z = stats && value !== null ? (value - stats.mu) / stats.sigma : null;
    const w = model.weights[i];
    const share = settings.adv ? w * Math.abs(model.advantage) / model.mass.total : w / model.mass.total;
    return [
      [AF.store.signalTitle(settings.signal), number(value), 'the signal that raises the weight of an action token'],
      ['z', number(z, 2), 'the signal, standardised over action tokens: (signal − μ) / σ'],
      ['weight w', number(w)],
      ['gradient share', Number.isFinite(share) ? `${(share * 100).toPrecision(3)} %` : 'unavailable',
        'of the total weight of the batch'],
      ['advantage A', number(model.advantage), 'the trajectory’s return, standardised over its group'],
    ];
  }

  function probabilityFacts(model, i) {
    const [policy, reference] = [model.logprob[i], model.refLogprob[i]];
    return [
      ['log-prob, policy', number(policy)], ['log-prob, reference', number(reference)],
      ['entropy, policy', number(model.policyEntropy[i])], ['entropy, reference', number(model.signal.entropy[i])],
      ['energy, reference', number(model.signal.energy[i])],
      ['ratio ρ', '1.000', 'probability under the updated policy over that under the sampling policy: 1 before an update'],
    ];
  }

  function alternatives(model, i) {
    const top = model.alternatives;
    if (!top || !top.texts[i].length) return el('p', 'na', 'unavailable');
    const rows = top.texts[i].map((text, k) => ({ text, p: Math.exp(top.logprobs[i][k]), own: top.ids[i][k] === model.ids[i] }));
    if (!rows.some((row) => row.own) && model.refLogprob[i] !== null) {
      rows.push({ text: model.text[i], p: Math.exp(model.refLogprob[i]), own: true });
    }
    return el('div', 'af-top', ...rows.map((row) => {
      const bar = el('span', 'af-top-bar');
      bar.style.width = `${Math.max(row.p * 100, 0.5)}%`;
      return el('div', row.own ? 'af-top-row own' : 'af-top-row', { title: row.own ? 'the token that was sampled' : '' },
        el('span', 'af-top-text', visible(row.text) || '∅'), el('span', 'af-top-track', bar),
        el('span', 'af-top-p', row.p < 0.001 ? '<0.1 %' : `${(row.p * 100).toFixed(1)} %`));
    }));
  }

  /* -(w / sum w) min(rho A, clip(rho) A), with its numbers; rho is 1 under the policy that sampled. */
  function equation(model, i) {
    const w = model.weights[i];
    const total = model.plainMass.total;
    const A = model.advantage;
    const term = -(w / total) * A;
    const known = Number.isFinite(term);
    const box = el('div', 'af-equation',
      el('div', '', '− (w / Σw) · min(ρA, clip(ρ)A)'),
      el('div', known ? '' : 'na', known
        ? `= − (${number(w)} / ${total.toFixed(1)}) · min(${number(A)}, ${number(A)})` : 'unavailable'));
    if (known) box.append(el('div', 'af-result', `= ${term === 0 ? '0' : term.toExponential(2).replace(/-/g, '−').replace('e+0', '')}`));
    box.append(el('p', 'af-quiet', A === 0
      ? 'A = 0: all rollouts of this group have the same return, so there is no gradient.'
      : 'ρ = 1 under the policy that sampled the rollout, so clipping is inactive. Σw is over the batch.'));
    return box;
  }

  AF.inspector = { create, empty, show };
})(self);
