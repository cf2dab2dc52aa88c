"""Healthy loops, in the shapes in which people write them. None of them may raise an alarm."""

from __future__ import annotations

import copy
from itertools import cycle, islice

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel, update_bn
from torch.utils.data import DataLoader, Subset, TensorDataset

from .data import diabetes, digits, loaders, tumours


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.bn = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1)
        self.dropout = nn.Dropout(0.25)
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc(self.dropout(x.flatten(1)))


def mlp(*sizes, dropout=0.0):
    layers = []
    for a, b in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(a, b), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers[:-2])


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    right = total = 0
    for x, y in loader:
        right += (model(x).argmax(1) == y).sum().item()
        total += len(y)
    return right / total


def mnist(epochs=2):
    train, test = loaders()
    model = Net()
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
    for _ in range(epochs):
        model.train()
        for data, target in train:
            optimizer.zero_grad()
            loss = F.nll_loss(F.log_softmax(model(data), dim=1), target)
            loss.backward()
            optimizer.step()
        evaluate(model, test)
        scheduler.step()


def tuple_of_tensors_by_hand():
    rows, labels = tumours()
    model = mlp(30, 16, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):
        for i in torch.randperm(512).split(32):
            model.zero_grad(set_to_none=False)
            F.binary_cross_entropy_with_logits(model(rows[i]).squeeze(1), labels[i]).backward()
            optimizer.step()


def full_batch():
    rows, target = diabetes()
    model = mlp(10, 32, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        loss = F.mse_loss(model(rows), target)
        loss.backward()
        optimizer.step()


def accumulation():
    train, _ = loaders(16)
    model = Net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    optimizer.zero_grad()
    for i, (x, y) in enumerate(train):
        loss = F.cross_entropy(model(x), y) / 4
        loss.backward()
        if (i + 1) % 4 == 0:
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)


def mixed_precision_with_scaler():
    train, test = loaders()
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for _ in range(2):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = F.cross_entropy(model(x), y)
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            scaler.step(optimizer)
            scaler.update()
        evaluate(model, test)


def nanogpt_style():
    text = (F.__doc__ or "") + (nn.Module.__doc__ or "") * 4 + (torch.nn.Linear.__doc__ or "") * 4
    data = torch.tensor(list(text.encode("ascii", "ignore")))

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.wte, self.wpe = nn.Embedding(128, 32), nn.Embedding(16, 32)
            layer = nn.TransformerEncoderLayer(32, 2, 64, 0.1, batch_first=True, norm_first=True)
            self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.head = nn.Linear(32, 128, bias=False)
            self.head.weight = self.wte.weight

        def forward(self, idx, targets=None):
            mask = nn.Transformer.generate_square_subsequent_mask(idx.shape[1])
            x = self.wte(idx) + self.wpe(torch.arange(idx.shape[1]))
            logits = self.head(self.blocks(x, mask=mask, is_causal=True))
            loss = None if targets is None else F.cross_entropy(logits.flatten(0, 1), targets.flatten())
            return logits, loss

    def get_batch():
        ix = torch.randint(len(data) - 17, (8,))
        return torch.stack([data[i : i + 16] for i in ix]), torch.stack(
            [data[i + 1 : i + 17] for i in ix]
        )

    @torch.no_grad()
    def estimate_loss():
        model.eval()
        losses = [model(*get_batch())[1].item() for _ in range(4)]
        model.train()
        return sum(losses) / 4

    model = GPT()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1)
    x, y = get_batch()
    for it in range(40):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * min(1.0, (it + 1) / 10)
        if it % 20 == 0:
            estimate_loss()
        for _ in range(2):
            _, loss = model(x, y)
            loss = loss / 2
            x, y = get_batch()
            loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def vae():
    class VAE(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1, self.fc21, self.fc22 = nn.Linear(64, 32), nn.Linear(32, 4), nn.Linear(32, 4)
            self.fc3, self.fc4 = nn.Linear(4, 32), nn.Linear(32, 64)

        def encode(self, x):
            h = F.relu(self.fc1(x))
            return self.fc21(h), self.fc22(h)

        def decode(self, z):
            return torch.sigmoid(self.fc4(F.relu(self.fc3(z))))

        def forward(self, x):
            mu, logvar = self.encode(x.view(-1, 64))
            z = mu + torch.randn_like(mu) * (0.5 * logvar).exp()
            return self.decode(z), mu, logvar

    train, test = loaders()
    model = VAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(2):
        model.train()
        train_loss = 0.0
        for data, _y in train:
            optimizer.zero_grad()
            recon, mu, logvar = model(data)
            bce = F.binary_cross_entropy(recon, data.view(-1, 64), reduction="sum")
            loss = bce - 0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum()
            loss.backward()
            train_loss += loss.item()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            for data, _y in test:
                model(data)
            model.decode(torch.randn(4, 4))


def _gan():
    g = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 64), nn.Sigmoid())
    d = nn.Sequential(nn.Linear(64, 32), nn.LeakyReLU(0.2), nn.Dropout(0.3), nn.Linear(32, 1))
    return g, d


