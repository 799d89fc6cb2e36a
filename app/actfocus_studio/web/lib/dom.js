/* Small helpers for the page's elements. Text enters the page by textContent alone; nothing here parses HTML. */

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @typedef {Partial<Omit<HTMLElementTagNameMap[Tag], 'style' | 'dataset' | 'innerHTML' | 'outerHTML' | 'srcdoc'>>
 *   & { [name: `${'aria' | 'data'}-${string}`]: string | number | boolean }} Properties
 */
/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @typedef {Node | string | number | false | null | undefined | Properties<Tag>} Part
 */

const MARKUP = ['innerHTML', 'outerHTML', 'srcdoc'];

/**
 * An element with a class, properties, attributes (names with a hyphen) and children; strings become text, and what is
 * null, undefined or false is left out. An object out of a file, where a string was meant, is taken for properties: it
 * sets no markup.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {string} cls
 * @param {...Part<Tag>} parts
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function el(tag, cls, ...parts) {
  const node = document.createElement(tag);
  if (cls) node.className = cls;
  for (const part of parts) {
    if (part === null || part === undefined || part === false) continue;
    if (part instanceof Node) node.append(part);
    else if (typeof part === 'object') assign(node, part);
    else node.append(String(part));
  }
  return node;
}

/** @param {HTMLElement} node @param {object} properties */
function assign(node, properties) {
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes('-')) node.setAttribute(name, String(value));
    else if (!MARKUP.includes(name)) Reflect.set(node, name, value);
  }
}

/**
 * A button with an accessible label.
 *
 * @param {string} cls
 * @param {Node | string} sign
 * @param {string} label
 * @param {() => void} onclick
 */
export function button(cls, sign, label, onclick) {
  return el('button', cls, { type: 'button', title: label, 'aria-label': label, onclick: () => onclick() }, sign);
}

/** An ordinary button with a text. `more`: properties, and further children.
 * @param {string | Node} text @param {() => void} onclick @param {string} [cls] @param {...Part<'button'>} more */
export function textButton(text, onclick, cls = 'af-button', ...more) {
  return el('button', cls, { type: 'button', onclick: () => onclick() }, text, ...more);
}

/** Whether a key was pressed with another one, as for a command of the browser. @param {KeyboardEvent} event */
export const isCommand = ({ ctrlKey, metaKey, altKey }) => ctrlKey || metaKey || altKey;

/** A button that looks like a link. @param {string} text @param {() => void} onclick */
export const linkButton = (text, onclick) => textButton(text, onclick, 'af-link');

/** A paragraph in small print. @param {...(Node | string | false)} parts */
export const quiet = (...parts) => el('p', 'af-quiet', ...parts);

/** Text that screen readers announce when it changes, and nobody sees. */
export const announcer = () => el('div', 'af-spoken', { 'aria-live': 'polite' });

/** A link that downloads a text. @param {string} text @param {string} name @param {string} [title] */
export function downloadLink(text, name, title = `Download ${name}`) {
  const href = URL.createObjectURL(new Blob([text], { type: 'application/octet-stream' }));
  return el('a', 'af-link', { href, download: name }, title);
}

/** Set a property only where it changes: writing equal text would cost a layout. @param {Node} node @param {string} text */
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** At most one call per animation frame. @param {() => void} work */
export function perFrame(work) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      work();
    });
  };
}

/**
 * Call `look` a few frames in a row: cards out of sight get their true height only once they are visible.
 *
 * @param {number} frames
 * @param {() => void} look
 */
export function settle(frames, look) {
  look();
  if (frames) requestAnimationFrame(() => settle(frames - 1, look));
}

/**
 * Call `listener` whenever `node` comes into sight, as of a tab that is selected, and when its width changes while it is.
 *
 * @param {Element} node
 * @param {() => void} listener
 * @returns {() => boolean} whether it is in sight
 */
export function onSight(node, listener) {
  let width = 0;
  new ResizeObserver((entries) => {
    const now = entries[entries.length - 1].contentRect.width;
    if (now === width) return;
    width = now;
    if (width) listener();
  }).observe(node);
  return () => width > 0;
}

const stillness = window.matchMedia('(prefers-reduced-motion: reduce)');
/** Whether the person prefers no motion. */
export const isStill = () => stillness.matches;
/** Scroll a node into sight. @param {HTMLElement} node */
export const reveal = (node) => node.scrollIntoView({ behavior: isStill() ? 'auto' : 'smooth', block: 'nearest' });

const SVG = 'http://www.w3.org/2000/svg';
/** An icon from path data written in this source, never from data. @param {string} path */
export function icon(path) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('class', 'af-icon');
  svg.setAttribute('aria-hidden', 'true');
  const shape = document.createElementNS(SVG, 'path');
  shape.setAttribute('d', path);
  svg.append(shape);
  return svg;
}
