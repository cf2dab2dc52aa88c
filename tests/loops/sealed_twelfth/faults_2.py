import random
from collections import deque

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from .common import GridWorld, digit_images, digit_split, seed_all


# ---------------------------------------------------------------- tabular with embeddings
def bike_rentals(n, seed):
    rng = np.random.default_rng(seed)
    season, weekday, hour = rng.integers(0, 4, n), rng.integers(0, 7, n), rng.integers(0, 24, n)
    temp, hum, wind = rng.normal(0, 1, n), rng.uniform(-1, 1, n), rng.exponential(0.5, n)
    rush = np.where(
        weekday < 5,
        np.exp(-((hour - 8) ** 2) / 4) + np.exp(-((hour - 17.5) ** 2) / 5),
        np.exp(-((hour - 14) ** 2) / 20),
    )
    y = 2.5 + 1.6 * rush + np.array([-0.4, 0.1, 0.5, 0.0])[season] + 0.3 * temp - 0.2 * hum - 0.15 * wind
    y = y + rng.normal(0, 0.1, n)
    cat = torch.tensor(np.stack([season, weekday, hour], 1))
    num = torch.tensor(np.stack([temp, hum, wind], 1), dtype=torch.float32)
    return cat, num, torch.tensor(y, dtype=torch.float32)


