// Light and dark: the system's, until the reader says otherwise.
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const themed = [];

function keep(value) {
  try { window.localStorage.setItem("dlcheck-theme", value); } catch { /* a file may not store anything */ }
}

function remembered() {
  try { return window.localStorage.getItem("dlcheck-theme"); } catch { return null; }
}

const isDark = () => (document.documentElement.dataset.theme || (dark.matches ? "dark" : "light")) === "dark";

function applyTheme(value) {
  if (value === "dark" || value === "light") document.documentElement.dataset.theme = value;
  themed.forEach((draw) => draw());
}

function toggleTheme() {
  const next = isDark() ? "light" : "dark";
  keep(next);
  applyTheme(next);
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  const get = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    text: get("text"), muted: get("muted"), line: get("line"), panel: get("panel"), failed: get("failed"),
    series: ["c1", "c2", "c3", "c4", "c5", "c6"].map(get), zero: get("zero"), broken: get("broken"), hatch: get("hatch"),
  };
}
