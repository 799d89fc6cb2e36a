/* The form of an export: a format, and which rollouts. */
import { field, form, select, submitButton } from '../../web/lib/components/form.js';
import { quiet } from '../../web/lib/dom.js';
import { store } from '../../web/lib/store.js';

/** @typedef {import('../../web/generated/types').ExportRequest} ExportRequest */

const FILTERS = /** @type {const} */ ([
  ['all', 'all rollouts'], ['success', 'successful rollouts'], ['failure', 'failed rollouts'],
  ['malformed', 'rollouts with malformed or illegal actions'],
]);
const WEIGHTED = ['html', 'advantages'];

/**
 * @param {import('./panel.js').Menu} menu
 * @param {(request: Omit<ExportRequest, 'view'>) => void} onExport
 */
export function exportForm(menu, onExport) {
  const format = select('', menu.exports, update);
  const scope = select('', menu.parts, update, 'run');
  const filters = select('', FILTERS);
  const note = quiet();
  const node = form('', submit, field('Format', format), field('Scope', scope), field('Rollouts', filters), note, submitButton('Export'));
  update();

  function update() {
    filters.disabled = scope.value === 'trajectory';
    note.textContent = WEIGHTED.includes(format.value)
      ? `Weights: ${store.describe({ ...store.settings, scope: 'batch', adv: false })}; μ and σ over the whole batch.` : '';
  }

  function submit() {
    onExport(/** @type {Omit<ExportRequest, 'view'>} */ (
      { format: format.value, part: scope.value, filter: filters.disabled ? 'all' : filters.value }));
  }

  /** Set which rollouts are exported. @param {string} name */
  function filter(name) {
    filters.value = name;
  }

  return { node, update, filter };
}
