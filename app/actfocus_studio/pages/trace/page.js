/* The Trace page: one trajectory, and all that depends on the sliders. */
import * as scoring from '../../panels/scoring/panel.js';
import * as whatif from '../../panels/whatif/panel.js';
import * as frame from '../../shell/top_bar.js';
import { alertLine } from '../../web/lib/components/alert.js';
import { segmented } from '../../web/lib/components/segmented.js';
import { signalsView } from '../../web/lib/components/signals_view.js';
import { announcer, button, el, icon, perFrame } from '../../web/lib/dom.js';
import { number } from '../../web/lib/format.js';
import { go, onOpened } from '../../web/lib/navigation.js';
import { store } from '../../web/lib/store.js';
import { createChart } from '../../web/trace/chart.js';
import { createInspector } from '../../web/trace/inspector.js';
import { FOLD } from '../../web/trace/json_block.js';
import * as keys from '../../web/trace/keys.js';
import { setOpenModel } from '../../web/trace/open_model.js';
import { createTimeline } from '../../web/trace/timeline.js';
import * as tokens from '../../web/trace/tokens.js';
import { COLOURS } from './colours.js';
import { createShares } from './gradient_share.js';
import { badTurns, nextHeavy, traceModel, weighed } from './model.js';
import { picker } from './picker.js';
import { createGame } from './play.js';
import { ramp } from './ramp.js';
import { createFacts } from './rollout_facts.js';
import { createSearch } from './search.js';
import { segmentTabs, sharedNote } from './segment_tabs.js';
import { MODES, textForm } from './text_form.js';
import { createTable } from './token_table.js';
import { createTurnBar } from './turn_bar.js';

/** @typedef {import('./colours.js').Colour} Colour */
/** @typedef {import('../../web/lib/navigation.js').OpenResponse} OpenResponse */
/** @typedef {import('./text_form.js').Mode} Mode */

const PAINTED = 'trajectory painted';
const FULL_ICON = 'M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5';
const TABLE_ICON = 'M4 5h16v14H4zM4 10h16M4 15h16M10 5v14';

/** What other parts of the studio ask of the page, once it is built. @type {ReturnType<typeof build> | null} */
let page = null;
/** A kind whose first token is pinned once a trajectory is open. @type {number | null} */
let wanted = null;

/** @param {HTMLElement} element @param {{ figure: import('../../web/lib/plots.js').Figure }} config */
export function mount(element, { figure }) {
  page = build(element, figure);
  keys.install(page.actions);
  store.on(page.refresh);
  store.onView(page.makeRoom);
  frame.onTheme(page.redraw);
  onOpened(page.open);
}

/** Pin the first token of a kind from the current turn on, else of the trajectory; once one is open. @param {number} kind */
export function pinFirst(kind) {
  wanted = kind;
  page?.pinWanted();
}

