"""TensorBoard's runs, read back by TensorBoard's own reader."""

from __future__ import annotations

import math
import os
import socket
from pathlib import Path

import pytest

from pytest_dlcheck.reports.contents import Contents
from pytest_dlcheck.reports.errors import ReportError
from pytest_dlcheck.trace import Matrix, Trace
from pytest_dlcheck.trial import Trial

loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")

from pytest_dlcheck.reports import tensorboard  # noqa: E402
from pytest_dlcheck.reports.courses import GROUPS, curves_of, distributions_of  # noqa: E402
from pytest_dlcheck.reports.hyperparameters import RESULTS, VALUES  # noqa: E402


def events(folder: Path):
    """The events of the only file in a folder."""
    (file,) = (path for path in folder.iterdir() if path.is_file())
    return list(loader.EventFileLoader(str(file)).Load())


def values(folder: Path, plugin: str):
    """Tag -> step -> tensor, of one of TensorBoard's plugins."""
    found = {}
    for event in events(folder):
        for value in event.summary.value:
            if value.metadata.plugin_data.plugin_name == plugin or value.tag in found:
                found.setdefault(value.tag, {})[event.step] = value
    return found


@pytest.fixture
def runs(contents, tmp_path):
    tensorboard.write(contents, tmp_path / "runs")
    return tmp_path / "runs"


def test_a_run_per_recipe_trial_and_seed_with_names_that_stay(runs, contents):
    tensorboard.write(contents, runs)
    folders = {str(path.relative_to(runs)) for path in runs.rglob("*") if path.is_dir()}
    assert folders == {"cut", "cut/train (100 steps)", "cut/train (100 steps, seed 1)"}
    assert len([path for path in runs.rglob("*") if path.is_file()]) == 4


def test_scalars_of_loss_rates_and_norms_per_group_of_layers(runs):
    found = values(runs / "cut" / "train (100 steps)", "scalars")
    scalar = {tag: {s: v.tensor.float_val[0] for s, v in steps.items()} for tag, steps in found.items()}
    assert scalar["loss"] == {0: 2.0, 1: 1.0, 2: 0.5}
    assert scalar["learning_rate"][2] == pytest.approx(0.05)
    assert scalar["gradient_norm/encoder.0"] == {0: 5.0, 1: 0.0, 2: 10.0}
    assert scalar["gradient_norm/head"] == {1: 1.0, 2: math.inf}
    assert scalar["update_norm/encoder.0"][0] == pytest.approx(0.5)
    assert scalar["update_to_weight/encoder.0"][0] == pytest.approx(0.1)
    assert "update_to_weight/head" not in scalar
    assert scalar["result/validation_accuracy"] == {2: 0.75}


def test_events_have_the_times_at_which_they_happened(runs):
    times = {
        event.step: event.wall_time
        for event in events(runs / "cut" / "train (100 steps)")
        for value in event.summary.value
        if value.tag == "loss"
    }
    assert times[1] - times[0] == pytest.approx(0.25)


def test_gradient_norms_are_a_distribution_without_its_zeros(runs):
    found = values(runs / "cut" / "train (100 steps)", "histograms")["gradient_norm_as_power_of_ten"]
    counts = {step: sum(v.tensor.double_val[2::3]) for step, v in found.items()}
    assert counts == {0: 2.0, 1: 1.0, 2: 2.0}


def test_the_diagnosis_is_text(runs):
    (value,) = values(runs / "cut", "text")["diagnosis"].values()
    text = value.tensor.string_val[0].decode()
    assert text.startswith("## cut: 1 problem\n")
    assert "    2 of 4 parameters receive no gradient" in text
    assert "| loss&#95;decreases | failed | because of gradients&#95;flow |" in text


def test_the_table_of_hyperparameters_has_one_schema(runs):
    from tensorboard.plugins.hparams import plugin_data_pb2

    (schema,) = values(runs, "hparams")["_hparams_/experiment"].values()
    told = plugin_data_pb2.HParamsPluginData.FromString(schema.metadata.plugin_data.content)
    assert [info.name for info in told.experiment.hparam_infos] == list(VALUES)
    assert [info.name.tag for info in told.experiment.metric_infos] == list(RESULTS)
    run = values(runs / "cut" / "train (100 steps, seed 1)", "hparams")
    (entry,) = run["_hparams_/session_start_info"].values()
    told = plugin_data_pb2.HParamsPluginData.FromString(entry.metadata.plugin_data.content)
    hparams = told.session_start_info.hparams
    assert set(hparams) <= set(VALUES)
    assert (hparams["seed"].number_value, hparams["model"].string_value) == (1.0, "Net")
    assert set(RESULTS) <= set(values(runs / "cut" / "train (100 steps, seed 1)", "scalars"))


def test_nothing_tells_the_machine(contents, tmp_path, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "canary")
    tensorboard.write(contents, tmp_path)
    for path in tmp_path.rglob("*"):
        assert "canary" not in str(path.relative_to(tmp_path))
        assert path.is_dir() or b"canary" not in path.read_bytes()


def test_what_an_older_session_left_goes_and_what_is_not_ours_stays(make_contents, tmp_path):
    tensorboard.write(make_contents("old"), tmp_path)
    (tmp_path / "old" / "events.out.tfevents.1.mine").write_text("mine")
    tensorboard.write(make_contents("new"), tmp_path)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.parent.name == "old"}
    assert left == {"old/events.out.tfevents.1.mine"}
    assert (tmp_path / "new").is_dir()


@pytest.mark.parametrize(
    "name", ["../out", "/abs", "CON", "x" * 300, "a\x00b", "\udcff", "", "..", "a/b"]
)
def test_no_name_leads_out_of_the_folder(make_contents, tmp_path, name):
    tensorboard.write(make_contents(name), tmp_path / "runs")
    assert {path.name for path in tmp_path.iterdir()} == {"runs"}
    folders = [path for path in (tmp_path / "runs").iterdir() if path.is_dir()]
    assert len(folders) == 1
    assert len(folders[0].name) < 120


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no links here")
def test_a_link_that_leads_out_is_refused(contents, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "runs" / "cut").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ReportError, match="leads out"):
        tensorboard.write(contents, tmp_path / "runs")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_an_empty_journal_is_no_run(tmp_path):
    tensorboard.write(Contents(), tmp_path / "runs")
    assert [path for path in (tmp_path / "runs").iterdir() if path.is_dir()] == []


def test_a_deep_model_is_told_in_groups_that_can_be_read():
    sites = tuple(f"blocks.{i}.attention.{part}.weight" for i in range(20) for part in "qkv")
    trace = Trace(Trial("train", 1), channels={"gradient_norm": Matrix((0,), sites, ((1.0,) * 60,))})
    tags = [tag for tag in curves_of(trace) if tag != "gradient_norm/all"]
    assert len(tags) <= GROUPS
    assert "gradient_norm/blocks.7.attention" in tags


def test_norms_that_are_zero_or_infinite_have_no_power_of_ten():
    rows = ((0.0, math.inf), (math.nan, 100.0))
    trace = Trace(Trial("train", 2), channels={"gradient_norm": Matrix((0, 1), ("a", "b"), rows)})
    assert distributions_of(trace) == {"gradient_norm_as_power_of_ten": {1: (2.0,)}}
