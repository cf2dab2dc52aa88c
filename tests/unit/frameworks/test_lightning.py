"""LightningModules as recipes, against the real library, in both packages that it comes as."""

from __future__ import annotations

from importlib import import_module

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from pytest_dlcheck import Recipe, diagnose
from pytest_dlcheck.recipe import RecipeError

lightning = pytest.importorskip("lightning.pytorch")
WHOLE = ("gradients_flow", "loss_decreases", "batch_independence", "optimizer_covers_model")


def samples(seed=0):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(256, 10, generator=generator)
    return TensorDataset(inputs, inputs[:, :3].argmax(1))


def loader(size=32):
    return DataLoader(samples(), batch_size=size, shuffle=True)


class Data(lightning.LightningDataModule):
    def prepare_data(self):
        self.prepared = True

    def setup(self, stage):
        assert self.prepared
        assert stage == "fit"
        self.samples = samples()

    def train_dataloader(self):
        return DataLoader(self.samples, batch_size=32, shuffle=True)

    def val_dataloader(self):
        return DataLoader(samples(seed=1), batch_size=64)


class Lit(lightning.LightningModule):
    def __init__(self, fault=""):
        super().__init__()
        self.body, self.head, self.fault = nn.Linear(10, 32), nn.Linear(32, 3), fault

    def forward(self, inputs):
        hidden = self.body(inputs).relu()
        if self.fault == "cut":
            hidden = hidden.detach()
        return self.head(hidden)

    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        loss = nn.functional.cross_entropy(self(inputs), targets)
        self.log("train_loss", loss, prog_bar=True)
        self.log_dict({"epoch_now": float(self.current_epoch)})
        self.logger.experiment.add_scalar("loss", loss, self.global_step)
        return loss

    def configure_optimizers(self):
        trained = self.head.parameters() if self.fault == "forgotten" else self.parameters()
        return torch.optim.Adam(trained, lr=1e-2)


class Other(Lit):
    """Another way of configuring optimizers, given by hand."""

    def __init__(self, configure):
        super().__init__()
        self.configure = configure

    def configure_optimizers(self):
        return self.configure(self)


def adam(module):
    return torch.optim.Adam(module.parameters(), lr=1e-2)


def decay(optimizer):
    return torch.optim.lr_scheduler.StepLR(optimizer, step_size=1)


def configured(make, **options):
    return Recipe.from_lightning(Other(make), loader(), **options)


def with_scheduler(**config):
    def configure(module):
        optimizer = adam(module)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": decay(optimizer)} | config}

    return configure


def failed(report):
    return {verdict.check for verdict in report.diagnosis.causes}


@pytest.mark.filterwarnings("error")
def test_a_healthy_module_passes():
    report = diagnose(lambda: Recipe.from_lightning(Lit(), Data()), steps=60, device="cpu")

    assert report.ok, str(report)
    passed = {v.check for v in report.verdicts if v.outcome == "passed"}
    assert set(WHOLE) <= passed, str(report)


@pytest.mark.parametrize(
    ("fault", "check"), [("cut", "gradients_flow"), ("forgotten", "optimizer_covers_model")]
)
def test_a_planted_fault_is_found(fault, check):
    report = diagnose(
        lambda: Recipe.from_lightning(Lit(fault), Data()), steps=20, select=WHOLE, device="cpu"
    )

    assert failed(report) == {check}, str(report)


def test_the_other_package_works_too():
    other = import_module("pytorch_lightning")

    class Module(other.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(10, 3)

        def forward(self, inputs):
            return self.layer(inputs)

        def training_step(self, batch):
            self.log("loss", 0.0)
            return {"loss": nn.functional.cross_entropy(self(batch[0]), batch[1])}

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

        def train_dataloader(self):
            return loader()

    report = diagnose(
        lambda: Recipe.from_lightning(Module()), steps=20, select=["gradients_flow"], device="cpu"
    )

    assert report.ok, str(report)


def test_the_data_modules_loaders_are_used():
    recipe = Recipe.from_lightning(Lit(), Data())

    assert recipe.train_data.batch_size == 32
    assert recipe.val_data.batch_size == 64


# Lightning's own loader asks torch in a way that torch 2.14 has deprecated.
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
def test_several_loaders_give_their_batches_together():
    class Pairs(Data):
        def train_dataloader(self):
            return {"a": loader(32), "b": loader(64)}

    batches = list(Recipe.from_lightning(Lit(), Pairs()).train_data)

    assert len(batches) == 8
    assert {key: len(inputs) for key, (inputs, _) in batches[0].items()} == {"a": 32, "b": 64}


def test_the_trainers_names_become_the_recipes():
    recipe = Recipe.from_lightning(
        Lit(),
        loader(),
        gradient_clip_val=0.5,
        accumulate_grad_batches=4,
        precision="16-mixed",
        frozen=["head"],
    )

    assert (recipe.max_grad_norm, recipe.accumulate, recipe.precision) == (0.5, 4, "fp16-mixed")
    assert recipe.frozen == ("head",)


@pytest.mark.parametrize(
    ("configure", "schedulers", "interval"),
    [
        (adam, 0, "epoch"),
        (lambda m: [adam(m)], 0, "epoch"),
        (lambda m: {"optimizer": adam(m)}, 0, "epoch"),
        (lambda m: ({"optimizer": adam(m)},), 0, "epoch"),
        (lambda m: ([o := adam(m)], [decay(o)]), 1, "epoch"),
        (lambda m: ([o := adam(m)], [{"scheduler": decay(o), "interval": "step"}]), 1, "step"),
        (lambda m: {"optimizer": (o := adam(m)), "lr_scheduler": decay(o)}, 1, "epoch"),
        (with_scheduler(interval="step", monitor="val_loss"), 1, "step"),
    ],
)
def test_optimizers_are_read_in_every_form(configure, schedulers, interval):
    recipe = configured(configure)

    assert isinstance(recipe.optimizer, torch.optim.Adam)
    assert len(recipe.scheduler or ()) == schedulers
    assert recipe.scheduler_interval == interval


def test_a_scheduler_steps_at_its_frequency():
    recipe = configured(with_scheduler(interval="step", frequency=3))
    recipe.optimizer.step()
    rates = []
    for _ in range(6):
        recipe.scheduler[0].step()
        rates.append(recipe.optimizer.param_groups[0]["lr"])

    assert rates == pytest.approx([1e-2, 1e-2, 1e-3, 1e-3, 1e-3, 1e-4])


def test_a_scheduler_that_waits_for_a_metric_is_given_the_loss():
    def configure(module):
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer := adam(module))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "val_loss"}}

    report = diagnose(lambda: configured(configure), steps=20, select=["gradients_flow"], device="cpu")

    assert report.ok, str(report)


