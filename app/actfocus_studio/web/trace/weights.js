/* The weights of method.md section 3 and the mass they give, as pure functions.

   The twin of actfocus_core/credit/weights.py: the tests hold the two together to 1e-6.
   Kinds are numbers, as in TokenKind. Runs in a browser and in Node. */
(function (root) {
  'use strict';

  const KIND = { SYSTEM: 0, USER: 1, TEMPLATE: 2, REASONING: 3, ACTION: 4, FORMAT: 5 };

  /* 1 / (1 + exp(-z)) without overflow. */
  function sigmoid(z) {
    return 0.5 * (1 + Math.tanh(0.5 * z));
  }

  /* The weight of one token. NaN: an action without the signal that beta asks for. */
  function tokenWeight(kind, value, stats, alpha, beta) {
    if (kind < KIND.REASONING) return 0;
    if (kind !== KIND.ACTION) return alpha;
    if (beta === 0) return 1;
    if (!stats || value === null) return NaN;
    return 1 + beta * sigmoid((value - stats.mu) / stats.sigma);
  }

  /* The weights of all tokens, as Float64Array. `stats`: {mu, sigma}, or null. */
  function tokenWeights(kinds, values, stats, alpha, beta) {
    const out = new Float64Array(kinds.length);
    for (let i = 0; i < kinds.length; i++) out[i] = tokenWeight(kinds[i], values[i], stats, alpha, beta);
    return out;
  }

  /* Mass by kind, in all, and the effective number of tokens (sum m)^2 / sum m^2.
     `kinds`: kind -> {n, a1, a2}; `sums` of the sigmoid over the actions (data/batch_cache.py), or null;
     `byAdvantage`: mass is w |A| and not w. NaN where beta asks for a signal that is not there. */
  function massByKind(kinds, sums, alpha, beta, byAdvantage) {
    const first = byAdvantage ? 'a1' : 'n';
    const second = byAdvantage ? 'a2' : 'n';
    const { reasoning, action, format } = kinds;
    const s = sums || { s1: NaN, s2: NaN, a1: NaN, b1: NaN, b2: NaN };
    const [s1, t1, t2] = byAdvantage ? [s.a1, s.b1, s.b2] : [s.s1, s.s1, s.s2];
    const boost = beta === 0 ? 0 : beta * s1;
    const square = beta === 0 ? 0 : 2 * beta * t1 + beta * beta * t2;
    const mass = {
      reasoning: alpha * reasoning[first],
      action: action[first] + boost,
      format: alpha * format[first],
    };
    const total = mass.reasoning + mass.action + mass.format;
    const squares = alpha * alpha * (reasoning[second] + format[second]) + action[second] + square;
    const tokens = reasoning.n + action.n + format.n;
    return { mass, total, tokens, effective: squares > 0 ? total * total / squares : squares === 0 ? 0 : NaN };
  }

  const weights = { KIND, sigmoid, tokenWeight, tokenWeights, massByKind };
  if (typeof module === 'object' && module.exports) module.exports = weights;
  else {
    root.ActFocus = root.ActFocus || {};
    root.ActFocus.weights = weights;
  }
})(typeof self === 'undefined' ? this : self);
