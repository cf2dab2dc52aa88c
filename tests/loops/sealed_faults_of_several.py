"""Sealed: loops with one mistake in validation, losses, shapes or between networks; part of `SEALED`."""

from __future__ import annotations

from copy import deepcopy
from itertools import chain

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, RMSprop, SparseAdam
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, TensorDataset

from tests.loops.data import digits, loaders, tumours
from tests.loops.sealed_parts import (
    Planted,
    Several,
    Speller,
    accuracy,
    conv_features,
    conv_net,
    drawn,
    flat_digits,
    info_nce,
    letters,
    mlp,
    noisy,
    ring,
    windows,
)

planted = Planted()


@planted(
    "zero_grad|reset|accumulat|pile up|cleared",
    seen="Of two optimizers only the decoder's is ever reset.",
)
def autoencoder_reset_by_half(*, mistake: bool) -> None:
    rows, _ = flat_digits(0, 1000)
    encoder, decoder = mlp(64, 32, 8), mlp(8, 32, 64)
    optimizers = {
        "encoder": SGD(encoder.parameters(), lr=0.1),
        "decoder": SGD(decoder.parameters(), lr=0.3),
    }
    for (batch,) in drawn(rows, steps=120):
        for name, optimizer in optimizers.items():
            if name == "decoder" or not mistake:
                optimizer.zero_grad()
        F.mse_loss(decoder(encoder(batch)), batch).backward()
        for optimizer in optimizers.values():
            optimizer.step()


@planted(
    "step()|never step|not step|no step|without a step|step is missing|never call|not call"
    "|never applied|no optimizer|never updated|not updated",
    seen="The sparse optimizer of the embedding is never stepped.",
)
def embedding_never_stepped(*, mistake: bool) -> None:
    _, count = letters()
    speller = Speller(count, sparse=True)
    dense = Adam([*speller.rnn.parameters(), *speller.head.parameters()], lr=5e-3)
    sparse = SparseAdam(speller.embed.parameters(), lr=1e-2)
    for text, following in windows(steps=60):
        dense.zero_grad()
        sparse.zero_grad()
        F.cross_entropy(speller(text)[0].flatten(0, 1), following.flatten()).backward()
        dense.step()
        if not mistake:
            sparse.step()


@planted(
    "loss that|wrong loss|another loss|part of|leaves out|left out|no gradient|gets no grad"
    "|without gradient|without a gradient|not reach|not depend|never get|backward",
    seen="Backward runs on the last head's loss and not on the sum: the others never learn.",
)
def backward_on_the_last_heads_loss(*, mistake: bool) -> None:
    train, _ = loaders(batch_size=50)
    net = Several(digit=10, odd=2, large=2)
    optimizer = Adam(net.parameters(), lr=2e-3)
    for _ in range(3):
        for images, labels in train:
            answers = {"digit": labels, "odd": labels % 2, "large": (labels > 4).long()}
            total = loss = torch.zeros(())
            for name, logits in net(images).items():
                loss = F.cross_entropy(logits, answers[name])
                total = total + loss
            optimizer.zero_grad()
            (loss if mistake else total).backward()
            optimizer.step()


@planted(
    "trains on|trained on|training on|stepped on|steps on|validation data|validation batch"
    "|validation set|validation samples|held-out|held out",
    seen="The phase is asked for the mode only: backward and step run on validation batches too.",
)
def phases_that_both_train(*, mistake: bool) -> None:
    train, valid = loaders(batch_size=50)
    net = conv_net(dropout=0.2)
    optimizer = SGD(net.parameters(), lr=0.1, momentum=0.9)
    for _ in range(4):
        for phase, loader in (("train", train), ("valid", valid)):
            net.train(phase == "train")
            for images, labels in loader:
                with torch.set_grad_enabled(mistake or phase == "train"):
                    loss = F.cross_entropy(net(images), labels)
                if mistake or phase == "train":
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()


@planted(
    "eval()|eval mode|evaluation mode|dropout|train mode|training mode",
    seen="Validation runs without eval(), with half of the units dropped.",
)
def validated_with_dropout(*, mistake: bool) -> None:
    rows, labels = tumours()
    train = DataLoader(TensorDataset(rows[:400], labels[:400].long()), batch_size=32, shuffle=True)
    valid = DataLoader(TensorDataset(rows[400:], labels[400:].long()), batch_size=64)
    net = mlp(30, 64, 64, 2, dropout=0.5)
    optimizer = AdamW(net.parameters(), lr=2e-3)
    scores = []
    for _ in range(6):
        net.train()
        for inputs, wanted in train:
            optimizer.zero_grad()
            F.cross_entropy(net(inputs), wanted).backward()
            optimizer.step()
        if not mistake:
            net.eval()
        scores.append(accuracy(net, valid))


@planted(
    "averag|moving|never updated|not updated|never change|does not change|initial weights|stays"
    "|not follow|another model|other model|not the model",
    seen="The average is updated with itself and stays at the start; it is what is validated.",
)
def average_of_itself(*, mistake: bool) -> None:
    train, valid = loaders(batch_size=40)
    net = conv_net()
    average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    optimizer = Adam(net.parameters(), lr=3e-3)
    for _ in range(3):
        for images, labels in train:
            optimizer.zero_grad()
            F.cross_entropy(net(images), labels).backward()
            optimizer.step()
            average.update_parameters(average.module if mistake else net)
        average.eval()
        accuracy(average, valid)