/** @param {HTMLElement} element @param {import('../../web/lib/plots.js').Figure} figure */
function build(element, figure) {
  const { place } = store;
  /** There is none until a trajectory is open; what needs one is out of reach until then. @type {import('./model.js').TraceModel} */
  let m;
  /** @type {tokens.TokenView} */
  let view;
  let legendOf = '';
  let lastBad = false; // the next trajectory opens at its last malformed turn rather than its first

  // --- its parts ---------------------------------------------------------------------------------

  const alert = alertLine({ closable: true });
  const pickers = el('nav', 'af-picker', { 'aria-label': 'Trajectories' });
  const shares = createShares();
  const timeline = createTimeline({
    onTurn: goTurn, onPlay: takeOver,
    more: whatif.opener('branch', 'What if …', 'Branch or edit this trajectory, or replay its update (W)'),
  });
  const game = createGame(leave);
  const inspector = createInspector();
  const box = el('div', 'af-text', { id: 'af-text', role: 'region', 'aria-label': 'Trajectory text' });
  const table = createTable(pin);
  const chart = createChart(figure, { onHover: hover, onPin: (i) => pin(i, true), onZoom: zoomed });
  const live = announcer();
  const tip = el('div', 'af-tip', { hidden: true, role: 'tooltip' });
  const empty = el('div', 'af-empty', 'Loading …');
  const colours = segmented('Colour by', COLOURS.map(([name, title, help], i) => [name, title, `${help} (${i + 1})`]), colour);
  const legendBox = el('div', 'af-legend');
  const search = createSearch(() => view);
  const turnBar = createTurnBar(goTurn, whatif.opener('branch', 'What if …', 'Branch or edit this trajectory, or replay its update (W)'));
  const facts = createFacts(nextCall);
  const modes = segmented('Text as', MODES.map(([name, title, help]) => [name, title, `${help} (V)`]), setMode);
  const wide = button('af-tool', icon(FULL_ICON), 'The text in the whole window (F)', () => setFull(!place.full));
  const tabular = button('af-tool', icon(TABLE_ICON), 'Token table (T)', toggleTable);
  tabular.ariaPressed = 'false';
  const bar = el('div', 'af-tools', turnBar.node, modes.node, colours.node,
    el('div', 'af-find', search.count, search.input, tabular, wide), legendBox);
  const body = el('div', 'af-body', { hidden: true }, pickers, shares.node,
    el('div', 'af-columns', timeline.node, el('main', 'af-main', bar, box, table.node, game.node),
      el('div', 'af-sidebox', inspector.node, facts.node)), chart.node);
  element.classList.add('af-trace');
  element.replaceChildren(alert.node, signalsView(scoring.scoreRest).node, empty, body, live, tip);

  // --- a trajectory arrives ------------------------------------------------------------------------

  /** @param {OpenResponse} data */
  function open(data) {
    if ('error' in data) {
      alert.say(data.error);
      if (!m) empty.textContent = 'No trajectory is open.';
      return;
    }
    alert.say(data.notes.join(' '), false);
    leave();
    // The same rollout again, when it was scored: what is read stays where it is.
    const isSame = m?.data.trajectory.id === data.trajectory.id && m.data.run.name === data.run.name;
    const top = isSame ? box.scrollTop : 0;
    m = traceModel(data, store.settings, store.kept());
    setOpenModel(m);
    legendOf = '';
    search.reset();
    empty.hidden = true;
    body.hidden = false;
    pickers.replaceChildren(...picker(data, openRollout), segmentTabs(data, openRollout) ?? '');
    body.classList.toggle('plain', m.plain);
    setFull(place.full);
    fillText();
    timeline.fill(m.turns, data.trajectory);
    turnBar.fill(m.turns, data.trajectory);
    facts.fill(m);
    refresh();
    table.fill(m);
    box.scrollTop = top;
    const { token } = place;
    // A rollout of a search arrives with the token of its first hit.
    const first = isSame ? place.turn : firstTurn(data);
    const found = !isSame && !data.view && token !== null && token < m.n ? Math.max(m.turn[token], 0) : first;
    showTurn(found, !isSame && found > 0 && token === null);
    setPin(token !== null && token < m.n ? token : null, !isSame);
    pinWanted();
    chart.fill(m);
    requestAnimationFrame(() => window.setTimeout(painted, 0));
  }

  /** The turn at which a trajectory opens: the one its address names, else the first that is malformed.
   * @param {import('./model.js').Opened} data */
  function firstTurn({ view: restored }) {
    const stated = restored !== null && new URLSearchParams(window.location.search).has('turn');
    const bad = badTurns(m);
    const first = stated || place.token !== null || !bad.length ? place.turn : bad[lastBad ? bad.length - 1 : 0];
    lastBad = false;
    return first;
  }

  /** Build the text in the form that was chosen. */
  function fillText() {
    const { value, cards } = textForm(m, place.text);
    view = tokens.build(box, m, cards);
    Object.assign(view, { onPin: pin, onHover: hover });
    box.prepend(sharedNote(m.data.trajectory, m.n) ?? '');
    modes.show(value);
  }

  /** @param {Mode} name */
  function setMode(name) {
    store.remember({ text: name });
    const { scrollTop } = box;
    fillText();
    tokens.paint(view, place.color);
    box.scrollTop = scrollTop;
    showTurn(place.turn, place.token === null && place.turn > 0);
    if (place.token !== null) setPin(place.token, true);
    search.again();
  }

  /** @param {boolean} on */
  function setFull(on) {
    element.classList.toggle('full', on);
    wide.ariaPressed = String(on);
    if (on !== place.full) store.remember({ full: on });
  }

  /** What opens over the page is not to open behind the text. */
  const makeRoom = () => { if (place.full && place.whatif) setFull(false); };

  /** After the first paint, which the browser's timeline then shows. */
  function painted() {
    performance.mark(PAINTED);
    chart.load();
  }

  // --- settings changed ------------------------------------------------------------------------------

  /** Weights and colours at once; sentence, bars and inspector in the next frame; the chart after it. */
  function refresh() {
    if (!m) return;
    Object.assign(m, weighed(m, store.settings, store.kept()));
    tokens.paint(view, place.color);
    later();
  }

  const later = perFrame(() => {
    shares.update(m);
    legend();
    if (place.token !== null) inspector.show(m, place.token);
    table.update();
    facts.update();
    chart.update();
  });

  /** @param {Colour} name */
  function colour(name) {
    store.remember({ color: name });
    tokens.paint(view, name);
    legend();
  }

  function legend() {
    colours.show(place.color);
    const of = `${place.color} ${m.weightTop}`;
    if (legendOf === of) return;
    legendOf = of;
    legendBox.replaceChildren(...ramp(m, place.color), tokens.kindKeys(m.shown));
  }

  // --- turns and tokens ------------------------------------------------------------------------------

  /** @param {number} k */
  function goTurn(k) {
    if (k >= 0 && k < m.turns.length) showTurn(k, true);
  }

  /** @param {number} k @param {boolean} scroll */
  function showTurn(k, scroll) {
    const last = m.turns.length - 1;
    place.turn = Math.min(k, last);
    timeline.select(place.turn);
    turnBar.show(place.turn);
    view.cards.forEach((node, i) => node.classList.toggle('on', i === place.turn));
    const card = view.cards[Math.min(place.turn, view.cards.length - 1)];
    if (scroll && card) {
      if (place.turn === last) tokens.reveal(view, card.lastElementChild ?? card, 'near');
      else tokens.reveal(view, card, 'start');
    }
    store.remember();
  }

  /** Pin a token; unpin it if it is pinned already. `scroll`: bring it into view instead. @param {number} i @param {boolean} [scroll] */
  function pin(i, scroll = false) {
    setPin(i === place.token && !scroll ? null : i, scroll);
    if (place.token !== null && m.turn[i] >= 0 && m.turn[i] !== place.turn) showTurn(m.turn[i], false);
    store.remember();
  }

  /** @param {number | null} i @param {boolean} scroll */
  function setPin(i, scroll) {
    place.token = i;
    mark('pin', i);
    if (i === null) {
      inspector.empty();
      return;
    }
    tokens.rove(view, i);
    if (scroll) tokens.reveal(view, view.spans[i], 'near');
    inspector.show(m, i);
    live.textContent = `${m.text[i].trim() || 'white space'}, ${tokens.NAMES[m.shown[i]]}, position ${i}, `
      + (m.sampled(i) ? `weight ${number(m.weights[i], 2)}` : 'not in the loss');
  }

  function pinWanted() {
    if (!m || wanted === null) return;
    const kind = wanted;
    wanted = null;
    const { kinds, turn } = m;
    const at = kinds.findIndex((k, i) => k === kind && turn[i] >= place.turn);
    const first = at < 0 ? kinds.indexOf(kind) : at;
    if (first >= 0) pin(first, true);
  }

  /** Mark a token in the text and in the chart. @param {'pin' | 'hot'} name @param {number | null} i */
  function mark(name, i) {
    tokens.mark(view, name, i);
    chart.mark(name, i);
  }

  /** The pointer is over a token, in the text or the chart: mark it in both. @param {number | null} i @param {Element} [node] */
  function hover(i, node) {
    mark('hot', i);
    tip.hidden = i === null || !node;
    if (i === null || !node) return;
    const sampled = m.sampled(i);
    const energy = m.signal.energy[i];
    tip.replaceChildren(el('b', '', tokens.NAMES[m.shown[i]]), sampled ? ` weight ${number(m.weights[i])}` : ' not in the loss',
      sampled && !Number.isNaN(energy) ? ` · energy ${number(energy, 2)}` : '');
    const span = view.spans[i];
    const at = span.getClientRects()[0] || span.getBoundingClientRect();
    tip.style.left = `${Math.min(Math.max(at.left, 8), window.innerWidth - tip.offsetWidth - 8)}px`;
    tip.style.top = `${at.top - tip.offsetHeight - 6}px`;
  }

  /** @param {number} i */
  function zoomed(i) {
    if (view.spans[i]) tokens.reveal(view, view.spans[i], 'near');
  }

  /** @param {1 | -1} step */
  function heavy(step) {
    const { token, flat } = nextHeavy(m, place.token, step);
    if (token !== null) pin(token, true);
    else frame.say(flat ? 'All weights are equal here.' : 'No high-weight token in this direction.');
  }

  /** The next malformed or illegal turn: of this trajectory, else of the next one in the list that has any. @param {1 | -1} step */
  function nextBad(step) {
    const bad = badTurns(m);
    const next = step > 0 ? bad.find((k) => k > place.turn) : bad.findLast((k) => k < place.turn);
    const other = step > 0 ? m.data.place.malformed_next : m.data.place.malformed_previous;
    if (next !== undefined) showTurn(next, true);
    else if (other) {
      lastBad = step < 0;
      openRollout(other);
    } else frame.say(`No malformed turn ${step > 0 ? 'after' : 'before'} this one.`);
  }

  /** Pin the first token of a tool's next call, else of its first. @param {string} name */
  function nextCall(name) {
    const starts = m.calls.filter((call) => call.name === name).map(({ start }) => start);
    if (starts.length) pin(starts.find((i) => i > (place.token ?? -1)) ?? starts[0], true);
    else frame.say('This rollout does not call it.');
  }

  /** @param {1 | -1} step */
  function walk(step) {
    const next = view.rover + step;
    if (next < 0 || next >= m.n) return;
    pin(next, true);
    view.spans[next].focus({ preventScroll: true });
  }

  // --- playing and table ------------------------------------------------------------------------------

  /** The person plays from turn k on; the game takes the place of the text. @param {number} k */
  function takeOver(k) {
    if (game.isOn()) {
      leave();
      return;
    }
    if (!table.node.hidden) toggleTable();
    box.hidden = bar.hidden = true;
    timeline.playing(true);
    game.start(Math.min(k, m.turns.length - 2));
  }

  function leave() {
    if (!game.isOn()) return;
    game.stop();
    box.hidden = bar.hidden = false;
    timeline.playing(false);
  }

  function toggleTable() {
    const on = table.node.hidden;
    box.hidden = on;
    tabular.ariaPressed = String(on);
    table.toggle(on);
  }

  // --- going somewhere else ------------------------------------------------------------------------------

  /** What J and K step through: the rollouts that are listed, else those that pass the filter. */
  const walked = () => m.data.list ?? m.data.place;

  /** @type {import('./picker.js').Go} */
  function openRollout(trajectory, changes = {}) {
    if (!trajectory && !('filter' in changes) && !('step' in changes)) return;
    const { run, reference, filter } = place;
    go({ run, reference, filter, trajectory: trajectory || '', ...changes });
  }

  function escape() {
    alert.close();
    leave();
    if (place.full) {
      setFull(false);
      return;
    }
    if (document.activeElement instanceof HTMLElement) document.activeElement.blur();
    if (place.token !== null) pin(place.token);
  }

  /** What needs an open trajectory. @type {Record<string, () => void>} */
  const inside = {
    ArrowLeft: () => game.key('ArrowLeft') || goTurn(place.turn - 1), ArrowRight: () => game.key('ArrowRight') || goTurn(place.turn + 1),
    ArrowUp: () => game.key('ArrowUp'), ArrowDown: () => game.key('ArrowDown'),
    'token:ArrowLeft': () => walk(-1), 'token:ArrowRight': () => walk(1), 'token:Enter': () => pin(view.rover),
    j: () => openRollout(walked().next), k: () => openRollout(walked().previous), '[': () => heavy(-1), ']': () => heavy(1),
    p: () => takeOver(place.turn), w: () => whatif.open('branch'), '/': () => search.input.focus(),
    m: () => nextBad(1), 'shift:m': () => nextBad(-1), f: () => setFull(!place.full),
    v: () => setMode(textForm(m, place.text).value === 'messages' ? 'rendered' : 'messages'),
    'token:-': () => view.spans[view.rover].dispatchEvent(new Event(FOLD, { bubbles: true })), ' ': timeline.toggle, t: toggleTable,
    Escape: escape,
  };
  COLOURS.forEach(([name], i) => { inside[String(i + 1)] = () => colour(name); });
  /** @type {Record<string, () => void>} */
  const actions = { b: store.swap, c: frame.copyLink, '?': frame.help };
  for (const [key, act] of Object.entries(inside)) actions[key] = () => { if (m) act(); };

  return { open, refresh, redraw: chart.update, actions, pinWanted, makeRoom };
}
