/* The top bar: run picker, what is loaded, copy link, theme, help. */
import * as drawer from '../panels/import_export/panel.js';
import { runPicker } from '../panels/runs/picker.js';
import { button, el, icon } from '../web/lib/dom.js';
import { count, percent } from '../web/lib/format.js';
import { onOpened } from '../web/lib/navigation.js';
import { store } from '../web/lib/store.js';
import { install } from '../web/trace/keys.js';

/** @typedef {import('../web/generated/types').Opened} Opened */

const ICONS = {
  exchange: 'M7 4v14M3.5 14.5 7 18l3.5-3.5M17 20V6M13.5 9.5 17 6l3.5 3.5',
  theme: 'M20 14.5A8.5 8.5 0 1 1 9.5 4a6.8 6.8 0 0 0 10.5 10.5z',
};
export const LINK_ICON = 'M10 13.5a4 4 0 0 0 6 .4l2.6-2.6a4 4 0 0 0-5.7-5.7l-1.4 1.4M14 10.5a4 4 0 0 0-6-.4l-2.6 2.6a4 4 0 0 0 5.7 5.7l1.4-1.4';
const KEYS = [
  ['← →', 'previous, next turn'], ['J K', 'next, previous trajectory'], ['[ ]', 'previous, next high-weight token'],
  ['1 – 6', 'colour by weight, kind, energy, entropy, surprise, credit'], ['B', 'swap settings A and B'],
  ['M, Shift + M', 'next, previous malformed or illegal turn, in the list’s next rollout after the last one'],
  ['F', 'the text in the whole window, and back'], ['V', 'messages, or the text as the model saw it'],
  ['/', 'search in the text'], ['Space', 'play, pause'], ['P', 'play on yourself from this turn'],
  ['W', 'what if: replay the update, branch, edit'], ['C', 'copy a link to this view'], ['T', 'token table'], ['?', 'this list'],
  ['Esc', 'unpin the token, close, leave the text'], ['Tab, then ← →', 'into the text, from token to token'], ['−', 'fold or unfold the JSON around that token'],
];
const SCOPE_WARNING = {
  batch: '',
  group: 'μ and σ are computed within each group. The method computes them over the whole batch.',
  trajectory: 'μ and σ are computed within this trajectory. The method computes them over the whole batch, '
    + 'so a trajectory alone does not determine its weights.',
};
const THEME = 'actfocus.theme';
const TOAST_MS = 2200;
const NOTE_MS = 120;
const NARROW = 900;

const helpDialog = dialog();
/** @type {(() => void)[]} */
const themeListeners = [];
/** @param {() => void} listener */
export const onTheme = (listener) => themeListeners.push(listener);

/** @param {HTMLElement} element */
export function mount(element) {
  const runs = runPicker();
  install({ r: runs.start });
  const loaded = el('div', 'af-loaded');
  element.replaceChildren(el('header', 'af-bar',
    el('div', 'af-brand', el('span', 'af-mark'), 'ActFocus', el('span', 'af-brand-2', ' Studio')),
    el('div', 'af-bar-gap'), runs.label, loaded,
    drawer.toggler(icon(ICONS.exchange)), button('af-tool', icon(LINK_ICON), 'Copy a link to this view (C)', copyLink),
    button('af-tool', icon(ICONS.theme), 'Light or dark theme', toggleTheme), button('af-tool', '?', 'Keys and help (?)', help)), runs.popup, helpDialog);
  const theme = window.localStorage.getItem(THEME);
  if (theme) document.body.classList.toggle('dark', theme === 'dark');
  // On a narrow screen the sidebar would cover the page, so it starts closed.
  if (window.innerWidth < NARROW) store.setNative('sidebar', 'closed');
  onOpened((data) => {
    if ('error' in data) return;
    runs.show(data.run.name);
    const facts = factsOf(data);
    runs.field.title = facts.map(([name, value]) => `${name}: ${value}`).join('\n');
    loaded.replaceChildren(...facts.map(([name, value]) =>
      el('span', 'af-fact', { title: `${name}: ${value}` }, el('span', 'af-fact-name', name), ' ', value)), ...badges(data));
  });
}

/** @param {Opened} data */
const factsOf = ({ run, place: { counts } }) => [
  ['policy', run.policy], ['reference', run.reference || 'unavailable'], ['environment', environment(run)],
  ['trajectories', `${count(counts.all)} · ${rate(counts)}`],
];

