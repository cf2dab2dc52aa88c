"""Two processes under torchrun: one speaks, and their parameters are compared."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pytest_dlcheck.run.watch.meeting import Meeting
from pytest_dlcheck.run.watch.ranks import Rank, compared

SCRIPT = """
import sys
import torch, torch.distributed as dist, torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel

how = sys.argv[1]
dist.init_process_group("gloo")
torch.manual_seed(0)
rows, labels = torch.rand(256, 20), torch.randint(0, 5, (256,))
mine = slice(dist.get_rank(), None, 2)
net = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5))
model = net if how == "alone" else DistributedDataParallel(net)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
for x, y in zip(rows[mine].split(8), labels[mine].split(8), strict=True):
    optimizer.zero_grad()
    F.cross_entropy((net if how == "bypassed" else model)(x), y).backward()
    optimizer.step()
dist.destroy_process_group()
"""


@pytest.mark.usefixtures("quick_python")
@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch was built without it")
@pytest.mark.parametrize(
    ("how", "said"),
    [("healthy", "0 failed"), ("bypassed", "bypassed"), ("alone", "nothing averages their gradients")],
)
def test_one_rank_speaks_of_all(tmp_path, how, said):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    ended = subprocess.run(
        [*run, "-m", "pytest_dlcheck", "watch", str(script), how],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "TMPDIR": str(tmp_path)},
    )
    told = ended.stdout + ended.stderr
    assert told.count("dlcheck watched train.py") == 1, told
    assert said in told
    assert ("ranks_stay_equal FAILED" in told) == (how == "bypassed")
    assert not list(tmp_path.glob("dlcheck-ranks-*"))


def notes(*, parameters=0.0, gradients=0.0, steps=3):
    model = torch.nn.Linear(3, 2)
    torch.nn.init.constant_(model.weight, 1.0 + parameters)
    torch.nn.init.constant_(model.bias, 0.5)
    model.weight.grad = torch.full((2, 3), 1.0 + gradients)
    rank = Rank(list(model.parameters()))
    for step in range(steps):
        rank.before_step(step)
    rank.end(steps)
    return rank.notes()


def test_equal_ranks_do_not_differ():
    row = compared(notes(), [notes()], replicated=True, asked=2)
    assert (row["ranks"], row["compared"], row["drifted"]) == (2, 4, 0)


def test_different_parameters_are_counted_at_every_step():
    row = compared(notes(), [notes(parameters=0.1)], replicated=False, asked=2)
    assert (row["drifted"], row["drifted_first"], row["gradients_alike"]) == (4, 0, 3)


def test_other_shapes_are_no_copies():
    other = {**notes(), "shapes": [[1]]}
    assert compared(notes(), [other], replicated=True, asked=2)["ranks"] == 1


@pytest.mark.parametrize("garbage", ["", "{", "[1]", '{"0": 1}'])
def test_what_cannot_be_read_is_nobody(tmp_path, garbage):
    folder = tmp_path / "meeting"
    folder.mkdir(mode=0o700)
    (folder / "1.json").write_text(garbage)
    found = Meeting(0, 2, folder).collect()
    assert all(compared(notes(), [n], replicated=True, asked=2)["ranks"] == 1 for n in found)
    assert not folder.exists()


def test_notes_are_left_and_collected(tmp_path):
    folder = tmp_path / "meeting"
    Meeting(1, 2, folder).leave([1, 2])
    assert Meeting(0, 2, folder).collect() == [[1, 2]]


def test_a_folder_that_cannot_be_made_is_done_without(tmp_path):
    (tmp_path / "taken").write_text("")
    Meeting(1, 2, tmp_path / "taken").leave([1])
    assert (tmp_path / "taken").read_text() == ""


def test_outside_of_torchrun_nobody_meets(monkeypatch):
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert Meeting.of_this_process() is None
