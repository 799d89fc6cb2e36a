/* What the page says of schemes, signals and their computation. Pure: runs in a browser and in Node. */

/** @typedef {import('../../web/generated/types').JobStatus} JobStatus */
/**
 * @typedef {{ title: string, description: string, source: string, read: keyof typeof READ, cost: keyof typeof COST, unit: string,
 *   evidence: keyof typeof EVIDENCE, needs: string[] }} Scheme
 */
/**
 * What does not depend on a run (pages/compare/page.py).
 *
 * @typedef {object} Menu
 * @property {Record<string, Scheme>} schemes
 * @property {Record<string, string>} controls null controls and what they are
 * @property {Record<string, string>} how a signal is obtained
 * @property {Record<string, string>} columns of the scoreboard, explained
 * @property {Record<string, string>} heads their titles
 * @property {string[]} from_reference signals that a reference adds
 * @property {Record<string, Values>} values signal -> the values of the oracle that it is one of
 * @property {Record<Values, string>} options of the command, by values
 */
/** @typedef {keyof typeof ORACLE} Values that the oracle computes */

export const READ = { code: 'from the code', paper: 'from the paper', 'second hand': 'from a secondary source', ours: 'this project' };
export const COST = {
  C0: 'no model: arithmetic on recorded values', C1: 'one extra forward pass', C2: 'an additional trained network',
  C3: 'additional rollouts from restored states',
};
export const EVIDENCE = {
  proxy: 'based on a proxy such as uncertainty, not on the value of an action', observational: 'based on observed returns',
  'model-relative': 'based on counterfactuals under a model', 'restored state': 'based on interventions from restored states',
};
export const ORACLE = {
  optimal: { title: 'optimal values (Q*, V*)', start: 'Compute optimal values (Q*, V*)', about: 'Exact. Takes seconds to a minute.' },
  policy: {
    title: 'policy values (Q^π, V^π)', start: 'Compute policy values (Q^π, V^π)',
    about: 'Monte Carlo estimates: 16 rollouts of the policy from every turn, and 16 more for an independent replica. Takes minutes; it can be cancelled.',
  },
  answers: {
    title: 'log-probs of solutions', start: 'Compute log-probs of solutions',
    about: 'Also computes optimal values; one forward pass of the policy per turn. Takes about a minute.',
  },
};

/** The scheme of a name without its null control. @param {string} name */
export const baseOf = (name) => name.slice(name.indexOf(':') + 1);

/** The facts about a scheme or null control. @param {Menu} menu @param {string} name @returns {Scheme & { control: string }} */
export function factsOf(menu, name) {
  const base = baseOf(name);
  const control = name.slice(0, -base.length - 1);
  const scheme = menu.schemes[base];
  return !control ? { ...scheme, control } : {
    ...scheme, control, title: `${scheme.title}, ${control}`, description: menu.controls[control], source: `null control of ${scheme.title}`,
    read: 'ours', evidence: 'proxy',
  };
}

/** Why there is no credit. @param {Menu} menu @param {string[]} missing */
export const reason = (menu, missing) => `unavailable: no ${missing.join(', ')}; ${menu.how[missing[0]].replace(/`/g, '')}`;

/** The values that the oracle would have to compute for all that is missing. @param {Menu} menu @param {string[]} missing */
export function valuesFor(menu, missing) {
  const values = menu.values[missing[0]];
  return values && missing.every((name) => menu.values[name] === values) ? values : null;
}

/** A share in percent, for tables. @param {number | null} share */
export const percent = (share) => (share === null ? '–' : (share * 100).toFixed(1));
