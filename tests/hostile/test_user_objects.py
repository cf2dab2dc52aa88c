"""What belongs to the user is given back as it was, and what the user changes harms only himself."""

import torch
from torch import nn

from pytest_dlcheck import Recipe, diagnose
from pytest_dlcheck.verdict import Outcome

X = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()


def net():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def adam(model):
    return torch.optim.Adam(model.parameters(), lr=0.01)


def outcomes(report):
    return {verdict.check: verdict.outcome for verdict in report.verdicts}


def test_gradients_that_a_model_comes_with_are_given_back():
    model = net()
    nn.functional.cross_entropy(model(X), Y).backward()
    before = [p.grad.clone() for p in model.parameters()]
    report = diagnose(model, (X, Y), loss=nn.CrossEntropyLoss(), optimizer=adam(model), steps=5)
    assert report.ok
    for parameter, gradient in zip(model.parameters(), before, strict=True):
        assert torch.equal(parameter.grad, gradient)


def test_a_loss_with_parameters_and_a_counting_buffer_are_given_back():
    class Margin(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, outputs, targets):
            return nn.functional.cross_entropy(outputs * self.scale, targets)

    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = net()
            self.register_buffer("calls", torch.zeros(()), persistent=False)

        def forward(self, x):
            self.calls += 1
            return self.layers(x)

    model, loss = Counting(), Margin()
    optimizer = torch.optim.Adam([*model.parameters(), *loss.parameters()], lr=0.1)
    diagnose(model, (X, Y), loss=loss, optimizer=optimizer, steps=5)
    assert (model.calls.item(), loss.scale.item(), loss.scale.grad) == (0, 1, None)


def test_a_step_may_take_its_batch_apart():
    def recipe():
        def step(model, batch):
            targets = batch.pop("y")
            return nn.functional.cross_entropy(model(**batch), targets)

        class Model(nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = net()

            def forward(self, x):
                return self.layers(x.div_(3))

        model = Model()
        data = [{"x": 3 * X[i : i + 16], "y": Y[i : i + 16]} for i in range(0, 64, 16)]
        return Recipe(model=model, train_data=data, training_step=step, optimizer=adam(model))

    found = outcomes(diagnose(recipe, steps=30))
    del found["learns_from_its_inputs"]  # 64 samples are too few to tell
    assert not {Outcome.FAILED, Outcome.ERRORED, Outcome.INCONCLUSIVE} & set(found.values()), found
