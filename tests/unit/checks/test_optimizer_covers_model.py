"""What no optimizer holds, and what only an optimizer holds, is found and named."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck.recipe import Recipe


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
        self.middle, self.norm, self.head = nn.Linear(32, 32), nn.LayerNorm(32), nn.Linear(32, 3)
        self.average = nn.Linear(32, 3).requires_grad_(requires_grad=False)

    def forward(self, x):
        return self.head(self.norm(torch.relu(self.middle(self.body(x)))))


class Margin(nn.Module):
    def __init__(self):
        super().__init__()
        self.centres = nn.Parameter(torch.randn(3, 3))

    def forward(self, outputs, labels):
        return F.cross_entropy(outputs @ self.centres.T, labels)


def adam(*parts):
    return torch.optim.Adam(p for part in parts for p in part.parameters())


def swapped(model):
    optimizer = adam(model)
    model.head = nn.Linear(32, 3)
    return optimizer


def frozen(*modules):
    def prepare(model):
        for name in modules:
            model.get_submodule(name).requires_grad_(requires_grad=False)
        return adam(model)

    return prepare


def pretrained(model):
    with torch.no_grad():
        for p in model.body.parameters():
            p.copy_(torch.randn_like(p) ** 3 * 0.1)
    return adam(model.middle, model.norm, model.head)


def recipe_of(optimize, loss=nn.CrossEntropyLoss, **facts):
    def build():
        model, objective = Net(), loss()
        data = torch.randn(32, 20), torch.randint(0, 3, (32,))
        optimizer = optimize(model, objective) if loss is Margin else optimize(model)
        return Recipe(model=model, train_data=data, loss=objective, optimizer=optimizer, **facts)

    return build


FAULTS = {
    "swapped head": (recipe_of(swapped), "head", "before head was replaced"),
    "another copy": (recipe_of(lambda m: adam(Net())), "body", "another copy"),
    "forgotten layer": (recipe_of(lambda m: adam(m.body, m.norm, m.head)), "middle", "left out"),
    "forgotten head": (recipe_of(lambda m: adam(m.body, m.middle, m.norm)), "head", "left out"),
    "random features": (recipe_of(lambda m: adam(m.middle, m.norm, m.head)), "body", "left out"),
    "loss left out": (recipe_of(lambda m, _: adam(m), Margin), "loss.centres", "left out"),
    "two optimizers": (recipe_of(lambda m: [adam(m), adam(m.head)]), "head", "twice"),
    "all frozen": (recipe_of(frozen("")), "body.0.weight", "frozen"),
    "frozen by mistake": (
        recipe_of(frozen("body", "head"), frozen=["body.*"]),
        "head.weight",
        "by mistake",
    ),
    "frozen in the middle": (recipe_of(frozen("middle")), "middle.weight", "by mistake"),
}
HEALTHY = {
    "all": recipe_of(adam),
    "groups": recipe_of(
        lambda m: torch.optim.SGD(
            [
                {"params": m.body.parameters(), "lr": 0.01},
                {"params": [*m.middle.parameters(), *m.norm.parameters(), *m.head.parameters()]},
            ],
            lr=0.1,
        )
    ),
    "frozen body, declared": recipe_of(frozen("body"), frozen=["body.*"]),
    "loss covered": recipe_of(adam, Margin),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_fault_is_found_and_named(verdict_on, fault):
    build, site, cause = FAULTS[fault]
    verdict = verdict_on(build)
    assert verdict.failed
    assert verdict.sites[0] == site
    assert cause in verdict.cause


@pytest.mark.parametrize("name", HEALTHY)
def test_a_covered_model_passes(verdict_on, name):
    verdict = verdict_on(HEALTHY[name])
    assert verdict.outcome == "passed"
    assert not verdict.advice


@pytest.mark.parametrize("optimize", [pretrained, frozen("body")], ids=["left out", "frozen"])
def test_a_backbone_that_stays_as_it_is_is_advice(verdict_on, optimize):
    verdict = verdict_on(recipe_of(optimize))
    assert verdict.outcome == "passed"
    assert "body" in verdict.advice[0]


def test_a_stale_parameter_is_told_with_its_shape(verdict_on):
    verdict = verdict_on(FAULTS["swapped head"][0])
    assert "stale: (3, 32)" in verdict.suspects[1].finding


def gan(*, greedy=False, detached=True):
    """Two networks against each other; ``greedy``: the first optimizer holds both."""

    def build():
        model = nn.ModuleDict({"make": nn.Linear(4, 20), "judge": nn.Linear(20, 1)})
        make, judge = adam(model if greedy else model["make"]), adam(model["judge"])

        def step(model, batch):
            fake = model["make"](torch.randn(8, 4))
            shown = fake.detach() if detached else fake
            yield judge, model["judge"](shown).mean() - model["judge"](batch[0]).mean()
            fake = model["make"](torch.randn(8, 4))
            yield make, -model["judge"](fake).mean()

        return Recipe(
            model=model,
            train_data=(torch.randn(32, 20), torch.zeros(32)),
            training_step=step,
            optimizer=(make, judge),
        )

    return build


@pytest.mark.parametrize("detached", [True, False])
def test_each_part_of_a_gan_has_its_own_optimizer(verdict_on, detached):
    assert verdict_on(gan(detached=detached)).outcome == "passed"


def test_an_optimizer_that_was_given_both_parts_of_a_gan_is_named(verdict_on):
    verdict = verdict_on(gan(greedy=True))
    assert verdict.failed
    assert verdict.sites == ("judge",)
    assert "holds the parameters of the other network too" in verdict.cause


def test_two_optimizers_may_share_a_trunk(verdict_on):
    def build():
        model = nn.ModuleDict({n: nn.Linear(20, 20) for n in ("trunk", "one", "other")})
        first, second = adam(model["trunk"], model["one"]), adam(model["trunk"], model["other"])

        def step(model, batch):
            yield first, model["one"](model["trunk"](batch[0])).square().mean()
            yield second, model["other"](model["trunk"](batch[0])).square().mean()

        data = torch.randn(32, 20), torch.zeros(32)
        return Recipe(model=model, train_data=data, training_step=step, optimizer=(first, second))

    assert verdict_on(build).outcome == "passed"


@pytest.mark.parametrize("all_layers", [True, False])
def test_what_stands_beside_the_layers_is_missed_where_these_are_covered(verdict_on, all_layers):
    class Scaled(Net):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(3.0))

        def forward(self, x):
            return super().forward(x) * self.scale

    def build():
        model = Scaled()
        for p in model.parameters():  # no trace of an initialisation
            nn.init.normal_(p, 0.3, 0.123) if p.dim() else None
        layers = (model.body, model.middle, model.norm, model.head) if all_layers else (model.head,)
        data = torch.randn(32, 20), torch.randint(0, 3, (32,))
        return Recipe(model=model, train_data=data, loss=nn.CrossEntropyLoss(), optimizer=adam(*layers))

    verdict = verdict_on(build)
    assert verdict.failed is all_layers
    assert not all_layers or verdict.sites == ("scale",)


class Tied(nn.Module):
    """Decodes with the weights that it encodes with."""

    def __init__(self, tie, widths=(20, 20)):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(*widths), nn.Linear(*widths[::-1])
        self.decoder.weight = tie(self.encoder.weight)

    def forward(self, x):
        return self.decoder(torch.relu(self.encoder(x)))[:, :3]


def tied(tie, widths=(20, 20)):
    def factory():
        model = Tied(tie, widths)
        return Recipe(
            model=model,
            train_data=[(torch.randn(8, 20), torch.randint(0, 3, (8,)))],
            loss=nn.CrossEntropyLoss(),
            optimizer=torch.optim.Adam(p for p in model.parameters() if p.requires_grad),
        )

    return factory


@pytest.mark.parametrize(
    "factory",
    [
        tied(lambda weight: nn.Parameter(weight.data)),
        tied(lambda weight: nn.Parameter(weight.detach().t()), (20, 8)),
    ],
    ids=["data", "transposed"],
)
def test_weights_that_only_share_their_memory_are_not_tied(verdict_on, factory):
    verdict = verdict_on(factory)
    assert verdict.failed
    assert verdict.sites == ("decoder.weight",)
    assert "share their memory" in verdict.cause


@pytest.mark.parametrize(
    "tie",
    [lambda weight: weight, lambda weight: nn.Parameter(weight.data.clone())],
    ids=["one parameter", "a copy"],
)
def test_tied_and_copied_weights_pass(verdict_on, tie):
    assert verdict_on(tied(tie)).outcome == "passed"


def test_a_frozen_view_of_a_trained_weight_passes(verdict_on):
    frozen_view = tied(lambda weight: nn.Parameter(weight.data, requires_grad=False))
    assert verdict_on(frozen_view).outcome == "passed"
