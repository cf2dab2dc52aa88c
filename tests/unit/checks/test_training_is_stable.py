"""What breaks a training is found, with its place; what only shakes it is not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from pytest_dlcheck.check import Evidence, example_trace, registry
from pytest_dlcheck.faults.dynamics import stability_examples as examples
from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.trace import Matrix, Series
from pytest_dlcheck.verdict import Outcome

CHECK = registry()["training_is_stable"]


def mlp():
    return nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))


def recipe(build=mlp, loss=nn.functional.cross_entropy, scale=1.0, *, poison=False, sgd=None, **more):
    def factory():
        x = torch.randn(256, 10) * scale
        y = (x[:, 0] > 0).long()
        if poison:
            x[100, 3] = torch.nan
        model = build()
        parameters = model.parameters()
        return Recipe(
            model=model,
            train_data=torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=32),
            loss=loss,
            optimizer=torch.optim.SGD(parameters, lr=sgd)
            if sgd
            else torch.optim.Adam(
                parameters,
                lr=more.get("adam", 1e-3),
                eps=more.get("eps", 1e-8),
                betas=more.get("betas", (0.9, 0.999)),
            ),
            precision=more.get("precision", "fp32"),
        )

    return factory


class Log(nn.Module):
    def forward(self, x):
        return torch.log(x)


class NormGradient(nn.Module):
    """The norm of nothing has no derivative."""

    def __init__(self):
        super().__init__()
        self.encoder, self.head = nn.Linear(10, 32), nn.Linear(32, 2)

    def forward(self, x):
        hidden = self.encoder(x)
        return self.head(hidden + torch.sqrt(hidden * 0))


class Inline(nn.Module):
    """Takes the logarithm between two of its modules."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(10, 32)
        self.block = nn.ModuleDict({"head": nn.Linear(32, 2)})

    def forward(self, x):
        return self.block["head"](torch.log(torch.relu(self.encoder(x))))


def with_log():
    return nn.Sequential(nn.Linear(10, 32), nn.ReLU(), Log(), nn.Linear(32, 2))


def huge():
    model = nn.Sequential(nn.Linear(10, 32), nn.ELU(), nn.Linear(32, 32), nn.ELU(), nn.Linear(32, 2))
    for parameter in model.parameters():
        nn.init.normal_(parameter, 0, 5)
    return model


def sleeping():
    """One of its units never wakes up: its gradient is exactly 0."""
    model = mlp()
    nn.init.constant_(model[0].bias, -100.0)
    return model


def squares(outputs, targets):
    return ((outputs[:, 0] - targets) ** 2).mean()


def log_of_probabilities(outputs, targets):
    return -torch.log((outputs.softmax(1) - 0.5).gather(1, targets[:, None])).mean()


@pytest.mark.parametrize(
    ("factory", "site", "cause"),
    [
        (recipe(sgd=100.0), "optimizer", "learning rate is too high"),
        (recipe(adam=3.0), "optimizer", "learning rate is too high"),
        (recipe(with_log), "2", "log"),
        (recipe(Inline), "", "log"),
        (recipe(NormGradient), "encoder.bias", "derivative"),
        (recipe(loss=log_of_probabilities), "loss", "log"),
        (recipe(huge, squares, sgd=0.1), "0", "initialisation"),
        (recipe(scale=1e3, sgd=0.1), "data", "not normalised"),
        (recipe(poison=True), "data", "not finite"),
        (recipe(sleeping, eps=0.0), "optimizer", "eps=0"),
        (recipe(betas=(0.9, 0.0)), "optimizer", "betas=(..., 0)"),
    ],
    ids=[
        "SGD 100", "Adam 3", "log module", "log inline", "sqrt at zero", "log in the loss",
        "huge weights", "huge inputs", "NaN in the data", "no epsilon", "no memory",
    ],
)  # fmt: skip
def test_what_breaks_is_named(verdict_on, factory, site, cause):
    verdict = verdict_on(factory)
    assert verdict.outcome is Outcome.FAILED, verdict.because
    assert verdict.sites[0] == site, verdict
    assert cause in verdict.cause


def regression(*, targets, **settings):
    def factory():
        x = torch.randn(256, 10)
        y = x[:, :1] * targets + 5 * targets
        data = torch.utils.data.TensorDataset(x, y)
        model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))
        return Recipe(
            model=model,
            train_data=torch.utils.data.DataLoader(data, batch_size=32, shuffle=True),
            loss=nn.functional.mse_loss,
            optimizer=torch.optim.SGD(model.parameters(), **settings),
        )

    return factory


