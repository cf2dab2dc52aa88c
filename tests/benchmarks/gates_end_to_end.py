"""What ``--dlcheck-against`` finds in a real repository, and what it raises there for nothing.

    python tests/benchmarks/gates_end_to_end.py [--identical 20] [--planted 1] [--slower 10 5]

It makes a git repository (a package in ``src``, a recipe on scikit-learn's digits), and changes the
package: not at all; by a computation, measured out beforehand, that makes a training step 10 % or 5 %
slower; by labels of which so many are wrong that two points of accuracy are lost. On each it runs
``pytest --dlcheck --dlcheck-against main`` and tells what throughput and accuracy gave.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

from pytest_dlcheck.reports.journal import read

MODEL = """\
import torch
from torch import nn

EXTRA = {extra}
_WASTE = torch.ones(48, 48)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(64, 512)
        self.second = nn.Linear(512, 512)
        self.head = nn.Linear(512, 10)

    def forward(self, x):
        with torch.no_grad():
            for _ in range(EXTRA):
                torch.mm(_WASTE, _WASTE)
        return self.head(torch.relu(self.second(torch.relu(self.first(x)))))
"""
DATA = """\
import torch
from sklearn.datasets import load_digits

WRONG = {wrong}


def digits():
    x, y = load_digits(return_X_y=True)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    x, y = torch.tensor(x, dtype=torch.float32)[order] / 16, torch.tensor(y)[order]
    noise = torch.Generator().manual_seed(1)
    flip = torch.rand(900, generator=noise) < WRONG
    labels = torch.where(flip, torch.randint(10, (900,), generator=noise), y[:900])
    return (x[:900], labels), (x[900:], y[900:])
"""
RECIPE = """\
import pytest
import torch
from digits_net.data import digits
from digits_net.model import Net
from torch.utils.data import DataLoader, TensorDataset

from pytest_dlcheck import Recipe, recipe


@recipe
@pytest.mark.dlcheck(steps=150, throughput=True, accuracy=True, on_inconclusive="skip")
def digits_net():
    train, val = digits()
    model = Net()
    return Recipe(
        model=model,
        train_data=DataLoader(TensorDataset(*train), batch_size=64, shuffle=True),
        val_data=DataLoader(TensorDataset(*val), batch_size=300),
        loss=torch.nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-3),
    )
"""
INI = '[tool.pytest.ini_options]\npythonpath = ["src"]\n'
TIMING = """\
import time, torch
from statistics import median
from digits_net import model
from digits_net.data import digits
torch.manual_seed(0)
(x, y), _ = digits()
def made():
    net = model.Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    def step():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(x[:64]), y[:64]).backward()
        optimizer.step()
    for _ in range(20): step()
    return step
def seconds(step, extra):
    model.EXTRA = extra
    step()
    begun = time.process_time()
    for _ in range(8): step()
    return (time.process_time() - begun) / 8
steps, plain, wasteful = [made() for _ in range(5)], [], []
for turn in range(60):
    step = steps[turn % 5]
    plain.append(seconds(step, 0))
    wasteful.append(seconds(step, 100))
one = median(b - a for a, b in zip(plain, wasteful)) / 100
print(median(plain), one)
"""
FITTING = """\
import torch
from digits_net.model import Net
from digits_net.data import digits
scores = []
for seed in range(10):
    torch.manual_seed(seed)
    (x, y), (vx, vy) = digits()
    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for step in range(150):
        if step % 15 == 0: order = torch.randperm(900)
        rows = order[step % 15 * 60 :][:60]
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
        optimizer.step()
    scores.append((net(vx).argmax(1) == vy).float().mean().item())
print(sum(scores) / len(scores))
"""


@dataclass(frozen=True)
class Code:
    """What one commit's package holds: how much is wasted in a step, and the share of wrong labels."""

    extra: int = 0
    wrong: float = 0.0


