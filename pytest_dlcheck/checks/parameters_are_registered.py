"""Everything that gets a gradient is known to a module or an optimizer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pytest_dlcheck.check import Check, Effect, Evidence, Example, example_trace
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Suspect, Verdict

_REMEDIES = {
    "list": "use nn.ModuleList (nn.ParameterList for parameters)",
    "tuple": "use nn.ModuleList (nn.ParameterList for parameters)",
    "dict": "use nn.ModuleDict (nn.ParameterDict for parameters)",
    "plain tensor": "wrap it in nn.Parameter",
    "buffer": "make it an nn.Parameter, or a buffer without requires_grad",
    "computed": "compute the initial value first, then wrap it: nn.Parameter(value)",
}
_REMEDY = "register it: assign it to an attribute of a module as nn.Module or nn.Parameter"


@dataclass(frozen=True)
class ParametersAreRegistered(Check):
    """Everything that gets a gradient is known to a module or an optimizer.

    It matters because layers in a plain list or dict, and tensors that are no `nn.Parameter`, take part
    in the forward but not in `parameters()`: they never train, are not saved and do not follow
    `.to(device)`.

    It decides by walking the autograd graph of the loss to its leaves. A leaf that no module and no
    optimizer knows fails if it is found in the attributes of the model or the loss (in lists, tuples,
    dicts, objects). A leaf that is not found there, though it is the same in two passes, is advice: a
    network that a closure uses may be meant to stay as it is. So is a hidden parameter that was given
    to the optimizer by hand: it trains, but no checkpoint holds it. Tensors of the batch, and leaves
    made anew in each pass (adversarial perturbations, gradient penalties), do not count.

    It cannot see parameters used under no_grad, or inside reentrant checkpoints.

    Source: PyTorch documentation of `nn.ModuleList`.
    """

    family = "contract"
    reads = frozenset({"unregistered"})
    leads_to = frozenset({Effect.UPDATES, Effect.FITTING, Effect.PROGRESS})

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """One batch, no training."""
        return (terms.inspect(),)

    def decide(self, evidence: Evidence) -> Verdict:
        """The verdict on the leaves that no module knows."""
        summary, *rows = evidence.the("inspect").rows("unregistered")
        hidden = [row for row in rows if not row.flag("optimized") and row.text("place")]
        measure = Measure("unregistered tensors that get a gradient", len(hidden), "count", 0)
        advice = _advice(rows)
        if not hidden:
            because = (
                f"0 tensors that get a gradient are hidden in the model (bound 0), "
                f"{summary.integer('known')} are known"
            )
            return self.passed(because, measure, advice=advice)
        suspects = [
            Suspect(
                row.text("place"),
                f"{row.text('shape')}, held in {row.text('holder')}: in no parameters()",
                _remedy(row),
            )
            for row in hidden
        ]
        first = hidden[0]
        numel = sum(row.integer("numel") for row in hidden)
        return self.failed(
            f"{len(hidden)} tensors ({numel:,} numbers) get a gradient and are registered nowhere "
            "(bound 0)",
            measure,
            suspects=suspects,
            cause=f"{_container(first.text('place'))} is held in {first.text('holder')}, which "
            "nn.Module does not look into"
            if "plain" in first.text("holder") and "tensor" not in first.text("holder")
            else f"{first.text('place')} is {first.text('holder')}",
            remedy=_remedy(first),
            advice=advice,
        )

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """All known, or on purpose."""
        yield Example("all registered", (_trace(Row(known=12, fresh=0)),))
        closure = _row(place=None, holder=None)
        yield Example("a loss network in a closure", (_trace(Row(known=12, fresh=1), closure),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """Layers in a list, a tensor that is no parameter."""
        layer = _row(place="layers[0].weight", holder="a plain list")
        yield Example("a plain list", (_trace(Row(known=2, fresh=0), layer),), ("layers[0].weight",))
        scale = _row(place="scale", holder="a plain tensor, no nn.Parameter")
        yield Example("a plain tensor", (_trace(Row(known=2, fresh=0), scale),), ("scale",))


def _row(place: str | None, holder: str | None) -> Row:
    return Row(shape="(16, 8)", numel=128, place=place, holder=holder, optimized=False)


def _trace(*rows: Row) -> Trace:
    return example_trace(Terms().inspect(), unregistered=rows)


def _remedy(row: Row) -> str:
    return next((text for kind, text in _REMEDIES.items() if kind in row.text("holder")), _REMEDY)


def _container(place: str) -> str:
    return place.partition("[")[0]


def _advice(rows: list[Row]) -> tuple[str, ...]:
    optimized = [row.text("place") for row in rows if row.flag("optimized")]
    unplaced = [row for row in rows if not row.text("place") and not row.flag("optimized")]
    advice = []
    if optimized:
        names = ", ".join(optimized[:5])
        advice.append(
            f"{len(optimized)} parameters train but are in no state_dict: {names}; register them"
        )
    if unplaced:
        advice.append(
            f"{len(unplaced)} tensors outside of the model get a gradient and are in no optimizer, "
            f"the first of shape {unplaced[0].text('shape')}: freeze them if they must not train"
        )
    return tuple(advice)
