/* Choosing a rollout: stepping through trajectories and groups, filters, training step, reference and id. */
import { form, select } from '../../web/lib/components/form.js';
import { button, el, icon, linkButton, textButton } from '../../web/lib/dom.js';
import { count, number } from '../../web/lib/format.js';
import { PLAIN, listText } from '../../web/lib/list_query.js';
import { store } from '../../web/lib/store.js';
import { ended } from '../../web/trace/label.js';

/** @typedef {import('../../web/generated/types').Opened} Opened */
/** @typedef {import('../../web/generated/types').Member} Member */
/** @typedef {(trajectory: string | null, changes?: Partial<import('../../web/generated/types').View>) => void} Go */

/** @type {[name: Opened['filter'], title: string][]} */
const FILTERS = [['all', 'all'], ['success', 'successes'], ['failure', 'failures'], ['malformed', 'malformed or illegal']];
const ICONS = { back: 'M15 5l-7 7 7 7', on: 'M9 5l7 7-7 7' };

/** Nodes that choose the rollout; `go(id, changes)` opens another. @param {Opened} data @param {Go} go */
export function picker({ place, filter, list, run }, go) {
  const { position, previous, next } = list ?? place;
  const total = count(list ? list.total : place.counts[filter]);
  return [
    stepper('trajectory', ['(K)', '(J)'], [previous, next], position === null ? `not among ${total}` : `${count(position + 1)} of ${total}`, go),
    list ? listed(list, place.id, go)
      : select('Show', FILTERS.map(([name, title]) => [name, `${title} (${place.counts[name]})`, !place.counts[name]]),
        (name) => go('', { filter: /** @type {Opened['filter']} */ (name) }), filter),
    choice('Training step', place.steps.map((step) => [step, `step ${step}`]), (step) => go('', { step: Number(step) }), place.step),
    stepper('group', ['', ''], [place.group_previous, place.group_next], `${place.group_position + 1} of ${place.group_count}`, go),
    el('span', 'af-chips', { role: 'group' }, ...place.members.map((member) => chip(member, member.id === place.id, go))),
    choice('Reference model', run.references.map((name) => [name, `reference ${name}`]), (reference) => go(place.id, { reference }),
      run.reference ?? ''),
    gotoForm(place.id, go),
  ].filter((node) => node !== false);
}

/** How the rollouts that are stepped through were chosen on the Rollouts page, and the way back to all.
 * @param {import('../../web/generated/types').ListPlace} list @param {string} id @param {Go} go */
const listed = ({ sort }, id, go) => el('span', 'af-picked', listText(store.place, sort), ' · ', linkButton('show the list', () => store.showTab('rollouts')),
  ' · ', linkButton('clear', () => go(id, PLAIN)));

/** A select, if there is a choice. @param {Parameters<typeof select>} how */
const choice = (...how) => how[1].length > 1 && select(...how);

/**
 * @param {string} name
 * @param {string[]} keys
 * @param {(string | null)[]} ids
 * @param {string} where
 * @param {Go} go
 */
function stepper(name, keys, [back, on], where, go) {
  /** @param {string} path @param {string} label @param {string | null} id */
  const step = (path, label, id) => Object.assign(button('af-tool', icon(path), label.trim(), () => go(id)), { disabled: !id });
  return el('span', 'af-stepper', step(ICONS.back, `Previous ${name} ${keys[0]}`, back),
    el('span', 'af-stepper-text', el('span', '', el('b', '', name[0].toUpperCase() + name.slice(1)), ` ${where}`)),
    step(ICONS.on, `Next ${name} ${keys[1]}`, on));
}

/** @param {Member} member @param {boolean} on @param {Go} go */
function chip(member, on, go) {
  const mark = member.success ? '✓' : member.malformed ? 'M' : member.success === null ? '?' : '·';
  const what = `${ended(member)}${member.malformed ? ', malformed or illegal' : ''}`;
  const cls = `af-chip${on ? ' on' : ''}${member.success ? ' won' : ''}${member.kept ? '' : ' dim'}`;
  return textButton(el('span', 'af-chip-mark', mark), () => go(member.id), cls,
    member.return === null ? '–' : number(member.return, Number.isInteger(member.return) ? 0 : 1),
    { title: `${member.id}: ${what}`, 'aria-label': `Rollout ${member.rollout}, ${what}`, ariaCurrent: on ? 'true' : null });
}

/** @param {string} id @param {Go} go */
function gotoForm(id, go) {
  const input = el('input', 'af-goto', { type: 'text', value: id, spellcheck: false, autocomplete: 'off', maxLength: 200,
    'aria-label': 'Go to a trajectory by its id' });
  return form('af-goto-form', () => {
    input.blur();
    go(input.value.trim());
  }, el('label', '', el('span', 'af-quiet', 'id '), input));
}
