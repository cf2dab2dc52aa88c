"""What gradients_flow says of small recipes: cuts are found and placed, healthy twins pass."""

from __future__ import annotations

import copy
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.verdict import Outcome


@pytest.fixture
def verdict_on(verdict_on):
    """Twelve steps are enough to see which gradients flow."""
    return partial(verdict_on, steps=12)


def recipe_of(model, optimizer=None, **more):
    inputs = torch.randn(64, 16)
    data = (inputs, inputs[:, :4].argmax(1))
    if "training_step" not in more:
        more.setdefault("loss", nn.CrossEntropyLoss())
    optimizer = optimizer or torch.optim.Adam(model.parameters(), lr=1e-3)
    return Recipe(
        model=model,
        train_data=[tuple(part[i : i + 16] for part in data) for i in (0, 16, 32, 48)],
        optimizer=optimizer,
        **more,
    )


def mlp(*sizes, act=nn.ReLU):
    layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), act())]
    return nn.Sequential(*layers[:-1])


class Coder(nn.Module):
    """An encoder, two layers and a decoder, with a way to break it between encoder and `first`."""

    def __init__(self, cut=lambda h: h, route="first second"):
        super().__init__()
        self.cut, self.route = cut, route.split()
        self.encoder = mlp(16, 16, 16)
        self.first = nn.Linear(16, 16)
        self.second = nn.Linear(16, 16)
        self.decoder = mlp(16, 16, 4)

    def forward(self, x):
        h = self.cut(self.encoder(x))
        for name in self.route:
            h = getattr(self, name)(h).relu()
        return self.decoder(h)


def detach_through_numpy(h):
    return torch.from_numpy(h.detach().numpy().copy())


@pytest.mark.parametrize(
    "cut",
    [
        torch.detach,
        lambda h: h.data,
        detach_through_numpy,
        lambda h: torch.tensor(h.tolist()),
    ],
    ids=["detach", "data", "numpy", "tensor"],
)
def test_a_cut_graph_is_found_and_placed(verdict_on, cut):
    verdict = verdict_on(lambda: recipe_of(Coder(cut)))

    assert verdict.failed
    assert verdict.sites == ("encoder",)
    assert verdict.cause == (
        "the graph is cut between `encoder.2` and `first`: the input of `first` does not require grad"
    )
    assert "4 of 12" in verdict.because


def test_the_healthy_twin_passes_without_advice(verdict_on):
    verdict = verdict_on(lambda: recipe_of(Coder()))

    assert verdict.outcome is Outcome.PASSED
    assert verdict.advice == ()


def test_a_cut_is_placed_where_the_value_joins_a_path_that_is_not_cut(verdict_on):
    class Joined(Coder):
        def __init__(self):
            super().__init__()
            self.skip = nn.Linear(16, 16)

        def forward(self, x):
            h = self.skip(x) + self.encoder(x).detach()
            return self.decoder(self.second(self.first(h)).relu())

    verdict = verdict_on(lambda: recipe_of(Joined()))

    assert verdict.sites == ("encoder",)
    assert verdict.cause == "the graph is cut between `encoder.2` and `first`"


def test_no_grad_is_named(verdict_on):
    class Blind(Coder):
        def forward(self, x):
            with torch.no_grad():
                h = self.encoder(x)
            return self.decoder(self.second(self.first(h)).relu())

    verdict = verdict_on(lambda: recipe_of(Blind()))

    assert verdict.sites == ("encoder",)
    assert verdict.cause == "`encoder` is called under torch.no_grad()"


def test_an_operation_with_a_derivative_of_zero_is_told_apart_from_a_cut(verdict_on):
    verdict = verdict_on(lambda: recipe_of(Coder(lambda h: torch.round(3 * h))))

    assert verdict.sites == ("encoder",)
    assert "between `encoder.2` and `first` the derivative is 0 everywhere" in verdict.cause


def test_a_straight_through_estimator_passes(verdict_on):
    verdict = verdict_on(lambda: recipe_of(Coder(lambda h: h + (torch.round(3 * h) - h).detach())))

    assert verdict.outcome is Outcome.PASSED


def test_choosing_an_index_is_a_cut(verdict_on):
    class Chosen(Coder):
        def __init__(self):
            super().__init__()
            self.codes = nn.Embedding(16, 16)

        def forward(self, x):
            return self.decoder(self.second(self.first(self.codes(self.encoder(x).argmax(1)))))

    verdict = verdict_on(lambda: recipe_of(Chosen()))

    assert verdict.sites == ("encoder",)
    assert "whole numbers" in verdict.cause
    assert "`codes`" in verdict.cause


def test_a_loss_cut_from_the_whole_model_is_found_though_training_cannot_start(verdict_on):
    class Cut(Coder):
        def forward(self, x):
            return super().forward(x).detach()

    verdict = verdict_on(lambda: recipe_of(Cut()))

    assert verdict.failed
    assert verdict.cause == "the graph is cut between `decoder.2` and the loss"


