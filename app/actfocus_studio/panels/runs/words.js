/* What the run picker says of a run. Pure: runs in a browser and in Node. */
import { count, counted, known, percent } from '../../web/lib/format.js';

/** @typedef {import('../../web/generated/types').PickedRun} PickedRun */
/** @typedef {import('../../web/generated/types').RunSize} RunSize */
/** @typedef {PickedRun['section']} Section */

/** @type {readonly (readonly [section: Section, title: string])[]} */
export const SECTIONS = [['samples', 'Samples'], ['yours', 'Yours'], ['experiments', 'Experiments'], ['evaluations', 'Evaluations']];
const DAY_S = 86400;
const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

/** When a run was made: the time of today, else the day. @param {number | null} seconds since 1970 @param {Date} [now] */
export function dateText(seconds, now = new Date()) {
  if (!known(seconds)) return 'date unknown';
  const date = new Date(seconds * 1000);
  const day = new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime() / 1000;
  if (seconds >= day && seconds < day + DAY_S) return `today ${date.toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' })}`;
  if (seconds >= day - DAY_S && seconds < day) return 'yesterday';
  const year = date.getFullYear() === now.getFullYear() ? undefined : 'numeric';
  return date.toLocaleDateString('en-GB', { day: 'numeric', month: 'short', year });
}

/** A number of bytes in the largest unit of which there is one. @param {number} n */
export function bytesText(n) {
  const k = n < 1000 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log10(n) / 3));
  const value = n / 1000 ** k;
  return `${k && value < 100 ? value.toFixed(1) : Math.round(value)} ${UNITS[k]}`;
}

/** A large number in three digits. @param {number} n */
export function shortCount(n) {
  if (n < 10000) return count(n);
  const [value, unit] = n < 999500 ? [n / 1e3, 'k'] : n < 999.5e6 ? [n / 1e6, 'M'] : [n / 1e9, 'G'];
  return `${value < 100 ? +value.toFixed(1) : Math.round(value)}${unit}`;
}

/** How large a run is. @param {RunSize} size */
export function sizeText({ rollouts, tokens, bytes, error }) {
  if (error) return 'not readable';
  const parts = [known(rollouts) && counted(rollouts, 'rollout'), known(tokens) && `${shortCount(tokens)} tokens`,
    known(bytes) ? bytesText(bytes) : 'very many files'];
  return parts.filter(Boolean).join(' · ');
}

/** The share of successes among the rollouts of which it is known; how many are not is said. @param {RunSize} size */
export function successText({ successes, failures, unknown, error }) {
  if (error || !known(successes) || !known(failures)) return '';
  const all = successes + failures;
  if (!all) return unknown ? 'success unknown' : 'no rollouts';
  return `${percent(successes / all)} success${unknown ? ` (${count(unknown)} unknown)` : ''}`;
}

/** What a run is about: environment, policy, scheme. @param {PickedRun} run */
export const aboutText = ({ env, policy, scheme }) => [env.replace(/_/g, ' '), policy, scheme].filter(Boolean).join(' · ');

/** How long a deleted run can still be restored. @param {number} expires seconds since 1970 @param {number} now */
export function leftText(expires, now) {
  const days = Math.floor((expires - now) / DAY_S);
  return days >= 1 ? `${counted(days, 'day')} left` : 'less than a day left';
}
