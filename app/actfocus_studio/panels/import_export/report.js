/* What a check of a run found, with links to examples. */
import { el, linkButton, quiet } from '../../web/lib/dom.js';
import { count } from '../../web/lib/format.js';
import { verdict } from './words.js';

/** @typedef {import('../../web/generated/types').CheckReport} CheckReport */

const SEVERITY = { error: 'error', warning: 'warning', info: 'note' };

/**
 * @param {CheckReport} report
 * @param {(run: string, trajectory: string) => void} onOpen
 */
export function reportNodes(report, onOpen) {
  /** @param {CheckReport['findings'][number]} found */
  const item = ({ check, severity, message, count: n, of, examples }) => el('li', `af-finding ${severity}`,
    el('p', '', el('span', `af-severity ${severity}`, SEVERITY[severity]), el('b', '', check), ` ${count(n)} of ${count(of)}`),
    quiet(`${message}.`),
    examples.length > 0 && el('p', 'af-examples', ...examples.map(({ name, trajectory }) =>
      linkButton(name, () => onOpen(report.run, trajectory)))));
  return [
    el('p', 'af-report-head', el('b', '', report.run), `: ${verdict(report)}`),
    el('ul', '', ...report.findings.map(item)),
  ];
}
