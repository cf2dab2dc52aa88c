// The list of recipes: search, filter, open, and the address that says what is shown.
const rows = [...document.querySelectorAll(".recipe")];
const buttons = rows.map((row) => row.querySelector("button"));
const haystack = index.recipes.map(([name, checks, place]) => [name, place, ...checks].join("\n").toLowerCase());
const places = new Map(index.recipes.map(([name], i) => [name, i]).reverse());
let filter = "all";

function visible() {
  return rows.filter((row) => !row.hidden);
}

function refresh() {
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  rows.forEach((row, i) => {
    const fits = (filter === "all" || row.dataset.has.split(" ").includes(filter)) && words.every((w) => haystack[i].includes(w));
    row.hidden = !fits;
    shown += fits;
  });
  document.querySelectorAll(".problem").forEach((problem) => {
    const text = problem.textContent.toLowerCase();
    problem.hidden = !words.every((w) => text.includes(w));
  });
  const more = $("more-problems");
  if (more) {
    more.open = words.length > 0;
    more.hidden = words.length > 0 && !more.querySelector(".problem:not([hidden])");
  }
  const title = $("problems");
  if (title) title.hidden = words.length > 0 && !title.querySelector(".problem:not([hidden])");
  if ($("none")) $("none").hidden = shown > 0;
  if ($("shown")) $("shown").textContent = words.length || filter !== "all" ? `${shown} of ${rows.length} recipes shown` : "";
  document.querySelectorAll("[data-filter]").forEach((b) => b.setAttribute("aria-pressed", String(b.dataset.filter === filter)));
}

async function open(i, wanted = true) {
  const row = rows[i], button = buttons[i];
  if (!row) return;
  button.setAttribute("aria-expanded", String(wanted));
  row.classList.toggle("open", wanted);
  let body = row.querySelector(".body");
  if (!wanted) {
    if (body) body.hidden = true;
    return;
  }
  if (body) {
    body.hidden = false;
    return row.ready;
  }
  body = h("div", { class: "body", id: `card-${i}` });
  button.setAttribute("aria-controls", body.id);
  row.append(body);
  row.ready = cardOf(i).then((card) => body.append(...cardBody(card)))
    .catch((error) => body.append(h("p", { class: "empty" }, `This card cannot be shown here (${error.message}). A browser of 2023 or newer is needed.`)));
  return row.ready;
}

function address(i, check) {
  const parts = new URLSearchParams();
  if (i !== null) parts.set("recipe", index.recipes[i][0]);
  if (check) parts.set("check", check);
  const text = parts.toString();
  try {
    window.history.replaceState(null, "", text ? `#${text}` : window.location.pathname + window.location.search);
  } catch { /* a viewer that shows the file inside its own page has no address to change */ }
}

async function follow() {
  const parts = new URLSearchParams(window.location.hash.slice(1));
  const recipe = parts.get("recipe"), check = parts.get("check");
  if (parts.has("filter") && document.querySelector(`[data-filter="${CSS.escape(parts.get("filter"))}"]`)) filter = parts.get("filter");
  if (parts.has("q")) $("search").value = parts.get("q");
  if (recipe === null) {
    if (check !== null) $("search").value = check;
    if (check !== null || parts.has("q") || parts.has("filter")) {
      refresh();
      ($("problems") || $("recipes"))?.scrollIntoView();
    }
    return;
  }
  const i = places.get(recipe);
  if (i === undefined) return;
  if (rows[i].hidden) { filter = "all"; $("search").value = ""; refresh(); }
  await open(i);
  const row = check === null ? null : [...rows[i].querySelectorAll(".verdict")].find((v) => v.dataset.check === check);
  if (row) {
    for (let up = row; up; up = up.parentElement) if (up.tagName === "DETAILS") up.open = true;
    row.classList.add("target");
    window.setTimeout(() => row.classList.remove("target"), 2500);
  }
  (row || rows[i]).scrollIntoView({ block: row ? "center" : "start" });
  (row ? row.querySelector("summary") : buttons[i]).focus({ preventScroll: true });
}
