"""Sealed: unusual but right loops, written before any check was measured on them; no faults."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim import LBFGS, SGD, Adam, AdamW, RMSprop
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    LinearLR,
    ReduceLROnPlateau,
    SequentialLR,
)
from torch.optim.swa_utils import SWALR, AveragedModel, update_bn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from tests.loops.data import diabetes, digits, loaders, tumours
from tests.loops.sealed_parts import (
    Attentive,
    Forecaster,
    Loop,
    Several,
    Speller,
    accuracy,
    conv_features,
    conv_net,
    drawn,
    flat_digits,
    letters,
    mlp,
    noisy,
    ring,
    waves,
)


def lbfgs_on_all_samples() -> None:
    rows, target = diabetes()
    net = mlp(10, 16, 1)
    optimizer = LBFGS(net.parameters(), lr=0.3, max_iter=4, history_size=10)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.mse_loss(net(rows[:350]), target[:350])
        loss = loss + 1e-2 * sum(weight.square().sum() for weight in net.parameters())
        loss.backward()
        return loss

    for _ in range(45):
        optimizer.step(closure)


def stateful_text_in_pieces() -> None:
    """Truncated backpropagation through time: the state goes on from piece to piece, detached."""
    text, count = letters()
    rows = text[: len(text) // 8 * 8].view(8, -1)
    speller = Speller(count)
    optimizer = Adam(speller.parameters(), lr=8e-3)
    for _ in range(4):
        state = None
        for start in range(0, rows.shape[1] - 13, 12):
            logits, state = speller(rows[:, start : start + 12], state)
            state = (state[0].detach(), state[1].detach())
            loss = F.cross_entropy(logits.transpose(1, 2), rows[:, start + 1 : start + 13])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(speller.parameters(), 1.0)
            optimizer.step()


def sharpness_aware() -> None:
    """Two passes per step: uphill by hand, gradients there, back, and only then the optimizer."""
    train, _ = loaders(batch_size=50)
    net = conv_net()
    optimizer = SGD(net.parameters(), lr=0.1, momentum=0.9)
    weights = list(net.parameters())
    for _ in range(3):
        for images, labels in train:
            F.cross_entropy(net(images), labels).backward()
            with torch.no_grad():
                norm = torch.stack([weight.grad.norm() for weight in weights]).norm() + 1e-12
                climbs = [weight.grad * (0.05 / norm) for weight in weights]
                for weight, climb in zip(weights, climbs, strict=True):
                    weight += climb
            optimizer.zero_grad()
            F.cross_entropy(net(images), labels).backward()
            with torch.no_grad():
                for weight, climb in zip(weights, climbs, strict=True):
                    weight -= climb
            optimizer.step()
            optimizer.zero_grad()


def summed_and_divided_by_hand() -> None:
    """Losses are summed over batches of different sizes, and gradients divided by the samples."""
    rows, labels = tumours()
    net = mlp(30, 32, 1)
    optimizer = AdamW(net.parameters(), lr=2e-3, weight_decay=0.05)
    for _ in range(50):
        seen = 0
        for size in torch.randint(4, 17, (4,)).tolist():
            chosen = torch.randint(450, (size,))
            logits = net(rows[chosen]).squeeze(1)
            F.binary_cross_entropy_with_logits(logits, labels[chosen], reduction="sum").backward()
            seen += size
        for weight in net.parameters():
            weight.grad /= seen
        optimizer.step()
        for weight in net.parameters():
            weight.grad = None


def wasserstein_with_penalty() -> None:
    """Three turns of the critic for one of the generator, and a second derivative in its loss."""
    generator, critic = mlp(4, 32, 2), mlp(2, 32, 1)
    of_generator = Adam(generator.parameters(), lr=2e-3, betas=(0.0, 0.9))
    of_critic = Adam(critic.parameters(), lr=2e-3, betas=(0.0, 0.9))
    for turn in range(150):
        real, noise = ring(64), torch.randn(64, 4)
        if turn % 3 == 2:
            critic.requires_grad_(False)
            of_generator.zero_grad()
            (-critic(generator(noise)).mean()).backward()
            of_generator.step()
            critic.requires_grad_(True)
            continue
        with torch.no_grad():
            fake = generator(noise)
        between = torch.lerp(real, fake, torch.rand(64, 1)).requires_grad_()
        (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
        penalty = (slope.norm(dim=1) - 1).square().mean()
        of_critic.zero_grad()
        (critic(fake).mean() - critic(real).mean() + 10 * penalty).backward()
        of_critic.step()


def actor_and_critic_in_a_corridor() -> None:
    """Eight cells, a reward at the right end; advantages are detached, and each has its optimizer."""
    actor, critic = mlp(8, 32, 2), mlp(8, 32, 1)
    of_actor, of_critic = Adam(actor.parameters(), lr=5e-3), RMSprop(critic.parameters(), lr=5e-3)
    where = torch.randint(0, 8, (32,))
    for _ in range(150):
        seen = F.one_hot(where, 8).float()
        choice = torch.distributions.Categorical(logits=actor(seen))
        move = choice.sample()
        after = (where + 2 * move - 1).clamp(min=0)
        done = after == 8
        reward = done.float() - 0.01
        value = critic(seen).squeeze(1)
        with torch.no_grad():
            following = critic(F.one_hot(after.clamp(max=7), 8).float()).squeeze(1)
        advantage = reward + 0.9 * following * ~done - value
        of_critic.zero_grad()
        advantage.square().mean().backward()
        of_critic.step()
        of_actor.zero_grad()
        (
            -(choice.log_prob(move) * advantage.detach()).mean() - 0.01 * choice.entropy().mean()
        ).backward()
        of_actor.step()
        where = torch.where(done, torch.randint(0, 8, (32,)), after)


def three_folds_from_scratch() -> None:
    """Cross-validation: each fold builds its own model and optimizer, and holds out other samples."""
    rows, labels = tumours()
    for part in torch.randperm(len(rows)).chunk(3):
        rest = torch.ones(len(rows), dtype=torch.bool)
        rest[part] = False
        net = mlp(30, 16, 2, dropout=0.1)
        optimizer = Adam(net.parameters(), lr=5e-3)
        train = DataLoader(TensorDataset(rows[rest], labels[rest].long()), 32, shuffle=True)
        valid = DataLoader(TensorDataset(rows[part], labels[part].long()), 64)
        for _ in range(4):
            net.train()
            for inputs, wanted in train:
                optimizer.zero_grad()
                F.cross_entropy(net(inputs), wanted).backward()
                optimizer.step()
            net.eval()
            accuracy(net, valid)


def weights_averaged_from_the_third_epoch() -> None:
    train, valid = loaders(batch_size=50)
    net = nn.Sequential(conv_features(norm=True), nn.Flatten(), nn.Linear(256, 10))
    average = AveragedModel(net)
    optimizer = SGD(net.parameters(), lr=0.1, momentum=0.9)
    schedule, late = (
        CosineAnnealingLR(optimizer, T_max=6),
        SWALR(optimizer, swa_lr=0.05, anneal_epochs=1),
    )
    for epoch in range(4):
        net.train()
        for images, labels in train:
            optimizer.zero_grad()
            F.cross_entropy(net(images), labels).backward()
            optimizer.step()
        if epoch >= 2:
            average.update_parameters(net)
            late.step()
        else:
            schedule.step()
    update_bn(train, average)
    average.eval()
    accuracy(average, valid)


def thawed_from_the_top() -> None:
    """The head first; each epoch thaws the next layer down and gives it to the optimizer."""
    train, _ = loaders(batch_size=50)
    layers = [nn.Linear(64, 48), nn.Linear(48, 32), nn.Linear(32, 10)]
    net = nn.Sequential(nn.Flatten(), layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    net.requires_grad_(False)
    layers[2].requires_grad_(True)
    optimizer = AdamW(layers[2].parameters(), lr=5e-3)
    for epoch in range(3):
        if epoch:
            below = layers[2 - epoch].requires_grad_(True)
            optimizer.add_param_group({"params": below.parameters(), "lr": 5e-3 / 2**epoch})
        for images, labels in train:
            optimizer.zero_grad()
            F.cross_entropy(net(images), labels).backward()
            optimizer.step()


def warm_restarts_between_batches() -> None:
    train, _ = loaders(batch_size=50)
    net = Attentive()
    optimizer = AdamW(net.parameters(), lr=4e-3)
    schedule = CosineAnnealingWarmRestarts(optimizer, T_0=1, T_mult=2, eta_min=1e-5)
    for epoch in range(3):
        for number, (images, labels) in enumerate(train):
            net.zero_grad()
            F.cross_entropy(net(images), labels, label_smoothing=0.05).backward()
            optimizer.step()
            schedule.step(epoch + number / len(train))


def patience_and_the_best_weights() -> None:
    """Halves the rate on a plateau, stops early and goes back to the best weights."""
    sequences, following = waves()
    net, best, kept, waited = Forecaster(), float("inf"), None, 0
    optimizer = Adam(net.parameters(), lr=1e-2)
    schedule = ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    for _ in range(8):
        net.train()
        for inputs, wanted in drawn(sequences[:480], following[:480], steps=10, size=32):
            optimizer.zero_grad()
            F.huber_loss(net(inputs), wanted).backward()
            optimizer.step()
        net.eval()
        with torch.inference_mode():
            error = F.huber_loss(net(sequences[480:]), following[480:]).item()
        schedule.step(error)
        waited = 0 if error < best else waited + 1
        if error < best:
            best, kept = error, deepcopy(net.state_dict())
        if waited > 3:
            break
    net.load_state_dict(kept)


def reptile_over_pairs_of_digits() -> None:
    """Meta-learning: copies learn one task each, and the optimizer walks towards where they arrived."""
    rows, labels = flat_digits(0, 1000)
    net = mlp(64, 32, 1)
    outer = SGD(net.parameters(), lr=0.3)
    for _ in range(45):
        first, second = torch.randperm(10)[:2].tolist()
        of_task = ((labels == first) | (labels == second)).nonzero().squeeze(1)
        student = deepcopy(net)
        inner = SGD(student.parameters(), lr=0.5)
        for inputs, digit in drawn(rows[of_task], labels[of_task], steps=4, size=24):
            inner.zero_grad()
            logits = student(inputs).squeeze(1)
            F.binary_cross_entropy_with_logits(logits, (digit == first).float()).backward()
            inner.step()
        for weight, arrived in zip(net.parameters(), student.parameters(), strict=True):
            weight.grad = (weight - arrived).detach()
        outer.step()


def slow_target_without_labels() -> None:
    """Bootstrap: the network predicts what its slow copy, which no optimizer holds, says of a view."""
    images, _ = digits()
    online = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 32)
    )
    target, predictor = deepcopy(online).requires_grad_(False), mlp(32, 32, 32)
    optimizer = SGD([*online.parameters(), *predictor.parameters()], lr=0.1, momentum=0.9)
    for (batch,) in drawn(images[:1000], steps=70):
        goal = target(noisy(batch))
        loss = 2 - 2 * F.cosine_similarity(predictor(online(noisy(batch))), goal).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for slow, fast in zip(target.parameters(), online.parameters(), strict=True):
                slow.lerp_(fast, 0.05)


def gradients_asked_for_and_put() -> None:
    """No `backward`: autograd.grad per task, the conflicting part projected away, put into `.grad`."""
    train, _ = loaders(batch_size=50)
    net = Several(digit=10, odd=2)
    optimizer = Adam(net.parameters(), lr=3e-3)
    weights = list(net.parameters())
    for _ in range(3):
        for images, labels in train:
            answers = {"digit": labels, "odd": labels % 2}
            losses = [F.cross_entropy(logits, answers[name]) for name, logits in net(images).items()]
            one, other = (
                torch.autograd.grad(loss, weights, retain_graph=True, materialize_grads=True)
                for loss in losses
            )
            against = sum((a * b).sum() for a, b in zip(one, other, strict=True))
            share = against.clamp(max=0) / sum(b.square().sum() for b in other)
            for weight, a, b in zip(weights, one, other, strict=True):
                weight.grad = a - share * b + b
            optimizer.step()


def optimizers_within_backward() -> None:
    """Each parameter has its optimizer, stepped and reset by a hook as soon as its gradient is there."""
    train, _ = loaders(batch_size=50)
    net = conv_net()
    of = {weight: SGD([weight], lr=0.05, momentum=0.9) for weight in net.parameters()}

    def apply(weight: Tensor) -> None:
        of[weight].step()
        of[weight].zero_grad()

    for weight in net.parameters():
        weight.register_post_accumulate_grad_hook(apply)
    for _ in range(3):
        for images, labels in train:
            F.cross_entropy(net(images), labels).backward()


def values_from_a_replay_buffer() -> None:
    """Q-learning off old moves, some of them again and again, with a target copied every 20 steps."""
    values = mlp(8, 32, 2)
    target = deepcopy(values)
    optimizer = Adam(values.parameters(), lr=3e-3)
    memory: deque[tuple[int, int, int, float]] = deque(maxlen=400)
    where = 0
    for step in range(160):
        with torch.no_grad():
            best = values(F.one_hot(torch.tensor(where), 8).float()).argmax().item()
        move = int(best) if torch.rand(()) > 0.3 else int(torch.randint(2, ()))
        after = max(where + 2 * move - 1, 0)
        memory.append((where, move, min(after, 7), float(after > 7)))
        where = 0 if after > 7 else after
        if len(memory) < 40:
            continue
        old, moves, new, reward = zip(
            *(memory[i] for i in torch.randint(len(memory), (32,))), strict=True
        )
        with torch.no_grad():
            ahead = target(F.one_hot(torch.tensor(new), 8).float()).amax(1)
        goal = torch.tensor(reward) + 0.9 * ahead * (1 - torch.tensor(reward))
        said = values(F.one_hot(torch.tensor(old), 8).float()).gather(1, torch.tensor(moves)[:, None])
        optimizer.zero_grad()
        F.smooth_l1_loss(said.squeeze(1), goal).backward()
        optimizer.step()
        if step % 20 == 0:
            target.load_state_dict(values.state_dict())


def attacked_images() -> None:
    """Adversarial training: a backward for the inputs' sake, then the step's own."""
    train, valid = loaders(batch_size=50)
    net = conv_net()
    optimizer = SGD(net.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):
        net.train()
        for images, labels in train:
            attacked = images.clone().requires_grad_()
            F.cross_entropy(net(attacked), labels).backward()
            attacked = (images + 0.03 * attacked.grad.sign()).clamp(0, 1)
            optimizer.zero_grad()
            loss = F.cross_entropy(net(images), labels) + F.cross_entropy(net(attacked), labels)
            (loss / 2).backward()
            optimizer.step()
        net.eval()
        accuracy(net, valid)


def uncertain_by_dropout() -> None:
    """Monte Carlo dropout: validation keeps dropout on, on purpose, and averages twenty answers."""
    rows, target = diabetes()
    train = DataLoader(TensorDataset(rows[:350], target[:350]), batch_size=25, shuffle=True)
    net = mlp(10, 64, 64, 1, dropout=0.2)
    optimizer = Adam(net.parameters(), lr=2e-3)
    for _ in range(4):
        for inputs, wanted in train:
            optimizer.zero_grad()
            F.mse_loss(net(inputs), wanted).backward()
            optimizer.step()
        with torch.no_grad():
            answers = torch.stack([net(rows[350:]) for _ in range(20)])
        assert answers.std(0).mean() > 0


class _Shapes(IterableDataset[tuple[Tensor, Tensor]]):
    """An endless stream of crosses and rings."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            image, cross = torch.randn(1, 8, 8) * 0.2, torch.randint(2, ())
            row, column = torch.randint(1, 7, (2,)).tolist()
            if cross:
                image[0, row, column - 1 : column + 2] += 1
                image[0, row - 1 : row + 2, column] += 1
            else:
                image[0, row - 1 : row + 2, column - 1 : column + 2] += 1
                image[0, row, column] -= 1
            yield image, cross


