"""MLflow's runs, against a local store, read back by MLflow's own client."""

from __future__ import annotations

import pytest

from pytest_dlcheck.reports.errors import ReportError

tracking = pytest.importorskip("mlflow.tracking", reason="pytest-dlcheck[mlflow] is not installed")

from pytest_dlcheck.reports import mlflow  # noqa: E402


@pytest.fixture
def address(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return (tmp_path / "store").as_uri()


def runs(address):
    client = tracking.MlflowClient(address)
    experiment = client.get_experiment_by_name(mlflow.EXPERIMENT)
    found = client.search_runs([experiment.experiment_id])
    return client, {run.info.run_name: run for run in found}


def test_a_run_per_recipe_trial_and_seed(contents, address):
    mlflow.write(contents, address)
    client, found = runs(address)
    assert set(found) == {"cut, train (100 steps)", "cut, train (100 steps, seed 1)"}
    run = found["cut, train (100 steps, seed 1)"]
    assert run.info.status == "FAILED"
    assert run.data.params["model"] == "Net"
    assert run.data.params["seed"] == "1.0"
    assert run.data.metrics["result/validation_accuracy"] == 0.75
    losses = client.get_metric_history(run.info.run_id, "loss")
    assert [(m.step, m.value) for m in losses] == [(0, 2.0), (1, 1.0), (2, 0.5)]
    assert run.data.tags["dlcheck.problems"] == "1"
    assert [a.path for a in client.list_artifacts(run.info.run_id)] == ["diagnosis.txt"]


def test_nothing_tells_the_user(contents, address):
    mlflow.write(contents, address)
    _, found = runs(address)
    for run in found.values():
        assert set(run.data.tags) <= {
            "mlflow.runName",
            "dlcheck.problems",
            "dlcheck.cause.gradients_flow",
        }


@pytest.mark.parametrize("name", ["", "../x", "\udcff\x00", "x" * 6000, "a:b/c|d"])
def test_any_name_is_taken(make_contents, address, name):
    mlflow.write(make_contents(name), address)
    assert len(runs(address)[1]) == 2


def test_an_address_that_mlflow_does_not_take_is_an_error_in_its_words(contents):
    with pytest.raises(ReportError, match="MLflow does not take the trainings: "):
        mlflow.write(contents, "nonsense://somewhere")
