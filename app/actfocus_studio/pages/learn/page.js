/* The Learn page, and the panel of a lesson, which stays visible while the lesson sets up the other tabs. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el, button } = AF.dom;
  const { store } = AF;
  const { KIND } = AF.weights;
  const TITLES = { trace: 'Trace', compare: 'Compare', groups: 'Groups', tune: 'Tune', train: 'Train', learn: 'Learn' };
  const SETTINGS = ['alpha', 'beta', 'signal', 'scope', 'adv'];

  const page = { lessons: [], lesson: null, step: 0, then: null, whatif: '' };
  const channel = AF.channel((text) => fail(text));

  // --- the list ------------------------------------------------------------------------------------

  function mount(element, props) {
    page.lessons = JSON.parse(props.menu);
    page.class = el('input', '', { type: 'checkbox', onchange: () => { store.place.classroom = page.class.checked ? '1' : ''; classroom(); store.remember(); } });
    page.alert = el('p', 'af-alert', { hidden: true });
    page.alert.setAttribute('role', 'alert');
    page.list = el('ol', 'af-lessons', ...page.lessons.map((lesson, i) => el('li', 'af-lesson',
      el('h3', '', lesson.title), el('p', '', lesson.about),
      el('p', 'af-quiet', `${lesson.minutes} ${lesson.minutes === 1 ? 'minute' : 'minutes'}`),
      named(el('button', 'af-button primary', { type: 'button', onclick: () => start(i) }, 'Start'), `Start the lesson: ${lesson.title}`))));
    element.className += ' af-page af-learn';
    element.replaceChildren(page.alert, el('div', 'af-learn-head',
      el('p', 'af-lead', 'Short lessons on the open run. Each step sets up a tab, asks for a prediction, and reveals the values of this run. '
        + 'The address links to the current step.'),
      el('label', 'af-check', page.class, 'Class mode: hide the controls')), page.list);
    buildPanel();
    classroom();
    store.onPlace(placed);
    store.onTab(openWhatIf);
    page.wanted = store.place.lesson;
    // The first trajectory may have arrived before this page was built.
    if (store.place.trajectory) placed();
  }

  const named = (node, label) => { node.setAttribute('aria-label', label); return node; };

  function classroom() {
    page.class.checked = Boolean(Number(store.place.classroom));
    document.body.classList.toggle('af-classroom', page.class.checked);
  }

  // --- the lesson ----------------------------------------------------------------------------------

  function buildPanel() {
    const old = document.getElementById('af-lesson');
    if (old) old.remove();
    page.title = el('h2', '', { tabIndex: -1 });
    page.count = el('span', 'af-quiet');
    page.body = el('div', 'af-lesson-body');
    page.answer = el('div', 'af-lesson-reveal');
    page.answer.setAttribute('aria-live', 'polite');
    page.back = el('button', 'af-button', { type: 'button', onclick: () => go(page.step - 1) }, 'Back');
    page.next = el('button', 'af-button primary', { type: 'button', onclick: next }, 'Next');
    page.panel = el('section', 'af-lesson-panel', { id: 'af-lesson', hidden: true },
      el('header', 'af-lesson-head', page.title, page.count, button('af-tool', '×', 'Leave the lesson', leave)),
      el('div', 'af-lesson-scroll', page.body, page.answer), el('div', 'af-lesson-foot', page.back, page.next));
    // The studio's keyboard shortcuts are off in the panel: arrows choose an answer, digits are typed.
    page.panel.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') leave();
      event.stopPropagation();
    });
    // Inside Gradio's container, where its style sheets for narrow screens apply.
    document.querySelector('.gradio-container .contain').append(page.panel);
  }

  function start(i) {
    page.lesson = page.lessons[i];
    go(0);
  }

  /* Go to step n: set up the view and show text and question. */
  function go(n) {
    page.step = n;
    if (!page.lesson.steps[n].view.whatif) AF.whatif.close();
    Object.assign(store.place, { lesson: page.lesson.name, lesson_step: String(n) });
    show();
    drive(page.lesson.steps[n]);
  }

  function next() {
    if (page.step + 1 < page.lesson.steps.length) go(page.step + 1);
    else leave();
  }

  function leave() {
    const { lesson } = page;
    page.lesson = null;
    page.whatif = '';
    AF.whatif.close();
    Object.assign(store.place, { lesson: '', lesson_step: '' });
    page.panel.hidden = true;
    document.body.classList.remove('af-in-lesson', 'af-asking');
    AF.frame.tab('Learn');
    store.remember();
    const i = page.lessons.indexOf(lesson);
    focus(page.list.querySelectorAll('button')[i], 60);
  }

  /* Focus an element once its tab is visible, which takes some frames; hidden elements cannot be focused. */
  function focus(node, frames) {
    node.focus();
    if (document.activeElement !== node && frames) root.requestAnimationFrame(() => focus(node, frames - 1));
  }

  /* Merge the view of the step into the current one; the server validates it like an address. */
  function drive({ view, pin }) {
    page.then = pin ? KIND[pin.toUpperCase()] : null;
    const { place, settings } = store;
    page.whatif = view.whatif || '';
    page.tab = view.tab || place.tab;
    page.arrived = false;
    for (const name of ['scheme_a', 'scheme_b', 'other_run', 'other']) if (name in view) place[name] = view[name];
    if ('controls' in view) place.controls = view.controls ? '1' : '';
    const moved = ['run', 'step', 'filter', 'reference'].some((name) => name in view && view[name] !== place[name]);
    const target = { ...place, ...settings, ...(moved ? { trajectory: '', turn: 0, token: null } : {}),
      ...(pin || 'turn' in view ? { token: null } : {}), ...view, restore: true };
    AF.frame.tab(TITLES[view.tab] || TITLES[place.tab]);
    AF.go(target);
  }

  /* The view of the step is shown: update the native controls and pin the token. */
  function placed() {
    if (page.wanted) {
      const i = page.lessons.findIndex((lesson) => lesson.name === page.wanted);
      const at = Number(store.place.lesson_step) || 0;
      const name = page.wanted;
      page.wanted = '';
      if (i >= 0) {
        page.lesson = page.lessons[i];
        go(Math.min(at, page.lesson.steps.length - 1));
      } else {
        Object.assign(store.place, { lesson: '', lesson_step: '' });
        AF.frame.tab('Learn');
        fail(`There is no lesson “${name}” here; choose one from the list.`);
      }
      return;
    }
    if (!page.lesson) return;
    store.set({}, true);
    if (page.then !== null && AF.trace.state.model) AF.trace.pinFirst(page.then);
    page.then = null;
    page.arrived = true;
    openWhatIf();
  }

  /* The what-if panel needs the open trajectory and closes when the tab changes, so it is opened after both. */
  function openWhatIf() {
    if (!page.whatif || !page.arrived || store.place.tab !== page.tab) return;
    const { motion = '', stage = '' } = page.lesson.steps[page.step].view;
    Object.assign(store.place, { motion, stage });
    AF.whatif.open(page.whatif, true);
    page.whatif = '';
  }

  function show() {
    const { lesson, step } = page;
    const { say, question } = lesson.steps[step];
    document.body.classList.add('af-in-lesson');
    // The summary of the page would give the answer away.
    document.body.classList.toggle('af-asking', Boolean(question));
    page.alert.hidden = true;
    page.panel.hidden = false;
    page.panel.setAttribute('aria-label', `Lesson: ${lesson.title}`);
    page.title.textContent = lesson.title;
    page.count.textContent = `step ${step + 1} of ${lesson.steps.length}`;
    page.back.disabled = step === 0;
    page.next.textContent = step + 1 < lesson.steps.length ? 'Next' : 'Finish';
    page.answer.replaceChildren();
    page.body.replaceChildren(...paragraphs(say), ...(question ? [form(question)] : []));
    page.body.parentElement.scrollTop = 0;
    page.title.focus();
  }

  const paragraphs = (text) => text.split(/\n\s*\n/).map((part) => el('p', '', part.replace(/\s+/g, ' ')));

  function form(question) {
    const group = el('fieldset', 'af-ask', el('legend', '', question.text));
    const answer = question.choices.length ? choices(group, question) : number(group, question);
    group.append(el('button', 'af-button', { type: 'submit' }, 'Reveal'));
    return el('form', '', { onsubmit: (event) => { event.preventDefault(); reveal(answer()); } }, group);
  }

  function choices(group, question) {
    const boxes = question.choices.map((text, i) => {
      const box = el('input', '', { type: 'radio', name: 'af-lesson-choice', value: String(i), required: true });
      group.append(el('label', 'af-check', box, text));
      return box;
    });
    return () => boxes.findIndex((box) => box.checked);
  }

  function number(group, question) {
    const box = el('input', 'af-lesson-number', { type: 'number', step: 'any', required: true });
    box.setAttribute('aria-label', question.unit ? `Your prediction, in ${question.unit}` : 'Your prediction');
    group.append(el('label', 'af-guess', box, question.unit));
    return () => Number(box.value);
  }

  function reveal(answer) {
    const { lesson, step } = page;
    if (AF.whatif.coming()) {
      fail('The update is still being computed; try again when it is shown.');
      return;
    }
    const { run, reference, trajectory, token, race, whatif, motion } = store.place;
    const settings = Object.fromEntries(SETTINGS.map((name) => [name, store.settings[name]]));
    channel.ask({ run, reference, step: store.place.step, trajectory, token, race, whatif, motion, ...settings, lesson: lesson.name, lesson_step: step, answer }, (data) => {
      if (page.lesson === lesson && page.step === step) revealed(data.reveal);
    });
  }

  function revealed({ correct, right, text, why }) {
    const result = correct === null ? why : correct ? 'Correct.' : 'Incorrect.';
    page.answer.replaceChildren(el('p', '', el('b', '', result), correct !== null && why ? ` ${why}` : ''), ...paragraphs(text));
    page.body.querySelectorAll('.af-check').forEach((node, i) => {
      node.classList.toggle('right', right.includes(i));
      const mark = node.querySelector('.af-right');
      if (mark) mark.remove();
      if (right.includes(i)) node.append(el('span', 'af-right', ' ✓ correct'));
    });
    document.body.classList.remove('af-asking');
    page.answer.scrollIntoView({ block: 'nearest' });
  }

  function fail(text) {
    if (page.lesson) page.answer.replaceChildren(...(text ? [el('p', 'af-error', text)] : []));
    else if (page.alert) {
      page.alert.hidden = !text;
      page.alert.textContent = text;
    }
  }

  /* `state` is for inspection only. */
  AF.learn = { mount, link: channel.link, answer: channel.answer, state: page };
})(self);
