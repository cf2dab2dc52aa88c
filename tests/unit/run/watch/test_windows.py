"""Windows that overlap are told from what is equal by chance, by rule, or later in time."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from pytest_dlcheck.run.watch.batches.windows import overlapping, windows_of


def _seen(windows, step, part=""):
    return [SimpleNamespace(windows=windows_of(w), step=step, part=part) for w in windows.split(32)]


def _compared(trained, evaluated):
    return overlapping(_seen(trained, 1), _seen(evaluated, 2))


def _share(trained, evaluated):
    row = _compared(trained, evaluated)
    return row["windows_shared"] / max(1, row["windows"])


def _cut(series, steps, count):
    begins = torch.randint(0, len(series) - steps, (count,))
    return torch.stack([series[i : i + steps] for i in begins])


def _series(kind):
    noise = torch.randn(3000)
    return {
        "a walk": noise.cumsum(0),
        "noise": noise,
        "whole numbers": torch.randint(0, 50, (3000,)),
        "four letters": torch.randint(0, 4, (3000,)),
        "several features": torch.randn(3000, 3),
    }[kind]


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


SERIES = ["a walk", "noise", "whole numbers", "four letters", "several features"]


@pytest.mark.parametrize("kind", SERIES)
def test_windows_split_at_random_overlap(kind):
    series = _series(kind)
    windows = torch.stack([series[i : i + 40] for i in range(len(series) - 40)])
    windows = windows[torch.randperm(len(windows))]
    row = _compared(windows[:2000], windows[2000:2300])
    assert row["windows_shared"] == row["windows"] == 300
    assert row["windows_cleanest"] == row["windows_continued"] == 1.0


@pytest.mark.parametrize("kind", SERIES)
def test_windows_split_in_time_share_nothing_but_their_past(kind):
    series = _series(kind)
    windows = torch.stack([series[i : i + 40] for i in range(len(series) - 40)])
    assert _share(windows[:2000], windows[2000:2300]) == 0


@pytest.mark.parametrize("axis", ["features last", "features first"])
def test_the_longer_axis_is_that_of_time(axis):
    windows = torch.randn(3000, 2).unfold(0, 30, 5)
    windows = windows if axis == "features first" else windows.mT
    windows = windows[torch.randperm(len(windows))]
    assert _share(windows[:400], windows[400:]) > 0.8


def test_windows_that_do_not_overlap_share_nothing():
    windows = torch.randn(4000).view(-1, 40)
    assert _share(windows[:70], windows[70:]) == 0


def test_the_same_windows_do_not_count():
    windows = torch.randn(300).unfold(0, 20, 1)
    assert _compared(windows, windows)["windows"] == 0


def test_one_language_is_no_overlap():
    """Sentences of few words, all of them new."""
    nouns, verbs = torch.arange(0, 12), torch.arange(12, 20)
    sentence = [nouns, verbs, nouns, verbs, nouns, torch.tensor([20])]
    text = torch.cat([w[torch.randint(0, len(w), (1,))] for _ in range(2000) for w in sentence])
    assert _compared(_cut(text[:9000], 48, 2000), _cut(text[9000:], 48, 300))["windows_shared"] == 0


@pytest.mark.parametrize(
    "windows",
    [
        torch.sin(0.1 * (torch.arange(40) + torch.randint(0, 900, (1200, 1)))),
        torch.arange(40) + torch.randint(0, 900, (1200, 1)),
        torch.randint(0, 2, (1200, 16)),
        (torch.rand(1200, 100) < 0.05).float(),
        torch.tensor([[0.0, float("nan")] * 10] * 1200),
    ],
    ids=["sines", "counting", "coins", "few ones", "not finite"],
)
def test_nothing_is_told_of_what_is_alike_by_rule_or_by_chance(windows):
    assert _compared(windows[:1000], windows[1000:])["windows_shared"] == 0


def test_of_long_silence_nothing_is_told():
    series = torch.zeros(3000)
    series[::200] = torch.randn(15)
    windows = series.unfold(0, 40, 1)
    assert _compared(windows[:1500], windows[1600:])["windows_shared"] == 0


def test_those_that_are_called_held_out_count_alone():
    windows = torch.randn(3000).unfold(0, 40, 1)
    known, mixed = _seen(windows[:2000:2], 1), windows[1601:2601]
    row = overlapping(known, [*_seen(windows[1::14], 2), *_seen(mixed, 2, part="val_loader")])
    assert row["windows_part"] == "val_loader"
    assert row["windows"] == 1000 - 199  # every second of those until 2000 was trained on as it is


@pytest.mark.parametrize(
    "batch",
    [
        torch.rand(8, 5),
        torch.rand(8, 3, 32, 32),
        torch.rand(8),
        torch.rand(8, 200, 100),
        torch.ones(0, 40),
    ],
)
def test_what_is_no_series_is_not_kept(batch):
    assert windows_of(batch) is None
