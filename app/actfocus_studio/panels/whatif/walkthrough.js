/* One update on one trajectory, step by step; the values of each step are swept over the tokens in about a second. */
import { scrollRegion, table } from '../../web/lib/components/table.js';
import { announcer, el, isStill, textButton } from '../../web/lib/dom.js';
import { store } from '../../web/lib/store.js';
import { ended } from '../../web/trace/label.js';
import { createPane, link, tokenName } from '../../web/trace/side_by_side.js';
import * as tokens from '../../web/trace/tokens.js';
import { KIND } from '../../web/trace/weights.js';
import { byKind, chain, readUpdate, shades, STAGES } from './stages.js';

/** @typedef {ReturnType<typeof createWalkthrough>} Walkthrough */

const SWEEP_MS = 1000;
const HEADS = ['kind', 'tokens', 'mean', 'sum'];
const LAST = STAGES.length - 1;

/**
 * @param {import('../../web/generated/types').Motion} motion
 * @param {(scheme: string) => string} title
 * @param {(n: number) => void} onStage step n is shown
 */
export function createWalkthrough(motion, title, onStage) {
  const { pane: data, scheme } = motion;
  const update = readUpdate(motion, {
    scheme: title(scheme), signal: motion.signal ? store.signalTitle(motion.signal.name) || motion.signal.name : '',
  });
  const pane = createPane(`Rollout ${data.rollout} of group ${data.group}`, ended(data), data);
  const { kinds, signed } = pane.model;
  let stage = -1;
  let frame = 0;
  let focus = kinds.indexOf(KIND.ACTION);
  if (focus < 0) focus = kinds.findIndex((kind) => kind >= KIND.REASONING);

  const tabs = STAGES.map((one, n) => textButton(el('span', 'af-stage-n', n + 1), () => go(n), 'af-stage-tab', one.title));
  const back = textButton('← Back', () => go(stage - 1));
  const next = textButton('Next →', () => go(stage + 1), 'af-button primary');
  const sentence = el('p', 'af-sentence');
  const live = announcer();
  const bar = el('span', 'af-sweep');
  const token = el('p', 'af-readout');
  const lines = el('ol', 'af-chain');
  const kindTable = scrollRegion('The step by kind');
  link([pane], (_from, _to, i) => i, (_, i) => {
    focus = i;
    showToken();
  });

  /** Go to a step; its values appear token by token. @param {number} n @param {boolean} [again] */
  function go(n, again = false) {
    if (n < 0 || n > LAST || (n === stage && !again)) return;
    stage = n;
    tabs.forEach((node, k) => {
      node.classList.toggle('on', k === n);
      node.classList.toggle('done', k < n);
      node.ariaCurrent = k === n ? 'step' : null;
    });
    back.disabled = n === 0;
    next.disabled = n === LAST;
    const words = STAGES[n].summary(update).map((part) => (typeof part === 'string' ? part : el('b', 'af-strong', part[0])));
    sentence.replaceChildren(el('b', '', `${n + 1}. ${STAGES[n].title}. `), ...words);
    live.textContent = sentence.textContent;
    const rows = byKind(update, STAGES[n]);
    kindTable.replaceChildren(rows ? table(`This trajectory: ${STAGES[n].unit}`, HEADS, rows, { cls: '', rowHeads: true }) : '');
    showToken();
    sweep(shades(update, STAGES[n]));
    onStage(n);
  }

  /** @param {Float64Array} target */
  function sweep(target) {
    cancelAnimationFrame(frame);
    const began = performance.now();
    let reached = 0;
    function step() {
      const share = isStill() ? 1 : Math.min((performance.now() - began) / SWEEP_MS, 1);
      const end = Math.ceil(share * signed.length);
      signed.set(target.subarray(reached, end), reached);
      reached = end;
      tokens.paint(pane.view, 'signed');
      bar.style.transform = `scaleX(${share})`;
      if (share < 1) frame = requestAnimationFrame(step);
    }
    step();
  }

  /** The arithmetic of one token up to this step, one line per step. */
  function showToken() {
    if (focus < 0) return;
    tokens.mark(pane.view, 'hot', focus);
    token.replaceChildren(...tokenName(pane, focus));
    const rows = chain(update, stage, focus);
    lines.replaceChildren(...rows.map(([name, line], k) =>
      el('li', name && k === rows.length - 1 ? 'now' : '', name && el('span', 'af-quiet', name), name ? el('code', '', line) : line)));
  }

  /** Handle a key; returns whether it did. @param {string} name */
  function key(name) {
    const to = { ArrowRight: stage + 1, ArrowLeft: stage - 1, Home: 0, End: LAST, ' ': stage }[name];
    if (to !== undefined) go(to, name === ' ');
    return to !== undefined;
  }

  /** @param {string} other @param {string} trajectory */
  const shows = (other, trajectory) => scheme === other && data.id === trajectory;

  const nodes = [
    el('div', 'af-motion-head', el('h3', '', `One update under ${title(scheme)}, step by step`),
      el('span', 'af-player', back, next, el('span', 'af-quiet', '← → · Space repeats'))),
    el('ol', 'af-stages', ...tabs.map((node) => el('li', '', node))), bar, sentence,
    el('div', 'af-legend', tokens.kindKeys(pane.model.shown)),
    el('div', 'af-motion', pane.node, el('aside', 'af-motion-side', el('h3', '', 'One token'), token, lines, kindTable)), live,
  ];
  return { nodes, go, key, shows };
}
