/* The panes: one trajectory under two schemes and their difference, or two trajectories. */
import { numbers } from '../../web/lib/columns.js';
import { scrollRegion, table } from '../../web/lib/components/table.js';
import { el, textButton } from '../../web/lib/dom.js';
import { number, signed, visible } from '../../web/lib/format.js';
import { store } from '../../web/lib/store.js';
import { ended } from '../../web/trace/label.js';
import { signedRamp } from '../../web/trace/ramp.js';
import { createPane, paintSigned, sameTurn, sideBySide } from '../../web/trace/side_by_side.js';
import { NAMES } from '../../web/trace/tokens.js';
import { reason } from './facts.js';
import { schemeOf, schemeTitle } from './pickers.js';

/** @typedef {import('../../web/generated/types').ComparePane} Trajectory */
/** @typedef {import('../../web/generated/types').TokenCredit} TokenCredit */
/** @typedef {import('../../web/trace/side_by_side.js').Pane} Pane */

const DIFFERENCE = 'A − B';

/** @param {import('./facts.js').Menu} menu */
export function creditPanes(menu) {
  const node = el('div', '');
  const rows = scrollRegion('Tokens and their credit');
  rows.classList.add('af-rows');
  rows.hidden = true;
  const toggle = textButton('Show tokens as a table', () => {
    rows.hidden = !rows.hidden;
    listTokens();
  });
  /** A, B and, of one trajectory, their difference. @type {Pane[]} */
  let panes = [];
  /** @type {ReturnType<typeof sideBySide>} */
  let frame;

  /** @param {Trajectory} left @param {Trajectory | null} right null: the same */
  function show(left, right) {
    panes = [pane('A', left), pane('B', right ?? left), ...(right ? [] : [pane(DIFFERENCE, left)])];
    frame = sideBySide(panes, sameTurn, (p, i) => signed(p.model.signed[i]), 'not sampled by the policy, so it has no credit');
    node.replaceChildren(...frame.nodes);
    frame.grid.hidden = !rows.hidden;
  }

  /** @param {import('../../web/generated/types').CreditResponse} credit */
  function paint({ a, b, top }) {
    const [first, second] = [a, b].map(({ credit }) => credit && Float64Array.from(numbers(credit)));
    const both = first && second && first.map((x, i) => x - second[i]);
    const texts = [about('a', a), about('b', b), both ? 'credit under A minus credit under B: blue above 0, brown below' : 'unavailable'];
    panes.forEach((p, k) => {
      paintSigned(p, [first, second, both][k] ?? new Float64Array(p.model.n).fill(NaN), top);
      p.what.textContent = texts[k];
    });
    frame.refresh(signedRamp(top, 'credit: blue tokens become more likely, brown ones less likely',
      'All panes share this scale; colours saturate at its ends.'));
    listTokens();
  }

  /** @param {'a' | 'b'} side @param {TokenCredit} credit */
  function about(side, { credit, missing }) {
    const t = /** @type {Trajectory} */ (panes[side === 'a' ? 0 : 1].data);
    const why = missing.length ? ` · ${reason(menu, missing)}` : credit ? '' : ' · unavailable: this rollout has no return';
    const where = t.run === store.place.run ? '' : `${t.run}, `;
    return `${schemeTitle(menu, schemeOf(side))} · ${where}step ${t.step}, rollout ${t.rollout}, ${ended(t)}${why}`;
  }

  /** The tokens as a table, an alternative to coloured text. */
  function listTokens() {
    const on = !rows.hidden;
    toggle.ariaPressed = String(on);
    if (!frame) return;
    frame.grid.hidden = on;
    const [a, b, both] = panes;
    rows.replaceChildren(...(on ? both ? [tokenTable('Tokens', a, panes)] : [a, b].map((p) => tokenTable(`Tokens of ${p.title}`, p, [p])) : []));
  }

  return { nodes: [node, rows], toggle, show, paint };
}

/** @param {string} title @param {Trajectory} t */
function pane(title, t) {
  const p = createPane(title, '', t);
  p.box.ariaLabel = title === DIFFERENCE ? 'Difference A − B per token' : `Trajectory in pane ${title}`;
  return p;
}

/** A row per token, with its credit in each of `panes`. @param {string} caption @param {Pane} pane @param {Pane[]} panes */
function tokenTable(caption, { model }, panes) {
  return table([caption, el('span', 'af-quiet', ' – for tokens that the policy did not sample')],
    ['position', 'turn', 'kind', 'text', ...panes.map(({ title }) => (title === DIFFERENCE ? title : `credit ${title}`))],
    model.text.map((text, i) => [
      i, model.turn[i] < 0 ? '–' : model.turn[i] + 1, NAMES[model.shown[i]], el('td', 'mono', visible(text)),
      ...panes.map((p) => (model.sampled(i) ? number(p.model.signed[i]) : '–')),
    ]), { cls: 'af-token-rows', text: [2, 3] });
}
