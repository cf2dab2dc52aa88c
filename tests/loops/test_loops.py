"""Every faulty loop is told by its first cause; healthy ones raise no alarm; none is disturbed."""

import copy
import io
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest
import torch
from torch import nn
from torch.nn.modules.module import _global_forward_pre_hooks
from torch.optim.optimizer import _global_optimizer_pre_hooks, register_optimizer_step_post_hook

from pytest_dlcheck import watch
from pytest_dlcheck.verdict import Outcome

from . import (
    faults_of_hand_cut,
    faults_of_old_heads,
    faults_of_redrawn,
    faults_of_scales,
    faults_of_seeds,
    faults_of_weighing,
    healthy,
    measured,
    neighbours,
    rarer,
    tutorials,
    unusual,
)
from .data import loaders
from .faults import CASES

MODULES = [
    import_module(f".{found.name}", __package__)
    for found in iter_modules([str(Path(__file__).parent)])
    if found.name.startswith("faults_of_")
]
"""Each adds its cases to CASES as it is imported; the healthy neighbours of these are its QUIET."""
QUIET = [loop for module in (rarer, unusual, *MODULES) for loop in getattr(module, "QUIET", ())]
QUIET += [*healthy.HEALTHY, *neighbours.NEIGHBOURS, *tutorials.CHAPTER, *faults_of_weighing.COSTS]
TWINS = dict.fromkeys(case.twin for case in CASES)


def watched(loop):
    torch.manual_seed(0)
    with watch(loop.__name__) as run:
        loop()
    return run


def alarms(run):
    bad = {Outcome.FAILED, Outcome.ERRORED}
    return [f"{f.verdict.check}: {f.verdict.because}" for f in run.findings if f.verdict.outcome in bad]


@pytest.mark.parametrize("case", [c for c in CASES if c.advice], ids=lambda case: case.loop.__name__)
def test_what_may_be_meant_is_advice(case):
    run = watched(case.loop)
    assert alarms(run) == []
    said = [a for v in run.verdicts if v.check in case.checks for a in v.advice]
    assert any(word in advice for advice in said for word in case.words), said


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
@pytest.mark.parametrize("case", [c for c in CASES if not c.advice], ids=lambda case: case.loop.__name__)
def test_a_fault_is_the_first_cause_and_named(case):
    causes = [f for f in watched(case.loop).failures if not f.because_of]
    assert causes, "nothing failed"
    first = causes[0].verdict
    said = " ".join([first.because, first.cause, *(f"{s.site} {s.finding}" for s in first.suspects)])
    assert first.check in case.checks, [f"{f.verdict.check}: {f.verdict.because}" for f in causes]
    assert any(word in said for word in case.words), said


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
@pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step")
@pytest.mark.parametrize("loop", [*dict.fromkeys([*QUIET, *TWINS])])
def test_a_healthy_loop_raises_no_alarm(loop):
    assert alarms(watched(loop)) == []


@pytest.mark.parametrize("loop", faults_of_scales.WITHOUT_ADVICE)
def test_batches_of_one_are_told_of_only_where_statistics_are_learned_from_them(loop):
    said = [advice for verdict in watched(loop).verdicts for advice in verdict.advice]
    assert not any("batches of" in advice for advice in said), said


@pytest.mark.parametrize("loop", faults_of_seeds.QUIET)
def test_draws_that_differ_or_are_meant_to_agree_are_not_told_of(loop):
    said = [advice for verdict in watched(loop).verdicts for advice in verdict.advice]
    assert not any("same random numbers" in advice for advice in said), said


@pytest.mark.parametrize("loop", measured.QUIET)
def test_a_healthy_loop_of_the_measuring_half_raises_no_alarm(loop):
    assert alarms(watched(loop)) == []


