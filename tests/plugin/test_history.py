"""``--dlcheck-store`` and ``--dlcheck-baseline``: what gates leave, and what they are held against."""

from __future__ import annotations

import sys

import pytest
from click.testing import CliRunner

from pytest_dlcheck.cli import main
from tests.store_kit import GATED, gated, stored

pytestmark = pytest.mark.usefixtures("quick_python")
SCORE = ("test_it.py::calm", "score")


def _values(project):
    return [point.measure.value for point in stored(project.path)[SCORE]]


@pytest.fixture
def repository(project):
    return gated(project)


@pytest.fixture
def dlcheck(project, monkeypatch):
    """The command, in the project's folder."""
    monkeypatch.chdir(project.path)

    def call(*arguments, fails=False, **options):
        result = CliRunner().invoke(main, arguments, **options)
        assert (result.exit_code != 0) == fails, result.output
        return result.output

    return call


@pytest.mark.parametrize(
    "mode", [pytest.param(("-n2",), marks=pytest.mark.slow), ("--dlcheck-isolate",)]
)
def test_each_session_leaves_what_its_gates_measured(project, repository, mode):
    commit = repository.commit()
    result = project.pytester.runpytest_subprocess("--dlcheck", "-q", *mode)
    assert result.ret == 0
    ((key, (point,)),) = stored(project.path).items()
    assert key == SCORE
    assert (point.measure.value, point.measure.samples) == (100.0, (99.0, 101.0))
    assert (point.run.commit, point.run.branch, point.run.dirty) == (commit, "main", False)
    assert point.run.torch_version


def test_a_session_without_gates_leaves_nothing(project):
    project.recipes("@recipe\ndef calm():\n    return made()")
    assert project.check("-q").ret == 0
    assert not (project.path / ".dlcheck").exists()


def test_neither_does_it_load_what_a_history_takes(project):
    project.recipes("@recipe\ndef calm():\n    return made()")
    code = "import pytest, sys; pytest.main(['--dlcheck', '-q']); print('sqlalchemy' in sys.modules)"
    result = project.pytester.run(sys.executable, "-c", code)
    assert result.outlines[-1] == "False"


def test_neither_does_a_collection_nor_a_session_that_says_so(project, repository):
    assert project.check("--collect-only", "-q").ret == 0
    assert project.check("--dlcheck-store=none", "-q").ret == 0
    assert not (project.path / ".dlcheck").exists()


def test_a_history_does_not_make_its_own_tree_dirty(project, repository):
    repository.commit()
    project.check("-q")
    project.check("-q")
    assert repository.git("status", "--porcelain") == ""
    assert [point.run.dirty for point in stored(project.path)[SCORE]] == [False, False]


@pytest.mark.parametrize("how", ["option", "ini", "variable"])
def test_the_place_can_be_named(project, repository, monkeypatch, how):
    if how == "ini":
        project.append("pytest.ini", "dlcheck_store = mine/h.db\n")
    if how == "variable":
        monkeypatch.setenv("DLCHECK_STORE", "mine/h.db")
    project.check("-q", *(["--dlcheck-store=mine/h.db"] if how == "option" else []))
    assert (project.path / "mine" / "h.db").is_file()
    assert not (project.path / ".dlcheck").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--dlcheck-store=mysql://me:canary@db/x"], "mysql://... is no place for a history"),
        (["--dlcheck-store=none", "--dlcheck-baseline=main"], "--dlcheck-store is none"),
    ],
)
def test_what_cannot_be_is_a_usage_error(project, repository, options, said):
    result = project.check(*options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    text = result.stderr.str() + result.stdout.str()
    assert said in text
    assert "canary" not in text


def test_a_gate_is_held_against_the_earlier_runs_of_a_branch(project, repository, monkeypatch):
    repository.commit()
    for score in ("100", "104"):
        monkeypatch.setenv("SCORE", score)
        assert project.check("-q", "--dlcheck-baseline=main").ret == 0
    monkeypatch.setenv("SCORE", "50")
    result = project.check("-q", "--dlcheck-baseline=main")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*score 50, held against main: [[]100.0, 104.0[]]*"])


def test_the_ini_file_can_ask_for_it_too(project, repository):
    repository.commit()
    project.append("pytest.ini", "dlcheck_baseline = main\n")
    repository.git("commit", "-q", "-a", "-m", "more")
    project.check("-q")
    result = project.check("-q", "-v")
    assert result.ret == 0
    assert _values(project) == [100.0, 100.0]


def test_a_reference_that_git_does_not_know_is_a_usage_error_and_from_the_ini_file_a_warning(
    project, repository, monkeypatch
):
    repository.commit()
    result = project.check("-q", "--dlcheck-baseline=nosuch")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --dlcheck-baseline nosuch: git knows no 'nosuch' here, nor*"])
    project.append("pytest.ini", "dlcheck_baseline = nosuch\n")
    result = project.check("-q")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["WARNING: gates are not held against nosuch: git knows no 'nosuch'*"])
    assert _values(project) == [100.0]
    monkeypatch.setenv("PATH", "/nowhere")
    result = project.check("-q", "--dlcheck-baseline=main")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert project.check("-q", "--dlcheck-baseline=accepted").ret == 0


