/* The rollouts of a group side by side: what they share once, then a column each, which scroll together. */
import { post, lineOf } from '../../web/lib/api.js';
import { numbers } from '../../web/lib/columns.js';
import { alertLine } from '../../web/lib/components/alert.js';
import { select, setOptions } from '../../web/lib/components/form.js';
import { announcer, el, isCommand, quiet, textButton } from '../../web/lib/dom.js';
import { count, counted, known, number, percent, signed, visible } from '../../web/lib/format.js';
import { openInTrace } from '../../web/lib/navigation.js';
import { store } from '../../web/lib/store.js';
import { tokenModel } from '../../web/trace/model.js';
import { signedRamp } from '../../web/trace/ramp.js';
import { createPane, link, paintSigned, sameTurn } from '../../web/trace/side_by_side.js';
import * as tokens from '../../web/trace/tokens.js';
import { LEAST, MOST, USUAL, chosen, cut, outliers, sharedByAll } from './alignment.js';

/** @typedef {import('../../web/generated/types').Beside} Beside */
/** @typedef {import('../../web/generated/types').GroupMember} Member */
/** @typedef {import('../../web/trace/side_by_side.js').Pane} Pane */
/** @typedef {{ schemes: Record<string, string>, how: Record<string, string> }} Menu titles of the schemes, and how to get a signal */
/** @typedef {{ run: string, reference: string, step: number, group: string }} Group */
/** @typedef {{ pane: Pane, member: Member, credit: Float32Array | null }} Column */

const KEPT = 'kept';
const CREDIT_MS = 120;

