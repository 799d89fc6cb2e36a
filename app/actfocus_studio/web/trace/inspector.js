/* The pinned token: everything that is known of it, and its term of the loss. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el, number, visible } = AF.dom;
  const { KIND } = AF.weights;

  const ROLE = {
    system: 'Part of the task description.', user: 'Part of what the environment said.',
    template: 'Part of the chat template, never sampled.', reasoning: 'The policy, thinking.', action: 'The policy, acting.',
    format: 'The policy: a tag, or the space between.', malformed: 'The policy, outside the format: not an action.',
  };

  function create() {
    const node = el('aside', 'af-inspector');
    node.setAttribute('aria-label', 'The pinned token');
    return { node };
  }

  function empty(inspector) {
    inspector.node.replaceChildren(el('div', 'af-hint', el('b', '', 'No token pinned'),
      el('p', '', 'Click a token, or press ] for the next heavy one.')));
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
      !written && el('p', 'af-hint', 'The policy read this token and did not write it: it is not in the loss and has no weight.'),
      written && section('Weight', list(weightFacts(model, i))),
      written && section('Probability', list(probabilityFacts(model, i))),
      written && section('The reference’s next tokens', alternatives(model, i)),
      written && section('Its term of the loss', equation(model, i)),
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
      [AF.store.signalTitle(settings.signal), number(value), 'the signal that beta boosts actions by'],
      ['z', number(z, 2), 'the signal, against the mean and spread of action tokens'],
      ['weight w', number(w)],
      ['share of batch', Number.isFinite(share) ? `${(share * 100).toPrecision(3)} %` : 'unavailable',
        'of the gradient mass of the whole batch'],
      ['advantage A', number(model.advantage), 'how much better than its group the trajectory did'],
    ];
  }

  function probabilityFacts(model, i) {
    const [own, ref] = [model.logprob[i], model.refLogprob[i]];
    return [
      ['log-prob, policy', number(own)], ['log-prob, reference', number(ref)],
      ['entropy, policy', number(model.policyEntropy[i])], ['entropy, reference', number(model.signal.entropy[i])],
      ['energy, reference', number(model.signal.energy[i])],
      ['ratio ρ', '1.000', 'new over old probability: 1 on the policy that rolled out, before an update'],
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

  /* -(w / sum w) min(rho A, clip(rho) A), with the numbers in it; rho is 1 on the rollout policy. */
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
      ? 'A is 0: every rollout of this group had the same return, so nothing is learned from it.'
      : 'ρ is 1 on the policy that rolled out, so clipping does nothing yet. Σw runs over the batch.'));
    return box;
  }

  AF.inspector = { create, empty, show };
})(self);