def endless_stream_with_a_warm_up() -> None:
    """The first rate is a thousandth, the schedule steps with every batch, autocast in bfloat16."""
    net = nn.Sequential(conv_features(8), nn.Flatten(), nn.Linear(128, 2))
    optimizer = AdamW(net.parameters(), lr=5e-3)
    warm = LinearLR(optimizer, start_factor=1e-3, total_iters=15)
    schedule = SequentialLR(optimizer, [warm, ConstantLR(optimizer, 1.0, 1)], milestones=[15])
    for step, (images, labels) in enumerate(DataLoader(_Shapes(), batch_size=32)):
        if step == 80:
            break
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = F.cross_entropy(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def weights_made_by_another_network() -> None:
    """A hypernetwork: the classifier's weights are its outputs, and it is called with them."""
    rows, labels = flat_digits(0, 1000)
    shell = nn.Linear(64, 10)
    maker = mlp(2, 32, 650)
    optimizer = Adam(maker.parameters(), lr=2e-3)
    for inputs, wanted in drawn(rows, labels, steps=80):
        inverted = float(torch.rand(()) > 0.5)
        made = maker(torch.tensor([inverted, 1 - inverted])) * 0.5
        weights = {"weight": made[:640].view(10, 64), "bias": made[640:]}
        logits = functional_call(shell, weights, (inputs * (1 - 2 * inverted) + inverted,))
        loss = F.cross_entropy(logits, wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


SEALED_HEALTHY: list[Loop] = [
    lbfgs_on_all_samples,
    stateful_text_in_pieces,
    sharpness_aware,
    summed_and_divided_by_hand,
    wasserstein_with_penalty,
    actor_and_critic_in_a_corridor,
    three_folds_from_scratch,
    weights_averaged_from_the_third_epoch,
    thawed_from_the_top,
    warm_restarts_between_batches,
    patience_and_the_best_weights,
    reptile_over_pairs_of_digits,
    slow_target_without_labels,
    gradients_asked_for_and_put,
    optimizers_within_backward,
    values_from_a_replay_buffer,
    attacked_images,
    uncertain_by_dropout,
    endless_stream_with_a_warm_up,
    weights_made_by_another_network,
]
