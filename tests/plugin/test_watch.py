"""The marker on an ordinary test, and the fixture's `watch`: what it trains is watched and judged."""

from xml.etree import ElementTree as ET

import pytest

from pytest_dlcheck.reports import journal

LOOP = """
import pytest
import torch
from torch import nn

def train(*, reset=True, steps=20):
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(steps):
        x = torch.randn(8, 4)
        if reset:
            optimizer.zero_grad()
        (model(x) - x.sum(1, keepdim=True)).pow(2).mean().backward()
        optimizer.step()
    return model
"""


@pytest.fixture
def tests(real_project):
    """A project with tests, and no recipe."""
    real_project.write({"pytest.ini": "[pytest]\naddopts = -p no:randomly\n"})
    return real_project


def test_the_marker_and_the_fixture_watch_what_ordinary_tests_train(tests):
    tests.write(
        {
            "test_it.py": LOOP
            + """
@pytest.mark.dlcheck
def test_healthy():
    train()

@pytest.mark.dlcheck
def test_sick():
    train(reset=False)

@pytest.mark.dlcheck(ignore={"steps_are_in_order": "on purpose"})
def test_ignored():
    train(reset=False)

@pytest.mark.dlcheck(expected={"steps_are_in_order": "fixed in #41"})
def test_expected():
    train(reset=False)

@pytest.mark.dlcheck
def test_that_trains_nothing():
    torch.ones(2).sum()

@pytest.mark.dlcheck
def test_that_raises():
    train(reset=False)
    raise KeyError("mine")

def test_without_the_marker():
    train(reset=False)

def test_block(dlcheck):
    with dlcheck.watch() as run:
        train()
    assert len(run.trace["loss"]) == 20
    run.check()

def test_sick_block(dlcheck):
    with dlcheck.watch() as run:
        train(reset=False)
    run.check("gradients_flow")
    with pytest.raises(AssertionError, match="zero_grad is missing"):
        run.check("loop")

def test_empty_block(dlcheck):
    with dlcheck.watch() as run:
        pass
    with pytest.raises(ValueError, match="nothing was trained here"):
        run.check()

@pytest.mark.dlcheck
def test_in_a_thread():
    import threading
    worker = threading.Thread(target=train)
    worker.start()
    worker.join()

class TestInherited:
    pytestmark = pytest.mark.dlcheck(steps=5)

    def test_policy_only(self):
        train(reset=False)
"""
        }
    )
    result = tests.run()
    result.assert_outcomes(passed=9, failed=3)
    result.stdout.fnmatch_lines(
        [
            "test_sick::steps_are_in_order FAILED",
            "  16 of 17 steps apply gradients that the step before had applied already*",
            "  likely cause   zero_grad is missing*",
            "*nothing was trained here*",
            "*KeyError: 'mine'*",
            "*Captured dlcheck call*",
            "test_that_raises::steps_are_in_order FAILED",
        ]
    )
    result.stdout.no_fnmatch_line("*All traceback entries are hidden*")


TOLD = (
    LOOP
    + """
@pytest.mark.dlcheck
def test_healthy():
    train(steps=60)

@pytest.mark.dlcheck
def test_sick():
    train(reset=False)

def test_blocks(dlcheck):
    with dlcheck.watch() as one:
        train(steps=60)
    with dlcheck.watch() as two:
        train(reset=False)
    one.check()
"""
)


@pytest.mark.parametrize(
    "distributed", [(), pytest.param(("-n", "2"), marks=pytest.mark.slow)], ids=["alone", "xdist"]
)
@pytest.mark.parametrize("asked", [(), ("--dlcheck",)], ids=["without", "with --dlcheck"])
def test_watched_tests_are_told_at_the_end(tests, asked, distributed):
    tests.write({"test_it.py": TOLD})
    run = tests.pytester.runpytest_subprocess if distributed else tests.run
    result = run(*asked, *distributed)
    result.assert_outcomes(passed=2, failed=1)
    lines = result.outlines[
        result.outlines.index(next(x for x in result.outlines if "= dlcheck =" in x)) :
    ]
    table = {line.split("  ")[0] for line in lines}
    assert "test_sick" in table
    assert ({"test_healthy", "test_blocks", "test_blocks (2)"} <= table) == bool(asked)
    result.stdout.fnmatch_lines(["causes:", "test_sick::steps_are_in_order  zero_grad is missing*"])


