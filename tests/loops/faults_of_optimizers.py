"""Loops whose optimizers, schedulers or losses hold what they should not, beside healthy ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, StepLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Subset, TensorDataset

from . import healthy, neighbours
from .data import diabetes, digits, loaders, tumours
from .faults import fault, train_classifier
from .faults_of_resets import Reader, reader
from .healthy import Net, evaluate, mlp


def epoch(model, optimizer, loader):
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


def transferred(*, early, whole=False, frozen=True, model=Net):
    """A model is trained, then its last layer is replaced: ``early``, after its optimizer is built."""
    train, test = loaders()
    net = model()
    name = "fc" if model is Net else "head"
    epoch(net, torch.optim.Adam(net.parameters(), lr=3e-3), train)
    last = getattr(net, name)
    if frozen:
        net.requires_grad_(False)
        last.requires_grad_(True)
    fresh = nn.Linear(last.in_features, 10)
    if not early:
        setattr(net, name, fresh)
    part = net if whole else getattr(net, name)
    optimizer = torch.optim.SGD([p for p in part.parameters() if p.requires_grad], lr=0.1)
    setattr(net, name, fresh)
    for _ in range(2):
        epoch(net, optimizer, train)
        evaluate(net, test)


def transferred_to_a_new_head():
    transferred(early=False)


def transferred_whole_to_a_new_head():
    transferred(early=False, whole=True, frozen=False, model=Reader)


@fault(
    transferred_to_a_new_head, "optimizer_covers_model", "optimizer_persists", words=("replaced", "copy")
)
def new_head_after_the_second_optimizer():
    transferred(early=True)


@fault(transferred_whole_to_a_new_head, "optimizer_covers_model", words=("before head was replaced",))
def new_head_after_the_second_optimizer_of_all():
    transferred(early=True, whole=True, frozen=False, model=Reader)


@fault(train_classifier, "steps_are_in_order", words=("cut from the outputs",))
def loss_made_anew():
    def step(model, optimizer, x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        torch.tensor(loss.item(), requires_grad=True).backward()
        optimizer.step()

    train_classifier(step=step)


@fault(neighbours.regression, "steps_are_in_order", words=("cut from the outputs",))
def loss_of_detached_outputs():
    rows, target = diabetes()
    model = mlp(10, 16, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    for i in [j for _ in range(4) for j in torch.randperm(442).split(32)]:
        optimizer.zero_grad()
        out = model(rows[i]).detach().requires_grad_()
        F.mse_loss(out, target[i]).backward()
        optimizer.step()


@fault(reader, "steps_are_in_order", words=("backward() is missing",))
def backward_missing():
    train, test = loaders()
    model = Reader()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for x, y in train:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y)
        optimizer.step()
    evaluate(model, test)


@fault(healthy.tuple_of_tensors_by_hand, "loss_is_sound", words=("softmax over one class",))
def softmax_over_one_output():
    rows, labels = tumours()
    model = mlp(30, 16, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for i in [j for _ in range(3) for j in torch.randperm(512).split(32)]:
        optimizer.zero_grad()
        F.binary_cross_entropy(model(rows[i]).softmax(1).squeeze(1), labels[i]).backward()
        optimizer.step()


@fault(neighbours.cosine_per_epoch, "schedule_is_sane", words=("built anew",))
def optimizer_anew_each_epoch_and_the_first_schedule():
    train, test = loaders()
    model = Net()
    scheduler = CosineAnnealingLR(torch.optim.SGD(model.parameters(), lr=0.05), T_max=6)
    for _ in range(6):
        epoch(model, torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9), train)
        scheduler.step()
        evaluate(model, test)


@fault(reader, "schedule_is_sane", words=("built anew",))
def schedule_of_the_optimizer_before():
    train, _ = loaders(32)
    model = Reader()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    scheduler = StepLR(optimizer, step_size=8, gamma=0.8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for x, y in [batch for _ in range(2) for batch in train]:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        scheduler.step()


@fault(healthy.two_optimizers_for_one_loss, "optimizer_covers_model", words=("left out",))
def encoder_left_out():
    train, _ = loaders()
    encoder, head = nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU()), nn.Linear(48, 10)
    optimizer = torch.optim.Adam(head.parameters(), lr=3e-3)
    for _ in range(2):
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(head(encoder(x)), y).backward()
            optimizer.step()


@fault(healthy.dcgan, "optimizer_persists", words=("cut from the loss",))
def generator_detached_in_its_own_turn():
    train, _ = loaders()
    g, d = healthy._gan()
    opt_d, opt_g = (torch.optim.Adam(m.parameters(), lr=2e-4, betas=(0.5, 0.999)) for m in (d, g))
    criterion = nn.BCEWithLogitsLoss()
    for _ in range(2):
        for x, _y in train:
            fake = g(torch.randn(len(x), 8)).detach()
            ones, zeros = torch.ones(len(x), 1), torch.zeros(len(x), 1)
            opt_d.zero_grad()
            (criterion(d(x.flatten(1)), ones) + criterion(d(fake), zeros)).backward()
            opt_d.step()
            opt_g.zero_grad()
            criterion(d(fake), ones).backward()
            opt_g.step()


@fault(train_classifier, "steps_are_in_order", words=("outside of the loop",))
def step_outside_of_the_loop():
    train, test = loaders()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(6):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
        optimizer.step()
        evaluate(model, test)


@fault(train_classifier, "modes_are_right", words=("train()",))
def in_eval_since_the_first_look():
    train, test = loaders()
    model = nn.Sequential(nn.Flatten(), mlp(64, 32, 10, dropout=0.3))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    evaluate(model, test)
    for _ in range(2):
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        evaluate(model, test)


@fault(train_classifier, "validation_is_untouched", words=("validation loop trains",))
def one_step_in_every_validation():
    train, _ = loaders()
    images, labels = digits()
    model = Reader()
    model.add_module("unused_dropout", nn.Dropout(0.1))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(4):
        epoch(model, optimizer, train)
        model.eval()
        optimizer.zero_grad()
        F.cross_entropy(model(images[1000:1300]), labels[1000:1300]).backward()
        optimizer.step()


@fault(healthy.ema_and_swa, "validation_is_untouched", words=("split",))
def average_scored_on_what_was_trained_on():
    images, labels = digits()
    data = TensorDataset(images[:1200], labels[:1200])
    train = DataLoader(Subset(data, range(1100)), 64, shuffle=True)
    test = DataLoader(Subset(data, range(800, 1200)), 64)
    model = Net()
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(4):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            average.update_parameters(model)
        evaluate(average, test)


@fault(train_classifier, "optimizer_persists", words=("built anew in each",), advice=True)
def model_and_optimizer_built_in_each_epoch():
    train, test = loaders()
    for _ in range(4):
        model = Reader()
        epoch(model, torch.optim.Adam(model.parameters(), lr=3e-3), train)
        evaluate(model, test)


# -- healthy neighbours ---------------------------------------------------------------------------


def head_probed_while_old_gradients_lie_there():
    train, test = loaders()
    model = Net()
    epoch(model, torch.optim.Adam(model.parameters(), lr=3e-3), train)
    model.fc = nn.Linear(64, 10)
    optimizer = torch.optim.SGD(model.fc.parameters(), lr=0.1)
    for _ in range(2):
        model.train()
        for x, y in train:
            with torch.no_grad():
                h = F.max_pool2d(F.relu(model.bn(model.conv1(x))), 2)
                h = F.max_pool2d(F.relu(model.conv2(h)), 2).flatten(1)
            optimizer.zero_grad()
            F.cross_entropy(model.fc(h), y).backward()
            optimizer.step()
        evaluate(model, test)


def groups_added_on_the_way():
    train, test = loaders()
    model = Reader()
    parts = [model.head, model.norm, model.rnn, model.embed]
    for part in parts[1:]:
        part.requires_grad_(False)
    optimizer = torch.optim.Adam(parts[0].parameters(), lr=3e-3)
    for part in parts[1:]:
        epoch(model, optimizer, train)
        part.requires_grad_(True)
        optimizer.add_param_group({"params": part.parameters(), "lr": 1e-3})
    epoch(model, optimizer, train)
    evaluate(model, test)


class Wrapping(torch.optim.Optimizer):
    """Steps another optimizer, of which it shares the groups."""

    def __init__(self, inner):
        self.inner = inner
        super().__init__(inner.param_groups, inner.defaults)
        self.param_groups = inner.param_groups

    def step(self, closure=None):
        return self.inner.step(closure)


def schedule_of_a_wrapped_optimizer():
    train, test = loaders()
    model = Net()
    inner = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    scheduler = StepLR(inner, step_size=1, gamma=0.7)
    optimizer = Wrapping(inner)
    for _ in range(3):
        epoch(model, optimizer, train)
        scheduler.step()
        evaluate(model, test)


def phases_with_a_schedule_each():
    train, test = loaders()
    model = Net()
    for rate in (0.1, 0.02):
        optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
        scheduler = CosineAnnealingLR(optimizer, T_max=3)
        for _ in range(3):
            epoch(model, optimizer, train)
            scheduler.step()
        evaluate(model, test)


def features_of_a_network_that_is_not_frozen():
    train, _ = loaders()
    judge = nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.Tanh())
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 64))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(2):
        for x, _y in train:
            optimizer.zero_grad()
            F.mse_loss(judge(model(x)), judge(x).detach()).backward()
            optimizer.step()


def gradients_given_by_hand():
    rows, target = diabetes()
    model = mlp(10, 16, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for i in [j for _ in range(4) for j in torch.randperm(442).split(32)]:
        loss = F.mse_loss(model(rows[i]), target[i])
        found = torch.autograd.grad(loss, list(model.parameters()))
        for p, gradient in zip(model.parameters(), found, strict=True):
            p.grad = gradient
        optimizer.step()


def robustness_looked_at():
    train, test = loaders()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(2):
        epoch(model, optimizer, train)
        model.eval()
        for x, y in test:
            x.requires_grad_()
            (slope,) = torch.autograd.grad(F.cross_entropy(model(x), y), x)
            with torch.no_grad():
                model(x + 0.05 * slope.sign())


def teacher_that_labels_the_pool():
    images, labels = digits()
    test = DataLoader(TensorDataset(images[1000:1300], labels[1000:1300]), 64)
    student, average = Net(), None
    optimizer = torch.optim.Adam(student.parameters(), lr=3e-3)
    average = AveragedModel(student, multi_avg_fn=get_ema_multi_avg_fn(0.8))
    for _ in range(3):
        average.eval()
        with torch.no_grad():
            guesses = torch.cat([average(x).argmax(1) for x in images[200:800].split(100)])
        known = TensorDataset(images[:800], torch.cat([labels[:200], guesses]))
        student.train()
        for x, y in DataLoader(known, 64, shuffle=True):
            optimizer.zero_grad()
            F.cross_entropy(student(x), y).backward()
            optimizer.step()
            average.update_parameters(student)
        evaluate(student, test)


def fitted_with_three_seeds():
    train, test = loaders()
    for seed in range(3):
        torch.manual_seed(seed)
        model = Reader()
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        for _ in range(2):
            epoch(model, optimizer, train)
        evaluate(model, test)


QUIET = [
    head_probed_while_old_gradients_lie_there,
    groups_added_on_the_way,
    schedule_of_a_wrapped_optimizer,
    phases_with_a_schedule_each,
    features_of_a_network_that_is_not_frozen,
    gradients_given_by_hand,
    robustness_looked_at,
    teacher_that_labels_the_pool,
    fitted_with_three_seeds,
]
"""None of them may raise an alarm."""
