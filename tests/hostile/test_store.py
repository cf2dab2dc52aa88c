"""The history survives what happens to files and processes, and never changes a verdict."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from pytest_dlcheck.store import database as store
from pytest_dlcheck.store.database import opened
from pytest_dlcheck.store.errors import StoreError
from pytest_dlcheck.store.history import all_series, counts, points
from pytest_dlcheck.store.place import place_of
from pytest_dlcheck.store.writing import append
from tests.store_kit import entry, gated, run, stored

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals, limits and pipes of POSIX")


@pytest.fixture
def place(tmp_path):
    return place_of("h.db", tmp_path)


def _filled(place):
    with opened(place, make=True) as database:
        append(database, run("u", "c"), [entry(float(i), recipe=f"r{i}") for i in range(20)])
    return place.path.read_bytes()


def _refused(place):
    """What is said of a history that nothing can be added to."""
    with pytest.raises(StoreError) as raised, opened(place, make=True) as database:
        append(database, run("v"), [entry(1.0)])
    assert str(raised.value).count(str(place.path)) == 1
    return str(raised.value)


def test_a_history_cut_short_is_refused_and_left_as_it_is(place):
    _filled(place)
    with sqlite3.connect(place.path, isolation_level=None) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA page_size = 512")
        connection.execute("VACUUM")
    connection.close()
    whole = place.path.read_bytes()
    edges = {edge + near for edge in range(0, len(whole), 512) for near in (-1, 0, 1)}
    cuts = sorted({*range(1, 110), *edges} & set(range(1, len(whole))))
    for cut in cuts:
        place.path.write_bytes(whole[:cut])
        message = _refused(place)
        assert "it is damaged, or no history: move it away, and a new one is made" in message
        assert place.path.read_bytes() == whole[:cut]
    assert len(cuts) > 150
    place.path.write_bytes(whole)
    with opened(place) as database:
        assert len(all_series(database)) == 20


def test_an_empty_file_is_a_history_that_was_about_to_be_made(place):
    place.path.touch()
    assert _filled(place)


@pytest.mark.parametrize(
    "content", [b"hello", b"\x00" * 5000, b"SQLite format 3\x00 and then this" * 99]
)
def test_a_foreign_file_is_refused_and_left_as_it_is(place, content):
    place.path.write_bytes(content)
    _refused(place)
    assert place.path.read_bytes() == content


def test_another_programs_database_is_refused_and_left_as_it_is(place):
    with sqlite3.connect(place.path) as connection:
        connection.execute("CREATE TABLE dlcheck_runs (mine)")
    connection.close()
    before = place.path.read_bytes()
    assert "another program's database" in _refused(place)
    assert place.path.read_bytes() == before


def test_a_folder_or_a_pipe_in_its_place_is_refused_at_once(place):
    place.path.mkdir()
    assert "it is a folder" in _refused(place)
    place.path.rmdir()
    os.mkfifo(place.path)
    began = time.monotonic()
    assert "it is no file" in _refused(place)
    assert time.monotonic() - began < store.PATIENCE


def test_a_file_where_its_folder_should_be_is_refused(tmp_path):
    (tmp_path / ".dlcheck").write_text("mine")
    place = place_of("", tmp_path)
    _refused(place)
    assert (tmp_path / ".dlcheck").read_text() == "mine"


def test_whoever_holds_it_is_waited_for_and_then_told_of(place, monkeypatch):
    _filled(place)
    monkeypatch.setattr(store, "PATIENCE", 0.2)
    other = sqlite3.connect(place.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert "another program holds it" in _refused(place)
    other.execute("ROLLBACK")
    other.close()
    with opened(place, make=True) as database:
        assert append(database, run("v"), [entry(1.0)]) == 1


LIMITED = """
import os, resource, sys
from pathlib import Path
from pytest_dlcheck.store.database import opened
from pytest_dlcheck.store.errors import StoreError
from pytest_dlcheck.store.place import place_of
from pytest_dlcheck.store.writing import append
from tests.store_kit import entry, run

what, path = sys.argv[1:]
place = place_of(path, Path.cwd())
if what == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 17, 1 << 17))
elif os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    for number in range(500):
        with opened(place, make=True) as database:
            append(database, run(f"{what}{number}"), [entry(1.0, samples=(0.1,) * 100)])
        print(f"{what}{number}")
except StoreError as error:
    print(error)
    sys.exit(3)