def dcgan():
    train, _ = loaders()
    g, d = _gan()
    opt_d = torch.optim.Adam(d.parameters(), lr=2e-4, betas=(0.5, 0.999))
    opt_g = torch.optim.Adam(g.parameters(), lr=2e-4, betas=(0.5, 0.999))
    criterion = nn.BCEWithLogitsLoss()
    fixed = torch.randn(4, 8)
    for epoch in range(2):
        for i, (x, _) in enumerate(train):
            x = x.flatten(1)
            d.zero_grad()
            criterion(d(x), torch.ones(len(x), 1)).backward()
            fake = g(torch.randn(len(x), 8))
            criterion(d(fake.detach()), torch.zeros(len(x), 1)).backward()
            opt_d.step()
            g.zero_grad()
            criterion(d(fake), torch.ones(len(x), 1)).backward()
            opt_g.step()
            if i % 10 == 0:
                g(fixed)


def wgan_with_penalty():
    train, _ = loaders()
    g, d = _gan()
    opt_d, opt_g = (torch.optim.RMSprop(m.parameters(), lr=1e-4) for m in (d, g))
    for i, (x, _) in enumerate(train):
        x = x.flatten(1)
        with torch.no_grad():
            fake = g(torch.randn(len(x), 8))
        mix = (x + torch.rand(len(x), 1) * (fake - x)).requires_grad_()
        (slope,) = torch.autograd.grad(d(mix).sum(), mix, create_graph=True)
        loss = d(fake).mean() - d(x).mean() + 10 * ((slope.norm(dim=1) - 1) ** 2).mean()
        opt_d.zero_grad()
        loss.backward()
        opt_d.step()
        if i % 3 == 0:
            opt_g.zero_grad()
            (-d(g(torch.randn(len(x), 8))).mean()).backward()
            opt_g.step()


def siamese():
    images, labels = digits()
    model = nn.Sequential(nn.Flatten(), mlp(64, 32, 8))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(40):
        a, b = torch.randint(1000, (32,)), torch.randint(1000, (32,))
        same = (labels[a] == labels[b]).float()
        optimizer.zero_grad()
        distance = (model(images[a]) - model(images[b])).norm(dim=1)
        (same * distance**2 + (1 - same) * F.relu(1 - distance) ** 2).mean().backward()
        optimizer.step()


class Walk:
    """A corridor of 8 places; the right end pays."""

    def reset(self):
        self.at, self.time = 3, 0
        return self._seen()

    def step(self, action):
        self.at, self.time = max(0, min(7, self.at + (1 if action else -1))), self.time + 1
        return self._seen(), float(self.at == 7), self.at == 7 or self.time >= 20

    def _seen(self):
        return F.one_hot(torch.tensor(self.at), 8).float()


