/* Labels of actions by the optimal-play oracle: "optimal", "cost 0.3", "point of no return". */
import { el } from '../lib/dom.js';
import { number, outcome, short, signed } from '../lib/format.js';

/** @typedef {import('../generated/types').TurnLabel} TurnLabel */

/** How a trajectory ended. @param {{ return: number | null, success: boolean | null }} of */
export const ended = (of) => `return ${number(of.return, 2)}, ${outcome(of.success)}`;

export const NEGLIGIBLE = 0.005; // rounds to 0.00: labelled as no cost

/** @param {number} x */
const amount = (x) => Math.abs(x).toFixed(2);

/** The cost of one action, or that it was the point of no return. @param {number} cost @param {boolean} [lost] */
export function chip(cost, lost = false) {
  const [kind, text] = lost ? ['lost', `point of no return, cost ${amount(cost)}`]
    : cost < NEGLIGIBLE ? ['optimal', 'optimal'] : ['cost', `cost ${amount(cost)}`];
  return verdict(kind, text, 'cost of this action: by how much it lowers the best return that can still be reached');
}

/** @param {string} kind @param {string} text @param {string} title */
const verdict = (kind, text, title) => el('span', `af-verdict ${kind}`, { title }, text);

/** The actions of a turn, each with its label; without an oracle the actions alone.
 * @param {string[]} names @param {TurnLabel | null} oracle */
export function actions(names, oracle) {
  if (!names.length) return [el('span', 'af-quiet', 'no action')];
  return names.flatMap((name, i) => [i ? ' → ' : '', el('span', 'af-acts', name),
    ...(oracle && i < oracle.costs.length ? [' ', chip(oracle.costs[i], oracle.lost === i)] : [])]);
}

/** The actions of a turn in words. @param {string[]} names */
export const named = (names) => names.join(' → ') || 'no action';

/** A reward or penalty in few digits. @param {number} x @param {number} [digits] */
export const gain = (x, digits) => `${x > 0 ? '+' : ''}${short(x, digits)}`;

/** What the costs of the actions leave out: unused actions, the penalty, and luck. @param {TurnLabel | null} oracle */
export function rest(oracle) {
  if (!oracle) return [];
  const more = -oracle.skill - oracle.costs.reduce((a, b) => a + b, 0);
  const nodes = [];
  if (more >= NEGLIGIBLE) nodes.push(verdict('cost', `turn cost ${amount(more)}`, 'a format penalty, or unused actions of this turn'));
  if (Math.abs(oracle.luck) >= NEGLIGIBLE) {
    nodes.push(verdict(`luck${oracle.luck < 0 ? ' bad' : ''}`, `luck ${signed(oracle.luck, 2)}`,
      'the effect of the environment’s randomness; skill and luck add up to the return'));
  }
  return nodes;
}

/** One sign for a turn, for the list. @param {TurnLabel | null} oracle */
export function sign(oracle) {
  if (!oracle) return null;
  if (oracle.lost !== null) return verdict('lost', '✗', 'point of no return');
  if (-oracle.skill < NEGLIGIBLE) return verdict('optimal', '✓', 'optimal');
  return verdict('cost', `−${amount(oracle.skill)}`, `cost ${amount(oracle.skill)} relative to optimal play`);
}

/**
 * What the oracle knows about a state.
 *
 * @param {number} value
 * @param {TurnLabel['facts']} facts
 * @param {string} env
 */
export function state(value, facts, env) {
  const known = [];
  if ('moves' in facts) known.push(facts.moves === null ? 'deadlocked: no longer solvable' : `solvable in ${facts.moves} moves`);
  if ('completions' in facts && !facts.completions) known.push('contains a wrong number');
  if ('placements' in facts) known.push(facts.placements === null ? 'no longer solvable' : `${facts.placements} placements left`);
  if ('turns' in facts && value > 0) known.push(`best purchase in ${facts.turns} turns`);
  const chance = env === 'frozen_lake' ? `success probability under optimal play ${Math.round(100 * value)} %`
    : `optimal return from here ${signed(value, 2)}`;
  return [chance, ...known].join(' · ');
}
