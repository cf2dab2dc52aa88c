"""What is collected from where: imports, fixtures, marks, layouts; everything else is undisturbed."""

from __future__ import annotations

import pytest

ONE = "-k=loss_is_low"
pytestmark = pytest.mark.usefixtures("quick_python")


def test_an_imported_recipe_is_collected_where_it_is_defined(project):
    project.recipes("@recipe\ndef mine():\n    return made()\n", "test_here.py")
    project.write({"test_there.py": "from test_here import mine\nimport test_here\n"})
    assert project.ids("--dlcheck", ONE) == ["test_here.py::mine::loss_is_low"]


def test_a_recipe_that_a_helper_made_is_collected_where_it_is_bound(project):
    project.write(
        {
            "helpers.py": "from kit import *\n\ndef make():\n"
            "    @recipe\n    def of_a_helper():\n        return made()\n    return of_a_helper\n\n"
            "SEVERAL = [make(), make()]\n",
            "test_here.py": "from helpers import SEVERAL, make\nsmall = make()\none, other = SEVERAL\n",
            "test_there.py": "from test_here import small\n",
        }
    )
    assert project.passed(ONE) == {
        f"test_here.py::{name}::loss_is_low" for name in ("small", "one", "other")
    }


@pytest.mark.parametrize("workers", [(), ("-n1",)], ids=["alone", "xdist"])
def test_a_recipe_that_is_imported_and_nowhere_collected_is_told(project, workers):
    if workers:
        pytest.importorskip("xdist")
    project.recipes("@recipe\ndef mine():\n    return made()\n", "shelf/recipes.py")
    project.recipes("@recipe\ndef other():\n    return made()\n", "test_other.py")
    project.write({"test_here.py": "from shelf.recipes import mine\nfrom test_other import other\n"})
    said = "mine was not collected: * pytest does not collect shelf/recipes.py (rename it test_[*].py*"
    run = project.pytester.runpytest_subprocess if workers else project.run

    result = run("--dlcheck", ONE, *workers)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([said])
    result.stdout.no_fnmatch_line("other was not collected*")

    run("--dlcheck", "test_here.py", *workers).stdout.fnmatch_lines([said])
    project.check("shelf/recipes.py", "test_here.py", ONE).stdout.no_fnmatch_line("*was not collected*")


def test_without_dlcheck_nothing_is_collected_whatever_it_is_called(project):
    project.recipes(
        "@recipe\ndef test_mine():\n    return made()\n\n"
        "class TestIt:\n    @recipe\n    def test_method(self):\n        return made()\n\n"
        "def test_ordinary():\n    pass\n"
    )
    assert project.ids() == ["test_it.py::test_ordinary"]


def test_fixtures_of_every_kind_arrive(project):
    project.append(
        "conftest.py",
        "\nimport pytest\n\n@pytest.fixture\ndef width():\n    return 8\n"
        "\n@pytest.fixture(params=[2, 3])\ndef depth(request):\n    return request.param\n"
        "\n@pytest.fixture\ndef rate(request):\n    return request.param / 10\n",
    )
    project.recipes(
        "SEEN = []\n"
        "@pytest.fixture(autouse=True)\ndef automatic():\n    SEEN.append('automatic')\n\n"
        "@recipe\n"
        "@pytest.mark.parametrize('rate', [1, 5], indirect=True)\n"
        "def mine(width, depth, rate, tmp_path):\n"
        "    assert tmp_path.is_dir() and width == 8 and depth in {2, 3} and rate in {0.1, 0.5}\n"
        "    assert SEEN\n"
        "    return made()\n"
    )
    assert project.passed(ONE) == {
        f"test_it.py::mine::loss_is_low[{depth}-{rate}]" for depth in (2, 3) for rate in (1, 5)
    }


def test_a_method_has_its_class_around_it(project):
    project.recipes(
        "class TestIt:\n"
        "    width = 8\n"
        "    def setup_method(self):\n        self.ready = True\n\n"
        "    @pytest.fixture\n    def own(self):\n        return self.width\n\n"
        "    @recipe\n    def method(self, own):\n"
        "        assert self.ready and own == 8\n        return made()\n\n"
        "    @recipe\n    @staticmethod\n    def static():\n        return made()\n\n"
        "    @staticmethod\n    @recipe\n    def static_too():\n        return made()\n\n"
        "    @classmethod\n    @recipe\n    def of_class(cls):\n"
        "        assert cls is TestIt\n        return made()\n"
    )
    names = {"method", "static", "static_too", "of_class"}
    assert project.passed(ONE) == {f"test_it.py::TestIt::{name}::loss_is_low" for name in names}


def test_a_decorated_factory_is_collected(project):
    project.recipes(
        "import functools\n"
        "def decorated(function):\n"
        "    @functools.wraps(function)\n"
        "    def wrapper(*args, **kwargs):\n        return function(*args, **kwargs)\n"
        "    return wrapper\n\n"
        "@recipe\n@decorated\ndef inside(tmp_path):\n    return made()\n\n"
        "@decorated\n@recipe\ndef outside(tmp_path):\n    return made()\n"
    )
    names = {"inside", "outside"}
    assert project.passed(ONE) == {f"test_it.py::{name}::loss_is_low" for name in names}


