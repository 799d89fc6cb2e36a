/* The What-if panel: its forms, the progress of the work, the stored answers, and the answer that is shown. */
import { copyLink } from '../../shell/top_bar.js';
import { requestQueue } from '../../web/lib/api.js';
import { alertLine } from '../../web/lib/components/alert.js';
import { form } from '../../web/lib/components/form.js';
import { segmented } from '../../web/lib/components/segmented.js';
import { button, el, icon, isCommand, textButton } from '../../web/lib/dom.js';
import { go } from '../../web/lib/navigation.js';
import { store } from '../../web/lib/store.js';
import * as branch from './branch.js';
import * as edit from './edit.js';
import { createForms, TUNED } from './forms.js';
import { atLeast, replayOf, summary, walkedStep } from './questions.js';
import * as replay from './replay.js';
import { createWalkthrough } from './walkthrough.js';
import { createWork } from './work.js';

/** @typedef {'replay' | 'branch' | 'edit' | 'motion'} Kind */
/** @typedef {import('../../web/lib/api.js').Api} Api */
/** @typedef {import('./forms.js').Menu} Menu */
/** @typedef {import('./questions.js').StoredAnswer} StoredAnswer */
/** @typedef {import('../../web/generated/types').ReplayShown} ReplayShown */
/** @typedef {Api['whatif/show']['response']} Shown */
/** @typedef {'whatif/replay' | 'whatif/branch' | 'whatif/edit'} Question */
/** Start work on a question, about the open trajectory or another one of the run.
 * @typedef {<Name extends Question>(name: Name, request: Omit<Api[Name]['request'], 'view'>, trajectory?: string) => void} Ask */
/**
 * What an answer can ask of the panel: another of its trajectories, the walkthrough of a scheme, an evaluation, a trajectory on
 * the Trace page.
 *
 * @typedef {{ title: (scheme: string) => string, trajectory: (id: string) => void, motion: (scheme: string) => void,
 *   evaluate: (what: ReplayShown) => void, open: (id: string) => void }} Actions
 */

/** @type {[Kind, string][]} */
const KINDS = [['replay', 'Replay'], ['branch', 'Branch'], ['edit', 'Edit'], ['motion', 'Walkthrough']];
const LEADS = {
  replay: 'One update under each scheme, on the same rollouts and from the same parameters: the change of every token’s log-probability.',
  branch: 'Continue from a turn or a token: sample the policy again, or force its answer.',
  edit: 'Replace text in the trajectory. The reference scores it again; weights and credit are recomputed.',
  motion: 'One update on this trajectory, step by step, with its numbers.',
};
const NO_STEP = { motion: '', stage: 0 }; // of a walkthrough
const ID = /^(replay|branch|edit)-[0-9a-f]{12}$/;
const NOT_STORED = 'not stored: this run’s folder is not writable, so the answer and its link last only as long as the studio runs';
const NOT_KEPT = 'This run’s folder is not writable: the answer lasts only as long as the studio runs.';
const LINK_ICON = 'M10 13.5a4 4 0 0 0 6 .4l2.6-2.6a4 4 0 0 0-5.7-5.7l-1.4 1.4M14 10.5a4 4 0 0 0-6-.4l-2.6 2.6a4 4 0 0 0 5.7 5.7l1.4-1.4';
const TYPING = 'input:not([type=checkbox]), textarea, select, [contenteditable], .af-segments, [role=tab]';

/** @type {ReturnType<typeof createPanel> | null} */
let panel = null;

/** @param {HTMLElement} element @param {{ menu: Menu }} config */
export function mount(element, { menu }) {
  panel = createPanel(menu);
  element.replaceChildren(panel.node);
}

/** @param {string} where a kind of question, or the id of a stored answer @param {boolean} [quiet] do not move the focus */
export const open = (where, quiet) => panel?.open(where, quiet);
export const close = () => panel?.close();
/** Whether a walkthrough was requested and has not arrived yet. */
export const coming = () => panel?.coming() ?? false;

/** A button that opens the panel from another page. @param {Kind} kind @param {string} text @param {string} help */
export const opener = (kind, text, help) =>
  textButton(text, () => open(kind), 'af-button af-takeover', { title: help });