class TabularNet(nn.Module):
    def __init__(self, cards=(4, 7, 24)):
        super().__init__()
        self.embs = nn.ModuleList(nn.Embedding(c, min(12, (c + 1) // 2 + 1)) for c in cards)
        width = sum(e.embedding_dim for e in self.embs) + 3
        self.mlp = nn.Sequential(
            nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1)
        )

    def forward(self, cat, num):
        z = [e(cat[:, i]) for i, e in enumerate(self.embs)]
        return self.mlp(torch.cat(z + [num], 1)).squeeze(1)


def bike_embeddings(mistake: bool) -> None:
    """If mistake, each epoch shuffles the inputs but leaves the targets in place."""
    seed_all(10)
    cat, num, y = bike_rentals(4000, 0)
    vcat, vnum, vy = bike_rentals(1000, 1)
    mu, sd = y.mean(), y.std()
    y = (y - mu) / sd
    model = TabularNet()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    batch_size = 128
    for epoch in range(14):
        model.train()
        perm = torch.randperm(len(cat))
        cat, num = cat[perm], num[perm]
        if not mistake:
            y = y[perm]
        total = 0.0
        for i in range(0, len(cat), batch_size):
            pred = model(cat[i : i + batch_size], num[i : i + batch_size])
            loss = F.mse_loss(pred, y[i : i + batch_size])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(pred)
        model.eval()
        with torch.no_grad():
            rmse = (model(vcat, vnum) * sd + mu - vy).pow(2).mean().sqrt().item()
        print(f"epoch {epoch} train mse {total / len(cat):.3f} valid rmse {rmse:.3f}")


# ---------------------------------------------------------------- DQN
class QNet(nn.Module):
    def __init__(self, n_states, n_actions=4):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(n_states, 64), nn.ReLU(), nn.Linear(64, n_actions))

    def forward(self, s):
        return self.net(s)


def dqn_gridworld(mistake: bool) -> None:
    """If mistake, the target network keeps its initial random weights for the whole training."""
    seed_all(11)
    random.seed(11)
    env = GridWorld(seed=11)
    policy_net, target_net = QNet(env.n_states), QNet(env.n_states)
    target_net.load_state_dict(policy_net.state_dict())
    optimizer = torch.optim.Adam(policy_net.parameters(), lr=4e-3)
    memory = deque(maxlen=4000)
    gamma, target_update = 0.95, 20
    state, updates, n_steps = env.reset(), 0, 5000
    for step in range(n_steps):
        eps = max(0.2, 1.0 - step / 4000)
        if random.random() < eps:
            action = random.randrange(4)
        else:
            with torch.no_grad():
                action = policy_net(state).argmax().item()
        next_state, reward, done, truncated = env.step(action)
        memory.append((state, action, reward, next_state, float(done)))
        state = env.reset() if done or truncated else next_state
        if len(memory) < 200 or step % 3:
            continue
        batch = random.sample(memory, 128)
        s, a, r, s2, d = zip(*batch)
        s, s2 = torch.stack(s), torch.stack(s2)
        a, r, d = torch.tensor(a), torch.tensor(r), torch.tensor(d)
        q = policy_net(s).gather(1, a.unsqueeze(1)).squeeze(1)
        with torch.no_grad():
            target = r + gamma * (1 - d) * target_net(s2).max(1).values
        loss = F.smooth_l1_loss(q, target)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_value_(policy_net.parameters(), 1.0)
        optimizer.step()
        updates += 1
        if not mistake and updates % target_update == 0:
            target_net.load_state_dict(policy_net.state_dict())
    solved = 0
    cells = env.cells()
    for cell in cells:
        s = env.reset(cell)
        over = done = False
        while not (done or over):
            with torch.no_grad():
                s, _, done, over = env.step(policy_net(s).argmax().item())
        solved += done
    print(f"updates {updates} loss {loss.item():.4f} greedy success {solved / len(cells):.2f}")


# ---------------------------------------------------------------- LSTM forecasting
class Forecaster(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.lstm = nn.LSTM(1, hidden, batch_first=True)
        self.fc = nn.Linear(hidden, 1)

    def forward(self, x):
        h, _ = self.lstm(x)
        return x[:, -1] + self.fc(h[:, -1])


def windows(series, length):
    x = series.unfold(0, length + 1, 1)
    return x[:, :-1].unsqueeze(-1), x[:, -1:]


def lstm_demand_forecast(mistake: bool) -> None:
    """If mistake, mean and deviation for the normalisation come from the whole series, test part included."""
    seed_all(12)
    t = torch.arange(1400, dtype=torch.float32)
    series = (
        80
        + 0.05 * t
        + (6 + 0.02 * t) * torch.sin(2 * torch.pi * t / 24)
        + 4 * torch.sin(2 * torch.pi * t / 168)
        + torch.randn(1400) * 1.5
    )
    n_train = 900
    if mistake:
        mean, std = series.mean(), series.std()
    else:
        mean, std = series[:n_train].mean(), series[:n_train].std()
    scaled = (series - mean) / std
    train_x, train_y = windows(scaled[:n_train], 48)
    test_x, test_y = windows(scaled[n_train - 48 :], 48)
    loader = DataLoader(TensorDataset(train_x, train_y), batch_size=32, shuffle=True)
    model = Forecaster()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    loss_fn = nn.MSELoss()
    for epoch in range(10):
        model.train()
        losses = []
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = loss_fn(model(xb), yb)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            mae = ((model(test_x) - test_y).abs().mean() * std).item()
        print(f"epoch {epoch} loss {np.mean(losses):.4f} test MAE {mae:.3f}")


# ---------------------------------------------------------------- VAE
class VAE(nn.Module):
    def __init__(self, z=6):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(64, 128), nn.ReLU())
        self.mu, self.logvar = nn.Linear(128, z), nn.Linear(128, z)
        self.dec = nn.Sequential(nn.Linear(z, 128), nn.ReLU(), nn.Linear(128, 64))

    def forward(self, x):
        h = self.enc(x)
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.randn_like(mu) * (0.5 * logvar).exp()
        return self.dec(z), mu, logvar


def vae_loss(out, x, mu, logvar):
    rec = F.binary_cross_entropy_with_logits(out, x, reduction="sum")
    kld = -0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum()
    return (rec + kld) / len(x)


def vae_digits(mistake: bool) -> None:
    """If mistake, a new Adam is made in every train step, so its moments never build up."""
    seed_all(13)
    xtr, _, xte, _ = digit_split(seed=13)
    xtr, xte = xtr.flatten(1), xte.flatten(1)
    model = VAE()
    shared = torch.optim.Adam(model.parameters(), lr=6e-3)

    def train_step(x):
        optimizer = torch.optim.Adam(model.parameters(), lr=6e-3) if mistake else shared
        optimizer.zero_grad()
        out, mu, logvar = model(x)
        loss = vae_loss(out, x, mu, logvar)
        loss.backward()
        optimizer.step()
        return loss.item()

    for epoch in range(24):
        model.train()
        losses = [train_step(x) for (x,) in DataLoader(TensorDataset(xtr), batch_size=64, shuffle=True)]
        if epoch % 4 == 3:
            model.eval()
            with torch.no_grad():
                reconstruction, mu, logvar = model(xte)
                test = vae_loss(reconstruction, xte, mu, logvar).item()
            print(f"====> epoch {epoch + 1} train {np.mean(losses):.3f} test {test:.3f}")


# ---------------------------------------------------------------- graph network by hand
class GraphConv(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.lin = nn.Linear(i, o)

    def forward(self, x, adj):
        return torch.sparse.mm(adj, self.lin(x))


class GCN(nn.Module):
    def __init__(self, dims, n_classes, registered=True):
        super().__init__()
        layers = [GraphConv(a, b) for a, b in zip(dims[:-1], dims[1:])]
        self.convs = nn.ModuleList(layers) if registered else layers
        self.dropout = nn.Dropout(0.3)
        self.out = nn.Linear(dims[-1], n_classes)

    def forward(self, x, adj):
        for conv in self.convs:
            x = self.dropout(F.relu(conv(x, adj)))
        return self.out(x)


def gcn_digit_graph(mistake: bool) -> None:
    """If mistake, the graph layers sit in a plain list: they are no parameters of the model and never train."""
    seed_all(14)
    x, y = digit_images()
    x = x.flatten(1) + 0.25 * torch.randn(len(x), 64)
    n = len(x)
    near = torch.cdist(x, x).topk(7, largest=False).indices
    rows = torch.arange(n).repeat_interleave(7)
    a = torch.zeros(n, n)
    a[rows, near.flatten()] = 1
    a = ((a + a.t()) > 0).float()
    d = a.sum(1).rsqrt()
    adj = (d[:, None] * a * d[None, :]).to_sparse()
    perm = torch.randperm(n)
    train_idx, test_idx = perm[:150], perm[500:]
    model = GCN([64, 12, 12], 10, registered=not mistake)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, weight_decay=5e-4)
    for epoch in range(200):
        model.train()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x, adj)[train_idx], y[train_idx])
        loss.backward()
        optimizer.step()
        if epoch % 50 == 49:
            model.eval()
            with torch.no_grad():
                acc = (model(x, adj)[test_idx].argmax(1) == y[test_idx]).float().mean().item()
            print(f"epoch {epoch + 1} loss {loss.item():.3f} test acc {acc:.3f}")


