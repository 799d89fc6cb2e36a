/* The settings and the place that all pages share, the address bar, and the way to and from the native controls. */
import { PRESETS, PRESET_TITLES, SIGNAL_TITLES, VIEW } from '../generated/constants.js';

/** @typedef {import('../generated/types').View} View */
/** @typedef {Pick<View, 'alpha' | 'beta' | 'signal' | 'scope' | 'adv'>} Settings */
/** @typedef {Omit<View, keyof Settings>} Place */
/** @typedef {Place & Settings & { restore?: boolean }} Target what `go` opens */

const SCOPES = ['batch', 'group', 'trajectory'];
/** @type {Record<string, number>} */
const TOPS = { alpha: 1, beta: 2 };
/** @type {(keyof Settings)[]} */
const ORDER = ['alpha', 'beta', 'signal', 'scope', 'adv'];
/** Parameters of pages other than Trace. They are read from the address at once, since those pages may be used before the
 * first trajectory has arrived. @type {(keyof Place)[]} */
const OWN = ['tab', 'race', 'scheme_a', 'scheme_b', 'kept', 'other_run', 'other', 'controls', 'whatif', 'motion', 'stage', 'lesson',
  'lesson_step', 'classroom'];
/** Parameters that the address leaves out while they have their default. */
/** @type {(keyof View)[]} */
const QUIET = ['full', 'stage', 'lesson_step', 'controls', 'classroom', 'regex', 'case', 'descending', 'listed', 'end'];
const WRITE_MS = 150;

const { settings, place } = split(VIEW);
readOwn();

/* `settings` are notified when one changed, `view` of any change, `tab` of the tab that was selected, `place` when a
   trajectory was opened. */
/** @type {Record<'settings' | 'view' | 'tab' | 'place', ((tab: string) => void)[]>} */
const listeners = { settings: [], view: [], tab: [], place: [] };
/** @param {keyof typeof listeners} kind */
const notify = (kind) => listeners[kind].forEach((listener) => listener(place.tab));
/** @param {keyof typeof listeners} kind @returns {(listener: (tab: string) => void) => void} */
const listenTo = (kind) => (listener) => listeners[kind].push(listener);

let kept = readKept(place.kept);
let shownPreset = 'actfocus';

/** @param {View} view @returns {{ settings: Settings, place: Place }} */
function split({ alpha, beta, signal, scope, adv, ...rest }) {
  return { settings: { alpha, beta, signal, scope, adv }, place: rest };
}

function readOwn() {
  const query = new URLSearchParams(window.location.search);
  for (const name of OWN) {
    const text = query.get(name);
    const standard = VIEW[name];
    const value = typeof standard === 'boolean' ? text === '1' : typeof standard === 'number' ? Number(text) || standard : text || standard;
    Object.assign(place, { [name]: value });
  }
}

// --- the native controls ---------------------------------------------------------------------------------

/* What sets native components: name -> function of their values. Of those that are not there yet the last value is kept. */
/** @type {Map<string, (value: unknown) => void>} */
const setters = new Map();
/** @type {Map<string, unknown>} */
const unset = new Map();

/** @param {string} name @param {(value: unknown) => void} send */
function bind(name, send) {
  setters.set(name, send);
  if (unset.has(name)) send(unset.get(name));
  // The server's answer about the tab of the address is lost if it comes before the tabs are there; this is bound after them.
  else if (name === 'tab' && place.tab !== 'trace' && !place.lesson) send(place.tab);
  unset.delete(name);
}

/** @param {string} name @param {unknown} value */
function setNative(name, value) {
  const send = setters.get(name);
  if (send) send(value);
  else unset.set(name, value);
}

/* Gradio's listeners report to the document: a setting, a preset, a tab, or a button of setting B. */
/** @param {string} name @param {(detail: any) => void} handle */
const onNative = (name, handle) => document.addEventListener(`actfocus:${name}`, (event) => handle(/** @type {CustomEvent} */ (event).detail));
onNative('setting', ({ name, value }) => read(name, value));
onNative('preset', choose);
onNative('tab', selected);
onNative('keep', keep);
onNative('swap', swap);

// --- the settings ------------------------------------------------------------------------------------------

/** @param {Settings} s */
const presetOf = (s) => Object.keys(PRESETS).find(
  (name) => PRESETS[name][0] === s.alpha && PRESETS[name][1] === s.beta) || 'custom';

/** A setting in words. @param {Settings} s */
function describe(s) {
  const name = PRESET_TITLES[presetOf(s)];
  const numbers = `α ${+s.alpha.toFixed(2)}, β ${+s.beta.toFixed(2)}`;
  return (name ? `${name} (${numbers})` : numbers)
    + (s.beta && s.signal !== 'energy' ? `, ${SIGNAL_TITLES[s.signal]}` : '')
    + (s.scope !== 'batch' ? `, within each ${s.scope}` : '') + (s.adv ? ', × |A|' : '');
}

const syncControls = () => setNative('settings', [presetOf(settings), ...ORDER.map((name) => settings[name])]);

/**
 * Change settings and notify all listeners.
 *
 * @param {Partial<Settings>} changes
 * @param {boolean} [sync] set the native controls as well
 */
function set(changes, sync = false) {
  const changed = ORDER.filter((name) => name in changes && changes[name] !== settings[name]);
  if (!changed.length && !sync) return;
  Object.assign(settings, changes);
  const preset = presetOf(settings);
  if (sync) syncControls();
  else if (preset !== shownPreset) setNative('preset', preset);
  shownPreset = preset;
  notify('settings');
  remember();
}

