/* The run picker of the top bar: a field that finds a run by what is typed, over a list of them. */
import { lineOf, post, requestQueue } from '../../web/lib/api.js';
import { alertLine } from '../../web/lib/components/alert.js';
import { select } from '../../web/lib/components/form.js';
import { segmented } from '../../web/lib/components/segmented.js';
import { announcer, el, linkButton, quiet } from '../../web/lib/dom.js';
import { count, counted } from '../../web/lib/format.js';
import { PLAIN } from '../../web/lib/list_query.js';
import { go } from '../../web/lib/navigation.js';
import { store } from '../../web/lib/store.js';
import { deletedRuns } from './deleted.js';
import { runRow, sectionHead } from './rows.js';
import { SECTIONS } from './words.js';

/** @typedef {import('./words.js').PickedRun} PickedRun */
/** @typedef {import('./rows.js').Row} Row */
/** @typedef {'all' | import('./words.js').Section} Shown */

const TYPING_MS = 80;
const EDGE = 8;
const JUMP = 8; // rows of Page Up and Page Down
const DAY_S = 86400;

export function runPicker() {
  const field = el('input', 'af-run', { role: 'combobox', autocomplete: 'off', spellcheck: false, placeholder: 'choose a run',
    'aria-expanded': false, 'aria-controls': 'af-finder-list', 'aria-haspopup': 'grid', 'aria-autocomplete': 'list', title: 'Choose a run (R)' });
  const label = el('label', 'af-run-label', 'Run', field);
  const alert = alertLine({ cls: 'af-error' });
  const told = el('p', 'af-finder-told', { role: 'status', hidden: true });
  const list = el('div', 'af-finder-list', { id: 'af-finder-list', role: 'grid', 'aria-label': 'Runs', onscroll: nearEnd });
  const foot = el('div', 'af-finder-foot');
  const live = announcer();
  const sections = segmented('Section', /** @type {readonly (readonly [Shown, string])[]} */ ([['all', 'All'], ...SECTIONS]), (name) => {
    section = name;
    sections.show(name);
    ask();
  });
  const order = select('Order', [['newest', 'newest first'], ['name', 'by name']], () => ask());
  const trash = deletedRuns({ onRestore: ({ id }) => restore(id), onRemove: removeForGood, onBack: () => showTrash(false) });
  const body = el('div', 'af-finder-body', el('div', 'af-finder-tools', sections.node, order), list, foot);
  const popup = el('div', 'af-finder', { hidden: true }, alert.node, told, body, trash.node, live);
  const { ask: request } = requestQueue(alert.say);
  /** @type {Row[]} */
  let rows = [];
  let active = -1;
  /** @type {Shown} */
  let section = 'all';
  let matches = 0;
  /** The answers for an earlier question are dropped. */
  let asked = 0;
  /** What the list was searched for, and whether Enter was pressed before it was there. */
  let searched = '';
  let hurried = false;
  let loading = false;
  let timer = 0;

  // --- the list ------------------------------------------------------------------------------------

  /** Ask for the list from its beginning. @param {string} [wanted] the run that is then marked */
  function ask(wanted) {
    const own = ++asked;
    const wantedText = field.value;
    request('runs/list', question(0), (answer) => {
      if (own !== asked || popup.hidden) return;
      searched = wantedText;
      list.replaceChildren();
      list.scrollTop = 0;
      rows = [];
      active = -1;
      append(answer);
      live.textContent = counted(matches, 'run');
      const at = rows.findIndex(({ run }) => run.name === (wanted ?? (field.value ? '' : store.place.run)));
      move(Math.max(at, 0));
      if (hurried && searched === field.value && rows[active]) choose(rows[active].run);
      foot.replaceChildren(el('span', '', '↑ ↓ choose, Enter opens, F2 renames, Delete deletes, Esc closes'),
        answer.deleted ? linkButton(`Deleted runs (${count(answer.deleted)})`, () => showTrash(true)) : '');
    });
  }

  /** @param {number} offset */
  const question = (offset) => ({ search: field.value, section: section === 'all' ? null : section,
    order: /** @type {'newest' | 'name'} */ (order.value), offset });

  /** @param {import('../../web/generated/types').RunsResponse} answer */
  function append({ runs, counts, matches: all }) {
    matches = all;
    for (const run of runs) {
      if (run.section !== rows.at(-1)?.run.section) list.append(sectionHead(run.section, counts[run.section]));
      const row = runRow(run, `af-finder-${rows.length}`, run.name === store.place.run, { onOpen: choose, onRename: rename, onDelete: remove, onCancel: () => field.focus() });
      rows.push(row);
      list.append(row.node);
    }
    if (!rows.length) list.replaceChildren(el('p', 'af-quiet', field.value ? `No run has “${field.value}” in its name, environment, policy or scheme.` : 'There is no run here.'));
    countSizes(asked);
  }

  /** The next part of the list, once its end is near. */
  function nearEnd() {
    if (loading || rows.length >= matches || list.scrollTop + 2 * list.clientHeight < list.scrollHeight) return;
    const own = asked;
    loading = true;
    post('runs/list', question(rows.length)).then((answer) => {
      if (own === asked) append(answer);
    }).catch((error) => alert.say(lineOf(error))).finally(() => { loading = false; });
  }

  /** Fill in the sizes of the rows, as many at a time as the studio counts in a moment. @param {number} own */
  async function countSizes(own) {
    const fresh = rows.filter((row) => !row.told);
    if (!fresh.length || popup.hidden) return;
    fresh.forEach((row) => { row.told = true; });
    for (let rest = fresh; rest.length;) {
      const { sizes } = await post('runs/sizes', { names: rest.map(({ run }) => run.name) }).catch(() => ({ sizes: [] }));
      if (own !== asked || !sizes.length || popup.hidden) return;
      sizes.forEach((size, k) => rest[k].tell(size));
      rest = rest.slice(sizes.length);
    }
  }

  /** Mark a row. @param {number} k */
  function move(k) {
    rows[active]?.mark(false);
    active = Math.min(Math.max(k, 0), rows.length - 1);
    rows[active]?.mark(true);
    if (rows[active]) field.setAttribute('aria-activedescendant', rows[active].node.id);
    else field.removeAttribute('aria-activedescendant');
    if (active <= 0) list.scrollTop = 0;
    if (active >= rows.length - 2) nearEnd();
  }

  // --- what is done with a run ------------------------------------------------------------------------

  /** @param {PickedRun} run */
  function choose({ name }) {
    close();
    go({ run: name, filter: store.place.filter, ...PLAIN });
  }

  /** @param {PickedRun} run @param {string} name */
  function rename(run, name) {
    request('runs/rename', { run: run.name, name }, (answer) => {
      say(`${run.name} is now ${answer.run}.`);
      if (run.name === store.place.run) go({ ...store.view(), run: answer.run }, true);
      field.value = '';
      field.focus();
      ask(answer.run);
    });
  }

  /** @param {PickedRun} run */
  function remove(run) {
    const next = rows[active + 1]?.run.name ?? rows[active - 1]?.run.name;
    const view = run.name === store.place.run ? store.view() : null;
    request('runs/delete', { run: run.name }, (answer) => {
      say(`${run.name} was deleted. It can be restored for ${Math.round((answer.expires - answer.deleted) / DAY_S)} days. `, linkButton('Undo', () => restore(answer.id, view)));
      if (view) go({});
      field.focus();
      ask(next);
    });
  }

  /** @param {string} id @param {Partial<import('../../web/generated/types').View> | null} [view] what was open when it was deleted */
  function restore(id, view) {
    request('runs/restore', { id }, ({ run }) => {
      say(`${run} was restored.`);
      if (view) go({ ...view, run }, true);
      showTrash(false);
      ask(run);
    });
  }

  /** @param {import('../../web/generated/types').DeletedRun} run */
  function removeForGood({ id }) {
    request('runs/remove', { id }, ({ run }) => {
      say(`${run} was removed for good.`);
      showTrash(true);
    });
  }

  /** Show the deleted runs, or the list. @param {boolean} on */
  function showTrash(on) {
    body.hidden = on;
    trash.node.hidden = !on;
    if (!on) {
      field.focus();
      ask();
      return;
    }
    request('runs/trash', {}, (answer) => {
      trash.fill(answer);
      trash.node.querySelector('button')?.focus();
    });
  }

  /** @param {...(string | Node)} parts */
  function say(...parts) {
    told.replaceChildren(...parts);
    told.hidden = !parts.length;
  }

  // --- the popup -----------------------------------------------------------------------------------------

  function open() {
    if (!popup.hidden) return;
    popup.hidden = false;
    hurried = false;
    searched = '';
    field.setAttribute('aria-expanded', 'true');
    field.placeholder = 'find a run';
    label.classList.add('open');
    const { left } = field.getBoundingClientRect();
    popup.style.left = `${Math.max(EDGE, Math.min(left, window.innerWidth - popup.offsetWidth - EDGE))}px`;
    body.hidden = false;
    trash.node.hidden = true;
    sections.show(section);
    say();
    if (!rows.length) list.replaceChildren(quiet('Reading the runs …'));
    ask();
  }

  function close() {
    if (popup.hidden) return;
    asked += 1;
    popup.hidden = true;
    alert.close();
    label.classList.remove('open');
    field.setAttribute('aria-expanded', 'false');
    field.removeAttribute('aria-activedescendant');
    field.placeholder = 'choose a run';
    field.value = store.place.run;
  }

  /** Open the list, with nothing typed yet. */
  function start() {
    field.focus();
    if (!popup.hidden) return;
    field.value = '';
    open();
  }

  /** Open the marked run, once the list is that of what was typed. */
  function enter() {
    hurried = field.value !== searched;
    const row = rows[active];
    if (!hurried && row) choose(row.run);
  }

  /** @param {KeyboardEvent} event */
  function keydown(event) {
    const { key } = event;
    if (popup.hidden) {
      if (key !== 'ArrowDown' && key !== 'Enter') return;
      event.preventDefault();
      start();
      return;
    }
    const row = rows[active];
    const empty = field.value === '';
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: JUMP, PageUp: -JUMP }[key];
    if (step) move(active + step);
    else if (key === 'Enter') enter();
    else if (key === 'F2' && row && !row.run.why_kept) row.edit();
    else if (key === 'Delete' && empty && row) remove(row.run);
    else if (key === 'Escape') close();
    else return;
    event.preventDefault();
  }

  field.addEventListener('keydown', keydown);
  field.addEventListener('click', start);
  field.addEventListener('focus', () => field.select());
  field.addEventListener('input', () => {
    open();
    window.clearTimeout(timer);
    timer = window.setTimeout(() => ask(), TYPING_MS);
  });
  popup.addEventListener('keydown', (event) => {
    // The keys of the page are not meant here.
    event.stopPropagation();
    if (event.key !== 'Escape') return;
    close();
    field.focus();
  });
  document.addEventListener('pointerdown', ({ target }) => {
    if (target instanceof Node && target.isConnected && !popup.contains(target) && !label.contains(target)) close();
  });
  document.addEventListener('focusin', ({ target }) => {
    if (target instanceof Node && target !== document.body && !popup.contains(target) && target !== field) close();
  });

  /** Show which run is open; '' if none is. @param {string} name */
  function show(name) {
    if (popup.hidden) field.value = name;
  }

  return { label, popup, field, show, start };
}
