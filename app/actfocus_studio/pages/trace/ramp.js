/* The colour scale of the Trace page's legend. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el, number } = AF.dom;
  const { store } = AF;

  /* Nodes of the scale that a colour mode has: none for kinds, a remark where the numbers are missing. */
  function ramp(m, mode) {
    const strip = (low, high, cls) => [el('span', 'af-ramp', el('span', 'af-ramp-end', low), el('span', `af-ramp-bar ${cls}`), el('span', 'af-ramp-end', high))];
    if (mode === 'kind') return [];
    if (mode === 'weight') return strip('0', `${m.weightTop.toFixed(2).replace(/0$/, '')}`, 'weight');
    if (mode === 'credit') {
      if (!m.advantage) return [el('span', 'af-badge', 'advantage 0: this trajectory contributes no gradient')];
      const top = m.weightTop * m.advantageMax;
      return strip(number(-top, 1), `+${number(top, 1)}`, 'credit');
    }
    const range = m.ranges[mode];
    return range ? strip(number(range[0], 1), number(range[1], 1), 'signal')
      : [el('span', 'af-badge', `${store.signalTitle(mode)} unavailable`), el('code', 'af-quiet', m.data.run.score)];
  }

  AF.ramp = ramp;
})(self);