/** From a native control. A cleared number field gives null: the old value stays. @param {keyof Settings} name @param {unknown} value */
function read(name, value) {
  if (typeof value !== typeof settings[name]) return;
  set({ [name]: typeof value === 'number' ? Math.min(Math.max(value, 0), TOPS[name]) : value });
}

/** "Custom" changes nothing: it stays selected until a slider is moved. @param {string} name */
function choose(name) {
  shownPreset = name;
  if (name in PRESETS) set({ alpha: PRESETS[name][0], beta: PRESETS[name][1] }, true);
}

/** Parse setting B from its form in the address; null where it is not valid. @param {string} text @returns {Settings | null} */
function readKept(text) {
  const [alpha, beta, signal, scope, adv, ...more] = text.split(',');
  const good = !more.length && alpha !== '' && +alpha >= 0 && +alpha <= TOPS.alpha && beta !== '' && +beta >= 0 && +beta <= TOPS.beta
    && Object.hasOwn(SIGNAL_TITLES, signal) && SCOPES.includes(scope) && ['0', '1'].includes(adv);
  if (!good) place.kept = '';
  return good ? { alpha: +alpha, beta: +beta, signal, scope: /** @type {Settings['scope']} */ (scope), adv: adv === '1' } : null;
}

function hold() {
  kept = { ...settings };
  place.kept = [+kept.alpha.toFixed(4), +kept.beta.toFixed(4), kept.signal, kept.scope, kept.adv ? 1 : 0].join(',');
}

function keep() {
  hold();
  notify('settings');
  remember();
}

function swap() {
  if (!kept) {
    keep();
    return;
  }
  const other = kept;
  hold();
  set(other, true);
}

// --- the address and the browser's history --------------------------------------------------------------------

function address() {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(view())) {
    const isQuiet = QUIET.some((quiet) => quiet === name && value === VIEW[quiet]);
    if (value === '' || value === null || isQuiet) continue;
    query.set(name, String(typeof value === 'boolean' ? Number(value) : value));
  }
  return new URL(`${window.location.pathname}?${query}`, window.location.href).href;
}

/* Back and Forward go from one of these to the next; everything else replaces the address. */
const landmark = () => [place.tab, place.run, place.trajectory].join('\n');
/** @type {string | null} */
let lastLandmark = null;
let arrived = false;
let timer = 0;

/** Change the place, write the view into the address bar shortly after the last change, and notify the listeners.
 * @param {Partial<Place>} [changes] */
function remember(changes) {
  Object.assign(place, changes);
  notify('view');
  clearTimeout(timer);
  timer = window.setTimeout(write, WRITE_MS);
}

function write() {
  clearTimeout(timer);
  // Before the first answer the address still names what is to be opened.
  if (!arrived) return;
  const here = landmark();
  const move = lastLandmark !== null && here !== lastLandmark ? 'pushState' : 'replaceState';
  lastLandmark = here;
  window.history[move](window.history.state, '', address());
}

/* The browser went back or forward: what it went to is where the next address is written. */
function returned() {
  clearTimeout(timer);
  readOwn();
  kept = readKept(place.kept);
  const query = new URLSearchParams(window.location.search);
  lastLandmark = [place.tab, query.get('run') || '', query.get('trajectory') || ''].join('\n');
  showTab(place.tab);
}

/** What was asked for is open: the server's answer with the view, which it has validated if all of it was asked for.
 * @param {import('../generated/types').Api['trace/open']['response']} answer */
function opened(answer) {
  arrived = true;
  const { view } = answer;
  if (view) adopt(view);
  if ('error' in answer) return;
  const { run, place: found, list, filter } = answer;
  Object.assign(place, { run: run.name, reference: run.reference || '', step: found.step, trajectory: found.id, filter });
  // A rollout of a search opens where the text is found.
  if (!view) Object.assign(place, { turn: 0, token: list?.hit ?? null });
}

/** @param {View} view */
function adopt(view) {
  const given = split(view);
  Object.assign(settings, given.settings);
  Object.assign(place, given.place, Object.fromEntries(OWN.map((name) => [name, place[name]])));
  shownPreset = presetOf(settings);
  syncControls();
  notify('settings');
}

/** `listener` is called whenever a trajectory was opened, or could not be; if one was before, once its part of the page is mounted.
 * @param {() => void} listener */
function onPlace(listener) {
  listeners.place.push(listener);
  if (arrived) queueMicrotask(listener);
}

/** A tab was selected; its page is notified once it is visible. @param {View['tab']} name */
function selected(name) {
  place.tab = name;
  remember();
  notify('tab');
}

/** Select a tab. @param {View['tab']} name */
const showTab = (name) => setNative('tab', name);

/** Change the place without opening anything. @param {Partial<Place>} changes */
function put(changes) {
  Object.assign(place, changes);
  remember();
}

/** All of the view, as requests send it. @returns {View} */
const view = () => ({ ...place, ...settings });

export const store = {
  settings, place, view, set, put, swap, opened, remember, write, returned, describe, bind, setNative, showTab, address,
  placed: () => notify('place'),
  on: listenTo('settings'), onView: listenTo('view'), onTab: listenTo('tab'), onPlace,
  kept: () => kept,
  /** @param {string} name */
  signalTitle: (name) => SIGNAL_TITLES[name],
};
