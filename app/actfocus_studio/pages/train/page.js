/* The Train page: start experiments, follow them and inspect their evaluations. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { duration, el } = AF.dom;
  const POLL_MS = 1000;
  const IDLE_MS = 5000;
  const LIST_MS = 10000;
  const PATIENCE_MS = 20000;

  const channel = AF.channel(say);
  const { ask } = channel;
  const page = { race: null, rows: new Map(), cursors: {}, races: [], built: false };

  // --- the parts -----------------------------------------------------------------------------------

  function mount(element, props) {
    const menu = JSON.parse(props.menu);
    page.menu = menu;
    page.error = el('p', 'af-alert', { hidden: true });
    page.error.setAttribute('role', 'alert');
    page.form = form(menu);
    page.list = el('ul', 'af-race-list');
    page.head = el('header', 'af-race-head');
    page.claim = el('p', 'af-race-claim');
    page.claim.setAttribute('aria-live', 'polite');
    page.charts = AF.charts.create(menu);
    page.runs = el('div', 'af-race-runs');
    page.after = el('section', 'af-race-after');
    page.details = el('section', 'af-race-details');
    page.shown = el('div', 'af-race', { hidden: true }, page.head, page.claim, page.charts.node, page.runs, page.after, page.details);
    page.nothing = el('div', 'af-empty', 'Choose what to train on the left and press Start. Training runs in a separate process, so you can close this page.');
    element.className += ' af-train';
    element.replaceChildren(page.error, el('div', 'af-train-columns',
      el('aside', 'af-train-side', page.form.node, el('h3', '', 'Experiments'), page.list), el('div', 'af-train-main', page.nothing, page.shown)));
    page.built = true;
    AF.store.onTab(() => { if (AF.store.place.tab === 'train') wake(); });
    AF.frame.onTheme(() => { if (page.race) AF.charts.update(page.charts, merged()); });
    root.setInterval(tick, 250);
  }

  function form(menu) {
    const select = (name, options, value) => {
      const node = el('select', '', { name, onchange: estimate }, ...options.map((o) => el('option', '', { value: Array.isArray(o) ? o[0] : o }, Array.isArray(o) ? o[1] : o)));
      node.value = value;
      return node;
    };
    const f = { time: select('time', menu.times, '30 seconds'), environment: select('environment', menu.environments, 'FrozenLake, deterministic'),
      algorithm: select('algorithm', menu.algorithms.map((a) => [a, a.toUpperCase()]), 'grpo'), seeds: select('seeds', Array.from({ length: menu.seeds }, (_, i) => [i + 1, String(i + 1)]), 1) };
    f.policy = select('policy', [['tiny', 'tiny']], 'tiny');
    f.schemes = menu.schemes.map(([name, text]) => {
      const box = el('input', '', { type: 'checkbox', value: name, checked: ['uniform', 'actfocus'].includes(name), onchange: estimate });
      return { name, box, node: el('label', 'af-check', box, text) };
    });
    f.note = el('p', 'af-quiet af-estimate', '…');
    f.note.setAttribute('aria-live', 'polite');
    f.start = el('button', 'af-button primary', { type: 'submit' }, 'Start');
    const row = (text, node, hint) => el('label', 'af-field', el('b', '', text), hint && el('span', 'af-quiet', hint), node);
    f.node = el('form', 'af-train-form', { onsubmit: (event) => { event.preventDefault(); start(); } },
      row('Time', f.time, 'Per run.'), row('Environment', f.environment), row('Policy', f.policy, 'Installed models, and policies trained here.'),
      row('Algorithm', f.algorithm, 'Determines the advantages.'),
      el('fieldset', 'af-field', el('legend', '', 'Credit schemes'), el('span', 'af-quiet', 'All start from the same policy and use the same prompts. ActFocus takes α, β and the signal of the sidebar.'), ...f.schemes.map((s) => s.node)),
      row('Seeds', f.seeds, 'Per scheme. At least 3 are needed to compare schemes.'), f.note, f.start);
    return f;
  }

  function requested() {
    const f = page.form;
    const { alpha, beta, signal } = AF.store.settings;
    return { time: f.time.value, environment: f.environment.value, policy: f.policy.value, algorithm: f.algorithm.value, seeds: +f.seeds.value,
      schemes: f.schemes.filter((s) => s.box.checked).map((s) => s.name), alpha, beta, signal };
  }

  function estimate() {
    const request = requested();
    page.form.start.disabled = !request.schemes.length;
    if (!request.schemes.length) {
      page.form.note.textContent = 'Choose at least one scheme.';
      return;
    }
    ask({ op: 'estimate', request }, ({ estimate: e }) => {
      page.form.note.textContent = `${e.runs} run${e.runs > 1 ? 's' : ''} of ${e.steps} steps, one after another: about ${duration(e.seconds)} `
        + `(${e.rate.toFixed(1)} s per step, ${e.measured ? 'measured on this machine' : 'not measured yet'}).`;
    });
  }

  function start() {
    page.form.start.disabled = true;
    ask({ op: 'start', request: requested() }, ({ started }) => { show(started); list(); });
    root.setTimeout(() => { page.form.start.disabled = false; }, 1500);
  }

  // --- which experiment is shown ---------------------------------------------------------------------

  function wake() {
    if (!page.built) return;
    if (!page.woken) {
      page.woken = true;
      ask({ op: 'policies' }, ({ policies }) => {
        const { policy } = page.form;
        policy.replaceChildren(...policies.map(([name, text]) => el('option', '', { value: name }, text)));
        policy.value = policies[0][0];
      });
      estimate();
      list(() => show(AF.store.place.race || (page.races[0] && page.races[0].id)));
    }
  }

  function list(then) {
    page.listed = performance.now();
    ask({ op: 'list' }, ({ races }) => {
      if (JSON.stringify(races) === JSON.stringify(page.races)) return then && then();
      page.races = races;
      page.list.replaceChildren(...races.map((race) => {
        const going = race.states.some((s) => ['running', 'starting', 'paused', 'queued'].includes(s));
        const node = el('button', 'af-row', { type: 'button', onclick: () => show(race.id) },
          el('span', 'af-row-text', el('b', '', race.id), el('span', 'af-row-what', `${race.request.environment}, ${race.request.algorithm.toUpperCase()}${AF.standing.of(race)}, ${race.states.length} run${race.states.length === 1 ? '' : 's'}`)),
          el('span', 'af-gain', going ? 'in progress' : `${race.states.filter((s) => s === 'finished').length} of ${race.states.length} finished`));
        node.classList.toggle('on', race.id === AF.store.place.race);
        return el('li', '', node);
      }));
      return then && then();
    });
  }

  function show(id) {
    if (!id) return;
    if (id !== AF.store.place.race || !page.race) {
      Object.assign(page, { race: null, rows: new Map(), cursors: {} });
      page.after.replaceChildren();
      page.details.replaceChildren();
    }
    AF.store.place.race = id;
    AF.store.remember();
    for (const node of page.list.querySelectorAll('.af-row')) node.classList.toggle('on', node.querySelector('b').textContent === id);
    look();
  }

  function look() {
    const id = AF.store.place.race;
    page.looked = performance.now();
    page.looking = true;
    ask({ op: 'look', id, cursors: page.cursors }, ({ race }) => {
      page.looking = false;
      if (race.id !== AF.store.place.race) return;
      page.race = race;
      for (const run of race.runs) {
        // Steps repeated after a resume are skipped.
        const rows = page.rows.get(run.name) || [];
        for (const row of AF.series.rows(run.columns)) if (!rows.length || row.step > rows[rows.length - 1].step) rows.push(row);
        page.rows.set(run.name, rows);
        page.cursors[run.name] = run.cursor;
      }
      if (race.runs.some((run) => run.more)) look();
      else draw();
    });
  }

  function tick() {
    if (AF.store.place.tab !== 'train' || document.hidden) return;
    wake();
    if (!page.race || (page.looking && performance.now() - page.looked < PATIENCE_MS)) return;
    if (performance.now() - page.listed > LIST_MS) list();
    const going = !AF.standing.over(page.race);
    if (performance.now() - page.looked > (going ? POLL_MS : IDLE_MS)) look();
  }

  const merged = () => ({ id: page.race.id, runs: page.race.runs.map((run) => ({ ...run, rows: page.rows.get(run.name) || [] })) });

  // --- the experiment ---------------------------------------------------------------------------------

  function draw() {
    const { race } = page;
    page.nothing.hidden = true;
    page.shown.hidden = false;
    if (!page.standing || page.standing.race.id !== race.id) {
      page.standing = AF.standing.create(race, (scheme) => AF.charts.title(page.charts, scheme),
        (what) => ask({ op: 'ask', id: race.id, what }, look),
        { rollouts: (run) => open({ run: run.name, step: run.step }), evaluations, details });
      page.head.replaceChildren(...page.standing.head);
      page.runs.replaceChildren(page.standing.table);
    }
    AF.standing.update(page.standing, race, page.rows);
    AF.standing.write(page.claim, claim(race));
    AF.charts.update(page.charts, merged());
  }

  /* Open a trajectory on the Trace page. */
  function open(place) {
    AF.frame.tab('Trace');
    AF.go(place);
  }

  /* The server's comparisons, paired by seed, with their 95 % intervals; `mean` is null with too few seeds. */
  function claim(race) {
    const title = (scheme) => AF.charts.title(page.charts, scheme);
    const sign = (x) => `${x < 0 ? '−' : '+'}${Math.abs(x).toFixed(2)}`;
    return race.comparisons.map(({ scheme, baseline, seeds, mean, low, high }) => {
      if (mean === null) return `${title(scheme)} and ${title(baseline)}: ${seeds} seed${seeds === 1 ? '' : 's'} finished under both; at least 3 are needed for a comparison.`;
      const result = low > 0 ? 'higher' : high < 0 ? 'lower' : 'no significant difference';
      return `${title(scheme)} − ${title(baseline)}, success rate at temperature 1: ${sign(mean)}, 95 % interval [${sign(low)}, ${sign(high)}] over ${seeds} paired seeds: ${result}.`;
    }).join(' ');
  }

  // --- evaluations of the same prompts at every step -----------------------------------------------------

  function evaluations(run) {
    ask({ op: 'evaluation', id: page.race.id, name: run.name }, ({ evaluation: e }) => {
      if (!e || !e.steps.length) {
        page.after.replaceChildren(el('p', 'af-quiet', 'No evaluation has been stored yet.'));
        return;
      }
      const { mean } = e;
      // The best evaluation before the last, from which success can have been lost.
      const best = (means) => Math.max(0, means.indexOf(Math.max(...means.filter((x) => x !== null))));
      const peak = best(mean.length > 1 ? mean.slice(0, -1) : mean);
      const pick = (value) => {
        const node = el('select', '', { onchange: lost }, ...e.steps.map((step, k) => el('option', '', { value: k }, `step ${step} (${mean[k] === null ? 'unknown' : AF.dom.percent(mean[k])})`)));
        node.value = value;
        return node;
      };
      const from = pick(peak);
      const to = pick(e.steps.length - 1);
      from.setAttribute('aria-label', 'from step');
      to.setAttribute('aria-label', 'to step');
      const change = el('p', '');
      change.setAttribute('aria-live', 'polite');
      function lost() {
        const moved = (a, b) => e.prompts.filter((_, i) => e.success[i][a] !== null && e.success[i][b] !== null && e.success[i][a] - e.success[i][b] >= 0.5);
        const [fell, rose] = [moved(from.value, to.value), moved(to.value, from.value)];
        change.textContent = `The success rate fell by at least 50 percentage points on ${fell.length} of ${e.prompts.length} prompts${fell.length ? ` (${fell.join(', ')})` : ''} and rose by as much on ${rose.length}.`;
      }
      lost();
      const over = el('div', '');
      const head = (prompt) => el('th', '', el('button', 'af-link', { type: 'button', title: `Show prompt ${prompt} at every evaluated step`, onclick: () => scrub(run, e.run, prompt, over) }, String(prompt)));
      const cells = e.prompts.map((prompt, i) => el('tr', '', head(prompt), ...e.steps.map((step, k) => {
        const share = e.success[i][k];
        const node = el('button', 'af-cell', { type: 'button', title: `Open prompt ${prompt} at step ${step}: success rate ${share === null ? 'unknown' : AF.dom.percent(share)}`,
          onclick: () => open({ run: e.run, step, trajectory: e.ids[i][k] }) }, share === null ? '' : `${Math.round(100 * share)}`);
        node.style.setProperty('--share', share || 0);
        return el('td', '', node);
      })));
      page.after.replaceChildren(el('h3', '', `Evaluation prompts at every evaluated step: ${AF.charts.title(page.charts, run.scheme)}, seed ${run.seed}`),
        el('p', 'af-quiet', 'Success rate in % at temperature 1. Select a cell to open its rollouts, a prompt to show it over time. Change between two evaluations:'),
        el('p', 'af-race-pick', 'from ', from, ' to ', to), change,
        el('div', 'af-cells', el('table', '', el('thead', '', el('tr', '', el('th', '', 'prompt'), ...e.steps.map((s) => el('th', '', `step ${s}`)))), el('tbody', '', ...cells))), over);
      page.after.scrollIntoView({ behavior: AF.dom.smooth(), block: 'nearest' });
    });
  }

  function scrub(run, evaluation, seed, over) {
    over.replaceChildren(el('p', 'af-quiet', 'Scoring rollouts …'));
    ask({ op: 'prompt', id: page.race.id, name: run.name, seed }, ({ prompt }) => {
      over.replaceChildren(AF.scrubber.create(prompt, `${AF.charts.title(page.charts, run.scheme)}, seed ${run.seed}`,
        (id, step) => open({ run: evaluation, step, trajectory: id })));
      over.scrollIntoView({ behavior: AF.dom.smooth(), block: 'nearest' });
    });
  }

  /* The log and config of a run, and how to repeat it. */
  function details(run) {
    ask({ op: 'log', id: page.race.id, name: run.name }, ({ log, config, command, python }) => {
      const written = config ? JSON.stringify(config, null, 1) : '';
      const file = (text, name) => el('a', 'af-link', { href: URL.createObjectURL(new Blob([text], { type: 'text/plain' })), download: name }, `Download ${name}`);
      const part = (head, text, ...more) => [el('h4', '', head), el('pre', 'af-log', { tabIndex: 0 }, text), ...more];
      page.details.replaceChildren(el('h3', '', `${AF.charts.title(page.charts, run.scheme)}, seed ${run.seed}`),
        ...part('Command', command), ...part('Python', python),
        ...part('Config', written || 'Not written yet.', written && file(written, `${run.name}.config.json`)),
        ...part('Log', log || 'Empty.', file(log, `${run.name}.log.txt`)));
      page.details.scrollIntoView({ behavior: AF.dom.smooth(), block: 'nearest' });
    });
  }

  function say(text) {
    page.error.textContent = text;
    page.error.hidden = !text;
  }

  AF.train = { mount, answer: channel.answer, link: channel.link, state: page };
})(self);
