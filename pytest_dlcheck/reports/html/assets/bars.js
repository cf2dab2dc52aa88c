// A measured number against its bound, as a small bar: the allowed side is shaded, the bound is a line.
function bar(m, state) {
  const value = number(m.value), bound = number(m.bound);
  if (!Number.isFinite(value) || !Number.isFinite(bound)) return h("span", { class: "bar-none" });
  const low = number(m.low ?? m.value), high = number(m.high ?? m.value);
  const samples = (m.samples || []).map(number).filter(Number.isFinite);
  const at = barScale([value, bound, low, high, ...samples].filter(Number.isFinite));
  const W = 132, H = 20, middle = H / 2;
  const x = (v) => 4 + (W - 8) * at(v);
  const parts = [s("line", { class: "track", x1: 4, x2: W - 4, y1: middle, y2: middle })];
  if (m.sense === "<=") parts.push(s("line", { class: "allowed", x1: 4, x2: x(bound), y1: middle, y2: middle }));
  if (m.sense === ">=") parts.push(s("line", { class: "allowed", x1: x(bound), x2: W - 4, y1: middle, y2: middle }));
  if (m.low !== undefined && m.high !== undefined && Number.isFinite(low) && Number.isFinite(high))
    parts.push(s("line", { class: "interval", x1: x(low), x2: x(high), y1: middle, y2: middle }));
  for (const sample of samples.slice(0, 40)) parts.push(s("circle", { class: "sample", cx: x(sample), cy: middle, r: 1.6 }));
  parts.push(s("line", { class: "bound", x1: x(bound), x2: x(bound), y1: 2, y2: H - 2 }));
  parts.push(s("circle", { class: "value", cx: x(value), cy: middle, r: 4 }));
  const told = `${m.name}: ${digits(m.value)}${unit(m.unit)}, must be ${SENSES[m.sense] || m.sense} ${digits(m.bound)}`;
  return s("svg", { class: `bound-bar ${state}`, width: W, height: H, viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": told }, ...parts);
}

function barScale(values) {
  const low = Math.min(...values), high = Math.max(...values);
  if (low > 0 && high / low > 30) {
    const a = Math.log10(low) - 0.5, b = Math.log10(high) + 0.5;
    return (v) => (Math.log10(v) - a) / (b - a);
  }
  const near = low > 0 && low / high > 0.8;
  const pad = (high - low || Math.abs(high) || 1) * (near ? 0.6 : 0.2);
  const a = near ? low - pad : Math.min(0, low - (low < 0 ? pad : 0)), b = high + pad;
  return (v) => Math.min(1, Math.max(0, (v - a) / (b - a)));
}

function measured(m, state) {
  if (m.bound === undefined) {
    return h("span", { class: "measure" }, h("span", { class: "what" }, m.name),
      h("span", { class: "value" }, `${digits(m.value)}${unit(m.unit)} ${interval(m)}`));
  }
  return h("span", { class: "measure" }, h("span", { class: "what" }, m.name),
    h("span", { class: "value" }, h("b", {}, digits(m.value)), interval(m) && ` ${interval(m)}`, unit(m.unit)),
    h("span", { class: "limit" }, `${SENSES[m.sense] || m.sense} ${digits(m.bound)}`), bar(m, state));
}
