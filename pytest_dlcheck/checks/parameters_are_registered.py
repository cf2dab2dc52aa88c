"""Everything that gets a gradient is known to a module or an optimizer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pytest_dlcheck.check import Check, Effect, Evidence, Example, example_trace
from pytest_dlcheck.faults.contract import registration as faults
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Verdict


@dataclass(frozen=True)
class ParametersAreRegistered(Check):
    """Everything that gets a gradient is known to a module or an optimizer.

    **Why it matters.** Layers in a plain list or dict, and tensors that are no `nn.Parameter`, take part
    in the forward but not in `parameters()`: they never train, are not saved and do not follow
    `.to(device)`.

    **How it decides.** By walking the autograd graph of the loss to its leaves. A leaf that no module
    and no optimizer knows fails if it is found in the attributes of the model or the loss (in lists,
    tuples, dicts, objects), or in a closure or among the globals of their functions with weights that
    are evidently at their random initialisation; so does an `nn.Parameter` that every forward makes
    anew. Other leaves that are the same in two passes are advice: a trained network that a closure uses
    may be meant to stay as it is. So is a hidden parameter that was given to the optimizer by hand: it
    trains, but no checkpoint holds it. One layer that a list holds several times (`[layer] * n`) is
    advice: its places share their weights. Tensors of the batch, and tensors made anew in each pass
    (adversarial perturbations, gradient penalties), do not count. On a watched loop what each forward
    makes anew is looked for here; layers in lists are `optimizer_covers_model`'s business there.

    **What it cannot see.** Parameters used under no_grad, or inside reentrant checkpoints.

    **Source.** PyTorch documentation of `nn.ModuleList`.
    """

    family = "contract"
    reads = frozenset({"unregistered"})
    leads_to = frozenset({Effect.UPDATES, Effect.FITTING, Effect.PROGRESS, Effect.LEARNING})

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """One batch, no training."""
        return (terms.inspect(),)

    def decide(self, evidence: Evidence) -> Verdict:
        """The verdict on the leaves that no module knows."""
        summary, *rows = evidence.the("inspect").rows("unregistered")
        hidden = [row for row in rows if faults.is_hidden(row)]
        advice = (*faults.advice_on(rows), *faults.repeated(summary))
        if hidden:
            return self.failed_by(faults.unregistered(hidden), advice=advice)
        because = (
            f"0 tensors that get a gradient are hidden in the model (bound 0), "
            f"{summary.integer('known')} are known"
        )
        return self.passed(because, faults.measured(hidden), advice=advice)

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
        made = Row(_row("block", "made anew in every forward: Linear.weight"), created=True)
        yield Example("a layer made in forward", (_trace(Row(known=2, fresh=1), made),), ("block",))


def _row(place: str | None, holder: str | None) -> Row:
    return Row(shape="(16, 8)", numel=128, place=place, holder=holder, optimized=False)


def _trace(*rows: Row) -> Trace:
    return example_trace(Terms().inspect(), unregistered=rows)
