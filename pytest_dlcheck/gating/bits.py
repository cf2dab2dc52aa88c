"""Which examples were right, as a short text and back. No numbers are made of it here."""

from __future__ import annotations

from collections.abc import Sequence


def packed(right: Sequence[bool]) -> str:
    """One bit per example, four to a hexadecimal digit, the first example first."""
    digits = "".join("01"[bit] for bit in right)
    digits += "0" * (-len(digits) % 4)
    return f"{int(digits, 2):0{len(digits) // 4}x}" if digits else ""


def unpacked(text: str, count: int) -> bytes:
    """The first ``count`` examples of what :func:`packed` wrote: a byte each, 1 for right."""
    digits = f"{int(text, 16):0{4 * len(text)}b}" if text else ""
    return bytes(digit == "1" for digit in digits[:count])
