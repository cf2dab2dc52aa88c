"""Data: what the samples hold can be learned from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pytest_dlcheck.check import Check, Effect, Evidence, Example, example_trace
from pytest_dlcheck.faults.data import advice, alignment, residual, scaling
from pytest_dlcheck.faults.data import contents as faults
from pytest_dlcheck.faults.data.beside import are_edited, beside
from pytest_dlcheck.faults.data.examples import ENTRY, STUCK, facts
from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row, Scalar, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Verdict


@dataclass(frozen=True)
class DataIsSound(Check):
    """Samples are finite, differ from each other, and meet the model at a scale it can learn from.

    Inputs and targets hold no NaN or infinity that model and loss do not expect; neither inputs, targets
    nor the noise between them are all the same; inputs reach the first weights at a scale they can use.

    **Why it matters.** No model learns from such data; the symptoms look like faults of the model.

    **How it decides.** On about 1,000 samples from all over a data set, or 16,000 of tensors. Samples
    with NaN are given to the model: if its loss stays finite, gaps are expected. Scale is taken by what
    the first layer with weights makes of the first batch, unless that, or the next, normalises. Tiny
    inputs fail if a small batch cannot be learned, large images that seem mended if the same training
    learns twice as much at unit scale, maps if mirrored images tell more of them, one split if it is raw
    and the other standardised. Imbalance, duplicates, constants and scales that are off are advice.

    **What it cannot see.** Samples not looked at (of an iterator: all but one batch); wrong labels.

    **Source.** Breck et al., "Data validation for machine learning", MLSys 2019; Braiek and Khomh,
    "TheDeepChecker", 2022 (unscaled data, unbalance); LeCun et al., "Efficient backprop", 1998.
    """

    family = "data"
    reads = frozenset({"data_contents"})
    glances = frozenset({"data_scale", "data_alignment", "data_randomness", "loss", "steps"})
    judges_divergence = True
    shows = Effect.DATA
    leads_to = frozenset(set(Effect) - {Effect.RUN, Effect.DATA, Effect.INDEPENDENCE})

    huge: float = faults.HUGE
    """RMS of the first layer's outputs beyond reach: up to 1.2 in the zoo, of raw features 137."""
    pixels: float = faults.BYTES
    """The same where inputs are bytes of images, which is certain to be a mistake; digits give 70."""
    samples: int = 16
    """Samples from which on equal targets, and half of them equal inputs, are no chance; chosen."""
    distinct: float = 0.05
    """Share of samples of real numbers that must be distinct, in a data set of 256 or more; chosen."""
    apart: float = 10.0
    """Scale of validation over training inputs, or the inverse, that is no chance: bytes have 255."""
    tiny: float = 0.02
    """RMS of inputs below which they are to blame if a batch cannot be learned; diabetes has 0.05."""
    stuck: float = 0.1
    """Share of its way that a batch's loss must cover, with such inputs (ratio); chosen."""
    mirrored: float = -0.8
    """Correlation of features' means in both splits at which one is inverted; digits: 0.99, -0.99."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """One batch, no training."""
        return (terms.inspect(),)

    def look_again(self, verdict: Verdict, evidence: Evidence) -> tuple[Trial, ...]:
        """Whether a batch can be learned from inputs as small as that, and what large ones do."""
        trace = evidence.the("inspect")
        terms = Terms(scaling.STEPS, seed=trace.trial.seed, device=trace.trial.device)
        if scaling.may_hamper(entries := () if verdict.failed else trace.rows("data_scale")):
            return (*terms.standardised(), *terms.train())
        return (terms.overfit(0.8),) if faults.are_tiny(entries, self.tiny) else ()

    def judge(self, evidence: Evidence) -> Verdict:
        """By what came to its end: a second look that was cut short is none."""
        return super().judge(Evidence(scaling.fair(evidence.traces)))

    def decide(self, evidence: Evidence) -> Verdict:
        """Fail by the first of: not finite, all the same, out of scale."""
        facts = "data_contents", "data_scale", "data_alignment", "data_randomness"
        rows, entries, maps, draws = map(evidence.the("inspect").rows, facts)
        stuck = faults.stuck(evidence.of("overfit"), self.stuck)
        beyond = [e for e in entries if faults.is_beyond(e, self.huge, self.pixels)]
        same = [row for row in rows if self._same(row, self.samples)]
        told = [*advice.on_contents(rows, same), *advice.on_entries(entries, beyond, rows)]
        fault = next(iter((*self._faults(rows, entries, draws), *alignment.apart(maps))), None)
        if stuck is not None and faults.are_tiny(entries, self.tiny):
            fault = fault or faults.too_small(entries[0], stuck, self.tiny)
        if fault := fault or scaling.hampered(entries, evidence.traces):
            return self.failed_by(fault, advice=told)
        told += [*scaling.advice(evidence.traces), *alignment.advice(maps)]
        made = faults.made(entries)
        return self.passed(
            f"0 unexpected NaN or infinities (bound 0) in {faults.sound(rows[0], made, self.huge)}",
            Measure("samples that are not finite", 0, "ratio", 0),
            Measure("rms of the first layer's outputs", made, "ratio", self.huge),
            advice=told,
        )

    def _faults(self, *facts: tuple[Row, ...]) -> Iterator[Fault]:
        rows, entries, draws = facts
        inputs, targets = ([r for r in rows if r.flag("is_target") is of] for of in (False, True))
        bad = [row for row in rows if row.integer("bad_samples") and row.get("survives") is not True]
        yield from map(faults.not_finite, bad)
        if inputs and targets and all(self._same(row, self.samples // 2) for row in inputs):
            yield faults.same_inputs(inputs, targets)
        if inputs and all(faults.distinct_share(row) <= self.distinct for row in inputs):
            yield faults.few_samples(inputs[0], self.distinct)
        for row in targets:
            if self._same(row, self.samples) and row.flag("matters") and row.flag("whole"):
                yield faults.same_targets(row)
        yield from residual.same_noise(inputs)
        yield from faults.out_of_scale(entries, inputs, self.huge, self.pixels)
        yield from () if are_edited(draws) else beside(inputs, entries, self.apart, self.mirrored)

    def _same(self, row: Row, samples: int) -> bool:
        return row.flag("steady") and row.integer("samples") >= samples

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Standardised numbers; pixels that the model normalises; gaps that the loss expects."""
        yield Example("standardised", (_trace(),))
        raw = Row(ENTRY, given=120.0, made=1.0, highest=255.0, normalises=True, type="BatchNorm2d")
        yield Example("pixels into a batch norm", (_trace(entry=raw),))
        gaps = {"bad_samples": 40, "nan_samples": 40, "first_bad": 3, "survives": True}
        yield Example("missing targets, left out", (_trace(target=gaps),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """NaN, constants, one class, raw pixels."""
        gaps: dict[str, Scalar] = {"bad_samples": 36, "nan_samples": 36, "first_bad": 50}
        yield Example("missing values", (_trace(input=gaps),), ("data",))
        same: dict[str, Scalar] = {"steady": True, "distinct": 1, "matters": True}
        yield Example("inputs zeroed", (_trace(input=same),), ("data",))
        yield Example("one target", (_trace(target=same),), ("data",))
        raw = Row(ENTRY, given=122.0, made=70.0, highest=255.0, whole_numbers=True)
        yield Example("raw pixels", (_trace(raw),), ("data", "features.0"))
        yield Example("divided twice", (_trace(entry=Row(ENTRY, highest=1 / 255)),), ("data",))
        stuck = example_trace(Terms().overfit(0.8), **STUCK)
        yield Example("vanishing", (_trace(Row(ENTRY, given=1e-5)), stuck), ("data",))


def _trace(entry: Row = ENTRY, **parts: Mapping[str, Scalar]) -> Trace:
    return example_trace(Terms().inspect(), **facts(entry, parts))
