/* One update on one trajectory, step by step: nine steps, each swept over the tokens in about a second. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el, number, percent } = AF.dom;
  const { KIND } = AF.weights;
  const { tokens, panes } = AF;
  const SWEEP_MS = 1000;
  const KINDS = ['reasoning', 'action', 'format'];

  const short = (x) => AF.replay.short(x);
  const small = (x) => (!Number.isFinite(x) ? '–' : x === 0 ? '0' : Math.abs(x) < 0.01 ? x.toExponential(1).replace(/-/g, '−') : number(x, 3));
  const still = () => root.matchMedia('(prefers-reduced-motion: reduce)').matches;
  const peak = (values) => Math.max(...values.map((x) => Math.abs(x || 0)), 1e-12);

  /* key, title; `summary`: what happens, with its numbers; `values`: one per token; `shade`: value -> -1 .. 1;
     `line`: the step for one token, as a line of arithmetic. */
  const STAGES = [
    { key: 'rollout', title: 'Rollout', unit: 'log-prob', summary: (d) => {
      const written = count(d);
      return [`The policy acted for ${d.pane.turns.length - 1} turns and sampled ${written} of these ${d.pane.text.length} tokens. A stronger colour marks a lower log-probability.`];
    }, values: (d) => d.steps.rollout.logprobs, shade: (v, top) => -v / top, line: (d, i) => `log π(y) = ${number(d.steps.rollout.logprobs[i])}` },
    { key: 'rewards', title: 'Rewards', unit: 'reward of the turn', summary: (d) => {
      const r = d.steps.rewards;
      const group = Object.values(r.group);
      return ['Rewards of the turns: ', el('b', '', r.turns.map((t) => AF.label.signed(t.reward + t.penalty)).join(', ')), '. The return is ', el('b', 'af-strong', number(r.return, 2)),
        `. Returns of the ${group.length} rollouts of this prompt: ${group.map((x) => number(x, 1)).join(', ')}.`];
    }, values: (d) => d.pane.turn.map((k, i) => (written(d, i) ? d.steps.rewards.turns[k].reward + d.steps.rewards.turns[k].penalty : null)), shade: (v, top) => v / top,
    line: (d) => `R = ${number(d.steps.rewards.return, 2)}` },
    { key: 'advantages', title: 'Advantages', unit: 'advantage', summary: (d) => {
      const group = Object.values(d.steps.rewards.group);
      const mean = group.reduce((a, b) => a + b, 0) / group.length;
      const std = Math.sqrt(group.reduce((a, x) => a + (x - mean) ** 2, 0) / group.length);
      const values = d.steps.advantages.values.filter((x) => x !== null);
      if (Math.max(...values) - Math.min(...values) > 1e-6) return ['The advantage: how much better than expected the outcome was. Under this scheme it differs between tokens.'];
      if (std < 1e-9) return ['All rollouts of the group have the same return: the advantage is ', el('b', '', '0'), ', so this trajectory contributes no gradient.'];
      return [`Within its group: A = (R − mean) / std = (${number(d.steps.rewards.return, 2)} − ${number(mean, 2)}) / ${number(std, 2)} = `, el('b', 'af-strong', number(values[0], 2)),
        ', the same for every token. ', values[0] < 0 ? 'Below the mean: the update lowers the probability of its tokens.' : 'Above the mean: the update raises the probability of its tokens.'];
    }, values: (d) => d.steps.advantages.values, shade: (v, top) => v / top, line: (d, i) => `A = ${number(d.steps.advantages.values[i], 2)}` },
    { key: 'energies', title: 'Energies', unit: 'energy', summary: (d) => (d.steps.energies
      ? [`The frozen reference scores every token. Its ${AF.store.signalTitle(d.steps.energies.signal) || d.steps.energies.signal} measures its uncertainty; a stronger colour is a higher value.`]
      : [`${AF.whatif.title(d.scheme)} uses no signal: this step does not apply.`]),
    values: (d) => d.steps.energies && d.steps.energies.values, shade: (v, top, low) => (v - low) / Math.max(top - low, 1e-9), whole: true,
    line: (d, i) => d.steps.energies && `${d.steps.energies.signal === 'energy' ? 'E' : d.steps.energies.signal} = ${number(d.steps.energies.values[i])}` },
    { key: 'z', title: 'z', unit: 'z', summary: (d) => (d.steps.z
      ? [`Action tokens only: z = (E − μ) / σ with μ = ${number(d.steps.z.mean)} and σ = ${number(d.steps.z.std)} over the ${d.steps.z.count.toLocaleString('en')} action tokens of the batch.`]
      : [`${AF.whatif.title(d.scheme)} standardises no signal: this step does not apply.`]),
    values: (d) => d.steps.z && d.steps.z.values, shade: (v, top) => v / top, line: (d, i) => d.steps.z && d.steps.z.values[i] !== null && `z = ${number(d.steps.z.values[i], 2)}` },
    { key: 'weights', title: 'Weights', unit: 'weight', summary: (d) => {
      const p = d.params;
      if (!d.steps.weights.sigmoid) return ['The scheme gives every token its weight.'];
      return ['Reasoning tokens weigh α', p.alpha === undefined ? '' : ` = ${number(p.alpha, 2)}`, ', action tokens 1 + β · sigmoid(z)', p.beta === undefined ? '.' : ` with β = ${number(p.beta, 2)}.`];
    }, values: (d) => d.steps.weights.values, shade: (v, top) => v / Math.max(top, 1), line: (d, i) => `w = ${number(d.steps.weights.values[i])}` },
    { key: 'loss', title: 'Loss term', unit: '−w A / Z', summary: (d) => [`The token’s loss term at ratio 1: −w · A / Z, where Z = ${number(d.steps.loss.divisor, 1)} is the sum of weights of the mini-batch. Blue raises the probability of a token, brown lowers it.`],
      values: (d) => d.steps.loss.values, shade: (v, top) => -v / top, line: (d, i) => `−w A / Z = ${small(d.steps.loss.values[i])}` },
    { key: 'mass', title: 'Gradient share', unit: 'share of |w A|', summary: (d) => {
      const own = d.steps.mass.values.reduce((a, b) => a + (b || 0), 0);
      return ['|w A| as a share of its sum over the batch. This trajectory has ', el('b', 'af-strong', percent(own)), `, as one of ${d.trajectories}.`];
    }, values: (d) => d.steps.mass.values, shade: (v, top) => v / top, sum: true, line: (d, i) => `|w A| / Σ = ${small(d.steps.mass.values[i])}` },
    { key: 'logprobs', title: 'New log-probs', unit: 'change of log-prob', summary: (d) => [`The optimiser steps at learning rate ${d.lr.toPrecision(2)}: gradient norm ${short(d.gradient_norm)}, norm of the parameter change ${short(d.update_norm)}. The log-probabilities of these tokens change accordingly. `,
      'A token’s probability also changes through the gradients of other tokens.'],
    values: (d) => d.steps.logprobs.change, shade: (v, top) => v / top, line: (d, i) => `log π(y) = ${number(d.steps.logprobs.before[i])} → ${number(d.steps.logprobs.after[i])} (${AF.replay.signed(d.steps.logprobs.change[i])})` },
  ];

  const written = (d, i) => d.pane.kind[i] >= KIND.REASONING;
  const count = (d) => d.pane.kind.filter((k) => k >= KIND.REASONING).length;

  /* `on.stage(n)`: step n is shown. */
  function draw(d, on) {
    const m = { d, stage: -1, frame: 0, on, focus: d.pane.kind.indexOf(KIND.ACTION) };
    if (m.focus < 0) m.focus = d.pane.kind.findIndex((k) => k >= KIND.REASONING);
    m.tabs = STAGES.map((stage, n) => el('button', 'af-stage-tab', { type: 'button', onclick: () => go(m, n) }, el('span', 'af-stage-n', String(n + 1)), stage.title));
    m.sentence = el('p', 'af-sentence');
    m.live = el('p', 'af-spoken');
    m.live.setAttribute('aria-live', 'polite');
    m.bar = el('span', 'af-sweep');
    m.table = el('div', 'af-wide', { tabIndex: 0 });
    m.table.setAttribute('role', 'region');
    m.table.setAttribute('aria-label', 'The step by kind');
    m.chain = el('ol', 'af-chain');
    m.token = el('p', 'af-readout');
    m.pane = panes.create(`Rollout ${d.pane.rollout} of group ${d.pane.group}`, `return ${number(d.pane.return, 2)}, ${AF.dom.outcome(d.pane.success)}`, d.pane);
    m.pane.model.signed.fill(0);
    m.pane.model.signedTop = 1;
    const group = panes.link([m.pane], (from, to, i) => i, (p, i) => { m.focus = i; chain(m); });
    m.back = el('button', 'af-button', { type: 'button', onclick: () => go(m, m.stage - 1) }, '← Back');
    m.next = el('button', 'af-button primary', { type: 'button', onclick: () => go(m, m.stage + 1) }, 'Next →');
    const list = el('ol', 'af-stages', ...m.tabs.map((node) => el('li', '', node)));
    m.group = group;
    m.nodes = [el('div', 'af-motion-head', el('h3', '', `One update under ${AF.whatif.title(d.scheme)}, step by step`), el('span', 'af-player', m.back, m.next, el('span', 'af-quiet', '← → · Space repeats'))),
      list, m.bar, m.sentence, el('div', 'af-legend', tokens.kindKeys(m.pane.model.shown)), el('div', 'af-motion', m.pane.node, el('aside', 'af-motion-side', el('h3', '', 'One token'), m.token, m.chain, m.table)), m.live];
    return m;
  }

  /* Go to a step; its values appear token by token. */
  function go(m, n, again = false) {
    if (n < 0 || n >= STAGES.length || (n === m.stage && !again)) return;
    m.stage = n;
    const stage = STAGES[n];
    m.tabs.forEach((node, k) => { node.classList.toggle('on', k === n); node.classList.toggle('done', k < n); if (k === n) node.setAttribute('aria-current', 'step'); else node.removeAttribute('aria-current'); });
    m.back.disabled = n === 0;
    m.next.disabled = n === STAGES.length - 1;
    m.sentence.replaceChildren(el('b', '', `${n + 1}. ${stage.title}. `), ...stage.summary(m.d));
    m.live.textContent = m.sentence.textContent;
    byKind(m, stage);
    chain(m);
    sweep(m, shades(m.d, stage));
    m.on.stage(n);
  }

  function shades(d, stage) {
    const values = stage.values(d);
    if (!values) return null;
    const known = values.filter((x, i) => x !== null && written(d, i));
    const low = known.length ? known.reduce((a, b) => Math.min(a, b)) : 0;
    const top = stage.whole ? known.reduce((a, b) => Math.max(a, b), low) : peak(known);
    return Float64Array.from(values, (v) => (v === null ? 0 : stage.shade(v, top, low)));
  }

  function sweep(m, to) {
    const { signed } = m.pane.model;
    const target = to || new Float64Array(signed.length);
    root.cancelAnimationFrame(m.frame);
    const began = performance.now();
    let reached = 0;
    function paint(share) {
      const end = Math.ceil(share * signed.length);
      for (; reached < end; reached++) signed[reached] = target[reached];
      tokens.paint(m.pane.view, 'signed');
      m.bar.style.transform = `scaleX(${share})`;
      m.done = share === 1;
    }
    m.done = false;
    if (still()) return paint(1);
    (function frame() {
      const share = Math.min((performance.now() - began) / SWEEP_MS, 1);
      paint(share);
      if (share < 1) m.frame = root.requestAnimationFrame(frame);
    })();
    return undefined;
  }

  /* The arithmetic of one token up to this step, one line per step. */
  function chain(m) {
    const { d, focus: i } = m;
    if (i < 0) return;
    tokens.hot(m.pane.view, i);
    m.token.replaceChildren(...panes.name(m.pane, i));
    const lines = written(d, i) ? STAGES.slice(0, m.stage + 1).map((stage) => [stage.title, stage.line(d, i)]).filter(([, line]) => line) : [];
    m.chain.replaceChildren(...lines.map(([title, line], k) => {
      const node = el('li', '', el('span', 'af-quiet', title), el('code', '', line));
      node.classList.toggle('now', k === lines.length - 1);
      return node;
    }));
    if (!written(d, i)) m.chain.replaceChildren(el('li', '', 'Read by the policy, not sampled: not in the loss.'));
  }

  function byKind(m, stage) {
    const values = stage.values(m.d);
    if (!values) {
      m.table.replaceChildren();
      return;
    }
    const rows = KINDS.map((kind) => {
      const own = values.filter((x, i) => m.d.pane.kind[i] === KIND[kind.toUpperCase()] && x !== null);
      const sum = own.reduce((a, b) => a + b, 0);
      return [kind, own.length, own.length ? small(sum / own.length) : '–', own.length ? small(sum) : '–'];
    });
    m.table.replaceChildren(el('table', '', el('caption', '', `This trajectory: ${stage.unit}`),
      el('thead', '', el('tr', '', ...['kind', 'tokens', 'mean', 'sum'].map((name) => el('th', '', { scope: 'col' }, name)))),
      el('tbody', '', ...rows.map(([kind, ...cells]) => el('tr', '', el('th', '', { scope: 'row' }, kind), ...cells.map((text) => el('td', 'num', String(text))))))));
  }

  /* Handle a key; returns whether it did. */
  function key(m, name) {
    const to = { ArrowRight: m.stage + 1, ArrowLeft: m.stage - 1, Home: 0, End: STAGES.length - 1 }[name];
    if (to !== undefined) go(m, to);
    else if (name === ' ') go(m, m.stage, true);
    else return false;
    return true;
  }

  AF.motion = { draw, go, key, STAGES: STAGES.map((stage) => stage.key), SWEEP_MS };
})(self);
