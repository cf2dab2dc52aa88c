"""Other plugins side by side with ours: each does its own work, and the verdicts stay the same."""

from __future__ import annotations

import pytest

CUT = """
@recipe
def cut():
    return made(Net(cut=True))
"""


def test_reruns_train_nothing_again_and_are_counted_once(project):
    pytest.importorskip("pytest_rerunfailures")
    project.recipes(
        "built = []\n"
        + CUT.replace("    return", "    built.append(1)\n    print(len(built))\n    return")
    )
    result = project.check("--reruns=2", "--dlcheck-report=json:j.jsonl", "-s")
    assert result.parseoutcomes() == {"passed": 3, "failed": 1, "rerun": 2}
    result.stdout.fnmatch_lines(["cut     3 ok 1 failed *"])
    result.stdout.no_fnmatch_line("4")  # inspect, train and overfit


def test_a_fixture_that_fails_once_is_asked_again_by_a_rerun(project):
    pytest.importorskip("pytest_rerunfailures")
    project.recipes(
        "tries = []\n"
        "@pytest.fixture\ndef shaky():\n    tries.append(1)\n    assert len(tries) > 1\n    return 3\n\n"
        "@recipe\ndef mine(shaky):\n    assert shaky == 3\n    return made()\n"
    )
    result = project.check("--reruns=1")
    assert result.parseoutcomes() == {"passed": 4, "rerun": 1}


def test_a_timeout_ends_an_item_and_the_session_goes_on(project):
    pytest.importorskip("pytest_timeout")
    project.recipes(
        "import time\n\n"
        "@recipe\n@pytest.mark.timeout(1)\ndef slow():\n    time.sleep(20)\n    return made()\n\n"
        "@recipe\ndef quick():\n    return made()\n"
    )
    result = project.check("-k", "gradients_arrive")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*Timeout*", "quick *1 ok *"])


@pytest.mark.usefixtures("quick_python")
def test_coverage_sees_the_factory_and_the_model(project):
    pytest.importorskip("pytest_cov")
    project.recipes(CUT)
    result = project.pytester.runpytest_subprocess(
        "--dlcheck", "--cov=kit", "--cov=test_it", "--cov-report=term-missing"
    )
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["kit.py * 100%*", "test_it.py * 100%*"])


def test_hypothesis_tests_and_recipes_of_one_file_do_not_meet(project):
    pytest.importorskip("hypothesis")
    project.recipes(
        "from hypothesis import given, settings, strategies\n\n"
        "few = settings(max_examples=10, deadline=None)\n\n"
        "@few\n@given(strategies.integers(1, 3))\ndef test_numbers(n):\n    assert 0 < n < 4\n\n"
        "@few\n@given(strategies.integers())\ndef test_by_hand(n):\n    assert made() is not None\n"
        + CUT
    )
    result = project.check("--hypothesis-seed=3")
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(["cut::gradients_arrive  the graph is cut"])


@pytest.mark.filterwarnings("ignore:The configuration option:pytest.PytestDeprecationWarning")
def test_asyncio_in_its_automatic_mode(project):
    pytest.importorskip("pytest_asyncio")
    project.recipes(
        "import asyncio\n\n"
        "@pytest.fixture\nasync def width():\n    await asyncio.sleep(0)\n    return 8\n\n"
        "async def test_ordinary(width):\n    await asyncio.sleep(0)\n    assert width == 8\n\n"
        "@recipe\ndef mine(width):\n    assert width == 8\n    return made()\n\n"
        "@recipe\nasync def late():\n    return made()\n"
    )
    result = project.check(
        "-p", "asyncio", "-o", "asyncio_mode=auto", "-k", "ordinary or loss_is_low", "-W", "ignore"
    )
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*the factory returned a coroutine, not a Recipe*"])


def test_benchmark_fixtures_and_recipes_of_one_file_do_not_meet(project):
    project.recipes(f"def test_speed(benchmark):\n    benchmark(sum, [1, 2])\n{CUT}")
    result = project.check("-k", "speed or gradients_arrive")
    result.assert_outcomes(passed=1, failed=1)
