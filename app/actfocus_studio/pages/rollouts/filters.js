/* The controls that choose which rollouts are listed: search, conditions, and an expression. Each writes into the address. */
import { select, setOptions } from '../../web/lib/components/form.js';
import { el, textButton } from '../../web/lib/dom.js';
import { count } from '../../web/lib/format.js';
import { toggled } from '../../web/lib/list_query.js';
import { store } from '../../web/lib/store.js';

/** @typedef {import('../../web/generated/types').ListAbout} About */
/** @typedef {import('../../web/lib/list_query.js').Filters} Filters */

const TYPING_MS = 350;
const WITHIN = /** @type {const} */ ([
  ['', 'in all text'], ['reasoning', 'in reasoning'], ['action', 'in actions'], ['observation', 'in observations'],
]);
const SELECTS = /** @type {const} */ ([
  ['in_step', 'Training step', 'steps', 'all steps'], ['in_env', 'Environment', 'envs', 'all environments'],
  ['in_agent', 'Agent', 'agents', 'all agents'],
]);
const SWITCHES = /** @type {const} */ ([['case', 'Aa', 'Match case'], ['regex', '.*', 'Regular expression']]);
const TITLES = /** @type {Record<string, string>} */ ({ unknown: 'success unknown' });

/** @param {readonly string[]} only the conditions without a value @param {(changes: Partial<Filters>) => void} onChange */
export function filters(only, onChange) {
  let typing = 0;
  const search = field('search', 'Search in the texts', 'Search in all texts', 200, 'search');
  const ways = SWITCHES.map(([name, sign, label]) =>
    textButton(sign, () => onChange({ [name]: !store.place[name] }), 'af-chip mono', { title: label, 'aria-label': label }));
  const within = select('Where to search', WITHIN, (value) => onChange({ within: /** @type {Filters['within']} */ (value) }));
  const chips = new Map(only.map((name) => [name, textButton('', () => onChange({ only: toggled(store.place.only, name) }), 'af-chip')]));
  const selects = SELECTS.map(([name, label]) =>
    select(label, [], (value) => onChange({ [name]: name === 'in_step' ? (value === '' ? null : Number(value)) : value })));
  const groups = el('datalist', '', { id: 'af-list-groups' });
  const group = field('in_group', 'Group', 'group', 200, 'text');
  group.setAttribute('list', groups.id);
  const where = field('where', 'Where: an expression', 'where, for instance: success == false and tokens > 300', 600, 'text');
  const error = el('p', 'af-list-error', { id: 'af-where-error', role: 'alert', hidden: true });
  const unfound = el('p', 'af-list-error', { id: 'af-search-error', role: 'alert', hidden: true });
  where.setAttribute('aria-describedby', error.id);
  search.setAttribute('aria-describedby', unfound.id);
  const hits = el('span', 'af-quiet', { role: 'status' });

  /**
   * A field that is read when typing pauses, and at once by Enter.
   *
   * @param {'search' | 'where' | 'in_group'} name
   * @param {string} label
   * @param {string} placeholder
   * @param {number} maxLength
   * @param {string} type
   */
  function field(name, label, placeholder, maxLength, type) {
    const read = () => {
      clearTimeout(typing);
      if (input.value.trim() !== store.place[name]) onChange({ [name]: input.value.trim() });
    };
    const input = el('input', 'af-list-field', { type, placeholder, maxLength, spellcheck: false, autocomplete: 'off', 'aria-label': label, onchange: read,
      oninput: () => {
        clearTimeout(typing);
        typing = window.setTimeout(read, TYPING_MS);
      } });
    return input;
  }

  /** Show what the address says. @param {About | null} about */
  function show(about) {
    const { place } = store;
    for (const [name, input] of /** @type {const} */ ([['search', search], ['where', where], ['in_group', group]])) {
      if (document.activeElement !== input) input.value = place[name];
    }
    SWITCHES.forEach(([name], k) => {
      ways[k].ariaPressed = String(place[name]);
      ways[k].classList.toggle('on', place[name]);
    });
    within.value = place.within;
    const chosen = place.only.split(',');
    for (const [name, node] of chips) {
      const number = about?.counts[name];
      const on = chosen.includes(name);
      node.textContent = `${TITLES[name] ?? name}${number === undefined ? '' : ` ${count(number)}`}`;
      node.ariaPressed = String(on);
      node.classList.toggle('on', on);
      node.hidden = number === 0 && !on;
    }
    SELECTS.forEach(([name, , values, title], k) => {
      const now = place[name] === null ? '' : String(place[name]);
      const choices = about?.[values] ?? [];
      const listed = choices.some(({ value }) => value === now) || !now ? choices : [...choices, { value: now, count: 0 }];
      setOptions(selects[k], [['', title], ...listed.map((choice) => /** @type {const} */ ([
        choice.value, `${name === 'in_step' ? 'step ' : ''}${choice.value} (${count(choice.count)})`]))], now);
      selects[k].hidden = listed.length < 2 && !now;
    });
    if (about && groups.childElementCount !== about.groups.length) {
      groups.replaceChildren(...about.groups.map(({ value }) => el('option', '', { value })));
    }
  }

  /** Say what is wrong with the expression or the search, and what the search found.
   * @param {{ where: string, search: string, found: string }} lines */
  function say(lines) {
    for (const [node, line] of /** @type {const} */ ([[error, lines.where], [unfound, lines.search]])) {
      node.hidden = !line;
      node.textContent = line;
    }
    where.ariaInvalid = String(Boolean(lines.where));
    search.ariaInvalid = String(Boolean(lines.search));
    hits.textContent = lines.found;
  }

  return {
    show, say, search,
    searchNode: el('div', 'af-list-line', { role: 'search' }, search, ...ways, within, hits, unfound),
    node: el('div', 'af-list-line', { role: 'group', 'aria-label': 'Filters' }, ...chips.values(), ...selects, group, groups, where, error),
  };
}
