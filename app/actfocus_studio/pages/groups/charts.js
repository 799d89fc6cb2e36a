/* The charts of the Groups page: spread of returns against a signal, against the success rate, and the returns. */
import { folded, scrolled, table } from '../../web/lib/components/table.js';
import { el, linkButton } from '../../web/lib/dom.js';
import { counted, interval, number, percent } from '../../web/lib/format.js';
import * as plots from '../../web/lib/plots.js';
import { store } from '../../web/lib/store.js';
import { MEASURES, PARTS, binaryCurve, column, places, pvalue, rate } from './diagnosis.js';

/** @typedef {import('./diagnosis.js').Diagnosis} Diagnosis */
/** @typedef {import('./diagnosis.js').Selection} Selection */
/** @typedef {import('./diagnosis.js').Part} Part */
/** @typedef {import('../../web/generated/types').GroupCorrelation} Correlation */
/** @typedef {import('./diagnosis.js').Bin[]} Bins */
/** `of`: the groups that were asked for; `revision` of the selection.
 * @typedef {{ of: string, source: import('./open_group.js').Source, data: Diagnosis, bins: Bins, brush: Selection | null,
 *   open: number | null, revision: number }} Shown */
/** @typedef {ReturnType<typeof plots.chartCard>} Card */
/** @typedef {Record<'scatter' | 'confound' | 'returns', plots.Figure>} Figures */

const SIZE = 9;
const [COLOUR, OPEN] = ['var(--af-accent)', 'var(--af-malformed)'];

/**
 * @param {Figures} figures
 * @param {{ onOpen: (i: number) => void, onBrush: (selection: Selection | null) => void, onBin: (k: number) => void }} listeners
 */
