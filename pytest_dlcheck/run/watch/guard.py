"""Keeps a fault of the watch from the loop: what listens raises nothing, and then listens no more.

A loop that would have run without us runs with us. What was recorded up to a fault of ours is not to be
trusted, so that nothing is judged on it.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ParamSpec, cast

from pytest_dlcheck.run.watch.listener import Listener
from pytest_dlcheck.run.watch.plain import Plain

P = ParamSpec("P")
_PACKAGE = Path(__file__).parents[2]
_HEARD = tuple(name for name in vars(Listener) if not name.startswith("_"))


class Guard:
    """Stands before everything that foreign code calls.

    Args:
        then: called where something that was heard went wrong; it may end the loop.
    """

    def __init__(self, then: Callable[[], None] | None = None) -> None:
        self._then = then
        self.fault = ""
        """What went wrong first, and where; empty while nothing has."""

    def __call__(self, hear: Callable[P, None]) -> Callable[P, None]:
        """The same function, raising nothing; it is not called any more once anything has raised."""

        def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
            if self.fault:
                return
            try:
                hear(*args, **kwargs)
            except Exception as error:  # noqa: BLE001  whatever it is, it is none of the loop's
                self.fails(error)

        return guarded

    def fails(self, error: Exception) -> None:
        """Something that was heard went wrong."""
        self.notes(error)
        if self._then is not None:
            self._then()

    def attempt(self, close: Callable[[], object]) -> None:
        """Do this also after a fault: it takes off what was put on."""
        try:
            close()
        except Exception as error:  # noqa: BLE001  as above
            self.notes(error)

    def notes(self, error: Exception) -> None:
        """Remember it, where it is the first."""
        self.fault = self.fault or _told(error)

    def shield(
        self,
        listener: object,
        aware: Callable[[str, Callable[..., None]], Callable[..., None]],
        **others: Callable[..., None],
    ) -> Shield:
        """A listener, each of whose methods is guarded.

        Args:
            listener: hears all events, by methods of their names, but
            aware: makes of an event's name, and of what hears it, what hears it instead.
            others: hear those that they are named after.
        """
        methods = {name: others.get(name) or getattr(listener, name) for name in _HEARD}
        return Shield(self, {name: aware(name, method) for name, method in methods.items()})


class Shield:
    """What taps speak to: an attribute an event, which is to be asked anew every time.

    Args:
        guard: stands before
        methods: which hear the events that they are named after.

    Attributes:
        quick: hears plain steps, while a lull lasts.
    """

    def __init__(self, guard: Guard, methods: Mapping[str, Callable[..., None]]) -> None:
        self._methods = {name: guard(method) for name, method in methods.items()}
        self.quick: Plain | None = None
        self.restore()

    def divert(self, methods: Mapping[str, Callable[..., None]]) -> None:
        """Let others hear some of the events, for a while; they raise nothing by themselves."""
        vars(self).update(methods)

    def restore(self) -> None:
        """Let them be heard as in the beginning."""
        self.quick = None
        vars(self).update(self._methods)

    @property
    def listener(self) -> Listener:
        """Itself."""
        return cast("Listener", self)


def _told(error: Exception) -> str:
    message = str(error).partition("\n")[0]
    what = f"{type(error).__name__}: {message}" if message else type(error).__name__
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(_PACKAGE)
    ]
    if not own:
        return what
    place = Path(own[-1].filename).relative_to(_PACKAGE.parent).as_posix()
    return f"{what} ({place}:{own[-1].lineno})"
