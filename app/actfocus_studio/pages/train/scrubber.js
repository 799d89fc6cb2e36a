/* The same evaluation prompt at each step: a slider over the steps, the text as the Trace page paints it. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el } = AF.dom;
  const STEP_MS = 900;

  /* `found`: the server's answer; `open(id, step)` leads to the Trace page. Returns the panel. */
  function create(found, title, open) {
    const steps = found.steps;
    const top = Math.max(...steps.flatMap((s) => s.weight || [1]).filter(Number.isFinite), 1e-9);
    const box = el('div', 'af-overtime-text af-text');
    const told = el('p', 'af-overtime-told');
    told.setAttribute('aria-live', 'polite');
    const slider = el('input', '', { type: 'range', min: 0, max: steps.length - 1, step: 1, value: steps.length - 1, oninput: () => at(+slider.value) });
    slider.setAttribute('aria-label', 'evaluated step');
    const play = el('button', 'af-button', { type: 'button', onclick: toggle }, 'Play');
    const look = el('button', 'af-link', { type: 'button', onclick: () => open(steps[place].id, steps[place].step) }, 'open in Trace');
    const strip = el('div', 'af-overtime-strip', ...steps.map((s, k) => {
      const cell = el('button', 'af-cell', { type: 'button', title: `step ${s.step}`, onclick: () => at(k) }, s.success === null ? '?' : `${Math.round(100 * s.success)}`);
      cell.style.setProperty('--share', s.success || 0);
      return cell;
    }));
    const node = el('section', 'af-overtime', el('h4', '', `Prompt ${found.prompt} over time: ${title}`),
      el('p', 'af-quiet', found.weighted
        ? 'Its first rollout at each evaluated step, shaded by the weight this run’s scheme gives; energies are the frozen reference’s, μ and σ over the rollouts shown here. Below: success of all its rollouts in per cent.'
        : 'Its first rollout at each evaluated step. Weights unavailable: this run’s scheme needs more than these rollouts. Below: success of all its rollouts in per cent.'),
      strip, el('p', 'af-overtime-tools', slider, play, look), told, box);
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
      told.textContent = `Step ${s.step}: ${s.own === null ? 'success unknown' : s.own ? 'success' : 'no success'}, return ${s.return === null ? 'unavailable' : s.return.toFixed(2)}, `
        + `${s.turns.length} turn${s.turns.length === 1 ? '' : 's'}; action tokens carry ${share(s)} of the weight`
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

  /* The first turn whose actions differ from the step before, in words. */
  function changed(before, now) {
    const line = (turn) => (turn ? turn.actions.join(', ') || 'no action' : 'the end');
    const count = Math.max(before.turns.length, now.turns.length);
    for (let k = 0; k < count; k++) {
      const [a, b] = [line(before.turns[k]), line(now.turns[k])];
      if (a !== b) return `First change since step ${before.step} in turn ${k + 1}: ${a} → ${b}.`;
    }
    return `The same actions as at step ${before.step}.`;
  }

  AF.scrubber = { create };
})(self);