def test_a_layer_called_in_the_place_of_its_sister_is_found(verdict_on):
    verdict = verdict_on(lambda: recipe_of(Coder(route="first first")))

    assert verdict.sites == ("second",)
    assert verdict.cause == "first is called in the place of second"


def test_a_result_that_is_thrown_away_is_found(verdict_on):
    class Forgetful(Coder):
        def forward(self, x):
            h = self.first(self.encoder(x)).relu()
            self.second(h)
            return self.decoder(h)

    verdict = verdict_on(lambda: recipe_of(Forgetful()))

    assert verdict.sites == ("second",)
    assert verdict.cause == "the output of second is computed and never used"


def test_a_layer_that_is_never_called_is_advice(verdict_on):
    verdict = verdict_on(lambda: recipe_of(Coder(route="first")))

    assert verdict.outcome is Outcome.PASSED
    assert verdict.advice == ("second (Linear) is never called in the forward: remove it, or freeze it",)


def test_a_returned_head_that_the_loss_ignores_is_advice(verdict_on):
    class Pooled(Coder):
        def __init__(self):
            super().__init__()
            self.pooler = nn.Linear(16, 16)

        def forward(self, x):
            h = self.second(self.first(self.encoder(x)))
            return self.decoder(h), self.pooler(h)

    verdict = verdict_on(lambda: recipe_of(Pooled(), loss=lambda o, t: F.cross_entropy(o[0], t)))

    assert verdict.outcome is Outcome.PASSED
    assert "pooler" in verdict.advice[0]


def test_dead_activations_that_block_everything_are_found(verdict_on):
    verdict = verdict_on(lambda: recipe_of(Coder(lambda h: (h - 1e4).relu())))

    assert verdict.failed
    assert verdict.sites[0] == "encoder"


def test_a_dropout_that_keeps_next_to_nothing_is_found_and_a_strong_one_is_not(verdict_on):
    def model(share):
        return nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Dropout(share), nn.Linear(64, 4))

    verdict = verdict_on(lambda: recipe_of(model(0.99)))
    assert verdict.failed
    assert verdict.sites == ("2",)
    assert "dropped, not the share that is kept" in verdict.cause
    assert verdict_on(lambda: recipe_of(model(0.9))).advice
    assert not verdict_on(lambda: recipe_of(model(0.6))).advice


def test_vanishing_along_the_depth_is_found_and_its_relu_twin_passes(verdict_on):
    sizes = (16, *(64,) * 9, 4)

    sick = verdict_on(lambda: recipe_of(mlp(*sizes, act=nn.Sigmoid)))
    twin = verdict_on(lambda: recipe_of(mlp(*sizes)))

    assert sick.failed
    assert sick.sites[0] == "0.weight"
    assert "vanish" in sick.because
    assert twin.outcome is Outcome.PASSED


class Even(nn.Module):
    """Attention among tokens that are all the same, as where it looks along the wrong axis."""

    def __init__(self, *, named=("q", "k", "v")):
        super().__init__()
        self.names = named
        for name in named:
            self.add_module(name, nn.Linear(16, 16))
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        same = x[:, None].expand(-1, 5, -1)
        q, k, v = (self.get_submodule(name)(same) for name in self.names)
        return self.head(F.scaled_dot_product_attention(q * 1e-3, k * 1e-3, v)[:, 0])


@pytest.mark.parametrize("named", [("q", "k", "v"), ("query", "key", "value")])
def test_queries_and_keys_of_an_even_attention_do_not_vanish_along_the_depth(verdict_on, named):
    assert not verdict_on(lambda: recipe_of(Even(named=named))).failed


class Gated(nn.Module):
    def __init__(self, gate):
        super().__init__()
        self.norm, self.side, self.body = nn.LayerNorm(16), nn.Linear(16, 16), mlp(16, 16, 4)
        self.gate = gate

    def forward(self, x):
        x = self.norm(x)
        return self.body(x + self.gate * self.side(x))


@pytest.mark.parametrize(("gate", "failed"), [(1e-6, False), (1e-12, True)])
def test_a_branch_that_the_signal_comes_past_is_told_from_a_depth(verdict_on, gate, failed):
    verdict = verdict_on(lambda: recipe_of(Gated(gate)))
    assert verdict.failed is failed
    assert not failed or verdict.sites == ("side.weight",)
    assert not failed or "comes past it" in verdict.cause


