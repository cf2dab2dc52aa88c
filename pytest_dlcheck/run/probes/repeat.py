"""Whether the same input gives the same output in eval mode once the model is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from pytest_dlcheck.run.errors import let_go, message_of
from pytest_dlcheck.run.experiments.repeat import told_of
from pytest_dlcheck.run.probe import Probe
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.trace import Row
from pytest_dlcheck.trial import Trial


class RepeatProbe(Probe[Rig]):
    """Fills ``repeat_trained``: what ``repeat`` is before the first step, after the last one."""

    channels = frozenset({"repeat_trained"})

    def begin(self, rig: Rig, trial: Trial) -> None:
        """Note what is to be asked."""
        self._rig, self._rows, self._why_not = rig, list[Row](), ""
        self.idle = trial.kind != "train"

    def end(self) -> None:
        """Ask."""
        if self.idle:
            return
        try:
            with self._rig.undisturbed(training=False), self._rig.autocast(), torch.no_grad():
                self._rows = [Row(told_of(self._rig), trained=True)]
        except Exception as error:  # noqa: BLE001  the user's model may fail in any way
            self._why_not = f"the trained model could not be called again: {message_of(error)}"
            let_go(error)

    def filled(self) -> Mapping[str, Sequence[Row] | str]:
        """What was found."""
        return {} if self.idle else {"repeat_trained": self._why_not or tuple(self._rows)}
