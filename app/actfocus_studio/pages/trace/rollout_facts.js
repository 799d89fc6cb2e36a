/* What is known of a rollout as a whole: return and components, how it ended, and the tools it called. */
import { lineOf, post } from '../../web/lib/api.js';
import { segmented } from '../../web/lib/components/segmented.js';
import { table, tableRow } from '../../web/lib/components/table.js';
import { el, linkButton, quiet } from '../../web/lib/dom.js';
import { counted, known, number, outcome, percent, UNKNOWN } from '../../web/lib/format.js';
import { store } from '../../web/lib/store.js';
import { massByKind } from '../../web/trace/weights.js';

/** @typedef {import('./model.js').TraceModel} TraceModel */
/** @typedef {import('../../web/generated/types').ToolsResponse} ToolsResponse */
/** @typedef {{ name: string, calls: number, errors: number, succeeded: number, share: number }} Row share: of the weight, 0 to 1 */
/** @typedef {'rollout' | 'group' | 'step'} Over */

const HEADS = [
  ['calls', 'sampled by the policy'],
  ['errors', 'calls whose result states an error, or begins as one does (Error: …, Traceback …); how exactly: docs/studio.md'],
  ['success', 'results without an error, of all results that can be read'],
  ['credit', 'the share of the total weight that is on the tokens of its calls; with × |A|, of weight × |advantage|'],
];

/** @param {(name: string) => void} onCall a tool's next call is to be shown */
export function createFacts(onCall) {
  const about = el('div', '');
  const tools = el('div', '');
  /** @type {Over} */
  let over = 'rollout';
  const choice = segmented('Tools of', [['rollout', 'Rollout'], ['group', 'Group'], ['step', 'Step']], choose);
  const node = el('aside', 'af-facts-panel', { 'aria-label': 'This rollout', hidden: true }, about, tools);
  /** @type {TraceModel | null} */
  let model = null;
  /** @type {{ key: string, answer: ToolsResponse } | null} */
  let batch = null;

  /** @param {TraceModel} m */
  function fill(m) {
    model = m;
    const { trajectory } = m.data;
    const { rewards, error, stop_reason: stopped } = trajectory;
    const more = m.plain || rewards.length || error || stopped;
    about.replaceChildren(...(more ? [el('h3', '', 'This rollout'), facts(trajectory), error && el('p', 'af-error', error)].filter(Boolean) : []));
    node.hidden = !more && !m.calls.length;
    choose(over);
  }

  /** @param {Over} name */
  function choose(name) {
    over = name;
    choice.show(name);
    if (!model || (!model.calls.length && name === 'rollout' && !model.plain)) {
      tools.replaceChildren();
      return;
    }
    if (name === 'rollout') update();
    else load(name);
  }

  /** @param {'group' | 'step'} name */
  async function load(name) {
    const { run, step, group, reference } = Object.assign({}, store.place, { group: model?.data.place.group });
    const key = [run, step, reference, name === 'group' ? group : '', name].join('\n');
    if (batch?.key !== key) {
      show(quiet('Counting …'));
      try {
        batch = { key, answer: await post('trace/tools', { view: store.view(), over: name }) };
      } catch (error) {
        batch = null;
        show(el('p', 'af-error', lineOf(error)));
        return;
      }
    }
    update();
  }

  /** The shares follow the settings. */
  function update() {
    if (!model || (over !== 'rollout' && !batch)) return;
    const rows = over === 'rollout' ? ownRows(model) : batchRows(/** @type {{ answer: ToolsResponse }} */ (batch).answer);
    const of = over === 'rollout' || !batch ? '' : ` of ${counted(batch.answer.trajectories, 'trajectory', 'trajectories')}`;
    show(rows.length ? toolTable(rows, onCall) : quiet(`No tool was called${of ? ` in${of.slice(3)}` : ''}.`), of && quiet(`Tools${of}.`));
  }

  /** @param {...(Node | string)} nodes */
  function show(...nodes) {
    tools.replaceChildren(el('h3', '', 'Calls by tool'), choice.node, ...nodes.filter(Boolean));
  }

  return { node, fill, update };
}

/** @param {import('../../web/generated/types').TrajectoryFacts} t */
function facts(t) {
  /** @type {[string, string][]} */
  const rows = [
    ['return', number(t.return, 3)], ['outcome', outcome(t.success)],
    ...t.rewards.map(({ name, score, weight }) => /** @type {[string, string]} */ (
      [name, `${number(score)}${weight === 1 ? '' : ` × ${known(weight) ? number(weight, 2) : 'unknown weight'}`}`])),
    ['stop reason', t.stop_reason || UNKNOWN],
  ];
  if (t.truncated) rows.push(['truncated', 'yes']);
  if (t.agent) rows.push(['agent', t.agent]);
  if (!t.trainable) rows.push(['trained', 'no']);
  return el('dl', 'af-facts', ...rows.flatMap(([name, value]) => [el('dt', '', name), el('dd', value === UNKNOWN ? 'na' : '', value)]));
}

/** Calls of the open trajectory by tool. @param {TraceModel} m @returns {Row[]} */
function ownRows(m) {
  /** @type {Map<string, Row>} */
  const rows = new Map();
  /** @param {number} from @param {number} to */
  const mass = (from, to) => {
    let sum = 0;
    for (let i = Math.max(from, m.shared); i < to; i++) if (m.sampled(i)) sum += m.weights[i];
    return sum;
  };
  const total = mass(0, m.n);
  for (const { name, error, start, end } of m.calls) {
    const row = rows.get(name) ?? { name, calls: 0, errors: 0, succeeded: 0, share: 0 };
    row.calls += 1;
    row.errors += Number(error === true);
    row.succeeded += Number(error === false);
    row.share += mass(start, end) / total;
    rows.set(name, row);
  }
  return [...rows.values()].sort((a, b) => b.calls - a.calls);
}

/** Calls of a batch by tool, under the settings. @param {ToolsResponse} answer @returns {Row[]} */
function batchRows({ tools, total }) {
  const { alpha, beta, signal, scope, adv } = store.settings;
  /** @param {ToolsResponse['total']} t */
  const mass = (t) => massByKind(t.kinds, t.signals[signal]?.[scope] ?? null, alpha, beta, adv).total;
  const all = mass(total);
  return tools.map(({ name, calls, errors, succeeded, tokens }) => ({ name, calls, errors, succeeded, share: mass(tokens) / all }));
}

/** @param {Row[]} rows @param {(name: string) => void} onCall */
function toolTable(rows, onCall) {
  const heads = HEADS.map(([name, title]) => el('th', 'num', { scope: 'col', title }, name));
  const numbers = { text: [] };
  return table('Calls by tool', heads, rows.flatMap(({ name, calls, errors, succeeded, share }) => [
    el('tr', '', el('th', '', { scope: 'rowgroup', colSpan: HEADS.length }, Object.assign(linkButton(name || 'unreadable', () => onCall(name)),
      { title: `Next call of ${name || 'a tool whose name could not be read'}` }))),
    tableRow([calls, errors, errors + succeeded ? percent(succeeded / (errors + succeeded)) : '–', known(share) ? percent(share) : '–'], numbers),
  ]), { cls: 'af-grid af-tooltable', ...numbers });
}
