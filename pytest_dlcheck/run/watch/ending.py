"""How a watch ends the loop that it watches."""

from __future__ import annotations


class EnoughSeen(BaseException):
    """As much was seen as was asked for: the loop ends here.

    Args:
        watcher: who has seen enough; others go on to watch.
    """

    def __init__(self, watcher: object) -> None:
        super().__init__()
        self.watcher = watcher
