/* The steps of a lesson: the view that each opens. Pure: runs in a browser and in Node. */

/** @typedef {import('../../web/generated/types').View} View */
/** @typedef {{ text: string, choices: string[], unit: string }} Question a prediction: one of the choices, or a number */
/** @typedef {{ say: string, view: Partial<View>, pin: '' | 'action' | 'reasoning' | 'format', question: Question | null }} Step */
/** @typedef {{ name: string, title: string, minutes: number, about: string, steps: Step[] }} Lesson */

/** Parameters on which it depends what rollouts there are. @type {(keyof View)[]} */
const MOVING = ['run', 'step', 'filter', 'reference'];
/**
 * The view of a step: its own parameters over those of the current view.
 *
 * @param {View} current
 * @param {Step} step
 * @returns {View}
 */
export function viewOf(current, { view, pin }) {
  const moved = MOVING.some((name) => name in view && view[name] !== current[name]);
  return {
    ...current,
    ...(moved ? { trajectory: '', turn: 0, token: null } : {}),
    ...(pin || 'turn' in view ? { token: null } : {}),
    ...view,
  };
}

/** The paragraphs of a text, which empty lines separate. @param {string} text */
export const paragraphs = (text) => text.split(/\n\s*\n/).map((part) => part.replace(/\s+/g, ' '));