/** @param {Menu} menu */
export function besideView(menu) {
  const alert = alertLine();
  const schemes = select('Coloured by the credit of', [], (name) => {
    store.put({ scheme_a: name });
    follow();
  });
  const chips = el('div', 'af-chips', { role: 'group', 'aria-label': 'Rollouts side by side' });
  const jumps = el('span', 'af-beside');
  const legend = el('span', 'af-legend');
  const readout = el('p', 'af-readout', '');
  const shared = el('details', 'af-shared', { open: true });
  const grid = el('div', 'af-group-columns', { role: 'group', 'aria-label': 'Rollouts of the group' });
  const live = announcer();
  const node = el('div', 'af-group-text', { hidden: true }, alert.node, chips,
    el('div', 'af-sticky', el('div', 'af-group-tools', el('label', 'af-pick', el('span', 'af-quiet', 'Credit'), schemes), legend, jumps), readout),
    shared, grid, quiet('← → goes from token to token, Shift with ← → to the next column. Credit is in units of the advantage: under Uniform it equals it.'), live);
  /** @type {Group | null} */
  let group = null;
  /** @type {Member[]} */
  let members = [];
  /** @type {Column[]} */
  let columns = [];
  /** Tokens that all columns begin with. */
  let prefix = 0;
  /** Each change of group or columns makes the answers for earlier ones obsolete. */
  let turn = 0;
  let credited = '';
  let timer = 0;

  /** Show a group, or none. @param {Group | null} wanted */
  function show(wanted) {
    const other = JSON.stringify(wanted) !== JSON.stringify(group);
    group = wanted;
    node.hidden = !wanted;
    if (!other) {
      follow();
      return;
    }
    members = [];
    clear();
    if (wanted) load();
    else turn += 1;
  }

  function clear() {
    columns = [];
    credited = '';
    for (const part of [chips, shared, grid, jumps, legend]) part.replaceChildren();
    readout.textContent = '';
    shared.hidden = true;
  }

  // Before the columns, which take Shift with an arrow key for the arrow key.
  grid.addEventListener('keydown', stepAside, true);

  /** Ask for the columns of the address. */
  async function load() {
    const own = ++turn;
    const wanted = /** @type {Group} */ (group);
    try {
      // Which rollouts are usual depends on their returns.
      const listed = members.length ? members : (await post('groups/beside', { ...wanted, columns: [] })).members;
      const places = chosen(store.place.beside, listed);
      if (own !== turn) return;
      const answer = await post('groups/beside', { ...wanted, columns: places });
      if (own !== turn) return;
      alert.say('');
      store.put({ beside: places.length >= LEAST ? places.join(',') : USUAL });
      await build(answer, own);
    } catch (error) {
      if (own === turn) alert.say(lineOf(error));
    }
  }

  /** @param {Beside} answer @param {number} own */
  async function build(answer, own) {
    clear();
    members = answer.members;
    fillChips(answer.columns.map(({ member }) => member));
    if (answer.columns.length < LEAST) {
      grid.replaceChildren(quiet('This group has one rollout: there is nothing beside it.'));
      return;
    }
    const ids = answer.columns.map((column) => numbers(column.ids));
    prefix = sharedByAll(ids);
    const odd = outliers(ids);
    fillShared(answer);
    for (const [k, { member, tokens: all, turns }] of answer.columns.entries()) {
      // A column a task, so that the page stays responsive.
      await new Promise((done) => { window.setTimeout(done); });
      if (own !== turn) return;
      const found = members[member];
      const pane = createPane(`rollout ${found.rollout}`, '', { tokens: cut(all, prefix), turns });
      pane.box.ariaLabel = `Rollout ${found.rollout}`;
      pane.node.firstElementChild?.replaceChildren(...head(found, all.text.data.length - prefix, marks(odd, k)));
      if (!pane.model.n) pane.box.append(quiet('ends here'));
      grid.append(pane.node);
      columns.push({ pane, member: found, credit: null });
    }
    link(columns.map(({ pane }) => pane), sameTurn, (pane, i) => tell(pane, i), () => { live.textContent = readout.textContent; });
    fillJumps(odd);
    readout.textContent = 'Hover over a token, or move with the arrow keys.';
    follow();
  }

  // --- heads and tools ---------------------------------------------------------------------------

  /** @param {Member} member @param {number} left tokens after the shared ones @param {string[]} badges */
  function head(member, left, badges) {
    const { rollout, success, advantage } = member;
    const end = success === null ? '? success unknown' : success ? '✓ success' : '✗ failure';
    return [
      el('div', 'af-column-name', textButton(`rollout ${rollout}`, () => openInTrace({ run: group?.run, reference: group?.reference, trajectory: member.id }), 'af-link', { title: `${member.id}: open it in Trace` }),
        ...badges.map((text) => el('span', 'af-badge', text))),
      el('div', 'af-column-facts', el('span', '', 'return ', el('b', '', number(member.return, 2))), el('span', success ? 'won' : '', end),
        el('span', '', 'advantage ', el('b', '', signed(advantage, 2)))),
      el('div', 'af-quiet', [`${count(left)} tokens from here`, member.truncated && 'truncated',
        member.malformed && `${counted(member.malformed, 'turn')} malformed or illegal`].filter(Boolean).join(' · ')),
    ];
  }

  /** @param {ReturnType<typeof outliers>} odd @param {number} k */
  const marks = ({ left, far, first, most }, k) => [
    first === k && `differs first, at token ${count(left[k])}`, most === k && `differs most: ${percent(far[k])} of the tokens`,
  ].filter((text) => typeof text === 'string');

  /** @param {number[]} on */
  function fillChips(on) {
    chips.replaceChildren(el('span', 'af-quiet', 'Columns'), ...members.map((member, k) => {
      const pressed = on.includes(k);
      const sign = member.success === null ? '?' : member.success ? '✓' : '✗';
      return textButton(`${member.rollout} ${sign} ${known(member.return) ? number(member.return, 2) : '–'}`, () => {
        const next = pressed ? on.filter((other) => other !== k) : [...on, k].sort((a, b) => a - b);
        store.put({ beside: next.join(',') });
        load().then(() => /** @type {HTMLElement | undefined} */ (chips.children[k + 1])?.focus());
      }, 'af-chip', { 'aria-pressed': pressed, disabled: pressed ? on.length <= LEAST : on.length >= MOST,
        'aria-label': `Rollout ${member.rollout}, return ${number(member.return, 2)}` });
    }));
  }

  /** @param {Beside} answer */
  function fillShared({ columns: [{ tokens: all }], columns: shown }) {
    shared.hidden = false;
    const last = numbers(all.turn)[prefix - 1];
    const until = last >= 0 ? `, up to turn ${last + 1}` : '';
    const summary = el('summary', '', prefix ? `All ${shown.length} begin with the same ${counted(prefix, 'token')}${until}` : 'They differ from the first token on');
    const box = el('div', 'af-text af-shared-text', { role: 'region', 'aria-label': 'Shared tokens', tabIndex: 0 });
    shared.replaceChildren(summary, prefix ? box : '');
    if (!prefix) return;
    // What a turn was rewarded with may differ though its tokens do not.
    const view = tokens.build(box, tokenModel(cut(all, 0, prefix), []));
    view.onHover = (i) => tellShared(view, i);
    view.onPin = (i) => tellShared(view, i);
    box.scrollTop = box.scrollHeight;
  }

  /** @param {ReturnType<typeof outliers>} odd */
  function fillJumps({ first, most }) {
    /** @param {string} text @param {number | null} k */
    const jump = (text, k) => (k === null ? '' : textButton(`${text}: rollout ${columns[k].member.rollout}`, () => focus(k), 'af-chip'));
    jumps.replaceChildren(jump('Differs first', first), jump('Differs most', most));
  }

  // --- moving ------------------------------------------------------------------------------------

  /** Move to the beginning of a column. @param {number} k */
  function focus(k) {
    const { pane } = columns[k];
    pane.node.scrollIntoView({ block: 'nearest', inline: 'nearest' });
    pane.box.scrollTop = 0;
    if (pane.model.n) pane.view.onPin(0);
  }

  /** Shift with an arrow key: to the same place of the next column. @param {KeyboardEvent} event */
  function stepAside(event) {
    const way = event.key === 'ArrowLeft' ? -1 : event.key === 'ArrowRight' ? 1 : 0;
    if (!way || !event.shiftKey || isCommand(event)) return;
    const at = columns.findIndex(({ pane }) => pane.box.contains(/** @type {Node} */ (event.target)));
    const to = columns[at + way];
    if (at < 0 || !to) return;
    event.preventDefault();
    event.stopPropagation();
    const from = columns[at].pane;
    const there = sameTurn(from, to.pane, from.view.rover) ?? Math.min(from.view.rover, to.pane.model.n - 1);
    to.pane.node.scrollIntoView({ block: 'nearest', inline: 'nearest' });
    to.pane.view.onPin(there);
  }

  // --- credit ------------------------------------------------------------------------------------

  function fillSchemes() {
    const now = store.place.scheme_a;
    const kept = store.kept();
    /** @type {[string, string][]} */
    const options = Object.entries(menu.schemes);
    if (kept || now === KEPT) options.push([KEPT, `Kept as B: ${kept ? store.describe(kept) : 'none'}`]);
    if (!options.some(([name]) => name === now)) options.push([now, now]);
    setOptions(schemes, options, now);
  }

  /** Ask for the credit once the settings rest. */
  function follow() {
    if (node.hidden) return;
    fillSchemes();
    window.clearTimeout(timer);
    timer = window.setTimeout(askCredit, CREDIT_MS);
  }

  async function askCredit() {
    if (!group || !columns.length || node.hidden) return;
    const own = turn;
    const shown = [...columns]; // more are added while this one is asked
    const ids = shown.map(({ member }) => member.id);
    const view = { ...store.view(), run: group.run, reference: group.reference };
    const key = JSON.stringify([own, ids, view.scheme_a, store.settings, store.place.kept]);
    if (key === credited) return;
    credited = key;
    try {
      const { credits, top } = await post('groups/credit', { view, step: group.step, ids });
      if (own !== turn || key !== credited) return;
      alert.say('');
      shown.forEach((column, k) => {
        const { credit } = credits[k];
        column.credit = credit && numbers(credit);
        const rest = column.credit ? column.credit.slice(prefix) : new Float32Array(column.pane.model.n).fill(NaN);
        paintSigned(column.pane, rest, top);
      });
      const { missing } = credits[0];
      const why = missing.length ? el('span', 'af-badge', `unavailable: no ${missing.join(', ')}; ${menu.how[missing[0]].replace(/`/g, '')}`) : '';
      legend.replaceChildren(signedRamp(top, '', 'Credit: blue tokens become more likely, brown ones less likely. All columns share this scale; colours saturate at its ends.'), why);
    } catch (error) {
      if (own === turn) alert.say(lineOf(error));
    }
  }

  // --- the token under the pointer ---------------------------------------------------------------

  /** @param {Pane} pane @param {number} i */
  function tell(pane, i) {
    const told = columns.map((column) => {
      const at = sameTurn(pane, column.pane, i);
      const text = at === null ? '–' : column.pane === pane ? value(column, at + prefix) : `“${visible(column.pane.model.text[at])}” ${value(column, at + prefix)}`;
      return `${column.pane.title} ${text}`;
    });
    say(pane.model, i, prefix + i, told);
  }

  /** @param {tokens.TokenView} view @param {number | null} i */
  function tellShared({ model }, i) {
    if (i !== null) say(model, i, i, columns.map((column) => `${column.pane.title} ${value(column, i)}`));
  }

  /** @param {import('../../web/trace/model.js').TokenModel} model @param {number} i @param {number} position @param {string[]} told */
  function say(model, i, position, told) {
    const where = model.turn[i] < 0 ? '' : `, turn ${model.turn[i] + 1}`;
    readout.replaceChildren(el('b', 'af-readout-token', visible(model.text[i]) || '∅'), ` ${tokens.NAMES[model.shown[i]]}, position ${position}${where}: `,
      told.join(' · '));
  }

  /** The credit of a token, by its position in the trajectory. @param {Column} column @param {number} position */
  function value({ pane, credit }, position) {
    const at = position - prefix;
    if (at >= 0 && !pane.model.sampled(at)) return 'not sampled';
    return credit ? signed(credit[position]) : 'unavailable';
  }

  return { node, show, follow };
}
