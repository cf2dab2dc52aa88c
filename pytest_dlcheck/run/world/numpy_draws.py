"""numpy's global generator: drawn from aside, and seen to draw, without copying it.

numpy's ``get_state`` and ``set_state`` copy 624 words one by one, 70 us each time, and a trial draws
aside dozens of times. The words are copied in memory instead; only a normal number that numpy has kept
for the next draw has to be asked for, and put back, by itself. The generator stays the same one, as
others may share it.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_BYTES = 4 * 625
"""Of a Mersenne Twister: its 624 words, and its place among them."""
_MOST = 8
"""Generators whose place in memory is remembered."""
_SEEDS = 2**32

_places: dict[int, tuple[Any, int | None]] = {}
"""By identity, a generator, and where its words lie; None where other words than its own lie there."""
_fresh: dict[int, bytes] = {}
"""By identity, the words that seeding gave: no normal number is kept beside them, as drawing the pair
that it would be one of makes new words. Beside any others one may be, whatever was found before."""


@contextmanager
def aside() -> Iterator[None]:
    """Whatever is drawn meanwhile, numpy's own generator goes on afterwards where it stood."""
    if "numpy" not in sys.modules:
        yield
        return
    random = sys.modules["numpy"].random
    own = random.get_bit_generator()
    fresh = _fresh.get(id(own))
    words = _words(random, own)
    kept = None if words else random.get_state(legacy=False)
    try:
        yield
    finally:
        random.set_bit_generator(own)  # keeps no normal number then
        if words is None:
            random.set_state(kept)
        elif (place := _place(own)) is not None:
            ctypes.memmove(place, words, _BYTES)
            if words == fresh:
                _fresh[id(own)] = words


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
        _fresh[id(bits)] = now


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
    if _fresh.get(id(bits)) == now:
        return now
    _, words, place, keeps, _ = random.get_state()
    return None if keeps or _joined(words, place) != now else now


def _read(random: Any, bits: Any) -> bytes | None:
    """The words of one of numpy's Mersenne Twisters; None of another generator."""
    place = _place(bits) if type(bits) is random.MT19937 else None
    return None if place is None else ctypes.string_at(place, _BYTES)


def _place(bits: Any) -> int | None:
    """Where the words of a generator lie in memory, if what lies there is what numpy says they are."""
    if id(bits) not in _places:
        if len(_places) >= _MOST:
            _places.clear()
            _fresh.clear()
        place, told = bits.ctypes.state_address, bits.state["state"]
        same = ctypes.string_at(place, _BYTES) == _joined(told["key"], told["pos"])
        _places[id(bits)] = bits, place if same else None
    return _places[id(bits)][1]


def _joined(words: Any, place: int) -> bytes:
    """As they lie in memory."""
    joined: bytes = words.tobytes() + int(place).to_bytes(4, sys.byteorder)
    return joined
