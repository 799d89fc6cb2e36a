/* A page's requests to the server, one at a time and in order, over its two tiny components. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const PATIENCE_MS = 60000;

  /* `onError(text)`: told of every answer, '' where all went well. */
  function channel(onError) {
    const queue = [];
    let send = null;
    let number = 0;
    let busy = null;

    /* `then(answer)` is called unless the server says that something is wrong. */
    function ask(request, then) {
      queue.push({ request, then });
      next();
    }

    function next() {
      if (!send || !queue.length || (busy && performance.now() - busy.since < PATIENCE_MS)) return;
      busy = { ...queue.shift(), number: ++number, since: performance.now() };
      send({ ...busy.request, number: busy.number });
    }

    function answer(json) {
      const data = JSON.parse(json);
      if (!busy || data.number !== busy.number) return;
      const { then } = busy;
      busy = null;
      onError(data.error || '');
      if (!data.error) then(data);
      next();
    }

    return { ask, answer, link: (request) => { send = request; next(); } };
  }

  AF.channel = channel;
})(self);
