// Figures as plotly wants them: from a card's numbers to traces and layout.
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"];
const KINDS = { train: 0, watch: 0, fit: 4, overfit: 1, blind: 2, holdout: 3 };

// Plotly reads a little markup in its texts.
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

function layout(c, more) {
  const axis = {
    gridcolor: c.line, zeroline: false, linecolor: c.line, tickfont: { color: c.muted, size: 11 }, automargin: true,
    title: { font: { color: c.muted, size: 11 }, standoff: 6 },
  };
  const { xaxis, yaxis, ...rest } = more;
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 46, r: 12, t: 8, b: 34 },
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: c.text }, showlegend: false, height: 230,
    hoverlabel: { bgcolor: c.panel, bordercolor: c.line, font: { color: c.text, size: 12 }, align: "left", namelength: -1 },
    dragmode: window.matchMedia("(pointer: coarse)").matches ? false : "zoom",
    xaxis: { ...axis, ...xaxis, title: { ...axis.title, ...xaxis?.title } },
    yaxis: { ...axis, ...yaxis, title: { ...axis.title, ...yaxis?.title } }, ...rest,
  };
}

// Where a channel was not sampled for a while, the line is interrupted: nothing was seen there.
function interrupted(curve) {
  const gaps = curve.x.slice(1).map((x, i) => x - curve.x[i]).sort((a, b) => a - b);
  const most = 8 * Math.max(1, gaps[gaps.length >> 1] || 1);
  const x = [], y = [];
  curve.x.forEach((step, i) => {
    if (i && step - curve.x[i - 1] > most) { x.push(step - 1); y.push(null); }
    x.push(step);
    y.push(finite(curve.y[i]));
  });
  return { x, y };
}

function lineOf(curve, trial, c, more) {
  const seeds = DASHES[trial.nth % DASHES.length];
  const colour = c.series[KINDS[trial.kind] ?? 5];
  const single = curve.x.length === 1;
  return {
    type: "scatter", mode: single ? "markers" : "lines", ...interrupted(curve), name: plain(trial.name),
    line: { color: colour, width: 1.8, dash: seeds }, marker: { color: colour, size: 6 }, connectgaps: false,
    hovertemplate: `%{y:.4g}<extra>${plain(trial.name)}</extra>`, ...more,
  };
}

function finite(value) {
  const v = number(value);
  return Number.isFinite(v) ? v : null;
}

function brokenOf(curves, c) {
  const x = [], text = [];
  for (const curve of curves) curve.y.forEach((v, i) => {
    if (typeof v === "string" && typeof curve.y[i - 1] !== "string") { x.push(curve.x[i]); text.push(`${digits(v)} from step ${curve.x[i]} on`); }
  });
  if (!x.length) return [];
  return [{
    type: "scatter", mode: "markers", x, y: x.map(() => 0.97), yaxis: "y2", text, hovertemplate: "%{text}<extra></extra>",
    marker: { symbol: "x", size: 9, color: c.broken }, name: "NaN or infinite",
  }];
}

function linesFigure(curves, trials, c, options = {}) {
  const data = curves.map((curve) => lineOf(curve, trials[curve.trial], c, options.trace));
  for (const p of options.points || []) data.push({
    type: "scatter", mode: "markers", x: [p.x], y: [finite(p.y)], name: plain(p.name),
    marker: { symbol: "diamond", size: 9, color: c.panel, line: { width: 2, color: c.series[p.colour ?? 0] } },
    hovertemplate: `%{y:.4g}<extra>${plain(p.name)}</extra>`,
  });
  data.push(...brokenOf(curves, c));
  return {
    data,
    layout: layout(c, {
      hovermode: "x", xaxis: { title: { text: "step" }, rangemode: "tozero" },
      yaxis: { type: options.log ? "log" : "linear", tickformat: options.tickformat, exponentformat: "power", title: { text: options.y || "" }, rangemode: options.zero ? "tozero" : "normal" },
      yaxis2: { overlaying: "y", range: [0, 1], visible: false, fixedrange: true },
    }),
  };
}

