/* The requests of the page: one at a time, always for the newest view. */
import { lineOf, post } from '../../web/lib/api.js';
import { store } from '../../web/lib/store.js';

/** @typedef {import('../../web/lib/api.js').Api} Api */
/** @typedef {'compare/panes' | 'compare/credit' | 'compare/places' | 'compare/schemes' | 'compare/truth'} Operation of a part */
/** `key`: the values that the answer depends on.
 * @typedef {{ name: string, work: () => Promise<void>, key: () => unknown }} Part */

/**
 * @template {Operation} Name
 * @param {Name} name
 * @param {() => unknown[]} key
 * @param {(answer: Api[Name]['response']) => void} show
 * @param {HTMLElement} [region] is busy while it is computed
 * @returns {Part}
 */
export function part(name, key, show, region) {
  async function work() {
    region?.setAttribute('aria-busy', 'true');
    try {
      show(await post(name, { view: store.view() }));
    } finally {
      region?.removeAttribute('aria-busy');
    }
  }
  return { name, work, key: () => JSON.stringify(key()) };
}

/**
 * @param {Part[]} parts the first one that is out of date is requested
 * @param {() => boolean} isReady
 * @param {(lines: string[]) => void} onErrors the line of every part that failed
 */
export function follower(parts, isReady, onErrors) {
  /** @type {Map<string, unknown>} */
  const done = new Map();
  /** @type {Map<string, string>} */
  const errors = new Map();
  /** @type {Part[]} */
  const actions = [];
  let busy = false;

  async function sync() {
    if (busy || !isReady()) return;
    const next = actions.shift() ?? parts.find(({ name, key }) => key() !== done.get(name));
    if (!next) return;
    busy = true;
    done.set(next.name, next.key());
    try {
      errors.set(next.name, await next.work().then(() => '', lineOf));
    } finally {
      busy = false;
    }
    onErrors([...errors.values()]);
    sync();
  }

  /** Do something that a person asked for, before anything else. @param {string} name @param {() => Promise<void>} work */
  function act(name, work) {
    actions.push({ name, work, key: () => null });
    sync();
  }

  /** Take a part as up to date: the page itself changed what it depends on. @param {Operation} name */
  const settle = (name) => done.set(name, parts.find((one) => one.name === name)?.key());

  return { sync, act, settle, reset: () => done.clear() };
}
