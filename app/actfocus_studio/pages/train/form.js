/* The form of a new experiment, with an estimate of how long it takes. */
import { checkbox, field, form, select, setOptions, submitButton } from '../../web/lib/components/form.js';
import { el } from '../../web/lib/dom.js';
import { store } from '../../web/lib/store.js';
import { estimateText } from './words.js';

/** How long the button of a form that was sent is off. */
const REST_MS = 1500;
const CHECKED = ['uniform', 'actfocus'];

/**
 * @param {import('./page.js').Menu} menu
 * @param {ReturnType<typeof import('../../web/lib/api.js').requestQueue>['ask']} ask
 * @param {(id: string) => void} onStarted
 */
export function trainingForm(menu, ask, onStarted) {
  const time = select('', menu.times, estimate);
  const environment = select('', menu.environments, estimate, 'FrozenLake, deterministic');
  const policy = select('', ['tiny'], estimate);
  const algorithm = select('', menu.algorithms.map((name) => [name, name.toUpperCase()]), estimate);
  const seeds = select('', Array.from({ length: menu.seeds }, (_, i) => i + 1), estimate);
  const schemes = menu.schemes.map(([name, title]) => ({ name, ...checkbox(title, estimate, CHECKED.includes(name)) }));
  const note = el('p', 'af-quiet af-estimate', { 'aria-live': 'polite' }, '…');
  const start = submitButton('Start');
  const node = form('af-train-form', submit,
    field('Time', time, 'Per run.'), field('Environment', environment),
    field('Policy', policy, 'Installed models, and policies trained here.'),
    field('Algorithm', algorithm, 'Determines the advantages.'),
    el('fieldset', 'af-field', el('legend', '', 'Credit schemes'),
      el('span', 'af-quiet', 'All start from the same policy and use the same prompts. ActFocus takes α, β and the signal of the sidebar.'),
      ...schemes.map((scheme) => scheme.node)),
    field('Seeds', seeds, 'Per scheme. At least 3 are needed to compare schemes.'), note, start);

  function request() {
    return {
      view: store.view(), time: time.value, environment: environment.value, policy: policy.value, algorithm: algorithm.value,
      seeds: Number(seeds.value), schemes: schemes.filter(({ box }) => box.checked).map(({ name }) => name),
    };
  }

  function estimate() {
    const asked = request();
    start.disabled = !asked.schemes.length;
    if (start.disabled) {
      note.textContent = 'Choose at least one scheme.';
      return;
    }
    ask('train/estimate', asked, (answer) => {
      note.textContent = estimateText(answer);
    });
  }

  function submit() {
    start.disabled = true;
    ask('train/start', request(), ({ id }) => onStarted(id));
    window.setTimeout(() => {
      start.disabled = false;
    }, REST_MS);
  }

  /** Ask for what is installed, and how long the experiment would take. */
  function load() {
    ask('train/policies', {}, ({ policies }) => setOptions(policy, policies.map(({ name, title }) => [name, title])));
    estimate();
  }

  return { node, load };
}
