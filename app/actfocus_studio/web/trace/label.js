/* What the optimal oracle says of a choice, in words: "optimal", "cost 0.3", "point of no return". */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el } = AF.dom;
  const NOTHING = 0.005; // what rounds to 0.00 is said to cost nothing

  const amount = (x) => Math.abs(x).toFixed(2);
  const signed = (x) => `${x < 0 ? '−' : '+'}${amount(x)}`;

  /* The class and the words of one action's cost. */
  function words(cost, lost) {
    if (lost) return ['lost', `point of no return, cost ${amount(cost)}`];
    return cost < NOTHING ? ['optimal', 'optimal'] : ['cost', `cost ${amount(cost)}`];
  }

  function chip(cost, lost = false) {
    const [kind, text] = words(cost, lost);
    return el('span', `af-verdict ${kind}`, { title: 'against perfect play from here on: how much lower the best return that can still be had is after this action' }, text);
  }

  /* The actions of a turn, each with its verdict; without an oracle the actions alone. */
  function actions(names, oracle) {
    const nodes = [];
    names.forEach((name, i) => {
      if (i) nodes.push(' → ');
      nodes.push(el('span', 'af-acts', name));
      if (oracle && i < oracle.costs.length) nodes.push(' ', chip(oracle.costs[i], oracle.lost === i));
    });
    return nodes;
  }

  /* What the actions do not account for: a turn left unused, the penalty, and luck. */
  function rest(oracle) {
    if (!oracle) return [];
    const nodes = [];
    const more = -oracle.skill - oracle.costs.reduce((a, b) => a + b, 0);
    if (more >= NOTHING) nodes.push(el('span', 'af-verdict cost', { title: 'a format penalty, or actions of this turn left unused' }, `the turn ${amount(more)}`));
    if (Math.abs(oracle.luck) >= NOTHING) {
      nodes.push(el('span', `af-verdict luck${oracle.luck < 0 ? ' bad' : ''}`, { title: 'what the dice gave or took: skill and luck add up to the return' }, `luck ${signed(oracle.luck)}`));
    }
    return nodes;
  }

  /* A turn in one small sign, for the list. */
  function sign(oracle) {
    if (!oracle) return null;
    if (oracle.lost !== null) return el('span', 'af-verdict lost', { title: 'point of no return' }, '✗');
    if (-oracle.skill < NOTHING) return el('span', 'af-verdict optimal', { title: 'optimal' }, '✓');
    return el('span', 'af-verdict cost', { title: `cost ${amount(oracle.skill)} against perfect play` }, `−${amount(oracle.skill)}`);
  }

  /* What is known of a state, as a sentence. */
  function state(value, facts, env) {
    const known = [];
    if ('moves' in facts) known.push(facts.moves === null ? 'dead-locked: no moves solve it any more' : `solvable in ${facts.moves} moves`);
    if ('completions' in facts) known.push(facts.completions ? '' : 'a number is wrong');
    if ('placements' in facts) known.push(facts.placements === null ? 'lost for good' : `${facts.placements} placements to go`);
    if ('turns' in facts && value > 0) known.push(`best purchase in ${facts.turns} turns`);
    const chance = env === 'frozen_lake' ? `best chance of the goal ${Math.round(100 * value)} %` : `best return from here ${signed(value)}`;
    return [chance, ...known.filter(Boolean)].join(' · ');
  }

  AF.verdict = { chip, actions, rest, sign, state, signed, NOTHING };
})(self);
