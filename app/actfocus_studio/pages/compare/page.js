/* The Compare page: two trajectories or two schemes side by side, and tables of all schemes. */
import * as scoring from '../../panels/scoring/panel.js';
import * as frame from '../../shell/top_bar.js';
import { post } from '../../web/lib/api.js';
import { alertLine } from '../../web/lib/components/alert.js';
import { checkbox } from '../../web/lib/components/form.js';
import { signalsView } from '../../web/lib/components/signals_view.js';
import { scrollRegion } from '../../web/lib/components/table.js';
import { downloadLink, el, onSight, textButton } from '../../web/lib/dom.js';
import { short } from '../../web/lib/format.js';
import { follow, hasEnded, onSignals } from '../../web/lib/signals.js';
import { store } from '../../web/lib/store.js';
import { baseOf } from './facts.js';
import { follower, part } from './follower.js';
import { creditPanes } from './panes.js';
import { KEPT, otherPicker, schemeOf, schemePickers } from './pickers.js';
import { correlationTable, missingTruths, schemeTable, scoreboard } from './tables.js';

/** @typedef {import('../../web/generated/types').PanesResponse} Panes */

const WAKE_MS = 40; // after a change, so that a slider that moves sends few requests

/** @param {HTMLElement} element @param {{ menu: import('./facts.js').Menu }} config */
export function mount(element, { menu }) {
  const alert = alertLine();
  const pickers = schemePickers(menu);
  const other = otherPicker();
  const controls = checkbox('null controls', (checked) => store.remember({ controls: checked }));
  const panes = creditPanes(menu);
  const about = el('p', 'af-quiet');
  const file = el('span', '');
  const reporter = textButton('Download report', report);
  const job = signalsView(scoring.scoreRest);
  const [schemes, truth, spearman] = ['Credit schemes', 'Scoreboard against ground truth', 'Rank correlation between schemes']
    .map((label) => scrollRegion(label, el('p', 'af-quiet', 'Computing …')));
  /** @type {import('./pickers.js').Schemes | null} */
  let table = null;
  /** @type {string[]} */
  let notes = [];
  /** The choices of the address were validated; after that only the page changes them. */
  let adopted = false;
  /** What the pickers show, and the trajectory that pane B belongs to. */
  let picked = '';
  let home = '';
  let due = 0;

  // --- requests ----------------------------------------------------------------------------------

  const { place, settings } = store;
  const method = values('alpha', 'beta', 'signal');
  const shown = values('run', 'reference', 'trajectory', 'other_run', 'other');
  const inRun = values('run', 'reference', 'step', 'controls');
  const batch = () => [...inRun(), ...method()];
  const picks = values('scheme_a', 'scheme_b', 'kept', 'controls');
  const { sync, act, settle, reset } = follower([
    part('compare/panes', shown, showPanes),
    part('compare/credit', () => {
      const names = [schemeOf('a'), schemeOf('b')];
      return [...shown(), ...names, names.some((name) => baseOf(name) === 'actfocus') && method(), names.includes(KEPT) && place.kept];
    }, panes.paint),
    part('compare/places', values('run', 'trajectory'), ({ places }) => other.fill(places)),
    part('compare/schemes', batch, showSchemes, schemes),
    part('compare/truth', batch, showTruth, truth),
  ], isReady, (lines) => alert.say([...new Set([...lines, ...notes])].filter(Boolean).join(' ')));

  /** Another trajectory resets pane B: what it showed belongs to another prompt. */
  function isReady() {
    if (!seen() || !place.trajectory) return false;
    const here = JSON.stringify([place.run, place.trajectory]);
    if (home && home !== here) Object.assign(place, { other: '', other_run: '' });
    home = here;
    return true;
  }

  function wake() {
    if (!seen()) return;
    about.textContent = aboutCredit(settings);
    pick();
    clearTimeout(due);
    due = window.setTimeout(sync, WAKE_MS);
  }

  // --- the panes -----------------------------------------------------------------------------------

  /** @param {Panes} answer */
  function showPanes(answer) {
    const { left, right } = answer;
    notes = answer.notes;
    const { scheme_a, scheme_b, controls: enabled } = answer;
    if (!adopted) Object.assign(place, { scheme_a, scheme_b, controls: enabled });
    adopted = true;
    if (!right && notes.length) {
      Object.assign(place, { other: '', other_run: '' });
      settle('compare/panes');
    }
    panes.show(left, right);
    store.remember();
  }

  /** Show in the pickers what the panes show: a lesson may have chosen it. */
  function pick() {
    const now = JSON.stringify(picks());
    if (!adopted || now === picked) return;
    picked = now;
    controls.box.checked = place.controls;
    pickers.fill(table);
    drawSchemes();
  }

  const swap = () => store.remember({ scheme_a: place.scheme_b, scheme_b: place.scheme_a });

  // --- the tables ------------------------------------------------------------------------------------

  const compute = {
    score: scoring.isOffered() ? () => scoring.openScoring() : null,
    /** @param {import('./facts.js').Values} oracle */
    judge: (oracle) => act('start', async () => follow(await post('compare/judge', { view: store.view(), values: oracle }))),
  };

  function drawSchemes() {
    if (table) schemes.replaceChildren(schemeTable(menu, table, compute));
  }

  /** @param {import('./pickers.js').Schemes} answer */
  function showSchemes(answer) {
    table = answer;
    drawSchemes();
    spearman.replaceChildren(correlationTable(menu, answer.spearman));
    pickers.fill(table);
  }

  /** @param {import('../../web/generated/types').TruthResponse} answer */
  function showTruth({ boards, command }) {
    truth.replaceChildren(boards.length ? '' : el('h3', '', 'Scoreboard against ground truth'), ...boards.map((board) => scoreboard(menu, board)),
      missingTruths(menu, command, boards.map(({ values }) => values), compute));
  }

  // --- the report ------------------------------------------------------------------------------------

  /** Offer the report as a download. It is never rendered under the studio's origin. */
  function report() {
    reporter.disabled = true;
    act('report', async () => {
      const answer = await post('compare/report', { view: store.view() }).finally(() => {
        reporter.disabled = false;
      });
      const download = downloadLink(answer.report, answer.name);
      file.replaceChildren(download);
      download.click();
      frame.say('Report written.');
    });
  }

  element.classList.add('af-compare');
  element.replaceChildren(alert.node,
    el('div', 'af-picker', el('label', '', el('b', '', 'A '), pickers.a), el('label', '', el('b', '', 'B '), pickers.b),
      textButton('⇄ Swap', swap, 'af-button', { title: 'Swap the schemes of A and B' }),
      el('span', 'af-beside', el('span', 'af-quiet', 'B: '), other.where, other.member), controls.node, panes.toggle, reporter, file),
    about, ...panes.nodes, job.node, schemes, truth, spearman);
  const seen = onSight(element, wake);
  store.onView(wake);
  // What was computed changes every table.
  onSignals((now, was) => hasEnded(now, was) && reset());
}

/** Parts of the view as they are when it is called. @param {...keyof import('../../web/lib/store.js').View} names */
const values = (...names) => () => names.map((name) => store.view()[name]);

/** @param {import('../../web/lib/store.js').Settings} settings */
const aboutCredit = ({ alpha, beta, signal, scope }) =>
  `ActFocus uses the setting of the sidebar: α ${short(alpha)}, β ${short(beta)}, ${store.signalTitle(signal)}. All other schemes use their defaults.`
  + (scope === 'batch' ? '' : ' On this page μ and σ are always those of the batch.')
  + ' Credit is mask × weight × advantage, divided by the sum of weights and multiplied by the number of response tokens of the batch;'
  + ' under Uniform it equals the advantage.';
