"""Models whose mode makes no difference: what they are asked without eval() may be a validation."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .data import tumours
from .faults import fault
from .healthy import mlp


def _parted(again):
    rows, labels = tumours()

    def part(seed):
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
        return order[:400], order[400:]

    fitted, test = part(3)[0], part(4 if again else 3)[1]
    model = mlp(30, 24, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(8):
        for idx in fitted[torch.randperm(400)].split(20):
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(model(rows[idx])[:, 0], labels[idx]).backward()
            optimizer.step()
    with torch.no_grad():
        return float(((model(rows[test])[:, 0] > 0) == labels[test]).float().mean())


def drawn_once():
    _parted(again=False)


@fault(drawn_once, "validation_is_untouched", words=("trained on its validation data",))
def drawn_again_with_another_seed():
    _parted(again=True)


def rollouts_of_few_states():
    """Agents meet the same states again and again: what they are asked is no validation."""
    places = torch.eye(40)
    policy = mlp(40, 32, 2)
    optimizer = torch.optim.Adam(policy.parameters(), lr=3e-3)
    for _ in range(20):
        at, met, did, came = torch.randint(40, (16,)), [], [], []
        for _ in range(10):
            with torch.no_grad():
                way = torch.distributions.Categorical(logits=policy(places[at])).sample()
            met, did = [*met, at], [*did, way]
            at = (at + 2 * way - 1).clamp(0, 39)
            came.append((at == 39).float())
        told = (torch.stack(came).flip(0).cumsum(0).flip(0)).flatten()
        for idx in torch.randperm(160).split(40):
            chance = policy(places[torch.cat(met)[idx]]).log_softmax(1)
            picked = chance.gather(1, torch.cat(did)[idx, None])[:, 0]
            optimizer.zero_grad()
            (-(picked * (told[idx] - told.mean())).mean()).backward()
            optimizer.step()


def a_part_of_the_training_data_is_watched():
    """Nothing is held out: how a part of the training data is learned is printed now and then."""
    rows, labels = tumours()
    model = mlp(30, 24, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    seen = []
    for _ in range(10):
        model.train()
        for idx in torch.randperm(len(rows)).split(20):
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(model(rows[idx])[:, 0], labels[idx]).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            seen.append(((model(rows[:120])[:, 0] > 0) == labels[:120]).float().mean())


QUIET = [rollouts_of_few_states, a_part_of_the_training_data_is_watched]