def reinforce():
    policy = mlp(8, 32, 2, dropout=0.1)
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    world = Walk()
    for _ in range(25):
        state, done, log_probs, rewards = world.reset(), False, [], []
        while not done:
            choice = torch.distributions.Categorical(logits=policy(state))
            action = choice.sample()
            log_probs.append(choice.log_prob(action))
            state, reward, done = world.step(action.item())
            rewards.append(reward)
        returns, total = [], 0.0
        for reward in reversed(rewards):
            total = reward + 0.95 * total
            returns.insert(0, total)
        advantage = torch.tensor(returns) - sum(returns) / len(returns)
        loss = torch.stack([-p * a for p, a in zip(log_probs, advantage, strict=True)]).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def ppo_style():
    net = nn.ModuleDict({"actor": mlp(8, 32, 2), "critic": mlp(8, 32, 1)})
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    world = Walk()
    for _ in range(6):
        states, actions, rewards, old = [], [], [], []
        state = world.reset()
        for _ in range(32):
            with torch.no_grad():
                choice = torch.distributions.Categorical(logits=net["actor"](state))
                action = choice.sample()
            states.append(state)
            actions.append(action)
            old.append(choice.log_prob(action))
            state, reward, done = world.step(action.item())
            rewards.append(reward)
            state = world.reset() if done else state
        s, a, lp = torch.stack(states), torch.stack(actions), torch.stack(old)
        r = torch.tensor(rewards)
        for _ in range(4):
            choice = torch.distributions.Categorical(logits=net["actor"](s))
            value = net["critic"](s).squeeze(1)
            ratio = (choice.log_prob(a) - lp).exp()
            gain = torch.min(ratio * (r - value.detach()), ratio.clamp(0.8, 1.2) * (r - value.detach()))
            loss = -gain.mean() + F.mse_loss(value, r) - 0.01 * choice.entropy().mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 0.5)
            optimizer.step()


def dqn_with_target_net():
    online = mlp(8, 32, 2)
    target = copy.deepcopy(online)
    optimizer = torch.optim.Adam(online.parameters(), lr=1e-3)
    world, memory = Walk(), []
    state = world.reset()
    for step in range(120):
        with torch.no_grad():
            action = online(state).argmax().item() if step % 3 else step % 2
        after, reward, done = world.step(action)
        memory.append((state, action, reward, after, done))
        state = world.reset() if done else after
        if len(memory) >= 16:
            picked = [memory[i] for i in torch.randint(len(memory), (16,))]
            s, a, r, n, d = zip(*picked, strict=True)
            with torch.no_grad():
                goal = torch.tensor(r) + 0.9 * target(torch.stack(n)).max(1).values * (
                    1 - torch.tensor(d).float()
                )
            value = online(torch.stack(s)).gather(1, torch.tensor(a)[:, None]).squeeze(1)
            loss = F.smooth_l1_loss(value, goal)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if step % 30 == 0:
            target.load_state_dict(online.state_dict())


def forward_forward():
    images, labels = digits()
    layers = [nn.Linear(64, 64), nn.Linear(64, 64)]
    optimizers = [torch.optim.Adam(layer.parameters(), lr=3e-3) for layer in layers]
    for i in torch.randperm(1000).split(64):
        good, bad = images[i].flatten(1).clone(), images[i].flatten(1).clone()
        good[:, :10], bad[:, :10] = F.one_hot(labels[i], 10), F.one_hot((labels[i] + 3) % 10, 10)
        for layer, optimizer in zip(layers, optimizers, strict=True):
            a, b = F.relu(layer(good)), F.relu(layer(bad))
            loss = F.softplus(torch.cat([2 - a.pow(2).mean(1), b.pow(2).mean(1) - 2])).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            good, bad = F.normalize(a.detach()), F.normalize(b.detach())


