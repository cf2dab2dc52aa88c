"""What tests of the history are made of: repositories, runs, measures, servers."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

from pytest_dlcheck.store import git
from pytest_dlcheck.store.baselines import Question, baseline
from pytest_dlcheck.store.database import opened
from pytest_dlcheck.store.history import all_series, points
from pytest_dlcheck.store.machine import Machine
from pytest_dlcheck.store.place import place_of
from pytest_dlcheck.store.records import Entry, Run, Series, TraceEntry
from pytest_dlcheck.store.writing import append
from pytest_dlcheck.verdict import Measure, Outcome

HERE = Machine({"cpu": "a processor", "cpus": 4, "device": "cpu", "threads": 2})
THERE = Machine({"cpu": "another", "cpus": 4, "device": "cpu", "threads": 2})
RECIPE = "tests/test_digits.py::digits_cnn"
DAY = 86_400.0
GATES = Path(__file__).parent / "toys" / "gates"
GATED = "pytestmark = pytest.mark.dlcheck(select=['gate'])\n\n@recipe\ndef calm():\n    return made()\n"


class Repository:
    """A git repository with commits in it."""

    def __init__(self, path: Path):
        self.path = path
        path.mkdir(exist_ok=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments):
        who = ("-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
        done = subprocess.run(
            ["git", "-C", str(self.path), *who, *arguments],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull},
        )
        return done.stdout.strip()

    def commit(self, message="a change"):
        """Its name."""
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")


def run(uid, commit="", time=0.0, **more):
    return Run(uid, time, commit, **{"branch": "main", "torch_version": "2.0", **more})


def entry(value, outcome=Outcome.PASSED, recipe=RECIPE, machine=HERE, **more):
    measure = Measure("throughput", value, "samples/s", **more)
    return Entry(Series(recipe, "throughput", "throughput", "samples/s", machine), outcome, measure)


def record(database, commits, values, **more):
    """One run per commit and value, a day apart; their names are their numbers."""
    for number, (commit, value) in enumerate(zip(commits, values, strict=True)):
        append(database, run(f"run{number}", commit, number * DAY), [entry(value, **more)])


def ask(database, repository, name="main", **more):
    """The baseline that a reference gives."""

    def line_of(reference):
        return git.line(repository.path, reference)

    line = git.Line() if name == "accepted" else line_of(name)
    question = Question(RECIPE, HERE, "2.0", name, line, line_of)
    return baseline(database, replace(question, **more))


def values(found):
    return [past.value for past in found.of("throughput")]


def trace_entry(number, seed=0, recipe=RECIPE):
    return TraceEntry(recipe, HERE, seed, {"number": number})


class Server:
    """A PostgreSQL server of a test's own, on a free port, run by an unprivileged user."""

    def __init__(self, binaries: Path):
        self._binaries = binaries
        self._folder = Path(tempfile.mkdtemp(prefix="dlcheck-pg-"))
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(self._folder, self._user)
        self.data = self._folder / "data"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        password = self._folder / "password"
        password.write_text("s3cret/canary")
        self._do("initdb", "-U", "tester", "-A", "scram-sha-256", "--pwfile", password, "-D", self.data)
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql://tester:s3cret%2Fcanary@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = f"-p {self.port} -k {self._folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        log = self._folder / "log"
        self._do("pg_ctl", "start", "-w", "-D", self.data, "-l", log, "-o", options)

    def stop(self) -> None:
        self._do("pg_ctl", "stop", "-m", "immediate", "-D", self.data)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def fresh(self, name: str) -> str:
        """The address of a database of its own."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.url.removesuffix("postgres") + name

    def _do(self, program, *arguments):
        options = {"user": self._user, "group": self._user, "extra_groups": []} if self._user else {}
        subprocess.run(
            [self._binaries / program, *arguments],
            check=True,
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            **options,
        )


def server_binaries() -> Path | None:
    """Where a PostgreSQL server is installed, the newest one; None where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: float(p.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


def gated(project, recipes=GATED):
    """A project whose recipe has a toy gate, under version control."""
    project.append("conftest.py", f"pytest_dlcheck.checks.__path__.append({str(GATES)!r})\n")
    project.recipes(recipes)
    project.write({".gitignore": "__pycache__\n.pytest_cache\n*.jsonl\n*.xml\n*.html\n"})
    repository = Repository(project.path)
    repository.git("add", "-A")
    return repository


def stored(path):
    """What a project's history holds: commit, value and outcome of each point, by recipe and measure."""
    with opened(place_of("", path)) as database:
        return {
            (one.recipe, one.measure): points(database, number, one)
            for number, one in all_series(database).items()
        }
