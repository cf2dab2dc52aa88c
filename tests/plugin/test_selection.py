"""Which items there are and which of them run: ids, -k, -m, --lf, --deselect, -x."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

TOYS = Path(__file__).parents[1] / "toys"
RECIPES = """
@recipe
def healthy():
    return made()

@recipe
@pytest.mark.parametrize("width", [4, 8], ids=["a::x", "b[0]"])
def sized(width):
    return made(nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 2)))

class TestMethods:
    @recipe
    def method(self):
        assert isinstance(self, TestMethods)
        return made()

def test_ordinary():
    pass
"""
CHECKS = ("batch_is_plenty", "gradients_arrive", "loss_is_low", "batch_is_learned")


@pytest.fixture
def repo(project):
    project.recipes(RECIPES)
    return project


def test_every_check_of_every_variant_is_an_item_and_causes_come_first(repo):
    assert repo.ids("--dlcheck") == [
        *(f"test_it.py::healthy::{check}" for check in CHECKS),
        *(f"test_it.py::sized::{check}[a::x]" for check in CHECKS),
        *(f"test_it.py::sized::{check}[b[0]]" for check in CHECKS),
        *(f"test_it.py::TestMethods::method::{check}" for check in CHECKS),
        "test_it.py::test_ordinary",
    ]


def test_all_of_them_pass(repo):
    assert len(repo.passed()) == 4 * 4 + 1


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ("test_it.py::healthy::loss_is_low", {"healthy::loss_is_low"}),
        ("test_it.py::healthy", {f"healthy::{check}" for check in CHECKS}),
        ("test_it.py::sized::loss_is_low[b[0]]", {"sized::loss_is_low[b[0]]"}),
        ("test_it.py::sized::loss_is_low[a::x]", {"sized::loss_is_low[a::x]"}),
        ("test_it.py::TestMethods::method::loss_is_low", {"TestMethods::method::loss_is_low"}),
    ],
)
def test_an_item_is_chosen_by_its_id(repo, chosen, expected):
    assert repo.passed(chosen) == {f"test_it.py::{name}" for name in expected}


def test_k_chooses_by_check_and_by_recipe(repo):
    assert repo.passed("-k", "loss_is_low and not sized") == {
        "test_it.py::healthy::loss_is_low",
        "test_it.py::TestMethods::method::loss_is_low",
    }


def test_m_dlcheck_chooses_the_checks_and_leaves_ordinary_tests(repo):
    assert "test_it.py::test_ordinary" not in repo.passed("-m", "dlcheck")
    assert repo.passed("-m", "not dlcheck") == {"test_it.py::test_ordinary"}


def test_default_is_a_name_for_what_runs_anyway(project):
    toy = (TOYS / "checks" / "batch_is_plenty.py").read_text()
    checks = project.path / "own_checks"
    shutil.copytree(TOYS / "checks", checks)
    toy = toy.replace("BatchIsPlenty", "RateIsBest").replace('"data"', '"tuning"')
    (checks / "rate_is_best.py").write_text(toy)
    project.write(
        {"conftest.py": f"import pytest_dlcheck.checks as c\nc.__path__[:] = [{str(checks)!r}]\n"}
    )
    project.recipes("@recipe\ndef mine():\n    return made()\n")

    def chosen(*args):
        return {name.rpartition("::")[2] for name in project.ids("--dlcheck", *args)}

    assert chosen() == set(CHECKS)
    assert chosen("--dlcheck-select=default,tuning") == {*CHECKS, "rate_is_best"}
    assert chosen("--dlcheck-select=tuning") == {"rate_is_best"}
    project.recipes(
        "@recipe\n@pytest.mark.dlcheck(select=['default', 'rate_is_best'], ignore={'data': 'why'})\n"
        "def mine():\n    return made()\n"
    )
    assert chosen() == {*CHECKS, "rate_is_best"} - {"batch_is_plenty"}


def test_deselect_takes_out_an_item_and_a_recipe(repo):
    passed = repo.passed("--deselect=test_it.py::sized", "--deselect=test_it.py::healthy::loss_is_low")
    assert {f"test_it.py::healthy::{check}" for check in CHECKS} - passed == {
        "test_it.py::healthy::loss_is_low"
    }
    assert not any("sized" in name for name in passed)


def test_last_failed_runs_only_what_failed(repo):
    repo.recipes(RECIPES + "\n@recipe\ndef cut():\n    return made(Net(cut=True))\n")
    assert repo.check().ret == 1

    again = repo.check("--lf", "-v")

    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["*::cut::gradients_arrive FAILED*"])


def test_x_stops_at_the_first_failure_which_is_a_cause(project):
    project.recipes(
        "@recipe\ndef cut():\n"
        "    return made(Net(cut=True), loss=lambda o, t: 100 * nn.functional.cross_entropy(o, t))\n"
    )
    result = project.check("-x")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["FAILED test_it.py::cut::gradients_arrive - *"])


def test_collecting_builds_nothing(project):
    project.recipes("@recipe\ndef never():\n    raise RuntimeError('built')\n")
    result = project.check("--collect-only")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*<RecipeCollector never>*", "*<CheckItem batch_is_plenty>*"])
    result.stdout.no_fnmatch_line("*no recipe was collected*")


def test_a_trial_runs_only_for_checks_that_were_chosen(project):
    project.recipes("@recipe\ndef noisy():\n    print('BUILT')\n    return made()\n")
    result = project.check("-k", "batch_is_plenty", "-s")
    assert result.stdout.str().count("BUILT") == 1
