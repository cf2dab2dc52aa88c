"""Factories that do not give a recipe: told in one place, in words, and the others go on."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise KeyError('no such file')", "(the factory): KeyError: 'no such file'"),
        ("made()", "the factory returned None, not a Recipe: did you forget to return it?"),
        ("return Net()", "the factory returned a Net, not a Recipe: return pytest_dlcheck.Recipe(...)"),
        ("return [made()]", "the factory returned a list, not a Recipe"),
        (
            "return Recipe(model=Net, train_data=(X, Y), loss=nn.MSELoss())",
            "model= is the class Net, not an instance of it: write Net(...)",
        ),
        ("return made(model='resnet18', optimizer=None)", "model= is a str, not a torch.nn.Module"),
        (
            "return made(model=lambda x: x, optimizer=None)",
            "model= is a function, not a torch.nn.Module",
        ),
        (
            "return Recipe(model=Net(), train_data=(X, Y), loss=nn.MSELoss)",
            "loss= is the class MSELoss, not an instance of it: write MSELoss(...)",
        ),
        ("return Recipe(model=Net(), loss=nn.MSELoss())", "train_data= is missing"),
        ("return made(loss='mse')", "loss= takes a callable, not 'mse'"),
        (
            "return made(precision='fp8')",
            "precision='fp8' is unknown (valid: fp32, bf16-mixed, fp16-mixed)",
        ),
        ("return made(accumulate=0)", "accumulate=0 micro-batches a step: give 1 or more"),
        ("return made(max_grad_norm=0.0)", "max_grad_norm=0.0 clips everything to nothing"),
        ("return made(training_step=lambda m, b: 0, loss=nn.MSELoss())", "are given both"),
        ("return made(shapes='b 4 to b 2')", "shapes='b 4 to b 2' has 0 \"->\", not one"),
        (
            "return made(train=lambda model: None)",
            "train= is your own loop, which does this itself: leave out loss=, optimizer=, or",
        ),
        ("return Recipe(net=Net())", "net= is no field of a recipe (model, train_data,"),
    ],
)
def test_what_is_wrong_is_said_once(patient, body, said):
    text = patient.error(body)
    assert said in text
    assert "the factory" in text or "setting up" in text


def test_the_users_own_frames_are_shown_and_none_of_ours(patient):
    text = patient.error("return made(nn.Linear('4', 2))")
    assert "test_it.py" in text
    assert "nn.Linear('4', 2)" in text


def test_a_factory_that_skips_skips_its_checks(patient):
    result = patient.examined("pytest.skip('no data here')")
    result.assert_outcomes(passed=8, skipped=4)
    assert result.ret == 0


def test_a_factory_that_fails_a_test_fails_with_its_words(patient):
    result = patient.examined("pytest.fail('the data is broken')")
    result.assert_outcomes(passed=8, failed=4)
    assert "the data is broken" in result.stdout.str()


def test_a_fixture_that_is_missing_or_raises_is_pytests_own_error(project):
    project.recipes(
        "@pytest.fixture\ndef broken():\n    raise OSError('disk')\n\n"
        "@recipe\ndef one(nowhere):\n    return made()\n\n"
        "@recipe\ndef two(broken):\n    return made()\n\n"
        "@recipe\ndef three():\n    return made()\n"
    )
    result = project.check()
    result.assert_outcomes(passed=4, errors=8)
    result.stdout.fnmatch_lines(["*fixture 'nowhere' not found*", "*OSError: disk*"])


def test_a_model_shared_by_all_trials_is_refused(project):
    project.recipes("NET = Net()\n\n@recipe\ndef shared():\n    return made(NET)\n")
    result = project.check()
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*the same model object as for the trial before*rebuild=False*"])


def test_what_is_no_function_cannot_be_a_recipe(project):
    project.recipes("@recipe\nclass Mine:\n    pass\n")
    result = project.check()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*TypeError: @recipe marks a function that returns a Recipe*"])
