"""The commands about a history, on a repository with 50 recorded commits."""

from __future__ import annotations

import random

import pytest
from click.testing import CliRunner

from pytest_dlcheck.cli import main
from pytest_dlcheck.store.database import opened
from pytest_dlcheck.store.place import place_of
from pytest_dlcheck.store.writing import append
from pytest_dlcheck.verdict import Outcome
from tests.store_kit import DAY, THERE, Repository, entry, run

PLANTED = 30


@pytest.fixture(scope="module")
def life(tmp_path_factory):
    """A repository whose 31st commit made it 8 % slower; each fifth was measured elsewhere too."""
    repository = Repository(tmp_path_factory.mktemp("life"))
    draw = random.Random(0)
    commits = []
    with opened(place_of("", repository.path), make=True) as database:
        for number in range(50):
            commits.append(repository.commit())
            speed = 5000 * draw.gauss(1, 0.01) * (0.92 if number >= PLANTED else 1)
            outcome = Outcome.FAILED if number == PLANTED else Outcome.PASSED
            samples = tuple(speed * draw.gauss(1, 0.01) for _ in range(5))
            entries = [entry(speed, outcome, samples=samples, low=speed * 0.99, high=speed * 1.01)]
            if number % 5 == 0:
                entries.append(entry(speed * 9, machine=THERE))
            append(database, run(f"{number:032x}", commits[-1], 1.7e9 + number * DAY), entries)
    return repository, commits


@pytest.fixture
def dlcheck(life, monkeypatch):
    monkeypatch.chdir(life[0].path)

    def call(*arguments, fails=False):
        result = CliRunner().invoke(main, arguments)
        assert (result.exit_code != 0) == fails, result.output
        return result.output

    return call


def test_the_overview_names_the_planted_commit_and_both_machines(life, dlcheck):
    lines = dlcheck("history").splitlines()
    (row,) = [line for line in lines if line.startswith("digits_cnn  throughput  A ")]
    assert row.split()[3] == "50"
    assert f"{life[1][PLANTED][:10]} (2023-12-14): -" in row
    assert lines[-2].startswith("machine A: a processor, 4 CPUs")
    assert lines[-1].startswith("machine B: another, 4 CPUs")


def test_a_history_is_drawn_with_its_change_and_listed(life, dlcheck):
    text = dlcheck("history", "digits_cnn", "throughput", "--last", "20")
    mine = text.partition("on another")[0]
    assert f"a new level at {life[1][PLANTED][:10]} (2023-12-14): -" in mine
    axis = next(line for line in mine.splitlines() if "▲" in line)
    assert axis.split("└")[1].index("▲") == PLANTED
    listed = [line for line in mine.splitlines() if line.startswith("20")]
    assert len(listed) == 20
    (planted,) = [line for line in listed if life[1][PLANTED][:10] in line]
    assert "failed" in planted
    assert "(the newest 20 of 50 runs; --last N for more)" in mine


def test_it_is_found_from_a_folder_below(life, dlcheck, monkeypatch):
    below = life[0].path / "src" / "deep"
    below.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(below)
    assert "digits_cnn" in dlcheck("history")


def test_two_commits_are_compared_by_git_names_and_by_uids(life, dlcheck):
    text = dlcheck("compare", "HEAD~40", "HEAD")
    (row,) = [line for line in text.splitlines() if line.startswith("digits_cnn")]
    assert "differs" in row
    assert "5 and 5 samples of single runs" in row
    text = dlcheck("compare", life[1][3][:10], f"{4:032x}")
    assert "no difference shown" in text
    assert f"A: {life[1][3][:10]} main, 1 run" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("compare", "nope", "HEAD"), "no run of 'nope' was recorded"),
        (("compare", "0000", "HEAD"), "'0000' is the beginning of several names"),
        (("history", "digits"), "no recipe 'digits' (it holds: digits_cnn)"),
        (("history", "--store", "nowhere.db"), "there is no history at"),
        (("history", "--store", "mysql://me:canary@x/y"), "mysql://... is no place for a history"),
        (("accept", "--reason", "  "), "--reason wants a text"),
        (("accept", "--reason", "r", "--commit", "nope"), "no run of 'nope' was recorded"),
    ],
)
def test_what_cannot_be_answered_is_said_in_a_line(dlcheck, arguments, said):
    text = dlcheck(*arguments, fails=True)
    assert said in text
    assert "canary" not in text
    assert "Traceback" not in text


def test_a_dirty_run_cannot_be_accepted(life, dlcheck, tmp_path):
    with opened(place_of("h.db", tmp_path), make=True) as database:
        append(database, run("u", life[1][-1], dirty=True), [entry(1.0)])
    text = dlcheck("accept", "--reason", "r", "--store", str(tmp_path / "h.db"), fails=True)
    assert "measured with uncommitted changes" in text


def test_a_commit_that_was_never_measured_cannot_be_accepted(dlcheck, tmp_path):
    with opened(place_of("h.db", tmp_path), make=True) as database:
        append(database, run("u", "f" * 40), [entry(1.0)])
    text = dlcheck("accept", "--reason", "r", "--store", str(tmp_path / "h.db"), fails=True)
    assert "the newest is of ffffffffff" in text


def test_an_empty_history_says_so(dlcheck, tmp_path):
    with opened(place_of("h.db", tmp_path), make=True):
        pass
    assert "the history is empty" in dlcheck("history", "--store", str(tmp_path / "h.db"), fails=True)
