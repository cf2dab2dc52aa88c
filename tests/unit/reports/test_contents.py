"""What a journal holds: also of checks that were never judged, and of the one that was in flight."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_dlcheck.finding import Finding, problems
from pytest_dlcheck.reports.journal import Journal, JournalError, read
from pytest_dlcheck.verdict import Outcome, Verdict


def place(check, recipe="r"):
    return {"recipe": recipe, "check": check, "file": "tests/test_it.py", "line": 7}


def verdict(check, recipe="r"):
    finding = Finding(recipe, Verdict(check=check, outcome=Outcome.PASSED, because="fine"))
    return {"finding": finding.to_json()}


@pytest.fixture
def written(tmp_path):
    """Writes lines, a kind and its data each, and reads them."""

    def write(*lines):
        journal = Journal(tmp_path / "j.jsonl", {"python": "3.12"})
        for kind, data in lines:
            journal.write(kind, data)
        assert repr(journal.contents()) == repr(read(tmp_path / "j.jsonl"))
        journal.close()
        return read(tmp_path / "j.jsonl")

    return write


def test_the_session_and_the_place_of_a_recipe(written):
    contents = written(
        ("recipe", {"recipe": "r", "terms": None, "checks": [], "file": "t.py", "line": 3})
    )
    assert contents.session == {"python": "3.12"}
    assert (contents.recipes["r"]["file"], contents.recipes["r"]["line"]) == ("t.py", 3)


def test_an_older_journal_knows_neither(tmp_path):
    path = tmp_path / "j.jsonl"
    lines = [
        {"kind": "journal", "version": 1},
        {"kind": "recipe", "recipe": "r", "terms": None, "checks": []},
    ]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    contents = read(path)
    assert contents.session == {}
    assert (contents.recipes["r"]["file"], contents.recipes["r"]["line"]) == ("", 0)


def test_what_was_in_flight_is_an_error_of_its_recipe(written):
    contents = written(("begun", place("a")), ("verdict", verdict("a")), ("begun", place("b")))
    (flying,) = contents.unjudged
    assert contents.findings[-1] == flying
    assert (flying.verdict.check, flying.verdict.outcome) == ("b", Outcome.ERRORED)
    assert flying.verdict.because.startswith("in flight where the journal ends: the session was killed")
    assert contents.recipes["r"]["line"] == 7


def test_after_ctrl_c_it_is_told_so(written):
    contents = written(("begun", place("a")), ("end", {"exit_code": 2}))
    verdict = contents.unjudged[0].verdict
    assert (verdict.outcome, contents.ended) == (Outcome.INCONCLUSIVE, True)
    assert "interrupted" in verdict.because


def test_nothing_is_in_flight_when_all_is_told(written):
    contents = written(("begun", place("a")), ("verdict", verdict("a")), ("end", {"exit_code": 0}))
    assert contents.unjudged == []


def test_a_fixture_that_fails_is_one_problem_however_many_checks_it_ends(written):
    ended = [
        line
        for check in ("a", "b", "c")
        for line in (
            ("begun", place(check)),
            ("unjudged", {"recipe": "r", "check": check, "outcome": "failed", "because": "no mirror"}),
        )
    ]
    contents = written(*ended)
    assert [f.verdict.outcome for f in contents.findings] == [Outcome.ERRORED] * 3
    ((cause, led_to),) = problems(contents.findings)
    assert (cause.verdict.because, len(led_to)) == ("no mirror", 2)


def test_a_fixture_that_skips_is_not_applicable(written):
    left = {"recipe": "r", "check": "a", "outcome": "skipped", "because": "no GPU"}
    contents = written(("begun", place("a")), ("unjudged", left))
    assert [f.verdict.outcome for f in contents.findings] == [Outcome.NOT_APPLICABLE]
    assert not any(f.fails for f in contents.findings)


def test_lines_of_a_kind_to_come_are_passed_over(written):
    contents = written(("weather", {"rain": True}), ("verdict", verdict("a")))
    assert len(contents.findings) == 1
    assert contents.notice == ""


def test_a_journal_in_memory_gives_back_what_it_was_told():
    journal = Journal(None, {"python": "3.12"})
    journal.write("verdict", verdict("a"))
    assert len(journal.contents().findings) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_keeps_nothing_from_the_other_reports():
    journal = Journal(Path("/dev/full"))
    journal.write("verdict", verdict("a"))
    journal.write("verdict", verdict("b"))
    assert "/dev/full ends early: No space left" in journal.error
    assert [f.verdict.check for f in journal.contents().findings] == ["a", "b"]
    journal.close()


def test_a_disk_that_fills_up_in_the_middle_of_a_line_keeps_nothing_from_them_either(tmp_path):
    resource = pytest.importorskip("resource")
    journal = Journal(tmp_path / "j.jsonl")
    journal.write("verdict", verdict("a"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "j.jsonl").stat().st_size + 10, hard))
    try:
        journal.write("verdict", verdict("b"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    journal.write("verdict", verdict("c"))
    assert "j.jsonl ends early: File too large" in journal.error
    assert [f.verdict.check for f in journal.contents().findings] == ["a", "b", "c"]
    journal.close()
    torn = read(tmp_path / "j.jsonl")
    assert [f.verdict.check for f in torn.findings] == ["a"]
    assert "torn" in torn.notice


def test_a_journal_whose_file_is_no_more_cannot_be_opened(tmp_path):
    with pytest.raises(JournalError, match="cannot be read"):
        read(tmp_path / "none.jsonl")
