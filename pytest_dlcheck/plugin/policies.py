"""The policy of one recipe, from its markers and the command line, with usage errors that teach."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from pytest_dlcheck.check import UnknownCheckError, select, unknown
from pytest_dlcheck.plugin import options
from pytest_dlcheck.policy import Policy, PolicyError, merge
from pytest_dlcheck.recipe import RecipeError
from pytest_dlcheck.session import all_checks, default_checks, resolve_device

WATCHED = ("select", "ignore", "expected", "on_inconclusive")
"""Keys that say something of what an ordinary test trains: the rest is of trainings that are ours."""
UNASKED = ("throughput", "accuracy")
"""Gates that another commit is held to where a recipe asks for none; they need not decide."""


def policy_of(item: pytest.Item, own: Sequence[pytest.Mark] = ()) -> Policy:
    """The policy that holds for a test item.

    Args:
        item: the test.
        own: markers of a recipe that it examines: they come after its own, before those around it.

    Raises:
        pytest.UsageError: a key or a name does not exist, or a value is impossible.
    """
    with _told_with_its_place(item):
        first = [mark for mark in item.own_markers if mark.name == "dlcheck"]
        around = [mark for mark in item.iter_markers("dlcheck") if mark not in first]
        markers = [_keywords(mark) for mark in (*first, *own, *around)]
        markers.append(options.defaults(item.config))
        policy = merge(markers, options.given(item.config))
        for key in ("select", "ignore"):
            select(getattr(policy, key) or (), option=f"dlcheck({key}=...)")
        _refuse_unknown(policy.expected)
        _refuse_nothing(policy, item.config)
        return policy


def watched_policy_of(item: pytest.Item) -> Policy:
    """The policy of an ordinary test that is watched: its own marker says nothing that is not heard.

    What markers around it say of recipes, those of a class or a module, stays theirs.

    Raises:
        pytest.UsageError: it says what holds for recipes alone, or what is not understood.
    """
    policy = policy_of(item)
    with _told_with_its_place(item):
        own = (mark for mark in item.own_markers if mark.name == "dlcheck")
        unheard = sorted({key for mark in own for key in mark.kwargs} - set(WATCHED))
        if unheard:
            raise PolicyError(
                f"{_keys(unheard)} can be said of a recipe alone (@recipe), whose training is run for "
                f"it; what an ordinary test trains is watched as it is, and takes {_keys(WATCHED)}"
            )
    return policy


@contextmanager
def _told_with_its_place(item: pytest.Item) -> Iterator[None]:
    try:
        yield
    except (PolicyError, UnknownCheckError) as error:
        path, line, _ = item.reportinfo()
        place = f"{path}:{(line or 0) + 1}"
        raise pytest.UsageError(f"dlcheck policy of {item.name} ({place}): {error}") from None


@contextmanager
def told_alone() -> Iterator[None]:
    """What a test's marker says wrongly fails that test, in its own words and without a stack trace."""
    __tracebackhide__ = True
    try:
        yield
    except pytest.UsageError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


def _keys(names: Iterable[str]) -> str:
    return ", ".join(f"{name}=" for name in names)


def _refuse_unknown(expected: Iterable[str]) -> None:
    for name in expected:
        if name not in all_checks():
            raise UnknownCheckError(unknown("dlcheck(expected=...)", name, all_checks()))


def _refuse_nothing(policy: Policy, config: pytest.Config) -> None:
    if policy.select == () and not (policy.gates or _held_against(policy, config)):
        raise PolicyError("select=[] leaves nothing to check: leave it out for the usual checks")


def _keywords(marker: pytest.Mark) -> Mapping[str, Any]:
    if marker.args:
        raise PolicyError(f"takes keyword arguments only, not {marker.args[0]!r}")
    return marker.kwargs


def wanted_checks(
    policy: Policy, config: pytest.Config, among: Callable[[], tuple[str, ...]] = default_checks
) -> tuple[str, ...]:
    """The names of the checks that a policy and the command line leave, causes first.

    Args:
        policy: what is selected, and ignored.
        config: the command line.
        among: gives the names where none are selected.
    """
    chosen = among() if policy.select is None else select(policy.select, option="select")
    if not options.names_of(config, "select"):  # which says: only these
        gates = {*chosen, *policy.gates, *_held_against(policy, config)}
        chosen = tuple(name for name in all_checks() if name in gates)
    ignored = {
        *select(policy.ignore, option="ignore"),
        *select(options.names_of(config, "ignore"), option="--dlcheck-ignore"),
    }
    return tuple(name for name in chosen if name not in ignored)


def _held_against(policy: Policy, config: pytest.Config) -> tuple[str, ...]:
    """What is judged beside the usual checks where there is another commit to be held against."""
    if not options.against(config):
        return ("reproduces_baseline",) if options.baseline(config) else ()
    return ("reproduces_baseline", *(() if policy.gates else UNASKED))


def check_command_line(config: pytest.Config) -> None:
    """Refuse names and values on the command line that do not exist, before anything is collected.

    Raises:
        pytest.UsageError: says what is valid and what is nearest.
    """
    options.strict(config)
    try:
        merge([options.defaults(config)], options.given(config))
        for name in ("select", "ignore"):
            select(options.names_of(config, name), option=f"--dlcheck-{name}")
    except (PolicyError, UnknownCheckError) as error:
        raise pytest.UsageError(str(error)) from None


def check_device(config: pytest.Config) -> None:
    """Refuse a device that is asked for and not there, before anything is trained.

    Raises:
        pytest.UsageError: says which devices there are.
    """
    try:
        resolve_device(options.device(config))
    except RecipeError as error:
        raise pytest.UsageError(f"--dlcheck-device: {error}") from None
