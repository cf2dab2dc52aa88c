"""Resets of gradients that reach too few of them, or come too often: told as faults."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.verdict import Measure, Suspect

SITE = "optimizer"
_HALF = 0.5
"""Share of the steps (ratio) from which on a reset of a part is the loop's habit: it does so at every
step, while gradients that are kept a step longer on purpose are reset every other step."""
_NEARLY_ALL = 0.9
"""Share of the steps (ratio) that are alike where the loop is written so."""
_TOLD = 3
"""Names of parameters (count) that are told."""


def only_a_part(row: Row, several: int) -> Fault | None:
    """Gradients of one optimizer are reset, others of the same one are not and are applied again."""
    count, looked = row.integer("part_kept"), row.integer("part_looked")
    bound = max(several, _HALF * looked)
    if count < bound:
        return None
    names = [name for name in row.text("part_names").split(", ") if name]
    more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    told = ", ".join(names[:_TOLD]) + more or "others"
    return Fault(
        because=(
            f"before {count} of {looked} steps only a part of the gradients was reset, {told} kept what "
            f"the step before had applied (fewer than {bound:g} such steps are tolerated)"
        ),
        measures=(Measure("steps after a reset of a part", count, "count", bound, "<"),),
        suspects=(Suspect(SITE, f"the gradients of {told} add up from step to step"),),
        cause="zero_grad is called on a part of what the optimizer steps: the rest is never reset",
        remedy="reset all that it steps: optimizer.zero_grad()",
    )


def never_propagated(row: Row, several: int) -> Fault | None:
    """What one network makes of another's results is computed with its graph, and never learned from."""
    count, module, maker = row.integer("unheard"), row.text("unheard_by"), row.text("unheard_of")
    if count < several or row.flag("unheard_weighed"):
        return None
    return Fault(
        because=(
            f"{module} is called {count} times on detached results of {maker}, and 0 backward passes go "
            "through any of these calls (as many should), while some go through its other calls"
        ),
        measures=(
            Measure("calls on another's results that a backward goes through", 0, "count", 1, ">="),
        ),
        suspects=(Suspect(SITE, f"{module} learns from data alone, never from what {maker} makes"),),
        cause=f"the loss of {module} on what {maker} makes is computed and never propagated",
        remedy="call backward() on that loss too, or add it to the one that is propagated",
    )


def each_other(trace: Trace, several: int) -> Fault | None:
    """Micro-batches of one step are reset before the next is propagated: only the last one counts.

    They are neighbours in the data, or their losses are divided by as many as come before a step.
    """
    row = trace.row("loop")
    looked, micro = row.integer("drop_looked"), row.integer("drop_micro_batches")
    bound = max(several, _NEARLY_ALL * looked)
    if _are_divided(trace, row.integer("drop_passes"), looked):
        micro = max(micro, row.integer("drop_plain"))
    if micro < bound or not _is_a_habit(row, _NEARLY_ALL):
        return None
    story = _story(row)
    return Fault(
        because=f"{story}, in {micro} of {looked} steps looked at (fewer than {bound:g} are tolerated)",
        measures=(Measure("steps with micro-batches that were reset", micro, "count", bound, "<"),),
        suspects=(Suspect(SITE, "applies the last micro-batch of each step only"),),
        cause=(
            "zero_grad is called between the micro-batches of one step, or step() stands outside of the "
            "loop over them: all but the last are lost"
        ),
        remedy="call zero_grad() once per step, or step() after each backward",
    )


def _are_divided(trace: Trace, passes: int, steps: int) -> bool:
    """Whether losses are divided by the number of backward passes of a step."""
    losses = trace.row("comparisons")
    if "divided" not in losses or losses.integer("divided") < _NEARLY_ALL * losses.integer("looked"):
        return False
    return steps > 0 and passes == steps * int(losses.text("divided_shapes") or 0)


def nothing_reached(trace: Trace, several: int) -> Fault | None:
    """The loss has no parameter behind it, or there is no backward at all."""
    row = trace.row("loop")
    if not row.integer("backwards"):
        return _without_backward(trace, several)
    looked, steps = row.integer("graphs"), row.integer("steps")
    if not looked or row.integer("graphs_without_parameters") < looked:
        return None
    return Fault(
        because=f"0 of {looked} losses that were looked at have a parameter behind them (all should)",
        measures=(Measure("losses with parameters behind them", 0, "count", looked, ">="),),
        suspects=(Suspect("loss", f"made anew, or detached: {steps} steps change nothing"),),
        cause="backward is called on a tensor cut from the outputs: detach(), item() or torch.tensor()",
        remedy="call backward on what the loss function returns, computed from the outputs themselves",
    )


def _without_backward(trace: Trace, several: int) -> Fault | None:
    """Steps that no backward ever comes before, on no gradients at all, and that move nothing."""
    steps, norms = trace.row("loop").integer("steps"), trace.matrix("gradient_norm")
    given = any(value is not None for row in norms.values for value in row)
    moves = any(value for row in trace.matrix("update_norm").values for value in row)
    if steps <= several or given or moves:
        return None
    return Fault(
        because=f"{steps} steps were taken, and backward never ran (once per step is expected, 0 did)",
        measures=(Measure("backward passes", 0, "count", steps, ">="),),
        suspects=(Suspect(SITE, "steps without any gradient"),),
        cause="loss.backward() is missing: there is nothing to step on",
        remedy="call loss.backward() before optimizer.step()",
    )


def advice(row: Row, several: int) -> Iterator[str]:
    """Backward passes that seem to serve nothing."""
    looked, plain = row.integer("drop_looked"), row.integer("drop_plain")
    if plain >= max(several, _NEARLY_ALL * looked) and _is_a_habit(row, _HALF):
        yield f"{_story(row)}: micro-batches are to be reset once per step"
    if row.flag("unheard_weighed") and row.integer("unheard") >= several:
        module, maker = row.text("unheard_by"), row.text("unheard_of")
        yield (
            f"no backward goes through {module}'s calls on detached results of {maker}: propagate the "
            "loss that is made of them, or call it under torch.no_grad() if they are targets"
        )


def _is_a_habit(row: Row, share: float) -> bool:
    alone = row.integer("strands") == 1
    first = 1  # nobody is known before the first step
    return alone and row.integer("drop_steps") >= share * (row.integer("looked") - first) > 0


def _story(row: Row) -> str:
    dropped, passes = row.integer("drop_lost"), row.integer("drop_passes")
    return f"{dropped} of {passes} backward passes were reset (zero_grad) before the step they were for"
