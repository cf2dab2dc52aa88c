"""Takes secrets out of what a user's own code has said, before any report holds it.

What we write ourselves holds none. But an exception or a parameter may hold whatever its author put
there: credentials in addresses, tokens in queries, values of the environment's secret variables.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping

from pytest_dlcheck.finding import Finding

MASK = "***"
_SHORTEST = 8
"""Characters of an environment variable's value from which on it is taken for a secret: what is shorter
may stand anywhere by chance."""
_WORDS = "TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY"
_SECRET_NAME = re.compile(rf"(^|_)({_WORDS})(_|$)", re.IGNORECASE)
_IN_ADDRESS = re.compile(r"(?<=://)[^/\s\"'\\@]+(?=@)")
_IN_QUERY = re.compile(
    r"(?<=[?&])([a-z_-]*(?:token|secret|password|api_?key|access_?key|signature|sig|credential))"
    r"=[^&\s\"'\\\])]+",
    re.IGNORECASE,
)


def masked(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """Text without the credentials of addresses and the values of secret environment variables.

    Args:
        text: the text; it may be JSON, and is then still the same JSON but for what was masked.
        environment: where to look for secrets.
    """
    for secret in _secrets(environment):
        text = text.replace(secret, MASK)
    if "://" in text:
        text = _IN_QUERY.sub(rf"\1={MASK}", _IN_ADDRESS.sub(MASK, text))
    return text


def masked_finding(finding: Finding, environment: Mapping[str, str] = os.environ) -> Finding:
    """A finding with all its texts masked."""
    return Finding.from_json(json.loads(masked(json.dumps(finding.to_json()), environment)))


def _secrets(environment: Mapping[str, str]) -> list[str]:
    """The values of secret variables, the longest first, as they are and as JSON writes them."""
    values = {
        value
        for name, value in environment.items()
        if len(value) >= _SHORTEST and _SECRET_NAME.search(name)
    }
    return sorted(values | {json.dumps(value)[1:-1] for value in values}, key=len, reverse=True)
