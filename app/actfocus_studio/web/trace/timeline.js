/* The timeline of turns: a picture of the environment, the list of turns, and the player. */
import { player } from '../lib/components/player.js';
import { button, el, icon, textButton } from '../lib/dom.js';
import * as label from './label.js';
import { ending, image, shopPage } from './state_view.js';

/** @typedef {import('./model.js').Turn} Turn */
/** @typedef {import('../generated/types').TrajectoryFacts} TrajectoryFacts */

const PLAY_MS = 1300;
const ICONS = { back: 'M15 5l-7 7 7 7', on: 'M9 5l7 7-7 7', play: 'M8 5l11 7-11 7z', pause: 'M8 5v14M16 5v14' };

/**
 * @param {{ onTurn: (k: number) => void, onPlay: (k: number) => void, more: Node }} how `onTurn`: turn k was selected; `onPlay`: the
 *   person wants to play on from it; `more`: what else can be done from here
 */
export function createTimeline({ onTurn, onPlay, more }) {
  let turn = 0;
  /** @type {Turn[]} */
  let turns = [];
  /** @type {TrajectoryFacts | null} */
  let trajectory = null;
  /** @type {HTMLElement[]} */
  let rows = [];
  const picture = el('div', 'af-picture');
  const caption = el('p', 'af-caption');
  const list = el('ol', 'af-turns');
  const steps = player({ label: 'Turn', milliseconds: PLAY_MS, onStep: onTurn, onPlaying: face });
  const play = button('af-tool', icon(ICONS.play), 'Play (Space)', steps.toggle);
  const takeover = textButton('Play from here', () => onPlay(turn), 'af-button af-takeover',
    { title: 'Play on yourself from this turn (P)', 'aria-pressed': false });
  const bar = el('div', 'af-player', { role: 'toolbar', 'aria-label': 'Turns' },
    button('af-tool af-back', icon(ICONS.back), 'Previous turn (←)', () => onTurn(turn - 1)), play,
    button('af-tool af-on', icon(ICONS.on), 'Next turn (→)', () => onTurn(turn + 1)), steps.slider);
  const node = el('aside', 'af-rail', { 'aria-label': 'Turns of the trajectory' },
    el('div', 'af-stage', picture, caption, bar, takeover, more), list);

  /** @param {boolean} running */
  function face(running) {
    const text = running ? 'Pause (Space)' : 'Play (Space)';
    play.replaceChildren(icon(running ? ICONS.pause : ICONS.play));
    play.title = play.ariaLabel = text;
  }

  /** @param {Turn[]} shown @param {TrajectoryFacts} facts */
  function fill(shown, facts) {
    turns = shown;
    trajectory = facts;
    steps.reset(turns.length);
    rows = turns.map((t, k) => row(t, k, facts, onTurn));
    list.replaceChildren(...rows.map((item) => el('li', '', item)));
  }

  /** @param {number} k */
  function select(k) {
    turn = k;
    const t = turns[k];
    const title = t.end ? 'The end' : `Turn ${k + 1} of ${turns.length - 1}`;
    const what = `${title}: the environment ${t.end ? 'at the end' : 'before the answer'}`;
    picture.replaceChildren(t.page ? shopPage(t.page, null, null) : image(t.picture, what));
    picture.classList.toggle('page', Boolean(t.page));
    caption.replaceChildren(el('b', '', title), ' ', then(t));
    if (t.oracle && trajectory) caption.append(el('span', 'af-known', label.state(t.oracle.value, t.oracle.facts, trajectory.env)));
    takeover.disabled = t.end || !t.picture;
    steps.at(k, title);
    rows.forEach((item, i) => {
      item.classList.toggle('on', i === k);
      item.ariaCurrent = i === k ? 'step' : null;
    });
  }

  /** @param {Turn} t */
  function then(t) {
    if (t.end) return trajectory ? ending(trajectory) : '';
    return t.actions.length ? `then ${t.actions.join(', ')}` : 'then no action';
  }

  /** The person plays instead of looking on. @param {boolean} on */
  function playing(on) {
    if (on) steps.stop();
    takeover.ariaPressed = String(on);
    takeover.textContent = on ? 'Stop playing' : 'Play from here';
  }

  return { node, fill, select, playing, toggle: steps.toggle };
}

/** @param {Turn} turn @param {number} k @param {TrajectoryFacts} trajectory @param {(k: number) => void} onTurn */
function row(turn, k, trajectory, onTurn) {
  const text = el('span', 'af-row-text', el('b', '', turn.end ? 'End' : `Turn ${k + 1}`),
    el('span', 'af-row-what', turn.end ? ending(trajectory) : label.named(turn.actions)));
  return textButton(image(turn.picture, ''), () => onTurn(k), 'af-row', text, !turn.end && notes(turn));
}

/** What is to be said of a turn in the list. @param {Turn} turn */
function notes(turn) {
  const total = (turn.reward ?? 0) + (turn.penalty ?? 0);
  const [letter, why] = turn.malformed ? ['M', 'malformed answer'] : ['I', 'illegal action'];
  return el('span', 'af-row-end', label.sign(turn.oracle), !turn.valid && el('span', 'af-flag', { title: why }, letter),
    total !== 0 && el('span', 'af-gain', { title: 'reward of the turn' }, label.gain(total)));
}