def time_sequence_with_lbfgs():
    t = torch.arange(60).float() / 5 + torch.rand(8, 1) * 6
    wave = torch.sin(t)[..., None]
    model = nn.ModuleDict({"rnn": nn.LSTM(1, 12, batch_first=True), "head": nn.Linear(12, 1)})
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=5)

    def closure():
        optimizer.zero_grad()
        loss = F.mse_loss(model["head"](model["rnn"](wave[:, :-1])[0]), wave[:, 1:])
        loss.backward()
        return loss

    for _ in range(6):
        optimizer.step(closure)
        with torch.no_grad():
            model["rnn"](wave)


def by_hand_without_optimizer():
    rows, target = diabetes()
    model = mlp(10, 16, 1)
    for _ in range(40):
        loss = F.mse_loss(model(rows), target)
        model.zero_grad()
        loss.backward()
        with torch.no_grad():
            for p in model.parameters():
                p -= 0.05 * p.grad


def word_language_model():
    data = torch.tensor(list((nn.Module.__doc__ or "a").encode("ascii", "ignore")) * 3)
    data = data[: len(data) // 8 * 8].view(8, -1)

    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop, self.embed = nn.Dropout(0.2), nn.Embedding(128, 24)
            self.rnn, self.head = nn.LSTM(24, 24, 2, dropout=0.2, batch_first=True), nn.Linear(24, 128)

        def forward(self, x, hidden):
            out, hidden = self.rnn(self.drop(self.embed(x)), hidden)
            return self.head(self.drop(out)), hidden

    model, hidden = Words(), None
    for start in range(0, min(data.shape[1] - 11, 300), 10):
        model.train()
        x, y = data[:, start : start + 10], data[:, start + 1 : start + 11]
        if hidden is not None:
            hidden = tuple(h.detach() for h in hidden)
        model.zero_grad()
        out, hidden = model(x, hidden)
        F.cross_entropy(out.flatten(0, 1), y.flatten()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        for p in model.parameters():
            p.data.add_(p.grad, alpha=-2.0)


def sam():
    train, _ = loaders()
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for x, y in train:
        F.cross_entropy(model(x), y).backward()
        moves = []
        with torch.no_grad():
            norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
            for p in model.parameters():
                moves.append(0.05 * p.grad / (norm + 1e-12))
                p.add_(moves[-1])
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        with torch.no_grad():
            for p, move in zip(model.parameters(), moves, strict=True):
                p.sub_(move)
        optimizer.step()
        optimizer.zero_grad()


def ema_and_swa():
    train, test = loaders()
    model = Net()
    ema = AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(2):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            ema.update_parameters(model)
        evaluate(ema, test)
    update_bn(train, ema)


def mean_teacher():
    train, test = loaders()
    student = Net()
    teacher = copy.deepcopy(student)
    optimizer = torch.optim.Adam(student.parameters(), lr=3e-3)
    for x, y in train:
        student.train()
        with torch.no_grad():
            goal = teacher(x + 0.05 * torch.randn_like(x)).softmax(1)
        out = student(x)
        loss = F.cross_entropy(out, y) + F.mse_loss(out.softmax(1), goal)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for a, b in zip(teacher.parameters(), student.parameters(), strict=True):
                a.lerp_(b, 0.01)
    evaluate(student, test)


def distillation():
    train, test = loaders()
    teacher = Net()
    opt = torch.optim.Adam(teacher.parameters(), lr=3e-3)
    for x, y in train:
        opt.zero_grad()
        F.cross_entropy(teacher(x), y).backward()
        opt.step()
    teacher.eval()
    student = nn.Sequential(nn.Flatten(), mlp(64, 32, 10))
    opt = torch.optim.Adam(student.parameters(), lr=3e-3)
    for x, y in train:
        with torch.no_grad():
            soft = teacher(x).softmax(1)
        loss = F.cross_entropy(student(x), soft)
        opt.zero_grad()
        loss.backward()
        opt.step()
    evaluate(student, test)


def frozen_backbone_with_batch_norm_in_eval():
    train, test = loaders()
    model = Net()
    for p in (*model.conv1.parameters(), *model.bn.parameters()):
        p.requires_grad_(False)
    optimizer = torch.optim.Adam((p for p in model.parameters() if p.requires_grad), lr=3e-3)
    for _ in range(2):
        model.train()
        model.bn.eval()
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        evaluate(model, test)


def two_optimizers_for_one_loss():
    train, test = loaders()
    encoder, head = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU()), nn.Linear(32, 10)
    first, second = (
        torch.optim.Adam(encoder.parameters(), lr=1e-3),
        torch.optim.SGD(head.parameters(), lr=0.1),
    )
    for x, y in train:
        loss = F.cross_entropy(head(encoder(x)), y)
        first.zero_grad()
        second.zero_grad()
        loss.backward()
        first.step()
        second.step()
    with torch.no_grad():
        for x, _y in test:
            head(encoder(x))


def k_folds():
    rows, labels = tumours()
    data = TensorDataset(rows, labels)
    for fold in range(4):
        held = set(range(fold, 569, 4))
        train = DataLoader(Subset(data, [i for i in range(569) if i not in held]), 64, shuffle=True)
        model = mlp(30, 16, 1, dropout=0.2)
        optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
        for _ in range(2):
            model.train()
            for x, y in train:
                optimizer.zero_grad()
                F.binary_cross_entropy_with_logits(model(x).squeeze(1), y).backward()
                optimizer.step()
        model.eval()
        with torch.no_grad():
            model(rows[sorted(held)])


def maml():
    model = mlp(1, 24, 1)
    outer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(20):
        outer.zero_grad()
        for _task in range(3):
            phase = torch.rand(1) * 3
            x = torch.rand(10, 1) * 6
            y = torch.sin(x + phase)
            weights = dict(model.named_parameters())
            inner = F.mse_loss(torch.func.functional_call(model, weights, (x,)), y)
            grads = torch.autograd.grad(inner, list(weights.values()), create_graph=True)
            fast = {k: w - 0.01 * g for (k, w), g in zip(weights.items(), grads, strict=True)}
            x = torch.rand(10, 1) * 6
            (
                F.mse_loss(torch.func.functional_call(model, fast, (x,)), torch.sin(x + phase)) / 3
            ).backward()
        outer.step()


def iterations_over_an_endless_loader():
    train, test = loaders()
    model = Net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=40)
    for step, (x, y) in enumerate(islice(cycle(train), 40)):
        model.train()
        loss = F.cross_entropy(model(x), y, label_smoothing=0.1)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        scheduler.step()
        if (step + 1) % 20 == 0:
            evaluate(model, test)


