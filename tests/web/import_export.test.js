/* What the import and export drawer says of files and runs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileSize, fileText, foundLines, importedText, rulesText, verdict } from '../../app/actfocus_studio/panels/import_export/words.js';

test('a file is told in kB or MB, and its rollouts are counted', () => {
  assert.deepEqual([1, 1499, 999_400, 1e6, 12_340_000].map(fileSize), ['1 kB', '1 kB', '999 kB', '1.0 MB', '12.3 MB']);
  const file = { name: 'a.jsonl', format: 'chat', bytes: 5000, needs_tokenizer: false, tokenizers: [] };
  assert.equal(fileText({ ...file, rollouts: 1 }), 'chat · 1 line · 5 kB');
  assert.equal(fileText({ ...file, rollouts: 12_000 }), 'chat · 12,000 lines or rows · 5 kB');
  assert.equal(fileText({ ...file, rollouts: null }), 'chat · 5 kB');
});

test('an import says what it made', () => {
  const run = { run: 'r', format: 'chat', approximate: false, trajectories: 5, groups: 2, tokens: 1234, action_tokens: 20,
    spans: 'boxed', action_tokens_by_rule: {}, ticket: 't' };
  assert.equal(importedText(run), 'imported: 5 rollouts in 2 groups, 1,234 tokens, 20 action tokens.');
});

test('a check distinguishes errors, other findings and none', () => {
  const finding = { check: 'x', severity: /** @type {const} */ ('warning'), message: '', count: 1, of: 5, examples: [] };
  const report = { run: 'r', trajectories: 5, tokens: 1000, healthy: true, findings: [finding] };
  assert.equal(verdict(report), '5 rollouts, 1,000 tokens. No errors.');
  assert.equal(verdict({ ...report, findings: [] }), '5 rollouts, 1,000 tokens. No findings.');
  assert.match(verdict({ ...report, healthy: false }), /do not train on these rollouts/);
});

test('a preview says what each rule finds, and what was read, guessed and left out', () => {
  const found = {
    title: 'chat', read: 64, is_whole: false, groups: 8, tokens: 12_000, approximate: true, rule: 'tool_call', rule_is_given: false,
    by_rule: { think_answer: 0, tool_call: 1002, react: 7 }, by_kind: { action: 1002, user: 10_998 },
    success: { success: 1, failure: 2, unknown: 61 },
    environment_text: {}, left_out: { 'unreadable lines': 2 }, unstated: { groups: 'derived: by prompt' }, rewards: '', rollouts: [],
  };
  assert.equal(rulesText(found), 'Span rule recognised: tool_call: 1,002 action tokens; react: 7; think_answer: 0');
  assert.match(rulesText({ ...found, rule_is_given: true }), /^Span rule: tool_call/);
  assert.equal(rulesText({ ...found, by_rule: {} }), 'The file states the kinds of its tokens.');
  const lines = foundLines(found);
  assert.equal(lines[0], 'The first 64 rollouts in 8 groups: 12,000 tokens (action: 1,002; user: 10,998).');
  assert.equal(lines[1], 'Outcome: success: 1; failure: 2; unknown: 61.');
  assert.match(lines[2], /^Approximate/);
  assert.deepEqual(lines.slice(3), ['Left out: unreadable lines: 2.', 'Not stated by the file: groups (derived: by prompt).']);
});
