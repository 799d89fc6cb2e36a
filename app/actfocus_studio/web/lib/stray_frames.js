/* An end to frames that are drawn for nothing.

   Gradio's display of the page's own loading goes on asking for the next animation frame after it was removed, so every page
   would draw 60 frames a second all the time. Such a loop is found by the numbers of the requests: while nobody touches the
   page, exactly one request comes between two of ours in every frame. */

const STEADY = 90; // frames in a row: longer than any animation of the page
const LOOKED_AT = 900; // frames in all; then whatever goes on is left alone
const TOUCHES = ['input', 'keydown', 'pointermove', 'pointerdown', 'wheel', 'scroll', 'touchmove'];

/** Watch the first seconds of the page, and cancel the one request of a loop that nobody sees. */
export function endStrayFrames() {
  let last = 0;
  let steady = 0;
  let looked = 0;
  const touched = () => { steady = 0; };

  function look() {
    const next = requestAnimationFrame(look);
    steady = next - last === 2 ? steady + 1 : 0;
    last = next;
    looked += 1;
    if (steady < STEADY && looked < LOOKED_AT) return;
    cancelAnimationFrame(next);
    if (steady >= STEADY) cancelAnimationFrame(next - 1);
    for (const name of TOUCHES) document.removeEventListener(name, touched, true);
  }

  for (const name of TOUCHES) document.addEventListener(name, touched, { capture: true, passive: true });
  look();
}
