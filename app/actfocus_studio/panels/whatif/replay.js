/* An update replayed under several schemes: what each changed in every token's log-prob. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el, number, percent } = AF.dom;
  const { KIND } = AF.weights;
  const { tokens, panes } = AF;
  const HEAD = [['scheme', ''], ['gradient', 'length of the gradient, summed over the mini-batches, before clipping'],
    ['update', 'length of the change of all parameters'], ['cosine of gradients', 'with the first scheme'], ['cosine of updates', 'with the first scheme'],
    ['action, A > 0', 'mean change of log-prob of action tokens that are to become likelier'], ['action, A < 0', 'and of those that are to become less likely'],
    ['reasoning, A > 0', ''], ['reasoning, A < 0', '']];

  const signed = (x, digits = 3) => (Number.isFinite(x) ? `${x > 0 ? '+' : ''}${number(x, digits)}` : '–');
  const TOLERANCE = 1e-6; // as in actfocus_core/counterfactual/replay/result.py

  const tiny = (x) => (x ? x.toExponential(0).replace('-', '−') : '0');
  const short = (x) => (Number.isFinite(x) ? (x !== 0 && Math.abs(x) < 0.001 ? x.toExponential(1).replace('-', '−') : number(x, 3)) : '–');

  /* `titles`: name -> title; `on`: {trajectory(id), motion(scheme), evaluate(), open(id)}. `renew(whole)`: the rest of the
     answer has come; what stands under the pointer or the focus stays. */
  function draw(what, titles, on) {
    const rows = what.result.updates;
    const readout = el('p', 'af-readout', 'Hover over a token, or walk through them with the arrow keys.');
    const live = el('div', 'af-spoken');
    live.setAttribute('aria-live', 'polite');
    const shown = rows.map((row) => pane(what, row, titles));
    if (rows.length === 2) shown.push(difference(what, titles));
    const group = panes.link(shown, (from, to, i) => i, (p, i) => {
      readout.replaceChildren(...panes.name(p, i), p.model.kinds[i] < KIND.REASONING ? 'the policy read it and did not write it'
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
    const p = panes.create(titles[row.scheme], `${row.own ? 'the run’s own · ' : ''}what the update made likelier (blue) or less likely (brown)`, what.pane);
    p.model.signed = Float64Array.from(what.schemes[row.scheme].change, (x) => (x === null ? NaN : x));
    p.model.signedTop = what.top || 1;
    return p;
  }

  function difference(what, titles) {
    const [a, b] = what.result.updates.map((row) => row.scheme);
    const p = panes.create(`${titles[b]} − ${titles[a]}`, 'what the second made likelier (blue) or less likely (brown) than the first', what.pane);
    p.model.signed = Float64Array.from(what.schemes[b].change, (x, i) => (x === null ? NaN : x - what.schemes[a].change[i]));
    p.model.signedTop = what.top || 1;
    return p;
  }

  function sentence(what, titles) {
    const { result, request } = what;
    const names = result.updates.map((row) => titles[row.scheme]);
    const head = `One update on ${result.trajectories} trajectories (${result.tokens.toLocaleString('en')} tokens) of step ${request.step}, `
      + `${request.match === 'norm' ? 'gradients of one length' : 'one learning rate'}, ${result.lr.toPrecision(2)}. `;
    if (result.updates.every((row) => row.gradient_norm === 0)) {
      return [head, el('b', '', 'Nothing moved: '), 'all returns of a group are equal here, so every advantage is 0. ', result.own ? '' : 'Take more groups.'];
    }
    if (names.length < 2) return [head, `${names[0]} moved the parameters by ${short(result.updates[0].update_norm)}. `, ...checkpoint(result, titles), ...soFar(result)];
    const cosine = result.cosine_update[0][1];
    return [head, 'The updates of ', el('b', '', names[0]), ' and ', el('b', '', names[1]), ' have cosine ', el('b', 'af-strong', number(cosine, 2)),
      ` (their gradients ${number(result.cosine_gradient[0][1], 2)}); lengths ${short(result.updates[0].update_norm)} and ${short(result.updates[1].update_norm)}. `, ...checkpoint(result, titles), ...soFar(result)];
  }

  /* Whether the run's own scheme arrived where the run did; where it did not, a badge says why. */
  function checkpoint(result, titles) {
    const own = result.updates.find((row) => row.own);
    if (!own || own.reproduced > TOLERANCE) return [];
    if (own.reproduced === null) return ['The next checkpoint of the run is not kept, so its own update has nothing to be compared with.'];
    return [el('b', '', titles[own.scheme]), ', the run’s own scheme, arrives at the run’s next checkpoint: ',
      own.reproduced ? `no number in it is farther off than ${tiny(own.reproduced)}.` : 'every number in it is the same.'];
  }

  function soFar(result) {
    return result.so_far ? [' ', el('b', '', 'So far '), `the changes of log-prob are those of this group’s ${result.so_far} trajectories.`] : [];
  }

  function table(what, titles) {
    const { result } = what;
    const played = Boolean(result.before);
    const head = [...HEAD, ...(result.updates.some((row) => row.own) ? [['off checkpoint', 'the largest difference to the stored next checkpoint, in any number']] : []),
      ...(played ? [['success', 'on the evaluation prompts, before and after with the same dice'], ['gain', 'with a 95 % interval over prompts']] : [])];
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
      return el('tr', '', el('th', '', { scope: 'row' }, titles[row.scheme] + (row.own ? ' (own)' : '')), ...cells.map((text) => el('td', 'num', text)));
    });
    const node = el('div', 'af-wide', { tabIndex: 0 }, el('table', 'af-updates', el('caption', '', 'The updates'),
      el('thead', '', el('tr', '', ...head.map(([name, help]) => el('th', '', { scope: 'col', title: help }, name)))), el('tbody', '', ...rows)));
    node.setAttribute('role', 'region');
    node.setAttribute('aria-label', 'The updates');
    return node;
  }

  /* The evaluation set is played only when it is asked for: it takes longer than the update itself. */
  function evaluation(what, on) {
    if (what.result.before || what.result.so_far) return el('p', '', { hidden: true });
    return el('p', 'af-quiet', 'On the evaluation set: not played. ', el('button', 'af-link', { type: 'button', onclick: on.evaluate }, 'Play it before and after'), ' (8 prompts, 4 rollouts each, the same dice).');
  }

  function picker(what, on) {
    const select = el('select', '', { onchange: () => on.trajectory(select.value) }, ...what.trajectories.map((t) => el('option', '', { value: t.id },
      `group ${t.group}, rollout ${t.rollout}: return ${number(t.return, 2)}, moved ${number(t.moved)} on average`)));
    select.value = what.pane.id;
    select.setAttribute('aria-label', 'Trajectory');
    return el('div', 'af-picker', el('label', '', el('b', '', 'Trajectory '), select),
      el('button', 'af-button', { type: 'button', onclick: () => on.open(what.pane.id) }, 'Open in Trace'),
      el('span', 'af-quiet', 'Slow motion: '), ...what.result.updates.map((row) => el('button', 'af-button', { type: 'button', onclick: () => on.motion(row.scheme) }, on.title(row.scheme))));
  }

  function legend(what, p) {
    const end = number(what.top, 2);
    return el('div', 'af-legend', el('span', 'af-ramp', { title: 'The same scale for every scheme and trajectory of this replay; beyond its ends the colour stays full.' },
      el('span', 'af-ramp-end', `≤ −${end}`), el('span', 'af-ramp-bar credit'), el('span', 'af-ramp-end', `≥ +${end}`),
      el('span', 'af-quiet', 'change of log-prob, in nats')), tokens.kindKeys(p.model.shown));
  }

  AF.replay = { draw, signed, short };
})(self);
