"""The hooks that a conftest file or a plugin may implement, to send what was found where it likes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_dlcheck.finding import Finding


def pytest_dlcheck_verdict(config: pytest.Config, finding: Finding) -> None:
    """Hear of each verdict, as it is reached.

    Called in the process that reports to the user: under pytest-xdist the controller. What an
    implementation raises is one warning, and changes no verdict.

    Args:
        config: the session's.
        finding: the verdict with its recipe, cause and trials; a frozen value.
    """


def pytest_dlcheck_run(
    config: pytest.Config, findings: Sequence[Finding], session: Mapping[str, Any]
) -> None:
    """Hear of all verdicts, at the end of the session, also after Ctrl-C.

    Args:
        config: the session's.
        findings: what was concluded, in order.
        session: ``started`` (UTC, ISO 8601), ``python``, ``torch``, ``pytest_dlcheck``, ``platform``
            and ``device``.
    """
