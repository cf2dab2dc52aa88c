"""Every line of a real session's journal keeps the published schema, which can refuse a line."""

import json
from pathlib import Path

import jsonschema
import pytest

ROOT = Path(__file__).parents[3]
SCHEMA = json.loads((ROOT / "docs" / "journal.schema.json").read_text())
VALIDATOR = jsonschema.validators.validator_for(SCHEMA)(SCHEMA)

MODULE = """
import pytest
import torch
from pytest_dlcheck import Recipe, recipe

@recipe
def healthy():
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    inputs = torch.randn(64, 4)
    data = (inputs, (inputs[:, 0] > 0).long())
    return Recipe(model=model, train_data=data, loss=torch.nn.CrossEntropyLoss(),
                  optimizer=torch.optim.Adam(model.parameters(), lr=1e-2))

@recipe
def broken():
    raise RuntimeError("no data here")

@pytest.fixture
def mirror():
    raise OSError("no such mirror")

@recipe
def unfed(mirror):
    pass
"""


@pytest.fixture(scope="module")
def lines(tmp_path_factory, request):
    pytester_path = tmp_path_factory.mktemp("journal")
    (pytester_path / "test_it.py").write_text(MODULE)
    journal = pytester_path / "j.jsonl"
    code = pytest.main(
        [
            "--dlcheck",
            "-q",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            str(pytester_path),
            "-c",
            "/dev/null",
            "--dlcheck-steps",
            "10",
            "--dlcheck-report",
            f"json:{journal}",
            str(pytester_path),
        ]
    )
    assert code == pytest.ExitCode.TESTS_FAILED
    return [json.loads(line) for line in journal.read_text().splitlines()]


def test_every_line_keeps_the_schema(lines):
    kinds = {"journal", "recipe", "begun", "trace", "verdict", "unjudged", "end"}
    assert {line["kind"] for line in lines} == kinds
    VALIDATOR.check_schema(SCHEMA)
    for line in lines:
        VALIDATOR.validate(line)


def test_the_schema_can_refuse(lines):
    verdict = next(line for line in lines if line["kind"] == "verdict")
    verdict = json.loads(json.dumps(verdict))
    verdict["finding"]["verdict"]["outcome"] = "fine"
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(verdict)
