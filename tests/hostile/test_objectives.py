"""Losses, training steps and optimizers that are not what they should be."""

from __future__ import annotations

import pytest

CE = "nn.functional.cross_entropy"


EMPTIED = """\
net = Net()
optimizer = torch.optim.SGD(net.parameters(), 0.1)
optimizer.param_groups[0]['params'].clear()
return made(net, optimizer=optimizer)
"""


def step(text: str, optimizer: str = "torch.optim.SGD(net.parameters(), 0.1)") -> str:
    """A factory's body with a training step."""
    return (
        "net = Net()\n"
        f"optimizer = {optimizer}\n"
        f"def training_step(model, batch):\n    {text}\n"
        "return made(net, training_step=training_step, optimizer=optimizer)"
    )


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (f"return made(loss=lambda o, t: {CE}(o, t, reduction='none'))", "the loss has the shape (32,)"),
        (
            f"return made(loss=lambda o, t: {CE}(o, t).item())",
            "the loss is a float, not a tensor: do not",
        ),
        ("return made(loss=lambda o, t: None)", "the loss is None, not a tensor: return it"),
        ("return made(loss=lambda o, t: {'loss': o.sum()})", "the loss is a dict, not a tensor"),
        ("return made(Net().requires_grad_(False))", "does not depend on any trainable parameter"),
        (f"return made(loss=lambda o, t: {CE}(o.detach(), t))", "does not depend on any trainable"),
        (step("return 'loss'"), "the loss is a str, not a tensor"),
        (step("raise ValueError('nonsense')"), "ValueError: nonsense"),
        (step("return next(iter([]))"), "StopIteration"),
        (step("yield optimizer"), "training_step yielded a SGD, not (optimizer, loss)"),
        (step("yield optimizer, 1.0"), "training_step yielded the loss a float, not a scalar tensor"),
        (
            step("yield 'opt', model(batch[0]).sum()"),
            "training_step yielded a tuple, not (optimizer, loss)",
        ),
        (step("yield optimizer, model(batch[0])"), "the loss a tensor of shape (32, 2), not a scalar"),
        (step("yield from ()"), "training_step yielded nothing"),
        (
            step("return model(batch[0]).sum()", "None"),
            "optimizer= is missing: nothing could be trained",
        ),
        ("return made(optimizer=None)", "optimizer= is missing: nothing could be trained"),
        ("return made(optimizer='adam')", "optimizer= is a str, not a torch.optim.Optimizer"),
        ("return made(optimizer=torch.optim.Adam)", "optimizer= is the class Adam, not an instance"),
        ("return made(optimizer={'a': 1})", "optimizer= is a dict, not a torch.optim.Optimizer"),
        ("return made(optimizer=torch.optim.SGD([], 0.1))", "optimizer got an empty parameter list"),
        (
            EMPTIED,
            "optimizer= (SGD) holds no parameters: build it over model.parameters()",
        ),
        ("return made(scheduler='cosine')", "scheduler= is a str, not a learning rate scheduler"),
        (
            "net = Net()\nreturn made(net, accumulate=2, optimizer=torch.optim.LBFGS(net.parameters()))",
            "accumulate= and fp16-mixed do not go with closures (LBFGS)",
        ),
    ],
)
def test_what_is_wrong_is_said_once(patient, body, said):
    text = patient.error(body)
    assert said in text, text


STEP_LR = "torch.optim.lr_scheduler.StepLR(o, 1)"
SGD = "torch.optim.SGD(net.parameters(), 0.1)"


@pytest.mark.parametrize(
    "parts",
    [
        "optimizer=torch.optim.LBFGS(net.parameters(), max_iter=3)",
        "optimizer=torch.optim.LBFGS(net.parameters(), max_iter=3), max_grad_norm=1.0",
        "optimizer=[torch.optim.Adam(part.parameters()) for part in net.children()]",
        f"optimizer=(o := {SGD}), scheduler={STEP_LR}",
        f"optimizer=(o := {SGD}), scheduler={STEP_LR}, scheduler_interval='epoch'",
        f"optimizer=(o := {SGD}), scheduler=[{STEP_LR}]",
        f"optimizer=(o := {SGD}), scheduler=torch.optim.lr_scheduler.ReduceLROnPlateau(o)",
        f"optimizer=(o := {SGD}), scheduler=torch.optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=50)",
        "accumulate=3",
        "max_grad_norm=0.5",
        "precision='bf16-mixed'",
        "precision='fp16-mixed'",
        "precision='fp16-mixed', accumulate=2, max_grad_norm=1.0",
    ],
)
def test_every_way_to_step_trains(patient, parts):
    patient.trained(f"net = Net()\nreturn made(net, {parts})")


@pytest.mark.parametrize(
    "text",
    [
        f"return {CE}(model(batch[0]), batch[1])",
        f"outputs = model(batch[0]); return {CE}(outputs, batch[1]), outputs",
        f"yield optimizer, {CE}(model(batch[0]), batch[1])",
        f"for _ in range(2): yield optimizer, {CE}(model(batch[0]), batch[1])",
    ],
)
def test_every_form_of_training_step_trains(patient, text):
    patient.trained(step(text))