def test_targets_that_are_not_normalised_are_told_from_inputs_that_are_not(verdict_on):
    verdict = verdict_on(regression(targets=100.0, lr=0.1))
    assert verdict.failed, verdict
    assert verdict.sites == ("data",)
    assert "targets are not normalised" in verdict.cause


def test_a_loss_that_gives_back_what_it_had_gained_is_unstable(verdict_on):
    def factory():
        built = recipe(sgd=0.1)()
        built.optimizer.param_groups[0]["momentum"] = 0.9995
        return built

    verdict = verdict_on(factory, steps=150)
    assert verdict.failed, verdict
    assert "momentum=0.9995" in verdict.cause


def test_code_between_modules_is_told_by_its_neighbours(verdict_on):
    assert "between encoder and block.head" in verdict_on(recipe(Inline)).suspects[0].finding


@pytest.mark.parametrize(
    "factory",
    [
        recipe(),
        recipe(sgd=0.1),
        recipe(precision="fp16-mixed"),
        recipe(precision="bf16-mixed"),
        recipe(adam=0.03),
        recipe(loss=lambda o, t: (o.sum(1) * torch.randn(len(o))).mean()),
    ],
    ids=["Adam", "SGD", "fp16", "bf16", "a lively rate", "noise around zero"],
)
def test_a_healthy_training_passes(verdict_on, factory):
    verdict = verdict_on(factory)
    assert verdict.outcome is Outcome.PASSED, verdict


def test_scores_masked_with_infinity_are_no_breakage(verdict_on):
    class Mask(nn.Module):
        def forward(self, x):
            return x.masked_fill(x < 0, -torch.inf)

    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.scores, self.mask, self.head = nn.Linear(10, 8), Mask(), nn.Linear(8, 2)

        def forward(self, x):
            return self.head(torch.exp(self.mask(self.scores(x)).clamp(max=3)))

    assert verdict_on(recipe(Masked)).outcome is Outcome.PASSED
    verdict = verdict_on(recipe(Masked, loss=log_of_probabilities))
    assert verdict.sites[0] == "loss"


def energies(sign, pull):
    """Real low, noise high, and their squares to hold both near zero."""

    def factory():
        model = nn.Sequential(nn.Linear(10, 32), nn.SiLU(), nn.Linear(32, 1))

        def step(model, batch):
            real, fake = model(batch[0]), model(torch.randn_like(batch[0]))
            return real.mean() - fake.mean() + sign * pull * (real**2 + fake**2).mean()

        x = torch.randn(256, 10) * 0.5 + 1
        return Recipe(
            model=model,
            train_data=torch.utils.data.DataLoader(
                torch.utils.data.TensorDataset(x), batch_size=32, shuffle=True
            ),
            training_step=step,
            optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
        )

    return factory


class Density(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.mean, self.log = nn.Linear(10, 32), nn.Linear(32, 1), nn.Linear(32, 1)

    def forward(self, x):
        hidden = torch.relu(self.body(x))
        return self.mean(hidden), self.log(hidden)


def likelihood(sign):
    def loss(outputs, targets):
        mean, log = outputs
        square = (mean[:, 0] - targets) ** 2
        return (0.5 * square * torch.exp(-log[:, 0]) + sign * 0.5 * log[:, 0]).mean()

    return loss


def negated(outputs, targets):
    return -nn.functional.cross_entropy(outputs, targets)


@pytest.mark.parametrize(
    "factory",
    [
        recipe(Density, likelihood(-1), adam=3e-3),
        recipe(Density, likelihood(-1), adam=3e-2),
        recipe(loss=negated, adam=3e-3),
    ],
    ids=["log of the variance", "the same, faster", "cross entropy"],
)
def test_a_wrong_sign_is_told_from_the_rate(verdict_on, factory):
    verdict = verdict_on(factory, steps=100)
    assert verdict.outcome is Outcome.FAILED, verdict.because
    assert verdict.sites == ("loss",)
    assert "sign" in verdict.cause


def test_where_no_floor_can_be_looked_for_a_deep_fall_is_no_proof(verdict_on):
    verdict = verdict_on(energies(-1, 0.1), steps=100)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "does it have a floor?" in verdict.because


@pytest.mark.parametrize("rate", [1e-3, 1e-4])
@pytest.mark.parametrize("times", [1, 1000])
def test_counts_have_a_floor_however_deep(verdict_on, rate, times):
    """A Poisson likelihood falls to minus the sum of t log t, and faster and faster at first."""

    def factory():
        x = torch.randn(256, 10)
        counts = (100 * times * (1 + torch.tanh(x[:, :1]))).round()
        model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))
        nn.init.zeros_(model[2].weight)
        return Recipe(
            model=model,
            train_data=(x, counts),
            loss=nn.PoissonNLLLoss(),
            optimizer=torch.optim.Adam(model.parameters(), lr=rate),
        )

    assert verdict_on(factory, steps=100).outcome is not Outcome.FAILED


