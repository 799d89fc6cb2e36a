/* Links to rollouts and tokens: real addresses, so that they can be opened in another window. */
import { store } from '../../web/lib/store.js';

const OWN = ['tab', 'trajectory', 'turn', 'token'];
/** The parameters that all links of a view share; null: the view has changed. @type {string | null} */
let shared = null;
store.onView(() => { shared = null; });

/** The address of a token or rollout on Trace, all else as it is.
 * @param {{ trajectory: string, turn?: number, token?: number | null }} where */
export function addressOf({ trajectory, turn = 0, token = null }) {
  if (shared === null) {
    const { searchParams } = new URL(store.address());
    for (const name of OWN) searchParams.delete(name);
    shared = searchParams.toString();
  }
  return `?${shared}&tab=trace&trajectory=${encodeURIComponent(trajectory)}&turn=${turn}${token === null ? '' : `&token=${token}`}`;
}

/** Whether a click on a link opens it in another window, which is the browser's work. @param {Event} event */
export const goesElsewhere = (event) => event instanceof MouseEvent && (event.ctrlKey || event.metaKey || event.shiftKey)
  && event.target instanceof Element && event.target.closest('a') !== null;
