/* The Groups page: the action bottleneck, its confounder, the returns, the groups and their rollouts. */
import * as frame from '../../shell/top_bar.js';
import { requestQueue } from '../../web/lib/api.js';
import { unpack } from '../../web/lib/columns.js';
import { select, setOptions } from '../../web/lib/components/form.js';
import { pageBody } from '../../web/lib/components/page_body.js';
import { el, perFrame, quiet } from '../../web/lib/dom.js';
import { percent } from '../../web/lib/format.js';
import * as plots from '../../web/lib/plots.js';
import { store } from '../../web/lib/store.js';
import { USUAL } from './alignment.js';
import { groupCharts } from './charts.js';
import { MEASURES, returnBins } from './diagnosis.js';
import { groupList } from './group_list.js';
import { openGroup } from './open_group.js';

/** @typedef {import('./charts.js').Shown} Shown */

const OVERS = /** @type {const} */ ([['step', 'this step'], ['all', 'all steps']]);
const DEFAULT = 'default';
const KEEPS = /** @type {const} */ ([['', DEFAULT], ['0.1', '10 %'], ['0.25', '25 %'], ['0.5', '50 %'], ['0.75', '75 %']]);

/** @param {HTMLElement} element @param {{ figures: import('./charts.js').Figures, menu: import('./beside.js').Menu }} config */
export function mount(element, { figures, menu }) {
  const measures = picker('Signal', 'measure', Object.entries(MEASURES), update);
  const overs = picker('Groups of', 'over', OVERS, wake);
  const keeps = picker('StarPO-S filter keeps', 'keep', KEEPS, wake);
  const facts = el('span', 'af-quiet');
  const { ask } = requestQueue(say);
  const charts = groupCharts(figures, { onOpen: (i) => open(i), onBrush: brush, onBin: bin });
  const opened = openGroup(ask, menu, () => open(null));
  const list = groupList({ onOpen: (i) => open(i), onAll: () => brush(null) });
  const { alert, body, wait, seen } = pageBody(element, 'af-groups', wake,
    el('p', 'af-lead', 'Does the standard deviation σ of a group’s returns increase with the reference’s uncertainty about its actions? '
      + 'Each point is a group: the rollouts of one prompt. Drag to select points (double-click to clear), click one to open it.'),
    el('div', 'af-charts three', ...charts.scatters), el('div', 'af-charts two', ...charts.others),
    quiet('Filled: kept by the filter. Hollow: dropped. Cross: all returns are equal, so the advantage is 0 and there is no gradient. '
      + 'The line is a least-squares fit with a 95 % bootstrap band, as a guide to the eye. ρ is Spearman’s rank correlation.'),
    charts.tables, opened.node, list.node);
  /** @type {Shown | null} */
  let shown = null;
  // What was last asked for, and of which groups.
  let asked = '';
  let whose = '';

  // --- requests ----------------------------------------------------------------------------------

  /** Request what the address says, once the page is visible and a run is open. */
  function wake() {
    const { run, reference, step, over, keep } = store.place;
    if (shown) measures.value = store.place.measure;
    if (!seen() || !run) return;
    const of = JSON.stringify([run, reference, over, over === 'step' ? step : null]);
    const wanted = JSON.stringify([of, keep]);
    if (wanted === asked) return;
    if (whose && of !== whose) store.place.group = '';
    asked = wanted;
    whose = of;
    ask('groups/diagnosis', { view: store.view() }, (answer) => wanted === asked && show(answer, of, { run, reference }));
  }

  /** @param {string} line */
  function say(line) {
    alert.say(line);
    if (!line) return;
    asked = '';
    // The groups that are shown may stay where they are those that were asked for.
    if (shown?.of === whose) return;
    shown = null;
    facts.textContent = '';
    wait('No groups to show.');
  }

  /** @param {import('../../web/generated/types').GroupsDiagnosis} answer @param {string} of @param {Shown['source']} source */
  function show(answer, of, source) {
    const other = shown?.of !== of;
    const data = unpack(answer);
    const revision = (shown?.revision ?? 0) + 1;
    shown = { brush: null, open: null, ...(other ? null : shown), of, source, data, bins: returnBins(data), revision };
    wait();
    setOptions(measures, Object.entries(MEASURES).map(([name, title]) =>
      (answer.missing.includes(name) ? [name, `${title}: unavailable`, true] : [name, title])), store.place.measure);
    overs.value = store.place.over;
    const standard = `${answer.own ? 'as in the run' : DEFAULT}${store.place.keep ? '' : ` (${percent(answer.keep)})`}`;
    setOptions(keeps, KEEPS.map(([value, title]) => [value, value ? title : standard]), store.place.keep);
    facts.textContent = summary(data);
    update();
    if (other) reopen(shown);
  }

  /** Open the group that the address names. @param {Shown} found */
  function reopen({ data }) {
    const { group } = store.place;
    const at = data.groups.label.indexOf(group);
    if (group && at < 0) frame.say('The group in the address is not in this run.');
    open(at < 0 ? null : at, false);
  }

  // --- what is shown -----------------------------------------------------------------------------

  function update() {
    if (!shown) return;
    charts.update(shown);
    fill();
  }

  function fill() {
    if (!shown) return;
    list.fill(shown.data, shown.brush, shown.open);
    draw();
  }

  const draw = plots.drawing(body, () => {
    if (!shown) return;
    charts.draw(shown);
    opened.paint();
  });

  /** Select groups, or all. @param {import('./diagnosis.js').Selection | null} selection */
  function brush(selection) {
    if (!shown) return;
    // Under another revision the box that was drawn goes away; the points chosen stay bright.
    shown = { ...shown, brush: selection, revision: shown.revision + 1 };
    fill();
  }

  /** Select the groups with a return in a bin, or no longer. @param {number} k */
  function bin(k) {
    if (!shown) return;
    const { groups, text, rollouts } = shown.bins[k];
    brush(shown.brush?.bin === k ? null : { groups, bin: k, text: `a return of ${text} (${rollouts} rollouts)` });
  }

  /** Open a group, or none. @param {number | null} i @param {boolean} [move] scroll to it */
  function open(i, move = true) {
    if (!shown) return;
    shown = { ...shown, open: i };
    store.put({ group: i === null ? '' : shown.data.groups.label[i] });
    // The columns of one group mean nothing in another.
    if (move && store.place.beside) store.put({ beside: USUAL });
    opened.show(shown.data, i, shown.source, move);
    fill();
  }

  alert.node.after(el('div', 'af-pagebar', ...[measures, overs, keeps].map(labelled), facts));
  store.on(perFrame(() => seen() && opened.paint()));
  frame.onTheme(draw);
}

/**
 * A select for a parameter of the view.
 *
 * @param {string} label
 * @param {'measure' | 'over' | 'keep'} name
 * @param {readonly import('../../web/lib/components/form.js').Option[]} options
 * @param {() => void} then
 */
const picker = (label, name, options, then) => select(label, options, (value) => {
  store.put({ [name]: value });
  then();
});

/** @param {HTMLSelectElement} control */
const labelled = (control) => el('label', 'af-pick', el('span', 'af-quiet', control.ariaLabel), control);

/** @param {import('./diagnosis.js').Diagnosis} data */
function summary({ kept, rollouts, unscored, steps: { first, last, count: steps, of } }) {
  const range = steps > 1 ? `steps ${first} to ${last}${steps < of ? `: the last ${steps} of ${of}` : ''}` : `step ${first}`;
  return `${kept.length} groups, ${rollouts.group.length} rollouts, ${range}${unscored ? `; ${unscored} without a return are left out` : ''}`;
}