def test_without_dlcheck_nothing_is_told_where_nothing_fails(tests):
    healthy = "@pytest.mark.dlcheck\ndef test_healthy():\n    train(steps=60)\n"
    tests.write({"test_it.py": LOOP + healthy})
    result = tests.run()
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*= dlcheck =*")


def test_watched_tests_reach_the_journal_and_junit(tests):
    tests.write({"test_it.py": TOLD})
    tests.check("--dlcheck-report", "json:j.jsonl", "--junitxml=j.xml")
    contents = journal.read(tests.path / "j.jsonl")
    names = {"test_healthy", "test_sick", "test_blocks", "test_blocks (2)"}
    assert set(contents.recipes) == set(contents.traces) == names
    told = {(f.recipe, f.verdict.check): f for f in contents.findings}
    assert told["test_sick", "steps_are_in_order"].fails
    assert told["test_blocks (2)", "steps_are_in_order"].waived
    cases = {case.get("name"): case for case in ET.parse(tests.path / "j.xml").iter("testcase")}
    properties = {p.get("name"): p.get("value") for p in cases["test_sick"].iter("property")}
    assert properties["dlcheck.verdict.steps_are_in_order"].startswith("test_sick: failed: 16 of 17")
    assert "zero_grad is missing" in properties["dlcheck.cause"]


# -- what a marker says of an ordinary test ----------------------------------------------------------


@pytest.mark.parametrize(
    ("marker", "said"),
    [
        ("steps=3, accuracy=0.99", "accuracy=, steps= can be said of a recipe alone"),
        ("throughput=1e9", "throughput= can be said of a recipe alone"),
        ("ignor={}", "unknown policy 'ignor', did you mean 'ignore'?"),
    ],
)
@pytest.mark.parametrize("asked", [(), ("--dlcheck",)], ids=["without", "with --dlcheck"])
def test_a_marker_that_would_not_be_heard_fails_its_test_in_a_line(tests, marker, said, asked):
    test = f"@pytest.mark.dlcheck({marker})\ndef test_it():\n    train(steps=60)\n"
    tests.write({"test_it.py": f"{LOOP}\n{test}\ndef test_other():\n    pass\n"})
    result = tests.run(*asked)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines([f"dlcheck policy of test_it (*test_it.py:17): *{said}*"])
    for ours in ("Traceback", "policies.py", "During handling"):
        assert ours not in result.stdout.str()


def test_with_the_fixture_a_marker_is_of_recipes_too_and_a_wrong_one_fails_in_a_line(tests):
    tests.write(
        {
            "test_it.py": LOOP
            + """
@pytest.mark.dlcheck(steps=5)
def test_it(dlcheck):
    with dlcheck.watch() as run:
        train(steps=60)
    run.check()

@pytest.mark.dlcheck(step=5)
def test_wrong(dlcheck):
    pass
"""
        }
    )
    result = tests.run()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["dlcheck policy of test_wrong *did you mean 'steps'?*"])
    assert "policies.py" not in result.stdout.str()


def test_checks_that_cannot_be_told_of_what_was_seen_do_not_pass_for_that(tests):
    tests.write(
        {
            "test_it.py": LOOP
            + """
@pytest.mark.dlcheck(select=["shape_contract"])
def test_marked():
    train(steps=60)

def test_block(dlcheck):
    with dlcheck.watch() as run:
        train(steps=60)
    run.check("overfits_a_batch")

@pytest.mark.dlcheck(select=["shape_contract", "gradients_flow"])
def test_one_of_them():
    train(steps=60)
"""
        }
    )
    result = tests.run()
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        ["*nothing was judged: *shape_contract;*", "*nothing was judged: *overfits_a_batch;*"]
    )
    everywhere = tests.run("--dlcheck-select=shape_contract", "-k", "one_of_them")
    everywhere.assert_outcomes(passed=1, deselected=2)


