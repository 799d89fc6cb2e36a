/* What the panes show: their schemes, and the trajectory of pane B. */
import { select, setOptions } from '../../web/lib/components/form.js';
import { store } from '../../web/lib/store.js';
import { ended } from '../../web/trace/label.js';
import { factsOf } from './facts.js';

/** @typedef {import('../../web/generated/types').SchemesResponse} Schemes */
/** @typedef {import('../../web/generated/types').ComparePlace} Place */
/** @typedef {import('./facts.js').Menu} Menu */
/** @typedef {'a' | 'b'} Side */

/** ActFocus with the setting kept as B in the sidebar. */
export const KEPT = 'kept';

/** @param {Side} side */
export const schemeOf = (side) => store.place[`scheme_${side}`];

/** @param {Menu} menu @param {string} name */
export function schemeTitle(menu, name) {
  if (name !== KEPT) return factsOf(menu, name).title;
  const kept = store.kept();
  return `Kept as B: ${kept ? store.describe(kept) : 'none yet (sidebar: “Keep as B”)'}`;
}

/** Show a scheme in a pane. @param {Side} side @param {string} name */
export const showScheme = (side, name) => store.remember({ [`scheme_${side}`]: name });

/** @param {Menu} menu */
export function schemePickers(menu) {
  const nodes = {
    a: select('Scheme of pane A', [], (name) => showScheme('a', name)), b: select('Scheme of pane B', [], (name) => showScheme('b', name)),
  };

  /** All schemes, and null controls if enabled; those that lack a signal are disabled. @param {Schemes | null} table */
  function fill(table) {
    const lacking = new Set(table?.schemes.filter((row) => row.missing.length).map((row) => row.scheme));
    const listed = table ? table.schemes.map((row) => row.scheme) : Object.keys(menu.schemes);
    for (const side of /** @type {Side[]} */ (['a', 'b'])) {
      const now = schemeOf(side);
      const names = [...new Set([...listed, now])].filter((name) => name !== KEPT);
      setOptions(nodes[side], [
        ...names.map((name) => /** @type {const} */ ([
          name, schemeTitle(menu, name) + (lacking.has(name) ? ' (unavailable)' : ''), lacking.has(name) && name !== now])),
        [KEPT, schemeTitle(menu, KEPT), !store.kept()],
      ], now);
    }
  }

  return { ...nodes, fill };
}

/** The trajectory of pane B: that of A, or another rollout of the prompt. */
export function otherPicker() {
  const where = select('Source of B', [], (k) => elsewhere(+k));
  const member = select('Rollout of B', [], (id) => choose(places[+where.value].run, id));
  /** @type {Place[]} */
  let places = [];

  /** @param {Place[]} found the first one is the group of the trajectory in pane A */
  function fill(found) {
    places = found;
    const { run, other, other_run: otherRun } = store.place;
    /** @param {Place} place */
    const has = (place) => place.run === (otherRun || run) && place.members.some(({ id }) => id === other);
    const at = places.findIndex(has);
    setOptions(where, [[-1, 'same trajectory'], ...places.map((place, k) => /** @type {const} */ ([k, k ? title(place) : 'another rollout of the group']))], at);
    listMembers(at);
  }

  /** @param {number} k */
  function listMembers(k) {
    member.hidden = k < 0;
    setOptions(member, (places[k]?.members ?? []).map((m) => [m.id, `rollout ${m.rollout}: ${ended(m)}`]),
      store.place.other);
  }

  /** Show a place in pane B: in another step or run the rollout of the same index, in this step a different one. @param {number} k */
  function elsewhere(k) {
    const { trajectory } = store.place;
    const own = places[0].members.find(({ id }) => id === trajectory);
    const members = places[k]?.members ?? [];
    const found = members.find((m) => (k === 0 ? m.id !== trajectory : m.rollout === own?.rollout)) ?? members[0];
    choose(places[k]?.run ?? '', found?.id ?? '');
    listMembers(k);
  }

  /** @param {string} run @param {string} id */
  function choose(run, id) {
    store.remember({ other_run: run === store.place.run ? '' : run, other: id });
  }

  return { where, member, fill };
}

/** @param {Place} place */
const title = ({ run, step }) => `same prompt${run === store.place.run ? ',' : ` in ${run},`} step ${step}`;
