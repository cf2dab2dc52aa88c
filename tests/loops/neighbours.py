"""Healthy loops that come close to a fault: none of them may raise an alarm."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Subset, TensorDataset

from .data import diabetes, digits, loaders, tumours
from .healthy import Net, Walk, _gan, evaluate, mlp


def regression():
    rows, target = diabetes()
    loader = DataLoader(TensorDataset(rows, target.squeeze(1)), 32, shuffle=True)
    model = mlp(10, 16, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(3):
        for x, y in loader:
            optimizer.zero_grad()
            ((model(x).squeeze(1) - y) ** 2).mean().backward()
            optimizer.step()


def accumulation_with_sgd():
    images, labels = digits()
    train = DataLoader(TensorDataset(images[:480], labels[:480]), 32, shuffle=True)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(5):
        optimizer.zero_grad()
        for i, (x, y) in enumerate(train):
            (F.cross_entropy(model(x), y) / 8).backward()
            if (i + 1) % 8 == 0 or i + 1 == len(train):
                optimizer.step()
                optimizer.zero_grad()


def accumulation_that_skips_bad_windows():
    train, _ = loaders(16)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for i, (x, y) in enumerate(train):
        (F.cross_entropy(model(x), y) / 4).backward()
        if (i + 1) % 4 == 0:
            norm = nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            if norm < 100 and i != 11:
                optimizer.step()
            optimizer.zero_grad()


def one_cycle_per_step():
    train, _ = loaders()
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=2 * len(train))
    for _ in range(2):
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            scheduler.step()


def cosine_per_epoch():
    train, test = loaders(16)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=2)
    for _ in range(2):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        scheduler.step()
        evaluate(model, test)


def schedule_of_steps_with_warm_up():
    train, _ = loaders(16)
    model = Net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    warm = torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=10)
    rest = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=2 * len(train) - 10)
    scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, [warm, rest], milestones=[10])
    for _ in range(2):
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            scheduler.step()


def resumed_at_the_second_epoch():
    train, test = loaders()
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    optimizer.step()
    scheduler.step()
    for _ in range(2):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        scheduler.step()
        evaluate(model, test)


def scores_on_training_and_validation_data():
    train, test = loaders()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(2):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        evaluate(model, train)
        evaluate(model, test)


def scores_on_a_part_of_the_training_data():
    images, labels = digits()
    data = TensorDataset(images, labels)
    train = DataLoader(Subset(data, range(1000)), 64, shuffle=True)
    probe = DataLoader(Subset(data, range(256)), 64)
    test = DataLoader(Subset(data, range(1000, 1500)), 64)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(3):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        evaluate(model, probe)
        evaluate(model, test)


def scores_on_training_data_only():
    train, _ = loaders()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(2):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        evaluate(model, train)


def pseudo_labels_in_rounds():
    images, labels = digits()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    test = DataLoader(TensorDataset(images[1200:1500], labels[1200:1500]), 64)
    known_x, known_y = images[:300], labels[:300]
    for _ in range(3):
        model.train()
        for i in torch.randperm(len(known_x)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(model(known_x[i]), known_y[i]).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            guesses = torch.cat([model(x).argmax(1) for x in images[300:900].split(100)])
        known_x = torch.cat([images[:300], images[300:900]])
        known_y = torch.cat([labels[:300], guesses])
        evaluate(model, test)


def average_swapped_in_for_validation():
    train, test = loaders()
    model = Net()
    ema = {k: v.clone() for k, v in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(3):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            for k, v in model.state_dict().items():
                ema[k].lerp_(v, 0.1) if v.is_floating_point() else ema[k].copy_(v)
        evaluate(model, test)
        own = {k: v.clone() for k, v in model.state_dict().items()}
        model.load_state_dict(ema)
        evaluate(model, test)
        model.load_state_dict(own)


def average_that_begins_late():
    train, test = loaders()
    model = Net()
    ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for epoch in range(3):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            if epoch > 1:
                ema.update_parameters(model)
        evaluate(ema, test)


def weights_perturbed_to_see_how_flat_it_is():
    train, test = loaders()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(2):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        kept = copy.deepcopy(model.state_dict())
        model.eval()
        with torch.no_grad():
            for x, _ in test:
                for p in model.parameters():
                    p.add_(0.01 * torch.randn_like(p))
                model(x)
                model.load_state_dict(kept)


def twin_as_a_frozen_reference():
    train, test = loaders()
    model = Net()
    reference = copy.deepcopy(model).eval()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(2):
        model.train()
        for x, y in train:
            with torch.no_grad():
                anchor = reference(x).log_softmax(1)
            out = model(x)
            loss = F.cross_entropy(out, y) + 0.1 * F.kl_div(
                out.log_softmax(1), anchor, reduction="batchmean", log_target=True
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        evaluate(model, test)
        evaluate(reference, test)


def replay_of_the_batch_before():
    train, test = loaders()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    before = None
    for _ in range(2):
        model.train()
        for x, y in train:
            loss = F.cross_entropy(model(x), y)
            if before is not None:
                loss = loss + 0.5 * F.cross_entropy(model(before[0]), before[1])
            before = x, y
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        evaluate(model, test)


def batches_fetched_one_ahead():
    train, test = loaders()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(2):
        model.train()
        batches = iter(train)
        following = next(batches, None)
        while following is not None:
            x, y = following
            following = next(batches, None)
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        evaluate(model, test)


def mutual_learning():
    train, _ = loaders()
    one, other = Net(), Net()
    optimizer = torch.optim.Adam([*one.parameters(), *other.parameters()], lr=3e-3)
    for x, y in train:
        a, b = one(x), other(x)
        loss = F.cross_entropy(a, y) + F.cross_entropy(b, y) + F.mse_loss(a.softmax(1), b.softmax(1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def actor_and_critic_share_an_encoder():
    encoder, actor, critic = mlp(8, 32), nn.Linear(32, 2), nn.Linear(32, 1)
    opt_c = torch.optim.Adam([*encoder.parameters(), *critic.parameters()], lr=3e-3)
    opt_a = torch.optim.Adam(actor.parameters(), lr=3e-3)
    world = Walk()
    state = world.reset()
    for _ in range(80):
        seen = F.relu(encoder(state))
        choice = torch.distributions.Categorical(logits=actor(seen.detach()))
        action = choice.sample()
        after, reward, done = world.step(action.item())
        with torch.no_grad():
            goal = reward + 0.9 * critic(F.relu(encoder(after))) * (not done)
        error = goal - critic(seen)
        opt_c.zero_grad()
        error.pow(2).mean().backward()
        opt_c.step()
        opt_a.zero_grad()
        (-choice.log_prob(action) * error.detach()).mean().backward()
        opt_a.step()
        state = world.reset() if done else after


def gan_that_resets_both_at_once():
    train, _ = loaders()
    g, d = _gan()
    opt_d, opt_g = (torch.optim.Adam(m.parameters(), lr=2e-4, betas=(0.5, 0.999)) for m in (d, g))
    criterion = nn.BCEWithLogitsLoss()
    for _ in range(2):
        for x, _y in train:
            x = x.flatten(1)
            fake = g(torch.randn(len(x), 8))
            opt_g.zero_grad()
            criterion(d(fake), torch.ones(len(x), 1)).backward()
            opt_g.step()
            opt_d.zero_grad()
            (
                criterion(d(x), torch.ones(len(x), 1))
                + criterion(d(fake.detach()), torch.zeros(len(x), 1))
            ).backward()
            opt_d.step()


def density_of_continuous_data():
    rows, _ = diabetes()
    mean, log_scale = nn.Parameter(torch.zeros(10)), nn.Parameter(torch.zeros(10))
    optimizer = torch.optim.Adam([mean, log_scale], lr=3e-2)
    for _ in range(80):
        optimizer.zero_grad()
        (
            -torch.distributions.Normal(mean, log_scale.exp()).log_prob(0.01 * rows).sum(1).mean()
        ).backward()
        optimizer.step()


def by_hand_with_a_reset_to_none():
    rows, labels = tumours()
    w = torch.zeros(30, requires_grad=True)
    b = torch.zeros((), requires_grad=True)
    for _ in range(40):
        F.binary_cross_entropy_with_logits(rows @ w + b, labels).backward()
        with torch.no_grad():
            for p in (w, b):
                p -= 0.5 * p.grad
                p.grad = None


def model_left_in_eval_between_epochs_for_a_look():
    train, test = loaders()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(2):
        for i, (x, y) in enumerate(train):
            model.train()
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            if i % 5 == 0:
                evaluate(model, test)


NEIGHBOURS = [
    value
    for value in list(globals().values())
    if callable(value)
    and getattr(value, "__module__", "") == __name__
    and not isinstance(value, type)
    and not value.__name__.startswith("_")
]
