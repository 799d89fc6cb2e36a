/* Stored answers: what was asked, in words, and which of them shows what is wanted. Pure: runs in a browser and in Node. */

/** @typedef {import('../../web/generated/types').StoredAnswers['answers'][number]} StoredAnswer */
/** @typedef {import('../../web/generated/types').WhatIfFacts} Facts */

/** @param {StoredAnswer} answer @param {(scheme: string) => string} title */
export function summary({ kind, request }, title) {
  if (kind === 'replay') {
    const more = (request.match === 'norm' ? ', equal gradient norm' : '') + (request.evaluation ? ', evaluated' : '');
    return `step ${request.step}, ${request.schemes.map(title).join(', ')}${more}`;
  }
  const where = `${request.trajectory}, turn ${request.turn + 1}`;
  if (kind === 'edit') return `${where}: “${request.text}”`;
  return `${where}, ${request.rollouts} samples${request.action ? `, ${request.action}` : ''}`;
}

/** The step whose update the walkthrough shows. @param {Facts} facts */
export const walkedStep = ({ trained, step, steps }) => (trained ? step : steps[0]);

/** A stored replay of the trajectory's update under a scheme.
 * @param {StoredAnswer[]} answers @param {Facts} facts @param {string} scheme */
export const replayOf = (answers, facts, scheme) => answers.find(({ kind, request }) => kind === 'replay'
  && request.step === walkedStep(facts) && (!request.groups || request.groups.includes(facts.group)) && request.schemes.includes(scheme));

/** The smallest choice that is at least n, else the largest. @template {number} N @param {readonly N[]} choices @param {number} n */
export const atLeast = (choices, n) => choices.find((choice) => choice >= n) ?? choices[choices.length - 1];
