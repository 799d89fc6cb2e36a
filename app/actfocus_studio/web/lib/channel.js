/* A page's requests to the server, one at a time and in order, over its one tiny component. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const PATIENCE_MS = 60000;

  /* `onError(text)`: called for every answer; '' if there was no error. */
  function channel(onError) {
    const queue = [];
    let send = null;
    let number = 0;
    let busy = null;

    /* `then(answer)` is called unless the answer is an error. */
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

  /* A function that sends a request to the handler of a component's event and passes the response to `answer`.
     Gradio's own dispatch copies the values of all components several times a call.
     `one`: one request at a time; of those made meanwhile only the last is sent. */
  function handler(id, event, answer, one = false) {
    const { components, dependencies } = root.gradio_config;
    const target = components.find((component) => component.props.elem_id === id).id;
    const { id: fn_index } = dependencies.find(({ targets }) => targets.some(([t, name]) => t === target && name === event));
    let busy = false;
    let last = null;

    async function call(request) {
      const body = JSON.stringify({ data: [JSON.stringify(request)], fn_index, session_hash: root.__gradio_session_hash__ });
      try {
        const response = await root.fetch('gradio_api/run/predict', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
        if (!response.ok) throw new Error(response.statusText);
        return (await response.json()).data[0];
      } catch (error) {
        return JSON.stringify({ error: 'the studio did not answer; is it still running?', number: request.number });
      }
    }

    async function send(request) {
      if (one && busy) {
        last = request;
        return;
      }
      busy = true;
      const json = await call(request);
      busy = false;
      const next = last;
      last = null;
      if (next) send(next);
      answer(json);
    }

    return send;
  }

  Object.assign(AF, { channel, handler });
})(self);
