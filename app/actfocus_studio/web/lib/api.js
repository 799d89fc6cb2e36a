/* Requests to the studio's own routes: `POST studio/api/PAGE/OPERATION`, JSON in and out. */

/** @typedef {import('../generated/types').Api} Api */
/** @typedef {keyof Api} Operation `PAGE/OPERATION` */

const PATIENCE_MS = 60000;

/** An error that the studio explains in one line. */
export class StudioError extends Error {}

/**
 * The answer of an operation. Throws a StudioError where the studio refuses or does not answer.
 *
 * @template {Operation} Name
 * @param {Name} operation
 * @param {Api[Name]['request']} request
 * @returns {Promise<Api[Name]['response']>}
 */
export async function post(operation, request) {
  let response;
  try {
    response = await fetch(`studio/api/${operation}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(request),
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
  } catch {
    throw new StudioError('the studio did not answer; is it still running?');
  }
  const answer = await response.json().catch(() => ({ error: `the studio answered ${response.status}; reload the page` }));
  if (!response.ok) throw new StudioError(answer.error);
  return answer;
}

/** The line of an error that was caught. @param {unknown} error */
export function lineOf(error) {
  if (error instanceof StudioError) return error.message;
  throw error;
}

/**
 * The requests of a page, one at a time and in order.
 *
 * @param {(text: string) => void} onError called for every answer: '' if there was no error
 */
export function requestQueue(onError) {
  /** @type {Promise<void>} */
  let last = Promise.resolve();

  /**
   * `then` is called unless the answer is an error.
   *
   * @template {Operation} Name
   * @param {Name} operation
   * @param {Api[Name]['request']} request
   * @param {(answer: Api[Name]['response']) => void} then
   * @param {() => void} [otherwise]
   */
  function ask(operation, request, then, otherwise = () => {}) {
    last = last.then(async () => {
      let answer;
      try {
        answer = await post(operation, request);
      } catch (error) {
        onError(lineOf(error));
        otherwise();
        return;
      }
      onError('');
      then(answer);
    });
  }

  return { ask };
}
