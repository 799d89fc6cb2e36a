/* The turns of a trajectory without pictures: a list to choose from, and the steps to the next and the one before. */
import { select, setOptions } from '../../web/lib/components/form.js';
import { button, el, icon } from '../../web/lib/dom.js';
import { known } from '../../web/lib/format.js';
import * as label from '../../web/trace/label.js';
import { ending } from '../../web/trace/state_view.js';

/** @typedef {import('../../web/trace/model.js').Turn} Turn */

const ICONS = { back: 'M15 5l-7 7 7 7', on: 'M9 5l7 7-7 7' };

/** @param {(k: number) => void} onTurn @param {Node} more what else can be done from a turn */
export function createTurnBar(onTurn, more) {
  let turn = 0;
  const list = select('Turn', [], (k) => onTurn(Number(k)));
  const node = el('div', 'af-turnbar', { role: 'toolbar', 'aria-label': 'Turns' },
    button('af-tool', icon(ICONS.back), 'Previous turn (←)', () => onTurn(turn - 1)), list,
    button('af-tool', icon(ICONS.on), 'Next turn (→)', () => onTurn(turn + 1)), more);

  /** @param {Turn[]} turns @param {import('../../web/generated/types').TrajectoryFacts} trajectory */
  function fill(turns, trajectory) {
    setOptions(list, turns.map((t, k) => [k, t.end ? `End: ${ending(trajectory)}` : `Turn ${k + 1} of ${turns.length - 1}${note(t)}`]), 0);
  }

  /** @param {number} k */
  function show(k) {
    turn = k;
    list.value = String(k);
  }

  return { node, fill, show };
}

/** @param {Turn} turn */
function note({ valid, malformed, reward }) {
  const wrong = malformed ? ' · malformed' : valid ? '' : ' · illegal';
  return wrong + (known(reward) && reward !== 0 ? ` · ${label.gain(reward)}` : '');
}