function heatFigure(heat, c, options) {
  const log = options.log;
  const value = (v) => (typeof v === "number" ? (log ? v / 100 : v / 1000) : null);
  const x = heat.steps.map((_, i) => i), y = heat.sites.map((_, i) => i);
  const words = (v) => (v === null ? options.none : typeof v === "string" ? (v === "0" ? "exactly 0" : digits(v)) : log ? digits(10 ** (v / 100), 2) : percent(v / 1000));
  const text = heat.z.map((row, i) => row.map((v, j) => `${plain(heat.sites[i])}<br>step ${heat.steps[j]}: ${words(v)}`));
  const flat = heat.z.flat();
  const only = (fits, colour) => ({
    type: "heatmap", x, y, z: heat.z.map((row) => row.map((v) => (fits(v) ? 1 : null))), showscale: false, xgap: 1, ygap: 1,
    colorscale: [[0, colour], [1, colour]], zmin: 0, zmax: 1, text, hovertemplate: "%{text}<extra></extra>", hoverongaps: false,
  });
  const numbers = flat.map(value).filter((v) => v !== null);
  const low = options.range ? options.range[0] : Math.min(...numbers), high = options.range ? options.range[1] : Math.max(...numbers);
  const ticks = log ? decades(low, high) : [0, 0.25, 0.5, 0.75, 1];
  const data = [{
    type: "heatmap", x, y, z: heat.z.map((row) => row.map(value)), text, hovertemplate: "%{text}<extra></extra>", hoverongaps: false,
    colorscale: options.scale, xgap: 1, ygap: 1, zmin: low, zmax: low === high ? low + 1 : high, showscale: numbers.length > 0,
    colorbar: { thickness: 10, outlinewidth: 0, len: 1, y: 0.5, tickvals: ticks, ticktext: ticks.map((t) => (log ? `10<sup>${String(t).replace("-", "−")}</sup>` : percent(t))), tickfont: { color: c.muted, size: 11 } },
  }];
  if (flat.includes("0")) data.push(only((v) => v === "0", c.zero));
  if (flat.some((v) => typeof v === "string" && v !== "0")) data.push(only((v) => typeof v === "string" && v !== "0", c.broken));
  if (flat.includes(null)) data.push({ ...only((v) => v === null, "rgba(0,0,0,0)"), hoverongaps: false });
  const every = Math.max(1, Math.ceil(heat.steps.length / 8));
  const shown = x.filter((i) => i % every === 0);
  const narrow = window.innerWidth < 620;
  const labels = heat.sites.map((site) => plain(shorten(site, narrow ? 16 : 30)));
  const thin = Math.max(1, Math.ceil(heat.sites.length / 40));
  return {
    data,
    layout: layout(c, {
      height: Math.min(640, 74 + Math.max(60, heat.sites.length * (heat.sites.length > 30 ? 12 : 17))),
      margin: { l: 8, r: 8, t: 6, b: 34 },
      xaxis: { title: { text: "step (as sampled)" }, tickvals: shown, ticktext: shown.map((i) => heat.steps[i]), showgrid: false, range: [-0.5, heat.steps.length - 0.5] },
      yaxis: { tickvals: y.filter((i) => i % thin === 0), ticktext: labels.filter((_, i) => i % thin === 0), showgrid: false, range: [heat.sites.length - 0.5, -0.5], ticklabelstandoff: 4 },
      images: flat.includes(null) ? [{ source: hatch(c), xref: "paper", yref: "paper", x: 0, y: 1, sizex: 1, sizey: 1, sizing: "fill", layer: "below" }] : [],
    }),
  };
}

function decades(low, high) {
  const a = Math.ceil(low), b = Math.floor(high), every = Math.max(1, Math.ceil((b - a) / 6));
  const ticks = [];
  for (let t = a; t <= b; t += every) ticks.push(t);
  return ticks;
}

function shorten(text, most) {
  return text.length <= most ? text : `…${text.slice(1 - most)}`;
}

function hatch(c) {
  let lines = "";
  for (let i = -400; i < 800; i += 6) lines += `<path d="M${i} 400L${i + 400} 0"/>`;
  return `data:image/svg+xml,${encodeURIComponent(`<svg xmlns="http://www.w3.org/2000/svg" width="800" height="400" preserveAspectRatio="none" stroke="${c.hatch}" stroke-width="1.6">${lines}</svg>`)}`;
}

function pastFigure(line, c) {
  const y = line.value.map(finite);
  const text = line.when.map((w, i) => `${plain(w)}${line.label[i] ? `<br>${plain(line.label[i])}` : ""}`);
  const x = y.map((_, i) => i);
  const bars = line.low.some((v) => v !== null);
  const data = [{
    type: "scatter", mode: "lines+markers", x, y, text, hovertemplate: `%{text}<br>%{y:.4g}${plain(unit(line.unit))}<extra></extra>`,
    line: { color: c.series[0], width: 1.8 }, marker: { size: 5, color: c.series[0] },
  }];
  if (bars) {
    const edge = { type: "scatter", mode: "lines", x, line: { width: 0 }, hoverinfo: "skip" };
    data.unshift({ ...edge, y: line.low.map(finite) }, { ...edge, y: line.high.map(finite), fill: "tonexty", fillcolor: `${c.series[0]}2e` });
  }
  const shapes = line.changes.map((i) => ({ type: "line", x0: i - 0.5, x1: i - 0.5, yref: "paper", y0: 0, y1: 1, line: { color: c.series[1], width: 1.5, dash: "dot" } }));
  const limit = finite(line.limit);
  if (limit !== null) shapes.push({ type: "line", xref: "paper", x0: 0, x1: 1, y0: limit, y1: limit, line: { color: c.failed, width: 1.5, dash: "dash" } });
  const annotations = limit === null ? [] : [{ xref: "paper", x: 1, xanchor: "right", y: limit, yanchor: "bottom", text: `limit ${digits(line.limit)}`, showarrow: false, font: { size: 11, color: c.muted } }];
  const every = Math.max(1, Math.ceil(x.length / 6)), ticks = x.filter((i) => i % every === 0);
  return {
    data,
    layout: layout(c, { shapes, annotations, xaxis: { tickvals: ticks, ticktext: ticks.map((i) => plain(line.when[i].slice(0, 10))), showgrid: false }, yaxis: { exponentformat: "power", title: { text: plain(PLAIN.has(line.unit) ? "" : line.unit) }, range: limitRange(y, limit) } }),
  };
}

function limitRange(y, limit) {
  const all = [...y, limit].filter((v) => v !== null);
  const low = Math.min(...all), high = Math.max(...all), pad = (high - low || Math.abs(high) || 1) * 0.12;
  return all.length ? [low - pad, high + pad] : undefined;
}
