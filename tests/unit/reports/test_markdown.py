"""The Markdown summary: causes first, nothing of a user's text is markup, never above GitHub's limit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_dlcheck.reports import markdown
from pytest_dlcheck.verdict import Suspect

MIB = 1024 * 1024


def test_causes_come_first_with_their_consequences_folded_under_them(contents):
    text = markdown.text(contents)
    lines = text.splitlines()
    assert lines[0] == "## dlcheck: 1 problem in 1 recipe"
    cause = "- **`cut::gradients_flow`** (`tests/test_it.py:7`): 2 of 4 parameters receive no gradient"
    assert lines[2].startswith(cause)
    assert "  - **likely cause**: the graph is cut between `encoder` and `head`" in lines
    assert "  - **remedy**: remove .detach() there" in lines
    folded = text.partition("<summary>1 more check failed because of it</summary>")[2]
    assert "`loss_decreases`" in folded.partition("</details>")[0]
    assert "loss_decreases" not in text.partition("<summary>")[0]


def test_the_table_has_a_row_per_recipe(make_contents):
    text = markdown.text(make_contents("one", "two"))
    assert "| `one` | ✅ 1 passed, ❌ 2 failed, ❔ 2 open | █▃▁ 2 → 0.5 | 1,234 | 1.0 |" in text
    assert text.index("| `one` |") < text.index("| `two` |")


def test_one_reason_is_one_line_for_all_its_checks(contents):
    notes = markdown.text(contents).partition("not settled, and advice: 2")[2].splitlines()
    told = "- `cut::units_are_alive`, `cut::generalizes`: inconclusive: the training diverged"
    assert told in notes
    assert "- `cut::causality`: advice: take smaller batches" in notes


def test_versions_are_told(contents):
    assert "torch 2.9.0 · Python 3.12.1 · linux x86\\_64" in markdown.text(contents).replace(
        "x86_64", "x86\\_64"
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a | b", "a \\| b"),
        ("<script>", "\\<script\\>"),
        ("*bold* [link](x)", "\\*bold\\* \\[link\\](x)"),
        ("a_name __init__", "a_name \\_\\_init\\_\\_"),
        ("two\nlines", "two\\\\nlines"),
        ("the `a|b` there", "the `a\\|b` there"),
        ("one ` alone", "one \\` alone"),
    ],
)
def test_text_is_shown_as_it_is(text, told):
    assert markdown.escaped(text) == told


@pytest.mark.parametrize(
    ("name", "told"), [("a`b", "``a`b``"), ("`", "`` ` ``"), ("", "` `"), ("a|b", "`a\\|b`")]
)
def test_a_name_is_code_whatever_it_holds(name, told):
    assert markdown.code(name) == told


def test_a_thousand_recipes_stay_below_the_limit_and_what_is_left_out_is_counted(make_contents):
    contents = make_contents(*(f"recipe_{i}_" + "x" * 500 for i in range(1500)))
    text = markdown.text(contents)
    assert len(text.encode()) < MIB
    assert "more causes, left out" in text
    told = text.count("- **`recipe_")
    assert f"… and {1500 - told} more causes" in text


def test_a_huge_text_is_cut(contents):
    huge = replace(contents.findings[1].verdict, because="y" * MIB, suspects=(Suspect("z" * MIB, ""),))
    contents.findings[1] = replace(contents.findings[1], verdict=huge)
    text = markdown.text(contents)
    assert len(text.encode()) < 10_000
    assert "| `cut` |" in text


def test_the_summary_of_a_step_is_written_behind_what_stands_there(contents, tmp_path, monkeypatch):
    path = tmp_path / "summary.md"
    path.write_text("# before\n")
    monkeypatch.setenv(markdown.VARIABLE, str(path))
    markdown.write(contents, path)
    assert path.read_text().startswith("# before\n## dlcheck: ")


def test_what_stands_there_counts_too(make_contents, tmp_path, monkeypatch):
    path = tmp_path / "summary.md"
    path.write_bytes(b"x" * 900_000)
    monkeypatch.setenv(markdown.VARIABLE, str(path))
    markdown.write(make_contents(*map(str, range(1000))), path)
    assert 900_000 < path.stat().st_size < MIB


def test_any_other_file_is_made_anew(contents, tmp_path, monkeypatch):
    monkeypatch.delenv(markdown.VARIABLE, raising=False)
    path = tmp_path / "deep" / "dlcheck.md"
    for _ in range(2):
        markdown.write(contents, path)
    assert path.read_text().count("## dlcheck: ") == 1


def test_a_consequence_without_its_cause_tells_the_way_out(make_contents):
    contents = make_contents("cut")
    cause, led_to = (f for f in contents.findings if f.verdict.failed)
    contents.findings = [replace(led_to, because_of="gradients_flow", explained=cause.verdict)]
    lines = markdown.text(contents).splitlines()
    assert "  - **likely cause**: the graph is cut between `encoder` and `head`" in lines
    assert "  - **remedy**: remove .detach() there" in lines
