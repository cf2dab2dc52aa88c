"""The ``inspect`` trial: one batch, no training, one experiment after the other."""

from __future__ import annotations

from pytest_dlcheck.run.errors import CannotTellError, NotApplicableError, is_ours, message_of
from pytest_dlcheck.run.experiment import Experiment
from pytest_dlcheck.run.experiments import all_experiments
from pytest_dlcheck.run.first_pass import first_pass
from pytest_dlcheck.run.record import Record
from pytest_dlcheck.run.rig import Rig

FIRST = "the first forward and loss"
"""The phase in which a recipe shows that it runs at all."""
_BACK = frozenset({"finite", "flow"})
"""Facts that the first backward tells, too."""
OUR_FAULT = "pytest-dlcheck failed here, please report it"


def inspect(rig: Rig, record: Record, wanted: frozenset[str]) -> None:
    """Run the experiments whose facts are wanted.

    First the batch goes through forward and loss once, so that a recipe that does not run at all is
    told as such, once; what can be found out without a loss is, before its error is raised.
    """
    broken = _what_breaks(rig, back=bool(wanted & _BACK))
    for experiment in all_experiments():
        if experiment.fact not in wanted or (broken and experiment.needs_loss):
            continue
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


def _what_breaks(rig: Rig, *, back: bool) -> Exception | None:
    rig.phase = FIRST
    try:
        rig.first = first_pass(rig, back=back)
    except Exception as error:  # noqa: BLE001  kept, and raised when the experiments are through
        return error
    return None
