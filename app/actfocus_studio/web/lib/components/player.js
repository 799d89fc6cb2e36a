/* Stepping through a sequence: a slider over its steps, and a button that plays them. */
import { el } from '../dom.js';

/**
 * @param {{ label: string, milliseconds: number, onStep: (k: number) => void, onPlaying: (playing: boolean) => void }} how
 *   `onStep`: a step was chosen or is due; `onPlaying`: playing began or ended
 */
export function player({ label, milliseconds, onStep, onPlaying }) {
  const slider = el('input', 'af-scrub', { type: 'range', min: '0', step: '1', 'aria-label': label, oninput: () => onStep(+slider.value) });
  let timer = 0;
  let last = 0;
  let now = 0;

  /** Set the number of steps, and stop. @param {number} count */
  function reset(count) {
    stop();
    last = count - 1;
    slider.max = String(last);
  }

  /** Show a step; at the last one playing ends. @param {number} k @param {string} text */
  function at(k, text) {
    now = k;
    slider.value = String(k);
    slider.setAttribute('aria-valuetext', text);
    if (k === last) stop();
  }

  function toggle() {
    if (timer) {
      stop();
      return;
    }
    if (now >= last) onStep(0);
    timer = window.setInterval(() => (slider.isConnected ? onStep(now + 1) : stop()), milliseconds);
    onPlaying(true);
  }

  function stop() {
    window.clearInterval(timer);
    timer = 0;
    onPlaying(false);
  }

  return { slider, reset, at, toggle, stop };
}
