/* The Groups page: the action bottleneck, its confounder, the returns, the groups and their rollouts. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el, number, percent, perFrame } = AF.dom;
  const { store, plots, ribbons } = AF;
  const PARTS = [['all', 'All response tokens'], ['reasoning', 'Reasoning tokens'], ['action', 'Action tokens']];
  const MEASURES = { energy: 'energy', centred_energy: 'centred energy (not in the paper)', entropy: 'entropy of the reference', policy_entropy: 'entropy of the policy (not in the paper)' };
  const OVERS = { step: 'this step', all: 'all steps' };
  const KEEPS = { '': 'default', 0.1: '10 %', 0.25: '25 %', 0.5: '50 %', 0.75: '75 %' };
  const ROWS = 400;
  const COLUMNS = [['label', 'group'], ['rollouts', 'rollouts'], ['mean_return', 'mean return'], ['success', 'success'], ['sigma', 'σ of returns'],
    ['all', 'mean, all'], ['reasoning', 'reasoning'], ['action', 'action'], ['kept', 'filter']];

  const page = { built: false, key: '', data: null, brush: null, open: null, order: ['sigma', -1], revision: 0 };
  const channel = AF.channel((text) => say(text));

  // --- building the page -----------------------------------------------------------------------

  function mount(element, props) {
    page.figure = JSON.parse(props.figure);
    page.alert = el('p', 'af-alert', { hidden: true });
    page.alert.setAttribute('role', 'alert');
    page.empty = el('div', 'af-empty', 'Loading …');
    page.live = el('p', 'af-spoken');
    page.live.setAttribute('aria-live', 'polite');
    page.bar = controls();
    page.body = el('div', 'af-pagebody', { hidden: true }, charts(), opened(), table());
    element.className += ' af-page af-groups';
    element.replaceChildren(page.alert, page.bar, page.empty, page.body, page.live);
    page.built = true;
    store.onTab(wake);
    store.onPlace(() => { if (!store.place.run) page.empty.textContent = 'No run is open.'; wake(); });
    store.on(later);
    AF.frame.onTheme(later);
    new ResizeObserver(later).observe(page.body);
    wake();
  }

  function pick(label, options, name, then) {
    const node = el('select', '', { onchange: () => { store.place[name] = node.value; store.remember(); then(); } },
      ...Object.entries(options).map(([value, text]) => el('option', '', { value }, text)));
    node.setAttribute('aria-label', label);
    page[`${name}Pick`] = node;
    return el('label', 'af-pick', el('span', 'af-quiet', label), node);
  }

  function controls() {
    page.facts = el('span', 'af-quiet');
    return el('div', 'af-pagebar', pick('Signal', MEASURES, 'measure', redraw), pick('Groups of', OVERS, 'over', wake),
      pick('StarPO-S filter keeps', KEEPS, 'keep', wake), page.facts);
  }

  function chart(title, cls = '') {
    const c = { title: el('h3', '', title), summary: el('p', 'af-chart-told'), plot: el('div', 'af-chart-plot'), more: el('p', 'af-quiet') };
    c.node = el('section', `af-chart ${cls}`, c.title, c.summary, c.plot, c.more);
    c.node.setAttribute('aria-label', title);
    return c;
  }

  function charts() {
    page.scatters = PARTS.map(([part, title]) => ({ part, ...chart(title) }));
    page.confound = chart('Confounder: σ against success rate');
    page.returns = chart('Returns of the rollouts');
    page.returns.summary.textContent = 'Click a bar to select the groups with a rollout of that return.';
    page.numbers = el('div', 'af-scroll');
    page.bars = el('div', 'af-scroll');
    return el('div', '',
      el('p', 'af-lead', 'Does the standard deviation σ of a group’s returns increase with the reference’s uncertainty about its actions? '
        + 'Each point is a group: the rollouts of one prompt. Drag to select points (double-click to clear), click one to open it.'),
      el('div', 'af-charts three', ...page.scatters.map((c) => c.node)),
      el('div', 'af-charts two', page.confound.node, page.returns.node),
      el('p', 'af-quiet', 'Filled: kept by the filter. Hollow: dropped. Cross: all returns are equal, so the advantage is 0 and there is no gradient. '
        + 'The line is a least-squares fit with a 95 % bootstrap band, as a guide to the eye. ρ is Spearman’s rank correlation.'),
      el('details', 'af-tables', el('summary', '', 'The numbers as tables'), page.numbers, page.bars));
  }

  function opened() {
    page.group = el('section', 'af-chart af-open', { hidden: true });
    page.ribbons = ribbons.create((r) => { AF.frame.tab('Trace'); AF.go({ run: page.source.run, reference: page.source.reference, filter: 'all', trajectory: r.id }); });
    page.groupTitle = el('h3', '');
    page.groupTitle.tabIndex = -1;
    page.groupSummary = el('p', 'af-chart-told');
    page.groupKey = el('p', 'af-ribbon-key');
    page.by = el('span', 'af-segments', { role: 'radiogroup' }, ...[['kind', 'Kind'], ['weight', 'Weight']].map(([name, title]) => {
      const node = el('button', 'af-segment', { type: 'button', onclick: () => { store.place.ribbons = name; store.remember(); paint(); } }, title);
      node.setAttribute('role', 'radio');
      node.dataset.by = name;
      return node;
    }));
    page.by.setAttribute('aria-label', 'Colour of the ribbons');
    page.by.onkeydown = (event) => {
      if (!['ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown'].includes(event.key)) return;
      event.preventDefault();
      event.stopPropagation();
      const other = [...page.by.children].find((node) => node.dataset.by !== store.place.ribbons);
      other.click();
      other.focus();
    };
    page.group.append(el('div', 'af-open-head', page.groupTitle, page.by, AF.dom.button('af-tool', '×', 'Close the group', () => open(null))),
      page.groupSummary, page.ribbons.node, page.groupKey);
    return page.group;
  }

  function table() {
    page.chosen = el('p', 'af-chosen');
    page.rows = el('tbody', '');
    page.heads = COLUMNS.map(([name, title]) => {
      const node = el('th', name === 'label' ? '' : 'num', { scope: 'col' }, el('button', 'af-sort', { type: 'button', onclick: () => sort(name) }, title));
      node.dataset.column = name;
      return node;
    });
    return el('section', 'af-chart', page.chosen, el('div', 'af-scroll', el('table', 'af-grid',
      el('caption', '', 'Groups'), el('thead', '', el('tr', '', ...page.heads)), page.rows)));
  }

  // --- requests --------------------------------------------------------------------------------------

  /* Request what the address says, once the page is visible and a run is open. */
  function wake() {
    if (!page.built || store.place.tab !== 'groups' || !store.place.run) return;
    if (page.data) page.measurePick.value = store.place.measure;
    const { run, reference, step, over, keep } = store.place;
    const request = { op: 'groups', run, reference, step, over, keep };
    const key = JSON.stringify(over === 'step' ? request : { ...request, step: null });
    if (key === page.key) return;
    const whose = JSON.stringify([run, reference, over, over === 'step' ? step : null]);
    const other = whose !== page.whose;
    const first = page.whose === undefined;
    Object.assign(page, { key, whose });
    if (other) {
      page.brush = null;
      if (!first) store.place.group = '';
    }
    channel.ask(request, ({ groups }) => { if (key === page.key) show(groups, other, request); });
  }

  function say(text) {
    page.alert.textContent = text;
    page.alert.hidden = !text;
    if (!text) return;
    page.key = '';
    if (page.data && page.shown === page.whose) return;
    // The page shows other groups than those requested.
    page.data = null;
    page.body.hidden = true;
    page.empty.hidden = false;
    page.empty.textContent = 'No groups to show.';
    page.facts.textContent = '';
  }

  function show(data, other, source) {
    page.data = data;
    page.source = source;
    page.shown = page.whose;
    page.empty.hidden = true;
    page.body.hidden = false;
    page.revision += 1;
    for (const name of ['measure', 'over', 'keep']) page[`${name}Pick`].value = store.place[name];
    for (const option of page.measurePick.options) {
      option.disabled = data.missing.includes(option.value);
      option.textContent = MEASURES[option.value] + (option.disabled ? ': unavailable' : '');
    }
    for (const option of page.keepPick.options) if (!option.value) option.textContent = `${data.own ? 'as in the run' : KEEPS['']}${store.place.keep ? '' : ` (${percent(data.keep)})`}`;
    const [from, to, count, all] = data.steps;
    page.facts.textContent = `${data.groups.label.length} groups, ${data.rollouts.return.length} rollouts, `
      + (count > 1 ? `steps ${from} to ${to}${count < all ? `: the last ${count} of ${all}` : ''}` : `step ${from}`)
      + (data.unscored ? `; ${data.unscored} without a return are left out` : '');
    page.bins = bins(data.rollouts);
    redraw();
    if (other) {
      const at = data.groups.label.indexOf(store.place.group);
      if (store.place.group && at < 0) AF.frame.say('The group in the address is not in this run.');
      open(at < 0 ? null : at, false);
    }
  }

  // --- drawing ---------------------------------------------------------------------------------------

  const later = perFrame(() => { if (page.data && store.place.tab === 'groups' && page.body.offsetWidth) { draw(); paint(); } });

  function redraw() {
    if (!page.data) return;
    words();
    fillTable();
    later();
  }

  const column = (part) => page.data.groups[`${store.place.measure}_${part}`];
  const row = (part) => page.data.correlations.find((r) => r.signal === store.place.measure && r.part === part);
  const range = (value, low, high) => (value === null ? 'unavailable' : `${number(value, 2)} [${number(low, 2)}, ${number(high, 2)}]`);
  const pvalue = (p) => (p === null ? 'unavailable' : p < 0.001 ? p.toExponential(0).replace('-', '−') : p.toFixed(3));

  function words() {
    const { data } = page;
    for (const c of page.scatters) {
      const r = row(c.part);
      c.summary.replaceChildren();
      c.more.textContent = '';
      if (!r) {
        c.summary.textContent = `${MEASURES[store.place.measure]}: unavailable. It was not recorded; actfocus score computes the signals of a reference.`;
      } else if (r.why) {
        c.summary.append(el('b', '', 'No ρ: '), `${r.why}${r.n < data.least ? `; at least ${data.least} are needed for a correlation` : ''}.`);
      } else {
        c.summary.append(el('b', '', `ρ ${range(r.rho, r.low, r.high)}`), ` n = ${r.n}, p = ${pvalue(r.p)}`);
        c.more.textContent = `Controlling for success rate: ${range(r.partial, r.partial_low, r.partial_high)}`
          + (r.partial_spread === null ? '' : `; for p and p(1 − p): ${number(r.partial_spread, 2)}`);
      }
    }
    const { confound } = data;
    const { summary } = page.confound;
    if (confound.rho_success === null && confound.rho_spread === null) summary.textContent = `No ρ: fewer than ${data.least} groups, or no variation.`;
    else summary.replaceChildren(el('b', '', `ρ ${number(confound.rho_success, 2)}`), ' with the success rate p, ', el('b', '', number(confound.rho_spread, 2)), ' with p(1 − p)');
    page.confound.more.textContent = confound.binary
      ? 'Returns take two values here, so σ is a function of the success rate p: what correlates with σ correlates with the difficulty of the prompt.'
      : 'σ depends on the success rate of a group; above, the correlation is also given with the success rate held fixed.';
    numbersTable();
  }

  /* The success rate of group i over the rollouts of which it is known, and how many are not. */
  function rate(i) {
    const { success, unknown_success: unknown } = page.data.groups;
    return success[i] === null ? 'unknown' : `${percent(success[i])}${unknown[i] ? ` (${unknown[i]} unknown)` : ''}`;
  }

  const { draw, bins } = AF.groupCharts(page, { MEASURES, column, row, rate, clicked, brushed, brush });

  // --- selecting -----------------------------------------------------------------------------------

  function clicked(plot, point) {
    if (point.customdata === undefined) return;
    if (plot === page.returns.plot) bin(point.customdata);
    else if (point.customdata.length === 1) open(point.customdata[0]);
    else brush({ groups: new Set(point.customdata), text: `success ${percent(point.x)}, σ ${number(point.y, 3)}` });
  }

  function brushed(plot, points) {
    const groups = new Set(points.flatMap((point) => (Array.isArray(point.customdata) ? point.customdata : [])));
    // An empty box selects nothing; removing a box fires the same event.
    if (groups.size) brush({ groups, text: 'in the selection' });
  }

  function bin(k) {
    if (page.brush && page.brush.bin === k) return brush(null);
    const b = page.bins[k];
    return brush({ groups: b.groups, bin: k, text: `a return of ${b.text} (${b.rollouts} rollouts)` });
  }

  /* `selection`: {groups, text}, or null for all. */
  function brush(chosen) {
    page.brush = chosen;
    page.revision += 1; // the box that was drawn goes away; the points chosen stay bright
    fillTable();
    later();
  }

  // --- tables ----------------------------------------------------------------------------------------

  const value = (name, i) => {
    const { groups } = page.data;
    if (name === 'kept') return page.data.kept[i] ? 1 : 0;
    const values = name in groups ? groups[name] : column(name);
    return values ? values[i] : null;
  };

  function sort(name) {
    page.order = [name, page.order[0] === name ? -page.order[1] : name === 'label' ? 1 : -1];
    fillTable();
  }

  function fillTable() {
    if (!page.data) return;
    const { groups } = page.data;
    const [by, way] = page.order;
    const chosen = groups.label.map((_, i) => i).filter((i) => !page.brush || page.brush.groups.has(i));
    // Unavailable values come last in both orders.
    chosen.sort((a, b) => {
      const [x, y] = [value(by, a), value(by, b)];
      if (x === null || y === null) return (x === null) - (y === null);
      return way * (x < y ? -1 : x > y ? 1 : 0);
    });
    page.chosen.replaceChildren(...(page.brush ? [el('b', '', `${chosen.length} of ${groups.label.length} groups`), `: ${page.brush.text} `,
      el('button', 'af-link', { type: 'button', onclick: () => brush(null) }, 'show all')] : ['All groups. Open one to see its rollouts.']));
    page.live.textContent = page.brush ? `${chosen.length} groups selected` : '';
    for (const node of page.heads) node.setAttribute('aria-sort', node.dataset.column === by ? (way > 0 ? 'ascending' : 'descending') : 'none');
    page.rows.replaceChildren(...chosen.slice(0, ROWS).map(tableRow));
    if (chosen.length > ROWS) page.rows.append(el('tr', '', el('td', '', { colSpan: COLUMNS.length }, `and ${chosen.length - ROWS} more: select some in a chart`)));
  }

  function tableRow(i) {
    const { groups, kept } = page.data;
    const flat = groups.sigma[i] === 0;
    const node = el('tr', i === page.open ? 'on' : '', el('td', '', el('button', 'af-link', { type: 'button', onclick: () => open(i) }, groups.label[i])),
      el('td', 'num', String(groups.rollouts[i])), el('td', 'num', number(groups.mean_return[i], 2)), el('td', 'num', rate(i)),
      el('td', 'num', number(groups.sigma[i], 3), flat ? el('span', 'af-badge', { title: 'all returns are equal: the advantage is 0, so there is no gradient' }, 'zero variance') : ''),
      ...PARTS.map(([part]) => el('td', 'num', number(value(part, i), 3))), el('td', 'num', kept[i] ? 'kept' : 'dropped'));
    if (i === page.open) node.setAttribute('aria-current', 'true');
    return node;
  }

  const grid = (caption, head, rows) => el('table', 'af-grid', el('caption', '', caption),
    el('thead', '', el('tr', '', ...head.map((text, k) => el('th', k ? 'num' : '', { scope: 'col' }, text)))),
    el('tbody', '', ...rows.map((cells) => el('tr', '', ...cells.map((cell, k) => el('td', k ? 'num' : '', cell))))));

  function numbersTable() {
    const { data } = page;
    page.numbers.replaceChildren(grid('Standard deviation σ of returns against the mean signal: Spearman’s ρ over groups, 95 % bootstrap intervals',
      ['signal, tokens', 'n', 'ρ', 'p', 'ρ with success', 'controlling for success rate', 'controlling for p and p(1 − p)'],
      data.correlations.map((r) => [`${MEASURES[r.signal]}, ${r.part}`, String(r.n), r.why || range(r.rho, r.low, r.high), ...(r.why ? ['–', '–', '–', '–']
        : [pvalue(r.p), number(r.rho_success, 2), range(r.partial, r.partial_low, r.partial_high), number(r.partial_spread, 2)])])));
    page.bars.replaceChildren(grid('Returns of the rollouts', ['return', 'rollouts', 'groups', ''],
      page.bins.map((b, k) => [b.text, String(b.rollouts), String(b.groups.size), el('button', 'af-link', { type: 'button', onclick: () => bin(k) }, 'select')])));
  }

  // --- one group -------------------------------------------------------------------------------------

  /* Open group i, or none; `move`: scroll to it. */
  function open(i, move = true) {
    const { groups } = page.data;
    page.open = i;
    store.place.group = i === null ? '' : groups.label[i];
    store.remember();
    page.group.hidden = i === null;
    fillTable();
    later();
    if (i === null) return;
    page.groupTitle.textContent = `Group ${groups.label[i]}`;
    page.groupSummary.textContent = 'Loading …';
    page.ribbons.node.replaceChildren();
    page.ribbons.rows = [];
    const { run, reference } = page.source;
    channel.ask({ op: 'ribbons', run, reference, step: groups.step[i], group: groups.name[i] }, (data) => {
      if (page.open !== i) return;
      page.groupSummary.textContent = `${groups.rollouts[i]} rollouts, success ${rate(i)}, mean return ${number(groups.mean_return[i], 2)}, `
        + `σ ${number(groups.sigma[i], 3)}${groups.sigma[i] === 0 ? ' (zero variance: no gradient)' : ''}; ${page.data.kept[i] ? 'kept' : 'dropped'} by the filter. `
        + 'Each ribbon shows the sampled tokens of a rollout; a gap starts a new turn. Click one to open it in Trace.';
      ribbons.fill(page.ribbons, data.ribbons);
      paint();
      if (move) page.group.scrollIntoView({ behavior: AF.dom.smooth(), block: 'nearest' });
    });
  }

  function paint() {
    if (page.group.hidden || !page.group.offsetWidth) return;
    const by = store.place.ribbons;
    for (const node of page.by.children) {
      node.setAttribute('aria-checked', String(node.dataset.by === by));
      node.tabIndex = node.dataset.by === by ? 0 : -1;
    }
    const { settings } = store;
    ribbons.paint(page.ribbons, by, settings, Math.max(1.5, 1 + settings.beta));
    const lacking = by === 'weight' && settings.beta > 0 && page.ribbons.rows.some(({ r }) => !r.signals[settings.signal] || !r.stats[settings.signal]);
    page.groupKey.replaceChildren(...(by === 'kind'
      ? ['reasoning', 'action', 'format'].map((kind) => el('span', `af-swatch ${kind}`, kind))
      : [`Brighter tokens have a higher weight: ${store.describe(settings)}.`, lacking ? el('span', 'af-badge', `${store.signalTitle(settings.signal)} unavailable: actions have no weight`) : '']));
  }

  /* `state` is for debugging: nothing on the page depends on it. */
  AF.groups = { mount, answer: channel.answer, link: channel.link, state: page };
})(self);
