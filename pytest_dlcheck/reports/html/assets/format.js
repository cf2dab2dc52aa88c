// Numbers in words.
const SENSES = { "<=": "≤", ">=": "≥", "=": "=" };
const PLAIN = new Set(["", "ratio", "count"]);

function number(value) {
  if (typeof value !== "string") return value;
  return { nan: NaN, inf: Infinity, "-inf": -Infinity }[value] ?? NaN;
}

function digits(value, count = 4) {
  const v = number(value);
  if (v === null || v === undefined) return "–";
  if (!Number.isFinite(v)) return Number.isNaN(v) ? "NaN" : v > 0 ? "∞" : "−∞";
  if (v === 0) return "0";
  const size = Math.abs(v);
  if (size >= 1e6 || size < 1e-3) return v.toExponential(count - 2).replace(/\.?0+e/, "e").replace("e+", "e").replace(/^-/, "−");
  const text = Number(v.toPrecision(count));
  return (size >= 1e4 ? text.toLocaleString("en") : String(text)).replace(/^-/, "−");
}

const unit = (u) => (PLAIN.has(u) ? "" : ` ${u}`);
const percent = (share) => `${(100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;
const whole = (n) => n.toLocaleString("en");

function duration(seconds) {
  const v = number(seconds);
  if (!Number.isFinite(v)) return "–";
  if (v < 1e-3) return `${digits(v * 1e6, 3)} µs`;
  if (v < 1) return `${digits(v * 1e3, 3)} ms`;
  if (v < 60) return `${digits(v, 3)} s`;
  return `${Math.floor(v / 60)} min ${Math.round(v % 60)} s`;
}

function bytes(n) {
  const names = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  for (; n >= 1024 && i < names.length - 1; i++) n /= 1024;
  return `${digits(n, 3)} ${names[i]}`;
}

function interval(m) {
  return m.low === undefined || m.high === undefined ? "" : `[${digits(m.low)}, ${digits(m.high)}]`;
}
