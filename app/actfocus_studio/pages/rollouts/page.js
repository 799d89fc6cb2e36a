/* The Rollouts page: all rollouts of a run in one table, and its highest tokens. */
import { lineOf, post } from '../../web/lib/api.js';
import { select } from '../../web/lib/components/form.js';
import { pageBody } from '../../web/lib/components/page_body.js';
import { segmented } from '../../web/lib/components/segmented.js';
import { el, isCommand, linkButton } from '../../web/lib/dom.js';
import { count, counted } from '../../web/lib/format.js';
import { EVERY, isFiltered, listOf } from '../../web/lib/list_query.js';
import { onOpened } from '../../web/lib/navigation.js';
import { store } from '../../web/lib/store.js';
import { exporter } from './exporter.js';
import { filters } from './filters.js';
import { notice } from './notice.js';
import { rolloutTable } from './table.js';
import { highestTokens } from './tokens.js';

/** @typedef {import('../../web/generated/types').ListAbout} About */
/** @typedef {{ schemes: [name: string, title: string][], only: string[], canCompute: boolean }} Menu */

const WAKE_MS = 120;
const VIEWS = /** @type {const} */ ([['rollouts', 'Rollouts'], ['tokens', 'Tokens']]);

/** @param {HTMLElement} element @param {Menu} menu */
export function mount(element, menu) {
  const { place } = store;
  /** @type {About | null} */
  let about = null;
  // What was last asked for: of the run and setting, and of the rows.
  let asked = '';
  let listed = '';
  let due = 0;
  let lacking = '';

  const views = segmented('What is listed', VIEWS, (value) => change({ listed: value }));
  const chosen = filters(menu.only, change);
  const said = notice({ ...menu, onDone: () => again(), onError: (line) => alert.say(line) });
  const table = rolloutTable({ onOrder: order, onColumns: (columns) => change({ columns }),
    onError: (line) => alert.say(line) });
  const tokens = highestTokens({ onError: (line) => alert.say(line), onChange: change, onNeed: (key) => said.compute('tokens', key) });
  const files = exporter(table.names, (line) => alert.say(line));
  const schemes = /** @type {const} */ (['a', 'b']).map((side) =>
    select(`Scheme ${side.toUpperCase()}`, menu.schemes, (name) => change({ [`scheme_${side}`]: name })));
  const summary = el('span', 'af-list-summary', { role: 'status' });
  const clear = linkButton('clear', () => change(EVERY));
  const bar = el('div', 'af-list-line', summary, clear,
    el('span', 'af-list-tools', el('span', 'af-pick', el('span', 'af-quiet', 'A'), schemes[0]), el('span', 'af-pick', el('span', 'af-quiet', 'B'), schemes[1]),
      table.chooser, ...files.nodes));
  const { alert, wait, seen } = pageBody(element, 'af-listing', wake,
    el('div', 'af-list-line', views.node, chosen.searchNode), chosen.node, ...said.nodes, bar, tokens.controls, table.node, tokens.node);

  /** @param {Partial<import('../../web/lib/store.js').Place>} changes */
  function change(changes) {
    store.put(changes);
    wake();
  }

  /** Another press on a head whose column was not computed, as after Cancel, computes it.
   * @param {import('../../web/lib/components/grid_rows.js').Order} by */
  function order([sort, way]) {
    const same = sort === place.sort && lacking === 'values';
    change({ sort, descending: way < 0 });
    if (same) said.compute('values', asked, true);
  }

  function wake() {
    clearTimeout(due);
    due = window.setTimeout(sync, WAKE_MS);
  }

  /** What was computed changes the answers. */
  function again() {
    asked = listed = '';
    tokens.forget();
    sync();
  }

  /** Ask for what the address says, once the page is visible and a run is open. */
  async function sync() {
    if (!seen() || !place.run) return;
    show();
    const { alpha, beta, signal } = store.settings;
    const of = JSON.stringify([place.run, place.reference, place.scheme_a, place.scheme_b, alpha, beta, signal, place.kept]);
    const rows = JSON.stringify([of, listOf(place), place.columns, table.isNarrow()]);
    if (of !== asked) {
      asked = of;
      about = null;
      try {
        const answer = await post('rollouts/about', { view: store.view() });
        if (of !== asked) return;
        about = answer;
      } catch (error) {
        if (of === asked) fail(lineOf(error));
        return;
      }
      alert.say('');
      wait();
      Object.assign(place, { scheme_a: about.scheme_a, scheme_b: about.scheme_b });
      show();
    }
    if (!about) return;
    if (place.listed === 'tokens') tokens.ask(about, of);
    if (rows === listed) return;
    listed = rows;
    const first = await table.fill(about, rows);
    if (first && rows === listed) report(first, of);
  }

  /** @param {string} line */
  function fail(line) {
    asked = '';
    wait('No rollouts to show.');
    alert.say(line);
  }

  function show() {
    const { listed: which } = place;
    views.show(which);
    chosen.show(about);
    schemes.forEach((node, k) => { node.value = k ? place.scheme_b : place.scheme_a; });
    table.node.hidden = table.chooser.hidden = which !== 'rollouts';
    files.show(which === 'rollouts');
    tokens.node.hidden = tokens.controls.hidden = which !== 'tokens';
    clear.hidden = !isFiltered(place);
    if (about) said.show(about, asked);
  }

  /** Say what is listed, what is wrong, and compute what is missing.
   * @param {import('./rows.js').Rows} first @param {string} of */
  function report({ errors, total, of: all, hits, need }, of) {
    alert.say(errors.list);
    lacking = need;
    const found = hits === null ? '' : `${counted(hits, 'hit')} in ${counted(total, 'rollout')}`;
    chosen.say({ where: errors.where, search: errors.search, found: need === 'text' ? '' : found });
    const unanswered = errors.where || errors.search || need === 'text';
    summary.textContent = isFiltered(place) && !unanswered ? `${count(total)} of ${counted(all, 'rollout')}` : counted(all, 'rollout');
    // The highest tokens compute what they need themselves.
    if (need && place.listed === 'rollouts') said.compute(need, need === 'values' ? of : `${place.run} ${need}`);
  }

  element.addEventListener('keydown', (event) => {
    if (event.key !== '/' || isCommand(event) || event.target instanceof HTMLInputElement) return;
    event.preventDefault();
    chosen.search.focus();
  });
  onOpened((answer) => {
    if (!('error' in answer)) table.mark(answer);
  });
  store.onView(() => seen() && wake());
  said.look();
}
