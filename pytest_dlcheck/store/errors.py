"""The one way in which a store fails."""

from __future__ import annotations


class StoreError(Exception):
    """A history cannot be read or written; the message names it, says why and what to do.

    It holds no user name, no password and no parameter of a database's address.
    """
