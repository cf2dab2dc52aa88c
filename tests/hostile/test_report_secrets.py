"""Canaries in the environment, in addresses, parameters and exceptions: no artefact holds one."""

from __future__ import annotations

import platform
import socket
from xml.etree import ElementTree as ET

import pytest

ENVIRONMENT = "canary-in-the-environment"
PASSWORD = "canary-in-a-password"
QUERY = "canary-in-a-query"
HOST = "canary-of-the-machine"
PLAIN = "canary-in-a-variable-without-a-secret-name"
RECIPES = f"""
import os

@recipe
@pytest.mark.parametrize("source", ["https://me:{PASSWORD}@mirror/data?api_key={QUERY}"])
def fed(source):
    return made(Net(cut=True))

@recipe
def raising():
    raise OSError(f"no data at postgresql://me:{PASSWORD}@db/x with {{os.environ['DATA_TOKEN']}}")

@pytest.fixture
def mirror():
    raise OSError("refused: " + os.environ["DATA_TOKEN"])

@recipe
def unfed(mirror):
    return made()
"""
KINDS = ("html", "markdown", "openmetrics", "tensorboard", "json:out/j.jsonl")


@pytest.fixture
def repo(project, monkeypatch):
    pytest.importorskip("tensorboard")
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.setenv("DATA_TOKEN", ENVIRONMENT)
    monkeypatch.setenv("HARMLESS", PLAIN)
    monkeypatch.setattr(socket, "gethostname", lambda: HOST)
    monkeypatch.setattr(platform, "node", lambda: HOST)
    project.recipes(RECIPES)
    wanted = (kind if ":" in kind else f"{kind}:out/{kind}" for kind in KINDS)
    project.result = project.check(
        "--dlcheck-select=dynamics",
        "--junitxml=junit.xml",
        *(f"--dlcheck-report={kind}" for kind in wanted),
    )
    return project


def test_no_report_holds_one(repo):
    assert "ERROR: " not in repo.result.stdout.str().partition("= dlcheck =")[2], (
        repo.result.stdout.str()
    )
    files = [path for path in (repo.path / "out").rglob("*") if path.is_file()]
    assert len(files) > len(KINDS)
    for path in files:
        content, name = path.read_bytes(), str(path.relative_to(repo.path))
        for canary in (ENVIRONMENT, PASSWORD, QUERY, PLAIN, HOST):
            assert canary.encode() not in content, (path, canary)
            assert canary not in name


def test_what_is_ours_of_the_terminal_and_of_junit_holds_none(repo):
    ours = repo.result.stdout.str().partition("= dlcheck =")[2].partition("= short test summary")[0]
    told = [p.get("value") for p in ET.parse(repo.path / "junit.xml").getroot().iter("property")]
    assert told
    for canary in (ENVIRONMENT, PASSWORD, QUERY, PLAIN):
        assert canary not in ours
        assert not [value for value in told if canary in value]


def test_what_is_told_beside_them_stays(repo):
    told = (repo.path / "out" / "markdown").read_text("utf-8")
    assert "no data at postgresql://\\*\\*\\*@db/x with \\*\\*\\*" in told
    assert "refused: \\*\\*\\*" in told
