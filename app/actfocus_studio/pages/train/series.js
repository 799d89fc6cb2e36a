/* A run's metrics as columns. Rows are only ever appended, so each is read once. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const columns = new WeakMap(); // rows -> metric -> {x, y, seen}
  const means = new WeakMap(); // the first of several columns -> the result of `across` so far

  /* Rows from the columns that the server sends; null: the row lacks the metric. */
  function rows(sent) {
    const names = Object.keys(sent);
    return (sent.step || []).map((_, i) => Object.fromEntries(names.filter((name) => sent[name][i] !== null).map((name) => [name, sent[name][i]])));
  }

  /* Steps and values of a metric, for the rows that have it. */
  function of(rows, name) {
    if (!columns.has(rows)) columns.set(rows, new Map());
    const known = columns.get(rows);
    if (!known.has(name)) known.set(name, { x: [], y: [], seen: 0 });
    const c = known.get(name);
    for (; c.seen < rows.length; c.seen++) {
      const value = rows[c.seen][name];
      if (!Number.isFinite(value)) continue;
      c.x.push(rows[c.seen].step);
      c.y.push(value);
    }
    return c;
  }

  /* Mean, minimum and maximum of several columns at their common steps: the mean line of a chart and its band. */
  function across(several) {
    let found = means.get(several[0]);
    if (!found || found.of.length !== several.length || found.of.some((c, i) => c !== several[i])) {
      found = { of: several, at: several.map(() => 0), x: [], mean: [], low: [], high: [] };
      means.set(several[0], found);
    }
    const { at } = found;
    while (at.every((k, i) => k < several[i].x.length)) {
      const step = Math.max(...at.map((k, i) => several[i].x[k]));
      at.forEach((_, i) => { while (several[i].x[at[i]] < step) at[i] += 1; });
      if (at.some((k, i) => several[i].x[k] !== step)) continue;
      const values = at.map((k, i) => several[i].y[k]);
      found.x.push(step);
      found.mean.push(values.reduce((a, b) => a + b, 0) / values.length);
      found.low.push(Math.min(...values));
      found.high.push(Math.max(...values));
      at.forEach((_, i) => { at[i] += 1; });
    }
    return found;
  }

  /* Downsample a line to about `points` points, keeping the minimum and maximum of every segment.
     `sight`: the visible range of steps, drawn in detail, or null for all. */
  function thin(x, y, sight, points) {
    const at = [];
    const [from, to] = sight ? [below(x, sight[0]), below(x, sight[1]) + 2] : [0, x.length];
    const [a, b] = [Math.max(from - 1, 0), Math.min(to, x.length)];
    extremes(y, 0, a, points / 8, at);
    extremes(y, a, b, points, at);
    extremes(y, b, y.length, points / 8, at);
    return { x: at.map((i) => x[i]), y: at.map((i) => y[i]) };
  }

  function extremes(y, a, b, points, into) {
    const pieces = Math.max(1, Math.floor(points / 2));
    if (b - a <= points) {
      for (let i = a; i < b; i++) into.push(i);
      return;
    }
    into.push(a);
    for (let k = 0; k < pieces; k++) {
      const [from, to] = [a + Math.floor(k * (b - a) / pieces), a + Math.floor((k + 1) * (b - a) / pieces)];
      let [low, high] = [from, from];
      for (let i = from; i < to; i++) {
        if (y[i] < y[low]) low = i;
        if (y[i] > y[high]) high = i;
      }
      for (const i of [Math.min(low, high), Math.max(low, high), k === pieces - 1 ? b - 1 : -1]) if (i > into[into.length - 1]) into.push(i);
    }
  }

  /* The number of values below `value` in a sorted array. */
  function below(sorted, value) {
    let [low, high] = [0, sorted.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sorted[middle] < value) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  AF.series = { rows, of, across, thin };
})(self);