/** @param {Opened['run']} run */
function environment({ env, options: { slippery } }) {
  const ice = slippery === true ? ', slippery' : slippery === false ? ', deterministic' : '';
  return (env || 'unknown').replace('_', ' ') + ice;
}

/** The share of the trajectories that succeeded, of those of which it is known. @param {Opened['place']['counts']} counts */
function rate({ success, failure, all }) {
  const known = success + failure;
  if (!known) return 'success unknown';
  return `${percent(success / known)} success${all > known ? ` (${count(all - known)} unknown)` : ''}`;
}

/** What is to be known of the numbers on the page. @param {Opened} data */
function badges({ run, batch }) {
  const missing = Object.keys(batch.signals).filter((name) => !batch.signals[name]).map(store.signalTitle).join(', ');
  const found = [];
  if (run.approximate) {
    found.push(['approximate', 'These rollouts were re-tokenised at import: token ids and boundaries may differ from those sampled.']);
  }
  if (run.unstated.length) {
    found.push([run.guessed ? 'partly guessed' : 'partly derived', `The imported files do not state: ${run.unstated.join('. ')}.`]);
  }
  if (missing) found.push([`${missing} unavailable`, `${missing} unavailable. Compute them with: ${run.score}`]);
  return found.map(([text, title]) => el('span', 'af-badge', { title }, text));
}

function dialog() {
  const rows = KEYS.map(([key, what]) => el('tr', '', el('th', '', el('kbd', '', key)), el('td', '', what)));
  const node = el('dialog', 'af-help', { onclick: (event) => { if (event.target === node) node.close(); } },
    el('h2', '', 'Reading this page'),
    el('p', '', 'A policy sampled these tokens while it acted in an environment, and the episode ended with one return. Training turns '
      + 'the return into a gradient on every token that the policy sampled; the weight of a token scales its gradient. '
      + 'Strong blue is a high weight, faint blue a low one. The underline shows the kind of the token: reasoning, action, format, '
      + 'or text that was only read.'),
    el('p', '', 'Move α and β in the sidebar to shift weight between reasoning and action tokens. Click a token for its numbers.'),
    el('table', 'af-keys', el('tbody', '', ...rows)),
    el('form', '', { method: 'dialog' }, el('button', 'af-button', 'Close')));
  return node;
}

export const help = () => (helpDialog.open ? helpDialog.close() : helpDialog.showModal());

function toggleTheme() {
  const dark = document.body.classList.toggle('dark');
  window.localStorage.setItem(THEME, dark ? 'dark' : 'light');
  for (const listener of themeListeners) listener();
}

export function copyLink() {
  store.write();
  copy(store.address(), 'Link copied.', () => 'The browser did not allow copying; the link is in the address bar.');
}

/** Copy a text. @param {string} text @param {string} done is said then @param {() => string} failed what is said if it is not allowed */
export async function copy(text, done, failed) {
  try {
    await navigator.clipboard.writeText(text);
    say(done);
  } catch {
    say(failed());
  }
}

const toast = el('div', 'af-toast', { id: 'af-toast', role: 'status' });
let hide = 0;
/** Show a short message for a moment; screen readers announce it. @param {string} text */
export function say(text) {
  document.body.append(toast);
  toast.textContent = text;
  toast.classList.add('on');
  clearTimeout(hide);
  hide = window.setTimeout(() => toast.classList.remove('on'), TOAST_MS);
}

/** Below the controls: settings A and B, and a warning if the scope is not the batch. @param {HTMLElement} element */
export function mountNote(element) {
  element.classList.add('af-note');
  let due = 0;

  function show() {
    const { settings } = store;
    const kept = store.kept();
    const warning = SCOPE_WARNING[settings.scope];
    element.replaceChildren(warning ? el('p', 'af-warning', { role: 'status' }, warning) : '',
      el('p', 'af-kept', el('b', '', 'A '), store.describe(settings)),
      el('p', 'af-kept', el('b', '', 'B '), kept ? store.describe(kept) : 'not set'));
  }

  // After a delay: laying out the sidebar in the same frame would delay the repainting of the text.
  store.on(() => {
    clearTimeout(due);
    due = window.setTimeout(show, NOTE_MS);
  });
  show();
}
