/* An edited trajectory, scored again, beside the original. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el, number, percent } = AF.dom;
  const { KIND } = AF.weights;
  const { tokens, panes } = AF;
  const MODES = [['credit', 'Credit'], ['weight', 'Weight'], ['energy', 'Energy'], ['kind', 'Kind']];
  const KINDS = ['reasoning', 'action', 'format'];
  const chosen = { mode: 'credit', scheme: 'actfocus' };

  function draw(what, titles) {
    const { result } = what;
    const names = Object.keys(what.panes[0].schemes);
    if (!names.includes(chosen.scheme)) [chosen.scheme] = names;
    const readout = el('p', 'af-readout', 'Hover over a token, or move with the arrow keys.');
    const live = el('div', 'af-spoken');
    live.setAttribute('aria-live', 'polite');
    const shown = [panes.create('Original', `“${result.replaced}”`, what.panes[0]), panes.create('Edited', `“${result.text}”`, what.panes[1])];
    const [start, stop] = result.span;
    const counterpart = (from, to, i) => {
      if (from === to || i < start) return i;
      const j = from === shown[0] ? i + result.shift : i - result.shift;
      return i >= (from === shown[0] ? stop : result.new_span[1]) ? j : null;
    };
    const group = panes.link(shown, counterpart, (p, i) => {
      readout.replaceChildren(...panes.name(p, i), p.model.kinds[i] < KIND.REASONING ? 'read by the policy, not sampled'
        : shown.map((other) => numbers(other, counterpart(p, other, i))).join(' · '));
      live.textContent = readout.textContent;
    });
    shown.forEach((p, k) => {
      const [from, to] = k ? result.new_span : result.span;
      for (let i = from; i < to; i++) p.view.spans[i].classList.add('af-edited');
    });
    const legend = el('div', 'af-legend');
    const repaint = () => { paint(what, shown); legend.replaceChildren(...ramp(what, shown), tokens.kindKeys(shown.flatMap((p) => p.model.shown))); };
    repaint();
    root.requestAnimationFrame(() => panes.reveal(group, shown[0], start));
    return { group, nodes: [el('p', 'af-sentence', ...sentence(what)), tables(what, titles),
      el('div', 'af-tools', modes(repaint), pick(names, titles, repaint)), el('div', 'af-sticky', legend, readout), el('div', 'af-panes', ...shown.map((p) => p.node)), live] };
  }

  function numbers(p, i) {
    if (i === null) return `${p.title} –`;
    const s = p.data.schemes[chosen.scheme];
    return `${p.title} energy ${number(p.data.energy[i], 2)}, weight ${number(s && s.weight[i], 2)}, credit ${scientific(s && s.credit[i])}`;
  }

  const scientific = (x) => (Number.isFinite(x) ? (x === 0 ? '0' : x.toExponential(1).replace(/-/g, '−')) : 'unavailable');

  function sentence({ result }) {
    const [before, after] = result.energy.span;
    const later = result.energy.later;
    const parts = [el('b', '', `“${result.replaced}”`), ' → ', el('b', '', `“${result.text}”`), ` (${result.span[1] - result.span[0]} tokens → ${result.new_span[1] - result.new_span[0]}). `];
    if (before !== null || after !== null) parts.push(`Mean energy of the span ${number(before, 2)} → ${number(after, 2)}`);
    if (later[0] !== null) parts.push(`; of the tokens after it ${number(later[0], 2)} → ${number(later[1], 2)}`);
    return [...parts, before !== null || later[0] !== null ? '.' : ''];
  }

  function tables({ result }, titles) {
    const rows = Object.entries(result.schemes).map(([name, row]) => (row.missing.length
      ? el('tr', '', el('th', '', titles[name]), el('td', '', { colSpan: 4 }, `unavailable: no ${row.missing.join(', ')}`))
      : el('tr', '', el('th', '', { scope: 'row' }, titles[name]), ...KINDS.map((kind) => el('td', 'num', `${percent(row.share[0][kind] ?? 0)} → ${percent(row.share[1][kind] ?? 0)}`)),
        el('td', 'num', `${scientific(row.credit[0])} → ${scientific(row.credit[1])}`))));
    return el('div', 'af-wide', { tabIndex: 0 }, el('table', '', el('caption', '', 'Share of the trajectory’s weight by kind, and total credit'),
      el('thead', '', el('tr', '', ...['scheme', ...KINDS, 'Σ |credit|'].map((name) => el('th', '', { scope: 'col' }, name)))), el('tbody', '', ...rows)));
  }

  function modes(repaint) {
    const node = el('div', 'af-segments', { role: 'radiogroup' }, ...MODES.map(([name, title]) => {
      const one = el('button', 'af-segment', { type: 'button', onclick: () => { chosen.mode = name; show(); repaint(); } }, title);
      one.dataset.mode = name;
      one.setAttribute('role', 'radio');
      return one;
    }));
    node.setAttribute('aria-label', 'Colour by');
    const show = () => { for (const one of node.children) { one.setAttribute('aria-checked', String(one.dataset.mode === chosen.mode)); one.tabIndex = one.dataset.mode === chosen.mode ? 0 : -1; } };
    node.onkeydown = (event) => {
      const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      const names = MODES.map(([name]) => name);
      node.children[(names.indexOf(chosen.mode) + step + names.length) % names.length].click();
      node.querySelector('[aria-checked=true]').focus();
    };
    show();
    return node;
  }

  function pick(names, titles, repaint) {
    const select = el('select', '', { onchange: () => { chosen.scheme = select.value; repaint(); } }, ...names.map((name) => el('option', '', { value: name }, titles[name])));
    select.value = chosen.scheme;
    select.setAttribute('aria-label', 'Scheme');
    return select;
  }

  function paint(what, shown) {
    const top = Math.max(...shown.flatMap((p) => (p.data.schemes[chosen.scheme] || { credit: [] }).credit.map((x) => Math.abs(x || 0))), 1e-12);
    for (const p of shown) {
      const s = p.data.schemes[chosen.scheme];
      const values = (name) => Float64Array.from(p.data.text, (_, i) => (s && s[name][i] !== null ? s[name][i] : NaN));
      Object.assign(p.model, { signed: values('credit'), signedTop: top, weights: values('weight') });
      p.model.ranges.energy = what.range;
      tokens.forget(p.view);
      tokens.paint(p.view, chosen.mode === 'credit' ? 'signed' : chosen.mode);
    }
  }

  function ramp(what, shown) {
    const strip = (low, high, cls, text) => [el('span', 'af-ramp', el('span', 'af-ramp-end', low), el('span', `af-ramp-bar ${cls}`), el('span', 'af-ramp-end', high), el('span', 'af-quiet', text))];
    if (chosen.mode === 'kind') return [];
    if (chosen.mode === 'weight') return strip('0', '1.5', 'weight', 'weight');
    if (chosen.mode === 'energy') return what.range ? strip(number(what.range[0], 1), number(what.range[1], 1), 'signal', 'energy') : [];
    const top = scientific(shown[0].model.signedTop);
    return strip(`−${top}`, `+${top}`, 'credit', 'effective credit: blue more likely, brown less likely');
  }

  AF.edit = { draw };
})(self);