class Workplace:
    """A git repository with the package, its test and its recipe.

    Args:
        folder: where; it must be empty.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._git("init", "-q", "-b", "main")
        for name, text in {
            "src/digits_net/__init__.py": "",
            "tests/test_digits.py": RECIPE,
            "pyproject.toml": INI,
            ".gitignore": "__pycache__/\n*.jsonl\n.dlcheck/\n",
        }.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def write(self, code: Code) -> None:
        """Put the package into the working tree."""
        package = self.folder / "src/digits_net"
        (package / "model.py").write_text(MODEL.format(extra=code.extra))
        (package / "data.py").write_text(DATA.format(wrong=code.wrong))

    def commit(self, message: str) -> None:
        """Commit all, also where nothing has changed."""
        self._git("add", "-A")
        self._git("commit", "-q", "--allow-empty", "-m", message)

    def script(self, text: str) -> list[float]:
        """The numbers that a script prints, which finds the package of the working tree."""
        told = self._run([sys.executable, "-c", text], {"PYTHONPATH": "src"})
        return [float(word) for word in told.stdout.split()]

    def judge(self, gate: str) -> tuple[str, str]:
        """What a gate says of the last commit against the one called main."""
        journal = self.folder / "out.jsonl"
        plain = ["-p", "no:cacheprovider", "-p", "no:randomly", "--dlcheck", "--dlcheck-against", "main"]
        asked = ["--dlcheck-select", gate, f"--dlcheck-report=json:{journal}"]
        told = self._run([sys.executable, "-m", "pytest", *plain, *asked])
        verdicts = [f.verdict for f in read(journal).findings if f.verdict.check == gate]
        if not verdicts:
            raise RuntimeError(told.stdout + told.stderr)
        return str(verdicts[0].outcome), verdicts[0].because

    def _git(self, *command: str) -> None:
        who = ("-c", "user.name=bench", "-c", "user.email=bench@localhost")
        subprocess.run(["git", *who, *command], cwd=self.folder, check=True)

    def _run(
        self, command: list[str], more: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **(more or {})}
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )


@dataclass(frozen=True)
class Case:
    """A change, and the gate that judges it."""

    name: str
    gate: str
    code: Code


def wasteful(place: Workplace, share: float) -> Code:
    """The code whose step is slower by a share, in processor time, which others' load leaves alone."""
    place.write(Code())
    times = [place.script(TIMING) for _ in range(5)]
    step, one = (median(column) for column in zip(*times, strict=True))
    extra = max(1, round(share * step / one))
    print(f"  a step takes {step * 1e6:.0f} us, one wasted product {one * 1e6:.2f} us: {extra} of them")
    return Code(extra=extra)


def mislabelled(place: Workplace, points: float) -> Code:
    """The code that loses so many points of accuracy, a mean over ten seeds, found by halving."""
    place.write(Code())
    whole = place.script(FITTING)[0]
    low, high = 0.0, 0.9
    for _ in range(8):
        middle = (low + high) / 2
        place.write(Code(wrong=middle))
        lost = whole - place.script(FITTING)[0]
        low, high = (middle, high) if lost < points / 100 else (low, middle)
    print(f"  accuracy {whole:.4f} without wrong labels; {low:.3f} of them wrong cost {points:g} points")
    return Code(wrong=low)


def cases(place: Workplace, asked: argparse.Namespace) -> Iterator[Case]:
    """All that is to be tried, planted ones first."""
    for percent in asked.slower:
        code = wasteful(place, percent / 100)
        for _ in range(asked.planted):
            yield Case(f"{percent:g} % slower", "throughput", code)
    for points in asked.points:
        code = mislabelled(place, points)
        for _ in range(asked.planted):
            yield Case(f"{points:g} points lost", "accuracy", code)
    for _ in range(asked.identical):
        for gate in asked.gates:
            yield Case("identical", gate, Code())


def main() -> int:
    """Try, and tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--identical", type=int, default=3, help="identical pairs")
    parser.add_argument("--planted", type=int, default=1, help="how often each planted change is tried")
    parser.add_argument("--slower", type=float, nargs="*", default=[10, 5], metavar="PERCENT")
    parser.add_argument("--points", type=float, nargs="*", default=[2], metavar="POINTS")
    parser.add_argument("--gates", nargs="+", default=["throughput", "accuracy"])
    asked = parser.parse_args()
    told: Counter[tuple[str, str, str]] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        place = Workplace(Path(folder))
        place.write(Code())
        place.commit("main")
        for case in cases(place, asked):
            place.write(case.code)
            begun = perf_counter()
            outcome, because = place.judge(case.gate)
            told[case.name, case.gate, outcome] += 1
            cost = f"{perf_counter() - begun:4.0f} s  load {os.getloadavg()[0]:.1f}"
            print(f"{case.name:16} {case.gate:10} {outcome:12} {cost}  {because}", flush=True)
    print()
    for (name, gate, outcome), count in sorted(told.items()):
        print(f"{name:16} {gate:10} {outcome:12} {count}")
    raised = sum(told[key] for key in told if key[0] == "identical" and key[2] == "failed")
    missed = sum(told[key] for key in told if key[0] != "identical" and key[2] != "failed")
    print(f"false alarms {raised}, planted changes missed {missed}")
    return int(raised + missed > 0)


if __name__ == "__main__":
    sys.exit(main())
