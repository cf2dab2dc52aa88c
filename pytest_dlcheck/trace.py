"""What happened while a trial ran: plain numbers and facts, JSON both ways. No tensors, no opinions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any, Literal, get_args

from pytest_dlcheck.trial import Trial

Scalar = float | int | str | bool | None
EndingKind = Literal[
    "completed",
    "diverged",
    "raised",
    "timed_out",
    "out_of_memory",
    "killed",
    "not_applicable",
    "lost",
]
ENDINGS: tuple[EndingKind, ...] = get_args(EndingKind)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a trial ended.

    Attributes:
        kind: ``completed`` also where a stopping rule was met; ``not_applicable`` where the recipe's
            facts rule the trial out; ``lost`` where whatever watched it has failed.
        step: the step in flight, counted from 0, or None outside of steps.
        message: what went wrong, in one line or a few; empty when completed.
        where: the place, for example ``"forward, in encoder.0"`` or ``"the factory"``.
        detail: the user's own traceback, for raised errors.
    """

    kind: EndingKind = "completed"
    step: int | None = None
    message: str = ""
    where: str = ""
    detail: str = ""

    def to_json(self) -> dict[str, Any]:
        """The ending as JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Series:
    """One number per recorded step.

    Attributes:
        steps: the steps at which it was recorded, ascending.
        values: the numbers, in the channel's unit.
        thinned: whether steps were left out of a long run that were recorded.
        extremes: those of the steps that are kept because they stick out, and stand for no others.
    """

    steps: tuple[int, ...] = ()
    values: tuple[float, ...] = ()
    thinned: bool = False
    extremes: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[float]:
        return iter(self.values)

    def __getitem__(self, index: int) -> float:
        return self.values[index]

    def numbers(self) -> Iterable[float]:
        """Every number that it holds."""
        return self.values

    def filled(self) -> Series:
        """With a number at every step again: those left out are as the one before, extremes aside."""
        if not self.thinned:
            return self
        extremes, values = frozenset(self.extremes), list[float]()
        held = self.values[0]
        for step, value, following in zip(self.steps, self.values, (*self.steps[1:], None), strict=True):
            held = held if step in extremes else value
            missing = 0 if following is None else following - step - 1
            values += [value, *[held] * missing]
        return Series(tuple(range(self.steps[0], self.steps[0] + len(values))), tuple(values))


@dataclass(frozen=True, slots=True)
class Matrix:
    """One number per recorded step and site (parameter or module).

    Attributes:
        steps: the recorded steps, ascending.
        sites: the names of the columns.
        values: a row per step, a column per site; None where the site had nothing to record at that
            step (a parameter without gradient), which is never the same as zero.
    """

    steps: tuple[int, ...] = ()
    sites: tuple[str, ...] = ()
    values: tuple[tuple[float | None, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.steps)

    def column(self, site: str) -> tuple[float | None, ...]:
        """The numbers of one site, a number per recorded step.

        Raises:
            ValueError: the site was not recorded.
        """
        index = self.sites.index(site)
        return tuple(row[index] for row in self.values)

    def columns(self) -> Iterator[tuple[str, tuple[float | None, ...]]]:
        """Every site with its numbers."""
        by_site = zip(*self.values, strict=True) if self.values else ((),) * len(self.sites)
        return zip(self.sites, by_site, strict=True)

    def numbers(self) -> Iterable[float]:
        """Every number that it holds."""
        return (value for row in self.values for value in row if value is not None)


class Row(Mapping[str, Scalar]):
    """One finding of an experiment, as named scalars, with typed access."""

    __slots__ = ("_data",)

    def __init__(self, data: Mapping[str, Scalar] | None = None, /, **more: Scalar) -> None:
        self._data = {**(data or {}), **more}

    def __getitem__(self, key: str) -> Scalar:
        return self._data[key]

    def __contains__(self, key: object) -> bool:
        return key in self._data

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def __repr__(self) -> str:
        return f"Row({self._data!r})"

    def __eq__(self, other: object) -> bool:
        return self._data == other._data if isinstance(other, Row) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def number(self, key: str) -> float:
        """The number there; NaN where it is missing or None, so that no comparison passes by it."""
        value = self._data.get(key)
        return float(value) if isinstance(value, (int, float)) else math.nan

    def integer(self, key: str, default: int = 0) -> int:
        """The whole number there, or the default."""
        value = self._data.get(key)
        return int(value) if isinstance(value, (int, float)) and math.isfinite(value) else default

    def text(self, key: str) -> str:
        """The text there; empty where it is missing or None."""
        value = self._data.get(key)
        return "" if value is None else str(value)

    def flag(self, key: str) -> bool:
        """Whether it holds."""
        return self._data.get(key) is True

    def numbers(self) -> Iterable[float]:
        """Every number that it holds."""
        return (v for v in self._data.values() if isinstance(v, float))


Channel = Series | Matrix


@dataclass(frozen=True)
class Trace:
    """What happened while a trial ran.

    Attributes:
        trial: what was run.
        ending: how it ended.
        channels: what was recorded over the steps, by channel name.
        facts: what experiments and structural probes found: rows, by experiment name.
        unobserved: channels and facts that could not be recorded, each with its reason; unobserved is
            never zero.
        inapplicable: facts that the recipe's own facts rule out, each with its reason.
        seconds: wall time of the trial.
        others: where a user's own loop has several optimizers: a trace for each but the model's own.
    """

    trial: Trial
    ending: Ending = field(default_factory=Ending)
    channels: Mapping[str, Channel] = field(default_factory=dict)
    facts: Mapping[str, tuple[Row, ...]] = field(default_factory=dict)
    unobserved: Mapping[str, str] = field(default_factory=dict)
    inapplicable: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    others: tuple[Trace, ...] = ()

    def __getitem__(self, channel: str) -> Channel:
        """What was recorded over the steps: ``trace["loss"][-1]``.

        Raises:
            KeyError: nothing was recorded under that name; the message lists what was.
        """
        try:
            return self.channels[channel]
        except KeyError:
            reason = self.unobserved.get(channel, f"recorded are {', '.join(sorted(self.channels))}")
            raise KeyError(f"no channel {channel!r} in this trace: {reason}") from None

    def series(self, channel: str) -> Series:
        """A channel with one number per step; empty where it was not recorded.

        Where a long run was thinned out, the numbers left out are filled in.
        """
        found = self.channels.get(channel)
        return found.filled() if isinstance(found, Series) else Series()

    def matrix(self, channel: str) -> Matrix:
        """A channel with one number per step and site; empty where it was not recorded."""
        found = self.channels.get(channel)
        return found if isinstance(found, Matrix) else Matrix()

    def rows(self, fact: str) -> tuple[Row, ...]:
        """What an experiment found; empty where it did not run."""
        return self.facts.get(fact, ())

    def row(self, fact: str) -> Row:
        """The only row of a fact; an empty row where there is none."""
        rows = self.rows(fact)
        return rows[0] if rows else Row()

    def is_finite(self, name: str) -> bool:
        """Whether all numbers of a channel or fact are; looked at once, however many checks ask."""
        if name not in self._finite:
            found = [row.numbers() for row in self.rows(name)]
            if name in self.channels:
                found.append(self.channels[name].numbers())
            self._finite[name] = all(map(math.isfinite, chain.from_iterable(found)))
        return self._finite[name]

    @cached_property
    def _finite(self) -> dict[str, bool]:
        return {}

    def to_json(self) -> dict[str, Any]:
        """The trace as strict JSON: non-finite numbers are tagged (``{"float": "nan"}``)."""
        return {
            "trial": self.trial.to_json(),
            "ending": self.ending.to_json(),
            "seconds": tagged(self.seconds),
            "channels": {name: _channel_json(channel) for name, channel in self.channels.items()},
            "facts": {
                name: [{k: tagged(v) for k, v in row.items()} for row in rows]
                for name, rows in self.facts.items()
            },
            "unobserved": dict(self.unobserved),
            "inapplicable": dict(self.inapplicable),
            **({"others": [other.to_json() for other in self.others]} if self.others else {}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Trace:
        """The trace that :meth:`to_json` wrote."""
        return cls(
            trial=Trial.from_json(data["trial"]),
            ending=Ending(**data["ending"]),
            seconds=untagged(data["seconds"]),
            channels={name: _channel(value) for name, value in data["channels"].items()},
            facts={
                name: tuple(Row({k: untagged(v) for k, v in row.items()}) for row in rows)
                for name, rows in data["facts"].items()
            },
            unobserved=dict(data["unobserved"]),
            inapplicable=dict(data["inapplicable"]),
            others=tuple(cls.from_json(other) for other in data.get("others", ())),
        )


def tagged(value: Scalar) -> Any:
    """A scalar as strict JSON: NaN and infinities become ``{"float": "nan" | "inf" | "-inf"}``."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    return value


def untagged(value: Any) -> Any:
    """The scalar that :func:`tagged` wrote."""
    return float(value["float"]) if isinstance(value, Mapping) else value


def _channel_json(channel: Channel) -> dict[str, Any]:
    if isinstance(channel, Series):
        told = {"steps": list(channel.steps), "values": [tagged(v) for v in channel.values]}
        return {**told, "thinned": True, "extremes": list(channel.extremes)} if channel.thinned else told
    return {
        "steps": list(channel.steps),
        "sites": list(channel.sites),
        "values": [[tagged(v) for v in row] for row in channel.values],
    }


def _channel(data: Mapping[str, Any]) -> Channel:
    steps = tuple(data["steps"])
    if "sites" not in data:
        values = tuple(untagged(v) for v in data["values"])
        return Series(steps, values, data.get("thinned", False), tuple(data.get("extremes", ())))
    rows = tuple(tuple(untagged(v) for v in row) for row in data["values"])
    return Matrix(steps, tuple(data["sites"]), rows)
