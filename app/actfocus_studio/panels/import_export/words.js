/* What the drawer says of files and runs. Pure: runs in a browser and in Node. */
import { count, counted } from '../../web/lib/format.js';

/** @param {number} bytes */
export const fileSize = (bytes) => (bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

/** What an uploaded file is. @param {import('../../web/generated/types').UploadedFile} file */
export const fileText = ({ format, rollouts, bytes }) =>
  [format, rollouts !== null && counted(rollouts, 'line', 'lines or rows'), fileSize(bytes)].filter(Boolean).join(' · ');

/** @type {Record<string, string>} */
const RULE_HELP = {
  auto: 'the rule that fits the replies', think_answer: 'think and answer tags', tool_call: 'tool calls', boxed: '\\boxed{…}',
  react: 'ReAct, “Action:”', 'pattern:': 'a regular expression',
};

/** @param {string} name of a span rule, or `pattern:` */
export const ruleTitle = (name) => `${name.replace(/:$/, '')}: ${RULE_HELP[name] ?? ''}`;

/** @param {Record<string, number>} found */
const counts = (found) => Object.entries(found).map(([name, n]) => `${name}: ${count(n)}`).join('; ');

/** The span rule of an import, and what each rule finds: the chosen one first.
 * @param {Pick<import('../../web/generated/types').ImportPreview, 'rule' | 'by_rule' | 'rule_is_given'>} found */
export function rulesText({ rule, by_rule: found, rule_is_given: isGiven }) {
  const others = Object.keys(found).filter((name) => name !== rule).sort((a, b) => found[b] - found[a]);
  const names = rule in found ? [rule, ...others] : others;
  if (!names.length) return 'The file states the kinds of its tokens.';
  return `${isGiven ? 'Span rule' : 'Span rule recognised'}: ${names.map((name, k) =>
    `${name}: ${count(found[name])}${k ? '' : ' action tokens'}`).join('; ')}`;
}

/** What an import would say of the first rollouts, line by line.
 * @returns {string[]} @param {import('../../web/generated/types').ImportPreview} found */
export function foundLines(found) {
  const whole = found.is_whole ? 'All' : 'The first';
  const { environment_text: environment, left_out: left, unstated } = found;
  /** @type {(string | false | 0)[]} */
  const lines = [
    `${whole} ${counted(found.read, 'rollout')} in ${counted(found.groups, 'group')}: ${counted(found.tokens, 'token')} (${counts(found.by_kind)}).`,
    `Outcome: ${counts(found.success)}.`,
    found.approximate && 'Approximate: the file has text, which was tokenised again; ids and borders may differ from those that were sampled.',
    found.rewards && `Reward columns: ${found.rewards}.`,
    Object.keys(environment).length && `Text of the environment inside replies: ${counts(environment)}.`,
    Object.keys(left).length && `Left out: ${counts(left)}.`,
    Object.keys(unstated).length && `Not stated by the file: ${Object.entries(unstated).map(([name, how]) => `${name} (${how})`).join('; ')}.`,
  ];
  return lines.flatMap((line) => line || []);
}

/** What an import made of it. @param {import('../../web/generated/types').ImportedRun} run */
export const importedText = (run) => `imported: ${count(run.trajectories)} rollouts in ${count(run.groups)} groups, `
  + `${count(run.tokens)} tokens, ${count(run.action_tokens)} action tokens.`;

/** What a check found, in a sentence or two. @param {import('../../web/generated/types').CheckReport} report */
export function verdict({ trajectories, tokens, findings, healthy }) {
  const result = !findings.length ? 'No findings.' : healthy ? 'No errors.' : 'Errors: do not train on these rollouts.';
  return `${count(trajectories)} rollouts, ${count(tokens)} tokens. ${result}`;
}
