/* The Learn page: the list of lessons, and the lesson that is open, which sets up the other tabs. */
import * as whatif from '../../panels/whatif/panel.js';
import { requestQueue } from '../../web/lib/api.js';
import { alertLine } from '../../web/lib/components/alert.js';
import { checkbox } from '../../web/lib/components/form.js';
import { el, quiet } from '../../web/lib/dom.js';
import { counted } from '../../web/lib/format.js';
import { go } from '../../web/lib/navigation.js';
import { store } from '../../web/lib/store.js';
import { KIND } from '../../web/trace/weights.js';
import * as trace from '../trace/page.js';
import { lessonPanel } from './panel.js';
import { viewOf } from './steps.js';

/** @typedef {import('./steps.js').Lesson} Lesson */

const KINDS = { action: KIND.ACTION, reasoning: KIND.REASONING, format: KIND.FORMAT };
const FOCUS_FRAMES = 60;

/** Where the panel of a lesson is, outside of the tabs; whichever part of the page is built first. */
const host = el('div', '');
/** @param {HTMLElement} element */
export const mountPanel = (element) => element.replaceChildren(host);

/** @param {HTMLElement} element @param {{ lessons: Lesson[] }} config */
export function mount(element, { lessons }) {
  const { place } = store;
  const alert = alertLine();
  const { ask } = requestQueue(fail);
  const panel = lessonPanel({ onStep: goStep, onLeave: leave, onAnswer: answer });
  const classroom = checkbox('Class mode: hide the controls', setClassroom, place.classroom);
  const starters = lessons.map((one) => el('button', 'af-button primary',
    { type: 'button', 'aria-label': `Start the lesson: ${one.title}`, onclick: () => begin(one, 0) }, 'Start'));
  /** @type {Lesson | null} */
  let lesson = null;
  let step = 0;
  /** The lesson that the address names, until a trajectory is open and the lesson begins. */
  let linked = place.lesson;
  /** What is left to do for the step: once its trajectory is open (`opened`) and its tab is visible.
   * @type {{ tab: string, kind: number | null, whatif: string, opened: boolean }} */
  let due = { tab: '', kind: null, whatif: '', opened: false };

  host.replaceChildren(panel.node);
  element.classList.add('af-page', 'af-learn');
  element.replaceChildren(alert.node,
    el('div', 'af-learn-head',
      el('p', 'af-lead', 'Short lessons on the open run. Each step sets up a tab, asks for a prediction, and reveals the values of this run. '
        + 'The address links to the current step.'),
      classroom.node),
    el('ol', 'af-lessons', ...lessons.map((one, i) => el('li', 'af-lesson', el('h3', '', one.title), el('p', '', one.about),
      quiet(counted(one.minutes, 'minute')), starters[i]))));
  setClassroom(place.classroom);
  store.onPlace(placed);
  store.onTab(openWhatIf);

  /** @param {boolean} on */
  function setClassroom(on) {
    store.put({ classroom: on });
    document.body.classList.toggle('af-classroom', on);
  }

  /** Begin a lesson at a step, which may come from an address. @param {Lesson} one @param {number} k */
  function begin(one, k) {
    lesson = one;
    goStep(Math.min(Math.max(Math.trunc(k), 0), one.steps.length - 1));
  }

  /** Set up the view of a step, and show its text and question. @param {number} k */
  function goStep(k) {
    if (!lesson || k === lesson.steps.length) {
      leave();
      return;
    }
    const { view, pin } = lesson.steps[k];
    const target = viewOf(store.view(), lesson.steps[k]);
    step = k;
    due = { tab: target.tab, kind: pin ? KINDS[pin] : null, whatif: view.whatif ?? '', opened: false };
    if (!due.whatif) whatif.close();
    // Of other pages than Trace, which opening a trajectory does not set.
    const { scheme_a, scheme_b, other_run, other, controls } = target;
    Object.assign(place, { scheme_a, scheme_b, other_run, other, controls, lesson: lesson.name, lesson_step: k });
    alert.say('');
    panel.show(lesson, k);
    store.showTab(target.tab);
    go(target, true);
  }

  /** A trajectory is open: that of the step, or the first one of a linked lesson. */
  function placed() {
    const [name, one] = [linked, lessons.find((other) => other.name === linked)];
    linked = '';
    if (one) {
      begin(one, place.lesson_step);
    } else if (name) {
      leave();
      fail(`There is no lesson “${name}” here; choose one from the list.`);
    } else if (lesson) {
      store.set({}, true);
      if (due.kind !== null) trace.pinFirst(due.kind);
      Object.assign(due, { kind: null, opened: true });
      openWhatIf();
    }
  }

  /** The What-if panel needs the open trajectory and closes when the tab changes, so it is opened after both. */
  function openWhatIf() {
    if (!lesson || !due.whatif || !due.opened || place.tab !== due.tab) return;
    const { motion = '', stage = 0 } = lesson.steps[step].view;
    Object.assign(place, { motion, stage });
    whatif.open(due.whatif, true);
    due.whatif = '';
  }

  /** @param {number} given */
  function answer(given) {
    const asked = [lesson, step];
    if (whatif.coming()) {
      fail('The update is still being computed; try again when it is shown.');
      return;
    }
    ask('learn/reveal', { view: store.view(), answer: given }, (verdict) => {
      if (lesson === asked[0] && step === asked[1]) panel.reveal(verdict);
    });
  }

  function leave() {
    const starter = lesson && starters[lessons.indexOf(lesson)];
    lesson = null;
    store.put({ lesson: '', lesson_step: 0 });
    panel.hide();
    whatif.close();
    store.showTab('learn');
    if (starter) focusSoon(starter, FOCUS_FRAMES);
  }

  /** @param {string} line */
  function fail(line) {
    if (lesson) panel.fail(line);
    else alert.say(line);
  }
}

/** Focus an element once its tab is visible, which takes some frames. @param {HTMLElement} node @param {number} frames */
function focusSoon(node, frames) {
  node.focus();
  if (document.activeElement !== node && frames) requestAnimationFrame(() => focusSoon(node, frames - 1));
}
