/* Questions to the server over two small components, one at a time: a request's number is on its answer. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const PATIENCE_MS = 20000;

  /* `failed(line)` is told of the line of an error, and '' where there is none. */
  function channel(failed) {
    let send = null;
    let number = 0;
    let busy = null;
    const queue = [];

    function next() {
      if (!send || !queue.length || (busy && performance.now() - busy.since < PATIENCE_MS)) return;
      busy = { ...queue.shift(), number: ++number, since: performance.now() };
      send({ ...busy.request, number: busy.number });
    }

    return {
      ask(request, then) { queue.push({ request, then }); next(); },
      link(by) { send = by; next(); },
      answer(json) {
        const data = JSON.parse(json);
        if (!busy || data.number !== busy.number) return;
        const { then } = busy;
        busy = null;
        failed(data.error || '');
        if (!data.error) then(data);
        next();
      },
    };
  }

  AF.channel = channel;
})(self);
