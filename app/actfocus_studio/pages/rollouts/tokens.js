/* The tokens with the highest or lowest values of a signal, weight or credit over all rollouts; each opens where it stands. */
import { lineOf, post } from '../../web/lib/api.js';
import { unpack } from '../../web/lib/columns.js';
import { select, setOptions } from '../../web/lib/components/form.js';
import { grid } from '../../web/lib/components/grid.js';
import { segmented } from '../../web/lib/components/segmented.js';
import { el } from '../../web/lib/dom.js';
import { count, counted, visible } from '../../web/lib/format.js';
import { listOf } from '../../web/lib/list_query.js';
import { openToken } from '../../web/lib/navigation.js';
import { store } from '../../web/lib/store.js';
import { NAMES } from '../../web/trace/tokens.js';
import { addressOf, goesElsewhere } from './links.js';
import { digits } from './values.js';

/** @typedef {import('../../web/generated/types').ListAbout} About */
/** @typedef {import('../../web/lib/columns.js').Unpacked<import('../../web/generated/types').ListTokens>} Found */
/** @typedef {import('../../web/lib/store.js').Place} Place */

const ENDS = /** @type {const} */ ([['high', 'Highest'], ['low', 'Lowest']]);
const KINDS = /** @type {const} */ ([['', 'all sampled tokens'], ['reasoning', 'reasoning'], ['action', 'actions'], ['format', 'format']]);
const TOKEN = 'token';

/** @param {{ onError: (line: string) => void, onChange: (changes: Partial<Place>) => void, onNeed: (key: string) => void }} listeners */
export function highestTokens({ onError, onChange, onNeed }) {
  const { place } = store;
  const measures = select('Signal, weight or credit', [], (extreme) => onChange({ extreme }));
  const ends = segmented('Which end', ENDS, (end) => onChange({ end }));
  const kinds = select('Kind of the tokens', KINDS, (kind) => onChange({ token_kind: /** @type {Place['token_kind']} */ (kind) }));
  const told = el('span', 'af-quiet', { role: 'status' });
  const rows = grid({ label: 'Tokens', cellsOf, onOpen: open });
  const controls = el('div', 'af-list-line', ends.node, kinds, el('span', 'af-quiet', 'by'), measures, told);
  /** @type {Found | null} */
  let found = null;
  let asked = '';

  /** List what the address says. @param {About} about @param {string} of the run and setting */
  async function ask(about, of) {
    const names = about.measures.map(({ name }) => name);
    if (!names.includes(place.extreme)) place.extreme = names[0] ?? '';
    setOptions(measures, about.measures.map(({ name, title }) => /** @type {const} */ ([name, title])), place.extreme);
    ends.show(place.end);
    kinds.value = place.token_kind;
    const key = JSON.stringify([of, listOf(place), place.extreme, place.end, place.token_kind]);
    if (key === asked) return;
    asked = key;
    rows.node.ariaBusy = 'true';
    let answer;
    try {
      answer = await post('rollouts/tokens', { view: store.view() });
    } catch (error) {
      if (key === asked) onError(lineOf(error));
      return;
    }
    if (key !== asked) return;
    rows.node.ariaBusy = 'false';
    found = unpack(answer);
    const title = about.measures.find(({ name }) => name === place.extreme)?.title ?? '';
    rows.setColumns([
      { name: 'value', title, width: 110, sortable: false }, { name: TOKEN, title: TOKEN, width: 190, text: true, sortable: false },
      { name: 'kind', title: 'kind', width: 100, text: true, sortable: false },
      { name: 'rollout', title: 'rollout', width: 168, text: true, sortable: false },
      { name: 'turn', title: 'turn', width: 60, sortable: false }, { name: 'position', title: 'position', width: 80, sortable: false },
    ]);
    rows.fill(found.value.length, true, found.need ? 'The tokens are being read.' : 'No token has a value.');
    told.textContent = found.value.length ? counted(found.value.length, 'token') : '';
    if (found.need) onNeed(key);
  }

  /** @param {number} i */
  function cellsOf(i) {
    if (!found) return null;
    const { value, text, kind, rollout, turn, token } = found;
    const href = addressOf({ trajectory: rollout[i], turn: Math.max(turn[i], 0), token: token[i] });
    return [digits(value[i]), el('a', 'af-link mono', { href, tabIndex: -1 }, visible(text[i])), el('span', `af-kind k${kind[i]}`, NAMES[kind[i]]),
      rollout[i], turn[i] < 0 ? '–' : String(turn[i] + 1), count(token[i])];
  }

  /** @param {number} i @param {Event} event */
  function open(i, event) {
    if (!found || goesElsewhere(event)) return;
    event.preventDefault();
    openToken({ trajectory: found.rollout[i], turn: Math.max(found.turn[i], 0), token: found.token[i] });
  }

  return { node: rows.frame, controls, ask, forget: () => { asked = ''; } };
}
