/* The rows of the list as a file: CSV for a spreadsheet, JSON lines for a program. */
import { lineOf, post } from '../../web/lib/api.js';
import { downloadLink, el, textButton } from '../../web/lib/dom.js';
import { store } from '../../web/lib/store.js';

/** @param {() => string[]} names of the columns that are shown @param {(line: string) => void} onError */
export function exporter(names, onError) {
  const last = el('span', 'af-list-file');
  const buttons = /** @type {const} */ (['csv', 'jsonl']).map((format) => textButton(format.toUpperCase(), () => write(format), 'af-button',
    { title: `Download the rows of this list as ${format.toUpperCase()}`, 'aria-label': `Download the list as ${format.toUpperCase()}` }));

  /** @param {'csv' | 'jsonl'} format */
  async function write(format) {
    for (const node of buttons) node.disabled = true;
    try {
      const { text, name } = await post('rollouts/export', { view: store.view(), columns: names(), format });
      const link = downloadLink(text, name);
      last.replaceChildren(link);
      link.click();
    } catch (error) {
      onError(lineOf(error));
    } finally {
      for (const node of buttons) node.disabled = false;
    }
  }

  /** @param {boolean} on */
  function show(on) {
    for (const node of [...buttons, last]) node.hidden = !on;
  }

  return { nodes: [...buttons, last], show };
}
