/* An update replayed under several schemes: the change of every token's log-probability. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el, number, percent } = AF.dom;
  const { KIND } = AF.weights;
  const { tokens, panes } = AF;
  const HEAD = [['scheme', ''], ['gradient norm', 'norm of the gradient, summed over mini-batches, before clipping'],
    ['update norm', 'norm of the parameter change'], ['cosine of gradients', 'with that of the first scheme'], ['cosine of updates', 'with that of the first scheme'],
    ['action, A > 0', 'mean change of log-probability (nats) of action tokens with positive advantage'], ['action, A < 0', 'mean change of log-probability (nats) of action tokens with negative advantage'],
    ['reasoning, A > 0', ''], ['reasoning, A < 0', '']];

  const signed = (x, digits = 3) => (Number.isFinite(x) ? `${x > 0 ? '+' : ''}${number(x, digits)}` : '–');
  const TOLERANCE = 1e-6; // as in actfocus_core/counterfactual/replay/result.py

  const tiny = (x) => (x ? x.toExponential(0).replace('-', '−') : '0');
  const short = (x) => (Number.isFinite(x) ? (x !== 0 && Math.abs(x) < 0.001 ? x.toExponential(1).replace('-', '−') : number(x, 3)) : '–');

  /* `titles`: name -> title; `on`: {trajectory(id), motion(scheme), evaluate(), open(id)}. `renew(whole)`: the whole
     answer has arrived; the tokens stay, with pointer and focus. */
  function draw(what, titles, on) {
    const rows = what.result.updates;
    const readout = el('p', 'af-readout', 'Hover over a token, or move with the arrow keys.');
    const live = el('div', 'af-spoken');
    live.setAttribute('aria-live', 'polite');
    const shown = rows.map((row) => pane(what, row, titles));
    if (rows.length === 2) shown.push(difference(what, titles));
    const group = panes.link(shown, (from, to, i) => i, (p, i) => {
      readout.replaceChildren(...panes.name(p, i), p.model.kinds[i] < KIND.REASONING ? 'read by the policy, not sampled'
        : rows.map((row) => of(what, row.scheme, titles, i)).join(' · '));
      live.textContent = readout.textContent;
    });
    for (const p of shown) tokens.paint(p.view, 'signed');
    const grid = el('div', `af-panes${shown.length === 3 ? ' three' : shown.length === 1 ? ' one' : ''}`, ...shown.map((p) => p.node));
    const first = what.pane.kind.indexOf(KIND.ACTION);
    root.requestAnimationFrame(() => { if (first >= 0) panes.reveal(group, shown[0], first); });
    const parts = (of) => [el('p', 'af-sentence', ...sentence(of, titles)), table(of, titles), evaluation(of, on), picker(of, on), legend(of, shown[0])];
    let drawn = parts(what);
    const renew = (whole) => {
      for (const p of shown) {
        p.model.signedTop = whole.top || 1;
        tokens.paint(p.view, 'signed');
      }
      const fresh = parts(whole);
      drawn.forEach((node, k) => {
        const focused = node.contains(document.activeElement) && document.activeElement.tagName;
        node.replaceWith(fresh[k]);
        if (focused) fresh[k].querySelector(focused)?.focus();
      });
      drawn = fresh;
    };
    const keys = drawn[4];
    return { group, renew, nodes: [...drawn.slice(0, 4), el('div', 'af-sticky', keys, readout), grid, live] };
  }

  function of(what, scheme, titles, i) {
    const s = what.schemes[scheme];
    return `${titles[scheme]} ${number(what.before[i])} → ${number(s.after[i])} (${signed(s.change[i])}; weight ${number(s.weight[i], 2)}, advantage ${number(s.advantage[i], 2)})`;
  }

  function pane(what, row, titles) {
    const p = panes.create(titles[row.scheme], `${row.own ? 'this run’s scheme · ' : ''}blue: more likely after the update, brown: less likely`, what.pane);
    p.model.signed = Float64Array.from(what.schemes[row.scheme].change, (x) => (x === null ? NaN : x));
    p.model.signedTop = what.top || 1;
    return p;
  }

  function difference(what, titles) {
    const [a, b] = what.result.updates.map((row) => row.scheme);
    const p = panes.create(`${titles[b]} − ${titles[a]}`, 'blue: raised more by the second scheme than by the first, brown: less', what.pane);
    p.model.signed = Float64Array.from(what.schemes[b].change, (x, i) => (x === null ? NaN : x - what.schemes[a].change[i]));
    p.model.signedTop = what.top || 1;
    return p;
  }

  function sentence(what, titles) {
    const { result, request } = what;
    const names = result.updates.map((row) => titles[row.scheme]);
    const head = `One update on ${result.trajectories} trajectories (${result.tokens.toLocaleString('en')} tokens) of step ${request.step}, `
      + `${request.match === 'norm' ? 'equal gradient norms, learning rate of the first' : 'learning rate'} ${result.lr.toPrecision(2)}. `;
    if (result.updates.every((row) => row.gradient_norm === 0)) {
      return [head, el('b', '', 'No change: '), 'all returns within each group are equal, so every advantage is 0. ', result.own ? '' : 'Choose more groups.'];
    }
    if (names.length < 2) return [head, `${names[0]} changed the parameters by a norm of ${short(result.updates[0].update_norm)}. `, ...checkpoint(result, titles), ...soFar(result)];
    const cosine = result.cosine_update[0][1];
    return [head, 'The updates of ', el('b', '', names[0]), ' and ', el('b', '', names[1]), ' have cosine ', el('b', 'af-strong', number(cosine, 2)),
      ` (their gradients ${number(result.cosine_gradient[0][1], 2)}); norms ${short(result.updates[0].update_norm)} and ${short(result.updates[1].update_norm)}. `, ...checkpoint(result, titles), ...soFar(result)];
  }

  /* Whether the run's own scheme reproduced the next checkpoint; if not, a badge says why. */
  function checkpoint(result, titles) {
    const own = result.updates.find((row) => row.own);
    if (!own || own.reproduced > TOLERANCE) return [];
    if (own.reproduced === null) return ['The next checkpoint of the run is not stored, so its update cannot be compared.'];
    return [el('b', '', titles[own.scheme]), ', this run’s scheme, reproduces the next checkpoint: ',
      own.reproduced ? `the largest difference of a parameter is ${tiny(own.reproduced)}.` : 'all parameters are equal.'];
  }

  function soFar(result) {
    return result.so_far ? [' ', el('b', '', 'So far '), `the changes of log-probability are those of the ${result.so_far} trajectories of this group.`] : [];
  }

  function table(what, titles) {
    const { result } = what;
    const played = Boolean(result.before);
    const head = [...HEAD, ...(result.updates.some((row) => row.own) ? [['off checkpoint', 'largest difference of a parameter to the stored next checkpoint']] : []),
      ...(played ? [['success', 'on the evaluation prompts, before and after, with the same random numbers'], ['gain', 'with a 95 % interval over prompts']] : [])];
    const rows = result.updates.map((row, i) => {
      const { change } = row;
      const cells = [short(row.gradient_norm), short(row.update_norm), number(result.cosine_gradient[0][i], 3), number(result.cosine_update[0][i], 3),
        ...['action', 'reasoning'].flatMap((kind) => ['up', 'down'].map((sign) => signed(change[kind][sign].mean, 4)))];
      if (head.some(([name]) => name === 'off checkpoint')) cells.push(row.reproduced === null ? '–' : tiny(row.reproduced));
      if (played) {
        const e = row.evaluation;
        if (!e) cells.push(`${percent(result.before.success)} → …`, '…');
        else cells.push(`${percent(result.before.success)} → ${percent(e.success)}`, `${signed(e.gain, 2)}${e.gain_low === undefined ? '' : ` [${signed(e.gain_low, 2)}, ${signed(e.gain_high, 2)}]`}`);
      }
      return el('tr', '', el('th', '', { scope: 'row' }, titles[row.scheme] + (row.own ? ' (this run’s scheme)' : '')), ...cells.map((text) => el('td', 'num', text)));
    });
    const node = el('div', 'af-wide', { tabIndex: 0 }, el('table', 'af-updates', el('caption', '', 'Updates; by kind and sign of the advantage: mean change of log-probability, in nats'),
      el('thead', '', el('tr', '', ...head.map(([name, help]) => el('th', '', { scope: 'col', title: help }, name)))), el('tbody', '', ...rows)));
    node.setAttribute('role', 'region');
    node.setAttribute('aria-label', 'Updates');
    return node;
  }

  /* The evaluation is optional: it takes longer than the update itself. */
  function evaluation(what, on) {
    if (what.result.before || what.result.so_far) return el('p', '', { hidden: true });
    return el('p', 'af-quiet', 'Not evaluated. ', el('button', 'af-link', { type: 'button', onclick: on.evaluate }, 'Evaluate before and after'), ' (8 prompts, 4 rollouts each, same random numbers).');
  }

  function picker(what, on) {
    const select = el('select', '', { onchange: () => on.trajectory(select.value) }, ...what.trajectories.map((t) => el('option', '', { value: t.id },
      `group ${t.group}, rollout ${t.rollout}: return ${number(t.return, 2)}, mean |change| ${number(t.moved)} nats`)));
    select.value = what.pane.id;
    select.setAttribute('aria-label', 'Trajectory');
    return el('div', 'af-picker', el('label', '', el('b', '', 'Trajectory '), select),
      el('button', 'af-button', { type: 'button', onclick: () => on.open(what.pane.id) }, 'Open in Trace'),
      el('span', 'af-quiet', 'Walkthrough: '), ...what.result.updates.map((row) => el('button', 'af-button', { type: 'button', onclick: () => on.motion(row.scheme) }, on.title(row.scheme))));
  }

  function legend(what, p) {
    const end = number(what.top, 2);
    return el('div', 'af-legend', el('span', 'af-ramp', { title: 'One scale for all schemes and trajectories of this replay; it saturates at its ends.' },
      el('span', 'af-ramp-end', `≤ −${end}`), el('span', 'af-ramp-bar credit'), el('span', 'af-ramp-end', `≥ +${end}`),
      el('span', 'af-quiet', 'change of log-probability, in nats')), tokens.kindKeys(p.model.shown));
  }

  AF.replay = { draw, signed, short };
})(self);
