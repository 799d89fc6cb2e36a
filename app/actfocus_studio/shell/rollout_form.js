/* The progress of new rollouts; the page that started them opens the new run. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el } = AF.dom;
  const JOB_KEY = 'actfocus.job';

  function mount(element, props, watch) {
    const show = () => { if (props.value) draw(element, JSON.parse(props.value)); };
    watch('value', show);
    show();
  }

  function draw(element, job) {
    if (job.started) root.sessionStorage.setItem(JOB_KEY, job.id);
    const own = root.sessionStorage.getItem(JOB_KEY) === job.id;
    document.body.classList.toggle('af-rolling', job.state === 'running');
    element.replaceChildren(...[
      job.error && el('p', 'af-error', { role: 'alert' }, job.error),
      job.state === 'running' && progress(job),
      job.state === 'failed' && el('p', 'af-error', { role: 'alert' }, `The rollout failed: ${job.message}`),
      job.state === 'cancelled' && el('p', 'af-job-line', `Rollout ${job.message}.`),
      job.state === 'done' && done(job),
    ].filter(Boolean));
    if (job.state === 'done' && own) {
      root.sessionStorage.removeItem(JOB_KEY);
      AF.go({ run: job.run });
    }
  }

  const PHASES = { starting: 'Loading the policy', rollout: 'Sampling rollouts', score: 'Scoring with the reference' };

  function progress(job) {
    const bar = el('progress', 'af-progress', { max: job.total || 1 });
    if (job.total) bar.value = job.done;
    else bar.removeAttribute('value');
    bar.setAttribute('aria-label', 'progress of the rollout');
    const left = job.seconds_left === null ? '' : `, about ${Math.max(1, Math.round(job.seconds_left))} s left`;
    const count = job.total ? ` ${job.done} of ${job.total}${left}` : ' …';
    return el('div', 'af-job-line', el('p', '', `${PHASES[job.phase] || job.phase}${count}`), bar);
  }

  function done(job) {
    return el('p', 'af-job-line', 'Done: ',
      el('button', 'af-link', { type: 'button', onclick: () => AF.go({ run: job.run }) }, `open ${job.run}`));
  }

  AF.jobs = { mount };
})(self);
