/* The forms of the What if panel, one for each kind of question. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el } = AF.dom;
  const { store } = AF;

  /* `page`: the state of the panel. `title` names a scheme, `drawForm` draws the form again, `walkThrough` opens the
     walkthrough of a scheme. */
  function forms(page, { title, drawForm, walkThrough }) {
    function field(text, node, hint) {
      node.setAttribute('aria-label', text);
      return el('label', 'af-field', el('b', '', text), node, hint && el('span', 'af-quiet', hint));
    }

    const select = (options, value, onchange) => {
      const node = el('select', '', { onchange: () => onchange(node.value) }, ...options.map(([name, text]) => el('option', '', { value: name }, text)));
      node.value = value;
      return node;
    };
    const keep = (name) => (value) => { page.form[name] = value; };

    const go = (text) => { page.go = el('button', 'af-button primary', { type: 'submit' }, text); return page.go; };
    const tuned = () => 'actfocus';

    function startingPoint(facts) {
      if (!facts.trained) {
        return `This run was sampled from the policy “${facts.model}” and not trained: the update starts from that policy, on the stored rollouts, with a fresh optimiser.`;
      }
      if (!facts.steps.length) return 'No checkpoint of this run is stored, so no step can be replayed.';
      return `The update starts from the checkpoint before the step. With the run’s own scheme, ${title(facts.own)}, it reproduces the next checkpoint.`;
    }

    const FORMS = {
      replay(facts) {
        const f = page.form;
        f.schemes = f.schemes || (facts.own && facts.own !== 'uniform' ? ['uniform', facts.own] : ['uniform', tuned()]);
        f.match = f.match || 'rate';
        f.evaluation = f.evaluation ?? 0;
        f.groups = f.groups || 4;
        if (facts.trained && !facts.steps.includes(f.step)) f.step = facts.steps.includes(store.place.step) ? store.place.step : facts.steps[facts.steps.length - 1];
        const boxes = page.menu.schemes.map(([name, text]) => {
          const box = el('input', '', { type: 'checkbox', checked: f.schemes.includes(name), onchange: () => {
            f.schemes = box.checked ? [...f.schemes, name] : f.schemes.filter((one) => one !== name);
            drawForm();
          } });
          box.dataset.name = name;
          box.disabled = !box.checked && f.schemes.length >= page.menu.schemes_max;
          return el('label', 'af-check', box, `${text}${name === facts.own ? ' (this run’s scheme)' : ''}`);
        });
        const { alpha, beta, signal } = store.settings;
        return [el('p', 'af-quiet', startingPoint(facts)),
          facts.trained ? field('Step', select(facts.steps.map((s) => [s, `step ${s}`]), f.step, (v) => { f.step = +v; }))
            : field('Groups', select(page.menu.groups.map((n) => [n, n === 1 ? 'this group only' : `${n} groups, this one first`]), f.groups, (v) => { f.groups = +v; })),
          el('fieldset', 'af-field', el('legend', '', 'Schemes'), el('span', 'af-quiet', `Up to ${page.menu.schemes_max}. ActFocus uses the sidebar’s settings: α ${+alpha.toFixed(2)}, β ${+beta.toFixed(2)}, ${store.signalTitle(signal)}.`), ...boxes),
          field('Match', select([['rate', 'learning rate'], ['norm', 'gradient norm']], f.match, keep('match')),
            f.match === 'norm' || facts.trained ? '' : 'A small α increases the gradient norm per action token; compare both.'),
          field('Evaluation set', select(page.menu.evaluations.map((n) => [n, n ? `${n} prompts` : 'none']), f.evaluation, (v) => { f.evaluation = +v; }), 'Evaluated before and after the update; takes longer than the update.'),
          go('Replay')];
      },
      branch(facts) {
        const f = page.form;
        const last = facts.turns.length - 1;
        f.turn = Math.min(f.turn ?? store.place.turn ?? 0, last);
        const turn = facts.turns[f.turn];
        if (f.token === undefined) f.token = turn.span && store.place.token !== null && inside(store.place.token, turn.span) ? store.place.token : null;
        f.force = f.force || 'nothing';
        const text = el(f.force === 'text' ? 'textarea' : 'input', 'af-say', { value: f.said || '', maxLength: page.menu.text_max, rows: 4, spellcheck: false, oninput: () => { f.said = text.value; } });
        text.setAttribute('aria-label', f.force === 'text' ? 'Text' : 'Action');
        if (f.force === 'action') { text.setAttribute('list', 'af-legal'); text.placeholder = turn.legal[0] || ''; }
        const same = el('input', '', { type: 'checkbox', checked: Boolean(f.same), onchange: () => { f.same = same.checked; } });
        const n = (name, value, min, max, step) => { const node = el('input', 'af-number', { type: 'number', min, max, step, value, oninput: () => { f[name] = +node.value; } }); return node; };
        f.rollouts = f.rollouts ?? 8;
        f.temperature = f.temperature ?? 1;
        f.seed = f.seed ?? 0;
        return [field('From', select(facts.turns.map((t, k) => [k, `turn ${k + 1}: ${t.actions.join(' → ') || 'no action'}`]), f.turn, (v) => { f.turn = +v; f.token = null; drawForm(); })),
          turn.span && field('Token', tokenSelect(f, turn), 'Tokens before this one are kept.'),
          field('Then', select([['nothing', 'sample the policy again'], ...(f.token === null ? [['action', 'force an action']] : []), ['text', f.token === null ? 'force the whole reply' : 'force the continuation']], f.force, (v) => { f.force = v; drawForm(); })),
          f.force !== 'nothing' && text, f.force === 'action' && el('datalist', '', { id: 'af-legal' }, ...turn.legal.map((one) => el('option', '', { value: one }))),
          field('Number of samples', n('rollouts', f.rollouts, 1, page.menu.rollouts_max, 1)),
          field('Temperature', n('temperature', f.temperature, 0, 2, 0.1)), field('Seed', n('seed', f.seed, 0, 2 ** 31 - 1, 1)),
          el('label', 'af-check', same, 'same random numbers in the environment'), go('Branch')].filter(Boolean);
      },
      edit(facts) {
        const f = page.form;
        const last = facts.turns.length - 1;
        f.turn = Math.min(f.turn ?? store.place.turn ?? 0, last);
        const turn = facts.turns[f.turn];
        const span = spanOf(f, turn);
        const text = el('textarea', 'af-say', { rows: 5, maxLength: page.menu.text_max, spellcheck: false, value: f.edited ?? span.text, oninput: () => { f.edited = text.value; } });
        text.setAttribute('aria-label', 'New text');
        const whole = () => { f.edited = undefined; drawForm(); };
        const parts = [['reply', 'the whole reply'], ['thought', 'the reasoning'], ['answer', 'the answer'], ...(store.place.token === null ? [] : [['token', 'the pinned token']])];
        return [field('Turn', select(facts.turns.map((t, k) => [k, `turn ${k + 1}: ${t.actions.join(' → ') || 'no action'}`]), f.turn, (v) => { f.turn = +v; whole(); })),
          field('Replace', select(parts.filter(([name]) => name === 'reply' || spanOf({ ...f, part: name }, turn).first !== undefined), f.part || 'reply', (v) => { f.part = v; whole(); })),
          el('p', 'af-quiet', span.first === undefined ? 'The whole reply of the turn.' : `Tokens ${span.first} to ${span.end - 1}.`), text, go('Edit and score')];
      },
      motion(facts) {
        return [el('p', 'af-quiet', startingPoint(facts)),
          field('Scheme', select(page.menu.schemes, store.place.motion || tuned(), (v) => walkThrough(v))),
          el('p', 'af-quiet', 'Keys: ← → previous and next step, Home and End, Space repeats the step.')];
      },
    };

    const inside = (i, [first, end]) => i >= first && i < end;

    /* The tokens of the turn from which the policy can continue. */
    function tokenSelect(f, turn) {
      const m = AF.trace.state.model;
      const here = m && m.trajectory.id === page.facts.trajectory;
      const options = [['', 'the whole reply']];
      if (here) {
        for (let i = turn.span[0] + 1; i < turn.span[1]; i++) {
          options.push([i, `${i}: “${AF.dom.visible(m.text[i])}” ${AF.tokens.NAMES[m.shown[i]]}`]);
        }
      }
      return select(options, f.token ?? '', (v) => { f.token = v === '' ? null : +v; if (f.force === 'action') f.force = 'nothing'; drawForm(); });
    }

    /* The tokens that an edit replaces, and their text. */
    function spanOf(f, turn) {
      const m = AF.trace.state.model;
      const part = f.part || 'reply';
      if (part === 'reply' || !m || !turn.span || m.trajectory.id !== page.facts.trajectory) return { text: turn.response };
      const kind = { thought: AF.weights.KIND.REASONING, answer: AF.weights.KIND.ACTION }[part];
      let [first, end] = [-1, -1];
      for (let i = turn.span[0]; i < turn.span[1]; i++) {
        if (part === 'token' ? i !== store.place.token : m.kinds[i] !== kind) continue;
        if (first < 0) first = i;
        end = i + 1;
      }
      return first < 0 ? { text: turn.response } : { first, end, text: m.text.slice(first, end).join('') };
    }

    return { FORMS, spanOf, tuned };
  }

  AF.whatIfForms = forms;
})(self);