@pytest.mark.parametrize(
    ("options", "length"),
    [({}, 8), ({"max_epochs": 3}, 24), ({"max_steps": 7}, 7), ({"accumulate_grad_batches": 4}, 2)],
)
def test_a_schedule_learns_how_long_the_training_is(options, length):
    seen = []

    def configure(module):
        seen.append(module.trainer.estimated_stepping_batches)
        return adam(module)

    configured(configure, **options)

    assert seen == [length]


def test_the_hooks_around_a_step_are_called():
    called = []

    class Hooked(Lit):
        def setup(self, stage):
            called.append(f"setup {stage}")

        def on_train_start(self):
            called.append("start")

        def on_after_batch_transfer(self, batch, dataloader_idx):
            return 2 * batch[0], batch[1]

        def on_train_batch_start(self, batch, batch_idx):
            called.append(f"begin {batch_idx}")

        def on_before_optimizer_step(self, optimizer):
            called.append(f"update {self.global_step}")

        def on_train_batch_end(self, outputs, batch, batch_idx):
            called.append(f"end {batch_idx}, loss {sorted(outputs)}")

        def training_step(self, batch, batch_idx):
            called.append(f"doubled {bool((batch[0] == 2 * inputs).all())}")
            return super().training_step(batch, batch_idx)

    recipe = Recipe.from_lightning(module := Hooked(), loader())
    inputs, labels = next(iter(recipe.train_data))
    for _ in range(2):
        recipe.training_step(module, (inputs, labels)).backward()
        recipe.optimizer.step()

    step = ["doubled True", "update {}", "end {}, loss ['loss']"]
    assert called == [
        "setup fit",
        "start",
        *(word.format(n) for n in range(2) for word in ("begin {}", *step)),
    ]


def test_logging_is_as_before_afterwards():
    recipe = Recipe.from_lightning(module := Lit(), loader())
    recipe.training_step(module, next(iter(recipe.train_data)))

    assert module.log.__func__ is lightning.LightningModule.log


def test_manual_optimization_is_refused():
    class Manual(Lit):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False

    with pytest.raises(RecipeError, match=r"optimizes manually .* does not support: watch"):
        Recipe.from_lightning(Manual(), loader())


def test_a_module_that_steers_its_training_is_refused():
    class Steering(Lit):
        def optimizer_step(self, *args, **kwargs):
            super().optimizer_step(*args, **kwargs)

    with pytest.raises(RecipeError, match="Steering overrides optimizer_step"):
        Recipe.from_lightning(Steering(), loader())


@pytest.mark.parametrize(
    ("configure", "said"),
    [
        (lambda _: None, "gives no optimizer"),
        (lambda m: [adam(m), adam(m)], "gives 2 optimizers"),
        (lambda m: {"opt": adam(m)}, 'a dict without "optimizer"'),
        (lambda m: (o := adam(m), decay(o)), "a tuple of Adam, StepLR: return an optimizer"),
        (lambda _: torch.optim.Adam, "the class Adam, not an instance"),
        (lambda m: ([o := adam(m)], [{"schedule": decay(o)}]), 'lacks its key "scheduler"'),
    ],
)
def test_what_configure_optimizers_may_not_give_is_said(configure, said):
    with pytest.raises(RecipeError, match=said):
        configured(configure)


@pytest.mark.parametrize(
    ("module", "options", "said"),
    [
        (nn.Linear(1, 1), {}, "takes a LightningModule, not Linear"),
        (Lit, {}, "not the class Lit: is it an instance"),
        (Lit(), {"gradient_clip": 1}, "does not take gradient_clip=, did you mean gradient_clip_val="),
        (Lit(), {"optimizer": None}, "does not take optimizer="),
        (Lit(), {"accumulate": 2, "accumulate_grad_batches": 2}, "are the same: give one"),
        (Lit(), {"precision": "64-true"}, "precision='64-true' is unknown"),
    ],
)
def test_what_cannot_be_a_recipe_is_said(module, options, said):
    with pytest.raises(RecipeError, match=said):
        Recipe.from_lightning(module, loader(), **options)


def test_missing_data_is_said():
    with pytest.raises(RecipeError, match="no training data: give"):
        Recipe.from_lightning(Lit())
