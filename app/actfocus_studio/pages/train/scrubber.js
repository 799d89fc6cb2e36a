/* One evaluation prompt at every evaluated step: a slider over steps, and the rollout shaded as on the Trace page. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el } = AF.dom;
  const STEP_MS = 900;

  /* `found`: the server's answer; `open(id, step)` opens the rollout on the Trace page. Returns the panel. */
  function create(found, title, open) {
    const steps = found.steps;
    const top = Math.max(...steps.flatMap((s) => s.weight || [1]).filter(Number.isFinite), 1e-9);
    const box = el('div', 'af-overtime-text af-text');
    const summary = el('p', 'af-overtime-told');
    summary.setAttribute('aria-live', 'polite');
    const slider = el('input', '', { type: 'range', min: 0, max: steps.length - 1, step: 1, value: steps.length - 1, oninput: () => at(+slider.value) });
    slider.setAttribute('aria-label', 'Evaluated step');
    const play = el('button', 'af-button', { type: 'button', onclick: toggle }, 'Play');
    const look = el('button', 'af-link', { type: 'button', onclick: () => open(steps[place].id, steps[place].step) }, 'Open in Trace');
    const strip = el('div', 'af-overtime-strip', ...steps.map((s, k) => {
      const cell = el('button', 'af-cell', { type: 'button', title: `step ${s.step}`, onclick: () => at(k) }, s.success === null ? '?' : `${Math.round(100 * s.success)}`);
      cell.style.setProperty('--share', s.success || 0);
      return cell;
    }));
    const node = el('section', 'af-overtime', el('h4', '', `Prompt ${found.prompt} over time: ${title}`),
      el('p', 'af-quiet', found.weighted
        ? 'First rollout at each evaluated step, shaded by weight under the scheme of this run. Energy is that of the frozen reference; μ and σ are over the rollouts shown here. Cells: success rate over all rollouts of the prompt in %.'
        : 'First rollout at each evaluated step. Weights unavailable: the scheme of this run needs signals that evaluations do not have. Cells: success rate over all rollouts of the prompt in %.'),
      strip, el('p', 'af-overtime-tools', slider, play, look), summary, box);
    let place = -1;
    let timer = null;

    function at(k) {
      place = k;
      slider.value = k;
      slider.setAttribute('aria-valuetext', `step ${steps[k].step}`);
      [...strip.children].forEach((cell, i) => cell.classList.toggle('on', i === k));
      const s = steps[k];
      const before = k ? steps[k - 1] : null;
      const share = (x) => (x.share === null ? 'unavailable' : `${Math.round(100 * x.share)} %`);
      summary.textContent = `Step ${s.step}: ${s.own === null ? 'success unknown' : s.own ? 'success' : 'no success'}, return ${s.return === null ? 'unavailable' : s.return.toFixed(2)}, `
        + `${s.turns.length} turn${s.turns.length === 1 ? '' : 's'}; ${share(s)} of the weight on action tokens`
        + (before ? `. ${changed(before, s)}` : '.');
      const model = { n: s.text.length, text: s.text, kinds: s.kind, turn: s.turn, turns: s.turns, weights: s.weight || s.text.map(() => NaN), weightTop: top,
        shown: AF.tokens.shownKinds(s.kind, s.turn, s.turns) };
      const view = AF.tokens.build(box, model, () => {}, () => {});
      AF.tokens.paint(view, 'weight');
    }

    function toggle() {
      if (timer) return halt();
      play.textContent = 'Pause';
      if (place === steps.length - 1) at(0);
      timer = setInterval(() => {
        if (!node.isConnected || place === steps.length - 1) return halt();
        at(place + 1);
      }, STEP_MS);
    }

    function halt() {
      clearInterval(timer);
      timer = null;
      play.textContent = 'Play';
    }

    at(steps.length - 1);
    return node;
  }

  /* The first turn whose actions differ from those at the previous evaluated step. */
  function changed(before, now) {
    const line = (turn) => (turn ? turn.actions.join(', ') || 'no action' : 'end of the episode');
    const count = Math.max(before.turns.length, now.turns.length);
    for (let k = 0; k < count; k++) {
      const [a, b] = [line(before.turns[k]), line(now.turns[k])];
      if (a !== b) return `First change since step ${before.step}: turn ${k + 1}, ${a} → ${b}.`;
    }
    return `Same actions as at step ${before.step}.`;
  }

  AF.scrubber = { create };
})(self);
