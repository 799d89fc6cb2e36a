/* Which rollouts are listed, and in which order: parameters of the address. Pure: runs in a browser and in Node. */

/** @typedef {import('../generated/types').View} View */
/** @typedef {'where' | 'only' | 'in_step' | 'in_group' | 'in_env' | 'in_agent' | 'search' | 'regex' | 'case' | 'within'} Filter */
/** @typedef {Pick<View, Filter>} Filters */
/** @typedef {Filters & Pick<View, 'sort' | 'descending'>} ListQuery */

/** All rollouts. @type {Filters} */
export const EVERY = { where: '', only: '', in_step: null, in_group: '', in_env: '', in_agent: '', search: '', regex: false, case: false, within: '' };
/** All rollouts, in the order of the run. @type {ListQuery} */
export const PLAIN = { ...EVERY, sort: '', descending: false };

/** The parameters of the list. @param {ListQuery} place @returns {ListQuery} */
export const listOf = ({ where, only, in_step, in_group, in_env, in_agent, search, regex, case: matchCase, within, sort, descending }) =>
  ({ where, only, in_step, in_group, in_env, in_agent, search, regex, case: matchCase, within, sort, descending });

/** Whether some rollouts may be left out. @param {Filters} place */
export const isFiltered = ({ where, only, in_step, in_group, in_env, in_agent, search }) =>
  Boolean(where || only || in_step !== null || in_group || in_env || in_agent || search);

/** How the list differs from the run, in words; '' where it does not. @param {ListQuery} place @param {string} title of the column */
export function listText(place, title = place.sort) {
  const { sort, descending } = place;
  return [isFiltered(place) && 'filtered', sort && `sorted by ${title}${descending ? ', highest first' : ''}`].filter(Boolean).join(', ');
}

/** The conditions after a press on one of them. Success, failure and unknown are of one kind: of these any number may be chosen.
 * @param {string} only @param {string} name */
export function toggled(only, name) {
  const now = only ? only.split(',') : [];
  return (now.includes(name) ? now.filter((one) => one !== name) : [...now, name]).join(',');
}
