/* The tokens as tables of numbers, one per turn. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el, number, visible } = AF.dom;
  const COLUMNS = ['position', 'kind', 'text', 'weight', 'energy', 'entropy', 'surprise', 'shift'];
  const { KIND } = AF.weights;

  function create(onPin) {
    return { node: el('div', 'af-table', { hidden: true, tabIndex: 0 }), onPin };
  }

  function fill(table, model) {
    table.model = model;
    table.cells = [];
    if (!table.node.hidden) build(table);
  }

  function build(table) {
    const { model } = table;
    const spans = [{ k: -1, start: 0, end: model.turnSpans.length ? model.turnSpans[0].start : model.n }, ...model.turnSpans];
    table.cells = new Array(model.n);
    table.node.replaceChildren(...spans.filter((span) => span.end > span.start).map((span) => {
      const rows = [];
      for (let i = span.start; i < span.end; i++) rows.push(row(table, i));
      return el('section', 'af-turn', el('table', '',
        el('caption', '', span.k < 0 ? 'System prompt' : `Turn ${span.k + 1}`),
        el('thead', '', el('tr', '', ...COLUMNS.map((name) => el('th', '', { scope: 'col' }, name)))), el('tbody', '', ...rows)));
    }));
    update(table);
  }

  function row(table, i) {
    const { model } = table;
    const weight = el('td', 'num');
    table.cells[i] = weight;
    const signals = ['energy', 'entropy', 'nll', 'shift'].map((name) => model.signal[name][i]);
    const written = model.kinds[i] >= KIND.REASONING;
    return el('tr', '', { onclick: () => table.onPin(i) }, el('td', 'num', String(i)),
      el('td', '', el('span', `af-kind k${model.shown[i]}`, AF.tokens.NAMES[model.shown[i]])),
      el('td', 'mono', visible(model.text[i])), weight,
      ...signals.map((value) => el('td', written && value === null ? 'num na' : 'num', written ? number(value) : '–')));
  }

  function update(table) {
    if (table.node.hidden) return;
    table.cells.forEach((cell, i) => {
      // A token that was only read has no weight, which differs from a weight of 0.
      const text = table.model.kinds[i] < KIND.REASONING ? '–' : number(table.model.weights[i]);
      if (cell.textContent !== text) cell.textContent = text;
    });
  }

  function toggle(table, on) {
    table.node.hidden = !on;
    if (on) build(table);
    else table.node.replaceChildren();
  }

  AF.table = { create, fill, update, toggle };
})(self);
