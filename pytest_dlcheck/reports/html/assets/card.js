// A recipe's card: its verdicts, then what happened.
function verdictRow(v, i) {
  const bounded = (v.measures || []).filter((m) => m.bound !== undefined);
  const more = [];
  if (v.of) more.push(h("p", { class: "hint" }, `because of ${v.of}`));
  if (v.waived) more.push(h("p", { class: "hint" }, `as expected: ${v.waived}`));
  const told = [["Likely cause", v.cause], ["Remedy", v.remedy]].filter((t) => t[1]);
  if (told.length) more.push(h("dl", { class: "told" }, told.flatMap(([k, t]) => [h("dt", {}, k), h("dd", { class: k === "Remedy" ? "remedy" : null }, rich(t))])));
  if (v.suspects) more.push(v.state === "errored" ? v.suspects.map((p) => p[1] && h("pre", { tabindex: "0" }, p[1])) : suspectsTable(v.suspects));
  for (const line of v.advice || []) more.push(h("p", { class: "advice-line" }, mark("advice"), h("span", {}, rich(line))));
  if ((v.measures || []).length) more.push(h("div", { class: "measures" }, v.measures.map((m) => measured(m, v.state))));
  const about = index.checks[v.check];
  if (about) more.push(h("p", { class: "hint" }, about));
  const first = v.because.split("\n")[0];
  more.unshift(h("p", { class: "because" }, rich(v.because)));
  const head = bounded[0];
  return h("details", { class: `verdict ${v.state}`, "data-check": v.check, open: (v.state === "failed" || v.state === "errored") && !v.of },
    h("summary", {}, mark(v.state), h("code", { class: "check" }, v.check), h("span", { class: "why" }, v.of ? `because of ${v.of}` : v.state === "advice" ? v.advice[0] : first),
      head ? h("span", { class: "held" }, h("span", { class: "numbers" }, h("b", {}, digits(head.value, 3)), ` ${SENSES[head.sense] || head.sense} ${digits(head.bound, 3)}${unit(head.unit)}`), bar(head, v.state)) : h("span", { class: "held" })),
    h("div", { class: "inside" }, more));
}

function suspectsTable(places) {
  const rows = places.map(([site, finding, remedy]) => h("tr", {}, h("th", { scope: "row" }, h("code", {}, site)), h("td", {}, rich(finding), remedy && h("span", { class: "hint" }, "→ ", rich(remedy)))));
  const all = (part) => h("table", { class: "suspects" }, h("caption", { class: "sr" }, "where it was found"), h("tbody", {}, part));
  return rows.length <= 8 ? all(rows) : [all(rows.slice(0, 8)), fold(`${rows.length - 8} more places`, all(rows.slice(8)))];
}

function verdictList(verdicts) {
  const open = verdicts.filter((v) => v.state !== "passed" && v.state !== "na");
  const passed = verdicts.filter((v) => v.state === "passed"), na = verdicts.filter((v) => v.state === "na");
  const parts = open.map(verdictRow);
  const list = (v) => h("div", { class: "verdicts" }, v.map(verdictRow));
  if (passed.length) parts.push(open.length && passed.length > 3 ? fold([mark("passed"), ` ${passed.length} passed`], list(passed)) : list(passed));
  if (na.length) parts.push(fold([mark("na"), ` ${na.length} not applicable`], list(na)));
  return block("Verdicts", "measured against bound", h("div", { class: "verdicts" }, parts));
}

// Trials of one kind share a colour; their lines tell them apart.
function numbered(trials) {
  const seen = {};
  for (const t of trials) t.nth = seen[t.kind] = (seen[t.kind] ?? -1) + 1;
}

function cardBody(card) {
  numbered(card.trials || []);
  const parts = [verdictList(card.verdicts)];
  const { main, more } = curveCharts(card);
  const heats = heatCharts(card);
  const past = (card.history || []).map(pastChart);
  if (past.length) parts.push(h("div", { class: "charts" }, past));
  const broad = main.filter((m) => m.classList.contains("wide")), small = main.filter((m) => !m.classList.contains("wide"));
  for (const group of [broad, small, heats]) if (group.length) parts.push(h("div", { class: "charts" }, group));
  if (more.length) parts.push(fold([h("b", {}, "More channels"), ` ${more.length}`], h("div", { class: "charts" }, more)));
  if (card.metrics) parts.push(metricsTable(card.metrics, card.trials));
  if (card.units) parts.push(unitsTable(card.units));
  if (card.trials) parts.push(trialsTable(card.trials));
  else parts.push(h("p", { class: "empty" }, "No trial of this recipe was recorded, so there is nothing to draw."));
  if (card.settings) parts.push(block("Setup", "", factsList(card.settings)));
  const tables = [card.parameters?.rows && parametersTable(card.parameters), card.shapes && shapesTable(card.shapes), card.optimizers && optimizersTable(card.optimizers),
    card.unobserved && fold([h("b", {}, "Not observed"), ` ${card.unobserved.length}`], factsList(card.unobserved))].filter(Boolean);
  if (tables.length) parts.push(h("div", { class: "tables" }, tables));
  return parts;
}

function pastChart(line) {
  const title = line.measure, change = line.changes.length ? `, ${line.changes.length} change point${line.changes.length > 1 ? "s" : ""}` : "";
  return chart(title, (c) => pastFigure(line, c), {
    wide: true, about: `${line.value.length} runs${change}`, told: `from ${digits(line.value[0])} to ${digits(line.value[line.value.length - 1])}${unit(line.unit)}`,
    legend: h("ul", { class: "chart-legend" }, line.changes.length > 0 && h("li", {}, swatch("c2", "dot"), "change point"), line.limit !== null && h("li", {}, swatch("failed", "dash"), "limit")),
  });
}
