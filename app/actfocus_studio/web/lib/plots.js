/* What the charts of several pages share: plotly's file, the colours of the theme, drawing when in sight. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el } = AF.dom;
  const FILE = 'studio/plotly.min.js';

  /* Run `then` once plotly is loaded; the first call loads it. */
  function ready(then) {
    if (root.Plotly) {
      then();
      return;
    }
    let script = document.querySelector(`script[src="${FILE}"]`);
    if (!script) {
      script = el('script', '', { src: FILE, async: true });
      document.head.append(script);
    }
    script.addEventListener('load', then);
  }

  /* The colours of the page as it is now. */
  function theme() {
    const style = getComputedStyle(document.body);
    const dark = document.body.classList.contains('dark');
    const of = (name) => style.getPropertyValue(`--af-${name}`).trim();
    return { text: of('text'), muted: of('muted'), edge: of('line'), surface: of('surface'), accent: of('accent'), dark,
      font: style.fontFamily, kinds: { reasoning: of('reasoning'), action: of('action'), format: of('format') } };
  }

  /* A layout in these colours; `x` and `y` go into the axes. */
  function layout(skeleton, { x = {}, y = {}, ...more }) {
    const t = theme();
    const base = skeleton.layout;
    const axis = (own, name) => {
      const { text, ...rest } = own;
      return { ...base[name], gridcolor: t.edge, linecolor: t.edge, tickcolor: t.edge, ...rest,
        ...(text ? { title: { text, standoff: 4, font: { size: 11.5 } } } : {}) };
    };
    return { ...base, font: { ...base.font, color: t.muted, family: t.font }, xaxis: axis(x, 'xaxis'), yaxis: axis(y, 'yaxis'),
      hoverlabel: { bgcolor: t.surface, bordercolor: t.edge, font: { color: t.text, size: 12 } }, ...more };
  }

  /* Draw into a visible node; returns false if it is not visible. */
  function draw(node, traces, given) {
    if (!node.isConnected || !node.offsetWidth) return false;
    root.Plotly.react(node, traces, given, { displayModeBar: false, responsive: true });
    return true;
  }

  /* Escape text for plotly, which interprets some tags. */
  const plain = (text) => text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');

  AF.plots = { ready, theme, layout, draw, plain };
})(self);