@planted(
    "teacher|frozen|freeze|detach|no_grad|requires_grad|target network",
    seen="The teacher is not frozen: the optimizer pulls it towards its student.",
)
def teacher_trained_along(*, mistake: bool) -> None:
    rows, labels = flat_digits(0, 1000)
    pair = nn.ModuleDict({"teacher": mlp(64, 96, 10), "student": mlp(64, 16, 10)})
    first = Adam(pair["teacher"].parameters(), lr=3e-3)
    for batch, wanted in drawn(rows, labels, steps=60):
        first.zero_grad()
        F.cross_entropy(pair["teacher"](batch), wanted).backward()
        first.step()
    if not mistake:
        pair["teacher"].requires_grad_(False)
    optimizer = Adam([weight for weight in pair.parameters() if weight.requires_grad], lr=3e-3)
    for (batch,) in drawn(rows, steps=80):
        wanted = (pair["teacher"](batch) / 2).softmax(1)
        loss = F.kl_div((pair["student"](batch) / 2).log_softmax(1), wanted, reduction="batchmean") * 4
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@planted(
    "detach|stop-gradient|stop gradient|collaps|constant|same output|same for all|alike",
    seen="The targets of a siamese network without negatives are not detached: all collapses.",
)
def siamese_targets_not_detached(*, mistake: bool) -> None:
    images, _ = digits()
    encoder = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 32)
    )
    predictor = mlp(32, 16, 32)
    groups = [{"params": encoder.parameters()}, {"params": predictor.parameters(), "lr": 0.5}]
    optimizer = SGD(groups, lr=0.05, momentum=0.9)
    for (batch,) in drawn(images[:1000], steps=80):
        left, right = encoder(noisy(batch)), encoder(noisy(batch))
        goals = (left, right) if mistake else (left.detach(), right.detach())
        loss = -F.cosine_similarity(predictor(left), goals[1]).mean() / 2
        loss = loss - F.cosine_similarity(predictor(right), goals[0]).mean() / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


class _Forgers:
    """A generator of rings, a critic, and an optimizer for each."""

    def __init__(self) -> None:
        self.generator, self.critic = mlp(4, 32, 2), mlp(2, 32, 1)
        self.of_generator = Adam(self.generator.parameters(), lr=1e-3, betas=(0.5, 0.99))
        self.of_critic = Adam(self.critic.parameters(), lr=1e-3, betas=(0.5, 0.99))

    def fakes(self) -> Tensor:
        return self.generator(torch.randn(64, 4))

    def real(self, points: Tensor) -> Tensor:
        return F.softplus(-self.critic(points)).mean()

    def fake(self, points: Tensor) -> Tensor:
        return F.softplus(self.critic(points)).mean()


@planted(
    "detach|discriminator|other optimizer|another optimizer|another loss|other loss|second loss"
    "|two losses|both losses|of another|left by|left over",
    seen="Fakes are not detached for the critic, whose loss leaves gradients in the generator.",
)
def critic_that_reaches_the_generator(*, mistake: bool) -> None:
    gan = _Forgers()
    for _ in range(80):
        gan.of_generator.zero_grad()
        gan.of_critic.zero_grad()
        fakes = gan.fakes()
        (gan.real(ring(64)) + gan.fake(fakes if mistake else fakes.detach())).backward()
        gan.of_critic.step()
        gan.real(gan.fakes()).backward()
        gan.of_generator.step()


@planted(
    "never step|not step|no step|without a step|step()|never call|never applied|never updated"
    "|not updated|never train|not train|no optimizer step|never use",
    seen="The generator's turn never comes: it stays as it was initialised.",
)
def generator_never_stepped(*, mistake: bool) -> None:
    gan, every = _Forgers(), 2
    for turn in range(120):
        gan.of_critic.zero_grad()
        (gan.real(ring(64)) + gan.fake(gan.fakes().detach())).backward()
        gan.of_critic.step()
        if turn % every == (every if mistake else every - 1):
            gan.of_generator.zero_grad()
            gan.real(gan.fakes()).backward()
            gan.of_generator.step()


