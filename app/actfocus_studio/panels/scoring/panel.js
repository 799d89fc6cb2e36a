/* The dialog that scores a run: a reference is chosen, a sample or all of it is started, and the open page follows. */
import { requestQueue } from '../../web/lib/api.js';
import { alertLine } from '../../web/lib/components/alert.js';
import { field, form, select, setOptions } from '../../web/lib/components/form.js';
import { signalsView } from '../../web/lib/components/signals_view.js';
import { button, el, quiet, textButton } from '../../web/lib/dom.js';
import { count, counted } from '../../web/lib/format.js';
import { go, onOpened } from '../../web/lib/navigation.js';
import { follow, hasEnded, look, onSignals } from '../../web/lib/signals.js';
import { store } from '../../web/lib/store.js';

/** @typedef {import('../../web/generated/types').ReferencesResponse} References */

const FOLDER = 'folder:';

/** @type {ReturnType<typeof build> | null} */
let dialog = null;

export function mount() {
  dialog = build();
  document.body.append(dialog.node);
  followInPage();
  look();
}

/** Whether this studio scores: one that is read-only does not. */
export const isOffered = () => Boolean(document.getElementById('af-scoring'));

/** Open the dialog for the open run. @param {string} [run] */
export const openScoring = (run = store.place.run) => dialog?.open(run);

/** Score what a sample left. @param {string} run @param {string} reference */
export const scoreRest = (run, reference) => dialog?.rest(run, reference);

function build() {
  const alert = alertLine({ cls: 'af-alert' });
  const { ask } = requestQueue((line) => alert.say(line));
  const about = quiet();
  const reference = select('', [], update);
  const folder = el('input', 'af-input', { type: 'text', maxLength: 800, spellcheck: false, hidden: true,
    placeholder: '/models/my-reference', 'aria-label': 'Folder of the reference model' });
  const sample = textButton('', () => start(offer?.sample ?? null));
  const all = el('button', 'af-button primary', { type: 'submit' });
  const job = signalsView(scoreRest);
  const title = el('h2', '');
  const node = el('dialog', 'af-scoring', { id: 'af-scoring-dialog', 'aria-label': 'Score with a reference model' },
    el('header', '', title, button('af-tool', '×', 'Close', () => node.close())), alert.node, about,
    form('', () => start(null), field('Reference model', reference, 'Weights use its energy or entropy. Its tokenizer must be that of the rollouts.'),
      folder, el('p', 'af-scoring-buttons', sample, all)), job.node);
  /** @type {References | null} */
  let offer = null;
  let name = '';

  /** @param {string} run */
  function open(run) {
    name = run;
    title.textContent = `Score ${run}`;
    ask('scoring/references', { run }, fill);
    if (!node.open) node.showModal();
  }

  /** @param {References} found */
  function fill(found) {
    offer = found;
    setOptions(reference, [
      ...found.references.map(({ name: value, title: label, usable, groups_left: missing }) => /** @type {const} */ (
        [value, `${label}${missing < found.groups ? `: ${count(found.groups - missing)} of ${count(found.groups)} groups scored` : ''}`, !usable])),
      [FOLDER, 'a folder …'],
    ], found.suggested);
    update();
  }

  /** Groups that the chosen reference has not scored. */
  function left() {
    const found = offer?.references.find((one) => one.name === reference.value);
    return found ? found.groups_left : offer?.groups ?? 0;
  }

  function update() {
    folder.hidden = reference.value !== FOLDER;
    const groups = left();
    about.textContent = groups ? 'Each group is stored when it is scored: the job can be cancelled, and goes on where it was.'
      : 'All groups are scored with this model.';
    sample.hidden = groups <= (offer?.sample ?? 0);
    sample.textContent = `Score ${offer?.sample} groups`;
    all.textContent = groups ? `Score ${counted(groups, 'group')}` : 'Scored';
    all.disabled = !groups;
  }

  /** @param {number | null} groups */
  function start(groups) {
    const chosen = reference.value === FOLDER ? folder.value.trim() : reference.value;
    begin({ run: name, reference: chosen, groups });
  }

  /** @param {{ run: string, reference: string, groups: number | null }} request */
  function begin(request) {
    const first = request.run === store.place.run ? store.place.trajectory : '';
    ask('scoring/start', { ...request, first }, (now) => {
      follow(now);
      node.close();
    });
  }

  /** @param {string} run @param {string} slug the reference as the run's files name it */
  function rest(run, slug) {
    ask('scoring/references', { run }, (found) => {
      const named = found.references.find(({ name: one }) => one.replace(/[^A-Za-z0-9._-]+/g, '-').replace(/^[.-]+|[.-]+$/g, '') === slug);
      if (named) begin({ run, reference: named.name, groups: null });
      else open(run);
    });
  }

  return { node, open, rest };
}

/** The open page shows the weights of its rollout as soon as they are stored, and those of the whole batch at the end. */
function followInPage() {
  /** @type {import('../../web/lib/navigation.js').OpenResponse | null} */
  let opened = null;
  let seen = -1;
  onOpened((answer) => {
    opened = answer;
  });
  onSignals((now, was) => {
    const { run, trajectory, filter } = store.place;
    if (now.job.run !== run) return;
    const view = { run, trajectory, filter, reference: now.reference || store.place.reference };
    if (hasEnded(now, was)) go(view);
    else if (now.job.state === 'running' && now.reference && now.job.done && now.job.done !== seen && lacks(opened, now.reference)) go(view);
    seen = now.job.done;
  });
}

/** Whether the open rollout has no scores of a reference.
 * @param {import('../../web/lib/navigation.js').OpenResponse | null} opened @param {string} reference */
const lacks = (opened, reference) => Boolean(opened && !('error' in opened)
  && (opened.run.reference !== reference || !opened.batch.signals.energy));