/** @param {Menu} menu */
function createPanel(menu) {
  const titles = new Map(menu.schemes);
  /** @param {string} scheme */
  const title = (scheme) => titles.get(scheme) ?? scheme;
  // An error stays until something else is asked or shown: the list and the progress of the work are asked for all the time.
  const queue = requestQueue((line) => {
    if (!line) return;
    alert.say(line);
    answer.removeAttribute('aria-busy');
  });

  const isOpen = () => !node.hidden;
  let arrived = false; // the first trajectory is open
  let kind = /** @type {Kind} */ ('replay');
  let facts = /** @type {import('./forms.js').Facts | null} */ (null);
  let answers = /** @type {StoredAnswer[]} */ ([]);
  let what = /** @type {Shown | null} */ (null); // the answer that is shown
  let renew = /** @type {((whole: ReplayShown) => void) | null} */ (null); // of an answer that is shown in part
  let walkthrough = /** @type {import('./walkthrough.js').Walkthrough | null} */ (null);
  let back = /** @type {Element | null} */ (null); // gets the focus back
  let tab = ''; // on which the panel was opened

  const alert = alertLine();
  const kinds = segmented('What if', KINDS, choose);
  const heading = el('h2', '', { tabIndex: -1 }, 'What if');
  const where = el('span', 'af-quiet af-whatif-where');
  const question = form('af-whatif-form', () => { if (factsHere()) forms.send(); });
  const list = el('ul', 'af-asked');
  const answer = el('main', 'af-answer');
  const forms = createForms(menu, { title, redraw: drawForm, walkThrough, ask });
  const work = createWork(queue, {
    isOpen,
    status({ running, waiting }) {
      forms.submit.disabled = running;
      if (!waiting) answer.removeAttribute('aria-busy');
    },
    first(id) {
      store.remember({ whatif: id });
      show(id);
    },
    // The whole answer replaces its first part; the trajectory that is shown stays.
    whole(id) {
      if (store.place.whatif === id && kind !== 'motion') show(id, shownOf(id));
    },
    done: refreshList,
    failed: alert.say,
  });
  const node = el('section', 'af-whatif', { id: 'af-whatif-panel', hidden: true, role: 'dialog', 'aria-label': 'What if' },
    el('header', 'af-whatif-head', heading, kinds.node, where, button('af-tool', icon(LINK_ICON), 'Copy a link to this answer', copyLink),
      button('af-tool', '×', 'Close (Esc)', hide)),
    alert.node, el('div', 'af-whatif-body',
      el('aside', 'af-whatif-side', question, work.node, el('h3', '', 'Stored answers'), list), answer));

  /**
   * A request about the view, of this trajectory or of another one of the run.
   *
   * @template {Question | 'whatif/facts' | 'whatif/list' | 'whatif/show' | 'whatif/motion'} Name
   * @param {Name} operation
   * @param {Omit<Api[Name]['request'], 'view'>} request
   * @param {(answer: Api[Name]['response']) => void} then
   * @param {string} [trajectory]
   */
  function query(operation, request, then, trajectory = store.place.trajectory) {
    queue.ask(operation, /** @type {Api[Name]['request']} */ ({ view: { ...store.view(), trajectory }, ...request }), then);
  }

  /** The trajectory that is shown of a replay. @param {string} id */
  const shownOf = (id) => (what?.kind === 'replay' && what.id === id ? what.pane.id : undefined);

  // --- opening, closing, another trajectory ------------------------------------------------------------

  /** @param {string} to @param {boolean} [quiet] */
  function openAt(to, quiet = false) {
    const { motion, stage } = store.place;
    // A lesson continues with the walkthrough that is shown.
    if (quiet && to === 'motion' && isOpen() && walkthrough?.shows(motion, store.place.trajectory)) {
      walkthrough.go(stage);
      return;
    }
    if (!isOpen()) back = document.activeElement;
    ({ tab } = store.place);
    node.hidden = false;
    store.remember({ whatif: to });
    clear(/** @type {Kind} */ (!ID.test(to) ? to : motion ? 'motion' : to.split('-')[0]));
    if (!quiet) heading.focus();
    refresh();
    if (ID.test(to)) show(to);
  }

  function hide() {
    if (!isOpen()) return;
    node.hidden = true;
    store.remember({ whatif: '', ...NO_STEP });
    if (back instanceof HTMLElement && back.isConnected) back.focus();
  }

  /** Show no answer. @param {Kind} next */
  function clear(next) {
    alert.close();
    kind = next;
    what = walkthrough = renew = null;
    answer.replaceChildren(el('p', 'af-nothing',
      'Set up a question in the form. The answer appears here, is stored with the run, and has its own link.'));
  }

  /** @param {Kind} next */
  function choose(next) {
    store.remember({ whatif: next, ...NO_STEP });
    clear(next);
    drawForm();
    if (next === 'motion') walkThrough(TUNED);
  }

  /** A trajectory was opened. At the first one, the panel opens if the address says so. */
  function placed() {
    const { run, whatif } = store.place;
    if (arrived) {
      if (isOpen()) refresh();
      return;
    }
    arrived = true;
    if (!ID.test(whatif) && !KINDS.some(([name]) => name === whatif)) Object.assign(store.place, { whatif: '', ...NO_STEP });
    else if (run) openAt(whatif);
  }

  function refresh() {
    if (!store.place.run) return;
    if (!factsHere()) forms.forget();
    drawForm();
    query('whatif/facts', {}, (found) => {
      facts = found;
      drawForm();
      refreshList();
    });
    work.look();
  }

  // --- the forms ------------------------------------------------------------------------------------------

  /** What is known of the open trajectory; null until it has been looked at. */
  const factsHere = () => (facts && facts.run === store.place.run && facts.trajectory === store.place.trajectory ? facts : null);

  function drawForm() {
    const { run, trajectory } = store.place;
    const here = factsHere();
    kinds.show(kind);
    where.textContent = run && `${run}, ${trajectory}`;
    const parts = !here ? [el('p', 'af-quiet', 'Loading …')] : here.why ? [el('p', 'af-error', here.why)] : forms.draw(kind, here);
    // The control that has the focus keeps it: those before it do not change.
    const focused = [...question.elements].findIndex((control) => control === document.activeElement);
    question.replaceChildren(el('p', 'af-quiet', LEADS[kind]), ...parts.filter((part) => part instanceof Node));
    const control = question.elements[focused];
    if (control instanceof HTMLElement) control.focus();
  }

  /** @type {Ask} */
  function ask(operation, request, trajectory) {
    alert.close();
    answer.setAttribute('aria-busy', 'true');
    query(operation, request, work.started, trajectory);
  }

  /** @param {ReplayShown} of */
  function evaluate({ request: { schemes, match, step, groups }, pane }) {
    kind = 'replay';
    const most = atLeast(menu.groups, groups?.length ?? 1);
    ask('whatif/replay', { schemes, match, evaluation: 8, step, groups: most }, pane.id);
  }

  // --- stored answers ---------------------------------------------------------------------------------------

  function refreshList() {
    query('whatif/list', {}, (found) => {
      ({ answers } = found);
      drawList();
      if (kind === 'motion' && !walkthrough && store.place.whatif === 'motion') walkThrough(store.place.motion || TUNED);
    });
  }

  function drawList() {
    list.replaceChildren(...answers.map((one) => el('li', '', row(one))));
    if (!answers.length) list.append(el('li', 'af-quiet', 'None yet.'));
  }

  /** @param {StoredAnswer} one */
  function row(one) {
    const reopen = () => {
      Object.assign(store.place, NO_STEP);
      openAt(one.id);
    };
    return textButton(el('span', 'af-row-text', el('b', '', one.kind), el('span', 'af-row-what', summary(one, title))), reopen,
      one.id === store.place.whatif ? 'af-row on' : 'af-row', !one.kept && el('span', 'af-flag', { title: NOT_KEPT }, 'not stored'));
  }

  // --- the answer --------------------------------------------------------------------------------------------

  /** @param {string} id @param {string} [trajectory] */
  function show(id, trajectory) {
    if (kind === 'motion' && id.startsWith('replay')) {
      walk(id, store.place.motion || TUNED);
      return;
    }
    query('whatif/show', { id }, (shown) => {
      alert.close();
      const same = shown.kind === 'replay' && shown.pane.id === shownOf(id);
      what = shown;
      ({ kind } = shown);
      drawForm();
      drawList();
      if (same && renew) {
        renew(shown);
        renew = null;
      } else fill(shown);
    }, trajectory);
  }

  /** @param {Shown} shown */
  function fill(shown) {
    const { id, kept, run, result } = shown;
    /** @type {Actions} */
    const on = {
      title, evaluate, trajectory: (one) => show(id, one), motion: (scheme) => walk(id, scheme),
      open(trajectory) {
        hide();
        store.showTab('trace');
        go({ run, trajectory });
      },
    };
    const drawn = shown.kind === 'replay' ? replay.draw(shown, on)
      : { renew: null, ...(shown.kind === 'branch' ? branch.draw(shown, on) : edit.draw(shown, on)) };
    ({ renew } = drawn);
    const badges = kept ? result.badges : [...result.badges, NOT_STORED];
    answer.replaceChildren(...badges.map((line) => el('p', 'af-badge af-line-badge', line)), ...drawn.nodes);
    answer.scrollTop = 0;
  }

  // --- walkthrough ---------------------------------------------------------------------------------------------

  /** Use a stored replay of this trajectory under this scheme, else start one on its group. @param {string} scheme */
  function walkThrough(scheme) {
    store.place.motion = scheme;
    // An earlier request may still be running; its answer is shown when it is done.
    const here = factsHere();
    if (!here || here.why || work.isOurs()) return;
    const step = walkedStep(here);
    const fits = replayOf(answers, here, scheme);
    if (fits) walk(fits.id, scheme);
    else if (here.steps.includes(step)) {
      ask('whatif/replay', { schemes: [...new Set(['uniform', scheme])], groups: menu.groups[1], step });
    } else alert.say(`Step ${step} cannot be replayed: the checkpoint before it is not stored. Steps that can: ${here.steps.join(', ') || 'none'}.`);
  }

  /** @param {string} id @param {string} scheme */
  function walk(id, scheme) {
    kind = 'motion';
    store.remember({ whatif: id, motion: scheme });
    query('whatif/motion', { id, scheme }, (motion) => {
      if (!isOpen()) return;
      alert.close();
      drawForm();
      drawList();
      walkthrough = createWalkthrough(motion, title, (stage) => store.remember({ stage }));
      answer.replaceChildren(...walkthrough.nodes);
      answer.scrollTop = 0;
      walkthrough.go(store.place.stage);
    }, shownOf(what?.id ?? ''));
  }

  // --- keys -----------------------------------------------------------------------------------------------------

  /** The panel's keys take precedence over those of the page below it. @param {KeyboardEvent} event */
  function keydown(event) {
    const { target, key } = event;
    if (!isOpen() || !(target instanceof Element) || isCommand(event)) return;
    if (document.querySelector('dialog[open].af-help')) return;
    const pressed = (key === ' ' && target.closest('button')) || target.classList.contains('t');
    if (key === 'Escape') hide();
    else if (target.closest(TYPING)) return;
    else if (kind === 'motion' && !pressed && walkthrough?.key(key)) event.preventDefault();
    else if (pressed || key === 'Tab' || key === 'Enter') return;
    event.stopPropagation();
  }

  document.addEventListener('keydown', keydown, true);
  // What one of the panel's own controls has handled is no shortcut of the page.
  node.addEventListener('keydown', (event) => event.stopPropagation());
  store.onPlace(placed);
  store.onTab((name) => { if (isOpen() && name !== tab) hide(); });
  store.on(() => { if (isOpen()) drawForm(); });

  const isComing = () => isOpen() && kind === 'motion' && !walkthrough && alert.node.hidden && !factsHere()?.why;
  return { node, open: openAt, close: hide, coming: isComing };
}
