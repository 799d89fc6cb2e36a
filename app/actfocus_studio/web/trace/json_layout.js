/* Where the lines of a JSON value break when it is laid out, and what of it folds. The text itself stays as it is.
   Pure: runs in a browser and in Node. */

/** @typedef {{ at: number, indent: number }} Break a new line before character `at`, `indent` levels deep */
/** @typedef {{ open: number, close: number, items: number }} Fold brackets at these characters, and what is between them */

const SHORT = 44; // characters of an object or list that stays on its line
const SHORT_ITEM = 14; // and of a list's items, on average, that share lines

/**
 * @param {string} text a valid JSON object or list
 * @returns {{ breaks: Break[], folds: Fold[] }} in the order of the text; of a text that has lines already no breaks but those
 *   of line breaks in its strings
 */
export function jsonLayout(text) {
  const { pairs, commas, escapes, lined } = scan(text);
  /** @type {Break[]} */
  const breaks = [];
  /** @type {Fold[]} */
  const folds = [];
  for (const [open, { close, items, depth, nested }] of pairs) {
    const length = close - open;
    if (length <= SHORT && depth > 0) continue;
    if (items === 0) continue;
    folds.push({ open, close, items });
    const flat = text[open] === '[' && !nested && length / items <= SHORT_ITEM;
    if (lined || flat) continue;
    breaks.push({ at: open + 1, indent: depth + 1 }, { at: close, indent: depth });
    for (const comma of commas.get(open) ?? []) breaks.push({ at: comma + 1, indent: depth + 1 });
  }
  for (const [at, depth] of escapes) breaks.push({ at, indent: depth + 1 });
  breaks.sort((a, b) => a.at - b.at);
  return { breaks, folds };
}

/** Brackets with their partners, commas and line breaks in strings, in one pass. @param {string} text */
function scan(text) {
  /** @type {Map<number, { close: number, items: number, depth: number, nested: boolean }>} */
  const pairs = new Map();
  /** @type {Map<number, number[]>} */
  const commas = new Map();
  /** @type {[at: number, depth: number][]} */
  const escapes = [];
  /** @type {number[]} */
  const stack = [];
  let lined = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    const top = stack[stack.length - 1];
    const around = pairs.get(top);
    if (around && !around.items && c !== '}' && c !== ']' && c.trim()) around.items = 1;
    if (c === '"') {
      for (i++; i < text.length && text[i] !== '"'; i++) {
        if (text[i] !== '\\') continue;
        i++;
        // A line break at the end of a string ends no line of its own.
        if (text[i] === 'n' && text[i + 1] !== '"') escapes.push([i + 1, stack.length]);
      }
    } else if (c === '{' || c === '[') {
      if (around) around.nested = true;
      pairs.set(i, { close: text.length, items: 0, depth: stack.length, nested: false });
      stack.push(i);
    } else if (c === '}' || c === ']') {
      stack.pop();
      if (around) around.close = i;
    } else if (c === ',' && around) {
      around.items += 1;
      const own = commas.get(top);
      if (own) own.push(i);
      else commas.set(top, [i]);
    } else if (c === '\n') lined = true;
  }
  return { pairs, commas, escapes, lined };
}
