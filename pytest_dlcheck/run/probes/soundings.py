"""The signal on its way through the model, and its units, after the last step, on data to come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pytest_dlcheck.run.errors import CannotTellError, is_ours, message_of
from pytest_dlcheck.run.probe import Probe
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.soundings import sound
from pytest_dlcheck.run.tree import batch_size
from pytest_dlcheck.trace import Row
from pytest_dlcheck.trial import Trial

BATCHES = 4
"""Batches that pass at most: a unit that is silent on all of them is dead."""
SAMPLES = 256
"""Samples that are enough: fewer batches pass where these hold as many."""


class SoundingProbe(Probe):
    """Fills the facts ``units`` and ``signal`` once, at the end of the trial; steps cost nothing."""

    channels = frozenset({"units", "signal"})

    def begin(self, rig: Rig, trial: Trial) -> None:
        """Keep the rig."""
        del trial
        self._rig = rig
        self._filled: dict[str, Sequence[Row] | str] = {}

    def end(self) -> None:
        """Let a few batches pass."""
        try:
            found = sound(self._rig, self._batches())
            self._filled = {"units": found.units(), "signal": found.signal()}
        except CannotTellError as error:
            self._filled = dict.fromkeys(self.channels, str(error))
        except Exception as error:  # noqa: BLE001  the trial may have been stopped by the same error
            told = "pytest-dlcheck failed here, please report it" if is_ours(error) else "not observed"
            self._filled = dict.fromkeys(self.channels, f"{told}: {message_of(error)}")

    def filled(self) -> Mapping[str, Sequence[Row] | str]:
        """Both facts."""
        return self._filled

    def _batches(self) -> list[object]:
        dim = self._rig.recipe.batch_dim
        size = None if dim is None else batch_size(self._rig.batch, dim)
        count = min(BATCHES, max(1, -(-SAMPLES // size))) if size else BATCHES
        return self._rig.look_ahead(count) or [self._rig.batch]
