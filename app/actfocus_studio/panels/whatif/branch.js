/* A trajectory branched at one of its turns: the tree of outcomes, and each outcome as a trajectory. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el, number, percent } = AF.dom;
  const { tokens, panes } = AF;
  const LISTED = 12; // most outcomes of a node that get a button

  /* `on`: {outcome(id), title}. */
  function draw(what, titles, on) {
    const scale = range(what.result);
    const readout = el('p', 'af-readout', 'Hover over a token, or move with the arrow keys.');
    const live = el('div', 'af-spoken');
    live.setAttribute('aria-live', 'polite');
    const turn = what.request.turn;
    const shown = [what.original && panes.create('Original', about(what.original), what.original), panes.create(`Branch ${what.outcome.rollout + 1}`, about(what.outcome), what.outcome)].filter(Boolean);
    const group = panes.link(shown, panes.sameTurn, (p, i) => {
      readout.replaceChildren(...panes.name(p, i), shown.map((other) => numbers(other, panes.sameTurn(p, other, i))).join(' · '));
      live.textContent = readout.textContent;
    });
    for (const p of shown) tokens.paint(p.view, 'kind');
    const begin = shown[0].model.spans.get(turn);
    root.requestAnimationFrame(() => { if (begin) for (const p of shown) if (p.view.cards[turn]) tokens.reveal(p.view, p.view.cards[turn], 'start'); });
    return { group, nodes: [el('p', 'af-sentence', ...sentence(what)), tree(what, scale, on), el('h3', '', 'Branch and original'),
      el('div', 'af-sticky', el('div', 'af-legend', tokens.kindKeys([...new Set(shown.flatMap((p) => p.model.shown))])), readout),
      el('div', 'af-panes', ...shown.map((p) => el('div', 'af-pane-with', panes.worlds(p.data), p.node))), live] };
  }

  const about = (t) => `return ${number(t.return, 2)}, ${AF.dom.outcome(t.success)}, ${t.turns.length - 1} turn${t.turns.length === 2 ? '' : 's'}`;
  const numbers = (p, i) => (i === null ? `${p.title} –` : `${p.title} “${AF.dom.visible(p.model.text[i])}” log-prob ${number(p.data.logprob[i])}`);
  const interval = (f) => (f.low === null ? '' : ` [${number(f.low, 2)}, ${number(f.high, 2)}]`);

  function sentence({ request, result }) {
    const { to_go, success, original, optimal } = result;
    const where = request.token === null ? `turn ${request.turn + 1}` : `token ${request.token} of turn ${request.turn + 1}`;
    const forced = request.action !== null ? `, with the answer forced to “${request.action}”` : request.text !== null ? `, with the continuation forced to “${request.text}”` : '';
    return [`From ${where}${forced}, ${to_go.n} sample${to_go.n === 1 ? '' : 's'}: mean return-to-go `, el('b', 'af-strong', number(to_go.mean, 2)), `${interval(to_go)}, success ${percent(success.rate)}. `,
      `The stored trajectory: ${number(original.to_go, 2)} with ${original.actions.join(' → ') || 'no action'}. `,
      optimal ? `Optimal play: ${number(optimal.value, 2)}.` : 'There is no oracle for this environment.'];
  }

  /* The common scale: from the lowest to the highest value that is drawn. */
  function range(result) {
    const all = [result.original.to_go];
    const add = (f) => all.push(...[f.mean, f.low, f.high].filter((x) => x !== null));
    add(result.to_go);
    if (result.optimal) all.push(result.optimal.value);
    (function walk(nodes) { for (const node of nodes) { add(node.to_go); if (node.optimal) all.push(node.optimal.turn); walk(node.children); } })(result.tree);
    const [low, high] = [Math.min(...all), Math.max(...all)];
    return high - low < 1e-6 ? [low - 0.5, high + 0.5] : [low - 0.03 * (high - low), high + 0.03 * (high - low)];
  }

  function tree(what, scale, on) {
    const { result } = what;
    const node = el('section', 'af-wide', { tabIndex: 0 }, el('h3', '', 'Outcomes'),
      el('p', 'af-quiet', 'Each row is an outcome of the turn: its count, and its mean return-to-go (dot) with a 95 % interval (bar)',
        result.optimal ? ', and the return-to-go of its actions under optimal play (diamond).' : '.'),
      el('ul', 'af-tree', ...result.tree.map((one) => row(one, scale, on, what, 0))));
    node.setAttribute('role', 'region');
    node.setAttribute('aria-label', 'Tree of outcomes');
    return node;
  }

  function row(node, scale, on, what, depth) {
    const children = node.children.length ? el('ul', 'af-tree', { hidden: depth > 0 }, ...node.children.map((one) => row(one, scale, on, what, depth + 1))) : null;
    const fold = children ? el('button', 'af-fold', { type: 'button', onclick: () => { children.hidden = !children.hidden; show(); } }) : el('span', 'af-fold');
    const show = () => { if (children) { fold.textContent = children.hidden ? '▸' : '▾'; fold.setAttribute('aria-expanded', String(!children.hidden)); fold.setAttribute('aria-label', 'Next turn of this outcome'); } };
    show();
    const exact = node.optimal;
    const ids = node.ids.slice(0, LISTED).map((id) => {
      const open = el('button', 'af-chip', { type: 'button', onclick: () => on.trajectory(id) }, String(+id.split('~').pop() + 1));
      open.setAttribute('aria-label', `Open branch ${+id.split('~').pop() + 1}`);
      open.classList.toggle('on', id === what.outcome.id);
      return open;
    });
    const text = `return-to-go ${number(node.to_go.mean, 2)}${interval(node.to_go)}${exact ? `; oracle ${number(exact.turn, 2)}` : ''}`;
    const line = el('div', 'af-branch', fold, el('span', 'af-branch-what', el('b', '', node.actions.join(' → ') || 'no action'),
      node.valid ? '' : el('span', 'af-flag', 'invalid'), node.ended ? el('span', 'af-quiet', ' end') : ''),
    el('span', 'af-branch-count', `${node.count} of ${what.result.to_go.n}`), lane(node, scale, text), el('span', 'af-branch-told', text),
    el('span', 'af-quiet', `success ${percent(node.success.rate)}`), el('span', 'af-chips', ...ids));
    line.style.setProperty('--depth', depth);
    return el('li', '', line, children);
  }

  /* Interval, mean and the oracle's value, on the common scale. */
  function lane(node, [low, high], text) {
    const at = (x) => `${(100 * (x - low) / (high - low)).toFixed(1)}%`;
    const { to_go: f } = node;
    const track = el('span', 'af-lane', { title: text });
    if (f.low !== null) {
      const bar = el('span', 'af-lane-bar');
      const from = Math.max(f.low, low);
      bar.style.left = at(from);
      bar.style.width = `${(100 * (Math.min(f.high, high) - from) / (high - low)).toFixed(1)}%`;
      track.append(bar);
    }
    const dot = el('span', 'af-lane-dot');
    dot.style.left = at(f.mean);
    track.append(dot);
    if (node.optimal) {
      const mark = el('span', 'af-lane-oracle', '◆');
      mark.style.left = at(node.optimal.turn);
      track.append(mark);
    }
    return track;
  }

  AF.branch = { draw };
})(self);
