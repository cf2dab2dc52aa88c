// Where everything begins.
function gateRows() {
  if (!index.gates.length) return;
  const row = ([i, check, state, m]) => h("div", { class: `gate ${state}` }, mark(state),
    h("a", { href: `#${new URLSearchParams({ recipe: index.recipes[i][0], check })}` }, h("code", {}, check), h("span", { class: "where" }, index.recipes[i][0] || "(no name)")), typeof m === "string" ? h("span", { class: "faint" }, m) : measured(m, state));
  const first = index.gates.slice(0, 30), rest = index.gates.slice(30);
  $("gate-rows").append(...first.map(row));
  if (rest.length) {
    const more = fold(`${rest.length} more`);
    more.addEventListener("toggle", () => more.append(...rest.map(row)), { once: true });
    $("gate-rows").append(more);
  }
  $("gates").hidden = false;
}

// The numbers of the problems get their bars.
function problemBars() {
  document.querySelectorAll("[data-measure]").forEach((item) => item.append(bar(JSON.parse(item.dataset.measure), "failed")));
}

function historyCharts() {
  if (!index.history.length) return;
  $("history-charts").append(...index.history.map((line) => pastChart({ ...line, measure: `${line.recipe}: ${line.measure}` })));
  $("history").hidden = false;
}

applyTheme(remembered());
dark.addEventListener("change", () => applyTheme(null));
$("theme").addEventListener("click", toggleTheme);
$("help").addEventListener("click", () => $("keys").showModal());
$("search").addEventListener("input", refresh);
$("clear")?.addEventListener("click", () => { $("search").value = ""; filter = "all"; refresh(); });
document.querySelectorAll("[data-filter]").forEach((b) => b.addEventListener("click", () => { filter = b.dataset.filter; refresh(); }));
buttons.forEach((button, i) => button.addEventListener("click", () => {
  const wanted = button.getAttribute("aria-expanded") !== "true";
  open(i, wanted);
  address(wanted ? i : null);
}));
document.addEventListener("keydown", onKey);
window.addEventListener("hashchange", follow);
document.addEventListener("click", (event) => {
  const link = event.target.closest?.('a[href^="#recipe="]');
  if (link && link.getAttribute("href") === window.location.hash) { event.preventDefault(); follow(); }
});
problemBars();
gateRows();
historyCharts();
if (rows.length === 1) open(0);
document.documentElement.dataset.ready = "";
follow();
