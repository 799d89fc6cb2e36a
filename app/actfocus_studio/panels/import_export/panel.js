/* The drawer at the right: import a file, check a run, export a selection. */
import { requestQueue } from '../../web/lib/api.js';
import { alertLine } from '../../web/lib/components/alert.js';
import { progressView } from '../../web/lib/components/progress.js';
import { button, el, quiet, textButton } from '../../web/lib/dom.js';
import { count } from '../../web/lib/format.js';
import { openInTrace } from '../../web/lib/navigation.js';
import { store } from '../../web/lib/store.js';
import { isOffered, openScoring } from '../scoring/panel.js';
import { exportForm } from './export_form.js';
import { importForm } from './import_form.js';
import { reportNodes } from './report.js';
import { importedText } from './words.js';

/** @typedef {import('../../web/generated/types').ExchangeProgress} ExchangeProgress */
/**
 * @typedef {object} Menu what the forms offer
 * @property {string[]} formats
 * @property {string[]} rules of the spans of actions
 * @property {[name: string, title: string][]} exports
 * @property {[name: string, title: string][]} parts
 * @property {number} pattern_max characters
 * @property {number} upload_max bytes
 * @property {string} receive where files are sent
 */

const POLL_MS = 500;
/** Width of a window that the drawer covers most of. */
const NARROW = 900;
const PHASES = { import: 'Importing', check: 'Checking', export: 'Exporting', starting: 'Starting' };
const APPROXIMATE = 'The text was retokenized: token ids and boundaries may differ from those that were sampled.';

/** @type {ReturnType<typeof build> | null} */
let drawer = null;
/** @type {HTMLButtonElement | null} */
let opener = null;

/** @param {HTMLElement} _element only says that there is a drawer @param {{ menu: Menu }} config */
export function mount(_element, { menu }) {
  drawer = build(menu);
  document.body.append(drawer.node);
}

/** The button of the top bar that opens and closes the drawer. @param {Node} sign */
export function toggler(sign) {
  opener = button('af-tool', sign, 'Import and export', () => drawer?.toggle());
  opener.id = 'af-drawer-button';
  return opener;
}

/** @param {Menu} menu */
function build(menu) {
  const alert = alertLine({ cls: 'af-error' });
  const { ask } = requestQueue(say);
  const importer = importForm(menu, { ask, say, onStarted: follow });
  const exporter = exportForm(menu, (request) => ask('import_export/export', { view: store.view(), ...request }, exporting));
  const progress = progressView({ phases: PHASES, onCancel: () => ask('import_export/cancel', {}, follow) });
  const job = el('div', 'af-drawer-job', { 'aria-live': 'polite' });
  const check = textButton('', () => ask('import_export/check', { run: store.place.run }, follow));
  const report = el('div', 'af-report');
  const node = el('dialog', 'af-drawer', { id: 'af-drawer-panel', 'aria-label': 'Import and export', onkeydown: ({ key }) => key === 'Escape' && close() },
    el('header', 'af-drawer-head', el('h2', '', 'Import and export'), button('af-tool', '×', 'Close', close)),
    alert.node, part('Import', importer.node), job,
    part('Check', quiet('Validates the rollouts of a run: masks, token ids, log-probs, scores and groups.'), check, report),
    part('Export', exporter.node));
  let polling = 0;
  /** The job whose file is downloaded when it is done: the one that was asked for here. */
  let awaited = '';

  document.addEventListener('dragover', (event) => {
    if (!holdsFile(event)) return;
    event.preventDefault();
    open();
  });
  document.addEventListener('drop', (event) => {
    if (!holdsFile(event)) return;
    event.preventDefault();
    importer.take(event.dataTransfer?.files);
  });
  ask('import_export/waiting', {}, ({ tickets }) => {
    if (!tickets.length) return;
    open();
    importer.inspect(tickets[0]);
  });
  store.on(exporter.update);
  store.onPlace(nameRun);
  nameRun();

  function nameRun() {
    check.textContent = `Check ${store.place.run || 'this run'}`;
  }

  const look = () => ask('import_export/look', {}, follow);

  function open() {
    if (node.open) return;
    node.show();
    exporter.filter(store.place.filter);
    look();
  }

  function close() {
    node.close();
    opener?.focus();
  }

  /** Show an error line; the next successful answer clears it. @param {string} text */
  function say(text) {
    alert.say(text);
    if (text) alert.node.scrollIntoView({ block: 'nearest' });
  }

  /** Show a job until it has ended, and its result. @param {ExchangeProgress} answer */
  function follow(answer) {
    const { state, message } = answer.job;
    window.clearTimeout(polling);
    importer.dialog.follow(answer.job);
    if (state === 'running') polling = window.setTimeout(look, POLL_MS);
    if (state === 'failed') say(message);
    progress.show(answer.job);
    // What runs stays in its place, so that its button keeps the focus.
    if (state !== 'running') job.replaceChildren(...result(answer));
    else if (!progress.node.isConnected) job.replaceChildren(progress.node);
    if (answer.report) report.replaceChildren(...reportNodes(answer.report, openIn));
  }

  /** @param {ExchangeProgress} answer */
  function exporting(answer) {
    awaited = answer.job.id;
    follow(answer);
  }

  /** @param {ExchangeProgress} answer */
  function result({ job: { id, state, message }, imported, file }) {
    if (state === 'cancelled') return [quiet(`${message}.`)];
    if (imported) return [importedNode(imported)];
    if (!file) return [];
    const link = el('a', 'af-link', { href: file.url, download: file.name }, file.name);
    if (id === awaited) link.click();
    awaited = '';
    return [el('p', 'af-job-line', `${count(file.rollouts)} rollouts: `, link)];
  }

  /** @param {import('../../web/generated/types').ImportedRun} found */
  function importedNode(found) {
    return el('div', 'af-imported',
      el('p', '', el('b', '', found.run), ` ${importedText(found)}`,
        found.approximate && el('span', 'af-badge', { title: APPROXIMATE }, 'approximate')),
      el('p', 'af-imported-buttons', textButton('Open in Trace', () => openIn(found.run), 'af-button primary'),
        isOffered() && textButton('Score …', () => score(found.run)),
        textButton('Import again …', () => importer.inspect(found.ticket))),
      rules(found));
  }

  /** What the other span rules find, each a click away. @param {import('../../web/generated/types').ImportedRun} found */
  function rules({ spans, action_tokens_by_rule: found, ticket }) {
    const others = Object.entries(found).filter(([name, tokens]) => name !== spans && tokens);
    return others.length > 0 && el('p', 'af-quiet', `Span rule ${spans}: ${count(found[spans] ?? 0)} action tokens in the first rollouts. Import again as `,
      ...others.map(([name, tokens]) => textButton(`${name} (${count(tokens)})`, () => importer.dialog.again(ticket, name), 'af-link')));
  }

  /** Open an imported run, and score it. @param {string} run */
  function score(run) {
    openIn(run);
    close();
    openScoring(run);
  }

  /** Open a trajectory on the Trace page. @param {string} run @param {string} [trajectory] */
  function openIn(run, trajectory = '') {
    openInTrace({ run, trajectory });
    if (window.innerWidth < NARROW || !trajectory) close();
  }

  return { node, toggle: () => (node.open ? close() : open()) };
}

/** @param {string} title @param {...Node} parts */
const part = (title, ...parts) => el('section', 'af-drawer-part', el('h3', '', title), ...parts);

/** @param {DragEvent} event */
const holdsFile = ({ dataTransfer }) => Boolean(dataTransfer?.types.includes('Files'));
