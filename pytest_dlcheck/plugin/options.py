"""The command line's options, each with its ini twin, and what of them is policy."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal

import pytest

if TYPE_CHECKING:
    from pytest_dlcheck.reports.kinds import Request

MARKER = (
    "dlcheck(steps, seeds, select, ignore, expected, device, timeout, on_inconclusive, accuracy, "
    "metrics, throughput, latency, peak_memory, epochs, folds, max_seeds): "
    "how pytest-dlcheck judges a recipe; on a recipe, a class or a module, the nearest wins"
)
STRICT = ("inconclusive", "advice")
ON_THE_COMMAND_LINE = "ignored on the command line"
_HAS_TYPED_INI = pytest.version_tuple >= (8, 4)
SEARCH_PATH = pytest.StashKey[tuple[str, ...]]()
"""``sys.path`` as it was before the configuration and the conftest files added to it."""
_Ini = Literal["string", "args", "bool", "int", "float"]


def declare(parser: pytest.Parser) -> None:
    """Declare everything."""
    group = parser.getgroup("dlcheck", "find what breaks a PyTorch training silently")
    group.addoption("--dlcheck", action="store_true", help="collect recipes and check them")
    _ini(parser, "dlcheck", "bool", "collect recipes and check them", default=False)
    for name, kind, metavar, text in (
        ("device", "string", "DEVICE", "auto, cpu, cuda, cuda:N, mps or xpu (default: auto)"),
        ("steps", "int", "N", "optimizer steps of a short training (default: 100)"),
        ("seeds", "int", "N", "seeds that a short training is run with (default: 1)"),
        ("timeout", "float", "S", "seconds that one trial may take; implies --dlcheck-isolate"),
    ):
        group.addoption(f"--dlcheck-{name}", metavar=metavar, default=None, help=text)
        _ini(parser, f"dlcheck_{name}", kind, text.partition(";")[0])  # type: ignore[arg-type]
    text = "run each trial in a process of its own, so that a hang or a crash ends it alone"
    group.addoption("--dlcheck-isolate", action="store_true", help=text)
    _ini(parser, "dlcheck_isolate", "bool", text, default=False)
    for name, text in (
        ("select", "only these checks or families, separated by commas; default: the usual ones"),
        ("ignore", "not these checks or families, separated by commas"),
    ):
        group.addoption(f"--dlcheck-{name}", action="append", metavar="NAMES", help=text)
        _ini(parser, f"dlcheck_{name}", "args", text)
    text = "write a report: html, json, markdown, mlflow, openmetrics or tensorboard; repeatable"
    group.addoption("--dlcheck-report", action="append", metavar="KIND[:PATH]", help=text)
    _ini(parser, "dlcheck_report", "args", text)
    text = "folder of plots that JUnit's file names; wants junit_logging = system-out"
    _ini(parser, "dlcheck_junit_attachments", "string", text)
    for name, metavar, text in (
        ("store", "URL", "where gates leave what they measure; none for nowhere (.dlcheck/history.db)"),
        (
            "baseline",
            "REF",
            "hold gates against the history of a branch or commit, or of what is accepted",
        ),
    ):
        group.addoption(f"--dlcheck-{name}", metavar=metavar, default=None, help=text)
        _ini(parser, f"dlcheck_{name}", "string", text)
    text = "hold speed and accuracy against another commit's, whose code is run side by side"
    group.addoption("--dlcheck-against", metavar="GITREF", default=None, help=text)
    _ini(parser, "dlcheck_against", "string", text)
    text = "fail also on what is inconclusive or advised against (default: both)"
    group.addoption("--dlcheck-strict", nargs="?", const=",".join(STRICT), metavar="WHAT", help=text)
    _ini(parser, "dlcheck_strict", "args", text)


def store(config: pytest.Config) -> str:
    """Where the history of gates lies, as it was given; empty for the default, ``none`` for nowhere.

    An environment variable can name it too: an address in it is in no list of processes.
    """
    given = config.getoption("--dlcheck-store") or config.getini("dlcheck_store")
    return str(given or os.environ.get("DLCHECK_STORE", ""))


def baseline(config: pytest.Config) -> str:
    """What of the history gates are held against: a reference or ``accepted``; empty for nothing."""
    return str(config.getoption("--dlcheck-baseline") or config.getini("dlcheck_baseline") or "")


def against(config: pytest.Config) -> str:
    """The commit that gates are to be held against, side by side; empty for none."""
    return str(config.getoption("--dlcheck-against") or config.getini("dlcheck_against") or "")


def enabled(config: pytest.Config) -> bool:
    """Whether recipes are to be checked."""
    return bool(config.getoption("--dlcheck") or _ini_value(config, "dlcheck"))


def isolates(config: pytest.Config) -> bool:
    """Whether trials run in processes of their own.

    A time limit on the command line wants it too: a hang is ended together with its process alone.
    """
    asked = config.getoption("--dlcheck-isolate") or _ini_value(config, "dlcheck_isolate")
    return bool(asked or config.getoption("--dlcheck-timeout") is not None)


def given(config: pytest.Config) -> dict[str, Any]:
    """What the command line says as policy; it overrides every marker."""
    return _policy(lambda name: config.getoption(f"--dlcheck-{name}"))


def defaults(config: pytest.Config) -> dict[str, Any]:
    """What the ini file says as policy; every marker overrides it."""
    return _policy(lambda name: _ini_value(config, f"dlcheck_{name}"))


def device(config: pytest.Config) -> str:
    """The device that the command line, or else the ini file, names."""
    return str({**defaults(config), **given(config)}.get("device", "auto"))


def _policy(value_of: Callable[[str], Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, read in (
        ("device", str),
        ("steps", _whole),
        ("seeds", _whole),
        ("timeout", _seconds),
    ):
        value = value_of(name)
        if value not in {None, ""}:
            found[name] = read(value)
    if names := _names(value_of("select")):
        found["select"] = names
    return found


def names_of(config: pytest.Config, name: str) -> tuple[str, ...]:
    """The names that ``--dlcheck-select``, ``--dlcheck-ignore`` or their ini twins list."""
    return _names(config.getoption(f"--dlcheck-{name}") or config.getini(f"dlcheck_{name}"))


def asks_for_reports(config: pytest.Config) -> bool:
    """Whether any report is asked for; which, and whether it can be made, is not looked at."""
    return bool(config.getoption("--dlcheck-report") or config.getini("dlcheck_report"))


def reports(config: pytest.Config) -> tuple[Request, ...]:
    """The reports that are asked for.

    Raises:
        pytest.UsageError: a kind is unknown, or needs what is not installed.
    """
    from pytest_dlcheck.reports.errors import ReportError
    from pytest_dlcheck.reports.kinds import requested

    asked = config.getoption("--dlcheck-report") or config.getini("dlcheck_report") or ()
    try:
        return tuple(map(requested, asked))
    except ReportError as error:
        raise pytest.UsageError(f"--dlcheck-report: {error}") from None


def attachments(config: pytest.Config) -> str:
    """The folder for JUnit's plots; empty for none."""
    return str(config.getini("dlcheck_junit_attachments") or "")


