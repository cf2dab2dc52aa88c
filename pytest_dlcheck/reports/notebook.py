"""What ``diagnose`` found, for notebooks: a self-contained piece of HTML, all text escaped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

from pytest_dlcheck.finding import Finding, TrialSummary, by_recipe, problems
from pytest_dlcheck.reports.places import gathered
from pytest_dlcheck.reports.text import SUSPECTS_SHOWN, led_to_text, shown
from pytest_dlcheck.verdict import Measure, Outcome, Verdict

_BAD = {Outcome.FAILED, Outcome.ERRORED}
_SENSE = {"<=": "≤", ">=": "≥", "=": "="}
_WIDTH, _HEIGHT = 120, 24
"""Of the loss curve, in pixels."""
# Colours are mixed from the notebook's own text colour, so that light and dark both stay readable;
# only the outcomes' badges bring their own.
_STYLE = """
.dlcheck{font:14px/1.5 system-ui,sans-serif;color:inherit;max-width:72em;overflow-x:auto}
.dlcheck .faint{color:color-mix(in srgb,currentColor 65%,transparent)}
.dlcheck h3{font-size:1.25em;margin:.2em 0;display:flex;flex-wrap:wrap;gap:.3em 1em;align-items:center}
.dlcheck h3 .faint{font-size:.75em;font-weight:normal}
.dlcheck h3 svg{vertical-align:middle;overflow:visible}
.dlcheck code{font:.92em ui-monospace,monospace;background:none;color:inherit;padding:0;
unicode-bidi:isolate;overflow-wrap:break-word}
.dlcheck .badge{font-size:.75em;font-weight:600;border-radius:1em;padding:.1em .7em;color:#fff;
white-space:nowrap}
.dlcheck .passed{background:#2e7d32}.dlcheck .failed,.dlcheck .errored{background:#c62828}
.dlcheck .inconclusive{background:#9a6700}.dlcheck .not-applicable{background:#6b7280}
.dlcheck .advice{background:#0b6e8a}
.dlcheck section{border-left:4px solid #c62828;padding:.2em 0 .2em 1em;margin:.9em 0}
.dlcheck section.open{border-color:#9a6700}.dlcheck section.hint{border-color:#0b6e8a}
.dlcheck section p{margin:.25em 0}
.dlcheck table{border-collapse:collapse;margin:.4em 0;font-size:1em;color:inherit}
.dlcheck th,.dlcheck td,.dlcheck tr{text-align:left!important;vertical-align:top;
background:none!important;color:inherit}
.dlcheck th,.dlcheck td{padding:.2em 1.2em .2em 0;border:0}
.dlcheck .verdicts tr{border-top:1px solid color-mix(in srgb,currentColor 18%,transparent)}
.dlcheck .verdicts code{overflow-wrap:normal}
.dlcheck .verdicts td.number{white-space:nowrap;font-variant-numeric:tabular-nums}
.dlcheck dl{display:grid;grid-template-columns:max-content 1fr;gap:.15em 1.2em;margin:.4em 0}
.dlcheck dt{font-weight:normal;color:color-mix(in srgb,currentColor 65%,transparent)}
.dlcheck dd{margin:0}.dlcheck dd.cause{font-weight:600}
.dlcheck pre{font:.88em/1.4 ui-monospace,monospace;white-space:pre-wrap;background:none;color:inherit;
overflow-wrap:anywhere}
.dlcheck summary{cursor:pointer}
.dlcheck ul{margin:.2em 0;padding-left:1.4em}
"""


def page(findings: Iterable[Finding]) -> str:
    """The examination as a fragment of HTML: causes, what they led to, then every verdict's numbers."""
    parts = [f"<style>{_STYLE}</style>"]
    for recipe, group in by_recipe(findings).items():
        parts += [_head(recipe, group), *_causes(group), *_unsettled(group), _verdicts(group)]
    return f'<div class="dlcheck">{shown("".join(parts))}</div>'


def _head(recipe: str, group: Sequence[Finding]) -> str:
    causes = len(problems(group))
    told = f"{causes} problem{'s' if causes != 1 else ''}" if causes else "no problem found"
    trials = [trial for finding in group for trial in finding.trials]
    seconds = f"{sum(trial.seconds for trial in trials):.1f} s" if trials else ""
    return (
        f'<h3>{_code(recipe)}<span class="badge {"failed" if causes else "passed"}">{told}</span>'
        f'<span class="faint">{_loss(trials)}</span><span class="faint">{seconds}</span></h3>'
    )


def _causes(group: Sequence[Finding]) -> Iterable[str]:
    for cause, consequences in problems(group):
        verdict = cause.verdict
        broken = verdict.outcome is Outcome.ERRORED
        name = "the recipe itself" if broken else _code(verdict.check)
        so = _text(led_to_text(cause, consequences))
        led_to = so if broken else _consequences([f.verdict for f in consequences])
        yield (
            f"<section><p>{_badge(verdict.outcome)} <b>{name}</b></p>"
            f"{_text(verdict.because)}{_suspects(verdict)}{_told(verdict)}{led_to}</section>"
        )


def _suspects(verdict: Verdict) -> str:
    if verdict.outcome is Outcome.ERRORED:
        return "".join(f"<pre>{escape(s.finding)}</pre>" for s in verdict.suspects if s.finding)
    rows = [
        f"<tr><td>{_code(s.site or 'the model')}</td><td>{escape(s.finding)}"
        + (f"<br>→ {escape(s.remedy)}" if s.remedy and s.remedy != verdict.remedy else "")
        + "</td></tr>"
        for s in gathered(verdict.suspects)
    ]
    shown, hidden = rows[:SUSPECTS_SHOWN], rows[SUSPECTS_SHOWN:]
    more = (
        f"<details><summary>and {len(hidden)} more</summary><table>{''.join(hidden)}</table></details>"
    )
    return (f"<table>{''.join(shown)}</table>" if shown else "") + (more if hidden else "")


def _told(verdict: Verdict) -> str:
    if verdict.outcome is Outcome.ERRORED:
        return ""
    lines = [("likely cause", verdict.cause, "cause"), ("remedy", verdict.remedy, "")]
    lines += [("advice", advice, "") for advice in verdict.advice]
    told = [
        f'<dt>{label}</dt><dd class="{kind}">{escape(text)}</dd>' for label, text, kind in lines if text
    ]
    return f"<dl>{''.join(told)}</dl>" if told else ""


def _consequences(verdicts: Sequence[Verdict]) -> str:
    if not verdicts:
        return ""
    items = "".join(f"<li>{_code(v.check)}: {escape(v.because)}</li>" for v in verdicts)
    count = f"{len(verdicts)} consequence{'s' if len(verdicts) != 1 else ''}"
    names = ", ".join(_code(v.check) for v in verdicts)
    return f"<details><summary>and so also {count}: {names}</summary><ul>{items}</ul></details>"


def _unsettled(group: Sequence[Finding]) -> Iterable[str]:
    for verdict in (finding.verdict for finding in group):
        if verdict.outcome is Outcome.INCONCLUSIVE:
            head = f"{_badge(verdict.outcome)} <b>{_code(verdict.check)}</b>"
            yield f'<section class="open"><p>{head}</p>{_text(verdict.because)}</section>'
        if verdict.advice and verdict.outcome not in _BAD:
            head = f'<span class="badge advice">advice</span> <b>{_code(verdict.check)}</b>'
            lines = "".join(map(_text, verdict.advice))
            yield f'<section class="hint"><p>{head}</p>{lines}</section>'


def _verdicts(group: Sequence[Finding]) -> str:
    rows = "".join(map(_row, group))
    head = "".join(f"<th>{title}</th>" for title in ("check", "verdict", "measured", "bound", "because"))
    return (
        f"<details open><summary>all {len(group)} verdicts</summary>"
        f'<table class="verdicts"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></details>'
    )


def _row(finding: Finding) -> str:
    verdict, because_of = finding.verdict, finding.because_of
    measures = [m for m in verdict.measures if m.bound is not None]
    values = "<br>".join(
        f'<span title="{escape(m.name)}">{_number(m.value, m)}</span>' for m in measures
    )
    bounds = "<br>".join(
        f"{_SENSE.get(m.sense, escape(m.sense))} {_number(m.bound, m)}" for m in measures
    )
    because = f"because of {because_of}: {verdict.because}" if because_of else verdict.because
    because = f"as expected ({finding.waived}): {because}" if finding.waived else because
    return (
        f"<tr><td>{_code(verdict.check)}</td><td>{_badge(verdict.outcome)}</td>"
        f'<td class="number">{values}</td><td class="number">{bounds}</td>'
        f'<td class="faint">{escape(because)}</td></tr>'
    )


def _number(value: float | None, measure: Measure) -> str:
    unit = "" if measure.unit in {"", "ratio", "count"} else f" {measure.unit}"
    return escape(f"{value:.4g}{unit}")


def _loss(trials: Sequence[TrialSummary]) -> str:
    losses = next((t.losses for t in trials if t.kind == "train" and t.losses), ())
    if not losses:
        return ""
    finite = [loss for loss in losses if math.isfinite(loss)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    across, down = _WIDTH / max(len(losses) - 1, 1), _HEIGHT / ((high - low) or 1.0)
    points = " ".join(
        f"{i * across:.1f},{(high - loss) * down:.1f}"
        for i, loss in enumerate(losses)
        if math.isfinite(loss)
    )
    line = f'<polyline fill="none" stroke="currentColor" stroke-width="1.5" points="{points}"/>'
    size = f'width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="the training loss"'
    return f"train loss <svg {size}>{line}</svg> {losses[0]:.3g} → {losses[-1]:.3g}"


def _badge(outcome: Outcome) -> str:
    return f'<span class="badge {outcome.replace(" ", "-")}">{outcome}</span>'


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _text(text: str) -> str:
    return f"<p>{escape(text)}</p>".replace("\n", "<br>")
