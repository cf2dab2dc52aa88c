"""The numbers as OpenMetrics text, for GitLab's merge requests and for Prometheus.

GitLab compares values as strings, so that they are rounded: what is measured to three significant
digits, what is timed to two.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pytest_dlcheck.finding import Finding, by_recipe
from pytest_dlcheck.reports.contents import Contents
from pytest_dlcheck.reports.files import write_text
from pytest_dlcheck.reports.text import one_line
from pytest_dlcheck.verdict import Outcome

DIGITS = 3
"""Significant digits of what is measured; fewer tell runs apart that differ by more than noise."""
TIMED_DIGITS = 2
"""Significant digits of what is timed, which no two runs share."""
_EXACT = 2.0**53


@dataclass
class Family:
    """A metric family: its name, what it says, and a sample per set of labels.

    Attributes:
        name: as OpenMetrics has it; it ends in its unit, where it has one.
        about: what it says.
        unit: its unit.
        digits: significant digits of its values.
        samples: labels -> value; the last one counts where labels are met again.
    """

    name: str
    about: str
    unit: str = ""
    digits: int = DIGITS
    samples: dict[tuple[tuple[str, str], ...], float] = field(default_factory=dict)

    def add(self, value: float, **labels: str) -> None:
        """Add a sample."""
        self.samples[tuple(labels.items())] = value

    def lines(self) -> Iterable[str]:
        """Its lines; none where there is no sample."""
        if not self.samples:
            return
        yield f"# TYPE {self.name} gauge"
        if self.unit:
            yield f"# UNIT {self.name} {self.unit}"
        yield f"# HELP {self.name} {self.about}"
        for labels, value in self.samples.items():
            told = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels)
            yield f"{self.name}{{{told}}} {number(value, self.digits)}"


def write(contents: Contents, path: Path) -> None:
    """Write the numbers of a journal.

    Raises:
        ReportError: the file cannot be written.
    """
    write_text(path, text(contents))


def text(contents: Contents) -> str:
    """The numbers as text, ended as OpenMetrics wants it."""
    families = (*_verdicts(contents.findings), *_trials(contents.findings))
    return "\n".join([*(line for family in families for line in family.lines()), "# EOF", ""])


def number(value: float, digits: int = DIGITS) -> str:
    """A number as OpenMetrics writes it, rounded; whole ones are whole.

    Args:
        value: the number; it may be NaN or infinite.
        digits: significant digits.
    """
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    rounded = float(f"{value:.{digits}g}")
    if digits == DIGITS and value == int(value) and abs(value) < _EXACT:
        return str(int(value))
    if rounded == int(rounded) and abs(rounded) < _EXACT:
        return str(int(rounded))
    return repr(rounded)


def _verdicts(findings: Iterable[Finding]) -> tuple[Family, ...]:
    counts = Family("dlcheck_checks", "Checks of a recipe by what became of them.")
    measures = Family("dlcheck_measure", "What a check measured.")
    bounds = Family("dlcheck_bound", "What a measure was held against.")
    for recipe, group in by_recipe(findings).items():
        outcomes = Counter(finding.verdict.outcome for finding in group)
        for outcome in Outcome:
            counts.add(outcomes[outcome], recipe=recipe, outcome=str(outcome))
        for finding in group:
            for measure in finding.verdict.measures:
                labels = {
                    "recipe": recipe,
                    "check": finding.verdict.check,
                    "measure": measure.name,
                    "unit": measure.unit,
                }
                measures.add(measure.value, **labels)
                if measure.bound is not None:
                    bounds.add(measure.bound, **labels, sense=measure.sense)
    return counts, measures, bounds


def _trials(findings: Iterable[Finding]) -> tuple[Family, ...]:
    losses = Family("dlcheck_final_loss", "The last loss of a trial.")
    rates = Family(
        "dlcheck_throughput_samples_per_second",
        "Samples per second of a training with probes on.",
        "samples_per_second",
        TIMED_DIGITS,
    )
    seconds = Family("dlcheck_trial_seconds", "Wall time of a trial.", "seconds", TIMED_DIGITS)
    for finding in findings:
        for trial in finding.trials:
            labels = {"recipe": finding.recipe, "trial": trial.name}
            if trial.losses:
                losses.add(trial.losses[-1], **labels)
            if trial.samples_per_second is not None:
                rates.add(trial.samples_per_second, **labels)
            seconds.add(trial.seconds, **labels)
    return losses, rates, seconds


def _escaped(text: str) -> str:
    return one_line(text).replace("\\", "\\\\").replace('"', '\\"')