def strict(config: pytest.Config) -> frozenset[str]:
    """What else is to fail: ``inconclusive``, ``advice``, both or nothing.

    Raises:
        pytest.UsageError: something else is named.
    """
    value = config.getoption("--dlcheck-strict")
    words = [value] if value is not None else config.getini("dlcheck_strict")
    chosen = {part for word in words or () for part in word.replace(",", " ").split()}
    if wrong := chosen - set(STRICT):
        raise pytest.UsageError(
            f"--dlcheck-strict: {', '.join(sorted(wrong))} is unknown (valid: {', '.join(STRICT)}); "
            f"before a path write --dlcheck-strict={','.join(STRICT)}, with the equals sign"
        )
    return frozenset(chosen)


def _ini_value(config: pytest.Config, name: str) -> Any:
    """What the ini file says; pytest's own words for a wrong number or flag leave out where it stands.

    Raises:
        pytest.UsageError: it is not of its kind.
    """
    try:
        return config.getini(name)
    except (TypeError, ValueError, pytest.UsageError) as error:
        raise pytest.UsageError(f"{name} in the ini file, or given by -o: {error}") from None


def _names(values: Iterable[str] | None) -> tuple[str, ...]:
    return tuple(part for value in values or () for part in value.replace(",", " ").split())


def _whole(value: Any) -> Any:
    text = str(value)
    return int(text) if text.removeprefix("-").isdecimal() else value


def _seconds(value: Any) -> Any:
    try:
        return float(value)
    except ValueError:
        return value


def _ini(parser: pytest.Parser, name: str, kind: _Ini, text: str, *, default: object = None) -> None:
    if kind in {"int", "float"} and not _HAS_TYPED_INI:
        kind = "string"
    parser.addini(name, text, type=kind, default=[] if kind == "args" else default)
