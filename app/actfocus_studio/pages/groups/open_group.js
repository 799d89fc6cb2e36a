/* The group that is open: its numbers, and its rollouts as ribbons or side by side. */
import { unpack } from '../../web/lib/columns.js';
import { segmented } from '../../web/lib/components/segmented.js';
import { button, el, reveal } from '../../web/lib/dom.js';
import { number } from '../../web/lib/format.js';
import { openInTrace } from '../../web/lib/navigation.js';
import { store } from '../../web/lib/store.js';
import { USUAL } from './alignment.js';
import { besideView } from './beside.js';
import { FLAT, rate } from './diagnosis.js';
import { ribbonList } from './ribbons.js';

/** @typedef {{ run: string, reference: string }} Source where the groups that are shown come from */

const KINDS = ['reasoning', 'action', 'format'];

/**
 * @param {ReturnType<typeof import('../../web/lib/api.js').requestQueue>['ask']} ask
 * @param {import('./beside.js').Menu} menu
 * @param {() => void} onClose
 */
export function openGroup(ask, menu, onClose) {
  const title = el('h3', '', { tabIndex: -1 });
  const flat = el('span', 'af-badge', { title: FLAT.title }, FLAT.text);
  const told = el('p', 'af-chart-told');
  const key = el('p', 'af-ribbon-key');
  const views = segmented('View of the rollouts', /** @type {const} */ ([['ribbons', 'Ribbons'], ['beside', 'Side by side']]), (view) => {
    store.put({ beside: view === 'beside' ? USUAL : '' });
    paint();
  });
  const by = segmented('Colour of the ribbons', /** @type {const} */ ([['kind', 'Kind'], ['weight', 'Weight']]), (ribbons) => {
    store.put({ ribbons });
    paint();
  });
  const ribbons = ribbonList(({ id }) => openInTrace({ ...source, filter: 'all', trajectory: id }));
  const beside = besideView(menu);
  const node = el('section', 'af-chart af-open', { hidden: true },
    el('div', 'af-open-head', title, flat, views.node, by.node, button('af-tool', '×', 'Close the group', onClose)), told, ribbons.node, key, beside.node);
  /** @type {Source} */
  let source = { run: '', reference: '' };
  /** @type {import('./beside.js').Group | null} */
  let group = null;
  /** @type {import('./rollouts.js').Rollout[]} */
  let rollouts = [];
  /** Each group that is opened or closed makes the answers for earlier ones obsolete. */
  let turn = 0;

  /** Show a group, or none.
   * @param {import('./diagnosis.js').Diagnosis} data @param {number | null} i @param {Source} from @param {boolean} move scroll to it */
  function show(data, i, from, move) {
    const own = ++turn;
    source = from;
    node.hidden = i === null;
    group = i === null ? null : { ...from, step: data.groups.step[i], group: data.groups.name[i] };
    beside.show(null);
    if (i === null || !group) return;
    title.textContent = `Group ${data.groups.label[i]}`;
    flat.hidden = data.groups.sigma[i] !== 0;
    told.textContent = 'Loading …';
    fill([]);
    ask('groups/ribbons', group, (answer) => {
      if (own !== turn) return;
      told.textContent = summary(data, i);
      fill(unpack(answer).ribbons);
      if (move) reveal(node);
    });
  }

  /** @param {import('./rollouts.js').Rollout[]} found */
  function fill(found) {
    rollouts = found;
    ribbons.fill(found);
    paint();
  }

  function paint() {
    if (!node.offsetWidth) return;
    const { settings, place } = store;
    const side = Boolean(place.beside);
    views.show(side ? 'beside' : 'ribbons');
    for (const part of [ribbons.node, key, by.node]) part.hidden = side;
    beside.show(side ? group : null);
    if (side) return;
    const weighted = place.ribbons === 'weight';
    by.show(place.ribbons);
    ribbons.paint(weighted ? settings : null);
    const { signal } = settings;
    const lacking = settings.beta > 0 && rollouts.some((r) => !r.signals[signal] || !r.stats[signal]);
    key.replaceChildren(...(weighted ? [
      `Brighter tokens have a higher weight: ${store.describe(settings)}.`,
      lacking ? el('span', 'af-badge', `${store.signalTitle(signal)} unavailable: actions have no weight`) : '',
    ] : KINDS.map((kind) => el('span', `af-swatch ${kind}`, kind))));
  }

  return { node, show, paint };
}

/** @param {import('./diagnosis.js').Diagnosis} data @param {number} i */
function summary(data, i) {
  const { rollouts, mean_return: mean, sigma } = data.groups;
  return `${rollouts[i]} rollouts, success ${rate(data, i)}, mean return ${number(mean[i], 2)}, σ ${number(sigma[i])}`
    + `${sigma[i] === 0 ? ` (${FLAT.text})` : ''}; ${data.kept[i] ? 'kept' : 'dropped'} by the filter. `
    + `${store.place.beside ? '' : 'Each ribbon shows the sampled tokens of a rollout; a gap starts a new turn. Click one to open it in Trace.'}`;
}
