/* An update replayed under several schemes: the change of every token's log-probability. */
import { select } from '../../web/lib/components/form.js';
import { scrollRegion, table } from '../../web/lib/components/table.js';
import { decode, numbers } from '../../web/lib/columns.js';
import { el, linkButton, textButton } from '../../web/lib/dom.js';
import { bounds, compact, count, known, number, percent, scientific, signed } from '../../web/lib/format.js';
import { signedRamp } from '../../web/trace/ramp.js';
import { createPane, paintSigned, sideBySide } from '../../web/trace/side_by_side.js';
import { KIND } from '../../web/trace/weights.js';

/** @typedef {import('../../web/generated/types').ReplayShown} ReplayShown */
/** @typedef {import('../../web/generated/types').ReplayResult} ReplayResult */
/** @typedef {import('../../web/generated/types').ReplayedUpdate} ReplayedUpdate */
/** @typedef {import('./panel.js').Actions} Actions */

/** @typedef {[name: string, help: string, cell: (row: ReplayedUpdate, i: number) => string]} Column of the table */

const TOLERANCE = 1e-6; // as in actfocus_core/counterfactual/replay/result.py

/** @param {number | null | undefined} x @param {(x: number) => string} text */
const orDash = (x, text) => (known(x) ? text(x) : '–');
/** @param {'action' | 'reasoning'} kind @param {'up' | 'down'} sign @returns {Column[2]} */
const change = (kind, sign) => (row) => orDash(row.change[kind][sign].mean, (x) => signed(x, 4));

/**
 * `renew(whole)`: the rest of the answer has arrived; the tokens stay, with pointer and focus.
 *
 * @param {ReplayShown} what
 * @param {Actions} on
 */
export function draw(what, on) {
  const before = numbers(what.before);
  const updates = what.result.updates.map(({ scheme, own }) => ({ title: on.title(scheme), own, ...decode({ ...what.schemes[scheme] }) }));

  const panes = updates.map(({ title, own }) =>
    createPane(title, `${own ? 'this run’s scheme · ' : ''}blue: more likely after the update, brown: less likely`, what.pane));
  const changes = updates.map((u) => u.change);
  if (updates.length === 2) {
    const [a, b] = updates;
    panes.push(createPane(`${b.title} − ${a.title}`, 'blue: raised more by the second scheme than by the first, brown: less', what.pane));
    changes.push(b.change.map((x, i) => x - a.change[i]));
  }

  const { nodes, reveal, refresh } = sideBySide(panes, (_from, _to, i) => i, (_, i, k) => (k < updates.length ? tell(updates[k], i) : ''));

  /** @param {typeof updates[number]} update @param {number} i */
  function tell({ after, change: by, weight, advantage }, i) {
    return `${number(before[i])} → ${number(after[i])} (${signed(by[i])}; weight ${number(weight[i], 2)}, advantage ${number(advantage[i], 2)})`;
  }

  /** @param {ReplayShown} of */
  function paint(of) {
    panes.forEach((p, k) => paintSigned(p, changes[k], of.top || 1));
    refresh(signedRamp(of.top, 'change of log-probability, in nats',
      'One scale for all schemes and trajectories of this replay; it saturates at its ends.'));
  }

  /** @param {ReplayShown} of */
  const parts = (of) =>
    [el('p', 'af-sentence', ...sentence(of, on.title)), updatesTable(of.result, on.title), evaluation(of, on), picker(of, on)];

  let drawn = parts(what);
  /** @param {ReplayShown} whole */
  function renew(whole) {
    paint(whole);
    const fresh = parts(whole);
    drawn.forEach((node, k) => {
      const focused = node.contains(document.activeElement) && document.activeElement?.tagName;
      node.replaceWith(fresh[k]);
      if (focused) /** @type {HTMLElement | null} */ (fresh[k].querySelector(focused))?.focus();
    });
    drawn = fresh;
  }

  paint(what);
  const first = panes[0].model.kinds.indexOf(KIND.ACTION);
  requestAnimationFrame(() => first >= 0 && reveal(panes[0], first));
  return { renew: what.result.so_far ? renew : null, nodes: [...drawn, ...nodes] };
}

