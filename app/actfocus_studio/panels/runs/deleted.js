/* The runs that were deleted and can be restored. */
import { el, linkButton, quiet, textButton } from '../../web/lib/dom.js';
import { dateText, leftText } from './words.js';

/** @typedef {import('../../web/generated/types').DeletedRun} DeletedRun */

/**
 * @param {{ onRestore: (run: DeletedRun) => void, onRemove: (run: DeletedRun) => void, onBack: () => void }} listeners
 */
export function deletedRuns({ onRestore, onRemove, onBack }) {
  const node = el('section', 'af-finder-deleted', { hidden: true, 'aria-label': 'Deleted runs' });

  /** @param {import('../../web/generated/types').TrashResponse} answer */
  function fill({ runs, days }) {
    node.replaceChildren(
      el('div', 'af-finder-line', el('b', '', 'Deleted runs'), linkButton('Back to the runs', onBack)),
      quiet(`They lie in the hidden folder .trash beside the runs, and are removed for good ${days} days after they were deleted.`),
      runs.length ? el('ul', '', ...runs.map(item)) : quiet('There are none.'));
  }

  /** @param {DeletedRun} run */
  function item(run) {
    const acts = el('span', 'af-finder-confirm');
    /** What cannot be undone is asked about once. */
    const offer = () => acts.replaceChildren(textButton('Restore', () => onRestore(run), 'af-button', { 'aria-label': `Restore ${run.run}` }),
      textButton('Remove for good', confirm, 'af-button', { 'aria-label': `Remove ${run.run} for good` }));

    function confirm() {
      const keep = textButton('Keep', offer);
      acts.replaceChildren(el('span', '', 'This cannot be undone.'), keep, textButton('Remove for good', () => onRemove(run), 'af-button danger'));
      keep.focus();
    }

    offer();
    return el('li', '', el('span', 'af-finder-name', run.run),
      el('span', 'af-quiet', `deleted ${dateText(run.deleted)}, ${leftText(run.expires, Date.now() / 1000)}`), acts);
  }

  return { node, fill };
}
