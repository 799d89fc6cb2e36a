/* Choosing a rollout: stepping through trajectories and groups, filters, training step, reference and id. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el, button, icon, number } = AF.dom;
  const { store } = AF;
  const FILTERS = [['all', 'all'], ['success', 'successes'], ['failure', 'failures'], ['malformed', 'malformed or illegal']];
  const ICONS = { back: 'M15 5l-7 7 7 7', on: 'M9 5l7 7-7 7' };

  /* Nodes that choose the rollout, from the page's data; `go(id, changes)` opens another. */
  function picker(data, go) {
    const { place, filter } = data;
    const stepper = (name, back, on, text, keys) => el('span', 'af-stepper',
      disabled(button('af-tool', icon(ICONS.back), `Previous ${name}${keys[0]}`, () => go(back)), !back),
      el('span', 'af-stepper-text', text),
      disabled(button('af-tool', icon(ICONS.on), `Next ${name}${keys[1]}`, () => go(on)), !on));
    const where = place.position === null ? `not among ${place.counts[filter]}` : `${place.position + 1} of ${place.counts[filter]}`;
    const chips = place.members.map((member) => chip(member, go));
    return [
      stepper('trajectory', place.previous, place.next, el('span', '', el('b', '', 'Trajectory'), ` ${where}`), [' (K)', ' (J)']),
      filterSelect(place, filter, go),
      place.steps.length > 1 && stepSelect(place, go),
      stepper('group', place.group_previous, place.group_next, el('span', '', el('b', '', 'Group'), ` ${place.group_position + 1} of ${place.group_count}`), ['', '']),
      el('span', 'af-chips', { role: 'group' }, ...chips),
      data.run.references.length > 1 && referenceSelect(data.run, go), gotoForm(place, go),
    ].filter(Boolean);
  }

  const disabled = (node, off) => Object.assign(node, { disabled: off });

  function chip(member, go) {
    const on = member.id === store.place.trajectory;
    const mark = member.success ? '✓' : member.malformed ? 'M' : member.success === null ? '?' : '·';
    const what = `${AF.dom.outcome(member.success)}${member.malformed ? ', malformed or illegal' : ''}`;
    const node = el('button', `af-chip${on ? ' on' : ''}${member.success ? ' won' : ''}${member.kept ? '' : ' dim'}`, { type: 'button',
      title: `${member.id}: return ${number(member.return, 2)}, ${what}`, onclick: () => go(member.id) },
    el('span', 'af-chip-mark', mark), member.return === null ? '–' : number(member.return, Number.isInteger(member.return) ? 0 : 1));
    node.setAttribute('aria-label', `Rollout ${member.rollout}, return ${number(member.return, 2)}, ${what}`);
    if (on) node.setAttribute('aria-current', 'true');
    return node;
  }

  function filterSelect(place, filter, go) {
    const select = el('select', '', { onchange: () => go('', { filter: select.value }) },
      ...FILTERS.map(([name, title]) => el('option', '', { value: name, disabled: !place.counts[name] }, `${title} (${place.counts[name]})`)));
    select.value = filter;
    select.setAttribute('aria-label', 'Show');
    return select;
  }

  function stepSelect(place, go) {
    const select = el('select', '', { onchange: () => go('', { step: +select.value }) },
      ...place.steps.map((step) => el('option', '', { value: step }, `step ${step}`)));
    select.value = place.step;
    select.setAttribute('aria-label', 'Training step');
    return select;
  }

  function referenceSelect(run, go) {
    const select = el('select', '', { onchange: () => go(store.place.trajectory, { reference: select.value }) },
      ...run.references.map((name) => el('option', '', { value: name }, `reference ${name}`)));
    select.value = run.reference;
    select.setAttribute('aria-label', 'Reference model');
    return select;
  }

  function gotoForm(place, go) {
    const input = el('input', 'af-goto', { type: 'text', value: place.id, spellcheck: false, autocomplete: 'off', maxLength: 200 });
    input.setAttribute('aria-label', 'Go to a trajectory by its id');
    return el('form', 'af-goto-form', { onsubmit: (event) => { event.preventDefault(); input.blur(); go(input.value.trim()); } },
      el('label', '', el('span', 'af-quiet', 'id '), input));
  }

  AF.picker = picker;
})(self);