/** @param {ReplayShown} what @param {Actions['title']} title */
function sentence({ result, request }, title) {
  const [first, second] = result.updates;
  const head = `One update on ${result.trajectories} trajectories (${count(result.tokens)} tokens) of step ${request.step}, `
    + `${request.match === 'norm' ? 'equal gradient norms, learning rate of the first' : 'learning rate'} ${result.lr.toPrecision(2)}. `;
  if (result.updates.every((row) => row.gradient_norm === 0)) {
    return [head, el('b', '', 'No change: '), 'all returns within each group are equal, so every advantage is 0. ',
      result.own ? '' : 'Choose more groups.'];
  }
  const told = second ? ['The updates of ', el('b', '', title(first.scheme)), ' and ', el('b', '', title(second.scheme)), ' have cosine ',
    el('b', 'af-strong', number(result.cosine_update[0][1], 2)), ` (their gradients ${number(result.cosine_gradient[0][1], 2)}); norms ${
      compact(first.update_norm)} and ${compact(second.update_norm)}. `]
    : [`${title(first.scheme)} changed the parameters by a norm of ${compact(first.update_norm)}. `];
  return [head, ...told, ...checkpoint(result, title),
    ...(result.so_far ? [' ', el('b', '', 'So far '), `the changes of log-probability are those of the ${result.so_far} trajectories of this group.`] : [])];
}

/** Whether the run's own scheme reproduced the next checkpoint; if not, a badge says why.
 * @param {ReplayResult} result @param {Actions['title']} title */
function checkpoint({ updates }, title) {
  const own = updates.find((row) => row.own);
  if (!own || (own.reproduced ?? 0) > TOLERANCE) return [];
  if (own.reproduced === null) return ['The next checkpoint of the run is not stored, so its update cannot be compared.'];
  return [el('b', '', title(own.scheme)), ', this run’s scheme, reproduces the next checkpoint: ',
    own.reproduced ? `the largest difference of a parameter is ${scientific(own.reproduced, 0)}.` : 'all parameters are equal.'];
}

/** @param {ReplayResult} result @param {Actions['title']} title */
function updatesTable(result, title) {
  const { before } = result;
  /** @type {Column[]} */
  const columns = [
    ['gradient norm', 'norm of the gradient, summed over mini-batches, before clipping', (row) => orDash(row.gradient_norm, compact)],
    ['update norm', 'norm of the parameter change', (row) => orDash(row.update_norm, compact)],
    ['cosine of gradients', 'with that of the first scheme', (_, i) => number(result.cosine_gradient[0][i])],
    ['cosine of updates', 'with that of the first scheme', (_, i) => number(result.cosine_update[0][i])],
    ['action, A > 0', 'mean change of log-probability (nats) of action tokens with positive advantage', change('action', 'up')],
    ['action, A < 0', 'mean change of log-probability (nats) of action tokens with negative advantage', change('action', 'down')],
    ['reasoning, A > 0', '', change('reasoning', 'up')],
    ['reasoning, A < 0', '', change('reasoning', 'down')],
  ];
  if (result.updates.some((row) => row.own)) {
    columns.push(['off checkpoint', 'largest difference of a parameter to the stored next checkpoint',
      (row) => orDash(row.reproduced, (x) => scientific(x, 0))]);
  }
  if (before) {
    columns.push(
      ['success', 'on the evaluation prompts, before and after, with the same random numbers',
        ({ evaluation: e }) => `${percent(before.success)} → ${e ? percent(e.success) : '…'}`],
      ['gain', 'with a 95 % interval over prompts', ({ evaluation: e }) => (e ? signed(e.gain, 2) + bounds(e.gain_low, e.gain_high) : '…')],
    );
  }
  return scrollRegion('Updates', table('Updates; by kind and sign of the advantage: mean change of log-probability, in nats',
    ['scheme', ...columns.map(([name, help]) => el('span', '', { title: help }, name))],
    result.updates.map((row, i) => [title(row.scheme) + (row.own ? ' (this run’s scheme)' : ''), ...columns.map(([, , cell]) => cell(row, i))]),
    { cls: 'af-updates', rowHeads: true }));
}

/** The evaluation is optional: it takes longer than the update itself. @param {ReplayShown} what @param {Actions} on */
function evaluation(what, on) {
  if (what.result.before || what.result.so_far) return el('p', '', { hidden: true });
  return el('p', 'af-quiet', 'Not evaluated. ', linkButton('Evaluate before and after', () => on.evaluate(what)),
    ' (8 prompts, 4 rollouts each, same random numbers).');
}

/** @param {ReplayShown} what @param {Actions} on */
function picker({ pane, trajectories, result }, on) {
  const rows = trajectories.map((t) => /** @type {const} */ ([t.id,
    `group ${t.group}, rollout ${t.rollout}: return ${number(t.return, 2)}, mean |change| ${number(t.moved)} nats`]));
  return el('div', 'af-picker', el('label', '', el('b', '', 'Trajectory '), select('Trajectory', rows, on.trajectory, pane.id)),
    textButton('Open in Trace', () => on.open(pane.id)), el('span', 'af-quiet', 'Walkthrough: '),
    ...result.updates.map(({ scheme }) => textButton(on.title(scheme), () => on.motion(scheme))));
}
