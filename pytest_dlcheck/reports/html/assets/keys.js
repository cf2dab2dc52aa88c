// Everything can be reached without a mouse.
function move(by) {
  const shown = visible();
  if (!shown.length) return;
  const now = shown.indexOf(document.activeElement?.closest?.(".recipe"));
  const next = shown[Math.min(shown.length - 1, Math.max(0, now < 0 ? (by > 0 ? 0 : shown.length - 1) : now + by))];
  const button = next.querySelector("button");
  button.focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
}

function escape() {
  const row = document.activeElement?.closest?.(".recipe.open");
  if (row) {
    open(rows.indexOf(row), false);
    row.querySelector("button").focus();
  } else if ($("search").value || filter !== "all") {
    $("search").value = "";
    filter = "all";
    refresh();
  }
  if (document.activeElement === $("search")) $("search").blur();
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("keys").open) return;
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName || "");
  if (event.key === "Escape") { escape(); return; }
  if (typing) {
    if (event.key === "ArrowDown" || event.key === "Enter") { if (event.target === $("search")) { event.preventDefault(); move(1); } }
    return;
  }
  const onRow = buttons.includes(document.activeElement);
  const at = buttons.indexOf(document.activeElement);
  const actions = {
    "/": () => $("search").focus(), j: () => move(1), k: () => move(-1), t: toggleTheme, "?": () => $("keys").showModal(),
    ...(onRow ? { ArrowDown: () => move(1), ArrowUp: () => move(-1), ArrowRight: () => open(at), ArrowLeft: () => open(at, false) } : {}),
  };
  if (Object.hasOwn(actions, event.key)) {
    event.preventDefault();
    actions[event.key]();
  }
}
