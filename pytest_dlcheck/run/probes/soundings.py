"""The signal on its way through the model, and its units, after the last step, on the fixed batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from pytest_dlcheck.run.calls.threads import followed, is_compiled, unfollowed
from pytest_dlcheck.run.errors import is_ours, message_of
from pytest_dlcheck.run.passes.fixed_batches import FixedBatches
from pytest_dlcheck.run.passes.soundings import COMPILED, Sounding
from pytest_dlcheck.run.probe import Probe
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.tree import batch_size
from pytest_dlcheck.trace import Row
from pytest_dlcheck.trial import Trial

SAMPLES = 256
"""Samples that are enough: fewer batches are looked at where these hold as many, or where no unit is
anywhere near silent. A unit that is silent on all of them is dead."""


class SoundingProbe(Probe[Rig]):
    """Fills the facts ``units`` and ``signal`` once, at the end of the trial; steps cost nothing."""

    channels = frozenset({"units", "signal"})

    def begin(self, rig: Rig, trial: Trial) -> None:
        """Ask to look on."""
        del trial
        self._rig, self._why_not = rig, COMPILED if is_compiled(rig.model) else ""
        self._found = Sounding(rig.recipe.batch_dim)
        if not self._why_not:
            self._fixed = FixedBatches.of(rig)
            self._fixed.look(self)

    def end(self) -> None:
        """Let the batches pass, if they have not yet."""
        if self._why_not:
            return
        try:
            self._fixed.losses_at_the_end(self)
        except Exception as error:  # noqa: BLE001  the trial may have been stopped by the same error
            told = "pytest-dlcheck failed here, please report it" if is_ours(error) else "not observed"
            self._why_not = f"{told}: {message_of(error)}"

    def filled(self) -> Mapping[str, Sequence[Row] | str]:
        """Both facts."""
        if self._why_not:
            return dict.fromkeys(self.channels, self._why_not)
        return {"units": self._found.units(), "signal": self._found.signal()}

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Follow every tensor."""
        self._found, self._samples = Sounding(self._rig.recipe.batch_dim), 0
        with ExitStack() as self._following:
            self._following.enter_context(followed(self._rig.model, self._found))
            yield

    def coming(self, batch: Any) -> None:
        """Follow no longer where enough samples have passed, or each unit has shown that it lives."""
        dim = self._rig.recipe.batch_dim
        size = None if dim is None else batch_size(batch, dim)
        with unfollowed():
            enough = self._samples >= SAMPLES or self._found.is_lively()
        if enough:
            self._following.close()
        self._samples += SAMPLES if enough else size or 0
        self._found.begin_batch(size)
