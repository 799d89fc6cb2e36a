/* The tables of the Compare page: what the schemes do, how alike they are, and the truth. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el, number, visible } = AF.dom;

  const KINDS = ['action', 'reasoning', 'format'];
  const READ = { code: 'read in code', paper: 'read in the paper', 'second hand': 'second hand', ours: 'ours' };
  /* What the oracle computes, as its buttons say it. */
  const VALUES = { optimal: 'Compute perfect play’s values', policy: 'Compute the policy’s own values', answers: 'Compute the solutions’ log-probs' };
  const ABOUT = { optimal: 'Exact; seconds to a minute.', policy: 'The policy plays on from every turn: 16 fresh rollouts a value, and 16 more for a replica. Minutes; it can be cancelled.',
    answers: 'Perfect play’s values as well, and a forward pass of the policy a turn: a minute or so.' };
  const COST = { C0: 'arithmetic on what a rollout has', C1: 'one more forward pass', C2: 'a trained extra network',
    C3: 'extra rollouts from restored states' };
  const EVIDENCE = { proxy: 'rests on a proxy, such as uncertainty: it does not say what an action was worth',
    observational: 'rests on returns that were observed', 'model-relative': 'rests on counterfactuals under a model',
    'restored state': 'rests on interventions from restored states' };
  const DARKEST = 0.62; // opacity of a correlation of 1: the number on it stays readable

  const percent = (share) => (share === null ? '–' : `${(share * 100).toFixed(1)}`);
  const whole = (x) => Math.round(x).toLocaleString('en');

  /* A scheme or null control by name -> what the menu says of it. */
  function facts(menu, name) {
    const [control, base] = name.includes(':') ? name.split(':') : ['', name];
    const own = menu.schemes[base];
    return control ? { ...own, title: `${own.title}, ${control}`, description: menu.controls[control], source: `null control of ${own.title}`,
      read: 'ours', evidence: 'proxy', control } : own;
  }

  /* `set` ('a' | 'b', name) puts a scheme into a pane; `compute` ('score' | 'judge', with) starts the work. */
  function schemes(menu, data, chosen, set, compute) {
    const head = (text, title, span) => el('th', '', { scope: span > 1 ? 'colgroup' : 'col', title: title || '', colSpan: span || 1 }, text);
    const shares = () => KINDS.map((kind) => head(kind));
    const weight = data.schemes.find((row) => !row.missing.length);
    const tokens = weight && weight.kinds;
    const share = tokens ? KINDS.map((kind) => `${kind} ${percent(tokens[kind].token_share)} %`).join(', ') : '';
    return el('table', 'af-schemes',
      el('caption', '', 'What every scheme does with this batch',
        el('span', 'af-quiet', ` step ${data.step}: ${whole(data.rollouts)} rollouts, ${whole(data.tokens)} response tokens (${share})`
          + (data.unscored ? `; ${data.unscored} rollouts without a return are left out` : ''))),
      el('thead', '',
        el('tr', '', head('', '', 4), head('Share of the weight, %', 'keep × weight of all response tokens', 5),
          head('Share of |credit|, %', '|keep × weight × advantage|: rollouts whose advantage is 0 teach nothing', 4), head('', '', 1)),
        el('tr', '', head('Scheme'), head('In pane'), head('Provenance'), head('Cost', 'beyond the rollout'),
          head(''), ...shares(), head('eff. tokens', 'effective: the number of tokens that the weight is spread over'),
          ...shares(), head('eff. tokens', 'effective: the number of tokens that the credit is spread over'),
          head('flips, %', 'share of tokens whose sign is not that of Uniform'))),
      el('tbody', '', ...data.schemes.map((row) => schemeRow(menu, data, row, chosen, set, compute))));
  }

  function schemeRow(menu, data, row, chosen, set, compute) {
    const about = facts(menu, row.scheme);
    const lacking = row.missing.length > 0;
    const tuned = row.params.signal !== undefined && row.scheme.split(':').pop() === 'actfocus';
    const needs = tuned ? (row.params.beta ? [row.params.signal] : []) : about.needs;
    const name = el('th', '', { scope: 'row', title: about.description }, el('span', 'af-scheme-name', about.title),
      tuned && !about.control ? el('span', 'af-quiet', ` as set: α ${+row.params.alpha.toFixed(2)}, β ${+row.params.beta.toFixed(2)}, ${row.params.signal}`) : '');
    const into = el('td', 'af-into', ...['a', 'b'].map((side) => {
      const node = el('button', 'af-side', { type: 'button', disabled: lacking, title: `Show in pane ${side.toUpperCase()}`, onclick: () => set(side, row.scheme) }, side.toUpperCase());
      node.setAttribute('aria-pressed', String(chosen[side] === row.scheme));
      node.setAttribute('aria-label', `${about.title} in pane ${side.toUpperCase()}`);
      return node;
    }));
    const told = el('td', 'af-provenance', el('span', '', about.source), el('span', 'af-quiet', ` ${READ[about.read]} · `),
      el('span', 'af-quiet', { title: EVIDENCE[about.evidence] }, `${about.unit}, ${about.evidence}`),
      el('span', 'af-quiet', needs.length ? ` · needs ${needs.join(', ')}` : ''));
    const cells = lacking ? [el('td', '', { colSpan: 10 }, ...reason(menu, data, row, compute))]
      : [stack(row), ...mass(row), ...mass(row.credit), el('td', 'num', { title: row.sign_flips === null ? 'no token gets credit from both' : '' }, percent(row.sign_flips))];
    const node = el('tr', lacking ? 'af-lacking' : about.control ? 'af-control' : '', name, into, told, el('td', '', { title: COST[about.cost] }, about.cost), ...cells);
    node.dataset.scheme = row.scheme;
    return node;
  }

  function reason(menu, data, row, compute) {
    const parts = [el('span', 'na', `unavailable: no ${row.missing.join(', ')}; ${menu.how[row.missing[0]].replace(/`/g, '')}`)];
    if (row.missing.every((name) => menu.from_reference.includes(name))) {
      parts.push(...menu.references.map((name) => starter(`Score with “${name}”`,
        `Runs ${data.score} --reference ${name} in a process of its own. For another model run it yourself.`, () => compute('score', name))));
    }
    const values = menu.values[row.missing[0]];
    if (values && row.missing.every((name) => menu.values[name] === values)) parts.push(judge(menu, data.judge, values, compute));
    return parts;
  }

  const starter = (text, title, onclick) => el('button', 'af-button af-score', { type: 'button', title, onclick }, text);

  /* The button that has the oracle compute some of its values. */
  const judge = (menu, command, values, compute) => starter(VALUES[values],
    `${ABOUT[values]} Runs ${command} ${menu.options[values]} in a process of its own.`, () => compute('judge', values));

  /* What stands where one of the truths is missing. `known`: the truths that are there. */
  function truths(menu, command, known, compute) {
    const lacking = ['optimal', 'policy'].filter((values) => !known.includes(values));
    return lacking.length ? el('p', 'af-lacking-truth', el('span', 'na', 'unavailable: '),
      lacking.map((values) => ({ optimal: 'what perfect play would have made of every turn', policy: 'what every turn was worth to the policy' })[values]).join(', and '), ' ',
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

  const mass = (of) => [...KINDS.map((kind) => el('td', 'num', percent(of.kinds[kind].mass_share))), el('td', 'num', whole(of.effective_tokens))];

  /* Rank correlations in the diverging colour. */
  function spearman(menu, data) {
    const names = Object.keys(data.spearman);
    const head = names.map((name, k) => el('th', '', { scope: 'col', title: facts(menu, name).title }, String(k + 1)));
    return el('table', 'af-spearman',
      el('caption', '', 'How alike they are', el('span', 'af-quiet', ' Spearman of the signed credit over all response tokens; – where one of the two does not vary')),
      el('thead', '', el('tr', '', el('th', ''), ...head)),
      el('tbody', '', ...names.map((a, k) => el('tr', '', el('th', '', { scope: 'row' }, `${k + 1} ${facts(menu, a).title}`),
        ...names.map((b) => correlation(data.spearman[a][b], `${facts(menu, a).title} and ${facts(menu, b).title}`))))));
  }

  function correlation(rho, title) {
    const cell = el('td', 'num', { title }, rho === null ? '–' : number(rho, 2));
    if (rho !== null) cell.style.backgroundColor = `rgba(${rho < 0 ? '179,88,6' : '33,102,172'},${(Math.abs(rho) * DARKEST).toFixed(3)})`;
    return cell;
  }

  /* One scoreboard: every number with its interval, or why there is none. */
  function board(menu, data) {
    const names = Object.keys(data.columns);
    const noise = data.noise_floor === null ? 'no replica, so how much noise it holds is unknown'
      : data.exact ? 'exact' : `estimated; it differs from its replica by ${number(data.noise_floor)} on average`;
    const rows = [...data.rows, ...(data.ceiling ? [data.ceiling] : [])];
    const lacking = Object.keys(data.unscored).map((name) => facts(menu, name).title);
    return el('div', 'af-board', el('table', 'af-scores',
      el('caption', '', `Against ${data.truth}`, el('span', 'af-quiet', ` ${noise}; ${data.turns - data.left_out} turns`
        + (data.left_out ? `, ${data.left_out} without an action left out` : '') + '. Intervals: 95 % bootstrap over trajectories.'
        + (data.skipped ? ` ${whole(data.skipped)} of ${whole(data.rollouts)} rollouts have fewer than 3 different true values: they rank nothing and are left out of “${HEADS.right_within}”.` : ''))),
      el('thead', '', el('tr', '', el('th', '', { scope: 'col' }, 'Scheme'), ...names.map((name) => el('th', '', { scope: 'col', title: data.columns[name] }, HEADS[name] || name)))),
      el('tbody', '', ...rows.map((row) => {
        const title = row.name === 'ceiling' ? 'the truth itself' : facts(menu, row.name).title;
        const node = el('tr', row === data.ceiling ? 'af-ceiling' : row.name.includes(':') ? 'af-control' : '',
          el('th', '', { scope: 'row', title: row.focus === 'weight' ? '“where” ranks by the weight' : '“where” ranks by |credit|, which differs within a trajectory' }, title),
          ...names.map((name) => scored(row.scores[name])));
        node.dataset.scheme = row.name;
        return node;
      }))), lacking.length ? el('p', 'af-quiet', `Without a score, for what they need is not recorded: ${lacking.join(', ')}.`) : '');
  }

  const HEADS = { where_advantage: 'where: ρ with |A|', where_advantage_tau: 'where: τ-b with |A|', where_criticality_tau: 'where: τ-b with criticality', where_advantage_auroc: 'where: AUROC, top |A|', where_criticality: 'where: ρ with criticality',
    where_criticality_auroc: 'where: AUROC, top criticality', right_group: 'right: ρ in the group', right_within: 'right: ρ in the rollout',
    right_sign: 'right: same sign', luck: 'mass on luck' };

  function scored(score) {
    if (score.value === null) return el('td', 'na', score.why);
    const range = score.low === null ? '' : ` [${number(score.low, 2)}, ${number(score.high, 2)}]`;
    return el('td', 'num', { title: `n = ${score.n}` }, el('b', '', number(score.value, 2)), el('span', 'af-quiet', range));
  }

  /* A trajectory's tokens as rows: `own` is a pane that shows it, `panes` those whose credit stands beside. */
  function tokens(own, panes) {
    const { model } = own;
    const name = (p) => (p.side === 'difference' ? 'A − B' : `credit ${p.side.toUpperCase()}`);
    const value = (p, i) => (model.kinds[i] < AF.weights.KIND.REASONING ? '–' : number(p.model.signed[i]));
    return el('table', 'af-token-rows', el('caption', '', panes.length > 1 ? 'The tokens' : `The tokens of ${own.side.toUpperCase()}`,
      el('span', 'af-quiet', ' – where the policy only read them')),
    el('thead', '', el('tr', '', ...['position', 'turn', 'kind', 'text', ...panes.map(name)].map((text) => el('th', '', { scope: 'col' }, text)))),
    el('tbody', '', ...model.text.map((text, i) => el('tr', '', el('td', 'num', String(i)), el('td', 'num', model.turn[i] < 0 ? '–' : String(model.turn[i] + 1)),
      el('td', '', AF.tokens.NAMES[model.shown[i]]), el('td', 'mono', visible(text)), ...panes.map((p) => el('td', 'num', value(p, i)))))));
  }

  AF.compareTables = { tokens, schemes, spearman, board, truths, facts };
})(self);
