/* Where the rollouts of a group differ. Pure: runs in a browser and in Node. */
import { numbers } from '../../web/lib/columns.js';
import { known } from '../../web/lib/format.js';

/** @typedef {import('../../web/generated/types').Tokens} Tokens */
/** @typedef {ArrayLike<number>} Ids of the tokens of a rollout */

export const LEAST = 2; // rollouts side by side
export const MOST = 8;
const COLUMNS = 4; // unless a person chooses others
export const USUAL = 'usual';

/** The number of tokens that two rollouts begin with alike. @param {Ids} a @param {Ids} b */
export function sharedBy(a, b) {
  const end = Math.min(a.length, b.length);
  let n = 0;
  while (n < end && a[n] === b[n]) n += 1;
  return n;
}

/** The number of tokens that all rollouts begin with. @param {Ids[]} rollouts */
export const sharedByAll = (rollouts) => Math.min(...rollouts.map((ids) => sharedBy(rollouts[0], ids)));

/** Up to which token each rollout is like at least one of the others. @param {Ids[]} rollouts */
export const leaving = (rollouts) =>
  rollouts.map((a, i) => Math.max(0, ...rollouts.map((b, k) => (k === i ? 0 : sharedBy(a, b)))));

/**
 * How much the tokens of each rollout differ from those of the others after the shared ones, in any order: the mean share of
 * the tokens of a pair that have no partner, 0 to 1.
 *
 * @param {Ids[]} rollouts @param {number} from
 */
export function distances(rollouts, from) {
  const counts = rollouts.map((ids) => countsOf(ids, from));
  return rollouts.map((_, i) => {
    const others = counts.filter((_other, k) => k !== i).map((other) => unlike(counts[i], other));
    return others.reduce((a, b) => a + b, 0) / Math.max(1, others.length);
  });
}

/** @param {Ids} ids @param {number} from */
function countsOf(ids, from) {
  /** @type {Map<number, number>} */
  const found = new Map();
  for (let i = from; i < ids.length; i++) found.set(ids[i], (found.get(ids[i]) ?? 0) + 1);
  return { found, all: Math.max(0, ids.length - from) };
}

/** @param {ReturnType<typeof countsOf>} a @param {ReturnType<typeof countsOf>} b */
function unlike(a, b) {
  let common = 0;
  for (const [id, n] of a.found) common += Math.min(n, b.found.get(id) ?? 0);
  const all = a.all + b.all;
  return all ? 1 - (2 * common) / all : 0;
}

/**
 * The rollout that leaves the others first, and the one that differs most from them; null where there is no single one.
 *
 * @param {Ids[]} rollouts
 */
export function outliers(rollouts) {
  const left = leaving(rollouts);
  const far = distances(rollouts, sharedByAll(rollouts));
  const compared = rollouts.length > 2;
  return { left, far, first: compared ? only(left, Math.min(...left)) : null, most: compared ? only(far, Math.max(...far)) : null };
}

/** The position of a value that occurs once; null if it occurs more often. @param {number[]} values @param {number} value */
function only(values, value) {
  const at = values.indexOf(value);
  return values.includes(value, at + 1) ? null : at;
}

/**
 * The positions of a view's address that a group has; of too few of them the usual ones: half with the highest and half with
 * the lowest returns, which differ in what matters.
 *
 * @param {string} text @param {readonly { return: number | null }[]} members
 */
export function chosen(text, members) {
  const wanted = text.split(',').filter(Boolean).map(Number).filter((k) => k < members.length).slice(0, MOST);
  return wanted.length >= LEAST ? wanted : usual(members);
}

/** @param {readonly { return: number | null }[]} members */
function usual(members) {
  const places = members.map((member, k) => ({ k, value: member.return }));
  const order = places.filter(({ value }) => known(value)).sort((a, b) => (b.value ?? 0) - (a.value ?? 0) || a.k - b.k);
  const all = Math.min(COLUMNS, order.length);
  const ends = [...order.slice(0, Math.ceil(all / 2)), ...order.slice(order.length - Math.floor(all / 2))];
  // An unknown return is neither high nor low.
  const rest = places.filter(({ value }) => !known(value)).slice(0, COLUMNS - all);
  return [...ends, ...rest].map(({ k }) => k).sort((a, b) => a - b);
}

/** A part of a trajectory's tokens. @param {Tokens} tokens @param {number} from @param {number} [end] @returns {Tokens} */
export function cut({ text, kind, turn }, from, end = text.data.length) {
  return {
    text: { ...text, data: text.data.slice(from, end) },
    kind: { ...kind, data: encoded(numbers(kind).slice(from, end)) },
    turn: { ...turn, data: encoded(numbers(turn).slice(from, end)) },
  };
}

/** @param {Uint8Array | Int32Array} values */
function encoded(values) {
  let bytes = '';
  for (const byte of new Uint8Array(values.buffer)) bytes += String.fromCharCode(byte);
  return btoa(bytes);
}
