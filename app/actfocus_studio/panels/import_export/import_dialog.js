/* The dialog of an import: what the file is, how it is read, and its first rollouts as they would be stored. */
import { lineOf, post } from '../../web/lib/api.js';
import { alertLine } from '../../web/lib/components/alert.js';
import { checkbox, field, form, select, submitButton } from '../../web/lib/components/form.js';
import { progressView } from '../../web/lib/components/progress.js';
import { button, el } from '../../web/lib/dom.js';
import { previewNodes } from './preview.js';
import { fileText, ruleTitle } from './words.js';

/** @typedef {import('../../web/generated/types').UploadedFile} UploadedFile */
/** @typedef {import('../../web/generated/types').ImportSettings} ImportSettings */
/** @typedef {import('../../web/generated/types').ExchangeProgress} ExchangeProgress */

const PATTERN = 'pattern:';
const POLL_MS = 300;
const WAKE_MS = 400; // after a key in a text field
const PHASES = { starting: 'Reading the first rollouts' };
const IMPORTING = { starting: 'Starting the import', import: 'Importing', check: 'Checking' };

/**
 * @param {import('./panel.js').Menu} menu
 * @param {(answer: ExchangeProgress) => void} onStarted
 */
export function importDialog(menu, onStarted) {
  const alert = alertLine({ cls: 'af-error' });
  const about = el('p', 'af-import-about');
  const title = el('h2', '');
  const fields = el('div', 'af-import-fields');
  const shown = el('div', 'af-preview', { role: 'region', 'aria-label': 'Preview', tabIndex: 0 });
  const reading = progressView({ phases: PHASES, label: 'Preview progress', onCancel: () => send('import_export/cancel_preview') });
  const importing = progressView({ phases: IMPORTING, label: 'Import progress', onCancel: () => send('import_export/cancel') });
  const submit = submitButton('Import');
  const node = el('dialog', 'af-import', { 'aria-label': 'Import a file', onclose: closed },
    el('header', '', title, button('af-tool', '×', 'Close the import', () => node.close())),
    about, alert.node,
    form('af-import-body', start, el('div', 'af-import-side', fields, el('p', 'af-import-end', submit), importing.node),
      el('div', 'af-import-main', reading.node, shown)));
  document.body.append(node);
  let ticket = '';
  let due = 0;
  let poll = 0;
  /** Whether an import that was started here is running. */
  let waits = false;
  /** @type {() => ImportSettings} */
  let settings = () => ({});

  /** @param {UploadedFile} file @param {string} name the ticket of the file */
  function open(file, name) {
    ticket = name;
    waits = false;
    title.textContent = file.name;
    about.textContent = fileText(file);
    alert.say('');
    shown.replaceChildren();
    build(file);
    submit.disabled = false;
    if (!node.open) node.showModal();
    /** @type {HTMLElement | null} */ (fields.querySelector('input, select'))?.focus();
    preview();
  }

  /** The fields; every change is seen in the preview. @param {UploadedFile} file */
  function build(file) {
    if (!file.needs_tokenizer) {
      fields.replaceChildren(el('p', 'af-quiet', 'This format has tokens and their kinds: nothing has to be chosen.'));
      settings = () => ({});
      return;
    }
    const known = el('datalist', '', { id: 'af-tokenizers' }, ...file.tokenizers.map((value) => el('option', '', { value })));
    const tokenizer = text('Tokenizer', file.tokenizers[0] ?? '', 'hub id, folder or tokenizer.json', { 'list': 'af-tokenizers' });
    const pattern = text('Pattern: regular expression with a group named action', '', 'Move: (?P<action>\\w+)');
    pattern.hidden = true;
    const rule = select('', [...menu.rules, PATTERN].map((name) => /** @type {const} */ ([name, ruleTitle(name)])), (name) => {
      pattern.hidden = name !== PATTERN;
      soon(0);
    }, 'auto');
    const environment = text('Environment text', 'auto', 'auto, none, or names of tags');
    const success = el('input', 'af-input', { type: 'number', value: '1', step: 'any', oninput: () => soon() });
    const rewards = text('Reward columns', '', 'inferred from the file');
    const strict = checkbox('Strict: refuse what cannot be read', () => soon(0));
    fields.replaceChildren(known,
      field('Tokenizer', tokenizer, 'Of the model that generated the rollouts: a hub id of the local cache, a folder, or a tokenizer.json.'),
      field('Span rule', rule, 'How actions are found in the replies.'), pattern,
      el('details', 'af-import-more', el('summary', '', 'More'),
        field('Environment text', environment, 'What the environment wrote inside replies: auto, none, names of tags, or pattern:…'),
        field('Success from reward', success, 'The smallest reward that counts as success, if the file does not say.'),
        field('Reward columns', rewards, 'TRL columns, or scores of Inspect, whose sum is the reward.'), strict.node));
    settings = () => ({
      tokenizer: tokenizer.value.trim(),
      spans: rule.value === PATTERN ? PATTERN + pattern.value : rule.value,
      environment_spans: environment.value, success_at: success.value === '' ? 1 : Number(success.value),
      reward_columns: rewards.value, strict: strict.box.checked,
    });
  }

  /** @param {string} label @param {string} value @param {string} placeholder @param {Record<string, string>} [more] attributes */
  function text(label, value, placeholder, more = {}) {
    const input = el('input', 'af-input', { type: 'text', value, placeholder, maxLength: 400, spellcheck: false, 'aria-label': label, oninput: () => soon() });
    for (const [name, set] of Object.entries(more)) input.setAttribute(name, set);
    return input;
  }

  /** Make the preview again once nothing is typed any more. */
  function soon(after = WAKE_MS) {
    clearTimeout(due);
    due = window.setTimeout(preview, after);
  }

  function preview() {
    if (node.open) send('import_export/preview', { ticket, settings: settings() });
  }

  /** Ask for a preview, or for its state, and follow it.
   * @param {'import_export/preview' | 'import_export/look_at_preview' | 'import_export/cancel_preview' | 'import_export/cancel'} operation
   * @param {any} [request] */
  async function send(operation, request = {}) {
    clearTimeout(poll);
    const sent = ticket;
    try {
      const answer = await post(operation, request);
      if (operation === 'import_export/cancel') onStarted(/** @type {ExchangeProgress} */ (answer));
      else if (sent === ticket && node.open) show(/** @type {import('../../web/generated/types').PreviewProgress} */ (answer));
    } catch (error) {
      reading.node.hidden = true;
      alert.say(lineOf(error));
    }
  }

  /** @param {import('../../web/generated/types').PreviewProgress} answer */
  function show({ job, preview: found }) {
    clearTimeout(poll);
    reading.show(job);
    shown.setAttribute('aria-busy', String(job.state === 'running'));
    if (job.state === 'running') poll = window.setTimeout(() => send('import_export/look_at_preview'), POLL_MS);
    else alert.say(job.state === 'failed' ? job.message : '');
    if (found) shown.replaceChildren(...previewNodes(found));
    else if (job.state === 'failed') shown.replaceChildren();
  }

  async function start() {
    clearTimeout(due);
    await begin(settings());
  }

  /** Import the file in this way. @param {ImportSettings} how */
  async function begin(how) {
    used = how;
    submit.disabled = true;
    try {
      const answer = await post('import_export/import', { ticket, settings: how });
      alert.say('');
      waits = true;
      onStarted(answer);
    } catch (error) {
      alert.say(lineOf(error));
      submit.disabled = false;
      if (!node.open) node.showModal();
    }
  }
  /** The settings of the last import. @type {ImportSettings} */
  let used = {};

  /** Import the same file under another span rule. @param {string} name its ticket @param {string} spans */
  function again(name, spans) {
    ticket = name;
    return begin({ ...used, spans });
  }

  /** Show the import that was started here; it closes the dialog when it is done. @param {ExchangeProgress['job']} job */
  function follow(job) {
    if (!waits) return;
    importing.show(job);
    if (job.state === 'running') return;
    waits = false;
    submit.disabled = false;
    if (job.state === 'done') node.close();
    else alert.say(job.message);
  }

  function closed() {
    clearTimeout(due);
    clearTimeout(poll);
    post('import_export/cancel_preview', {}).catch(() => {});
  }

  return { open, follow, again };
}
