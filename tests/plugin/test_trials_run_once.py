"""Every distinct trial runs once, whatever the order of items and the number of processes."""

from __future__ import annotations

import json
import re

import pytest

RECIPES = """
import pathlib
BOOK = pathlib.Path(__file__).parent / "book.txt"

def noted(name, seed):
    with BOOK.open("a") as book:
        book.write(f"{name} {seed}\\n")
    return made()

@recipe
def one():
    return noted("one", torch.initial_seed())

@recipe
@pytest.mark.parametrize("n", [1, 2])
def two(n):
    return noted(f"two-{n}", torch.initial_seed())

@recipe
def cut():
    noted("cut", torch.initial_seed())
    return made(Net(cut=True))

def test_ordinary():
    pass
"""
TRIALS = 3
"""inspect, train and overfit"""


@pytest.fixture
def repo(project):
    project.recipes(RECIPES)
    return project


def built(repo) -> dict[str, int]:
    """How often each variant was built, and forget."""
    book = repo.path / "book.txt"
    lines = [line.split()[0] for line in book.read_text().splitlines()]
    book.unlink()
    return {name: lines.count(name) for name in dict.fromkeys(sorted(lines))}


def outcomes(result) -> dict[str, str]:
    """Outcome by node id."""
    text = re.sub(
        r"^\[gw\d+\] .*?(PASSED|FAILED) (\S+) *$", r"\2 \1", result.stdout.str(), flags=re.MULTILINE
    )
    return dict(re.findall(r"^(test_it\.py::\S+) (PASSED|FAILED)", text, flags=re.MULTILINE))


ONCE = {"cut": TRIALS, "one": TRIALS, "two-1": TRIALS, "two-2": TRIALS}


def test_in_the_order_of_collection(repo):
    repo.check()
    assert built(repo) == ONCE


def test_in_reversed_order(repo):
    repo.append("conftest.py", "\ndef pytest_collection_modifyitems(items):\n    items.reverse()\n")
    repo.check()
    assert built(repo) == ONCE


@pytest.mark.parametrize("seed", [1, 2])
def test_in_random_order(repo, seed):
    pytest.importorskip("pytest_randomly")
    repo.write({"pytest.ini": "[pytest]\ndlcheck_steps = 4\n"})
    result = repo.check(f"--randomly-seed={seed}", "-v")
    assert result.ret == 1
    assert built(repo) == ONCE


def test_over_two_processes_with_ids_and_verdicts_unchanged(repo):
    pytest.importorskip("xdist")
    alone = outcomes(repo.check("-v"))
    assert built(repo) == ONCE

    result = repo.pytester.runpytest_subprocess("--dlcheck", "-v", "-n2")

    assert result.ret == 1
    assert outcomes(result) == alone
    assert len(alone) == 4 * 4 + 1
    assert built(repo) == ONCE
    result.stdout.fnmatch_lines(["cut * 3 ok 1 failed *", "cut::gradients_arrive  the graph is cut"])


def test_a_usage_error_over_two_processes_is_one_too(repo):
    pytest.importorskip("xdist")
    result = repo.pytester.runpytest_subprocess("--dlcheck", "-n2", "--dlcheck-select=nonsense")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --dlcheck-select: unknown name 'nonsense'*"])


def test_a_rerun_keeps_the_verdict_and_trains_nothing_again(repo):
    pytest.importorskip("pytest_rerunfailures")
    result = repo.check("--reruns=2", "-v")
    assert result.ret == 1
    assert built(repo) == ONCE
    assert result.stdout.str().count("::cut::gradients_arrive RERUN") == 2


def test_each_seed_trains_once(repo):
    repo.check("--dlcheck-seeds=3", "-k", "one and loss_is_low")
    lines = (repo.path / "book.txt").read_text().split()
    assert lines == ["one", "0", "one", "1", "one", "2"]


def test_a_recipe_built_once_is_built_once_and_trains_from_the_same_state(project):
    project.recipes(
        "import json, pathlib\n"
        "@recipe(rebuild=False)\ndef kept():\n"
        "    net = Net()\n"
        "    def hook(*_):\n"
        "        with open('starts.jsonl', 'a') as book:\n"
        "            book.write(json.dumps([p.tolist() for p in net.parameters()]) + chr(10))\n"
        "    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)\n"
        "    optimizer.register_step_pre_hook(hook)\n"
        "    with open('built.txt', 'a') as book:\n        book.write('x')\n"
        "    return made(net, optimizer=optimizer)\n"
    )
    assert len(project.passed()) == 4
    assert (project.path / "built.txt").read_text() == "x"
    starts = [json.loads(line) for line in (project.path / "starts.jsonl").read_text().splitlines()]
    assert starts[0] in starts[4:], "the second training began elsewhere"
    assert starts[0] != starts[1]