@pytest.mark.parametrize(
    "factory",
    [energies(1, 0.1), energies(1, 0.01), recipe(Density, likelihood(1), adam=3e-3)],
    ids=["energies", "energies that are weakly held", "density"],
)
def test_what_has_a_floor_below_zero_passes(verdict_on, factory):
    verdict = verdict_on(factory, steps=100)
    assert verdict.outcome is Outcome.PASSED, verdict


@pytest.mark.parametrize(("floor", "count"), [(0.0, 1), (-0.5, 0)])
def test_only_a_loss_of_one_sign_has_a_scale_to_rise_by(floor, count):
    """A policy's loss starts near zero by chance and takes both signs."""
    check = registry()["training_is_stable"]
    trace = next(iter(check.healthy())).traces[0]
    losses = tuple(0.1 if i % 4 else (floor if i % 8 else 0.2) for i in range(40))
    steep = (*losses[:20], 3.0, 3.0, 3.0, *losses[23:])
    trace = replace(trace, channels={**trace.channels, "loss": Series(tuple(range(40)), steep)})
    verdict = check.judge(Evidence((trace,)))
    assert verdict.outcome is Outcome.PASSED
    assert len(verdict.advice) == count


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.SGD])
def test_a_divergence_of_the_wrong_sign_is_named_before_it_breaks_the_numbers(verdict_on, optimizer):
    def recipe():
        model = nn.ModuleDict({"encoder": nn.Linear(8, 8), "decoder": nn.Linear(4, 8)})
        own = optimizer(model.parameters(), 0.03)
        return Recipe(model=model, train_data=[torch.randn(32, 8)], training_step=step, optimizer=own)

    def step(model, batch):
        mean, log_variance = model["encoder"](batch).chunk(2, 1)
        codes = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        divergence = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean() / 2
        return (model["decoder"](codes) - batch).square().mean() - divergence

    verdict = verdict_on(recipe, steps=150)
    assert verdict.failed
    assert verdict.cause.startswith("the sign of the loss, or of a term of it, is wrong")


def test_a_rise_beside_steps_of_unknown_size_is_not_told():
    found = {**examples.trained((2.3, *(30.0,) * 99)), "update_norm": Matrix((), (), ())}
    verdict = CHECK.judge(Evidence((example_trace(**found),)))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "how large the updates are is not known" in verdict.because


def test_an_objective_of_both_signs_that_stays_high_has_exploded():
    losses = (0.1, *(-0.6, 0.6) * 20, *(8.8,) * 40)
    verdict = CHECK.judge(Evidence((example_trace(**examples.trained(losses, ratio=0.5)),)))
    assert verdict.outcome is Outcome.FAILED


@pytest.mark.parametrize(
    ("losses", "ratio", "words", "measured"),
    [
        ((2.3, *(30.0,) * 99), 1e-3, "a step moves the weights by 0.001, 0.1 or more", "update over"),
        ((2.3, *(30.0,) * 50, *(1.0,) * 49), 0.5, "the loss ends below its first", "loss at the end"),
        (
            (0.1, *(-0.6, 0.6) * 20, *(8.8,) * 9, *(0.2, 0.3) * 20),
            0.5,
            "near its first",
            "loss at the end",
        ),
    ],
)
def test_a_rise_that_is_no_explosion_passes_by_what_it_lacks(losses, ratio, words, measured):
    verdict = CHECK.judge(Evidence((example_trace(**examples.trained(losses, ratio=ratio)),)))
    assert verdict.outcome is Outcome.PASSED
    assert words in verdict.because
    assert "at most 10" not in verdict.because
    (measure,) = verdict.measures
    assert measure.name.startswith(measured)
    assert measure.value <= measure.bound