def test_nothing_to_be_held_against_is_said_and_decides_nothing(project, repository):
    repository.commit()
    result = project.check("-q", "-rs", "--dlcheck-baseline=main")
    assert "no history was recorded yet at" in result.stdout.str().replace("\n", " ")
    assert "WARNING" not in result.stdout.str()


@pytest.mark.slow
def test_workers_ask_and_the_controller_writes(project, repository, monkeypatch):
    repository.commit()
    project.pytester.runpytest_subprocess("--dlcheck", "-q", "-n2")
    monkeypatch.setenv("SCORE", "50")
    result = project.pytester.runpytest_subprocess("--dlcheck", "-q", "-n2", "--dlcheck-baseline=main")
    result.stdout.fnmatch_lines(["*held against main: [[]100.0[]]*"])
    assert _values(project) == [100.0, 50.0]


def test_ctrl_c_keeps_what_was_measured_before_it(project):
    gated(project, f"{GATED}\n@recipe\ndef stopped():\n    raise KeyboardInterrupt\n").commit()
    result = project.pytester.runpytest_subprocess("--dlcheck", "-q")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert _values(project) == [100.0]


def test_without_git_runs_are_kept_and_shown(project, dlcheck, monkeypatch):
    repository = gated(project)
    monkeypatch.setenv("PATH", "/nowhere")
    assert project.check("-q").ret == 0
    ((point,),) = stored(project.path).values()
    assert (point.run.commit, point.run.dirty) == ("", False)
    assert "no commit" in dlcheck("history", "calm")
    assert "accepted no commit (1 run)" in dlcheck("accept", "calm", "--reason", "first")
    del repository


def test_a_stored_training_is_repeated_or_said_where_it_parts(real_project, project):
    recipes = "@recipe\ndef calm():\n    return made()\n"
    repository = gated(project, recipes)
    options = ("-q", "--dlcheck-select=reproduces_baseline", "--dlcheck-baseline=main")
    project.write({"conftest.py": ""})
    repository.git("add", "-A")
    repository.commit()
    assert "no history was recorded yet" in project.check(*options, "-rs").stdout.str().replace(
        "\n", " "
    )
    result = project.check(*options, "-v")
    assert result.ret == 0, result.stdout.str()
    project.recipes(recipes.replace("made()", "made(loss=nn.CrossEntropyLoss(label_smoothing=0.1))"))
    repository.git("commit", "-q", "-a", "-m", "smooth")
    result = project.check(*options)
    assert "training first differs from main" in result.stdout.str().replace("\n", " ")


def test_accepting_moves_what_gates_are_held_against(project, repository, dlcheck, monkeypatch):
    repository.commit()
    project.check("-q")
    repository.commit("slower")
    monkeypatch.setenv("SCORE", "50")
    assert project.check("-q", "--dlcheck-baseline=main").ret == 1
    output = dlcheck("accept", "calm", "--reason", "it has to be")
    assert "(1 run): it has to be" in output
    assert "calm score 50 points" in output
    for name in ("main", "accepted"):
        assert project.check("-q", f"--dlcheck-baseline={name}").ret == 0
    assert "accepted: it has to be" in dlcheck("history", "calm")


def test_shards_of_a_matrix_are_merged_by_their_journals_once(project, repository, dlcheck):
    repository.commit()
    for shard in ("a", "b"):
        project.check("-q", "--dlcheck-store=none", f"--dlcheck-report=json:{shard}.jsonl")
    assert not (project.path / ".dlcheck" / "history.db").exists()
    assert dlcheck("merge", "a.jsonl", "b.jsonl").splitlines() == [
        "a.jsonl: 1 measure, 1 of them new",
        "b.jsonl: 1 measure, 1 of them new",
    ]
    assert "1 measure, 0 of them new" in dlcheck("merge", "a.jsonl")
    assert _values(project) == [100.0, 100.0]
    assert "is no journal" in dlcheck("merge", "test_it.py", fails=True)
    torn = (project.path / "b.jsonl").read_bytes()
    (project.path / "b.jsonl").write_bytes(torn[:-3])
    assert "0 of them new" in dlcheck("merge", "b.jsonl")


def test_a_session_that_wrote_its_own_history_is_not_merged_twice(project, repository, dlcheck):
    project.check("-q", "--dlcheck-report=json:a.jsonl")
    assert "1 measure, 0 of them new" in dlcheck("merge", "a.jsonl")


def test_pruning_says_what_goes_and_asks(project, repository, dlcheck):
    repository.commit()
    for _ in range(3):
        project.append("conftest.py", "# more\n")
        project.check("-q")  # of a tree with changes, so that no baseline needs it
    assert "going: 2 measures" in dlcheck("prune", "--keep=1", input="n\n", fails=True)
    assert len(_values(project)) == 3
    assert "done" in dlcheck("prune", "--keep=1", "--yes")
    assert len(_values(project)) == 1
    assert "nothing to take away: 1 measures stay" in dlcheck("prune", "--keep=1")


def test_the_history_of_a_recipe_can_be_drawn_into_a_file(project, repository, dlcheck):
    for _ in range(3):
        project.check("-q")
    for name, begins in (("h.svg", "<svg"), ("h.html", "<!doctype html>")):
        assert f"wrote {name}" in dlcheck("history", "calm", "--plot", name)
        text = (project.path / name).read_text()
        assert text.startswith(begins)
        assert "calm" in text
    assert "ends in .html or .svg" in dlcheck("history", "--plot", "h.png", fails=True)