export function groupCharts(figures, { onOpen, onBrush, onBin }) {
  const scatters = PARTS.map(([part, title]) => ({ part, card: plots.chartCard(title) }));
  const confound = plots.chartCard('Confounder: σ against success rate');
  const returns = plots.chartCard('Returns of the rollouts');
  returns.told.textContent = 'Click a bar to select the groups with a rollout of that return.';
  const correlations = scrolled();
  const bars = scrolled();

  // --- in words ------------------------------------------------------------------------------------

  /** @param {Shown} shown */
  function update({ data, bins }) {
    for (const { part, card } of scatters) tell(card, correlation(data, part), data.least);
    tellConfound(data);
    correlations.replaceChildren(table(
      'Standard deviation σ of returns against the mean signal: Spearman’s ρ over groups, 95 % bootstrap intervals',
      ['signal, tokens', 'n', 'ρ', 'p', 'ρ with success', 'controlling for success rate', 'controlling for p and p(1 − p)'],
      data.correlations.map((r) => [`${MEASURES[r.signal]}, ${r.part}`, r.n, ...(r.why ? [r.why, '–', '–', '–', '–']
        : [interval(r.rho, r.low, r.high), pvalue(r.p), number(r.rho_success, 2), interval(r.partial, r.partial_low, r.partial_high),
          number(r.partial_spread, 2)])])));
    bars.replaceChildren(table('Returns of the rollouts', ['return', 'rollouts', 'groups', ''],
      bins.map((bin, k) => [bin.text, bin.rollouts, bin.groups.size, linkButton('select', () => onBin(k))])));
  }

  /** @param {Diagnosis} data */
  function tellConfound({ confound: { rho_success: success, rho_spread: spread, binary }, least }) {
    confound.told.replaceChildren(...(success === null && spread === null ? [`No ρ: fewer than ${least} groups, or no variation.`]
      : [el('b', '', `ρ ${number(success, 2)}`), ' with the success rate p, ', el('b', '', number(spread, 2)), ' with p(1 − p)']));
    confound.more.textContent = binary
      ? 'Returns take two values here, so σ is a function of the success rate p: what correlates with σ correlates with the difficulty of the prompt.'
      : 'σ depends on the success rate of a group; above, the correlation is also given with the success rate held fixed.';
  }

  // --- as charts -----------------------------------------------------------------------------------

  /** @param {Shown} shown */
  function draw(shown) {
    for (const { part, card } of scatters) scatter(card, part, shown);
    drawConfound(shown);
    histogram(shown);
  }

  /**
   * @param {Card} card
   * @param {plots.PlotlyObject[]} traces
   * @param {plots.Figure} figure
   * @param {plots.PlotlyObject} own layout
   * @param {(point: any) => void} onClick
   */
  function react({ plot }, traces, { layout }, own, onClick) {
    plots.draw(plot, traces, plots.merge(layout, own), {
      plotly_click: ({ points: [point] }) => point.customdata !== undefined && onClick(point),
      plotly_selected: (event) => event && brushed(event.points),
      // Not on deselect events, which redrawing fires as well.
      plotly_doubleclick: () => onBrush(null),
    });
  }

  /** @param {{ customdata?: number[] }[]} points */
  function brushed(points) {
    const groups = new Set(points.flatMap(({ customdata }) => (Array.isArray(customdata) ? customdata : [])));
    // An empty box selects nothing; removing a box fires the same event.
    if (groups.size) onBrush({ groups, text: 'in the selection' });
  }

  /** @param {{ x: number, y: number, customdata: number[] }} point */
  function clicked({ x, y, customdata: groups }) {
    if (groups.length === 1) onOpen(groups[0]);
    else onBrush({ groups: new Set(groups), text: `success ${percent(x)}, σ ${number(y)}` });
  }

  /** A chart of groups against σ, in which a box selects. @param {Card} card @param {Shown} shown @param {plots.Figure} figure
   * @param {plots.PlotlyObject} xaxis @param {plots.PlotlyObject[]} traces */
  function againstSigma(card, { data, revision }, figure, xaxis, traces) {
    const top = 1.1 * Math.max(0.05, ...data.groups.sigma);
    const yaxis = { range: [-0.04 * top, top] };
    react(card, traces, figure, { selections: [], selectionrevision: revision, xaxis, yaxis }, clicked);
  }

  /** @param {Card} card @param {Part} part @param {Shown} shown */
  function scatter(card, part, shown) {
    const { data, brush, open } = shown;
    const { label, sigma } = data.groups;
    const { measure } = store.place;
    const [low, high, line, points] = figures.scatter.data;
    const trend = data.trends[`${measure}_${part}`];
    const x = column(data, measure, part) ?? sigma.map(() => null);
    const color = sigma.map((_, i) => (i === open ? OPEN : COLOUR));
    const title = { text: `mean ${MEASURES[measure].replace(' (not in the paper)', '')}` };
    againstSigma(card, shown, figures.scatter, { title, showticklabels: Boolean(correlation(data, part)) }, [
      ...(trend ? [{ ...low, x: trend.x, y: trend.low }, { ...high, x: trend.x, y: trend.high }, { ...line, x: trend.x, y: trend.y }] : []),
      plots.merge(points, {
        x, y: sigma, customdata: sigma.map((_, i) => [i]), selectedpoints: brush ? [...brush.groups] : null,
        text: label.map((name, i) => `${plots.plain(name)}<br>σ ${number(sigma[i])}, mean ${number(x[i])}<br>success ${rate(data, i)}`),
        marker: {
          color, size: sigma.map((_, i) => (i === open ? SIZE + 6 : SIZE)), line: { color },
          symbol: sigma.map((s, i) => (s === 0 ? 'x-thin' : data.kept[i] ? 'circle' : 'circle-open')),
        },
      }),
    ]);
  }

  /** Groups at the same place become one point, with an area for their number. @param {Shown} shown */
  function drawConfound(shown) {
    const { data, brush, open } = shown;
    const { success, sigma } = data.groups;
    const [line, points] = figures.confound.data;
    const at = places(data);
    const curve = binaryCurve(data);
    againstSigma(confound, shown, figures.confound, {}, [...(curve ? [{ ...line, ...curve }] : []), plots.merge(points, {
      x: at.map(([i]) => success[i]), y: at.map(([i]) => sigma[i]), customdata: at,
      selectedpoints: brush ? [...at.keys()].filter((k) => at[k].some((i) => brush.groups.has(i))) : null,
      text: at.map((groups) => `${counted(groups.length, 'group')}<br>success ${percent(success[groups[0]])}, σ ${number(sigma[groups[0]])}`),
      marker: {
        size: at.map((groups) => Math.min(30, 6 + 4 * Math.sqrt(groups.length))),
        color: at.map((groups) => (open !== null && groups.includes(open) ? OPEN : COLOUR)),
      },
    })]);
  }

  /** @param {Shown} shown */
  function histogram({ bins, brush }) {
    const [bar, above] = figures.returns.data;
    const few = bins.every(({ from, to }) => from === to);
    const x = bins.map(({ from, to, text }) => (few ? text : (from + to) / 2));
    const y = bins.map((bin) => bin.rollouts);
    const top = 1.15 * Math.max(...y);
    const opacity = bins.map((_, k) => ((brush?.bin ?? k) === k ? 0.85 : 0.2));
    react(returns, [
      plots.merge(bar, { x, y, text: y.map((n) => n || ''), marker: { opacity } }),
      { ...above, x, y: y.map((n) => (n ? top : 0)), customdata: [...y.keys()],
        hovertext: bins.map((bin) => `return ${bin.text}: ${counted(bin.rollouts, 'rollout')}`) },
    ], figures.returns, { yaxis: { range: [0, top] }, xaxis: { type: few ? 'category' : 'linear', nticks: few ? 0 : 6 } },
    ({ customdata }) => onBin(customdata));
  }

  return {
    scatters: scatters.map(({ card }) => card.node), others: [confound.node, returns.node],
    tables: folded('The numbers as tables', correlations, bars), update, draw,
  };
}

/** The correlation that a chart shows. @param {Diagnosis} data @param {Part} part */
const correlation = (data, part) => data.correlations.find((r) => r.signal === store.place.measure && r.part === part);

/** @param {Card} card @param {Correlation | undefined} r @param {number} least */
function tell({ told, more }, r, least) {
  more.textContent = '';
  if (!r) {
    told.textContent = `${MEASURES[store.place.measure]}: unavailable. It was not recorded; actfocus score computes the signals of a reference.`;
  } else if (r.why) {
    told.replaceChildren(el('b', '', 'No ρ: '), `${r.why}${r.n < least ? `; at least ${least} are needed for a correlation` : ''}.`);
  } else {
    told.replaceChildren(el('b', '', `ρ ${interval(r.rho, r.low, r.high)}`), ` n = ${r.n}, p = ${pvalue(r.p)}`);
    more.textContent = `Controlling for success rate: ${interval(r.partial, r.partial_low, r.partial_high)}`
      + (r.partial_spread === null ? '' : `; for p and p(1 − p): ${number(r.partial_spread, 2)}`);
  }
}
