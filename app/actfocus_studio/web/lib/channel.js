/* A page's requests to the server, one at a time and in order, over its one tiny component. */
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

  /* A function that calls the handler of a component's event with a request, and `answer` with what it says.
     Gradio's own way there copies what all components hold, several times a call.
     `one`: one at a time; of those asked for meanwhile only the last one is sent. */
  function handler(id, event, answer, one = false) {
    const { components, dependencies } = root.gradio_config;
    const target = components.find((component) => component.props.elem_id === id).id;
    const { id: fn_index } = dependencies.find(({ targets }) => targets.some(([t, name]) => t === target && name === event));
    let busy = false;
    let last = null;

    async function call(request) {
      const body = JSON.stringify({ data: [JSON.stringify(request)], fn_index, session_hash: root.__gradio_session_hash__ });
      try {
        const found = await root.fetch('gradio_api/run/predict', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
        if (!found.ok) throw new Error(found.statusText);
        return (await found.json()).data[0];
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
