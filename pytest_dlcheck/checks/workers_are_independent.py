"""Data: random augmentation is random: between workers, epochs and samples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pytest_dlcheck.check import Check, Effect, Evidence, Example, example_trace
from pytest_dlcheck.faults.data import draws as faults
from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row, Scalar, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Verdict


@dataclass(frozen=True)
class WorkersAreIndependent(Check):
    """Loader workers, epochs and samples do not draw the same random numbers.

    Where reading a sample draws at random (augmentation, noise), two workers of the loader draw
    different numbers, two epochs do, and reading does not seed a global generator anew.

    **Why it matters.** Otherwise the augmentation is a fraction of what it seems to be, without any
    error: 95 of a hundred projects that drew from numpy in workers had this fault in 2021. torch seeds
    its own, python's and numpy's global generators per worker since 1.9, but not a `RandomState`,
    `Generator` or `Random` that the data set keeps: each worker gets a copy of it, anew in each epoch.

    **How it decides.** By reading one sample under chosen seeds. Where it differs and the loader has
    workers, two are started as its own are (`worker_init_fn`, start method) and each asked for the same
    sample up to 24 times, in two epochs. Fails if their draws agree one by one, beyond what the number
    of distinct draws explains; or if reading edits what is stored, so that the next reading differs,
    and does not once that is put back. A generator that nothing seeds is advice, as is reading that
    seeds by the index.

    A map-style data set that ignores the number it is asked for, and reads on, may begin anew with each
    epoch.

    **What it cannot see.** Streams (iterable data sets, whose workers may also repeat each other's
    samples), draws that only some samples make, or what only happens later in an epoch.

    **Source.** Rao, "Using PyTorch + NumPy? You're making a mistake", 2021; pytorch/pytorch#56488.
    """

    family = "data"
    reads = frozenset({"data_randomness"})
    shows = Effect.DATA
    leads_to = frozenset({Effect.GENERALIZATION})

    agree: float = 0.9
    """Share of draws that agree (ratio) from which on they are the same; independent ones agree by
    chance, copies of one generator wholly."""
    luck: float = 1e-4
    """Probability that as many independent draws all agree, above which nothing is said; chosen."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """One batch, no training."""
        return (terms.inspect(),)

    def decide(self, evidence: Evidence) -> Verdict:
        """Fail where draws agree that should not."""
        row = evidence.the("inspect").row("data_randomness")
        if fault := faults.of_reading(row):
            return self.failed_by(fault, Effect.STABILITY, Effect.PROGRESS, Effect.LEARNING)
        advice = list(self._advice(row))
        if not row.integer("workers") or not row.flag("random"):
            why = (
                "reading a sample draws nothing"
                if not row.flag("random")
                else "the loader has no workers"
            )
            if not advice:
                return self.not_applicable(why)
            seeding = Measure("global generators seeded with a constant", 0, "count", 0)
            return self.passed(
                f"0 constant seeds while reading (bound 0); {why}", seeding, advice=advice
            )
        draws, chance = row.integer("draws"), row.number("chance")
        if draws and chance > 0 and draws * math.log10(chance) > math.log10(self.luck):
            return self.inconclusive(
                f"{row.integer('distinct')} distinct among {draws} draws of a sample: agreement of "
                f"two workers would be chance ({chance**draws:.1g}, bound {self.luck:g})"
            )
        fault = next(self._faults(row), None)
        if fault is not None:
            return self.failed_by(fault, advice=advice)
        return self.passed(
            f"{row.integer('workers_agree')} of {draws} random draws of one sample are the same in "
            f"two workers, {row.integer('epochs_agree')} in two epochs (bound {self.agree:.0%})",
            faults.agreement(row, self.agree),
            advice=advice,
        )

    def _faults(self, row: Row) -> Iterator[Fault]:
        draws = max(1, row.integer("draws"))
        if row.integer("workers_agree") / draws >= self.agree and row.integer("workers") > 1:
            yield faults.workers_alike(row, self.agree)
        reads_all = row.flag("goes_on")  # a stream that every epoch reads from its beginning
        if not reads_all and row.integer("epochs_agree") / draws >= self.agree:
            yield faults.epochs_alike(row, self.agree)

    def _advice(self, row: Row) -> Iterator[str]:
        if row.text("seeded_by_reading"):
            yield faults.seeded_by_reading(row)
        if row.flag("random") and not row.flag("reproducible") and not row.flag("goes_on"):
            yield faults.not_reproducible(row)

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Different draws; coin flips that agree by chance half of the time."""
        yield Example("noise", (_trace(),))
        yield Example(
            "coin flips", (_trace(distinct=2, workers_agree=13, epochs_agree=11, chance=0.49),)
        )
        stream = _trace(goes_on=True, reproducible=False, epochs_agree=24)
        yield Example("a stream, anew in every epoch", (stream,))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """A generator of its own; a constant seed per worker; a constant seed per sample."""
        own: dict[str, Scalar] = {"own_draws": True, "own_generators": "rng"}
        yield Example(
            "a generator of its own", (_trace(workers_agree=24, epochs_agree=24, **own),), ("data",)
        )
        yield Example("workers seeded by their id", (_trace(epochs_agree=24, init_fn=True),), ("data",))
        seeded = Row(random=False, workers=0, seeded_alike="numpy.random", several=True)
        yield Example("seeded by reading", (_of(seeded),), ("data",))
        stream = _trace(goes_on=True, reproducible=False, workers_agree=24)
        yield Example("one stream in every worker", (stream,), ("data",))
        yield Example("edited in place", (_of(Row(random=True, edited="dataset.x")),), ("data",))


def _trace(**more: Scalar) -> Trace:
    known: dict[str, Scalar] = {"random": True, "reproducible": True, "workers": 2, "several": True}
    drawn: dict[str, Scalar] = {
        "draws": 24,
        "distinct": 24,
        "workers_agree": 0,
        "epochs_agree": 0,
        "chance": 0.0,
    }
    return _of(Row({**known, **drawn, **more}))


def _of(row: Row) -> Trace:
    return example_trace(Terms().inspect(), data_randomness=row)
