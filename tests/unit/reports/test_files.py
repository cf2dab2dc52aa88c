"""Files of reports: whole or not at all, and every failure names the file."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path

import pytest

from pytest_dlcheck.reports import files
from pytest_dlcheck.reports.errors import ReportError


def test_the_folder_is_made_and_nothing_else_is_left(tmp_path):
    files.write_text(tmp_path / "a" / "b" / "r.txt", "päge")
    assert (tmp_path / "a" / "b" / "r.txt").read_text("utf-8") == "päge"
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["r.txt"]


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "r.txt"
    files.write_text(path, "old" * 1000)
    files.write_text(path, "new")
    assert path.read_text() == "new"


def test_two_writers_leave_one_whole_report(tmp_path):
    path, texts = tmp_path / "r.txt", ["a" * 100_000, "b" * 100_000]

    def write(text):
        for _ in range(20):
            files.write_text(path, text)

    threads = [threading.Thread(target=write, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    seen = set()
    while any(thread.is_alive() for thread in threads):
        if path.exists():
            seen.add(path.read_text())
    assert seen <= set(texts)
    assert path.read_text() in texts
    assert [p.name for p in tmp_path.iterdir()] == ["r.txt"]


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no links here")
def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    files.write_text(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"


def test_a_folder_in_its_place_is_named(tmp_path):
    with pytest.raises(ReportError, match=re.escape(str(tmp_path))):
        files.write_text(tmp_path, "x")
    with pytest.raises(ReportError, match="it is a folder"):
        files.prepare(tmp_path, folder=False)


def test_a_file_where_a_folder_is_to_be_is_named(tmp_path):
    (tmp_path / "file").write_text("mine")
    for call in (
        lambda: files.write_text(tmp_path / "file" / "r.txt", "x"),
        lambda: files.prepare(tmp_path / "file", folder=True),
    ):
        with pytest.raises(ReportError, match="a file is where a folder is to be"):
            call()
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_named():
    for write in (files.write_text, files.append_text):
        with pytest.raises(ReportError, match="/dev/full cannot be written: No space left"):
            write(Path("/dev/full"), "x")


def test_a_name_that_no_system_takes_is_told():
    with pytest.raises(ReportError, match="cannot be written"):
        files.write_text(Path("a\x00b"), "x")


@pytest.mark.parametrize("name", ["digits_cnn", "digits_cnn[64-0.1]", "train (20 steps, seed 1)"])
def test_a_harmless_name_is_kept(name):
    assert files.safe_name(name) == name


HOSTILE = [
    "",
    ".",
    "..",
    "../up",
    "/etc",
    "C:\\x",
    "CON",
    "nul.txt",
    "a/b",
    "a\x00",
    "x" * 300,
    " ",
    "ü\udcff",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_becomes_a_harmless_one_of_its_own(name):
    safe = files.safe_name(name)
    assert re.fullmatch(r"[A-Za-z0-9_.,=+()\[\] -]{1,100}", safe)
    assert not safe.startswith((".", " "))
    assert len({files.safe_name(other) for other in HOSTILE}) == len(HOSTILE)
