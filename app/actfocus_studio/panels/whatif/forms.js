/* The forms of the What-if panel, one for each kind of question. */
import { checkbox, field, select, submitButton } from '../../web/lib/components/form.js';
import { el, write } from '../../web/lib/dom.js';
import { short, visible } from '../../web/lib/format.js';
import { store } from '../../web/lib/store.js';
import { named } from '../../web/trace/label.js';
import { openModel } from '../../web/trace/open_model.js';
import { NAMES } from '../../web/trace/tokens.js';
import { partOf } from './spans.js';

/** @typedef {import('../../web/generated/types').WhatIfFacts} Facts */
/** @typedef {import('../../web/generated/types').EditableTurn} EditableTurn */
/** @typedef {import('../../web/generated/types').ReplayRequest} ReplayRequest */
/** @typedef {import('../../web/generated/types').BranchRequest} BranchRequest */
/** @typedef {import('../../web/lib/components/form.js').Option} Option */
/** @typedef {import('./panel.js').Kind} Kind */
/** @typedef {import('./spans.js').EditPart} EditPart */
/**
 * @typedef {{ schemes: [name: string, title: string][], schemes_max: number, groups: NonNullable<ReplayRequest['groups']>[],
 *   evaluations: NonNullable<ReplayRequest['evaluation']>[], rollouts_max: number, temperature_max: number, seed_max: number,
 *   text_max: number }} Menu
 */

/** The scheme that follows the controls in the sidebar. */
export const TUNED = 'actfocus';
/** @type {[EditPart, string][]} */
const PARTS = [['reply', 'the whole reply'], ['thought', 'the reasoning'], ['answer', 'the answer'], ['token', 'the pinned token']];
const MATCHES = /** @type {const} */ ([['rate', 'learning rate'], ['norm', 'gradient norm']]);

/** The value of a select's option: text, a number, or null for none. @param {string} text */
const valueOf = (text) => (text === '' ? null : Number.isNaN(+text) ? text : +text);
/** @param {string} text */
const quiet = (text) => el('p', 'af-quiet', text);

/**
 * What is entered stays while the panel is closed.
 *
 * @param {Menu} menu
 * @param {{ title: (scheme: string) => string, redraw: () => void, walkThrough: (scheme: string) => void,
 *   ask: import('./panel.js').Ask }} how
 */
