"""The ``inspect`` trial: one batch, no training, one experiment after the other."""

from __future__ import annotations

from pytest_dlcheck.run.errors import (
    OUR_FAULT,
    CannotTellError,
    NotApplicableError,
    is_ours,
    let_go,
    message_of,
)
from pytest_dlcheck.run.experiment import Experiment
from pytest_dlcheck.run.experiments import all_experiments
from pytest_dlcheck.run.passes.first_pass import first_pass
from pytest_dlcheck.run.record import Record
from pytest_dlcheck.run.rig import Rig

FIRST = "the first forward and loss"
"""The phase in which a recipe shows that it runs at all."""
_BACK = frozenset({"finite", "flow", "loss_soundness"})
"""Facts that the first backward tells, too."""
_SOUNDED = frozenset({"units", "signal"})
"""Facts that it tells where it is sounded."""


def inspect(rig: Rig, record: Record, wanted: frozenset[str]) -> None:
    """Run the experiments whose facts are wanted.

    First the batch goes through forward and loss once, so that a recipe that does not run at all is
    told as such, once; what can be found out without a loss is, before its error is raised.
    """
    asked = [one for one in all_experiments() if one.fact in wanted]
    first = [one for one in asked if one.asks_first_pass]
    broken = _what_breaks(rig, wanted, listen=bool(first))
    able = [one for one in asked if not (broken and one.needs_loss)]
    for experiment in able:
        if experiment.asks_first_pass:
            conduct(experiment(), rig, record)
    if rig.first is not None:
        rig.first.heard = None
    for experiment in able:
        if not experiment.asks_first_pass:
            conduct(experiment(), rig, record)
    if broken is not None:
        rig.phase = FIRST
        raise broken


def conduct(experiment: Experiment, rig: Rig, record: Record) -> None:
    """Run one experiment, and record what it found or why it did not."""
    fact = experiment.fact
    rig.phase = f"the experiment {fact!r}"
    rig.renew_batch()
    try:
        rows = tuple(experiment.run(rig))
    except NotApplicableError as error:
        record.inapplicable[fact] = str(error)
    except CannotTellError as error:
        record.unobserved[fact] = str(error)
    except Exception as error:  # noqa: BLE001  the user's model can fail in any way when perturbed
        told = OUR_FAULT if is_ours(error) else "could not be tried"
        record.unobserved[fact] = f"{told}: {message_of(error)}"
    else:
        record.facts[fact] = rows


def _what_breaks(rig: Rig, wanted: frozenset[str], *, listen: bool) -> Exception | None:
    back, sound = bool(wanted & _BACK), bool(wanted & _SOUNDED)
    rig.phase, broken = FIRST, None
    for listening in (True, False) if listen else (False,):  # it may be that listening is not borne
        try:
            rig.first = first_pass(rig, back=back, listen=listening, sound=sound)
        except Exception as error:  # noqa: BLE001  kept, and raised when the experiments are through
            broken = error
            if listening:
                let_go(error)
                rig.renew_batch()
        else:
            return None
    return broken
