/* Labels of actions by the optimal-play oracle: "optimal", "cost 0.3", "point of no return". */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el } = AF.dom;
  const NEGLIGIBLE = 0.005; // rounds to 0.00: labelled as no cost

  const amount = (x) => Math.abs(x).toFixed(2);
  const signed = (x) => `${x < 0 ? '−' : '+'}${amount(x)}`;

  /* CSS class and text for the cost of one action. */
  function words(cost, lost) {
    if (lost) return ['lost', `point of no return, cost ${amount(cost)}`];
    return cost < NEGLIGIBLE ? ['optimal', 'optimal'] : ['cost', `cost ${amount(cost)}`];
  }

  function chip(cost, lost = false) {
    const [kind, text] = words(cost, lost);
    return el('span', `af-verdict ${kind}`, { title: 'cost of this action: by how much it lowers the best return that can still be reached' }, text);
  }

  /* The actions of a turn, each with its label; without an oracle the actions alone. */
  function actions(names, oracle) {
    const nodes = [];
    names.forEach((name, i) => {
      if (i) nodes.push(' → ');
      nodes.push(el('span', 'af-acts', name));
      if (oracle && i < oracle.costs.length) nodes.push(' ', chip(oracle.costs[i], oracle.lost === i));
    });
    return nodes;
  }

  /* What the costs of the actions leave out: unused actions, the penalty, and luck. */
  function rest(oracle) {
    if (!oracle) return [];
    const nodes = [];
    const more = -oracle.skill - oracle.costs.reduce((a, b) => a + b, 0);
    if (more >= NEGLIGIBLE) nodes.push(el('span', 'af-verdict cost', { title: 'a format penalty, or unused actions of this turn' }, `turn cost ${amount(more)}`));
    if (Math.abs(oracle.luck) >= NEGLIGIBLE) {
      nodes.push(el('span', `af-verdict luck${oracle.luck < 0 ? ' bad' : ''}`, { title: 'the effect of the environment’s randomness; skill and luck add up to the return' }, `luck ${signed(oracle.luck)}`));
    }
    return nodes;
  }

  /* One sign for a turn, for the list. */
  function sign(oracle) {
    if (!oracle) return null;
    if (oracle.lost !== null) return el('span', 'af-verdict lost', { title: 'point of no return' }, '✗');
    if (-oracle.skill < NEGLIGIBLE) return el('span', 'af-verdict optimal', { title: 'optimal' }, '✓');
    return el('span', 'af-verdict cost', { title: `cost ${amount(oracle.skill)} relative to optimal play` }, `−${amount(oracle.skill)}`);
  }

  /* What the oracle knows about a state. */
  function state(value, facts, env) {
    const known = [];
    if ('moves' in facts) known.push(facts.moves === null ? 'deadlocked: no longer solvable' : `solvable in ${facts.moves} moves`);
    if ('completions' in facts) known.push(facts.completions ? '' : 'contains a wrong number');
    if ('placements' in facts) known.push(facts.placements === null ? 'no longer solvable' : `${facts.placements} placements left`);
    if ('turns' in facts && value > 0) known.push(`best purchase in ${facts.turns} turns`);
    const chance = env === 'frozen_lake' ? `success probability under optimal play ${Math.round(100 * value)} %` : `optimal return from here ${signed(value)}`;
    return [chance, ...known.filter(Boolean)].join(' · ');
  }

  AF.label = { chip, actions, rest, sign, state, signed, NEGLIGIBLE };
})(self);