def test_a_check_that_the_session_leaves_out_is_not_missed_where_a_test_names_it(tests):
    tests.write(
        {
            "test_it.py": LOOP
            + """
@pytest.mark.dlcheck(select=["training_is_stable"])
def test_marked():
    train(steps=60)

def test_block(dlcheck):
    with dlcheck.watch() as run:
        train(steps=60)
    run.check("training_is_stable")
"""
        }
    )
    tests.run("--dlcheck-ignore=training_is_stable").assert_outcomes(passed=2)
    tests.run("--dlcheck-select=parameters_update").assert_outcomes(passed=2)


# -- what is told at the end -------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [(), ("--dlcheck",)], ids=["without", "with --dlcheck"])
def test_a_test_that_fails_for_training_nothing_is_told_as_every_failure(tests, asked):
    tests.write(
        {
            "test_it.py": LOOP
            + """
@pytest.mark.dlcheck
def test_nothing():
    torch.ones(2).sum()

def test_block(dlcheck):
    with dlcheck.watch() as run:
        pass
    run.check()

def test_expected(dlcheck):
    with dlcheck.watch() as run:
        pass
    with pytest.raises(ValueError):
        run.check()
"""
        }
    )
    kinds = ("html", "markdown", "json")
    result = tests.run(*asked, *(f"--dlcheck-report={kind}" for kind in kinds), "--junitxml=j.xml")
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        ["causes:", "test_nothing::is_judged  nothing was*", "test_block::is_judged  nothing was*"]
    )
    result.stdout.no_fnmatch_line("*inconclusive*")
    told = {(f.recipe, f.verdict.check): f for f in journal.read(tests.path / "dlcheck.jsonl").findings}
    assert set(told) == {(name, "is_judged") for name in ("test_nothing", "test_block", "test_expected")}
    assert [f.fails for f in told.values()] == [True, True, False]
    assert "2 problems in 2 of 3 recipes" in (tests.path / "dlcheck.html").read_text("utf-8")
    assert "## dlcheck: 2 problems in 3" in (tests.path / "dlcheck.md").read_text("utf-8")
    assert 'name="dlcheck.verdict.is_judged"' in (tests.path / "j.xml").read_text("utf-8")


SICK = LOOP + "\n@pytest.mark.dlcheck\ndef test_sick():\n    train(reset=False)\n"


@pytest.mark.parametrize(
    "distributed", [(), pytest.param(("-n", "2"), marks=pytest.mark.slow)], ids=["alone", "xdist"]
)
def test_reports_are_written_without_dlcheck_where_a_test_was_watched(tests, distributed):
    tests.write({"test_it.py": SICK})
    run = tests.pytester.runpytest_subprocess if distributed else tests.run
    result = run("--dlcheck-report=html:out/r.html", *distributed)
    assert "1 problem in 1 of 1 recipe" in (tests.path / "out/r.html").read_text("utf-8")
    assert journal.read(tests.path / ".dlcheck/journal.jsonl").ended
    result.stdout.fnmatch_lines(["causes:", "html report: out/r.html"])


def test_a_report_without_dlcheck_and_without_a_watched_test_is_said_not_to_be_written(tests):
    tests.write({"test_it.py": "def test_it():\n    pass\n"})
    result = tests.run("--dlcheck-report=html")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*WARNING: --dlcheck-report: *with --dlcheck*"])
    assert not list(tests.path.glob("dlcheck*"))
    tests.append("pytest.ini", "dlcheck_report = html\n")
    tests.run().stdout.no_fnmatch_line("*WARNING*")
    assert not (tests.path / ".dlcheck").exists()


def test_without_dlcheck_the_ini_file_asks_for_reports_too(tests):
    tests.write({"test_it.py": SICK})
    tests.append("pytest.ini", "dlcheck_report = markdown\n")
    tests.run()
    assert "## dlcheck: 1 problem" in (tests.path / "dlcheck.md").read_text("utf-8")


def test_the_fixtures_watch_takes_a_name_and_a_number_of_steps(tests):
    tests.write(
        {
            "test_it.py": LOOP
            + """
def test_it(dlcheck):
    with dlcheck.watch("teacher", stop_after=30) as run:
        train(steps=60)
    assert len(run.trace["loss"]) == 30
    assert run.name.endswith("(teacher)")
"""
        }
    )
    tests.run().assert_outcomes(passed=1)