def gradient_checkpointing():
    train, _ = loaders()
    model = Net()
    head = model.fc
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for x, y in train:
        h = F.relu(model.conv2(F.max_pool2d(F.relu(model.bn(model.conv1(x))), 2)))
        h = torch.utils.checkpoint.checkpoint(
            lambda h: F.max_pool2d(h, 2).flatten(1), h, use_reentrant=False
        )
        optimizer.zero_grad()
        F.cross_entropy(head(model.dropout(h)), y).backward()
        optimizer.step()


def early_stopping_with_best_weights():
    train, test = loaders()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    best, kept = 0.0, None
    for _ in range(3):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        score = evaluate(model, test)
        if score >= best:
            best, kept = score, copy.deepcopy(model.state_dict())
    model.load_state_dict(kept)
    evaluate(model, test)


def mixup_with_logged_losses():
    train, _ = loaders()
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    history = []
    for _ in range(2):
        for x, y in train:
            lam, order = torch.distributions.Beta(0.4, 0.4).sample(), torch.randperm(len(x))
            out = model(lam * x + (1 - lam) * x[order])
            loss = lam * F.cross_entropy(out, y) + (1 - lam) * F.cross_entropy(out, y[order])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            history.append(loss.item())


HEALTHY = [
    value
    for value in list(globals().values())
    if callable(value)
    and getattr(value, "__module__", "") == __name__
    and not isinstance(value, type)
    and value.__name__ not in {"mlp", "evaluate", "_gan"}
]
