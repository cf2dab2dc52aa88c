"""A test item: one check of one recipe. It asks the examination, and speaks pytest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_dlcheck.finding import Finding, ruled
from pytest_dlcheck.plugin import options
from pytest_dlcheck.recipe import RecipeTag, recipe_tag
from pytest_dlcheck.reports import junit
from pytest_dlcheck.reports.secrets import masked, masked_finding
from pytest_dlcheck.reports.text import finding_text
from pytest_dlcheck.session import Examination, Subject, timed_checks
from pytest_dlcheck.trace import Trace
from pytest_dlcheck.verdict import Outcome

if TYPE_CHECKING:
    from pytest_dlcheck.plugin.conductor import Conductor


class VerdictError(Exception):
    """A verdict that fails its item; the message is the diagnosis."""


class CheckItem(pytest.Function):
    """One check of one variant of a recipe.

    Args:
        check: the check's name.
        subject: what is examined, shared by the items of the variant.
        variant: the ``Function`` that pytest made of the factory: its parameters and fixtures.
    """

    def __init__(self, *, check: str, subject: Subject, variant: pytest.Function, **kwargs: Any) -> None:
        super().__init__(
            callobj=variant.obj,
            callspec=getattr(variant, "callspec", None),
            fixtureinfo=variant._fixtureinfo,  # noqa: SLF001  no public way to share it
            originalname=check,
            **kwargs,
        )
        self.check, self.subject, self.variant = check, subject, variant
        self.tag = recipe_tag(variant.obj) or RecipeTag()
        self.finding: Finding | None = None
        self.fresh: tuple[Trace, ...] = ()
        self._filled = False
        if not any(mark.name == "dlcheck" for mark in self.iter_markers()):
            self.add_marker("dlcheck")

    @property
    def qualified_name(self) -> str:
        """The recipe's name with its file and class, where the short one is taken twice."""
        assert self.parent is not None
        return f"{self.parent.nodeid}{self.name.removeprefix(self.check)}"

    @property
    def examination(self) -> Examination:
        """The examination that the items of this variant share."""
        conductor: Conductor | None = self.config.pluginmanager.get_plugin("dlcheck-conductor")
        assert conductor is not None
        return conductor.examination(self)

    @property
    def instance(self) -> Any:
        """The instance that a method's variant is bound to; fixtures of the class ask for it."""
        return self.variant.instance

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where the recipe stands, and ``recipe::check``."""
        path, line, _ = self.variant.reportinfo()
        assert self.parent is not None
        return Path(path), line, f"{self.parent.name}::{self.name}"

    @property
    def names(self) -> set[str]:
        """What the recipe is made of, as files of tests name it: its factory, class and fixtures."""
        own = {
            self.variant.originalname,
            *([] if self.variant.cls is None else [self.variant.cls.__name__]),
        }
        return own | set(self.variant._fixtureinfo.names_closure)  # noqa: SLF001  as above

    @property
    def place(self) -> dict[str, Any]:
        """Which check of which recipe it is, and where that stands: file from the root, and line."""
        path, line, _ = self.reportinfo()
        root = self.config.rootpath
        file = path.relative_to(root).as_posix() if path.is_relative_to(root) else ""
        recipe = self.examination.subject.name
        return {"recipe": recipe, "check": self.check, "file": file, "line": (line or 0) + 1}

    def setup(self) -> None:
        """Resolve fixtures, unless the verdict is known already or a child will need them."""
        examination = self.examination
        here = examination.runner is None and self.check not in timed_checks()
        if here and not examination.is_concluded(self.check):
            self._fill()

    def runtest(self) -> None:
        """Judge, and turn the verdict into pytest's outcome."""
        examination = self.examination
        verdict = examination.judge(self.check, self.build)
        bad = verdict.outcome in {Outcome.FAILED, Outcome.ERRORED}
        # A failure is told with its cause, which may be another check's that has not run yet. No
        # training is to be run for one of speed, which none explains, while others wait for it.
        explained = bad and self.check not in timed_checks()
        diagnosis = examination.conclude(self.build) if explained else None
        self.fresh = examination.fresh_traces()
        finding = examination.finding(self.check, diagnosis, self.fresh)
        self.finding = masked_finding(finding)
        self._conclude()

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> Any:  # type: ignore[override]
        """The diagnosis instead of a stack trace; errors of the user's fixtures as ever."""
        if not isinstance(excinfo.value, VerdictError):
            return super().repr_failure(excinfo)
        shown = excinfo.getrepr(style="value")
        path, line, _ = self.reportinfo()
        crash = shown.reprcrash
        if crash is not None:
            crash.path, crash.lineno = str(path), (line or 0) + 1
            crash.message = str(excinfo.value).splitlines()[0]
        return shown

    def _conclude(self) -> None:
        """Turn the finding into pytest's outcome."""
        assert self.finding is not None
        finding = self.finding = ruled(self.finding, self.subject.policy, options.strict(self.config))
        if finding.waived:
            pytest.xfail(finding.waived)
        if finding.fails:
            raise VerdictError(finding_text(finding))
        if finding.verdict.outcome in {Outcome.INCONCLUSIVE, Outcome.NOT_APPLICABLE}:
            told = f"{finding.verdict.outcome}: {finding.verdict.because}"
            _skip(f"{told} ({finding.recipe}::{self.check})")  # pytest -rs names the file alone

    def _fill(self) -> None:
        if not self._filled:
            super().setup()
            self._filled = True

    def build(self) -> Any:
        """What the factory returns, given its fixtures."""
        self._fill()
        names = self._fixtureinfo.argnames
        return self.obj(**{name: self.funcargs[name] for name in names})

    def news(self, *, traces: bool) -> dict[str, Any] | None:
        """What this item has to tell, as plain data; None before it has concluded anything.

        Args:
            traces: whether its traces are wanted too.
        """
        if self.finding is None:
            return None
        return news_of(self.finding, self, self.fresh, traces=traces)

    def properties(self) -> None:
        """Write the finding into JUnit's properties."""
        if self.finding is not None:
            self.user_properties += junit.properties(self.finding)


def _skip(reason: str) -> None:
    raise pytest.skip.Exception(reason, _use_item_location=True)


def news_of(
    finding: Finding, item: CheckItem, fresh: tuple[Trace, ...], *, traces: bool
) -> dict[str, Any]:
    """What is to be told of a finding, as plain data.

    Args:
        finding: what was concluded.
        item: any item of the recipe's variant.
        fresh: the traces that it had to wait for.
        traces: whether these are wanted too.
    """
    told: dict[str, Any] = {"finding": finding.to_json()}
    if traces:
        place = item.place
        told["asked"] = {**item.examination.asked(), "file": place["file"], "line": place["line"]}
        told["traces"] = [trace.to_json() for trace in fresh]
    return told


def turn_of(item: CheckItem, call: pytest.CallInfo[None]) -> dict[str, Any]:
    """What is told of an item's turn, whatever comes of it: its place, and what ended it unjudged."""
    told: dict[str, Any] = {"place": item.place}
    if item.finding is None and call.excinfo is not None:
        raised = call.excinfo.value
        said = str(raised) if isinstance(raised, pytest.skip.Exception) else call.excinfo.exconly()
        told["because"] = masked(said.partition("\n")[0])
    return told
