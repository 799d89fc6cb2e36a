/* Where JSON breaks into lines, and what folds. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { jsonLayout } from '../../app/actfocus_studio/web/trace/json_layout.js';

/** The text with the breaks of its layout. @param {string} text */
function laidOut(text) {
  let out = '';
  let from = 0;
  for (const { at, indent } of jsonLayout(text).breaks) {
    out += `${text.slice(from, at)}\n${'  '.repeat(indent)}`;
    from = at;
  }
  return out + text.slice(from);
}

test('a call breaks into lines, and short values stay on one', () => {
  const text = '{"name":"search","arguments":{"customer":"mei","filters":{"since":"2026-01-01","status":["delivered","shipped"]}}}';
  assert.equal(laidOut(text), [
    '{',
    '  "name":"search",',
    '  "arguments":{',
    '    "customer":"mei",',
    '    "filters":{',
    '      "since":"2026-01-01",',
    '      "status":["delivered","shipped"]',
    '    }',
    '  }',
    '}'].join('\n'));
});

test('what is laid out is the same JSON', () => {
  for (const value of [{ a: [1, 2, { b: 'x, [y] {z} "q" \\ \n' }], c: {} , d: [] }, [[], [[1]], 'a'], [{ long: 'w'.repeat(99) }]]) {
    for (const text of [JSON.stringify(value), JSON.stringify(value, null, 2)]) {
      const breaks = jsonLayout(text).breaks.map(({ at }) => at);
      assert.deepEqual(breaks, [...breaks].sort((a, b) => a - b));
      // A break inside of a string stands behind an escaped line break and is no part of the value.
      const outside = laidOut(text).replace(/\\n\n */g, '\\n');
      assert.deepEqual(JSON.parse(outside), value);
    }
  }
});

test('text that has lines gets no others', () => {
  assert.deepEqual(jsonLayout(JSON.stringify({ a: { b: [1, 2, 3], c: 'a long text, longer than a line' } }, null, 2)).breaks, []);
});

test('line breaks in strings are lines, but for one at the end', () => {
  const text = JSON.stringify({ code: 'import math\nprint(1)\n' });
  assert.deepEqual(laidOut(text).split('\n').map((line) => line.trim()), ['{', '"code":"import math\\n', 'print(1)\\n"', '}']);
});

test('folds are the brackets of what has lines, with the number of items', () => {
  const text = '{"a":{"b":"a text that is long enough to have a line of its own"},"c":[1,2],"d":"{[,"}';
  const { folds } = jsonLayout(text);
  assert.deepEqual(folds.map(({ open, close, items }) => [text[open] + text[close], items]), [['{}', 3], ['{}', 1]]);
});

test('lists of short items share lines', () => {
  const text = `[${Array.from({ length: 60 }, (_, i) => i).join(',')}]`;
  const { breaks, folds } = jsonLayout(text);
  assert.deepEqual([breaks.length, folds.length], [0, 1]);
});

test('deep nesting is no recursion', () => {
  const text = '['.repeat(30000) + ']'.repeat(30000);
  assert.equal(jsonLayout(text).folds.length > 1000, true);
});