def test_a_generator_whose_samples_are_detached_is_found_and_the_healthy_gan_passes(verdict_on):
    def gan(*, cut):
        model = nn.ModuleDict({"G": mlp(8, 16, 16), "D": mlp(16, 16, 1)})
        optimizers = {k: torch.optim.Adam(m.parameters(), lr=1e-3) for k, m in model.items()}

        def step(model, batch):
            real = batch[0]
            fake = model["G"](torch.randn(len(real), 8))
            fake = fake.detach() if cut else fake
            yield optimizers["D"], F.softplus(model["D"](fake.detach()) - model["D"](real)).mean()
            yield optimizers["G"], F.softplus(-model["D"](fake)).mean()

        return recipe_of(model, list(optimizers.values()), training_step=step)

    sick, twin = verdict_on(lambda: gan(cut=True)), verdict_on(lambda: gan(cut=False))

    assert sick.sites == ("G",)
    assert "between `G.2` and `D`" in sick.cause
    assert twin.outcome is Outcome.PASSED


class TargetNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.online = mlp(16, 16, 4)
        self.target = copy.deepcopy(self.online)


def test_a_target_network_inside_the_optimizer_is_advice_at_most(verdict_on):
    def step(model, batch, *, average):
        with torch.no_grad():
            goal = model.target(batch[0])
            for slow, fast in zip(model.target.parameters(), model.online.parameters(), strict=True):
                slow.lerp_(fast, 0.01 if average else 0.0)
        return F.mse_loss(model.online(batch[0] + 0.1), goal)

    for average in (True, False):
        verdict = verdict_on(
            lambda average=average: recipe_of(
                TargetNetwork(), training_step=lambda m, b: step(m, b, average=average)
            )
        )
        assert verdict.outcome is Outcome.PASSED


class Residual(nn.Module):
    def __init__(self, *, drop=0.0, zero=False):
        super().__init__()
        self.drop = drop
        self.blocks = nn.ModuleList(mlp(16, 16, 16) for _ in range(4))
        self.head = nn.Linear(16, 4)
        if zero:
            for block in self.blocks:
                nn.init.zeros_(block[-1].weight)

    def forward(self, x):
        for block in self.blocks:
            if not self.training or float(torch.rand(())) >= self.drop:
                x = x + block(x)
        return self.head(x)


class Experts(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(16, 32)
        self.experts = nn.ModuleList(mlp(16, 8, 16) for _ in range(32))
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        weights, chosen = self.gate(x).softmax(-1).max(-1)
        out = torch.zeros_like(x)
        for index, expert in enumerate(self.experts):
            mine = (chosen == index).nonzero().squeeze(1)
            if len(mine):
                out = out.index_add(0, mine, weights[mine, None] * expert(x[mine]))
        return self.head(x + out)


class Adapted(nn.Module):
    def __init__(self):
        super().__init__()
        self.base = mlp(16, 16, 4).requires_grad_(requires_grad=False)
        self.down = nn.Parameter(torch.randn(16, 2))
        self.up = nn.Parameter(torch.zeros(2, 4))

    def forward(self, x):
        return self.base(x) + x @ self.down @ self.up


@pytest.mark.parametrize(
    "build",
    [
        lambda: Residual(drop=0.3),
        lambda: Residual(zero=True),
        Experts,
        Adapted,
        lambda: nn.Sequential(
            nn.Unflatten(1, (1, 16)),
            nn.TransformerEncoderLayer(16, 2, 32, batch_first=True),
            nn.Flatten(),
            nn.Linear(16, 4),
        ),
    ],
    ids=["stochastic depth", "zero-init residual", "unreached experts", "LoRA", "attention to one"],
)
def test_missing_and_zero_gradients_that_are_right_do_not_fail(verdict_on, build):
    verdict = verdict_on(lambda: recipe_of(build()))

    assert verdict.outcome is Outcome.PASSED, (verdict.because, verdict.suspects)


class Scaled(nn.Module):
    """A residual branch with a scale and a last layer, either of which may begin at zero."""

    def __init__(self, *, scale, last):
        super().__init__()
        self.body, self.head = mlp(16, 16, 16), nn.Linear(16, 4)
        self.branch, self.scale = mlp(16, 8, 16), nn.Parameter(torch.full((1,), scale))
        if last:
            nn.init.zeros_(self.branch[-1].weight)
            nn.init.zeros_(self.branch[-1].bias)

    def forward(self, x):
        z = self.body(x)
        return self.head(z + self.scale * self.branch(z))


def test_a_product_of_two_zeros_is_named(verdict_on):
    verdict = verdict_on(lambda: recipe_of(Scaled(scale=0.0, last=True)))
    assert verdict.failed
    assert "scale and branch.2.weight are both initialised to zero" in verdict.cause


@pytest.mark.parametrize(("scale", "last"), [(0.0, False), (1.0, True)])
def test_one_of_the_two_is_usual(verdict_on, scale, last):
    assert verdict_on(lambda: recipe_of(Scaled(scale=scale, last=last))).outcome is Outcome.PASSED
