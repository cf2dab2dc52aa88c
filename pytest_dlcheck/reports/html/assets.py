"""What every page brings along: style, scripts, plotly, and which of them a browser may run."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files

_SCRIPTS = (
    "dom",
    "format",
    "data",
    "bars",
    "theme",
    "figures",
    "charts",
    "tables",
    "card",
    "list",
    "keys",
    "start",
)
"""In the order in which they are run; together they are one script with one scope."""


@dataclass(frozen=True, slots=True)
class Assets:
    """Everything that is the same on every page.

    Attributes:
        style: the style sheet.
        script: the page's own script.
        plotly: plotly.js, compressed, in base64.
        policy: the content security policy: these scripts are run and no other, nothing is fetched.
    """

    style: str
    script: str
    plotly: str
    policy: str


@cache
def load() -> Assets:
    """Read them once."""
    from plotly.offline import get_plotlyjs

    from pytest_dlcheck.reports.html.embed import packed_text

    script = _script()
    plotly = get_plotlyjs()
    hashes = " ".join(f"'sha256-{_hash(code)}'" for code in (script, plotly))
    policy = (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    return Assets(_text("report.css"), script, packed_text(plotly), policy)


def _script() -> str:
    parts = "\n".join(_text(f"{name}.js") for name in _SCRIPTS)
    return f'(() => {{\n"use strict";\n{parts}\n}})();'


def _text(name: str) -> str:
    return (files("pytest_dlcheck.reports.html") / "assets" / name).read_text(encoding="utf-8")


def _hash(code: str) -> str:
    return b64encode(sha256(code.encode("utf-8")).digest()).decode("ascii")
