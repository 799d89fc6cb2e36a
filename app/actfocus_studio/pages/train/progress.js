/* The progress of an experiment and of its runs. Existing elements are updated in place, so that clicks and keyboard
   focus survive every update. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el, duration } = AF.dom;
  const { series } = AF;
  const OVER = ['finished', 'failed', 'stopped', 'killed', 'waiting'];
  const WORDS = { queued: 'queued', waiting: 'suspended: press Resume', starting: 'starting', running: 'training', paused: 'paused',
    stopped: 'stopped', finished: 'finished', failed: 'failed', killed: 'killed: press Resume to continue' };
  const HEADS = ['run', 'state', 'steps', 'initial success rate', 'latest success rate', 'latest return', ''];
  const LOG_LINES = 8;
  const SUCCESS = 'eval/t1/success';

  /* The initial policy of an experiment, unless it is the embedded one. */
  const of = (race) => (race.policy === 'tiny' ? '' : ` of ${race.policy}`);
  const over = (race) => race.runs.every((run) => OVER.includes(run.state));

  /* `act(op)` pauses ('pause'), resumes ('go') or stops ('stop') the experiment; `open`: actions of a run's links. */
  function create(race, title, act, open) {
    const s = { race, open, lines: new Map() };
    const button = (text, what) => el('button', 'af-button', { type: 'button', onclick: () => act(what) }, text);
    s.bar = el('progress', 'af-progress', { max: race.steps * race.runs.length });
    s.bar.setAttribute('aria-label', 'Progress of the experiment');
    s.count = el('span', 'af-quiet');
    s.pause = button('Pause', 'pause');
    s.go = button('Resume', 'go');
    s.stop = button('Stop', 'stop');
    s.head = [el('b', '', race.id), el('span', 'af-quiet', `${race.request.environment}, ${race.request.algorithm.toUpperCase()}${of(race)}`), s.bar, s.count,
      el('span', 'af-play-tools', s.pause, s.go, s.stop)];
    s.table = el('table', 'af-runs', el('caption', '', 'Runs'),
      el('thead', '', el('tr', '', ...HEADS.map((text) => el('th', '', { scope: 'col' }, text)))),
      el('tbody', '', ...race.runs.map((run) => line(s, run.name, `${title(run.scheme)}, seed ${run.seed}`))));
    return s;
  }

  function line(s, name, label) {
    const cell = (cls = '') => el('td', cls);
    const link = (text, then) => el('button', 'af-link', { type: 'button', onclick: () => then(s.lines.get(name).run) }, text);
    const l = { state: cell(), steps: cell('num'), first: cell('num'), now: cell('num'), gained: cell('num'),
      rollouts: link('rollouts', s.open.rollouts), evaluations: link('evaluations', s.open.evaluations), details: link('log and commands', s.open.details) };
    s.lines.set(name, l);
    return el('tr', '', el('th', '', { scope: 'row' }, label), l.state, l.steps, l.first, l.now, l.gained,
      el('td', '', el('span', 'af-race-links', l.rollouts, l.evaluations, l.details)));
  }

  /* Show the current state. `rows`: run name -> its rows of metrics. */
  function update(s, race, rows) {
    const done = race.runs.reduce((sum, run) => sum + Math.min(run.step, race.steps), 0);
    const total = race.steps * race.runs.length;
    const going = !over(race);
    const paused = race.runs.some((run) => run.state === 'paused');
    const rest = race.runs.some((run) => ['stopped', 'killed', 'waiting'].includes(run.state));
    const pace = race.runs.filter((run) => run.step && run.elapsed).map((run) => run.elapsed / run.step);
    const left = going && pace.length ? `, about ${duration((total - done) * pace.reduce((a, b) => a + b, 0) / pace.length)} left` : '';
    s.bar.value = done;
    write(s.count, `${done} of ${total} steps${left}`);
    s.pause.disabled = !going || paused;
    s.go.disabled = !(paused || rest);
    s.stop.disabled = !going;
    for (const run of race.runs) row(s.lines.get(run.name), race, run, rows.get(run.name) || []);
  }

  function row(l, race, run, rows) {
    l.run = run;
    state(l, run);
    const success = series.of(rows, SUCCESS);
    const gained = series.of(rows, 'reward/return').y;
    write(l.steps, `${run.step} of ${race.steps}`);
    write(l.first, success.y.length ? interval(rows, 0) : '–');
    write(l.now, success.y.length > 1 ? interval(rows, success.y.length - 1) : '–');
    write(l.gained, gained.length ? gained[gained.length - 1].toFixed(2) : '–');
    l.rollouts.disabled = run.step < 1;
    l.evaluations.disabled = !success.y.length;
  }

  function state(l, run) {
    const shown = JSON.stringify([run.state, run.place, run.phase, run.message, run.log]);
    if (shown === l.shown) return;
    l.shown = shown;
    const word = run.state === 'queued' && run.place ? `queued, position ${run.place}` : WORDS[run.state] || run.state;
    l.state.replaceChildren(word, run.phase && run.state === 'running' ? el('span', 'af-quiet', ` ${run.phase}`) : '',
      run.message ? el('span', 'af-flag', run.message) : '');
    if (run.log) l.state.append(el('pre', 'af-log', { tabIndex: 0 }, run.log.split('\n').slice(-LOG_LINES).join('\n')));
  }

  /* The k-th evaluation with its 95 % interval. */
  function interval(rows, k) {
    const { x, y } = series.of(rows, SUCCESS);
    const [low, high] = ['low', 'high'].map((end) => {
      const bound = series.of(rows, `${SUCCESS}_${end}`);
      return bound.y[bound.x.indexOf(x[k])];
    });
    const mean = y[k].toFixed(2);
    return low === undefined || high === undefined ? mean : `${mean} [${low.toFixed(2)}, ${high.toFixed(2)}]`;
  }

  function write(node, text) {
    if (node.textContent !== text) node.textContent = text;
  }

  AF.standing = { create, update, of, over, write };
})(self);