def test_skip_and_xfail_marks_hold_for_recipes_and_for_parameters(project):
    project.recipes(
        "@recipe\n@pytest.mark.skip(reason='not today')\ndef skipped():\n    raise OSError\n\n"
        "@recipe\n@pytest.mark.xfail(reason='known')\ndef known():\n    raise OSError\n\n"
        "@recipe\n"
        "@pytest.mark.parametrize('n', [1, pytest.param(2, marks=pytest.mark.skip), "
        "pytest.param(3, marks=pytest.mark.dlcheck(select=['data']))])\n"
        "def some(n):\n    return made()\n"
    )
    project.check().assert_outcomes(passed=5, skipped=8, xfailed=4)


def test_ordinary_tests_and_doctests_are_as_ever(project):
    project.recipes(
        '@recipe\ndef mine():\n    """\n    >>> 1 + 1\n    2\n    """\n    return made()\n\n'
        "def helper():\n    '''\n    >>> 2 + 2\n    5\n    '''\n\n"
        "@pytest.mark.parametrize('n', [1, 2])\ndef test_ordinary(n):\n    assert n == 1\n"
    )
    project.check("--doctest-modules", ONE + " or ordinary or test_it.helper").assert_outcomes(
        passed=2, failed=2
    )
    project.run("--doctest-modules", "-k=ordinary or test_it.helper").assert_outcomes(passed=1, failed=2)


def test_objects_that_resist_questions_do_not_disturb_collection(project):
    project.write(
        {
            "test_it.py": "class Proxy:\n"
            "    def __getattr__(self, name):\n        raise RuntimeError('outside of a request')\n"
            "    def __call__(self):\n        pass\n\n"
            "proxy = Proxy()\n\n"
            "from unittest.mock import MagicMock, call\nmock = MagicMock()\n\n"
            "def test_ordinary():\n    pass\n"
        }
    )
    project.run().assert_outcomes(passed=1)
    project.check().assert_outcomes(passed=1)


@pytest.mark.parametrize("mode", ["prepend", "append", "importlib"])
def test_every_import_mode_and_layout(project, mode):
    factory = "from kit import *\n\n@recipe\ndef mine():\n    return made()\n"
    project.write(
        {
            "pytest.ini": "[pytest]\naddopts = -p no:randomly\ndlcheck_steps = 3\npythonpath = . src\n",
            "src/lib/__init__.py": "",
            "src/lib/test_in_src.py": factory,
            "tests/unit/test_bare.py": factory,
            "tests/package/__init__.py": "",
            "tests/package/test_packaged.py": factory,
            "src/space/part/test_namespaced.py": factory,
        }
    )
    assert project.passed(f"--import-mode={mode}", ONE) == {
        "src/lib/test_in_src.py::mine::loss_is_low",
        "src/space/part/test_namespaced.py::mine::loss_is_low",
        "tests/package/test_packaged.py::mine::loss_is_low",
        "tests/unit/test_bare.py::mine::loss_is_low",
    }


def test_nested_conftests_and_a_root_above_the_folder_it_is_run_in(project, monkeypatch):
    fixture = "import pytest\n\n@pytest.fixture\ndef width():\n    return {}\n"
    project.append("conftest.py", f"\n{fixture.format(4)}")
    project.write({"deep/down/conftest.py": fixture.format(8)})
    factory = "@recipe\ndef mine(width):\n    assert width == {}, width\n    return made()\n"
    project.recipes(factory.format(8), "deep/down/test_down.py")
    project.recipes(factory.format(4), "deep/test_deep.py")
    project.recipes(factory.format(0), "deep/down/test_wrong.py")
    monkeypatch.syspath_prepend(project.path)
    monkeypatch.chdir(project.path / "deep")

    result = project.check(ONE, f"--rootdir={project.path}", "-v")

    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*test_wrong.py::mine::loss_is_low FAILED*"])
    result.stdout.fnmatch_lines(['*File "down/test_wrong.py", line 6, in mine'])


def test_the_hint_shows_where_to_begin(project):
    project.recipes("def test_ordinary():\n    pass\n")
    result = project.check()
    result.stdout.fnmatch_lines(["no recipe was collected; to begin, put this into a file*"])
    result.stdout.fnmatch_lines(["*from pytest_dlcheck import Recipe, recipe"])
    assert "no recipe" not in project.run().stdout.str()
    assert "no recipe" not in project.check("test_it.py::test_ordinary").stdout.str()
    assert "no recipe" not in project.run("-o", "dlcheck=true").stdout.str()


@pytest.mark.slow
def test_the_hint_shows_under_xdist_too_and_only_where_there_is_no_recipe(project):
    pytest.importorskip("xdist")
    project.recipes("def test_ordinary():\n    pass\n")
    run = project.pytester.runpytest_subprocess
    run("--dlcheck", "-n2").stdout.fnmatch_lines(["no recipe was collected; to begin, *"])
    project.recipes("@recipe\ndef mine():\n    return made()\n", "test_mine.py")
    run("--dlcheck", "-n2", "-k", "ordinary").stdout.no_fnmatch_line("*no recipe was*")


def test_the_hints_own_lines_work(project):
    hint = project.check().stdout.str().partition("    from pytest_dlcheck")[2].partition("=====")[0]
    lines = [line.removeprefix("    ") for line in hint.splitlines()]
    text = "import torch\nfrom kit import *\nMyModel, my_loader = Net, [(X, Y)]\nfrom pytest_dlcheck"
    project.write({"test_it.py": text + "\n".join(lines) + "\n"})
    assert len(project.passed()) == 4
