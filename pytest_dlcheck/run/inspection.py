"""The ``inspect`` trial: one batch, no training, one experiment after the other."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_dlcheck.run.errors import CannotTellError, NotApplicableError, message_of
from pytest_dlcheck.run.experiments import all_experiments
from pytest_dlcheck.run.record import Record
from pytest_dlcheck.run.rig import Rig


def inspect(rig: Rig, record: Record, wanted: frozenset[str]) -> None:
    """Run the experiments whose facts are wanted.

    First the batch goes through forward and loss once, so that a recipe that does not run at all is
    told as such, once.
    """
    _runs_at_all(rig)
    for experiment in all_experiments():
        if experiment.fact not in wanted:
            continue
        rig.phase = f"the experiment {experiment.fact!r}"
        try:
            rows = tuple(experiment().run(rig))
        except NotApplicableError as error:
            record.inapplicable[experiment.fact] = str(error)
        except CannotTellError as error:
            record.unobserved[experiment.fact] = str(error)
        except Exception as error:  # noqa: BLE001  the user's model can fail in any way when perturbed
            record.unobserved[experiment.fact] = f"could not be tried: {message_of(error)}"
        else:
            record.facts[experiment.fact] = rows


def _runs_at_all(rig: Rig) -> None:
    rig.phase = "the first forward and loss"
    with rig.undisturbed(), rig.autocast():
        if rig.objective.is_generator:
            _drain(rig.objective.objectives(rig.batch))
        else:
            rig.objective.raw_loss(rig.batch)


def _drain(pairs: Iterable[object]) -> None:
    for _ in pairs:
        pass
