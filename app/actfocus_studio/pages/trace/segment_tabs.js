/* The contexts of one rollout as tabs: its agents, its branches, and histories that were rebuilt. */
import { el, textButton } from '../../web/lib/dom.js';
import { count, counted } from '../../web/lib/format.js';

/** @typedef {import('../../web/generated/types').Opened} Opened */
/** @typedef {import('../../web/generated/types').Segment} Segment */

const STEPS = { ArrowLeft: -1, ArrowRight: 1 };

/** A tab for each context of a rollout that has several; null for others. @param {Opened} data @param {(id: string) => void} go */
export function segmentTabs({ segments, place }, go) {
  if (segments.length < 2) return null;
  const nodes = segments.map((segment) => tab(segment, segment.id === place.id, go));

  /** @param {KeyboardEvent} event */
  function onkeydown(event) {
    const step = STEPS[/** @type {keyof typeof STEPS} */ (event.key)];
    const to = segments[segments.findIndex(({ id }) => id === place.id) + (step || 0)];
    if (!step || !to) return;
    event.preventDefault();
    go(to.id);
  }

  return el('div', 'af-contexts', { role: 'tablist', 'aria-label': 'Contexts of this rollout', onkeydown }, ...nodes);
}

/** @param {Segment} segment @param {boolean} on @param {(id: string) => void} go */
function tab({ id, segment, agent, tokens, trainable }, on, go) {
  const title = `${id}: ${counted(tokens, 'token')}${trainable ? '' : ', an agent that is not trained'}`;
  return textButton(agent ? `${agent} ` : 'context ', () => go(id), `af-context${trainable ? '' : ' dim'}`,
    el('b', '', String(segment + 1)), { role: 'tab', title, 'aria-selected': on, 'aria-controls': 'af-text', tabIndex: on ? 0 : -1 });
}

/** What a context shares with the one it branched from; null for one that shares nothing. @param {Opened['trajectory']} trajectory
 * @param {number} n tokens in all */
export function sharedNote({ shared, parent }, n) {
  if (!shared || parent === null) return null;
  return el('p', 'af-shared', `The first ${count(shared)} of ${counted(n, 'token')} are those of context ${parent + 1} and dimmed: `
    + 'what the policy sampled among them is in the loss there, once.');
}
