"""A test item: one check of one recipe. It asks the examination, and speaks pytest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_dlcheck.finding import Finding
from pytest_dlcheck.plugin import options
from pytest_dlcheck.recipe import RecipeTag, recipe_tag
from pytest_dlcheck.reports import junit
from pytest_dlcheck.reports.text import verdict_text
from pytest_dlcheck.session import Examination, Subject, waived
from pytest_dlcheck.trace import Trace
from pytest_dlcheck.verdict import Outcome, Verdict

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

    def setup(self) -> None:
        """Resolve fixtures, unless the verdict is known already."""
        if not self.examination.is_concluded(self.check):
            self._fill()

    def runtest(self) -> None:
        """Judge, and turn the verdict into pytest's outcome."""
        examination = self.examination
        verdict = examination.judge(self.check, self._build)
        bad = verdict.outcome in {Outcome.FAILED, Outcome.ERRORED}
        # A failure is told with its cause, which may be another check's that has not run yet.
        diagnosis = examination.conclude(self._build) if bad else None
        self.fresh = examination.fresh_traces()
        self.finding = examination.finding(self.check, diagnosis, self.fresh)
        self._conclude(verdict)

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

    def _conclude(self, verdict: Verdict) -> None:
        assert self.finding is not None
        policy = self.subject.policy
        reason = policy.expected.get(self.check)
        if reason is not None and verdict.outcome is not Outcome.ERRORED:
            if not verdict.failed:
                raise VerdictError(
                    f"expected to fail ({reason}) but {verdict.outcome}: {verdict.because}; "
                    "take it off expected="
                )
            self.finding = waived(self.finding, reason)
            pytest.xfail(reason)
        strict = options.strict(self.config)
        if verdict.outcome in {Outcome.FAILED, Outcome.ERRORED}:
            raise VerdictError(verdict_text(verdict, self.finding.because_of))
        if verdict.outcome is Outcome.INCONCLUSIVE:
            if "inconclusive" in strict or policy.on_inconclusive == "fail":
                raise VerdictError(f"inconclusive: {verdict.because}")
            _skip(f"inconclusive: {verdict.because}")
        if verdict.outcome is Outcome.NOT_APPLICABLE:
            _skip(f"not applicable: {verdict.because}")
        if verdict.advice and "advice" in strict:
            raise VerdictError("advice, under --dlcheck-strict: " + "\n".join(verdict.advice))

    def _fill(self) -> None:
        if not self._filled:
            self._filled = True
            super().setup()

    def _build(self) -> Any:
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
        told: dict[str, Any] = {"finding": self.finding.to_json()}
        if traces:
            told["asked"] = self.examination.asked()
            told["traces"] = [trace.to_json() for trace in self.fresh]
        return told

    def properties(self) -> None:
        """Write the finding into JUnit's properties."""
        if self.finding is not None:
            self.user_properties += junit.properties(self.finding)


def _skip(reason: str) -> None:
    raise pytest.skip.Exception(reason, _use_item_location=True)
