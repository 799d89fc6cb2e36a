/* The import of a file: it is dropped, chosen or named on the command line, sent, and asked about in a dialog. */
import { el, quiet } from '../../web/lib/dom.js';
import { store } from '../../web/lib/store.js';
import { importDialog } from './import_dialog.js';

/** @typedef {import('../../web/generated/types').ExchangeProgress} ExchangeProgress */

/**
 * @param {import('./panel.js').Menu} menu
 * @param {object} how
 * @param {ReturnType<typeof import('../../web/lib/api.js').requestQueue>['ask']} how.ask
 * @param {(line: string) => void} how.say
 * @param {(answer: ExchangeProgress) => void} how.onStarted
 */
export function importForm(menu, { ask, say, onStarted }) {
  const input = el('input', '', { type: 'file', id: 'af-file', onchange: choose });
  const card = el('div', 'af-drop-card', { hidden: true });
  const dialog = importDialog(menu, onStarted);
  const node = el('div', '',
    el('label', 'af-drop', { htmlFor: 'af-file' }, el('b', '', 'Drop a file of rollouts here'), el('span', '', 'or choose a file'), input),
    quiet(`Formats: ${menu.formats.join(', ')}; optionally compressed (.gz, .zst), up to ${menu.upload_max >> 20} MiB. `
      + 'For larger files and folders use ', el('code', '', 'actfocus app FILE'), '.'),
    card);

  function choose() {
    take(input.files);
    input.value = '';
  }

  /** @param {...Node} parts */
  function fill(...parts) {
    card.hidden = !parts.length;
    card.replaceChildren(...parts);
  }

  /** Send the first of some files. @param {FileList | null | undefined} files */
  function take(files) {
    const file = files?.[0];
    if (!file) return;
    fill(el('p', '', `${file.name} …`));
    ask('import_export/announce', { name: file.name, size: file.size }, ({ ticket }) => send(file, ticket), () => fill());
  }

  /** @param {File} file @param {string} ticket */
  function send(file, ticket) {
    const bar = el('progress', 'af-progress', { max: 1, value: 0, 'aria-label': 'Upload progress' });
    fill(el('p', '', `Uploading ${file.name} …`), bar);
    // fetch does not say how much was sent.
    const request = new XMLHttpRequest();
    request.upload.onprogress = ({ loaded, total }) => {
      if (total) bar.value = loaded / total;
    };
    request.onerror = () => refuse(`${file.name}: upload failed; was the file changed meanwhile?`);
    request.onload = () => {
      if (request.status === 200) inspect(ticket);
      else refuse(`${file.name}: upload rejected (${request.responseText.slice(0, 80)}).`);
    };
    request.open('PUT', `${menu.receive}${ticket}`);
    request.send(file);
  }

  /** Ask about a file that is there. @param {string} ticket */
  function inspect(ticket) {
    ask('import_export/inspect', { ticket, run: store.place.run }, (found) => {
      fill();
      dialog.open(found, ticket);
    }, () => fill());
  }

  /** @param {string} line */
  function refuse(line) {
    fill();
    say(line);
  }

  return { node, dialog, take, inspect };
}
