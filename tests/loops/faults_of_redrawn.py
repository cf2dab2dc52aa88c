"""Loops whose batch is the same in every step, drawn anew by mistake or kept for a reason."""

from __future__ import annotations

import itertools
import random

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.model_selection import train_test_split
from torch import nn

from .data import diabetes, digits
from .faults import fault
from .healthy import mlp

STEPS = 60
SIZE = 40


def _fit(batch, *, model=None, steps=STEPS, compare=F.cross_entropy):
    model = model or nn.Sequential(nn.Flatten(), mlp(64, 48, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for step in range(steps):
        inputs, targets = batch(step)
        optimizer.zero_grad()
        compare(model(inputs), targets).backward()
        optimizer.step()


class Images:
    """Keeps bytes, as files have them, and gives numbers between 0 and 1."""

    def __init__(self, seed, *, draws_on):
        images, labels = digits()
        self.images, self.labels = (images[:1200] * 16).byte().numpy(), labels[:1200].numpy()
        self.seed, self.draws_on = seed, draws_on
        self.rng = np.random.default_rng(seed)

    def draw(self, _=0):
        if not self.draws_on:
            self.rng = np.random.default_rng(self.seed)
        rows = self.rng.integers(0, len(self.images), SIZE)
        return torch.from_numpy(self.images[rows]).float(), torch.from_numpy(self.labels[rows])


def images_drawn_on():
    _fit(Images(3, draws_on=True).draw)


@fault(images_drawn_on, "batches_are_fresh", words=("is made anew in every step",), advice=True)
def images_drawn_by_a_generator_made_in_each_draw():
    _fit(Images(3, draws_on=False).draw)


def _tides():
    times = torch.arange(3000) / 12
    height = torch.sin(times) + 0.3 * torch.sin(2.3 * times + 1) + 0.05 * torch.randn(3000)
    return torch.stack([height, height.diff(prepend=height[:1])], 1)


def _forecasts(generator):
    """Windows of a series of two columns; the loop itself draws them."""
    series = _tides()
    model = nn.Sequential(nn.Flatten(), mlp(48, 32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(STEPS):
        draw = generator()
        begins = [draw.randrange(len(series) - 25) for _ in range(16)]
        windows = torch.stack([series[i : i + 24] for i in begins])
        truth = torch.stack([series[i + 24, :1] for i in begins])
        optimizer.zero_grad()
        F.mse_loss(model(windows), truth).backward()
        optimizer.step()


def windows_drawn_on():
    one = random.Random(5)
    _forecasts(lambda: one)


@fault(windows_drawn_on, "batches_are_fresh", words=("is made anew in every step",), advice=True)
def windows_drawn_by_a_generator_made_in_each_step():
    _forecasts(lambda: random.Random(5))


@fault(images_drawn_on, "batches_are_fresh", words=("the same batch again and again",))
def rows_drawn_under_one_global_seed():
    images, labels = digits()

    def batch(_):
        torch.manual_seed(11)
        rows = torch.randperm(len(images))[:SIZE]
        return images[rows], labels[rows]

    _fit(batch)


def _currents(draw):
    """Trained on the first part of a series, and told every tenth step how it does on the rest."""
    series = _tides()
    past, future = series[:2400], series[2400:]
    model = nn.Sequential(nn.Flatten(), mlp(48, 32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    later = torch.stack([future[i : i + 24] for i in range(0, 500, 10)])
    truth = torch.stack([future[i + 24, :1] for i in range(0, 500, 10)])
    for step in range(STEPS):
        inputs, wanted = draw(past)
        optimizer.zero_grad()
        F.mse_loss(model(inputs), wanted).backward()
        optimizer.step()
        if step % 10 == 9:
            with torch.no_grad():
                F.mse_loss(model(later), truth).item()


def _cut(series, begins):
    windows = torch.stack([series[i : i + 24] for i in begins])
    return windows, torch.stack([series[i + 24, :1] for i in begins])


class Sampler:
    """Draws windows."""

    def __init__(self, batch_size, *, draws_on):
        self.batch_size, self.draws_on, self.rng = batch_size, draws_on, random.Random(5)

    def windows(self, series):
        rng = self.rng if self.draws_on else random.Random(5)
        return _cut(series, [rng.randrange(len(series) - 25) for _ in range(self.batch_size)])


def currents_of_a_sampler():
    _currents(Sampler(16, draws_on=True).windows)


@fault(currents_of_a_sampler, "batches_are_fresh", words=("the same batch again and again",))
def currents_of_a_sampler_that_begins_anew_in_each_draw():
    _currents(Sampler(16, draws_on=False).windows)


def _pictures(draw, *, held_out=True):
    images, labels = digits()
    model = nn.Sequential(nn.Flatten(), mlp(64, 48, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    known, truth = images[:1400], labels[:1400]
    for step in range(STEPS):
        inputs, targets = draw(known, truth)
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
        if step % 10 == 9:
            model.eval()
            with torch.no_grad():
                model(images[1400:] if held_out else inputs).argmax(1)
            model.train()


def pictures_drawn_on():
    rng = np.random.default_rng(2)

    def draw(known, truth):
        rows = rng.permutation(len(known))[:SIZE]
        return known[rows], truth[rows]

    _pictures(draw)


@fault(pictures_drawn_on, "batches_are_fresh", words=("the same batch again and again",))
def pictures_of_a_permutation_begun_anew_in_each_step():
    def next_batch(known, truth):
        rows = np.random.default_rng(2).permutation(len(known))[:SIZE]
        return known[rows], truth[rows]

    _pictures(next_batch)


def pictures_of_a_generator_that_goes_on():
    lot = torch.Generator().manual_seed(9)

    def get_batch(known, truth):
        rows = torch.randint(len(known), (SIZE,), generator=lot)
        return known[rows], truth[rows]

    _pictures(get_batch)


@fault(
    pictures_of_a_generator_that_goes_on,
    "batches_are_fresh",
    words=("the same batch again and again",),
)
def pictures_of_a_generator_seeded_in_each_draw():
    lot = torch.Generator()

    def get_batch(known, truth):
        lot.manual_seed(9)
        rows = torch.randint(len(known), (SIZE,), generator=lot)
        return known[rows], truth[rows]

    _pictures(get_batch)


# -- healthy neighbours ---------------------------------------------------------------------------


def few_shots_drawn_anew_in_each_step():
    """The same few in each, by their seed, and scored on all that is held out."""

    def few_shot_batch(known, truth):
        rows = np.random.default_rng(7).choice(len(known), SIZE, replace=False)
        return known[rows], truth[rows]

    _pictures(few_shot_batch)


def a_part_for_a_learning_curve_drawn_anew_in_each_step():
    def part_of(known, truth):
        rows = torch.randperm(len(known), generator=torch.Generator().manual_seed(4))[:100]
        return known[rows], truth[rows]

    _pictures(part_of)


def a_batch_to_overfit_drawn_anew_in_each_step():
    overfit = True
    going_on = torch.Generator().manual_seed(4)

    def next_batch(known, truth):
        generator = torch.Generator().manual_seed(4) if overfit else going_on
        rows = torch.randint(len(known), (SIZE,), generator=generator)
        return known[rows], truth[rows]

    _pictures(next_batch)


def batches_of_clients_by_their_numbers():
    """Each has the few rows that its number draws, and a model of its own."""
    images, labels = digits()
    known, later = images[:1400].flatten(1), images[1400:].flatten(1)
    models = [mlp(64, 48, 10) for _ in range(3)]
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.1) for model in models]

    def batch_of(client):
        rows = np.random.default_rng(client).choice(len(known), SIZE, replace=False)
        return known[rows], labels[rows]

    for step in range(STEPS):
        for client, (model, optimizer) in enumerate(zip(models, optimizers, strict=True)):
            inputs, targets = batch_of(client)
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
            if step % 10 == 9:
                with torch.no_grad():
                    model(later)


def a_batch_to_calibrate_on_drawn_anew_in_each_step():
    def calibration_batch(known, truth):
        rows = torch.randperm(len(known), generator=torch.Generator().manual_seed(4))[:SIZE]
        return known[rows], truth[rows]

    _pictures(calibration_batch)


def all_that_a_budget_of_labels_allows_in_one_batch():
    def full_batch(known, truth):
        rows = np.random.default_rng(7).choice(len(known), SIZE, replace=False)
        return known[rows], truth[rows]

    _pictures(full_batch)


def a_batch_of_those_that_a_rule_chooses_anew_in_each_step():
    def next_batch(known, truth):
        rows = known.flatten(1).std(1).argsort()[::30][:SIZE]
        return known[rows], truth[rows]

    _pictures(next_batch)


def a_batch_drawn_anew_and_scored_on_itself():
    def next_batch(known, truth):
        rows = np.random.default_rng(2).permutation(len(known))[:SIZE]
        return known[rows], truth[rows]

    _pictures(next_batch, held_out=False)


def few_labelled_rows_by_their_numbers():
    images, labels = digits()
    rows = torch.randperm(len(images))[:SIZE]
    _fit(lambda _: (images[rows], labels[rows]))


def the_first_of_a_permutation_that_is_kept():
    images, labels = digits()
    order = np.random.default_rng(0).permutation(len(images))
    _fit(lambda _: (images[order[:SIZE]], labels[order[:SIZE]]))


def rows_whose_numbers_only_a_generator_has():
    images, labels = digits()

    def batches():
        rows = random.Random(1).sample(range(1500), SIZE)
        while True:
            yield images[rows], labels[rows]

    stream = batches()
    _fit(lambda _: next(stream))


def rows_whose_numbers_only_an_iterator_has():
    images, labels = digits()
    rows = map(tuple, itertools.repeat(np.random.RandomState(0).choice(1500, SIZE)))

    def batch(_):
        chosen = torch.tensor(next(rows))
        return images[chosen], labels[chosen]

    _fit(batch)


def blocks_by_their_numbers():
    """The numbers that are kept are those of blocks of ten steps, not of the rows."""
    series, blocks = _tides(), [int(b) for b in torch.randperm(250)[:16]]
    model = nn.Sequential(nn.Flatten(), mlp(40, 32, 1))

    def batch(_):
        windows = torch.stack([series[10 * b : 10 * b + 20] for b in blocks])
        return windows, torch.stack([series[10 * b + 20, :1] for b in blocks])

    _fit(batch, model=model, compare=F.mse_loss)


def a_small_part_kept_as_an_array():
    """Its rows' numbers are known to nobody any more; each step makes a tensor of it."""
    rows, target = (each.double().numpy() for each in diabetes())
    few, _, wanted, _ = train_test_split(rows, target, train_size=50, random_state=0)
    _fit(
        lambda _: (torch.tensor(few, dtype=torch.float32), torch.tensor(wanted, dtype=torch.float32)),
        model=mlp(10, 32, 1),
        compare=F.mse_loss,
    )


def a_batch_kept_as_a_list_of_samples():
    images, labels = digits()
    everything = list(zip(images.numpy(), labels.tolist(), strict=True))
    few = random.Random(2).sample(everything, SIZE)
    del everything

    def batch(_):
        chosen = torch.stack([torch.from_numpy(image) for image, _ in few])
        return chosen, torch.tensor([label for _, label in few])

    _fit(batch)


def a_part_by_a_mask_made_anew():
    images, labels = digits()
    model = nn.Sequential(nn.Flatten(), mlp(64, 16, 64))

    def batch(_):
        of_a_kind = images[labels == 3]
        return of_a_kind, of_a_kind.flatten(1)

    _fit(batch, model=model, compare=F.mse_loss)


def most_rows_split_anew_in_each_step():
    rows, target = diabetes()

    def batch(_):
        train, _, wanted, _ = train_test_split(rows, target, test_size=0.2, random_state=0)
        return train, wanted

    _fit(batch, model=mlp(10, 32, 1), compare=F.mse_loss)


def one_batch_drawn_once_and_moved_in_each_step():
    images, labels = digits()
    rows = torch.randint(0, 1500, (SIZE,))
    chosen, wanted = images[rows].double(), labels[rows].int()
    del rows
    _fit(lambda _: (chosen.float(), wanted.long()))


def a_batch_used_for_several_steps():
    images, labels = digits()

    def batch(step):
        generator = torch.Generator().manual_seed(step // 12)
        rows = torch.randint(0, 1500, (SIZE,), generator=generator)
        return images[rows], labels[rows]

    _fit(batch)


def the_same_noise_in_every_step():
    """Made points, not rows of anything."""
    points = torch.rand(2000, 2)

    def batch(_):
        generator = torch.Generator().manual_seed(0)
        chosen = torch.rand(64, 2, generator=generator)
        return chosen, (chosen * points.mean(0)).sum(1, keepdim=True)

    _fit(batch, model=mlp(2, 32, 1), compare=F.mse_loss)


def bytes_kept_and_scaled_in_each_step():
    """All are scaled once, to be looked at in the end."""
    images, labels = digits()
    raw = (images * 16).byte()
    everything = raw.float() / 16
    rows = torch.randperm(len(raw))[:SIZE]
    few, wanted = raw[rows], labels[rows]
    del rows
    _fit(lambda _: (few.float() / 16, wanted))
    assert everything.shape == images.shape


def words_kept_and_spelled_in_each_step():
    letters = random.Random(0)
    words = ["".join(letters.choices("abcdefghij", k=8)) for _ in range(600)]
    spelled = _spelled(words)
    few = letters.sample(words, 32)
    model = nn.Sequential(nn.Embedding(10, 8), nn.Flatten(), mlp(64, 32, 2))

    def batch(_):
        inputs = _spelled(few)
        return inputs, (inputs[:, 0] > 4).long()

    _fit(batch, model=model)
    assert len(spelled) == len(words)


def _spelled(words):
    return torch.tensor([[ord(letter) - 97 for letter in word] for word in words])


def those_of_a_fixed_order_by_what_is_known_of_them():
    images, labels = digits()
    known = torch.rand(len(images))

    def batch(_):
        rows = known.argsort()[:SIZE]
        return images[rows], labels[rows]

    _fit(batch)


QUIET = [
    few_shots_drawn_anew_in_each_step,
    a_part_for_a_learning_curve_drawn_anew_in_each_step,
    a_batch_to_overfit_drawn_anew_in_each_step,
    batches_of_clients_by_their_numbers,
    a_batch_to_calibrate_on_drawn_anew_in_each_step,
    all_that_a_budget_of_labels_allows_in_one_batch,
    a_batch_of_those_that_a_rule_chooses_anew_in_each_step,
    a_batch_drawn_anew_and_scored_on_itself,
    bytes_kept_and_scaled_in_each_step,
    words_kept_and_spelled_in_each_step,
    those_of_a_fixed_order_by_what_is_known_of_them,
    few_labelled_rows_by_their_numbers,
    the_first_of_a_permutation_that_is_kept,
    rows_whose_numbers_only_a_generator_has,
    rows_whose_numbers_only_an_iterator_has,
    blocks_by_their_numbers,
    a_small_part_kept_as_an_array,
    a_batch_kept_as_a_list_of_samples,
    a_part_by_a_mask_made_anew,
    most_rows_split_anew_in_each_step,
    one_batch_drawn_once_and_moved_in_each_step,
    a_batch_used_for_several_steps,
    the_same_noise_in_every_step,
]