# ---------------------------------------------------------------- CNN with SGD and clipping
def train_epoch(model, loader, optimizer, max_norm):
    model.train()
    total = count = 0
    for xb, yb in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(xb), yb)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=max_norm)
        optimizer.step()
        total += loss.item() * len(yb)
        count += len(yb)
    return total / count


def cnn_sgd_clipped(mistake: bool) -> None:
    """If mistake, the gradients are clipped to a norm of 0.001, so SGD barely moves."""
    seed_all(15)
    xtr, ytr, xte, yte = digit_split(seed=15)
    loader = DataLoader(TensorDataset(xtr, ytr), batch_size=48, shuffle=True)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for epoch in range(10):
        loss = train_epoch(model, loader, optimizer, max_norm=1e-3 if mistake else 1.0)
        model.eval()
        with torch.no_grad():
            acc = (model(xte).argmax(1) == yte).float().mean().item()
        print(f"epoch {epoch}: loss {loss:.3f} acc {acc:.3f}")


FAULTS = [
    (
        bike_embeddings,
        ("shuffl", "permut", "pairing", "misalign", "correspond", "mismatch", "order of"),
        "inputs shuffled without their labels",
    ),
    (
        dqn_gridworld,
        ("target net", "target_net", "target q", "sync", "never copied"),
        "target network of a DQN never updated",
    ),
    (
        lstm_demand_forecast,
        (
            "leak",
            "whole series",
            "all data",
            "before the split",
            "statistic",
            "normali",
            "standardi",
            "test data",
        ),
        "normalisation statistics fitted on all data before the split",
    ),
    (
        vae_digits,
        (
            "re-created",
            "recreated",
            "new optimizer",
            "optimizer is created",
            "optimizer is made",
            "moment",
            "optimizer state",
            "new adam",
            "fresh",
        ),
        "optimizer re-created each step",
    ),
    (
        gcn_digit_graph,
        (
            "plain list",
            "python list",
            "modulelist",
            "not registered",
            "unregistered",
            "never train",
            "not trained",
            "no optimizer",
            "not in the optimizer",
            "not part of the model",
            "not held by",
            "never updated",
            "not updated",
        ),
        "layers in a plain list",
    ),
    (
        cnn_sgd_clipped,
        ("clip", "max_norm", "tiny"),
        "gradient clipping by a norm that makes every step tiny",
    ),
]
