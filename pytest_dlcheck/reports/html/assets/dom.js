// Elements by hand: text only ever becomes text, never markup.
const $ = (id) => document.getElementById(id);

function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "onclick") element.addEventListener("click", value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false && c !== ""));
  return element;
}

function s(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const GLYPHS = { errored: "!", failed: "✕", inconclusive: "?", expected: "≈", advice: "i", passed: "✓", na: "–" };
const WORDS = {
  errored: "errored", failed: "failed", inconclusive: "inconclusive", expected: "failed as expected",
  advice: "passed, with advice", passed: "passed", na: "not applicable",
};

function mark(state) {
  return h("span", { class: `mark ${state}`, title: WORDS[state] },
    h("span", { "aria-hidden": "true" }, GLYPHS[state]), h("span", { class: "sr" }, WORDS[state]));
}

// Names in backticks are set as code.
function rich(text) {
  return String(text).split(/`([^`\n]+)`/).map((part, i) => (i % 2 ? h("code", {}, part) : part));
}

const fold = (title, ...children) => h("details", { class: "fold" }, h("summary", {}, title), ...children);
