/* Small helpers. Text enters the page by textContent alone; nothing here parses HTML. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;

  const MARKUP = ['innerHTML', 'outerHTML', 'srcdoc'];

  /* An element with a class, properties and children; strings become text. An object out of a file, where a string was
     meant, is taken for properties: it sets no markup. */
  function el(tag, cls, ...children) {
    const node = document.createElement(tag);
    if (cls) node.className = cls;
    for (const child of children) {
      if (child === null || child === undefined) continue;
      if (typeof child === 'object' && !(child instanceof Node)) {
        for (const [name, value] of Object.entries(child)) if (!MARKUP.includes(name)) node[name] = value;
      } else node.append(child);
    }
    return node;
  }

  /* A button with an accessible label. */
  function button(cls, sign, label, onclick) {
    const node = el('button', cls, { type: 'button', title: label, onclick }, sign);
    node.setAttribute('aria-label', label);
    return node;
  }

  /* Format a number with `digits` decimals and a minus sign; "unavailable" if it is not finite. */
  function number(value, digits = 3) {
    if (value === null || value === undefined || !Number.isFinite(value)) return 'unavailable';
    const text = value.toFixed(digits);
    return (Number(text) === 0 ? text.replace('-', '') : text.replace('-', '−'));
  }

  function percent(share) {
    if (!Number.isFinite(share)) return 'unavailable';
    const value = share * 100;
    return `${value !== 0 && value < 1 ? value.toFixed(1) : Math.round(value)} %`;
  }

  /* How a rollout ended: null where nobody knows. */
  function outcome(success) {
    if (success === null || success === undefined) return 'success unknown';
    return success ? 'success' : 'failure';
  }

  /* At most one call per animation frame. */
  function perFrame(fn) {
    let waiting = false;
    return () => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => { waiting = false; fn(); });
    };
  }

  /* Make the white space of a single token visible. */
  function visible(text) {
    return text.replace(/ /g, '·').replace(/\n/g, '⏎').replace(/\t/g, '⇥').replace(/\r/g, '␍');
  }

  const stillness = root.matchMedia ? root.matchMedia('(prefers-reduced-motion: reduce)') : { matches: false };
  const smooth = () => (stillness.matches ? 'auto' : 'smooth');

  const SVG = 'http://www.w3.org/2000/svg';
  /* An icon from path data written in this source, never from data. */
  function icon(path) {
    const svg = document.createElementNS(SVG, 'svg');
    svg.setAttribute('viewBox', '0 0 24 24');
    svg.setAttribute('class', 'af-icon');
    svg.setAttribute('aria-hidden', 'true');
    const shape = document.createElementNS(SVG, 'path');
    shape.setAttribute('d', path);
    svg.append(shape);
    return svg;
  }

  /* A progress bar with a button to cancel. Updates reuse the same elements, so neither a click nor the keyboard focus
     is lost. */
  function progress(cancel) {
    const text = el('p', '');
    const bar = el('progress', 'af-progress');
    bar.setAttribute('aria-label', 'progress');
    const node = el('div', '', text, bar, el('button', 'af-link', { type: 'button', onclick: cancel }, 'Cancel'));
    function show(message, done, total) {
      if (text.textContent !== message) text.textContent = message;
      bar.max = total || 1;
      if (total) bar.value = done;
      else bar.removeAttribute('value');
    }
    return { node, show };
  }

  /* Format a duration in seconds. */
  const duration = (s) => (s < 90 ? `${Math.max(1, Math.round(s))} s` : `${Math.round(s / 60)} minutes`);

  AF.dom = { duration, progress, el, button, number, percent, outcome, perFrame, visible, smooth, icon };
})(self);
