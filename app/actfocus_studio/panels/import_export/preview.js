/* The preview of an import: what was found in the first rollouts, and their tokens coloured by kind. */
import { el } from '../../web/lib/dom.js';
import { count, counted, known, number, outcome } from '../../web/lib/format.js';
import { kindKeys } from '../../web/trace/tokens.js';
import { foundLines, rulesText } from './words.js';

/** @typedef {import('../../web/generated/types').ImportPreview} ImportPreview */
/** @typedef {import('../../web/generated/types').PreviewRollout} PreviewRollout */

/** @param {ImportPreview} found */
export function previewNodes(found) {
  return [
    el('p', 'af-preview-rules', el('b', '', rulesText(found))),
    el('ul', 'af-preview-facts', ...foundLines(found).map((line) => el('li', '', line))),
    el('p', 'af-preview-legend', kindKeys(found.rollouts.flatMap(({ kinds }) => kinds))),
    ...found.rollouts.map(rolloutNode),
  ];
}

/** @param {PreviewRollout} rollout @param {number} k */
function rolloutNode(rollout, k) {
  const { id, turns, tokens, success, return: value, texts } = rollout;
  const cut = tokens - texts.length;
  return el('details', 'af-preview-rollout', { open: k === 0 },
    el('summary', '', el('b', '', id), ` ${counted(turns, 'turn')}, ${counted(tokens, 'token')}, ${outcome(success)}, return ${known(value) ? number(value, 2) : 'unknown'}`),
    el('div', 'af-preview-text', ...spans(rollout), cut > 0 && el('span', 'af-quiet', ` … and ${count(cut)} tokens more`)));
}

/** Neighbours of one kind in one element: a preview shows kinds, not tokens. @param {PreviewRollout} rollout */
function spans({ texts, kinds }) {
  const nodes = [];
  for (let first = 0, end = 0; first < texts.length; first = end) {
    while (end < texts.length && kinds[end] === kinds[first]) end++;
    nodes.push(el('span', `af-preview-kind k${kinds[first]}`, texts.slice(first, end).join('')));
  }
  return nodes;
}
