/* The text: turns as cards, tokens as spans with their real white space, painted by weight. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el, perFrame } = AF.dom;
  const { KIND } = AF.weights;

  const NAMES = ['system', 'user', 'template', 'reasoning', 'action', 'format', 'malformed'];
  const LETTERS = ['S', 'U', '', 'R', 'A', 'F', 'M'];
  const MALFORMED = 6;

  /* Colour scales: an RGB and the opacity at full scale; LEVELS strings each, made once. */
  const LEVELS = 256;
  const scale = (rgb, top) => Array.from({ length: LEVELS }, (_, i) =>
    (i ? `rgba(${rgb},${(top * i / (LEVELS - 1)).toFixed(4)})` : ''));
  const SCALES = [
    scale('0,114,178', 0.75), // weight
    scale('0,158,115', 0.65), // signals
    scale('33,102,172', 0.75), // credit, towards more
    scale('179,88,6', 0.75), // credit, towards less
  ];
  const KIND_RGB = ['127,127,127', '86,180,233', '', '230,159,0', '0,114,178', '204,121,167', '213,94,0'];
  const KIND_FILL = KIND_RGB.map((rgb) => (rgb ? `rgba(${rgb},0.42)` : ''));

  /* Kinds as shown: format tokens of a turn without a valid answer are malformed. */
  const shownKinds = (kinds, turn, turns) => kinds.map((kind, i) =>
    (kind === KIND.FORMAT && turn[i] >= 0 && turns[turn[i]] && turns[turn[i]].malformed ? MALFORMED : kind));

  /* Legend of the kinds that occur, with underline and letter as on the tokens. */
  function kindKeys(shown) {
    const seen = new Set(shown);
    return el('span', 'af-keys-row', ...[3, 4, 5, 6, 1, 0, 2].filter((k) => seen.has(k)).map((k) => {
      const node = el('span', `af-key k${k}`, NAMES[k]);
      if (LETTERS[k]) node.dataset.letter = LETTERS[k];
      return node;
    }));
  }

  /* Build the cards of a trajectory into `box`; returns the view that the other functions take. */
  function build(box, model, onPin, onHover) {
    const view = { box, model, spans: new Array(model.n), last: new Int32Array(model.n).fill(-1), cards: [], pinned: null, hot: null, seen: new Set() };
    view.rest = afterFrame(view);
    const parts = document.createDocumentFragment();
    for (let i = 0; i < model.n;) {
      let end = i;
      while (end < model.n && model.turn[end] === model.turn[i]) end++;
      parts.append(Object.assign(card(view, i, end), { first: i, end }));
      i = end;
    }
    box.replaceChildren(parts);
    if (box.sight) box.sight.disconnect();
    box.sight = watchSight(view);
    const rover = model.kinds.findIndex((kind) => kind >= KIND.REASONING);
    rove(view, Math.max(rover, 0));
    box.onclick = (event) => { const i = indexOf(event.target); if (i !== null) onPin(i); };
    box.onmouseover = (event) => onHover(indexOf(event.target), event.target);
    box.onmouseleave = () => onHover(null);
    return view;
  }

  function indexOf(node) {
    const span = node.closest && node.closest('.t');
    return span ? +span.dataset.i : null;
  }

  function card(view, start, end) {
    const k = view.model.turn[start];
    const body = blocks(view, start, end);
    if (k < 0) {
      return el('details', 'af-turn af-prologue',
        el('summary', '', 'System prompt', el('span', 'af-quiet', ` ${end - start} tokens`)), ...body);
    }
    const turn = view.model.turns[k];
    const node = el('section', 'af-turn', heading(k, turn), ...body);
    node.setAttribute('role', 'group');
    node.setAttribute('aria-label', `Turn ${k + 1}`);
    if (turn && turn.malformed) node.classList.add('malformed');
    view.cards[k] = node;
    return node;
  }

  function heading(k, turn) {
    const head = el('header', 'af-turn-head', el('b', '', `Turn ${k + 1}`));
    if (!turn) return head;
    head.append(turn.actions.length ? el('span', '', ...AF.label.actions(turn.actions, turn.oracle)) : el('span', 'af-quiet', 'no action'));
    if (turn.malformed) head.append(el('span', 'af-flag', 'malformed answer'));
    else if (!turn.valid) head.append(el('span', 'af-flag', 'illegal action'));
    head.append(...AF.label.rest(turn.oracle), el('span', 'af-gain', gain(turn)));
    return head;
  }

  const signed = (x) => (x > 0 ? `+${x}` : `${x}`.replace('-', '−'));
  function gain(turn) {
    if (turn.reward === null) return 'reward unavailable';
    return `reward ${signed(+turn.reward.toFixed(3))}` + (turn.penalty ? `, penalty ${signed(+turn.penalty.toFixed(3))}` : '');
  }

  /* Observations and sampled text, each in a block of its own. */
  function blocks(view, start, end) {
    const out = [];
    for (let i = start; i < end;) {
      const written = view.model.kinds[i] >= KIND.REASONING;
      const block = el('div', written ? 'af-block policy' : 'af-block read');
      for (; i < end && (view.model.kinds[i] >= KIND.REASONING) === written; i++) block.append(token(view, i, block));
      out.push(block);
    }
    return out;
  }

  function token(view, i, block) {
    const kind = view.model.shown[i];
    const span = document.createElement('span');
    const first = !block.hasChildNodes() || view.model.shown[i - 1] !== kind;
    span.className = first ? `t k${kind} seg` : `t k${kind}`;
    span.dataset.i = i;
    if (first && LETTERS[kind]) span.dataset.letter = LETTERS[kind];
    const text = view.model.text[i];
    if (text.indexOf('\n') < 0) span.textContent = text;
    else write(span, text);
    if (!text) span.classList.add('void');
    view.spans[i] = span;
    return span;
  }

  /* The text with an empty mark before every newline; the mark is drawn by the style sheet, so
     that what is selected and copied is the text itself. */
  function write(span, text) {
    text.split('\n').forEach((line, k) => {
      if (k) span.append(el('i', 'nl'), '\n');
      if (line) span.append(line);
    });
  }

  /* Paint every token; only those whose colour changed are touched. The cards in sight come
     first and the others right after their frame, so that a slider's frame is not late. */
  function paint(view, mode) {
    if (!view.seen.size) return paintRange(view, mode, 0, view.spans.length);
    for (const card of view.seen) paintRange(view, mode, card.first, card.end);
    view.mode = mode;
    view.rest();
  }

  /* Paints what `paint` put off, in a task after the next frame. */
  const afterFrame = (view) => perFrame(() => setTimeout(() => paintRange(view, view.mode, 0, view.spans.length), 0));

  function paintRange({ spans, last, model }, mode, start, end) {
    for (let i = start; i < end; i++) {
      const code = level(model, mode, i);
      if (code === last[i]) continue;
      last[i] = code;
      const span = spans[i];
      span.style.backgroundColor = code < 0 ? '' : mode === 'kind' ? KIND_FILL[code] : SCALES[code >> 8][code & 255];
      if (code === -2) span.classList.add('na');
      else if (span.classList.contains('na')) span.classList.remove('na');
    }
  }

  /* Keep `view.seen`: the cards in sight. */
  function watchSight(view) {
    const observer = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) view.seen[isIntersecting ? 'add' : 'delete'](target);
    }, { root: view.box });
    for (const card of view.box.children) observer.observe(card);
    return observer;
  }

  /* What to paint, as one small number: scale * 256 + level; -2 unavailable, -3 nothing. */
  function level(model, mode, i) {
    if (mode === 'kind') return model.shown[i] === KIND.TEMPLATE ? -3 : model.shown[i];
    if (model.kinds[i] < KIND.REASONING) return -3;
    if (mode === 'weight') return shade(0, model.weights[i] / model.weightTop);
    if (mode === 'credit') {
      const c = model.weights[i] * model.advantage / (model.weightTop * (model.advantageMax || 1));
      return shade(c < 0 ? 3 : 2, Math.abs(c));
    }
    // Any signed value a token, on a scale that the model brings.
    if (mode === 'signed') return shade(model.signed[i] < 0 ? 3 : 2, Math.abs(model.signed[i]) / model.signedTop);
    const value = model.signal[mode][i];
    const range = model.ranges[mode];
    if (value === null || !range) return -2;
    return shade(1, (value - range[0]) / Math.max(range[1] - range[0], 1e-9));
  }

  function shade(index, share) {
    if (Number.isNaN(share)) return -2;
    return index * 256 + Math.round(Math.min(Math.max(share, 0), 1) * (LEVELS - 1));
  }

  /* Invalidate the colours: the next paint touches every token. */
  function forget(view) { view.last.fill(-1); }

  /* Exactly one token can be reached by Tab. */
  function rove(view, i) {
    if (view.rover !== undefined && view.spans[view.rover]) view.spans[view.rover].removeAttribute('tabindex');
    view.rover = i;
    if (view.spans[i]) view.spans[i].tabIndex = 0;
  }

  function pin(view, i) {
    if (view.pinned !== null) view.spans[view.pinned].classList.remove('pin');
    view.pinned = i;
    if (i === null) return;
    rove(view, i);
    view.spans[i].classList.add('pin');
  }

  function hot(view, i) {
    if (view.hot === i) return;
    if (view.hot !== null) view.spans[view.hot].classList.remove('hot');
    view.hot = i;
    if (i !== null) view.spans[i].classList.add('hot');
  }

  /* Bring a card or token to sight inside the text's own scroller. Cards out of sight have
     estimated heights, so it looks again once they are laid out. */
  function reveal(view, node, align) {
    const details = node.closest('details');
    if (details) details.open = true;
    let tries = 4;
    (function settle() {
      const frame = view.box.getBoundingClientRect();
      const at = node.getBoundingClientRect();
      if (align === 'start') view.box.scrollTop += at.top - frame.top - 8;
      else if (at.top < frame.top + 30 || at.bottom > frame.bottom - 30) {
        view.box.scrollTop += at.top - frame.top - frame.height * 0.4;
      }
      if (tries--) root.requestAnimationFrame(settle);
    })();
  }

  /* Mark the tokens that hold a piece of text; returns the first token of every match. */
  function search(view, wanted) {
    for (const i of view.found || []) view.spans[i].classList.remove('found');
    view.found = [];
    if (!wanted) return [];
    const whole = view.model.text.join('').toLowerCase();
    const needle = wanted.toLowerCase();
    const starts = [];
    let token = 0;
    let begin = 0;
    for (let at = whole.indexOf(needle); at >= 0; at = whole.indexOf(needle, at + needle.length)) {
      while (begin + view.model.text[token].length <= at) begin += view.model.text[token++].length;
      starts.push(token);
      for (let i = token, from = begin; i < view.spans.length && from < at + needle.length; from += view.model.text[i++].length) {
        view.spans[i].classList.add('found');
        view.found.push(i);
      }
    }
    return starts;
  }

  AF.tokens = { build, paint, forget, pin, hot, rove, reveal, search, indexOf, gain, shownKinds, kindKeys, NAMES, LETTERS, MALFORMED, perFrame };
})(self);
