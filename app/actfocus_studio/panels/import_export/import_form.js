/* The import of a file: it is dropped or chosen, sent, and read once the person has said how. */
import { field, form, select, submitButton } from '../../web/lib/components/form.js';
import { el, quiet } from '../../web/lib/dom.js';
import { store } from '../../web/lib/store.js';
import { fileText } from './words.js';

/** @typedef {import('../../web/generated/types').UploadedFile} UploadedFile */

const PATTERN = 'pattern:';
/** @type {Record<string, string>} */
const RULE_HELP = {
  auto: 'the rule that fits the replies',
  think_answer: 'think and answer tags', tool_call: 'tool calls', boxed: '\\boxed{…}', react: 'ReAct, “Action:”',
  [PATTERN]: 'a regular expression',
};

/**
 * @param {import('./panel.js').Menu} menu
 * @param {object} how
 * @param {ReturnType<typeof import('../../web/lib/api.js').requestQueue>['ask']} how.ask
 * @param {(line: string) => void} how.say
 * @param {(answer: import('../../web/generated/types').ExchangeProgress) => void} how.onStarted
 */
export function importForm(menu, { ask, say, onStarted }) {
  const input = el('input', '', { type: 'file', id: 'af-file', onchange: choose });
  const card = el('div', 'af-drop-card', { hidden: true });
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
    ask('import_export/announce', { name: file.name, size: file.size }, ({ ticket }) => send(file, ticket));
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
      if (request.status === 200) {
        ask('import_export/inspect', { ticket, run: store.place.run }, (found) => fill(readForm(found, ticket)));
      } else {
        refuse(`${file.name}: upload rejected (${request.responseText.slice(0, 80)}).`);
      }
    };
    request.open('PUT', `${menu.receive}${ticket}`);
    request.send(file);
  }

  /** @param {string} line */
  function refuse(line) {
    fill();
    say(line);
  }

  /** What is needed to read a file. @param {UploadedFile} file @param {string} ticket */
  function readForm(file, ticket) {
    const tokenizer = select('', file.tokenizers);
    const rules = [...menu.rules, PATTERN].map((name) => /** @type {const} */ ([name, `${name.replace(/:$/, '')}: ${RULE_HELP[name] ?? ''}`]));
    const rule = select('', rules, (name) => {
      pattern.hidden = name !== PATTERN;
    }, 'auto');
    const pattern = el('input', 'af-pattern', {
      type: 'text', hidden: true, maxLength: menu.pattern_max, placeholder: 'Move: (?P<action>\\w+)', spellcheck: false,
      'aria-label': 'Pattern: regular expression with a group named action',
    });

    function submit() {
      const spans = rule.value === PATTERN ? PATTERN + pattern.value : rule.value;
      ask('import_export/import', { ticket, tokenizer: file.needs_tokenizer ? tokenizer.value : null, spans }, (answer) => {
        fill();
        onStarted(answer);
      });
    }

    const fields = file.needs_tokenizer ? [
      field('Tokenizer', tokenizer, 'Of the model that generated the rollouts.'),
      field('Span rule', rule, 'How actions are found in the text.'), pattern,
    ] : [];
    return form('', submit, el('p', '', el('b', '', file.name), el('br', ''), fileText(file)), ...fields, submitButton('Import'));
  }

  return { node, take };
}
