"""Trainings as runs of MLflow, by its own library: parameters, metrics per step, the diagnosis as text.

A run per recipe, trial and seed, in the experiment ``pytest-dlcheck``. MLflow adds runs and takes none
away: each report adds its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pytest_dlcheck.finding import Finding, by_recipe, problems
from pytest_dlcheck.reports.contents import Contents
from pytest_dlcheck.reports.courses import curves_of
from pytest_dlcheck.reports.errors import ReportError
from pytest_dlcheck.reports.hyperparameters import entry_of, is_listed
from pytest_dlcheck.reports.text import failures_text, one_line
from pytest_dlcheck.trace import Trace

EXPERIMENT = "pytest-dlcheck"
_BATCH = 1000
"""Metrics that MLflow takes at a time."""
_LONGEST = 500
"""Characters of a parameter or a tag that every version of MLflow takes."""


def write(contents: Contents, address: str | Path) -> None:
    """Log the trainings of a journal.

    Args:
        contents: what a journal holds.
        address: MLflow's tracking address, such as ``sqlite:///mlflow.db`` or ``https://...``; empty for
            the one that MLflow is set up with.

    Raises:
        ReportError: MLflow does not take it; the message is its own.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    try:
        client = MlflowClient(str(address) or None)
        experiment = _experiment(client)
        groups = by_recipe(contents.findings)
        for recipe in dict.fromkeys((*groups, *contents.traces)):
            for trace in filter(is_listed, contents.traces.get(recipe, ())):
                _log(client, experiment, recipe, trace, groups.get(recipe, []))
    except (MlflowException, OSError) as error:
        told = one_line(str(error).partition("\n")[0])
        raise ReportError(f"MLflow does not take the trainings: {told}") from None


def _experiment(client: Any) -> str:
    found = client.get_experiment_by_name(EXPERIMENT)
    return str(found.experiment_id if found else client.create_experiment(EXPERIMENT))


def _log(client: Any, experiment: str, recipe: str, trace: Trace, findings: Sequence[Finding]) -> None:
    from mlflow.entities import Metric, Param, RunTag

    values, results = entry_of(recipe, trace)
    name = f"{_short(recipe)[:400]}, {trace.trial}"
    run = client.create_run(experiment, run_name=name).info
    parameters = [Param(key, _short(str(value))) for key, value in values.items()]
    tags = [RunTag(f"dlcheck.{key}", _short(value)) for key, value in _told(findings)]
    client.log_batch(run.run_id, params=parameters, tags=tags)
    metrics = [
        Metric(_key(tag), float(value), run.start_time, int(step))
        for tag, curve in (*curves_of(trace).items(), *_last(results, trace))
        for step, value in curve.items()
        if math.isfinite(value)
    ]
    for start in range(0, len(metrics), _BATCH):
        client.log_batch(run.run_id, metrics=metrics[start : start + _BATCH])
    if text := failures_text(findings):
        client.log_text(run.run_id, text, "diagnosis.txt")
    client.set_terminated(run.run_id, "FAILED" if problems(findings) else "FINISHED")


def _told(findings: Sequence[Finding]) -> Iterable[tuple[str, str]]:
    causes = problems(findings)
    yield "problems", str(len(causes))
    for cause, _ in causes:
        yield f"cause.{cause.verdict.check}", cause.objection or cause.verdict.because


def _last(results: dict[str, float], trace: Trace) -> Iterable[tuple[str, dict[int, float]]]:
    step = max(len(trace.series("loss")) - 1, 0)
    return [(tag, {step: value}) for tag, value in results.items()]


def _key(tag: str) -> str:
    """A metric's name, of the characters that MLflow takes."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "_-./ ") else "_" for c in tag)
    return kept[:_LONGEST].strip("/. ") or "_"


def _short(text: str) -> str:
    return one_line(text)[:_LONGEST] or "-"