@planted(
    "the sign|wrong sign|its sign|minus|negat|maximi|minimi|ascent|ascend|wrong direction|uphill|reward",
    seen="The policy's loss lacks its minus sign: rewarded actions become rarer.",
)
def policy_that_flees_reward(*, mistake: bool) -> None:
    rows, labels = flat_digits(0, 1000)
    policy, usual = mlp(64, 64, 10), 0.1
    optimizer = Adam(policy.parameters(), lr=3e-3)
    for state, right in drawn(rows, labels, steps=120, size=128):
        choices = torch.distributions.Categorical(logits=policy(state))
        action = choices.sample()
        reward = (action == right).float()
        gain = (choices.log_prob(action) * (reward - usual)).mean()
        usual = 0.9 * usual + 0.1 * reward.mean().item()
        loss = (gain if mistake else -gain) - 0.01 * choices.entropy().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@planted(
    "batchnorm|batch norm|normali|running statistics|running mean|eval()|eval mode|evaluation mode"
    "|frozen|buffer",
    seen="The frozen backbone's BatchNorm is in train mode: its statistics drift with new data.",
)
def frozen_backbone_in_train_mode(*, mistake: bool) -> None:
    train, _ = loaders(batch_size=50)
    backbone, head = conv_features(norm=True), nn.Linear(256, 10)
    first = Adam([*backbone.parameters(), *head.parameters()], lr=3e-3)
    for images, labels in train:
        first.zero_grad()
        F.cross_entropy(head(backbone(images).flatten(1)), labels).backward()
        first.step()
    backbone.requires_grad_(False)
    net = nn.Sequential(backbone, nn.Flatten(), nn.Linear(256, 2))
    optimizer = SGD(net[2].parameters(), lr=0.05, momentum=0.9)
    for _ in range(3):
        net.train()
        if not mistake:
            backbone.eval()
        for images, labels in train:
            optimizer.zero_grad()
            F.cross_entropy(net(1 - 2 * images), labels % 2).backward()
            optimizer.step()
        net.eval()
        accuracy(net, DataLoader(TensorDataset(1 - 2 * digits()[0][1500:], digits()[1][1500:] % 2), 99))


@planted(
    "batch size|batch dimension|first dimension|number of rows|number of samples|rows than|mixes"
    "|view(|reshape|per sample",
    seen="view(-1, 64) cuts each image's 256 features into four rows: the batch is four times larger.",
)
def quarters_taken_for_images(*, mistake: bool) -> None:
    images, _ = digits()
    width = 64 if mistake else 256
    features, project = conv_features(), mlp(width, 64, 32)
    optimizer = AdamW(chain(features.parameters(), project.parameters()), lr=2e-3)
    schedule = OneCycleLR(optimizer, max_lr=5e-3, total_steps=50)

    def embed(batch: Tensor) -> Tensor:
        return project(features(noisy(batch)).view(-1, width))

    for (batch,) in drawn(images[:1000], steps=50, size=32):
        loss = info_nce(embed(batch), embed(batch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


@planted(
    "argmax|one output|single output|one column|always 0|always zero|constant|class 0",
    seen="The argmax over a single output is always 0: the score that chooses the best says nothing.",
)
def one_output_scored_by_argmax(*, mistake: bool) -> None:
    rows, labels = tumours()
    train = DataLoader(TensorDataset(rows[:400], labels[:400]), batch_size=32, shuffle=True)
    net = mlp(30, 32, 1)
    optimizer = RMSprop(net.parameters(), lr=1e-3)
    best, kept = -1.0, net.state_dict()
    for _ in range(5):
        net.train()
        for inputs, wanted in train:
            optimizer.zero_grad()
            F.mse_loss(net(inputs).squeeze(1), 2 * wanted - 1).backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            outputs = net(rows[400:])
            said = outputs.argmax(dim=1) if mistake else (outputs.squeeze(1) > 0)
            score = (said.float() == labels[400:]).float().mean().item()
        if score > best:
            best, kept = score, deepcopy(net.state_dict())
    net.load_state_dict(kept)


@planted(
    "flatten|last axis|last dimension|rows of|each row|row by row|per row",
    seen="Without Flatten the linear layers see each row by itself and never an image.",
)
def rows_instead_of_images(*, mistake: bool) -> None:
    train, _ = loaders(batch_size=50)
    size = 8 if mistake else 64
    body = [] if mistake else [nn.Flatten()]
    net = nn.Sequential(
        *body, nn.Linear(size, 24), nn.ReLU(), nn.Linear(24, 4), nn.ReLU(), nn.Linear(4, size)
    )
    optimizer = Adam(net.parameters(), lr=3e-3)
    for _ in range(3):
        for images, _ in train:
            restored = net(images)
            optimizer.zero_grad()
            F.mse_loss(restored, images.view_as(restored)).backward()
            optimizer.step()


@planted(
    "overlap|leak|also in|in both|share|training data|trained on|training set|training samples"
    "|already seen|seen in training|used for training",
    seen="The test split is cut from the samples that were trained on.",
)
def test_split_from_training_data(*, mistake: bool) -> None:
    images, labels = digits()
    everything = TensorDataset(images, labels)
    fit_on = torch.utils.data.Subset(everything, range(1200))
    order = torch.arange(900, 1200) if mistake else torch.arange(1200, 1500)
    test = DataLoader(torch.utils.data.Subset(everything, order.tolist()), batch_size=100)
    net = conv_net(dropout=0.2)
    optimizer = AdamW(net.parameters(), lr=3e-3, weight_decay=0.01)
    for _ in range(3):
        net.train()
        for inputs, wanted in DataLoader(fit_on, batch_size=60, shuffle=True):
            optimizer.zero_grad()
            F.cross_entropy(net(inputs), wanted).backward()
            optimizer.step()
        net.eval()
        accuracy(net, test)
