// A card's tables.
function table(caption, heads, rows, classes = "") {
  return h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": caption }, h("table", { class: classes }, h("caption", { class: "sr" }, caption),
    h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))), h("tbody", {}, rows)));
}

const cells = (values, row = {}) => h("tr", row, values.map((v, i) => (i ? h("td", {}, v) : h("th", { scope: "row" }, v))));

function block(title, about, ...children) {
  return h("section", { class: "block" }, h("header", {}, h("h4", {}, title), about && h("span", { class: "about" }, about)), ...children);
}

function trialsTable(trials) {
  const longest = Math.max(...trials.map((t) => number(t.seconds) || 0), 1e-9);
  const rows = trials.map((t) => {
    const ended = t.ending === "completed" ? "completed" : `${t.ending.replaceAll("_", " ")}${t.at === undefined ? "" : ` at step ${t.at}`}`;
    return cells([
      t.name, timeBar(t, longest), duration(t.seconds), t.steps ? whole(t.steps) : "–", t.step === undefined ? "–" : duration(t.step),
      t.rate === undefined ? "–" : whole(Math.round(t.rate)),
      h("span", { class: t.ending === "completed" ? "faint" : "bad" }, ended, t.message && h("span", { class: "hint" }, t.message)),
    ]);
  });
  const legend = h("ul", { class: "chart-legend" }, [["wait", "waiting for data"], ["work", "training steps"], ["rest", "set-up, probes, experiments"]].map(([k, text]) => h("li", {}, h("span", { class: `cell ${k}` }), text)));
  return block("Trials", "where the time went", table("Trials", ["trial", "time", "in all", "steps", "median step", "samples/s", "ending"], rows, "trials"), legend);
}

function timeBar(t, longest) {
  const total = number(t.seconds) || 0, wait = Math.min(total, t.waiting || 0), work = Math.min(total - wait, Math.max(0, (t.stepping || 0) - wait));
  const share = (v) => `width:${((100 * v) / longest).toFixed(2)}%`;
  const told = `${duration(wait)} waiting for data, ${duration(work)} in training steps, ${duration(total - wait - work)} in all else`;
  return h("span", { class: "time-bar", role: "img", "aria-label": told, title: told }, h("span", { class: "wait", style: share(wait) }), h("span", { class: "work", style: share(work) }), h("span", { class: "rest", style: share(Math.max(0, total - wait - work)) }));
}

function unitsTable(units) {
  const rows = units.map(([site, kind, count, silent, active]) => {
    const share = count ? silent / count : 0;
    return cells([h("code", {}, site || "model"), kind, `${whole(silent)} of ${whole(count)}`, meter(share, share >= 0.95 ? "bad" : share >= 0.5 ? "warn" : ""), typeof active === "number" ? percent(active) : digits(active)]);
  });
  return block("Units after training", "silent: no gradient for any sample", table("Units after training", ["activation", "function", "silent units", "share", "active values"], rows));
}

function metricsTable(measured, trials) {
  const names = [...new Set(measured.map((m) => m[0]))];
  const rows = names.map((name) => {
    const own = measured.filter((m) => m[0] === name);
    const told = own.map(([, trial, value, , problem]) => (problem ? `${trials[trial].name}: ${problem}` : `${trials[trial].name}: ${digits(value)}`)).join("\n");
    const values = own.filter((m) => !m[4]).map((m) => number(m[2])).filter(Number.isFinite);
    const mean = values.reduce((sum, v) => sum + v, 0) / values.length;
    return cells([name, values.length ? digits(mean) : "–", values.length > 1 ? dots(values, told) : "", whole(own.length), own[0][3] ? whole(own[0][3]) : "–",
      own.some((m) => m[4]) ? h("span", { class: "bad" }, own.find((m) => m[4])[4]) : h("span", { class: "faint" }, values.map((v) => digits(v, 3)).join("  "))]);
  });
  return block("Metrics", "on validation data, after whole trainings", table("Metrics", ["metric", "mean", "spread", "trainings", "samples", "each"], rows));
}

function dots(values, told) {
  const low = Math.min(...values), high = Math.max(...values), x = (v) => 6 + (108 * (v - low)) / (high - low || 1);
  return s("svg", { class: "bound-bar", width: 120, height: 16, viewBox: "0 0 120 16", role: "img", "aria-label": told },
    s("line", { class: "track", x1: 6, x2: 114, y1: 8, y2: 8 }), ...values.map((v) => s("circle", { class: "sample", cx: x(v), cy: 8, r: 3.5 })));
}

const meter = (share, kind) => h("span", { class: `meter ${kind}`, role: "img", "aria-label": percent(share) }, h("span", { style: `width:${(100 * share).toFixed(1)}%` }));

function parametersTable(p) {
  const rows = p.rows.map(([name, shape, count, dtype, trains, optimizers, changed]) => cells([
    h("code", {}, name), h("code", {}, shape), whole(count), dtype,
    trains ? "yes" : h("span", { class: "faint" }, "frozen"),
    optimizers === 1 ? "1" : h("span", { class: trains ? "bad" : "faint" }, String(optimizers)),
    !p.trained || changed === null ? "–" : changed ? "yes" : h("span", { class: trains ? "bad" : "faint" }, "no"),
  ]));
  const more = p.count > p.rows.length ? `, the first ${whole(p.rows.length)} shown` : "";
  return fold([h("b", {}, "Parameters"), ` ${whole(p.count)} tensors, ${whole(p.elements)} elements, ${whole(p.trainable)} trainable${more}`],
    table("Parameters", ["parameter", "shape", "elements", "dtype", "trains", "optimizers", "moved"], rows));
}

function shapesTable(shapes) {
  return fold([h("b", {}, "Shapes"), ` ${shapes.length} tensors as probed`], table("Shapes", ["probe", "tensor", "shape"], shapes.map((row) => cells([row[0], row[1], h("code", {}, row[2])]))));
}

function optimizersTable(groups) {
  const keys = [...new Set(groups.flatMap(Object.keys))];
  return fold([h("b", {}, "Optimizer"), ` ${groups.length === 1 ? "1 group" : `${groups.length} groups`}`],
    table("Optimizer groups", keys.map((k) => ({ lr: "learning rate" }[k] || k.replaceAll("_", " "))), groups.map((g) => cells(keys.map((k) => show(g[k]))))));
}

function show(value) {
  if (value === undefined || value === null) return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  return typeof value === "number" ? digits(value) : String(value);
}

const factsList = (pairs) => h("dl", { class: "facts" }, pairs.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, show(value)))));
