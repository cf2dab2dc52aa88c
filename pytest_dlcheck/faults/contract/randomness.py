"""What is random in eval mode, told in words. Judges only whether it may be meant."""

from __future__ import annotations

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect

_UNGUARDED = "pass training=self.training (or dropout_p=0.0 when not training) there"
_SURE = {
    "zeroing": ("units are zeroed at random", "dropout stays active", _UNGUARDED),
    "skipping": (
        "modules are left out at random",
        "stochastic depth stays active",
        "leave modules out only `if self.training`",
    ),
    "branching": (
        "operations are run or left out at random",
        "a path that is dropped or changed at random stays so",
        "toss that coin only `if self.training`",
    ),
}
"""What is wrong whatever the model is for: finding, cause, remedy."""
_ONLY = "do that only `if self.training`"
_OF_PREDICTIONS = {
    "adding": ("noise is added", "noise meant for training is added", _ONLY),
    "scaling": ("values are scaled at random", "multiplicative noise stays active", _ONLY),
    "mixing": ("parts are exchanged at random", "a random mask stays active", _ONLY),
}
"""The same of what predicts targets; a model of another kind may sample on purpose."""
_STUCK = "let model.eval() reach it: do not override train() without it, do not call .train() in forward"


def is_fault(row: Row) -> bool:
    """Whether nobody means it: what is left out, or noise on the way to a prediction."""
    kind = row.text("kind")
    return kind in _SURE or (kind in _OF_PREDICTIONS and row.flag("predicts"))


def at_random(row: Row, because: str, measure: Measure) -> Fault:
    """What is random, and why that is none of its business in eval mode."""
    finding, cause, remedy = {**_SURE, **_OF_PREDICTIONS}[row.text("kind")]
    kept = ""
    if row.flag("culprit_training"):
        kept, remedy = ", because the module is kept in train mode", _STUCK
    site, where = _site(row), _where(row)
    return Fault(
        because,
        measures=(measure,),
        suspects=[Suspect(site, f"{finding} by {where}", remedy)],
        cause=f"{cause} in eval mode: {where} in {site or 'the model itself'}{kept}",
        remedy=remedy,
    )


def carried_on(row: Row, because: str, measure: Measure) -> Fault:
    """A state of the batch before, which held other samples."""
    site = _site(row)
    kept = f"`{row.text('attribute')}` of {site or 'the model'}"
    remedy = "begin each batch with a fresh state: pass None, or zeros, in place of the one that is kept"
    return Fault(
        f"{because}: what a sample gets depends on the one at its place in the batch before",
        measures=(measure,),
        suspects=[Suspect(site, f"{kept} is carried on, while the loader shuffles", remedy)],
        cause=f"the hidden state ({kept}) is carried into the next batch: each sample begins where "
        "another ended",
        remedy=remedy,
    )


def advice(row: Row) -> str:
    """What is random and may be meant."""
    site = _site(row) or "the model"
    if row.text("kind") == "state":
        return (
            f"{site} carries {row.text('attribute')} from call to call, so that outputs depend on the "
            "calls before: reset it between sequences unless that is meant"
        )
    return (
        f"{site} draws random numbers in eval mode ({_where(row)}): fine if the model samples on "
        "purpose; if not, draw only `if self.training`"
    )


def _site(row: Row) -> str:
    return "output" if row.get("culprit") is None else row.text("culprit")


def _where(row: Row) -> str:
    operation = row.text("operation") or "a draw outside of torch"
    return f"{operation} at {row.text('line')}" if row.text("line") else operation
