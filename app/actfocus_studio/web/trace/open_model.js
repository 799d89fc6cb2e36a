/* The model of the trajectory that is open on the Trace page, for what else works on its tokens. */

/** @typedef {import('../../pages/trace/model.js').TraceModel} TraceModel */

/** @type {TraceModel | null} */
let open = null;

/** Null before the first trajectory is open. */
export const openModel = () => open;

/** @param {TraceModel} model */
export function setOpenModel(model) {
  open = model;
}
