/* The settings all pages share, the address bar, and the way to and from the native controls. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;

  const PRESETS = { uniform: [1, 0], actfocus: [0.1, 0.5], role_only: [0.1, 0], energy_only: [1, 0.5] };
  const TITLES = { uniform: 'Uniform', actfocus: 'ActFocus', role_only: 'Role only', energy_only: 'Energy only' };
  const SIGNALS = { energy: 'energy', entropy: 'entropy', nll: 'surprise', shift: 'shift' };
  const SCOPES = ['batch', 'group', 'trajectory'];
  const ORDER = ['alpha', 'beta', 'signal', 'scope', 'adv'];

  const settings = { alpha: 0.1, beta: 0.5, signal: 'energy', scope: 'batch', adv: false };
  const place = { run: '', reference: '', step: null, trajectory: '', turn: 0, token: null,
                  color: 'weight', filter: 'all', tab: 'trace', race: '',
                  group: '', measure: 'energy', over: 'step', keep: '', ribbons: 'kind', export: 'python',
                  scheme_a: '', scheme_b: '', kept: '', other_run: '', other: '', controls: '', whatif: '', motion: '', stage: '',
                  lesson: '', lesson_step: '', classroom: '' };
  /* Parameters of pages other than Trace. They are read from the address at once, since those pages may be used
     before the first trajectory has arrived. */
  const OWN = ['tab', 'race', 'scheme_a', 'scheme_b', 'kept', 'other_run', 'other', 'controls', 'whatif', 'motion', 'stage',
               'lesson', 'lesson_step', 'classroom'];
  for (const name of OWN) place[name] = new URLSearchParams(root.location.search).get(name) || place[name];
  const listeners = [];
  let kept = readKept(place.kept);
  let shownPreset = 'actfocus';
  let native = null;

  const presetOf = (s) => Object.keys(PRESETS).find(
    (name) => PRESETS[name][0] === s.alpha && PRESETS[name][1] === s.beta) || 'custom';

  function describe(s) {
    const name = TITLES[presetOf(s)];
    const numbers = `α ${+s.alpha.toFixed(2)}, β ${+s.beta.toFixed(2)}`;
    return (name ? `${name} (${numbers})` : numbers)
      + (s.beta && s.signal !== 'energy' ? `, ${SIGNALS[s.signal]}` : '')
      + (s.scope !== 'batch' ? `, within each ${s.scope}` : '') + (s.adv ? ', × |A|' : '');
  }

  /* Change settings and notify all listeners. `sync`: set the native controls as well. */
  function set(changes, sync) {
    const changed = ORDER.filter((name) => name in changes && changes[name] !== settings[name]);
    if (!changed.length && !sync) return;
    for (const name of changed) settings[name] = changes[name];
    if (native && sync) native.all();
    else if (native && presetOf(settings) !== shownPreset) native.preset();
    shownPreset = presetOf(settings);
    for (const listener of listeners) listener(changed);
    remember();
  }

  /* From a native control. A cleared number field gives null: the old value stays. */
  function read(name, value) {
    if (typeof value !== typeof settings[name]) return;
    const top = { alpha: 1, beta: 2 }[name];
    set({ [name]: top ? Math.min(Math.max(value, 0), top) : value });
  }

  function choose(name) {
    const [alpha, beta] = PRESETS[name] || [settings.alpha, settings.beta];
    shownPreset = name;
    set({ alpha, beta });
    return [alpha, beta];
  }

  const copy = () => Object.assign({}, settings);

  /* Parse setting B from its form in the address; null where it is not valid. */
  function readKept(text) {
    const [alpha, beta, signal, scope, adv, ...more] = text.split(',');
    const good = !more.length && alpha !== '' && +alpha >= 0 && +alpha <= 1 && beta !== '' && +beta >= 0 && +beta <= 2
      && Object.hasOwn(SIGNALS, signal) && SCOPES.includes(scope) && ['0', '1'].includes(adv);
    if (!good) place.kept = '';
    return good ? { alpha: +alpha, beta: +beta, signal, scope, adv: adv === '1' } : null;
  }

  function hold() {
    kept = copy();
    place.kept = [+kept.alpha.toFixed(4), +kept.beta.toFixed(4), kept.signal, kept.scope, kept.adv ? 1 : 0].join(',');
  }

  function keep() {
    hold();
    for (const listener of listeners) listener(ORDER);
    remember();
  }

  function swap() {
    if (!kept) return keep();
    const other = kept;
    hold();
    set(other, true);
  }

  let timer = 0;
  function address() {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries({ ...place, ...settings, adv: settings.adv ? 1 : 0 })) {
      if (value !== '' && value !== null) query.set(name, value);
    }
    return `${root.location.pathname}?${query}`;
  }

  /* Write the view into the address bar shortly after the last change, and notify the listeners. */
  const viewListeners = [];
  function remember() {
    for (const listener of viewListeners) listener();
    clearTimeout(timer);
    timer = setTimeout(() => root.history.replaceState(root.history.state, '', address()), 150);
  }

  /* Adopt a view that the server has validated; it has set the native controls as well. */
  function adopt(view) {
    for (const name of ORDER) settings[name] = view[name];
    for (const name of Object.keys(place)) if (name in view && !OWN.includes(name)) place[name] = view[name];
    shownPreset = presetOf(settings);
    for (const listener of listeners) listener(ORDER);
  }

  /* A tab was selected; its page is notified once it is visible. */
  const tabListeners = [];
  function tab(name) {
    place.tab = name;
    remember();
    for (const listener of tabListeners) listener(name);
  }

  /* A trajectory was opened: pages that depend on its run or batch are notified. */
  const placeListeners = [];
  const placed = () => placeListeners.forEach((listener) => listener());

  AF.store = {
    placed, onPlace: (listener) => placeListeners.push(listener),
    tab, onTab: (listener) => tabListeners.push(listener), onView: (listener) => viewListeners.push(listener),
    settings, place, set, read, choose, keep, swap, adopt, remember, describe, copy,
    kept: () => kept,
    address: () => new URL(address(), root.location.href).href,
    on: (listener) => listeners.push(listener),
    bind: (triggers) => { native = triggers; },
    signalTitle: (name) => SIGNALS[name],
    values: () => [presetOf(settings), ...ORDER.map((name) => settings[name])],
    presetName: () => presetOf(settings),
  };
})(self);
