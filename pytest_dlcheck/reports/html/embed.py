"""How text and numbers get into a page so that nothing in them can get out of their place."""

from __future__ import annotations

import json
import math
import zlib
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from pytest_dlcheck.reports.text import one_line, shown

_DIGITS = 4


def text(value: str) -> Any:
    """A text with its unseen characters made visible."""
    return shown(value)


def name(value: str) -> str:
    """A name, which stays in its line; the model itself and the like have none."""
    return one_line(value)


def exact(value: float | None) -> Any:
    """A number as strict JSON: those that are not finite by their names."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return value


def rough(value: float | None) -> Any:
    """The same, with as many digits as a chart shows."""
    if not isinstance(value, float) or not math.isfinite(value):
        return exact(value)
    return float(f"{value:.{_DIGITS}g}")


def scalar(value: Any) -> Any:
    """A fact's value, whatever it is."""
    if isinstance(value, str):
        return shown(value)
    return rough(value) if isinstance(value, float) else value


def json_text(data: Any) -> str:
    """Strict JSON, inert inside a page's script element: plain ASCII without ``<``, ``>`` or ``&``."""
    plain = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for mark in "<>&":
        plain = plain.replace(mark, f"\\u{ord(mark):04x}")
    return plain


def packed(data: Mapping[str, Any]) -> str:
    """A value as compressed JSON in base64, which the page unpacks once it is needed."""
    return packed_text(json.dumps(data, allow_nan=False, separators=(",", ":")))


def packed_text(plain: str) -> str:
    """A text, compressed, in base64."""
    return b64encode(zlib.compress(plain.encode("utf-8"), 6)).decode("ascii")