"""


def _limited(what, place):
    command = [sys.executable, "-c", LIMITED, what, str(place.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 3, done.stderr
    return done.stdout.splitlines()


def test_a_full_disk_is_told_and_what_was_written_stays(place):
    *acknowledged, message = _limited("full", place)
    assert str(place.path) in message
    with opened(place) as database:
        ((number, series),) = all_series(database).items()
        assert {p.run.uid for p in points(database, number, series)} >= set(acknowledged)


def test_a_folder_that_takes_no_file_is_told_and_can_still_be_read(place, tmp_path):
    before = _filled(place)
    for path in (tmp_path, place.path):
        path.chmod(0o555)
    for parent in tmp_path.parents:  # so that whoever it is gets there
        if parent.stat().st_uid == os.geteuid() and parent != tmp_path.root:
            parent.chmod(parent.stat().st_mode | 0o011)
    (message,) = _limited("readonly", place)
    assert f"the history {place.path} cannot be" in message
    assert place.path.read_bytes() == before
    with opened(place) as database:
        assert len(all_series(database)) == 20
    tmp_path.chmod(0o755)


SESSIONS, APPENDS = 8, 50


def _session(place, number, book):
    """What a forked process does: many small runs, each written down once it is there."""
    for first in range(0, APPENDS, 10):
        with opened(place, make=True) as database:
            for turn in range(first, first + 10):
                uid = f"{number}-{turn}"
                append(database, run(uid, time=float(turn)), [entry(float(turn))])
                os.write(book, f"{uid}\n".encode())


def _fork(place, number, book):
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        _session(place, number, book)
        code = 0
    except StoreError as error:
        os.write(2, str(error).encode())
    finally:
        os._exit(code)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize("killed", [0, 4])
def test_what_many_sessions_were_told_is_there_is_there(place, tmp_path, killed):
    draw = random.Random(0)
    book = os.open(tmp_path / "book", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    children = [_fork(place, number, book) for number in range(SESSIONS)]
    for child in children[:killed]:
        time.sleep(draw.uniform(0.05, 0.2))
        os.kill(child, signal.SIGKILL)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    os.close(book)
    assert set(codes[killed:]) == {0}
    acknowledged = set((tmp_path / "book").read_text().split())
    assert len(acknowledged) >= (SESSIONS - killed) * APPENDS
    with opened(place) as database:
        ((number, series),) = all_series(database).items()
        assert {p.run.uid for p in points(database, number, series)} >= acknowledged
        assert counts(database)[number] <= SESSIONS * APPENDS
    with sqlite3.connect(place.path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def _damage(kind, path):
    path.parent.mkdir(exist_ok=True)
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.write_bytes(b"hello")


@pytest.mark.parametrize("kind", ["folder", "pipe", "foreign"])
@pytest.mark.parametrize("options", [(), ("--dlcheck-baseline=main",)])
def test_a_session_warns_once_and_its_verdicts_are_those_without_a_history(project, kind, options):
    gated(project).commit()
    _damage(kind, project.path / ".dlcheck" / "history.db")
    before = (project.path / ".dlcheck").stat()
    result = project.check("-v", *options)
    assert result.ret == 0
    warnings = [line for line in result.outlines if "WARNING" in line]
    assert len(warnings) == 1, result.stdout.str()
    assert str(project.path / ".dlcheck" / "history.db") in warnings[0]
    assert "--dlcheck-store" in warnings[0] or "move it away" in warnings[0]
    assert (project.path / ".dlcheck").stat().st_mtime_ns == before.st_mtime_ns
    assert result.parseoutcomes() in ({"passed": 1}, {"skipped": 1})


def test_warnings_that_are_errors_do_not_turn_it_into_one(project):
    gated(project).commit()
    (project.path / ".dlcheck").mkdir()
    (project.path / ".dlcheck" / "history.db").write_bytes(b"hello")
    assert project.check("-q", "-W", "error", "-p", "no:asyncio").ret == 0


def test_a_failing_session_fails_as_it_would(project, monkeypatch):
    repository = gated(project)
    repository.commit()
    project.check("-q")
    monkeypatch.setenv("SCORE", "50")
    assert project.check("-q", "--dlcheck-baseline=main").ret == 1
    assert [point.measure.value for point in stored(project.path)["test_it.py::calm", "score"]] == [
        100,
        50,
    ]


def test_no_secret_gets_into_what_is_shown_or_written(project, monkeypatch):
    repository = gated(project)
    repository.commit()
    repository.git("remote", "add", "origin", "https://me:canary1@example.com/x.git")
    monkeypatch.setenv("CI_JOB_TOKEN", "canary2")
    monkeypatch.setenv("DLCHECK_STORE", "postgresql://me:canary3@127.0.0.1:1/x?sslpassword=canary4")
    options = ("-v", "--dlcheck-report=json:j.jsonl", "--junitxml=j.xml", "--dlcheck-baseline=main")
    shown = project.check(*options)
    monkeypatch.delenv("DLCHECK_STORE")
    project.check(*options)
    assert "the history postgresql://127.0.0.1:1/x cannot be" in shown.stdout.str()
    files = [path for path in project.path.rglob("*") if path.is_file() and ".git" not in path.parts]
    assert {"history.db", "j.jsonl", "j.xml"} <= {path.name for path in files}
    for text in (shown.stdout.str().encode(), shown.stderr.str().encode(), *map(_content, files)):
        assert b"canary" not in text


def _content(path):
    return path.read_bytes()
