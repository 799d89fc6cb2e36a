/* The tables of the Compare page: schemes, rank correlations and scoreboards. */
import { table } from '../../web/lib/components/table.js';
import { el, textButton } from '../../web/lib/dom.js';
import { bounds, count, number, short } from '../../web/lib/format.js';
import { COST, EVIDENCE, ORACLE, READ, baseOf, factsOf, percent, reason, valuesFor } from './facts.js';
import { schemeOf, showScheme } from './pickers.js';

/** @typedef {import('../../web/generated/types').SchemesResponse} Schemes */
/** @typedef {Schemes['schemes'][number]} SchemeRow */
/** @typedef {import('../../web/generated/types').MassShares} MassShares */
/** @typedef {import('../../web/generated/types').TruthBoard} TruthBoard */
/** @typedef {import('../../web/generated/types').BoardRow} BoardRow */
/** @typedef {import('./facts.js').Menu} Menu */
/** @typedef {import('./facts.js').Values} Values */
/** @typedef {import('./pickers.js').Side} Side */
/** How missing signals are computed: with a reference or the oracle.
 * @typedef {{ score: (() => void) | null, judge: (values: Values) => void }} Compute */

const KINDS = /** @type {const} */ (['action', 'reasoning', 'format']);
const SIDES = /** @type {Side[]} */ (['a', 'b']);
const DARKEST = 0.62; // opacity at |rho| = 1; the number stays readable

/** @param {number} x */
const whole = (x) => count(Math.round(x));
/** @param {string} text */
const quiet = (text) => el('span', 'af-quiet', text);
/** @param {string} text @param {string} [title] @param {number} [colSpan] */
const head = (text, title = '', colSpan = 1) => el('th', '', { scope: colSpan > 1 ? 'colgroup' : 'col', title, colSpan }, text);
/** A button that starts a computation. @param {string} text @param {string} title @param {() => void} onclick */
const starter = (text, title, onclick) => textButton(text, onclick, 'af-button af-score', { title });

/**
 * @param {Menu} menu
 * @param {Schemes} data
 * @param {Compute} compute
 */
export function schemeTable(menu, data, compute) {
  const kinds = data.schemes.find((row) => row.weight)?.weight?.kinds;
  const shares = kinds ? KINDS.map((kind) => `${kind} ${percent(kinds[kind].token_share)} %`).join(', ') : '';
  const of = `of ${whole(data.tokens)} response tokens`;
  return el('table', 'af-schemes',
    el('caption', '', 'Credit schemes on this batch', quiet(` Step ${data.step}: ${whole(data.rollouts)} rollouts, ${whole(data.tokens)} response tokens (${shares}).`
      + (data.unscored ? ` ${data.unscored} rollouts without a return are excluded.` : '')
      + (data.without_signals ? ` ${data.without_signals} rollouts that the reference has not scored are excluded.` : ''))),
    el('thead', '',
      el('tr', '', head('', '', 4), head('Share of weight, %', 'mask × weight over all response tokens', 5),
        head('Share of |credit|, %', '|mask × weight × advantage|: rollouts with advantage 0 contribute no gradient', 4), head('')),
      el('tr', '', head('Scheme'), head('Pane'), head('Provenance'), head('Cost', 'in addition to the rollout'), head(''),
        ...KINDS.map((kind) => head(kind)), head('effective tokens', `(Σw)² / Σw², ${of}`),
        ...KINDS.map((kind) => head(kind)), head('effective tokens', `(Σ|c|)² / Σc², ${of}`),
        head('sign flips, %', 'share of tokens whose credit has the opposite sign under Uniform'))),
    el('tbody', '', ...data.schemes.map(schemeRow)));

  /** @param {SchemeRow} row */
  function schemeRow(row) {
    const { scheme, params, missing, weight, credit } = row;
    const title = row.sign_flips === null ? 'no token has nonzero credit under both' : '';
    const about = factsOf(menu, scheme);
    const tuned = baseOf(scheme) === 'actfocus';
    const needs = !tuned ? about.needs : params.beta ? [params.signal] : [];
    const setting = tuned && !about.control && quiet(` sidebar: α ${short(Number(params.alpha))}, β ${short(Number(params.beta))}, ${params.signal}`);
    const cells = weight && credit
      ? [stack(weight), ...shareCells(weight), ...shareCells(credit),
        el('td', 'num', { title }, percent(row.sign_flips))]
      : [el('td', '', { colSpan: 10 }, el('span', 'na', reason(menu, missing)), ...remedies(missing))];
    return el('tr', !weight ? 'af-lacking' : about.control ? 'af-control' : '', { 'data-scheme': scheme },
      el('th', '', { scope: 'row', title: about.description }, el('span', 'af-scheme-name', about.title), setting),
      el('td', 'af-into', ...SIDES.map((side) => into(side, scheme, about.title, !weight))),
      el('td', 'af-provenance', el('span', '', about.source), quiet(` ${READ[about.read]} · `),
        el('span', 'af-quiet', { title: EVIDENCE[about.evidence] }, `${about.unit}, ${about.evidence}`),
        quiet(needs.length ? ` · needs ${needs.join(', ')}` : '')),
      el('td', '', { title: COST[about.cost] }, about.cost), ...cells);
  }

  /** @param {Side} side @param {string} scheme @param {string} title @param {boolean} disabled */
  function into(side, scheme, title, disabled) {
    const letter = side.toUpperCase();
    return textButton(letter, () => showScheme(side, scheme), 'af-side',
      { disabled, title: `Show in pane ${letter}`, ariaLabel: `${title} in pane ${letter}`, ariaPressed: String(schemeOf(side) === scheme) });
  }

  /** @param {string[]} missing */
  function remedies(missing) {
    const values = valuesFor(menu, missing);
    const { score } = compute;
    return [score && missing.every((name) => menu.from_reference.includes(name)) && starter('Score …',
      `Choose a reference model, which scores the rollouts in a separate process, as ${data.score} does.`, score),
    values && judge(menu, data.judge, values, compute)];
  }
}

