"""``diagnose``: a recipe, or a model at hand, examined without pytest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from pytest_dlcheck.by_hand import arguments_of
from pytest_dlcheck.check import select as chosen
from pytest_dlcheck.diagnosis import Diagnosis
from pytest_dlcheck.finding import Finding, ruled
from pytest_dlcheck.policy import Policy, merge, own_marks
from pytest_dlcheck.recipe import Recipe, RecipeError, recipe_tag
from pytest_dlcheck.reports.text import findings_text
from pytest_dlcheck.session import Examination, Factory, Subject, default_checks
from pytest_dlcheck.verdict import Verdict


@dataclass(frozen=True)
class Report:
    """What :func:`diagnose` found.

    ``print`` it for plain text; :meth:`show` and rich render it in colour, notebooks as HTML.

    Attributes:
        diagnosis: the verdicts, causes before consequences.
        findings: the same with what each trial cost.
    """

    diagnosis: Diagnosis
    findings: tuple[Finding, ...]

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """All verdicts."""
        return self.diagnosis.verdicts

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not any(finding.fails for finding in self.findings)

    def __str__(self) -> str:
        return findings_text(self.findings)

    def __repr__(self) -> str:
        return str(self)

    def __rich__(self) -> Any:
        from pytest_dlcheck.reports import console

        return console.page(self.findings)

    def _repr_html_(self) -> str:
        from pytest_dlcheck.reports import notebook

        return notebook.page(self.findings)

    def show(self) -> None:
        """Print the report with rich: in colour where the terminal has any."""
        from rich.console import Console

        Console(highlight=False, markup=False, emoji=False).print(self)


def diagnose(
    subject: Any,
    batch: Any = None,
    /,
    *,
    loss: Callable[[Any, Any], Any] | None = None,
    optimizer: Any = None,
    steps: int | None = None,
    select: Iterable[str] | None = None,
    device: str | None = None,
) -> Report:
    """Examine a recipe, or a model at hand, without pytest.

    A recipe's own marker ``dlcheck`` holds as it does under pytest.

    Args:
        subject: a recipe's factory, a :class:`Recipe`, or an ``nn.Module``.
        batch: for a module: one batch, ``(inputs, targets)`` or what the model takes.
        loss: for a module: ``loss(outputs, targets)``.
        optimizer: for a module: its optimizer.
        steps: optimizer steps of the short training; the policy's, or 100, where none are given.
        select: names of checks or families; those of the policy where none are given.
        device: where to run; as the policy says, or ``"auto"``, where none is given.

    Returns:
        The report: ``print`` it. The model and the optimizer are as they were before.

    Raises:
        RecipeError: the recipe contradicts itself.
        UnknownCheckError: a selected name does not exist.

    Example:
        >>> print(diagnose(model, (images, labels), loss=CrossEntropyLoss(), optimizer=adam))
    """
    factory, rebuild = _factory_of(subject, batch, loss, optimizer)
    given = {"steps": steps, "device": device, "select": select}
    policy = merge(
        (mark.kwargs for mark in own_marks(factory)), {k: v for k, v in given.items() if v is not None}
    )
    name = getattr(subject, "__name__", type(subject).__name__)
    examination = Examination(Subject(name, policy, _checks(policy, subject), rebuild))
    try:
        diagnosis = examination.conclude(factory)
    finally:
        examination.put_back()
    findings = tuple(
        ruled(examination.finding(v.check, diagnosis, examination.fresh_traces()), policy)
        for v in diagnosis.verdicts
    )
    return Report(diagnosis, findings)


def _checks(policy: Policy, subject: object) -> tuple[str, ...]:
    names = default_checks(subject) if policy.select is None else chosen(policy.select, option="select")
    ignored = chosen(policy.ignore, option="ignore")
    return tuple(name for name in names if name not in ignored)


def _factory_of(
    subject: Any, batch: Any, loss: Callable[[Any, Any], Any] | None, optimizer: Any
) -> tuple[Factory, bool]:
    if isinstance(subject, Recipe):
        return lambda: subject, False
    if hasattr(subject, "named_parameters"):
        if batch is None:
            raise RecipeError("a model needs a batch to be diagnosed with: diagnose(model, batch, ...)")
        made = Recipe(model=subject, train_data=[batch], loss=loss, optimizer=optimizer)
        return lambda: made, False
    if not callable(subject):
        raise RecipeError(f"diagnose() takes a recipe or a model, not a {type(subject).__name__}")
    if missing := arguments_of(subject):
        raise RecipeError(
            f"the recipe {getattr(subject, '__name__', '')} takes {', '.join(missing)}, which only "
            "pytest can give it: diagnose(lambda: my_recipe(...)), with the arguments filled in"
        )
    tag = recipe_tag(subject)
    return subject, tag.rebuild if tag else True
