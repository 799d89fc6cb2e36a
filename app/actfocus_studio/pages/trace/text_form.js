/* The two forms of the text: messages, and the stream as the model saw it. */
import { messageCards } from '../../web/trace/messages.js';

/** @typedef {'messages' | 'rendered'} Mode */

/** @type {[name: Mode, title: string, help: string][]} */
export const MODES = [
  ['messages', 'Messages', 'roles, reasoning, calls, results and observations as blocks, JSON laid out'],
  ['rendered', 'Rendered', 'the text as the model saw it'],
];

/** The form that was chosen, and what makes its cards; by default messages, unless the environment is drawn beside the text.
 * @param {import('./model.js').TraceModel} m @param {Mode | ''} chosen */
export function textForm({ data, plain }, chosen) {
  const value = chosen || (plain ? 'messages' : 'rendered');
  return { value, cards: value === 'messages' ? messageCards(data.dialogue) : undefined };
}