/** @param {Menu} menu @param {string} command @param {Values} values @param {Compute} compute */
const judge = (menu, command, values, compute) => starter(ORACLE[values].start,
  `${ORACLE[values].about} Runs ${command} ${menu.options[values]} in a separate process.`, () => compute.judge(values));

/** A note on the ground truths that are missing.
 * @param {Menu} menu @param {string} command @param {string[]} known @param {Compute} compute */
export function missingTruths(menu, command, known, compute) {
  const lacking = /** @type {const} */ (['optimal', 'policy']).filter((values) => !known.includes(values));
  return lacking.length ? el('p', 'af-lacking-truth', el('span', 'na', 'unavailable: '), lacking.map((values) => ORACLE[values].title).join(' and '), ' ',
    ...lacking.map((values) => judge(menu, command, values, compute)), quiet(' or run '), el('code', '', command)) : '';
}

/** @param {MassShares} of */
function stack({ kinds }) {
  return el('td', 'af-mass-bar', el('span', 'af-stack', { 'aria-hidden': true }, ...KINDS.map((kind) => {
    const piece = el('span', `af-piece ${kind}`);
    piece.style.width = `${(kinds[kind].mass_share ?? 0) * 100}%`;
    return piece;
  })));
}

/** @param {MassShares} of */
const shareCells = (of) => [...KINDS.map((kind) => percent(of.kinds[kind].mass_share)), whole(of.effective_tokens)].map((text) => el('td', 'num', text));

/** Rank correlations on a diverging colour scale. @param {Menu} menu @param {Schemes['spearman']} spearman */
export function correlationTable(menu, spearman) {
  const names = Object.keys(spearman);
  const titles = names.map((name) => factsOf(menu, name).title);
  return table(['Rank correlation between schemes', quiet(' Spearman’s ρ of the signed credit over all response tokens; – if either is constant.')],
    [el('th', ''), ...titles.map((title, k) => head(String(k + 1), title))],
    names.map((a, k) => [`${k + 1} ${titles[k]}`, ...names.map((b, j) => correlation(spearman[a][b], `${titles[k]} and ${titles[j]}`))]),
    { cls: 'af-spearman', rowHeads: true });
}

/** @param {number | null} rho @param {string} title */
function correlation(rho, title) {
  const cell = el('td', 'num', { title }, rho === null ? '–' : number(rho, 2));
  if (rho !== null) cell.style.backgroundColor = `rgba(${rho < 0 ? '179,88,6' : '33,102,172'},${(Math.abs(rho) * DARKEST).toFixed(3)})`;
  return cell;
}

/** One scoreboard: every score with its 95 % interval, or the reason why it is undefined. @param {Menu} menu @param {TruthBoard} board */
export function scoreboard(menu, board) {
  const { ceiling, left_out: unacted, skipped, noise_floor: floor } = board;
  const noise = floor === null ? 'Noise floor unknown (no replica)'
    : board.exact ? 'Exact' : `Estimated; mean |A − A′| between replicas ${number(floor)}`;
  const about = ` ${noise}. ${board.turns - unacted} turns${unacted ? `; ${unacted} turns without action tokens are excluded` : ''}.`
    + ' Brackets: 95 % bootstrap intervals over trajectories.'
    + (skipped ? ` ${whole(skipped)} of ${whole(board.rollouts)} rollouts have fewer than 3 distinct true values and are excluded from “${menu.heads.right_within}”.` : '');
  const lacking = board.unscored.map((name) => factsOf(menu, name).title);
  const columns = Object.keys(menu.columns);

  /** @param {BoardRow} row */
  function line(row) {
    const isTruth = row === ceiling;
    const title = row.focus === 'weight' ? '“ranking” columns rank turns by their weight'
      : '“ranking” columns rank turns by |credit|, which varies within a trajectory';
    return el('tr', isTruth ? 'af-ceiling' : row.name.includes(':') ? 'af-control' : '', { 'data-scheme': row.name },
      el('th', '', { scope: 'row', title }, isTruth ? 'ground truth' : factsOf(menu, row.name).title),
      ...columns.map((name) => scored(row.scores[name])));
  }

  return el('div', 'af-board',
    table([`Ground truth: ${board.truth}`, quiet(about)], [head('Scheme'), ...columns.map((name) => head(menu.heads[name] || name, menu.columns[name]))],
      [...board.rows, ...(ceiling ? [ceiling] : [])].map(line), { cls: 'af-scores' }),
    lacking.length ? el('p', 'af-quiet', `Not scored, because a signal they need is not recorded: ${lacking.join(', ')}.`) : '');
}

/** @param {BoardRow['scores'][string]} score */
function scored({ value, low, high, n, why }) {
  if (value === null) return el('td', 'na', why);
  return el('td', 'num', { title: `n = ${n}` }, el('b', '', number(value, 2)), quiet(bounds(low, high)));
}
