/* The tables of schemes and ground truth, the job that computes missing signals, and the report of Compare. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const { el } = AF.dom;
  const { store, compareTables: tables } = AF;
  const POLL_MS = 700;

  /* `page`: the state of the page. `act` queues a request, `choose` shows a scheme in a pane, `scheme` names that of a
     pane, and `fillPickers` lists the schemes again. */
  function scoring(page, { act, choose, scheme, fillPickers }) {
    function drawSchemes() {
      page.schemes.replaceChildren(tables.schemes(page.menu, page.data.table, { a: scheme('a'), b: scheme('b') },
        (side, name) => choose({ [side]: name }), compute));
    }

    function showTable({ table }) {
      page.data.table = table;
      drawSchemes();
      page.spearman.replaceChildren(tables.spearman(page.menu, table));
      fillPickers();
    }

    function showTruth({ boards, command }) {
      page.data.boards = boards;
      page.truth.replaceChildren(boards.length ? '' : el('h3', '', 'Scoreboard against ground truth'), ...boards.map((b) => tables.board(page.menu, b)),
        tables.truths(page.menu, command, boards.map((b) => b.values), compute));
    }

    /* Compute missing signals: `score` with a reference model, `judge` with the oracle. */
    const compute = (op, what) => act({ op, with: what });

    function showJob({ job }) {
      const was = page.state;
      page.state = job.state;
      const current = job.run === store.place.run;
      const left = job.seconds_left ? `, about ${AF.dom.duration(job.seconds_left)} left` : '';
      const text = { running: `Computing signals of ${job.run}: ${job.total ? `${job.phase}, ${job.done} of ${job.total}${left}` : 'starting'} … `,
        failed: current && was === 'running' ? `Computing signals of ${job.run} failed: ${job.message}` : '',
        cancelled: was === 'running' ? `Computing signals of ${job.run} was cancelled. Signals that were already stored are kept.` : '',
        done: current && was === 'running' ? `The signals of ${job.run} were computed and stored in its folder.` : '' }[job.state] || '';
      if (text) page.told.textContent = text;
      page.cancel.hidden = job.state !== 'running';
      if (job.state === 'running') root.setTimeout(() => act({ op: 'job' }), POLL_MS);
      if (job.state === 'done' && was === 'running') {
        page.done = {};
        const { run, trajectory, filter } = store.place;
        if (current) AF.go({ run, trajectory, filter });
      }
    }

    /* Offer the report as a download. It is never rendered under the studio's origin. */
    function showReport({ report, name }) {
      page.report.disabled = false;
      const href = URL.createObjectURL(new Blob([report], { type: 'application/octet-stream' }));
      const link = el('a', 'af-link', { href, download: name }, `Download ${name}`);
      page.file.replaceChildren(link);
      link.click();
      AF.frame.say('Report written.');
    }

    return { drawSchemes, showTable, showTruth, showJob, showReport };
  }

  AF.compareScoring = scoring;
})(self);
