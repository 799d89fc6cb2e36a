/* The open trajectory: the columns that the server sent, and what follows from them whatever the settings. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { KIND, sigmoid } = AF.weights;
  const { tokens } = AF;
  const WIDEST = 1.5; // the weight scale's least maximum, so that it is the same under all presets

  /* The payload's columns, and what does not depend on the settings. */
  function model(data) {
    const t = data.tokens;
    const m = {
      data, n: t.text.length, text: t.text, ids: t.id, kinds: t.kind, turn: t.turn, logprob: t.logprob,
      refLogprob: t.ref_logprob, policyEntropy: t.policy_entropy, alternatives: data.alternatives, turns: data.turns,
      trajectory: data.trajectory, batch: data.batch, advantage: data.batch.advantage, advantageMax: data.batch.advantage_max,
      signal: { energy: t.energy, entropy: t.entropy, nll: t.nll, shift: t.shift }, ranges: data.batch.ranges,
      weights: new Float64Array(0), weightTop: WIDEST,
    };
    m.shown = tokens.shownKinds(t.kind, t.turn, data.turns);
    m.turnSpans = [];
    for (let i = 0; i < m.n; i++) {
      const last = m.turnSpans[m.turnSpans.length - 1];
      if (m.turn[i] < 0) continue;
      if (last && last.k === m.turn[i]) last.end = i + 1;
      else m.turnSpans.push({ k: m.turn[i], start: i, end: i + 1 });
    }
    const A = Math.abs(m.advantage);
    const counts = (kind) => { const n = t.kind.filter((k) => k === kind).length; return { n, a1: n * A, a2: n * A * A }; };
    m.ownKinds = { reasoning: counts(KIND.REASONING), action: counts(KIND.ACTION), format: counts(KIND.FORMAT) };
    m.statsOf = (s) => { const scopes = m.batch.signals[s.signal]; return scopes ? scopes[s.scope] : null; };
    m.sumsOf = (s) => { const stats = m.statsOf(s); return stats && stats.sums; };
    m.ownSumsOf = (s) => ownSums(m, s, A);
    return m;
  }

  /* The sums over this trajectory, in the same form as the batch's. */
  function ownSums(m, s, A) {
    const stats = m.statsOf(s);
    if (!stats) return null;
    let s1 = 0;
    let s2 = 0;
    for (let i = 0; i < m.n; i++) {
      if (m.kinds[i] !== KIND.ACTION) continue;
      const value = sigmoid((m.signal[s.signal][i] - stats.mu) / stats.sigma);
      s1 += value;
      s2 += value * value;
    }
    return { s1, s2, a1: A * s1, b1: A * A * s1, b2: A * A * s2 };
  }

  AF.traceModel = Object.assign(model, { WIDEST });
})(self);
