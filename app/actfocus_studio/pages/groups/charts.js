/* The charts of the Groups page: spread of returns against a signal, against the success rate, and the returns. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { number, percent } = AF.dom;
  const { store, plots } = AF;
  const DISTINCT = 12; // up to so many distinct returns get a bar each
  const BINS = 12;
  const SIZE = 9;

  /* `page`: the state of the page. `column` and `row` give the values and the correlation of a kind of token, `rate` the
     success rate of a group; `clicked`, `brushed` and `brush` answer the mouse. */
  function charts(page, { MEASURES, column, row, rate, clicked, brushed, brush }) {
    function draw() {
      plots.ready(() => {
        if (!page.body.offsetWidth) return;
        for (const c of page.scatters) scatter(c);
        confound();
        histogram();
      });
    }

    const react = (plot, traces, layout) => {
      if (!plots.draw(plot, traces, layout) || plot.heard) return;
      plot.heard = true;
      plot.on('plotly_click', (event) => clicked(plot, event.points[0]));
      plot.on('plotly_selected', (event) => event && brushed(plot, event.points));
      // Not on deselect events, which redrawing fires as well.
      plot.on('plotly_doubleclick', () => brush(null));
    };

    /* Symbols: kept, dropped, zero variance. */
    const symbols = () => page.data.kept.map((kept, i) => (page.data.groups.sigma[i] === 0 ? 'x-thin' : kept ? 'circle' : 'circle-open'));

    function scatter(c) {
      const { data } = page;
      const { groups } = data;
      const t = plots.theme();
      const x = column(c.part) || groups.sigma.map(() => null);
      const band = data.bands[`${store.place.measure}_${c.part}`];
      const guide = band ? [
        { x: band.x, y: band.low, mode: 'lines', line: { width: 0 }, hoverinfo: 'skip' },
        { x: band.x, y: band.high, mode: 'lines', line: { width: 0 }, fill: 'tonexty', fillcolor: t.dark ? 'rgba(86,180,233,0.13)' : 'rgba(0,114,178,0.1)', hoverinfo: 'skip' },
        { x: band.x, y: band.y, mode: 'lines', line: { width: 1.3, color: t.muted, dash: 'dot' }, hoverinfo: 'skip' }] : [];
      const points = { x, y: groups.sigma, mode: 'markers', customdata: groups.label.map((_, i) => [i]),
        text: groups.label.map((label, i) => `${plots.plain(label)}<br>σ ${number(groups.sigma[i], 3)}, mean ${number(x[i], 3)}<br>success ${rate(i)}`),
        hovertemplate: '%{text}<extra></extra>', selectedpoints: page.brush ? [...page.brush.groups] : null, unselected: { marker: { opacity: 0.15 } },
        marker: { size: groups.label.map((_, i) => (i === page.open ? SIZE + 6 : SIZE)), symbol: symbols(),
          color: groups.label.map((_, i) => (i === page.open ? '#d55e00' : t.accent)),
          line: { width: 1.6, color: groups.label.map((_, i) => (i === page.open ? '#d55e00' : t.accent)) } } };
      react(c.plot, [...guide, points], plots.layout(page.figure, { height: 250, dragmode: 'select', selections: [], selectionrevision: page.revision, uirevision: 'groups',
        x: { text: `mean ${MEASURES[store.place.measure].replace(' (not in the paper)', '')}`, showticklabels: Boolean(row(c.part)) }, y: { text: 'σ of returns', range: [-0.04 * top(), top()] } }));
    }

    const top = () => 1.1 * Math.max(0.05, ...page.data.groups.sigma);

    /* Groups at the same place become one point, with an area for their number: with 0/1 returns many coincide. */
    function confound() {
      const { groups } = page.data;
      const t = plots.theme();
      const places = new Map();
      groups.sigma.forEach((sigma, i) => {
        if (groups.success[i] === null) return;
        const key = `${groups.success[i].toFixed(6)} ${sigma.toFixed(6)}`;
        places.set(key, [...(places.get(key) || []), i]);
      });
      const at = [...places.values()];
      const chosen = page.brush ? at.map((g, k) => [g, k]).filter(([g]) => g.some((i) => page.brush.groups.has(i))).map(([, k]) => k) : null;
      const points = { x: at.map((g) => groups.success[g[0]]), y: at.map((g) => groups.sigma[g[0]]), mode: 'markers', customdata: at,
        text: at.map((g) => `${g.length} group${g.length > 1 ? 's' : ''}<br>success ${percent(groups.success[g[0]])}, σ ${number(groups.sigma[g[0]], 3)}`),
        hovertemplate: '%{text}<extra></extra>', selectedpoints: chosen, unselected: { marker: { opacity: 0.15 } },
        marker: { size: at.map((g) => Math.min(30, 6 + 4 * Math.sqrt(g.length))), color: at.map((g) => (g.includes(page.open) ? '#d55e00' : t.accent)), opacity: 0.8 } };
      react(page.confound.plot, [...curve(t), points], plots.layout(page.figure, { height: 250, dragmode: 'select', selections: [], selectionrevision: page.revision, uirevision: 'groups',
        x: { text: 'success rate p of the group', range: [-0.05, 1.05], tickformat: '.0%' }, y: { text: 'σ of returns', range: [-0.04 * top(), top()] } }));
    }

    /* If success determines the return, sigma is (high − low) √(p(1 − p)). */
    function curve(t) {
      const { groups, rollouts } = page.data;
      const values = [...new Set(rollouts.return)];
      const wide = Math.max(...values) - Math.min(...values);
      const of = (p) => wide * Math.sqrt(p * (1 - p));
      if (values.length !== 2 || groups.sigma.some((sigma, i) => groups.success[i] === null || Math.abs(sigma - of(groups.success[i])) > 1e-6)) return [];
      const p = Array.from({ length: 101 }, (_, i) => i / 100);
      return [{ x: p, y: p.map(of), mode: 'lines', line: { width: 1.3, color: t.muted, dash: 'dot' }, hoverinfo: 'skip' }];
    }

    /* A bar per distinct return if they are few, else equal bins. */
    function bins(rollouts) {
      const values = [...new Set(rollouts.return.map((r) => +r.toFixed(6)))].sort((a, b) => a - b);
      const [low, high] = [values[0], values[values.length - 1]];
      const few = values.length <= DISTINCT;
      const made = few ? values.map((v) => ({ low: v, high: v, text: number(v, 2) }))
        : Array.from({ length: BINS }, (_, k) => [low + (high - low) * k / BINS, low + (high - low) * (k + 1) / BINS])
          .map(([a, b]) => ({ low: a, high: b, text: `${number(a, 2)} to ${number(b, 2)}` }));
      for (const bin of made) Object.assign(bin, { rollouts: 0, groups: new Set() });
      rollouts.return.forEach((r, i) => {
        const k = few ? values.indexOf(+r.toFixed(6)) : Math.min(BINS - 1, Math.floor((r - low) / (high - low) * BINS));
        made[k].rollouts += 1;
        made[k].groups.add(rollouts.group[i]);
      });
      return made;
    }

    function histogram() {
      const t = plots.theme();
      const on = page.bins.map((bin) => !page.brush || page.brush.bin === undefined || page.bins[page.brush.bin] === bin);
      const few = page.bins.every((b) => b.low === b.high);
      const x = page.bins.map((b) => (few ? b.text : (b.low + b.high) / 2));
      const high = 1.15 * Math.max(...page.bins.map((b) => b.rollouts));
      const bars = { type: 'bar', x, y: page.bins.map((b) => b.rollouts), text: page.bins.map((b) => (b.rollouts ? String(b.rollouts) : '')), textposition: 'outside',
        hoverinfo: 'skip', marker: { color: t.accent, opacity: on.map((o) => (o ? 0.85 : 0.2)) } };
      // A bar of one rollout among hundreds is too low to click: an invisible column above it takes the click.
      const columns = { type: 'bar', x, y: page.bins.map((b) => (b.rollouts ? high : 0)), customdata: page.bins.map((_, k) => k), marker: { color: 'rgba(0,0,0,0)' },
        hovertext: page.bins.map((b) => `return ${b.text}: ${b.rollouts} rollout${b.rollouts === 1 ? '' : 's'}`), hovertemplate: '%{hovertext}<extra></extra>' };
      react(page.returns.plot, [bars, columns], plots.layout(page.figure, { height: 250, bargap: 0.12, barmode: 'overlay', uirevision: 'groups',
        x: { text: 'return', type: few ? 'category' : 'linear', showgrid: false, ...(few ? { nticks: 0 } : {}) }, y: { text: 'rollouts', range: [0, high] } }));
    }

    return { draw, bins };
  }

  AF.groupCharts = charts;
})(self);
