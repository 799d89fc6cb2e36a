/* Which tokens an edit replaces, and where the others went. Pure: runs in a browser and in Node. */
import { KIND } from '../../web/generated/constants.js';

/** @typedef {import('../../web/generated/types').EditableTurn} EditableTurn */
/** @typedef {import('../../web/generated/types').EditResult} EditResult */
/** @typedef {'reply' | 'thought' | 'answer' | 'token'} EditPart */
/** @typedef {{ first: number, end: number }} TokenRange */

/**
 * The tokens of a part of a reply; null for all of it, and where it has no such part.
 *
 * @param {EditPart} part
 * @param {EditableTurn} turn
 * @param {ArrayLike<number>} kinds of the tokens of the trajectory
 * @param {number | null} pinned
 * @returns {TokenRange | null}
 */
export function partOf(part, { span }, kinds, pinned) {
  if (part === 'reply' || !span) return null;
  const wanted = part === 'thought' ? KIND.REASONING : KIND.ACTION;
  const inside = Array.from({ length: span[1] - span[0] }, (_, k) => span[0] + k)
    .filter((i) => (part === 'token' ? i === pinned : kinds[i] === wanted));
  return inside.length ? { first: inside[0], end: inside[inside.length - 1] + 1 } : null;
}

/** Where token i of the original is in the edited trajectory, or the other way round; null within the edit.
 * @param {EditResult} result @param {boolean} back from the edited one to the original @param {number} i */
export function movedTo({ span, new_span, shift }, back, i) {
  if (i < span[0]) return i;
  if (i < (back ? new_span : span)[1]) return null;
  return back ? i - shift : i + shift;
}
