"""The import contracts hold, and each of them can break: every one has a violation planted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CONFIGURATION = ROOT / "pyproject.toml"
SETTINGS = tomllib.loads(CONFIGURATION.read_text(encoding="utf-8"))["tool"]["importlinter"]
CONTRACTS = {contract["id"]: contract["name"] for contract in SETTINGS["contracts"]}


@dataclass(frozen=True)
class Violation:
    """A line that breaks a contract, added to files of the package (made where there are none)."""

    contract: str
    files: tuple[str, ...]
    line: str

    @property
    def name(self) -> str:
        """What pytest calls it."""
        return f"{self.contract}: {self.files[0]}: {self.line}"


VIOLATIONS = [
    Violation("layers", ("trial.py",), "import pytest_dlcheck.verdict"),
    Violation("layers", ("plan.py",), "import pytest_dlcheck.reports"),
    Violation("layers", ("recipe.py",), "def ask(): from pytest_dlcheck import session"),
    Violation("layers", ("homeless.py",), "'''A module that no layer names.'''"),
    Violation("run-layers", ("run/tensors/tree.py",), "import pytest_dlcheck.run.rig"),
    Violation("run-layers", ("run/losses/planted.py",), "import pytest_dlcheck.run.passes"),
    Violation("run-layers", ("run/homeless.py",), "'Nothing that a layer names.'"),
    Violation(
        "watch-layers", ("run/watch/taps/planted.py",), "import pytest_dlcheck.run.watch.models.flows"
    ),
    Violation("watch-layers", ("run/watch/homeless.py",), "'Nothing that a layer names.'"),
    Violation("faults-layers", ("faults/data/planted.py",), "import pytest_dlcheck.faults.dynamics"),
    Violation("faults-layers", ("faults/homeless.py",), "'Nothing that a layer names.'"),
    Violation("run-is-blind", ("run/planted.py",), "from pytest_dlcheck.verdict import Verdict"),
    Violation("run-is-blind", ("run/planted.py",), "import pytest_dlcheck.check"),
    Violation("run-is-blind", ("run/planted.py",), "import pytest_dlcheck.diagnosis"),
    Violation("torch", ("trace.py",), "import torch"),
    Violation("torch", ("__init__.py",), "from torch import nn"),
    Violation("torch", ("checks/planted.py",), "def judge(): import torch.nn.functional"),
    Violation("run-has-one-door", ("cli/planted.py",), "import pytest_dlcheck.run"),
    Violation("run-has-one-door", ("plugin/planted.py",), "from pytest_dlcheck.run import planted"),
    Violation("pytest", ("session.py",), "import pytest"),
    Violation("pytest", ("run/planted.py",), "from _pytest.config import Config"),
    Violation(
        "checks-stand-alone",
        ("checks/planted.py", "checks/planted_too.py"),
        "import pytest_dlcheck.checks.planted",
    ),
    Violation("reports-know-verdicts", ("reports/planted.py",), "import pytest_dlcheck.checks"),
    Violation("reports-know-verdicts", ("store/planted.py",), "import pytest_dlcheck.checks"),
    Violation("front-door", ("plan.py",), "from pytest_dlcheck import Trial"),
]


def lint(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Judge the package that lies in a directory by this project's contracts."""
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", command, "--no-cache", "--no-logo", *options],
        cwd=directory,
        # Wide enough that no contract's name is broken over two lines.
        env=os.environ | {"COLUMNS": "500", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def plant(violation: Violation, package: Path) -> None:
    """Write the violating line into its files."""
    for name in violation.files:
        path = package / name
        if not path.parent.exists():
            path.parent.mkdir()
            (path.parent / "__init__.py").touch()
        with path.open("a", encoding="utf-8") as file:
            file.write(f"\n{violation.line}\n")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A directory with a copy of the package and of its contracts."""
    shutil.copytree(
        ROOT / "pytest_dlcheck",
        tmp_path / "pytest_dlcheck",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    shutil.copy(CONFIGURATION, tmp_path)
    return tmp_path


def test_every_contract_holds() -> None:
    judged = lint(ROOT)

    assert judged.returncode == 0, judged.stdout + judged.stderr
    for name in CONTRACTS.values():
        assert f"{name} KEPT" in judged.stdout


@pytest.mark.parametrize("violation", VIOLATIONS, ids=lambda violation: violation.name)
def test_a_violation_breaks_its_contract(violation: Violation, copy: Path) -> None:
    plant(violation, copy / "pytest_dlcheck")

    judged = lint(copy, "--contract", violation.contract)

    assert judged.returncode != 0
    assert f"{CONTRACTS[violation.contract]} BROKEN" in judged.stdout, judged.stdout + judged.stderr


def test_every_contract_has_a_violation() -> None:
    assert {violation.contract for violation in VIOLATIONS} == set(CONTRACTS)