def test_without_dlcheck_an_unknown_report_is_a_usage_error_and_one_without_a_place_fails(tests):
    tests.write({"test_it.py": SICK.replace("reset=False", "steps=60")})
    unknown = tests.run("--dlcheck-report=htm")
    assert unknown.ret == pytest.ExitCode.USAGE_ERROR
    unknown.stderr.fnmatch_lines(["ERROR: --dlcheck-report: unknown kind 'htm'*"])
    nowhere = tests.run("--dlcheck-report=html:test_it.py/there")
    nowhere.assert_outcomes(passed=1)
    assert nowhere.ret == pytest.ExitCode.TESTS_FAILED
    nowhere.stdout.fnmatch_lines(["ERROR: --dlcheck-report html:test_it.py/there: *"])
    tests.append("pytest.ini", "dlcheck_report = htm\n")
    tests.run("--co").assert_outcomes()
    tests.run().stdout.fnmatch_lines(["ERROR: --dlcheck-report: unknown kind 'htm'*"])


BARE = (
    (
        LOOP.replace("import torch\n", "import torch\nfrom pytest_dlcheck import watch\n", 1)
        + """
@pytest.fixture
def fitted():
    with watch("in a fixture") as run:
        train(steps=60)
    return run

def test_sick(fitted):
    with watch() as run:
        train(reset=False)
    with watch("again", stop_after=30) as more:
        train(steps=60)
    assert len(more.trace["loss"]) == 30
    run.check()

@pytest.mark.dlcheck(ignore={"steps_are_in_order": "on purpose"})
def test_marked():
    with watch() as run:
        train(reset=False)
    run.check()

class Test:
    @recipe
    def small(self):
        model = nn.Linear(4, 1)
        return Recipe(model=model, train_data=(torch.randn(64, 4), torch.randn(64, 1)), train=fit)
"""
    ).replace("import watch", "import Recipe, recipe, watch")
    + """
def fit(model, train_data, steps):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    x, y = train_data
    with watch() as inner:
        for _ in range(steps):
            optimizer.zero_grad()
            (model(x) - y).pow(2).mean().backward()
            optimizer.step()
    assert inner.name == "loop"
"""
)


@pytest.mark.parametrize("asked", [(), ("--dlcheck", "--dlcheck-steps=4")], ids=["without", "with"])
def test_a_watch_begun_by_hand_is_the_tests_that_it_is_begun_in(tests, asked):
    tests.write({"test_it.py": BARE})
    result = tests.run(*asked, "--dlcheck-select=loop", "--dlcheck-report=json")
    contents = journal.read(tests.path / "dlcheck.jsonl")
    watched = {"test_sick", "test_sick (in a fixture)", "test_sick (again)"}
    watched |= {"test_marked", "test_marked (2)"}
    assert set(contents.recipes) - {"small"} == watched
    assert contents.recipes["test_sick"]["file"] == "test_it.py"
    failing = {(f.recipe, f.verdict.check) for f in contents.findings if f.fails}
    assert failing == {("test_sick", "steps_are_in_order")}
    result.stdout.fnmatch_lines(["*CheckFailedError: test_sick::steps_are_in_order FAILED"])
    told = {f.verdict.check: f for f in contents.findings if f.recipe == "small"}
    assert bool(told) == (len(asked) > 0)


def test_what_a_fixture_watches_is_told_whenever_its_watch_ends(tests):
    tests.write(
        {
            "test_it.py": LOOP
            + """
from pytest_dlcheck import watch

@pytest.fixture
def around():
    with watch() as run:
        yield
    run.check()

@pytest.fixture
def before():
    with watch("first") as run:
        train(reset=False, steps=60)
    run.check()

def test_around(around):
    train(reset=False, steps=60)

def test_before(before):
    pass
"""
        }
    )
    result = tests.run("--dlcheck-report=json")
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.no_fnmatch_line("*no test was watched*")
    result.stdout.fnmatch_lines_random(
        ["test_around::steps_are_in_order*", "test_before (first)::steps_are_in_order*"]
    )
