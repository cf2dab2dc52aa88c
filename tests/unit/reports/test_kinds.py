"""The kinds of reports: each is found, has its place, and says what it needs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pytest_dlcheck.reports import kinds
from pytest_dlcheck.reports.errors import ReportError
from pytest_dlcheck.reports.kinds import KINDS, Request


@pytest.mark.parametrize("name", [name for name in KINDS if name != "mlflow"])
def test_each_kind_can_be_written(contents, tmp_path, monkeypatch, name):
    pytest.importorskip(KINDS[name].needs or "pytest_dlcheck")
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    request = kinds.requested(name)
    kinds.prepare(request, tmp_path)
    where = Path(kinds.write(request, contents, tmp_path))
    assert where == tmp_path / KINDS[name].default
    assert where.is_dir() if KINDS[name].place == "folder" else where.stat().st_size > 0


def test_a_place_may_hold_colons():
    assert kinds.requested("html:C:\\out\\r.html") == Request("html", "C:\\out\\r.html")
    assert str(Request("mlflow", "sqlite:///m.db")) == "mlflow:sqlite:///m.db"


def test_an_unknown_kind_lists_the_valid_ones():
    with pytest.raises(
        ReportError, match=r"unknown kind 'pdf' \(valid: html, json, markdown, mlflow, open"
    ):
        kinds.requested("pdf:out.pdf")


def test_a_package_that_is_missing_is_told_with_its_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setattr(kinds, "find_spec", lambda name: None)
    with pytest.raises(ReportError, match=r"pip install 'pytest-dlcheck\[tensorboard\]'"):
        kinds.requested("tensorboard")


def test_an_environment_variable_names_the_default_and_nothing_more(monkeypatch, tmp_path):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "/tmp/step.md")
    assert kinds.place_of(Request("markdown"), tmp_path) == "/tmp/step.md"
    assert kinds.place_of(Request("markdown", "m.md"), tmp_path) == str(tmp_path / "m.md")
    assert kinds.place_of(Request("html"), tmp_path) == str(tmp_path / "dlcheck.html")


def test_what_cannot_be_put_there_is_told_before_the_work(tmp_path):
    (tmp_path / "file").write_text("mine")
    for text in ("html:file/r.html", "tensorboard:file"):
        with pytest.raises(ReportError, match="a file is where a folder is to be"):
            kinds.prepare(Request(*text.split(":")), tmp_path)
