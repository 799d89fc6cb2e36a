/* The rollouts of one group as ribbons, one below the other, to spot the unusual one. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el, number } = AF.dom;
  const { KIND, tokenWeight } = AF.weights;
  const NAMES = { 3: 'reasoning', 4: 'action', 5: 'format' };
  const HEIGHT = 14;
  const ODD = 1.5; // times the median length, or its inverse: labelled as long or short

  function create(onOpen) {
    return { node: el('ol', 'af-ribbons'), onOpen, rows: [] };
  }

  function fill(ribbons, rollouts) {
    const signs = oddities(rollouts);
    ribbons.longest = Math.max(1, ...rollouts.map((r) => r.kinds.length));
    ribbons.rows = rollouts.map((r, i) => {
      const canvas = el('canvas', 'af-ribbon-tokens');
      canvas.setAttribute('aria-hidden', 'true');
      const track = el('span', 'af-ribbon-track', canvas);
      const node = el('button', 'af-ribbon', { type: 'button', title: `${r.id}: open it in Trace`, onclick: () => ribbons.onOpen(r) },
        el('span', 'af-ribbon-name', `rollout ${r.rollout}`), track,
        el('span', `af-ribbon-end${r.success ? ' won' : ''}`, `${r.success ? '✓' : r.success === null ? '?' : '·'} ${number(r.return, 2)}`),
        el('span', 'af-ribbon-more', el('span', 'af-ribbon-actions', r.actions.map((turn) => turn.join(' ') || '–').join(' | ')),
          el('span', 'af-ribbon-odd', signs[i])));
      node.setAttribute('aria-label', spoken(r, signs[i]));
      return { r, node, track, canvas };
    });
    ribbons.node.replaceChildren(...ribbons.rows.map((row) => el('li', '', row.node)));
  }

  const count = (r, kind) => r.kinds.split(String(kind)).length - 1;

  function spoken(r, sign) {
    return `Rollout ${r.rollout}: ${AF.dom.outcome(r.success)}, return ${number(r.return, 2)}, ${r.actions.length} turns, `
      + `${count(r, KIND.ACTION)} action and ${count(r, KIND.REASONING)} reasoning tokens${r.malformed ? `, ${r.malformed} turns malformed or illegal` : ''}`
      + `${sign ? `, ${sign}` : ''}. Open it in Trace.`;
  }

  /* What distinguishes a rollout from the others of its group. */
  function oddities(rollouts) {
    const won = rollouts.filter((r) => r.success).length;
    const lost = rollouts.filter((r) => r.success === false).length;
    const known = won + lost === rollouts.length;
    const lengths = rollouts.map((r) => r.kinds.length).sort((a, b) => a - b);
    const middle = lengths[Math.floor(lengths.length / 2)];
    return rollouts.map((r) => [
      known && rollouts.length > 2 && r.success && won === 1 && 'the only success',
      known && rollouts.length > 2 && !r.success && lost === 1 && 'the only failure',
      rollouts.length > 2 && r.kinds.length > ODD * middle && 'longer than most',
      rollouts.length > 2 && r.kinds.length < middle / ODD && 'shorter than most',
      r.malformed && `${r.malformed} malformed or illegal`, r.truncated && 'truncated',
    ].filter(Boolean).join(', '));
  }

  /* The weights of a rollout's response tokens under these settings; NaN where the signal is missing. */
  function weights(r, s) {
    const values = r.signals[s.signal];
    const scopes = r.stats[s.signal];
    const stats = scopes && scopes[s.scope];
    const out = new Float64Array(r.kinds.length);
    let k = 0;
    for (let i = 0; i < out.length; i++) {
      const kind = +r.kinds[i];
      out[i] = tokenWeight(kind, kind === KIND.ACTION && values ? values[k++] : null, stats, s.alpha, s.beta);
    }
    return out;
  }

  /* Paint all ribbons on one scale; `by`: kind or weight. */
  function paint(ribbons, by, settings, top) {
    const { kinds, dark } = AF.plots.theme();
    const scale = root.devicePixelRatio || 1;
    const blue = dark ? '86, 180, 233' : '0, 114, 178';
    for (const { r, track, canvas } of ribbons.rows) {
      const width = track.clientWidth * (r.kinds.length / ribbons.longest);
      if (!width) continue;
      canvas.width = Math.max(1, Math.round(width * scale));
      canvas.height = HEIGHT * scale;
      canvas.style.width = `${width}px`;
      const pen = canvas.getContext('2d');
      const w = by === 'weight' ? weights(r, settings) : null;
      const each = canvas.width / r.kinds.length;
      for (let i = 0; i < r.kinds.length; i++) {
        pen.fillStyle = w ? (Number.isFinite(w[i]) ? `rgba(${blue}, ${0.06 + 0.85 * Math.min(1, w[i] / top)})` : 'transparent') : kinds[NAMES[r.kinds[i]]];
        const left = Math.floor(i * each);
        pen.fillRect(left, 0, Math.max(1, Math.floor((i + 1) * each) - left), canvas.height);
      }
      // A gap where a new turn begins.
      for (const at of r.turns) pen.clearRect(Math.round(at * each) - scale, 0, 2 * scale, canvas.height);
    }
  }

  AF.ribbons = { create, fill, paint, weights };
})(self);
