"""Secrets that a user's code has spoken of are taken out; all else stays."""

from __future__ import annotations

import json

import pytest

from pytest_dlcheck.finding import Finding
from pytest_dlcheck.reports.secrets import masked, masked_finding
from pytest_dlcheck.verdict import Outcome, Suspect, Verdict

NOTHING: dict[str, str] = {}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("https://me:hunter2@host/data", "https://***@host/data"),
        ("postgresql+psycopg://u:p%40ss@db:5432/x", "postgresql+psycopg://***@db:5432/x"),
        ("get https://host/x?token=abc&page=2", "get https://host/x?token=***&page=2"),
        ("https://b.s3/x?X-Amz-Signature=abc", "https://b.s3/x?X-Amz-Signature=***"),
        ("https://host/x?page=2", "https://host/x?page=2"),
        ("mail me@host", "mail me@host"),
        ("a // b @ c", "a // b @ c"),
    ],
)
def test_credentials_in_addresses(text, told):
    assert masked(text, NOTHING) == told


@pytest.mark.parametrize(
    "name", ["API_TOKEN", "HF_TOKEN", "db_password", "AWS_SECRET_ACCESS_KEY", "MY_API_KEY"]
)
def test_values_of_secret_variables(name):
    assert masked("said s3cr3t-value here", {name: "s3cr3t-value"}) == "said *** here"


@pytest.mark.parametrize(
    ("name", "value"),
    [("TOKENIZERS_PARALLELISM", "parallel"), ("HOME", "/home/somebody"), ("API_TOKEN", "short")],
)
def test_what_is_no_secret_stays(name, value):
    assert masked(f"said {value} here", {name: value}) == f"said {value} here"


def test_json_stays_json():
    secret = 'qu"ote\\d\n'
    line = json.dumps({"text": f"a {secret} b https://u:p@h/"})
    assert json.loads(masked(line, {"X_PASSWORD": secret})) == {"text": "a *** b https://***@h/"}


def test_a_finding_is_masked_everywhere():
    secret = "correct-horse"
    verdict = Verdict(
        check="c",
        outcome=Outcome.ERRORED,
        because=secret,
        suspects=(Suspect(secret, secret, secret),),
        cause=secret,
        remedy=secret,
        advice=(secret,),
    )
    finding = Finding(f"r[{secret}]", verdict, objection=secret)
    assert secret not in repr(masked_finding(finding, {"A_SECRET": secret}))
    assert masked_finding(finding, NOTHING) == finding