export function createForms(menu, { title, redraw, walkThrough, ask }) {
  /** @type {Omit<ReplayRequest, 'view' | 'step'> & { step: number }} */
  const replay = { schemes: [], match: 'rate', evaluation: menu.evaluations[0], groups: menu.groups[1], step: 0 };
  /** @type {Omit<BranchRequest, 'view'>} */
  const branch = { turn: 0, token: null, rollouts: 8, temperature: 1, seed: 0, same_dice: false };
  const forced = { by: /** @type {'nothing' | 'action' | 'text'} */ ('nothing'), text: '' };
  const edit = { part: /** @type {EditPart} */ ('reply'), text: /** @type {string | null} */ (null) };
  let fresh = true; // turn and token are those on the page
  let send = () => {}; // asks the question of the form that was drawn last
  const submit = submitButton('');

  /** @param {string} text @param {() => void} question */
  function go(text, question) {
    write(submit, text);
    send = question;
    return submit;
  }

  /**
   * A select that sets a field.
   *
   * @template {object} Target
   * @param {string} name
   * @param {Target} target
   * @param {keyof Target} key
   * @param {readonly Option[]} options
   * @param {string} [hint]
   * @param {() => void} [then] what else changes with it
   */
  function choice(name, target, key, options, hint = '', then = () => {}) {
    const onChoose = (/** @type {string} */ text) => {
      Object.assign(target, { [key]: valueOf(text) });
      then();
      redraw();
    };
    return field(name, select(name, options, onChoose, /** @type {string | number | null} */ (target[key]) ?? ''), hint);
  }

  /** A number. @param {string} name @param {'rollouts' | 'temperature' | 'seed'} key @param {number} min @param {number} max
   * @param {number} [step] */
  function amount(name, key, min, max, step = 1) {
    const oninput = () => Object.assign(branch, { [key]: node.valueAsNumber });
    const node = el('input', 'af-number', { type: 'number', required: true, ariaLabel: name, oninput });
    return field(name, Object.assign(node, { min, max, step, value: branch[key] }));
  }

  /** @param {'input' | 'textarea'} tag @param {string} label @param {{ text: string | null }} target @param {string} [value] */
  function textBox(tag, label, target, value = '') {
    const oninput = () => Object.assign(target, { text: node.value });
    const node = el(tag, 'af-say', { value: target.text ?? value, maxLength: menu.text_max, spellcheck: false, 'aria-label': label, oninput });
    if (node instanceof HTMLTextAreaElement) node.rows = 5;
    return node;
  }

  /** The turn that is chosen: at first the one on the page. @param {Facts} facts @returns {EditableTurn | undefined} */
  function turnOf({ turns }) {
    const { turn, token } = store.place;
    branch.turn = Math.min(fresh ? turn : branch.turn, turns.length - 1);
    const chosen = turns[branch.turn];
    const inside = token !== null && chosen?.span && token >= chosen.span[0] && token < chosen.span[1];
    if (fresh) branch.token = inside ? token : null;
    fresh = false;
    return chosen;
  }

  /** The token and the text that were chosen are those of another turn. @param {string} name @param {Facts} facts */
  const turnChoice = (name, { turns }) => choice(name, branch, 'turn',
    turns.map(({ actions }, k) => [k, `turn ${k + 1}: ${named(actions)}`]), '', () => { branch.token = edit.text = null; });

  /** @param {Facts} facts */
  function startingPoint(facts) {
    if (!facts.trained) {
      return `This run was sampled from the policy “${facts.model}” and not trained: the update starts from that policy, on the stored rollouts, with a fresh optimiser.`;
    }
    if (!facts.steps.length) return 'No checkpoint of this run is stored, so no step can be replayed.';
    return `The update starts from the checkpoint before the step. With the run’s own scheme, ${title(facts.own ?? '')}, it reproduces the next checkpoint.`;
  }

  /** @param {Facts} facts */
  function replayForm(facts) {
    const { trained, steps, own } = facts;
    const { step } = store.place;
    const { alpha, beta, signal } = store.settings;
    if (!replay.schemes.length) replay.schemes = ['uniform', own && own !== 'uniform' ? own : TUNED];
    if (trained && !steps.includes(replay.step)) replay.step = step !== null && steps.includes(step) ? step : steps[steps.length - 1];
    const boxes = menu.schemes.map(([name, text]) => {
      const { schemes } = replay;
      const { node, box } = checkbox(name === own ? `${text} (this run’s scheme)` : text, (checked) => {
        replay.schemes = checked ? [...schemes, name] : schemes.filter((one) => one !== name);
        redraw();
      }, schemes.includes(name));
      box.disabled = !box.checked && schemes.length >= menu.schemes_max;
      return node;
    });
    return [quiet(startingPoint(facts)),
      trained ? choice('Step', replay, 'step', steps.map((one) => [one, `step ${one}`]))
        : choice('Groups', replay, 'groups', menu.groups.map((n) => [n, n === 1 ? 'this group only' : `${n} groups, this one first`])),
      el('fieldset', 'af-field', el('legend', '', 'Schemes'), quiet(`Up to ${menu.schemes_max}. ActFocus uses the sidebar’s settings: α ${
        short(alpha)}, β ${short(beta)}, ${store.signalTitle(signal)}.`), ...boxes),
      choice('Match', replay, 'match', MATCHES, trained ? '' : 'A small α increases the gradient norm per action token; compare both.'),
      choice('Evaluation set', replay, 'evaluation', menu.evaluations.map((n) => [n, n ? `${n} prompts` : 'none']),
        'Evaluated before and after the update; takes longer than the update.'),
      go('Replay', () => ask('whatif/replay', replay))];
  }

  /** @param {Facts} facts @param {EditableTurn} turn */
  function branchForm(facts, { span, legal }) {
    const { by } = forced;
    const whole = branch.token === null;
    const text = by === 'text' ? textBox('textarea', 'Text', forced) : textBox('input', 'Action', forced);
    if (by === 'action') {
      text.setAttribute('list', 'af-legal');
      text.placeholder = legal[0] ?? '';
    }
    /** @type {Option[]} */
    const ways = [['nothing', 'sample the policy again'], ['action', 'force an action'],
      ['text', whole ? 'force the whole reply' : 'force the continuation']];
    return [turnChoice('From', facts),
      span && choice('Token', branch, 'token', tokenOptions(span), 'Tokens before this one are kept.',
        () => { if (by === 'action') forced.by = 'nothing'; }),
      choice('Then', forced, 'by', ways.filter(([way]) => whole || way !== 'action')),
      by !== 'nothing' && text, by === 'action' && el('datalist', '', { id: 'af-legal' }, ...legal.map((value) => el('option', '', { value }))),
      amount('Number of samples', 'rollouts', 1, menu.rollouts_max), amount('Temperature', 'temperature', 0, menu.temperature_max, 0.1),
      amount('Seed', 'seed', 0, menu.seed_max),
      checkbox('same random numbers in the environment', (same) => Object.assign(branch, { same_dice: same }), branch.same_dice).node,
      go('Branch', () => ask('whatif/branch', { ...branch, action: by === 'action' ? forced.text : null, text: by === 'text' ? forced.text : null }))];
  }

  /** The tokens of the turn from which the policy can continue. @param {[number, number]} span @returns {Option[]} */
  function tokenOptions([first, end]) {
    const model = openModel();
    const inside = model?.text.slice(first + 1, end).map((text, k) => /** @type {const} */ (
      [first + 1 + k, `${first + 1 + k}: “${visible(text)}” ${NAMES[model.shown[first + 1 + k]]}`]));
    return [['', 'the whole reply'], ...(inside ?? [])];
  }

  /** The tokens that an edit replaces, null for the whole reply, and their text.
   * @param {EditableTurn} turn @param {EditPart} part */
  function replaced(turn, part) {
    const model = openModel();
    const range = model && partOf(part, turn, model.kinds, store.place.token);
    return { range, text: model && range ? model.text.slice(range.first, range.end).join('') : turn.response };
  }

  /** @param {Facts} facts @param {EditableTurn} turn */
  function editForm(facts, turn) {
    const { range, text } = replaced(turn, edit.part);
    const parts = PARTS.filter(([part]) => part === 'reply' || replaced(turn, part).range);
    return [turnChoice('Turn', facts), choice('Replace', edit, 'part', parts, '', () => { edit.text = null; }),
      quiet(range ? `Tokens ${range.first} to ${range.end - 1}.` : 'The whole reply of the turn.'),
      textBox('textarea', 'New text', edit, text),
      go('Edit and score', () => ask('whatif/edit', { text: edit.text ?? text, ...(range ?? { turn: branch.turn }) }))];
  }

  /** @param {Kind} kind @param {Facts} facts */
  function draw(kind, facts) {
    if (kind === 'replay') return replayForm(facts);
    if (kind === 'motion') {
      return [quiet(startingPoint(facts)), field('Scheme', select('Scheme', menu.schemes, walkThrough, store.place.motion || TUNED)),
        quiet('Keys: ← → previous and next step, Home and End, Space repeats the step.')];
    }
    const turn = turnOf(facts);
    if (!turn) return [quiet('This trajectory has no turns.')];
    return kind === 'branch' ? branchForm(facts, turn) : editForm(facts, turn);
  }

  /** Another trajectory is open: its turn and token are still to be chosen. */
  function forget() {
    fresh = true;
  }

  return { draw, send: () => send(), forget, submit };
}
