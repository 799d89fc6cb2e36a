/* The rows of the run picker: runs under the heads of their sections. */
import { button, el, icon, textButton } from '../../web/lib/dom.js';
import { count } from '../../web/lib/format.js';
import { SECTIONS, aboutText, dateText, sizeText, successText } from './words.js';

/** @typedef {import('./words.js').PickedRun} PickedRun */
/** @typedef {import('./words.js').RunSize} RunSize */
/** @typedef {ReturnType<typeof runRow>} Row */

const RENAME = 'M4 20h4L19 9l-4-4L4 16zM13 7l4 4';
const DELETE = 'M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13M10 11v5M14 11v5';

/** @param {string} section @param {number} runs */
export const sectionHead = (section, runs) => el('div', 'af-finder-section', { role: 'presentation' },
  SECTIONS.find(([name]) => name === section)?.[1] ?? section, el('span', 'af-quiet', ` ${count(runs)}`));

/**
 * @typedef {object} Listeners
 * @property {(run: PickedRun) => void} onOpen
 * @property {(run: PickedRun, name: string) => void} onRename
 * @property {(run: PickedRun) => void} onDelete
 * @property {() => void} onCancel a name was not changed after all
 */

/**
 * A run: its name and facts, which open it, and buttons that change it.
 *
 * @param {PickedRun} run
 * @param {string} id of the element
 * @param {boolean} current it is the open one
 * @param {Listeners} listeners
 */
export function runRow(run, id, current, { onOpen, onRename, onDelete, onCancel }) {
  const size = el('span', 'af-finder-size', '…');
  const success = el('span', 'af-finder-success', '');
  const name = el('span', 'af-finder-name', run.name);
  const made = run.modified === null ? '' : new Date(run.modified * 1000).toLocaleString('en-GB');
  const what = el('div', 'af-finder-what', { role: 'gridcell', onclick: () => onOpen(run) },
    el('div', 'af-finder-line', name, current && el('span', 'af-finder-open', 'open'), success),
    el('div', 'af-finder-line af-quiet', el('span', 'af-finder-about', { title: made },
      [dateText(run.modified), aboutText(run)].filter(Boolean).join(' · ')), size));
  const acts = el('div', 'af-finder-acts', { role: 'gridcell' }, ...(run.why_kept ? [] : [
    act(RENAME, `Rename ${run.name} (F2)`, edit), act(DELETE, `Delete ${run.name} (Delete)`, () => onDelete(run))]));
  const node = el('div', 'af-finder-row', { id, role: 'row', 'aria-selected': false, title: run.why_kept && `${run.name}: ${run.why_kept}` }, what, acts);
  if (current) node.setAttribute('aria-current', 'true');

  /** @param {RunSize} counts */
  function tell(counts) {
    size.textContent = sizeText(counts);
    size.title = counts.error;
    success.textContent = successText(counts);
  }

  /** Mark the row that Enter opens. @param {boolean} on */
  function mark(on) {
    node.setAttribute('aria-selected', String(on));
    if (on) node.scrollIntoView({ block: 'nearest' });
  }

  /** Write the name anew, in its place. */
  function edit() {
    const field = el('input', 'af-finder-field', { value: run.folder, maxLength: 100, 'aria-label': `New name of ${run.name}`, spellcheck: false });
    field.addEventListener('keydown', (event) => {
      event.stopPropagation();
      if (event.key === 'Enter') save();
      if (event.key === 'Escape') end();
    });
    const bar = el('div', 'af-finder-edit', { role: 'gridcell' }, field, textButton('Rename', save, 'af-button primary'), textButton('Cancel', end));

    function save() {
      if (field.value === run.folder) end();
      else onRename(run, field.value);
    }

    function end() {
      node.replaceChildren(what, acts);
      onCancel();
    }

    node.replaceChildren(bar);
    field.focus();
    field.select();
  }

  return { run, node, tell, mark, edit, told: false };
}

/** @param {string} path @param {string} label @param {() => void} onclick */
function act(path, label, onclick) {
  return button('af-tool', icon(path), label, onclick);
}
