/* What the drawer says of files and runs. Pure: runs in a browser and in Node. */
import { count, counted } from '../../web/lib/format.js';

/** @param {number} bytes */
export const fileSize = (bytes) => (bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

/** What an uploaded file is. @param {import('../../web/generated/types').UploadedFile} file */
export const fileText = ({ format, rollouts, bytes }) =>
  `${format} · ${counted(rollouts, 'line', 'lines or rows')} · ${fileSize(bytes)}`;

/** What an import made of it. @param {import('../../web/generated/types').ImportedRun} run */
export const importedText = (run) => `imported: ${count(run.trajectories)} rollouts in ${count(run.groups)} groups, `
  + `${count(run.tokens)} tokens, ${count(run.action_tokens)} action tokens.`;

/** What a check found, in a sentence or two. @param {import('../../web/generated/types').CheckReport} report */
export function verdict({ trajectories, tokens, findings, healthy }) {
  const result = !findings.length ? 'No findings.' : healthy ? 'No errors.' : 'Errors: do not train on these rollouts.';
  return `${count(trajectories)} rollouts, ${count(tokens)} tokens. ${result}`;
}
