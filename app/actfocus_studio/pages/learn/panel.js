/* The panel of a lesson: the text of a step, its question, and what is revealed. */
import { form, submitButton } from '../../web/lib/components/form.js';
import { button, el, textButton } from '../../web/lib/dom.js';
import { paragraphs } from './steps.js';

/** @typedef {import('./steps.js').Lesson} Lesson */
/** @typedef {import('./steps.js').Question} Question */
/** @typedef {import('../../web/generated/types').Verdict} Verdict */

/** Of the inputs of an answer. */
const NAME = 'af-lesson-answer';

/**
 * @param {object} how
 * @param {(step: number) => void} how.onStep a step was asked for, or the one after the last
 * @param {() => void} how.onLeave
 * @param {(answer: number) => void} how.onAnswer
 */
export function lessonPanel({ onStep, onLeave, onAnswer }) {
  const title = el('h2', '', { tabIndex: -1 });
  const position = el('span', 'af-quiet');
  const body = el('div', 'af-lesson-body');
  const result = el('div', 'af-lesson-reveal', { 'aria-live': 'polite' });
  const scroll = el('div', 'af-lesson-scroll', body, result);
  const back = textButton('Back', () => onStep(step - 1));
  const next = textButton('Next', () => onStep(step + 1), 'af-button primary');
  const node = el('section', 'af-lesson-panel', { id: 'af-lesson', hidden: true, onkeydown },
    el('header', 'af-lesson-head', title, position, button('af-tool', '×', 'Leave the lesson', onLeave)),
    scroll, el('div', 'af-lesson-foot', back, next));
  let step = 0;
  /** @type {ReturnType<typeof questionForm> | null} */
  let ask = null;

  /** The studio's keyboard shortcuts are off in the panel: arrows choose an answer, digits are typed. @param {KeyboardEvent} event */
  function onkeydown(event) {
    if (event.key === 'Escape') onLeave();
    event.stopPropagation();
  }

  /** @param {Lesson} lesson @param {number} k */
  function show(lesson, k) {
    const { title: name, steps } = lesson;
    const { say, question } = steps[k];
    step = k;
    ask = question && questionForm(question, onAnswer);
    node.hidden = false;
    node.setAttribute('aria-label', `Lesson: ${name}`);
    title.textContent = name;
    position.textContent = `step ${k + 1} of ${steps.length}`;
    back.disabled = k === 0;
    next.textContent = k + 1 < steps.length ? 'Next' : 'Finish';
    result.replaceChildren();
    body.replaceChildren(...texts(say), ...(ask ? [ask.node] : []));
    scroll.scrollTop = 0;
    mark(Boolean(question));
    title.focus();
  }

  function hide() {
    node.hidden = true;
    document.body.classList.remove('af-in-lesson', 'af-asking');
  }

  /** For the style sheets. While a question is open, the summary of the page would give the answer away. @param {boolean} asking */
  function mark(asking) {
    document.body.classList.add('af-in-lesson');
    document.body.classList.toggle('af-asking', asking);
  }

  /** @param {Verdict} verdict */
  function reveal({ correct, right, text, why }) {
    const [word, more] = correct === null ? [why, ''] : [correct ? 'Correct.' : 'Incorrect.', why && ` ${why}`];
    result.replaceChildren(el('p', '', el('b', '', word), more), ...texts(text));
    ask?.mark(right);
    mark(false);
    result.scrollIntoView({ block: 'nearest' });
  }

  /** Show an error line, or none. @param {string} line */
  function fail(line) {
    result.replaceChildren(...(line ? [el('p', 'af-error', line)] : []));
  }

  return { node, show, hide, reveal, fail };
}

/** @param {string} text */
const texts = (text) => paragraphs(text).map((part) => el('p', '', part));

/** @param {Question} question @param {(answer: number) => void} onAnswer */
function questionForm({ text, choices, unit }, onAnswer) {
  const fields = choices.length
    ? choices.map((choice, i) => answerField('af-check', choice, { type: 'radio', value: String(i) }))
    : [answerField('af-guess', unit, {
      className: 'af-lesson-number', type: 'number', step: 'any', 'aria-label': unit ? `Your prediction, in ${unit}` : 'Your prediction',
    })];
  const node = form('', () => onAnswer(Number(new FormData(node).get(NAME))),
    el('fieldset', 'af-ask', el('legend', '', text), ...fields.map((field) => field.node), submitButton('Reveal', 'af-button')));

  /** Mark the correct choices. @param {number[]} right */
  function mark(right) {
    fields.forEach((field, i) => field.mark(right.includes(i)));
  }

  return { node, mark };
}

/** @param {string} cls @param {string} text @param {import('../../web/lib/dom.js').Properties<'input'>} properties */
function answerField(cls, text, properties) {
  const tick = el('span', 'af-right', { hidden: true }, ' ✓ correct');
  const node = el('label', cls, el('input', '', { name: NAME, required: true, ...properties }), text, tick);

  /** @param {boolean} right */
  function mark(right) {
    node.classList.toggle('right', right);
    tick.hidden = !right;
  }

  return { node, mark };
}
