/* The tables of the Compare page: schemes, rank correlations, scoreboards and tokens. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el, number, visible } = AF.dom;

  const KINDS = ['action', 'reasoning', 'format'];
  const READ = { code: 'from the code', paper: 'from the paper', 'second hand': 'from a secondary source', ours: 'this project' };
  /* Labels of the buttons that start the oracle, and what each computation costs. */
  const VALUES = { optimal: 'Compute optimal values (Q*, V*)', policy: 'Compute policy values (Q^π, V^π)', answers: 'Compute log-probs of solutions' };
  const ABOUT = { optimal: 'Exact. Takes seconds to a minute.', policy: 'Monte Carlo estimates: 16 rollouts of the policy from every turn, and 16 more for an independent replica. Takes minutes; it can be cancelled.',
    answers: 'Also computes optimal values; one forward pass of the policy per turn. Takes about a minute.' };
  const COST = { C0: 'no model: arithmetic on recorded values', C1: 'one extra forward pass', C2: 'an additional trained network',
    C3: 'additional rollouts from restored states' };
  const EVIDENCE = { proxy: 'based on a proxy such as uncertainty, not on the value of an action',
    observational: 'based on observed returns', 'model-relative': 'based on counterfactuals under a model',
    'restored state': 'based on interventions from restored states' };
  const DARKEST = 0.62; // opacity at |rho| = 1; the number stays readable

  const percent = (share) => (share === null ? '–' : `${(share * 100).toFixed(1)}`);
  const whole = (x) => Math.round(x).toLocaleString('en');

  /* The facts about a scheme or null control. */
  function facts(menu, name) {
    const [control, base] = name.includes(':') ? name.split(':') : ['', name];
    const scheme = menu.schemes[base];
    return control ? { ...scheme, title: `${scheme.title}, ${control}`, description: menu.controls[control], source: `null control of ${scheme.title}`,
      read: 'ours', evidence: 'proxy', control } : scheme;
  }

  /* `set` ('a' | 'b', name) shows a scheme in a pane; `compute` ('score' | 'judge', with) computes missing signals. */
  function schemes(menu, data, chosen, set, compute) {
    const head = (text, title, span) => el('th', '', { scope: span > 1 ? 'colgroup' : 'col', title: title || '', ...(span > 1 ? { colSpan: span } : {}) }, text);
    const shares = () => KINDS.map((kind) => head(kind));
    const weight = data.schemes.find((row) => !row.missing.length);
    const tokens = weight && weight.kinds;
    const share = tokens ? KINDS.map((kind) => `${kind} ${percent(tokens[kind].token_share)} %`).join(', ') : '';
    return el('table', 'af-schemes',
      el('caption', '', 'Credit schemes on this batch',
        el('span', 'af-quiet', ` Step ${data.step}: ${whole(data.rollouts)} rollouts, ${whole(data.tokens)} response tokens (${share}).`
          + (data.unscored ? ` ${data.unscored} rollouts without a return are excluded.` : ''))),
      el('thead', '',
        el('tr', '', head('', '', 4), head('Share of weight, %', 'mask × weight over all response tokens', 5),
          head('Share of |credit|, %', '|mask × weight × advantage|: rollouts with advantage 0 contribute no gradient', 4), head('', '', 1)),
        el('tr', '', head('Scheme'), head('Pane'), head('Provenance'), head('Cost', 'in addition to the rollout'),
          head(''), ...shares(), head('effective tokens', `(Σw)² / Σw², of ${whole(data.tokens)} response tokens`),
          ...shares(), head('effective tokens', `(Σ|c|)² / Σc², of ${whole(data.tokens)} response tokens`),
          head('sign flips, %', 'share of tokens whose credit has the opposite sign under Uniform'))),
      el('tbody', '', ...data.schemes.map((row) => schemeRow(menu, data, row, chosen, set, compute))));
  }

  function schemeRow(menu, data, row, chosen, set, compute) {
    const about = facts(menu, row.scheme);
    const lacking = row.missing.length > 0;
    const tuned = row.params.signal !== undefined && row.scheme.split(':').pop() === 'actfocus';
    const needs = tuned ? (row.params.beta ? [row.params.signal] : []) : about.needs;
    const name = el('th', '', { scope: 'row', title: about.description }, el('span', 'af-scheme-name', about.title),
      tuned && !about.control ? el('span', 'af-quiet', ` sidebar: α ${+row.params.alpha.toFixed(2)}, β ${+row.params.beta.toFixed(2)}, ${row.params.signal}`) : '');
    const into = el('td', 'af-into', ...['a', 'b'].map((side) => {
      const node = el('button', 'af-side', { type: 'button', disabled: lacking, title: `Show in pane ${side.toUpperCase()}`, onclick: () => set(side, row.scheme) }, side.toUpperCase());
      node.setAttribute('aria-pressed', String(chosen[side] === row.scheme));
      node.setAttribute('aria-label', `${about.title} in pane ${side.toUpperCase()}`);
      return node;
    }));
    const provenance = el('td', 'af-provenance', el('span', '', about.source), el('span', 'af-quiet', ` ${READ[about.read]} · `),
      el('span', 'af-quiet', { title: EVIDENCE[about.evidence] }, `${about.unit}, ${about.evidence}`),
      el('span', 'af-quiet', needs.length ? ` · needs ${needs.join(', ')}` : ''));
    const cells = lacking ? [el('td', '', { colSpan: 10 }, ...reason(menu, data, row, compute))]
      : [stack(row), ...shareCells(row), ...shareCells(row.credit), el('td', 'num', { title: row.sign_flips === null ? 'no token has nonzero credit under both' : '' }, percent(row.sign_flips))];
    const node = el('tr', lacking ? 'af-lacking' : about.control ? 'af-control' : '', name, into, provenance, el('td', '', { title: COST[about.cost] }, about.cost), ...cells);
    node.dataset.scheme = row.scheme;
    return node;
  }

  function reason(menu, data, row, compute) {
    const parts = [el('span', 'na', `unavailable: no ${row.missing.join(', ')}; ${menu.how[row.missing[0]].replace(/`/g, '')}`)];
    if (row.missing.every((name) => menu.from_reference.includes(name))) {
      parts.push(...menu.references.map((name) => starter(`Score with “${name}”`,
        `Runs ${data.score} --reference ${name} in a separate process. For another model, run this command yourself.`, () => compute('score', name))));
    }
    const values = menu.values[row.missing[0]];
    if (values && row.missing.every((name) => menu.values[name] === values)) parts.push(judge(menu, data.judge, values, compute));
    return parts;
  }

  const starter = (text, title, onclick) => el('button', 'af-button af-score', { type: 'button', title, onclick }, text);

  /* A button that starts the oracle. */
  const judge = (menu, command, values, compute) => starter(VALUES[values],
    `${ABOUT[values]} Runs ${command} ${menu.options[values]} in a separate process.`, () => compute('judge', values));

  /* A note on missing ground truths. `known`: the available ones. */
  function truths(menu, command, known, compute) {
    const lacking = ['optimal', 'policy'].filter((values) => !known.includes(values));
    return lacking.length ? el('p', 'af-lacking-truth', el('span', 'na', 'unavailable: '),
      lacking.map((values) => ({ optimal: 'optimal values (Q*, V*)', policy: 'policy values (Q^π, V^π)' })[values]).join(' and '), ' ',
      ...lacking.map((values) => judge(menu, command, values, compute)), el('span', 'af-quiet', ' or run '), el('code', '', command)) : '';
  }

  function stack(of) {
    const bar = el('span', 'af-stack', ...KINDS.map((kind) => {
      const piece = el('span', `af-piece ${kind}`);
      piece.style.width = `${(of.kinds[kind].mass_share || 0) * 100}%`;
      return piece;
    }));
    bar.setAttribute('aria-hidden', 'true');
    return el('td', 'af-mass-bar', bar);
  }

  const shareCells = (of) => [...KINDS.map((kind) => el('td', 'num', percent(of.kinds[kind].mass_share))), el('td', 'num', whole(of.effective_tokens))];

  /* Rank correlations on a diverging colour scale. */
  function spearman(menu, data) {
    const names = Object.keys(data.spearman);
    const head = names.map((name, k) => el('th', '', { scope: 'col', title: facts(menu, name).title }, String(k + 1)));
    return el('table', 'af-spearman',
      el('caption', '', 'Rank correlation between schemes', el('span', 'af-quiet', ' Spearman’s ρ of the signed credit over all response tokens; – if either is constant.')),
      el('thead', '', el('tr', '', el('th', ''), ...head)),
      el('tbody', '', ...names.map((a, k) => el('tr', '', el('th', '', { scope: 'row' }, `${k + 1} ${facts(menu, a).title}`),
        ...names.map((b) => correlation(data.spearman[a][b], `${facts(menu, a).title} and ${facts(menu, b).title}`))))));
  }

  function correlation(rho, title) {
    const cell = el('td', 'num', { title }, rho === null ? '–' : number(rho, 2));
    if (rho !== null) cell.style.backgroundColor = `rgba(${rho < 0 ? '179,88,6' : '33,102,172'},${(Math.abs(rho) * DARKEST).toFixed(3)})`;
    return cell;
  }

  /* One scoreboard: every score with its 95 % interval, or the reason why it is undefined. */
  function board(menu, data) {
    const names = Object.keys(data.columns);
    const noise = data.noise_floor === null ? 'noise floor unknown (no replica)'
      : data.exact ? 'exact' : `estimated; mean |A − A′| between replicas ${number(data.noise_floor)}`;
    const rows = [...data.rows, ...(data.ceiling ? [data.ceiling] : [])];
    const lacking = Object.keys(data.unscored).map((name) => facts(menu, name).title);
    return el('div', 'af-board', el('table', 'af-scores',
      el('caption', '', `Ground truth: ${data.truth}`, el('span', 'af-quiet', ` ${noise[0].toUpperCase()}${noise.slice(1)}. ${data.turns - data.left_out} turns`
        + (data.left_out ? `; ${data.left_out} turns without action tokens are excluded` : '') + '. Brackets: 95 % bootstrap intervals over trajectories.'
        + (data.skipped ? ` ${whole(data.skipped)} of ${whole(data.rollouts)} rollouts have fewer than 3 distinct true values and are excluded from “${menu.heads.right_within}”.` : ''))),
      el('thead', '', el('tr', '', el('th', '', { scope: 'col' }, 'Scheme'), ...names.map((name) => el('th', '', { scope: 'col', title: data.columns[name] }, menu.heads[name] || name)))),
      el('tbody', '', ...rows.map((row) => {
        const title = row.name === 'ceiling' ? 'ground truth' : facts(menu, row.name).title;
        const node = el('tr', row === data.ceiling ? 'af-ceiling' : row.name.includes(':') ? 'af-control' : '',
          el('th', '', { scope: 'row', title: row.focus === 'weight' ? '“ranking” columns rank turns by their weight' : '“ranking” columns rank turns by |credit|, which varies within a trajectory' }, title),
          ...names.map((name) => scored(row.scores[name])));
        node.dataset.scheme = row.name;
        return node;
      }))), lacking.length ? el('p', 'af-quiet', `Not scored, because a signal they need is not recorded: ${lacking.join(', ')}.`) : '');
  }

  function scored(score) {
    if (score.value === null) return el('td', 'na', score.why);
    const range = score.low === null ? '' : ` [${number(score.low, 2)}, ${number(score.high, 2)}]`;
    return el('td', 'num', { title: `n = ${score.n}` }, el('b', '', number(score.value, 2)), el('span', 'af-quiet', range));
  }

  /* The tokens of the trajectory in `pane`, one per row, with their credit in each of `panes`. */
  function tokens(pane, panes) {
    const { model } = pane;
    const name = (p) => (p.side === 'difference' ? 'A − B' : `credit ${p.side.toUpperCase()}`);
    const value = (p, i) => (model.kinds[i] < AF.weights.KIND.REASONING ? '–' : number(p.model.signed[i]));
    return el('table', 'af-token-rows', el('caption', '', panes.length > 1 ? 'Tokens' : `Tokens of ${pane.side.toUpperCase()}`,
      el('span', 'af-quiet', ' – for tokens that the policy did not sample')),
    el('thead', '', el('tr', '', ...['position', 'turn', 'kind', 'text', ...panes.map(name)].map((text) => el('th', '', { scope: 'col' }, text)))),
    el('tbody', '', ...model.text.map((text, i) => el('tr', '', el('td', 'num', String(i)), el('td', 'num', model.turn[i] < 0 ? '–' : String(model.turn[i] + 1)),
      el('td', '', AF.tokens.NAMES[model.shown[i]]), el('td', 'mono', visible(text)), ...panes.map((p) => el('td', 'num', value(p, i)))))));
  }

  AF.compareTables = { tokens, schemes, spearman, board, truths, facts };
})(self);
