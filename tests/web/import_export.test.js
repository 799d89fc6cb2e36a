/* What the import and export drawer says of files and runs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileSize, fileText, importedText, verdict } from '../../app/actfocus_studio/panels/import_export/words.js';

test('a file is told in kB or MB, and its rollouts are counted', () => {
  assert.deepEqual([1, 1499, 999_400, 1e6, 12_340_000].map(fileSize), ['1 kB', '1 kB', '999 kB', '1.0 MB', '12.3 MB']);
  const file = { name: 'a.jsonl', format: 'chat', bytes: 5000, needs_tokenizer: false, tokenizers: [] };
  assert.equal(fileText({ ...file, rollouts: 1 }), 'chat · 1 line · 5 kB');
  assert.equal(fileText({ ...file, rollouts: 12_000 }), 'chat · 12,000 lines or rows · 5 kB');
});

test('an import says what it made', () => {
  const run = { run: 'r', format: 'chat', approximate: false, trajectories: 5, groups: 2, tokens: 1234, action_tokens: 20 };
  assert.equal(importedText(run), 'imported: 5 rollouts in 2 groups, 1,234 tokens, 20 action tokens.');
});

test('a check distinguishes errors, other findings and none', () => {
  const finding = { check: 'x', severity: /** @type {const} */ ('warning'), message: '', count: 1, of: 5, examples: [] };
  const report = { run: 'r', trajectories: 5, tokens: 1000, healthy: true, findings: [finding] };
  assert.equal(verdict(report), '5 rollouts, 1,000 tokens. No errors.');
  assert.equal(verdict({ ...report, findings: [] }), '5 rollouts, 1,000 tokens. No findings.');
  assert.match(verdict({ ...report, healthy: false }), /do not train on these rollouts/);
});