@pytest.mark.parametrize("loop", measured.MEASURED)
def test_a_fault_of_the_measuring_half_is_the_first_cause_and_named(loop):
    run = watched(loop)
    causes = [f.verdict for f in run.failures if not f.because_of]
    said = [f"{verdict.because} {verdict.cause}" for verdict in causes[:1]]
    if loop in measured.ADVISED:
        assert not causes
        said = [advice for verdict in run.verdicts for advice in verdict.advice]
    assert any(word in sentence for word in measured.MEASURED[loop] for sentence in said), said


DISTURBED = [
    healthy.accumulation,
    healthy.dcgan,
    healthy.mixed_precision_with_scaler,
    healthy.sam,
    healthy.time_sequence_with_lbfgs,
    healthy.wgan_with_penalty,
    healthy.ema_and_swa,
    neighbours.average_that_begins_late,
    faults_of_hand_cut.average_of_itself_on_slices,
    neighbours.actor_and_critic_share_an_encoder,
    neighbours.schedule_of_steps_with_warm_up,
    faults_of_seeds.dropout_seeded_in_every_step,
    faults_of_redrawn.windows_drawn_by_a_generator_made_in_each_step,
    faults_of_old_heads.old_readout_is_asked_after_the_body_took_over_other_units,
]


# Older versions of torch warn of what their own SequentialLR does.
@pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step")
@pytest.mark.parametrize("loop", DISTURBED)
def test_a_watched_loop_ends_bit_for_bit_as_it_does_alone(loop):
    assert steps_of(lambda: watched(loop)) == steps_of(lambda: (torch.manual_seed(0), loop()))


def steps_of(run):
    """The parameters after every step, and the state of the random numbers at the end."""
    seen = []

    def note(optimizer, *_):
        seen.extend(p.detach().sum().item() for g in optimizer.param_groups for p in g["params"])

    handle = register_optimizer_step_post_hook(note)
    run()
    handle.remove()
    return seen, torch.get_rng_state().tolist()


def test_everything_is_taken_off_again_also_after_an_error():
    model, (train, _) = healthy.Net(), loaders()
    places = (
        torch.autograd.backward,
        nn.utils.clip_grad_norm_,
        torch.amp.GradScaler.scale,
        train._get_iterator().__class__.__next__,
    )

    def raises():
        healthy_steps(model, train)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"), watch():
        raises()
    assert not _global_optimizer_pre_hooks
    assert not _global_forward_pre_hooks
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert places == (
        torch.autograd.backward,
        nn.utils.clip_grad_norm_,
        torch.amp.GradScaler.scale,
        train._get_iterator().__class__.__next__,
    )


def healthy_steps(model, train):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for x, y in train:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()


def test_a_watched_model_can_be_copied_and_saved():
    model, (train, _) = healthy.Net(), loaders()
    with watch():
        healthy_steps(model, train)
        file = io.BytesIO()
        torch.save(model, file)
        twin = copy.deepcopy(model)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    images = torch.rand(2, 1, 8, 8)
    for copied in (loaded, twin):
        assert torch.equal(copied.eval()(images), model.eval()(images))


def test_watches_can_be_nested():
    with watch("outer") as outer:
        healthy.full_batch()
        with watch("inner") as inner:
            healthy.full_batch()
    assert [trace.trial.steps for _, trace in outer.traces] == [60, 60]
    assert [trace.trial.steps for _, trace in inner.traces] == [60]


def test_what_is_trained_by_hand_is_not_taken_for_nothing():
    run = watched(healthy.by_hand_without_optimizer)
    (verdict,) = (v for v in run.verdicts if v.check == "steps_are_in_order")
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "by hand" in verdict.because
    run.check()


def test_memory_does_not_grow_with_the_steps():
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with watch() as run:
        for _ in range(3000):
            optimizer.zero_grad()
            model(torch.ones(2, 4)).sum().backward()
            optimizer.step()
    trace = run.trace
    assert trace.trial.steps == 3000
    assert len(trace.matrix("gradient_norm")) < 120
    assert len(trace.matrix("update_norm")) < 60
