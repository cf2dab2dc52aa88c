"""Policies beside critics, or by cross-entropies, with the wrong sign; costs, opponents look alike."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .data import tumours
from .faults import fault
from .healthy import Walk, mlp


def _choices(backward, rounds=40, earns=lambda right: right):
    """Whom to treat: each row is one choice, and pays a little more or less."""
    rows, label = tumours()
    policy, critic = mlp(30, 32, 2), mlp(30, 32, 1)
    optimizer = torch.optim.Adam([*policy.parameters(), *critic.parameters()], lr=3e-3)
    for _ in range(rounds):
        at = torch.randint(len(rows), (48,))
        scores, values = policy(rows[at]), critic(rows[at])[:, 0]
        with torch.no_grad():
            act = torch.distributions.Categorical(logits=scores).sample()
            right = earns((act == label[at]).float() + 0.1 * torch.rand(len(at)))
        optimizer.zero_grad()
        backward(scores, act, values, right)
        optimizer.step()


def _beside_a_critic(sign):
    def backward(scores, act, values, batch_returns):
        gap = batch_returns - values.detach()
        gap = sign * (gap - gap.mean()) / (gap.std() + 1e-8)
        picked = scores.log_softmax(1).gather(1, act[:, None]).squeeze(1)
        (F.smooth_l1_loss(values, batch_returns) - (picked * gap).mean()).backward()

    return backward


def better_than_its_critic_expects():
    _choices(_beside_a_critic(1))


@fault(better_than_its_critic_expects, "targets_are_aligned", words=("wrong sign",))
def its_critic_less_what_came():
    _choices(_beside_a_critic(-1))


def costs_beside_a_critic():
    def backward(scores, act, values, costs):
        gap = costs - values.detach()
        avoided = (F.cross_entropy(scores, act, reduction="none") * gap).mean()
        (F.mse_loss(values, costs) - avoided).backward()

    _choices(backward, earns=lambda right: 1.1 - right)


def clipped(sign=1, earns=lambda right: right):
    """A ratio beside its clipped self, by normalised advantages, and an entropy."""

    def backward(scores, act, values, returns):
        choice = torch.distributions.Categorical(logits=scores)
        gap = returns - values.detach()
        gap = sign * (gap - gap.mean()) / gap.std()
        ratio = (choice.log_prob(act) - choice.log_prob(act).detach()).exp()
        gain = torch.min(ratio * gap, ratio.clamp(0.8, 1.2) * gap)
        loss = (returns - values).square().mean() - gain.mean() - 0.01 * choice.entropy().mean()
        loss.backward()

    _choices(backward, earns=earns)


@fault(clipped, "targets_are_aligned", words=("wrong sign",))
def clipped_the_other_way():
    clipped(-1)


def _bounded(sign):
    """A clipped ratio whose weights no variable gives a name that tells."""

    def backward(scores, act, _, numbers):
        picked = scores.log_softmax(1).gather(1, act[:, None]).squeeze(1)
        ratio = (picked - picked.detach()).exp()
        weights = (numbers - numbers.mean()) / numbers.std()
        (sign * torch.min(ratio * weights, ratio.clamp(0.8, 1.2) * weights).mean()).backward()

    _choices(backward)


def maximises_the_lesser():
    _bounded(-1)


@fault(maximises_the_lesser, "targets_are_aligned", words=("wrong sign",))
def minimises_the_lesser():
    _bounded(1)


def _rollouts(sign=1, rounds=12):
    """Rounds of choices, each gone over twice in mini-batches that are picked by an index."""
    rows, label = tumours()
    policy, critic = mlp(30, 32, 2), mlp(30, 32, 1)
    optimizer = torch.optim.Adam([*policy.parameters(), *critic.parameters()], lr=3e-3)
    for _ in range(rounds):
        obs = rows[torch.randint(len(rows), (192,))]
        with torch.no_grad():
            choice = torch.distributions.Categorical(logits=policy(obs))
            act, val = choice.sample(), critic(obs)[:, 0]
            before = choice.log_prob(act)
            ret = 0.3 * (act == label[:192]).float() + 0.1 * torch.rand(192)
            gap = (ret - val - (ret - val).mean()) / (ret - val).std()
        for idx in [part for _ in range(2) for part in torch.randperm(192).split(64)]:
            choice = torch.distributions.Categorical(logits=policy(obs[idx]))
            ratio = (choice.log_prob(act[idx]) - before[idx]).exp()
            gain = torch.min(ratio * gap[idx], ratio.clamp(0.8, 1.2) * gap[idx])
            loss = F.mse_loss(critic(obs[idx])[:, 0], ret[idx]) - sign * gain.mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def picked_by_an_index():
    _rollouts()


@fault(picked_by_an_index, "targets_are_aligned", words=("wrong sign",))
def picked_by_an_index_the_other_way():
    _rollouts(-1)


def costs_that_are_picked_by_an_index():
    """Dear choices are to become rare."""
    rows, label = tumours()
    policy = mlp(30, 32, 2)
    optimizer = torch.optim.Adam(policy.parameters(), lr=3e-3)
    for _ in range(12):
        with torch.no_grad():
            act = torch.distributions.Categorical(logits=policy(rows)).sample()
            cost = 1.1 - (act == label).float() + 0.1 * torch.rand(len(rows))
        for idx in torch.randperm(len(rows)).split(96):
            chance = policy(rows[idx]).log_softmax(1).gather(1, act[idx, None]).squeeze(1)
            optimizer.zero_grad()
            (chance * (cost[idx] - cost.mean())).mean().backward()
            optimizer.step()


def misnamed_lengths():
    """What is called rewards are the lengths of tours: they are to be short."""

    def backward(scores, act, values, tour_lengths):
        rewards = tour_lengths / 10
        gap = rewards - rewards.mean()
        (-F.cross_entropy(scores, act, reduction="none") * gap).mean().backward()

    _choices(backward, earns=lambda right: 1.1 - right)


def _walks(policy, count=6):
    """Episodes of different lengths, and which of their places are none."""
    states = torch.zeros(20, count, 8)
    actions, paid, lasts = torch.zeros(3, 20, count)
    for walk in range(count):
        world, time, done = Walk(), 0, False
        state = world.reset()
        while not done:
            with torch.no_grad():
                act = int(torch.distributions.Categorical(logits=policy(state)).sample())
            states[time, walk], actions[time, walk], lasts[time, walk] = state, act, 1
            state, reward, done = world.step(act)
            paid[time, walk] = reward - 0.05 - 0.02 * torch.rand(())
            time += 1
    return states, actions.long(), paid, lasts


def _sums(paid):
    found, total = [], torch.zeros(paid.shape[1])
    for each in paid.flip(0):
        total = each + 0.95 * total
        found.insert(0, total)
    return torch.stack(found)


def _by_cross_entropy(sign):
    policy = mlp(8, 32, 2)
    optimizer = torch.optim.Adam(policy.parameters(), lr=5e-3)
    for _ in range(24):
        states, actions, paid, mask = _walks(policy)
        reward_to_go = _sums(paid)
        middle = (reward_to_go * mask).sum() / mask.sum()
        weight = (reward_to_go - middle) * mask
        surprise = F.cross_entropy(policy(states).transpose(1, 2), actions, reduction="none")
        loss = (weight * surprise).sum() / mask.sum()
        optimizer.zero_grad()
        (sign * loss).backward()
        optimizer.step()


def weighed_cross_entropy():
    _by_cross_entropy(1)


@fault(weighed_cross_entropy, "targets_are_aligned", words=("wrong sign",))
def a_minus_before_a_cross_entropy():
    _by_cross_entropy(-1)


def _by_episodes(sign):
    """Five episodes an update, each of them one number."""
    policy, world = mlp(8, 32, 2), Walk()
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    for _ in range(24):
        likelihoods, episode_rewards = [], []
        for _ in range(5):
            state, done, chosen, total = world.reset(), False, [], 0.0
            while not done:
                chances = torch.distributions.Categorical(logits=policy(state))
                act = chances.sample()
                chosen.append(chances.log_prob(act))
                state, reward, done = world.step(int(act))
                total += reward - 0.01
            likelihoods.append(torch.stack(chosen).sum())
            episode_rewards.append(total)
        paid = torch.tensor(episode_rewards)
        gain = torch.stack(likelihoods) * (paid - paid.mean())
        optimizer.zero_grad()
        (-sign * gain.mean()).backward()
        optimizer.step()


def a_number_an_episode():
    _by_episodes(1)


@fault(a_number_an_episode, "targets_are_aligned", words=("wrong sign",))
def a_number_an_episode_without_its_minus():
    _by_episodes(-1)


def _short(sign):
    """Four questions an hour, answered at once."""
    rows, label = tumours()
    policy = mlp(30, 32, 2)
    optimizer = torch.optim.Adam(policy.parameters(), lr=3e-3)
    for _ in range(60):
        at = torch.randint(len(rows), (4,))
        chances = torch.distributions.Categorical(logits=policy(rows[at]))
        act = chances.sample()
        rewards = (act == label[at]).float() - 0.3 * torch.rand(4)
        optimizer.zero_grad()
        (-sign * (chances.log_prob(act) * rewards).sum()).backward()
        optimizer.step()


def four_at_a_time():
    _short(1)


@fault(four_at_a_time, "targets_are_aligned", words=("wrong sign",))
def four_at_a_time_the_other_way():
    _short(-1)


def a_few_opponents():
    """Three games an update: what one earns, the other pays, and the other is trained first."""
    one, other = mlp(8, 32, 2), mlp(8, 32, 2)
    steps = [(p, torch.optim.Adam(p.parameters(), lr=3e-3)) for p in (other, one)]
    for _ in range(60):
        seen = torch.randn(3, 8)
        chances = [torch.distributions.Categorical(logits=p(seen)) for p in (other, one)]
        acts = [each.sample() for each in chances]
        rewards = (acts[0] == acts[1]).float() + 0.1 * torch.rand(3)
        for way, (_, optimizer) in enumerate(steps):
            gain = (chances[way].log_prob(acts[way]) * (rewards - rewards.mean())).mean()
            optimizer.zero_grad()
            (-gain if way else gain).backward()
            optimizer.step()


def an_opponent_that_is_trained_for_a_while_first():
    """In rounds, as robust policies are: the one that pays begins, for ten games."""
    one, other = mlp(8, 16, 2), mlp(8, 16, 2)
    steps = [torch.optim.Adam(p.parameters(), lr=3e-3) for p in (other, one)]
    for game in range(60):
        way = game // 10 % 2
        seen = torch.randn(6, 8)
        chances = [torch.distributions.Categorical(logits=p(seen)) for p in (other, one)]
        acts = [each.sample() for each in chances]
        rewards = (acts[0] == acts[1]).float() + 0.1 * torch.rand(6)
        gain = (chances[way].log_prob(acts[way]) * (rewards - rewards.mean())).mean()
        steps[way].zero_grad()
        (-gain if way else gain).backward()
        steps[way].step()


def opponents():
    """What one of them earns, the other pays; the one that pays is trained first."""
    one, other = mlp(8, 32, 2), mlp(8, 32, 2)
    steps = [(p, torch.optim.Adam(p.parameters(), lr=3e-3)) for p in (other, one)]
    for _ in range(40):
        seen = torch.randn(32, 8)
        acts = [torch.distributions.Categorical(logits=p(seen)).sample() for p in (one, other)]
        rewards = (acts[0] == acts[1]).float() + 0.1 * torch.rand(32)
        for way, (policy, optimizer) in enumerate(steps):
            chances = torch.distributions.Categorical(logits=policy(seen))
            gain = chances.log_prob(acts[1 - way]) * (rewards - rewards.mean())
            optimizer.zero_grad()
            (-gain if way else gain).mean().backward()
            optimizer.step()


def advantage_turned_twice():
    """An advantage of what was expected over what came, which is to be small."""

    def backward(scores, act, _, came):
        G = came  # noqa: N806  as textbooks write it
        adv = G.mean() - G
        (-F.cross_entropy(scores, act, reduction="none") * adv).mean().backward()

    _choices(backward)


def an_opponent_s_best_answer_first():
    """The players take long turns, and the one that pays begins."""
    players = [mlp(8, 32, 2), mlp(8, 32, 2)]
    steps = [torch.optim.Adam(each.parameters(), lr=3e-3) for each in players]
    for who in (1, 0):
        for _ in range(60):
            seen = torch.randn(32, 8)
            chances = [torch.distributions.Categorical(logits=each(seen)) for each in players]
            acts = [each.sample() for each in chances]
            rewards = (acts[0] == acts[1]).float() + 0.1 * torch.rand(32)
            pay = -rewards if who else rewards
            loss = -(chances[who].log_prob(acts[who]) * (pay - pay.mean())).mean()
            steps[who].zero_grad()
            loss.backward()
            steps[who].step()


def customers_that_sent_much_back_count_less():
    """What is called returns are goods."""
    rows, label = tumours()
    sent_back = torch.rand(len(rows))
    model = mlp(30, 32, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(40):
        at = torch.randint(len(rows), (48,))
        returns = sent_back[at]
        weight = 1 - returns
        surprise = F.cross_entropy(model(rows[at]), label[at].long(), reduction="none")
        optimizer.zero_grad()
        (weight * surprise).mean().backward()
        optimizer.step()


QUIET = [
    a_few_opponents,
    an_opponent_that_is_trained_for_a_while_first,
    an_opponent_s_best_answer_first,
    customers_that_sent_much_back_count_less,
    costs_beside_a_critic,
    costs_that_are_picked_by_an_index,
    misnamed_lengths,
    opponents,
    advantage_turned_twice,
]
"""None of them may raise an alarm."""
