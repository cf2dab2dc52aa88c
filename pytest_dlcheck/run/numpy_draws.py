"""numpy's global generator: drawn from aside, and seen to draw, without copying it.

numpy's ``get_state`` and ``set_state`` copy 624 words one by one, 70 us each time, and a trial draws
aside dozens of times. The words are copied in memory instead; only a normal number that numpy has kept
for the next draw has to be put back by itself. The generator stays the same one, as others may share it.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_BYTES = 4 * 625
"""Of a Mersenne Twister: its 624 words, and its place among them."""
_MOST = 8
"""Generators whose place in memory is remembered."""
_SEEDS = 2**32

_places: dict[int, tuple[Any, int]] = {}
"""By identity, a generator, and where numpy says that its words lie."""
_keeping_nothing: dict[int, bytes] = {}
"""By identity, the words at which no normal number was kept: one is kept, or used, only by drawing, or
where somebody sets a state that was taken before."""


@contextmanager
def aside() -> Iterator[None]:
    """Whatever is drawn meanwhile, numpy's own generator goes on afterwards where it stood."""
    if "numpy" not in sys.modules:
        yield
        return
    random = sys.modules["numpy"].random
    own = random.get_bit_generator()
    words = _words(random, own)
    kept = None if words else random.get_state(legacy=False)
    try:
        yield
    finally:
        random.set_bit_generator(own)  # keeps no normal number then
        if words is None:
            put_back(kept)
        else:
            ctypes.memmove(_place(own), words, _BYTES)
            _keeping_nothing[id(own)] = words


@contextmanager
def states_are_heard() -> Iterator[None]:
    """Where somebody sets a state by ``numpy.random.set_state``, it may come with a kept number."""
    random = sys.modules["numpy"].random if "numpy" in sys.modules else None
    if random is None:
        yield
        return
    original = random.set_state

    @functools.wraps(original)
    def set_state(state: Any) -> None:
        original(state)
        forget()

    random.set_state = set_state
    try:
        yield
    finally:
        if random.set_state is set_state:
            random.set_state = original


def put_back(state: Any) -> None:
    """Let numpy's global generator stand as it did, with the normal number that it had kept."""
    sys.modules["numpy"].random.set_state(state)
    forget()


def forget() -> None:
    """What the generator keeps is asked anew: somebody may have set a state that was taken before."""
    _keeping_nothing.clear()


def seed(number: int) -> None:
    """Seed numpy's global generator, where numpy is loaded."""
    if "numpy" not in sys.modules:
        return
    random = sys.modules["numpy"].random
    bits = random.get_bit_generator()
    if isinstance(bits, random.MT19937):
        random.seed(number % _SEEDS)
    else:
        bits.state = type(bits)(number % _SEEDS).state
        random.set_bit_generator(bits)  # keeps no normal number then
    if (now := _read(random, bits)) is not None:
        _keeping_nothing[id(bits)] = now


def standing() -> Any:
    """Where the generator stands, to be compared; None where numpy is not loaded."""
    if "numpy" not in sys.modules:
        return None
    random = sys.modules["numpy"].random
    words = _words(random, random.get_bit_generator())
    return words or repr(random.get_state(legacy=False))


def _words(random: Any, bits: Any) -> bytes | None:
    """All that the generator's next draws depend on; None where that is more than its words."""
    now = _read(random, bits)
    if now is None:
        return None
    if _keeping_nothing.get(id(bits)) != now:
        _, words, place, keeps, _ = random.get_state()
        if keeps or words.tobytes() + int(place).to_bytes(4, sys.byteorder) != now:
            return None
        _keeping_nothing[id(bits)] = now
    return now


def _read(random: Any, bits: Any) -> bytes | None:
    """The words of one of numpy's Mersenne Twisters; None of another generator."""
    if type(bits) is not random.MT19937:
        return None
    return ctypes.string_at(_place(bits), _BYTES)


def _place(bits: Any) -> int:
    """Where the words of a generator lie in memory."""
    if id(bits) not in _places:
        if len(_places) >= _MOST:
            _places.clear()
            _keeping_nothing.clear()
        _places[id(bits)] = bits, bits.ctypes.state_address
    return _places[id(bits)][1]
