// Charts in the page: drawn when they come into sight, again when the colours change.
const VIRIDIS = [[0, "#440154"], [0.13, "#482878"], [0.25, "#3e4a89"], [0.38, "#31688e"], [0.5, "#26828e"], [0.63, "#1f9e89"], [0.75, "#35b779"], [0.88, "#6dcd59"], [1, "#fde725"]];
const AROUND = [[0, "#8c510a"], [0.3, "#d8b365"], [0.45, "#e9e4d6"], [0.55, "#e9e4d6"], [0.7, "#5ab4ac"], [1, "#01665e"]];
const ZEROS = [[0, "#31688e"], [0.5, "#9fb7a0"], [0.8, "#f0b84a"], [1, "#d6360c"]];
const HEATS = {
  gradient: { title: "Gradient flow", about: "L2 norm of each parameter's gradient", log: true, scale: VIRIDIS, none: "no gradient" },
  update: { title: "Update to weight", about: "how far a step moves a parameter, over its own norm; 10⁻³ is usual", log: true, scale: AROUND, range: [-6, 0], none: "no update, or weights of zero" },
  zeros: { title: "Zeros in activations", about: "share of each module's output that is zero", log: false, scale: ZEROS, range: [0, 1], none: "not seen" },
  activation: { title: "Activation scale", about: "RMS of each module's output", log: true, scale: VIRIDIS, none: "not seen" },
};

const sight = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) {
    sight.unobserve(entry.target);
    entry.target.draw();
  }
}, { rootMargin: "300px" });

function chart(title, figure, options = {}) {
  const plot = h("div", { class: "plot", role: "img", "aria-label": `${title}: ${options.told || ""}` });
  plot.style.minHeight = `${options.height || 230}px`;
  const state = { log: options.log || false };
  let drawn = false;
  plot.draw = () => plotly().then((Plotly) => {
    const made = figure(colours(), state);
    drawn = true;
    return Plotly.react(plot, made.data, made.layout, { displayModeBar: false, responsive: true, scrollZoom: false });
  }).catch((error) => plot.replaceChildren(h("p", { class: "empty" }, `This chart cannot be drawn here: ${error.message}`)));
  themed.push(() => { if (drawn && plot.isConnected) plot.draw(); });
  const tools = h("span", { class: "tools" });
  if (options.scales) tools.append(h("button", {
    type: "button", class: "small", "aria-pressed": String(state.log),
    onclick: (event) => { state.log = !state.log; event.currentTarget.setAttribute("aria-pressed", String(state.log)); plot.draw(); },
  }, "log"));
  for (const tool of options.tools || []) tools.append(tool(plot));
  const figureElement = h("figure", { class: `chart ${options.wide ? "wide" : ""}` },
    h("figcaption", {}, h("h4", {}, title), options.about && h("span", { class: "about" }, options.about), tools),
    plot, options.legend);
  sight.observe(plot);
  return figureElement;
}

function legendOf(trials, points = []) {
  const c = { train: "c1", watch: "c1", overfit: "c2", blind: "c3", holdout: "c4", fit: "c5" };
  const items = trials.map((t) => h("li", {}, swatch(c[t.kind] || "c6", DASHES[t.nth % DASHES.length]), t.name));
  if (points.length) items.push(h("li", {}, s("svg", { class: "swatch", width: 12, height: 12, viewBox: "0 0 12 12", "aria-hidden": "true" }, s("path", { d: "M6 1l5 5-5 5-5-5z", fill: "none", stroke: "var(--c1)", "stroke-width": 2 })), points));
  return h("ul", { class: "chart-legend" }, items);
}

function swatch(name, dash) {
  const pattern = { dash: "6 3", dot: "2 2", dashdot: "6 2 2 2", longdash: "9 3", longdashdot: "9 2 2 2" }[dash];
  return s("svg", { class: "swatch", width: 20, height: 6, "aria-hidden": "true" }, s("line", { x1: 0, x2: 20, y1: 3, y2: 3, stroke: `var(--${name})`, "stroke-width": 2.5, ...(pattern ? { "stroke-dasharray": pattern } : {}) }));
}

