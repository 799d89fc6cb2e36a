/* What the tokens can be coloured by. */

/** @typedef {import('../../web/lib/store.js').Place['color']} Colour */

/** @type {[name: Colour, title: string, help: string][]} */
export const COLOURS = [
  ['weight', 'Weight', 'weight of the token in the loss'],
  ['kind', 'Kind', 'reasoning, action, format, or text that was only read'],
  ['energy', 'Energy', '−log Σ exp of the reference’s logits, in nats: high where the reference is uncertain'],
  ['entropy', 'Entropy', 'entropy of the reference’s next-token distribution, in nats'],
  ['nll', 'Surprise', '−log-probability under the policy, in nats: high for an unlikely token'],
  ['credit', 'Credit', 'weight × advantage: blue tokens become more likely, brown ones less likely'],
];
