/* The gradient share by kind, for the batch and for the trajectory: a sentence and stacked bars. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el, percent } = AF.dom;
  const { massByKind } = AF.weights;
  const KINDS = ['action', 'reasoning', 'format'];

  function create() {
    const mass = { panels: [panel('Batch'), panel('This trajectory')] };
    mass.node = el('section', 'af-mass', ...mass.panels.map((p) => p.node));
    mass.node.setAttribute('aria-label', 'Gradient share');
    return mass;
  }

  /* A panel is built once; a slider only changes texts and widths. */
  function panel(title) {
    const parts = { title: el('h2', ''), sentence: el('p', 'af-sentence'), effective: el('p', 'af-effective'), bars: {} };
    parts.title.textContent = title;
    const rows = ['Uniform', 'A', 'B'].map((name) => {
      const bar = { name: el('span', 'af-bar-name', name), pieces: {} };
      bar.track = el('span', 'af-stack', ...KINDS.map((kind) => (bar.pieces[kind] = el('span', `af-piece ${kind}`))));
      bar.node = el('div', 'af-bar-row', bar.name, bar.track);
      parts.bars[name] = bar;
      return bar.node;
    });
    parts.node = el('div', 'af-panel', parts.title, parts.sentence, el('div', 'af-bars', ...rows), parts.effective);
    return parts;
  }

  function fill(mass, model) {
    mass.panels[0].title.textContent = `Batch: ${model.batch.trajectories} trajectories`;
    mass.panels[1].title.textContent = 'This trajectory';
  }

  function update(mass, model) {
    const { settings } = AF.store;
    const kept = AF.store.kept();
    for (const [part, kinds, sumsOf] of [[mass.panels[0], model.batch.kinds, model.sumsOf],
      [mass.panels[1], model.ownKinds, model.ownSumsOf]]) {
      const of = (s) => massByKind(kinds, sumsOf(s), s.alpha, s.beta, s.adv);
      const now = of(settings);
      const even = massByKind(kinds, null, 1, 0, settings.adv);
      bar(part.bars.Uniform, even);
      bar(part.bars.A, now);
      part.bars.B.node.hidden = !kept;
      if (kept) bar(part.bars.B, of(kept));
      sentence(part.sentence, kinds, now, settings, model.data.run.score);
      write(part.bars.A.name, 'textContent', kept ? 'A' : 'Current');
      write(part.effective, 'textContent', Number.isFinite(now.effective)
        ? `Effective tokens: ${Math.round(now.effective).toLocaleString('en')} `
          + `of ${now.tokens.toLocaleString('en')}.` : '');
    }
  }

  function sentence(node, kinds, now, settings, command) {
    const share = now.mass.action / now.total;
    const what = settings.adv ? 'weight × |advantage|' : 'weight';
    if (!now.tokens) node.textContent = 'The policy sampled no tokens here.';
    else if (now.total === 0) node.textContent = `The total ${what} is 0: there is no gradient.`;
    else if (!Number.isFinite(share)) {
      node.replaceChildren('Weight ', el('b', 'na', 'unavailable'),
        `: ${AF.store.signalTitle(settings.signal)} was not recorded. Compute it with `, el('code', '', command), ', choose another signal, or set β to 0.');
    } else {
      node.replaceChildren('Action tokens are ', el('b', '', percent(kinds.action.n / now.tokens)),
        ' of the sampled tokens and carry ', el('b', 'af-strong', percent(share)), ` of the ${what}.`);
    }
  }

  /* Equal text is not written again, which would cost a layout. */
  const write = (node, name, text) => { if (node[name] !== text) node[name] = text; };

  function bar(row, result) {
    for (const kind of KINDS) {
      const share = result.mass[kind] / result.total;
      const piece = row.pieces[kind];
      const text = percent(share);
      piece.style.width = Number.isFinite(share) ? `${share * 100}%` : '0';
      write(piece, 'textContent', share > 0.07 ? text : '');
      write(piece, 'title', `${kind}: ${text}`);
    }
    row.track.classList.toggle('na', !Number.isFinite(result.total));
  }

  AF.gradientShare = { create, fill, update };
})(self);