function firstLast(curves, trials) {
  return curves.map((c) => `${trials[c.trial].name} from ${digits(c.y[0])} to ${digits(c.y[c.y.length - 1])}`).join("; ");
}

function curveCharts(card) {
  const made = [], trials = card.trials || [], by = {};
  for (const curve of card.curves || []) (by[curve.chart] = by[curve.chart] || []).push(curve);
  const held = (card.evaluations || []).filter((e) => e.data === "val" && e.mode === "eval");
  const add = (key, title, options = {}) => {
    const curves = by[key];
    delete by[key];
    const points = options.points || [];
    if (!curves && !points.length) return;
    const named = [...new Set((curves || []).map((c) => c.trial))].map((i) => trials[i]);
    made.push(chart(title, (c, state) => linesFigure(curves || [], trials, c, { ...options, log: state.log, points }), {
      ...options, told: firstLast(curves || [], trials), legend: legendOf(named, points.length ? "validation, at the end" : ""),
    }));
  };
  add("loss", "Loss", {
    scales: true, log: spread(by.loss), wide: true, height: 260,
    points: held.filter((e) => e.loss !== null).map((e) => ({ x: e.step, y: e.loss, name: `validation, ${trials[e.trial].name}` })),
  });
  add("metric", "Accuracy", {
    tickformat: ".0%", about: "on training batches, before they were trained on",
    points: held.filter((e) => e.accuracy !== null).map((e) => ({ x: e.step, y: e.accuracy, name: `validation, ${trials[e.trial].name}` })),
  });
  add("rate", "Learning rate", { zero: true });
  delete by.wait;
  if (by.time) add("time", "Time per step", { about: "on the host", scales: true, y: "s" });
  const rest = Object.keys(by);
  const before = made.length;
  for (const key of rest) add(key, key.replaceAll("_", " "), { scales: false });
  return { main: made.slice(0, before), more: made.slice(before) };
}

function spread(curves) {
  const all = (curves || []).flatMap((c) => c.y).filter((v) => typeof v === "number");
  const low = Math.min(...all), high = Math.max(...all);
  return low > 0 && high / low > 200;
}

function heatCharts(card) {
  const trials = card.trials || [], groups = {};
  for (const heat of card.heats || []) (groups[heat.chart] = groups[heat.chart] || []).push(heat);
  return Object.entries(groups).map(([key, heats]) => {
    const look = HEATS[key];
    let at = 0;
    const choose = (plot) => h("label", { class: "choose" }, h("span", { class: "sr" }, "Trial"), (() => {
      const select = h("select", {}, heats.map((heat, i) => h("option", { value: i }, trials[heat.trial].name)));
      select.addEventListener("change", () => { at = Number(select.value); plot.draw(); });
      return select;
    })());
    return chart(look.title, (c) => heatFigure(heats[at], c, look), {
      wide: true, about: look.about, height: Math.min(640, 74 + Math.max(60, heats[0].sites.length * 17)),
      tools: heats.length > 1 ? [choose] : [], told: heatTold(heats[0], look), legend: heatLegend(heats, look),
    });
  });
}

function heatTold(heat, look) {
  const none = heat.z.filter((row) => row.every((v) => v === null)).length;
  const zero = heat.z.filter((row) => row.every((v) => v === "0")).length;
  return `${look.about}; ${heat.sites.length} rows over ${heat.steps.length} sampled steps, ${none} of them with ${look.none} throughout, ${zero} exactly zero throughout`;
}

function heatLegend(heats, look) {
  const flat = heats.flatMap((heat) => heat.z.flat());
  const items = [];
  if (flat.includes(null)) items.push(h("li", {}, h("span", { class: "cell hatched" }), look.none));
  if (flat.includes("0")) items.push(h("li", {}, h("span", { class: "cell zero" }), "exactly zero"));
  if (flat.some((v) => typeof v === "string" && v !== "0")) items.push(h("li", {}, h("span", { class: "cell broken" }), "NaN or infinite"));
  const heat = heats[0];
  if (heat.of > heat.sites.length) items.push(h("li", {}, `${heat.sites.length} of ${whole(heat.of)} shown: first those that stand out, the others evenly`));
  return items.length ? h("ul", { class: "chart-legend" }, items) : null;
}
