/* What the Compare page says of schemes and signals. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { baseOf, factsOf, percent, reason, valuesFor } from '../../app/actfocus_studio/pages/compare/facts.js';

const scheme = {
  title: 'VinePPO', description: 'd', source: 's', read: /** @type {const} */ ('paper'), cost: /** @type {const} */ ('C3'), unit: 'turn',
  evidence: /** @type {const} */ ('restored state'), needs: ['policy_v'],
};
/** @type {import('../../app/actfocus_studio/pages/compare/facts.js').Menu} */
const menu = {
  schemes: { vine_ppo: scheme }, controls: { shuffle: 'weights in another order' }, how: { policy_v: '`actfocus oracle` adds it' },
  columns: {}, heads: {}, from_reference: [], options: { optimal: '', policy: '', answers: '' },
  values: { policy_v: 'policy', policy_q: 'policy', oracle_v: 'optimal' },
};

test('a null control is told by its scheme', () => {
  assert.deepEqual(['vine_ppo', 'shuffle:vine_ppo'].map(baseOf), ['vine_ppo', 'vine_ppo']);
  assert.deepEqual(factsOf(menu, 'vine_ppo'), { ...scheme, control: '' });
  const { title, description, source, read, evidence, control, cost } = factsOf(menu, 'shuffle:vine_ppo');
  assert.deepEqual([title, description, source, read, evidence, control, cost],
    ['VinePPO, shuffle', 'weights in another order', 'null control of VinePPO', 'ours', 'proxy', 'shuffle', 'C3']);
});

test('what is missing is told with its remedy', () => {
  assert.equal(reason(menu, ['policy_v', 'x']), 'unavailable: no policy_v, x; actfocus oracle adds it');
  assert.equal(valuesFor(menu, ['policy_v', 'policy_q']), 'policy');
  // One command does not compute both, and none computes what is no value.
  assert.equal(valuesFor(menu, ['policy_v', 'oracle_v']), null);
  assert.equal(valuesFor(menu, ['energy']), null);
});

test('shares', () => assert.deepEqual([0.1234, 0, 1, null].map(percent), ['12.3', '0.0', '100.0', '–']));
