/* The setting as text: a script, a command, or options of another trainer. */
import * as frame from '../../shell/top_bar.js';
import { segmented } from '../../web/lib/components/segmented.js';
import { el, quiet, textButton } from '../../web/lib/dom.js';
import { store } from '../../web/lib/store.js';

/** @typedef {import('../../web/generated/types').ExportedSetting['texts']} Texts */
/** @typedef {import('../../web/lib/store.js').View['export']} Format */

/** @param {[name: Format, title: string][]} formats */
export function exporter(formats) {
  const choice = segmented('Export format', formats, (name) => {
    store.put({ export: name });
    update();
  });
  const text = el('pre', 'af-code', { tabIndex: 0, 'aria-label': 'Exported setting' });
  const notes = quiet();
  const node = el('section', 'af-chart', el('div', 'af-open-head', el('h3', '', 'Export the setting'), choice.node, textButton('Copy', () => copy())), notes, text);
  /** @type {Texts} */
  let texts = {};

  /** @param {Texts} written */
  function fill(written) {
    texts = written;
    update();
  }

  function update() {
    choice.show(store.place.export);
    const written = texts[store.place.export];
    if (!written) return;
    text.textContent = written.text;
    const { scope } = store.settings;
    notes.textContent = [
      written.needs && `Requires the plug-in ${written.needs}${written.installed ? '' : ', which is not installed'}.`,
      scope !== 'batch' && `μ and σ within each ${scope} are for display only: the exported setting takes them over the batch, as the method does.`,
    ].filter(Boolean).join(' ');
  }

  const copy = () => frame.copy(text.textContent ?? '', 'Copied.', () => {
    window.getSelection()?.selectAllChildren(text);
    return 'The browser blocked copying; the text is selected.';
  });

  return { node, fill, update };
}
