"""Tables, graphs, sets, ranking, recommendation, survival and streams."""

import copy
import itertools

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset


def _f32(a):
    return torch.from_numpy(np.asarray(a, dtype=np.float32))


# --------------------------------------------------------------------------------------------------------------
def kfold_early_stopping():
    """Five folds; in each a scaler and a net of its own, an inner validation part for stopping, the best weights restored."""
    x, y = load_breast_cancer(return_X_y=True)
    scores = []
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    for fold, (rest, test) in enumerate(folds.split(x, y)):
        torch.manual_seed(fold)
        fit, valid = train_test_split(rest, test_size=0.2, stratify=y[rest], random_state=fold)
        scaler = StandardScaler().fit(x[fit])
        parts = {
            k: (_f32(scaler.transform(x[i])), _f32(y[i]))
            for k, i in (("fit", fit), ("valid", valid), ("test", test))
        }
        model = nn.Sequential(
            nn.Linear(30, 640),
            nn.BatchNorm1d(640),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(640, 384),
            nn.BatchNorm1d(384),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(384, 1),
        )
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
        loader = DataLoader(TensorDataset(*parts["fit"]), batch_size=32, shuffle=True, drop_last=True)
        best, best_state, waited = float("inf"), None, 0
        for epoch in range(10):
            model.train()
            for xb, yb in loader:
                optimizer.zero_grad()
                F.binary_cross_entropy_with_logits(model(xb).squeeze(1), yb).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                v = F.binary_cross_entropy_with_logits(
                    model(parts["valid"][0]).squeeze(1), parts["valid"][1]
                ).item()
            if v < best - 1e-4:
                best, best_state, waited = v, copy.deepcopy(model.state_dict()), 0
            else:
                waited += 1
                if waited == 3:
                    break
        model.load_state_dict(best_state)
        model.eval()
        with torch.no_grad():
            xt, yt = parts["test"]
            scores.append(((model(xt).squeeze(1) > 0).float() == yt).float().mean().item())
        print(
            f"fold {fold} stopped at epoch {epoch} validation {best:.4f} test accuracy {scores[-1]:.3f}"
        )
    print(f"mean {np.mean(scores):.3f}")


def successive_halving():
    """Nine settings trained in turn, the better third goes on with its optimizer; the test part is used once."""
    torch.manual_seed(1)
    x, y = load_wine(return_X_y=True)
    rest, test = train_test_split(np.arange(len(y)), test_size=0.25, stratify=y, random_state=1)
    fit, valid = train_test_split(rest, test_size=0.3, stratify=y[rest], random_state=1)
    scaler = StandardScaler().fit(x[fit])
    X, Y, pool = _f32(scaler.transform(x)), torch.from_numpy(y), torch.from_numpy(fit)

    class Trial:
        def __init__(self, lr, width):
            self.name = f"lr {lr} width {width}"
            self.model = nn.Sequential(
                nn.Linear(13, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 3)
            )
            self.optimizer = torch.optim.Adam(self.model.parameters(), lr=lr)

        def advance(self, steps):
            for _ in range(steps):
                i = pool[torch.randperm(len(pool))[:64]]
                loss = F.cross_entropy(self.model(X[i]), Y[i])
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
            with torch.no_grad():
                self.score = F.cross_entropy(self.model(X[valid]), Y[valid]).item()

    trials = [Trial(lr, width) for lr, width in itertools.product((3e-4, 1e-3, 3e-3), (128, 512, 1024))]
    for steps in (20, 60, 150):
        for trial in trials:
            trial.advance(steps)
        trials.sort(key=lambda t: t.score)
        print(f"after {steps} more:", [(t.name, round(t.score, 3)) for t in trials[:3]])
        trials = trials[: max(1, len(trials) // 3)]
    with torch.no_grad():
        acc = (trials[0].model(X[test]).argmax(1) == Y[test]).float().mean()
    print("winner", trials[0].name, "test accuracy", acc.item())


# --------------------------------------------------------------------------------------------------------------
def wide_and_deep_sparse():
    """Click prediction with sparse embeddings (SparseAdam) beside dense weights (AdamW); rare positives, log-odds bias."""
    torch.manual_seed(2)
    g = torch.Generator().manual_seed(2)
    n, cards = 110000, (4000, 800, 24)
    ids = torch.stack([(c * torch.rand(n, generator=g) ** 2).long() for c in cards], 1)
    numbers = torch.randn(n, 4, generator=g)
    effects = [0.9 * torch.randn(c, generator=g) for c in cards]
    logit = (
        -2.2
        + sum(e[ids[:, k]] for k, e in enumerate(effects))
        + numbers[:, 0]
        - 0.7 * numbers[:, 1] * numbers[:, 2]
    )
    y = torch.bernoulli(logit.sigmoid(), generator=g)
    cut = 100000
    offsets = torch.tensor([0, cards[0], cards[0] + cards[1]])
    ids = ids + offsets

    class WideDeep(nn.Module):
        def __init__(self, prior):
            super().__init__()
            self.wide = nn.Embedding(sum(cards), 1, sparse=True)
            self.deep = nn.Embedding(sum(cards), 16, sparse=True)
            nn.init.zeros_(self.wide.weight)
            nn.init.normal_(self.deep.weight, std=0.05)
            self.mlp = nn.Sequential(
                nn.Linear(3 * 16 + 4, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 1)
            )
            nn.init.constant_(self.mlp[-1].bias, float(torch.logit(prior)))

        def forward(self, ids, numbers):
            deep = self.mlp(torch.cat([self.deep(ids).flatten(1), numbers], 1))
            return (deep + self.wide(ids).sum(1)).squeeze(1)

    prior = y[:cut].mean()
    model = WideDeep(prior)
    sparse = [model.wide.weight, model.deep.weight]
    dense = list(model.mlp.parameters())
    optimizers = [
        torch.optim.SparseAdam(sparse, lr=1e-2),
        torch.optim.AdamW(dense, lr=1e-3, weight_decay=1e-3),
    ]
    loader = DataLoader(TensorDataset(ids[:cut], numbers[:cut], y[:cut]), batch_size=400, shuffle=True)
    held = ids[cut:], numbers[cut:], y[cut:]
    base = F.binary_cross_entropy(prior.expand(len(held[2])), held[2])
    for step, (i, x, t) in enumerate(loader):  # a single pass: more of them overfit the identifiers
        for o in optimizers:
            o.zero_grad()
        F.binary_cross_entropy_with_logits(model(i, x), t).backward()
        for o in optimizers:
            o.step()
        if step % 50 == 49:
            with torch.no_grad():
                v = F.binary_cross_entropy_with_logits(model(held[0], held[1]), held[2])
            print(f"step {step} held-out log-loss {v:.4f} (rate alone {base:.4f})")


# --------------------------------------------------------------------------------------------------------------
def cox_survival():
    """Cox partial likelihood (Breslow) over risk sets inside a batch; censored cases only enter the risk sets."""
    torch.manual_seed(3)
    g = torch.Generator().manual_seed(3)
    n = 3000
    x = torch.randn(n, 8, generator=g)
    risk = 1.2 * x[:, 0] - 0.8 * x[:, 1] + 0.8 * torch.sin(2 * x[:, 2]) + 0.5 * x[:, 3] * x[:, 4]
    event_time = -torch.log(torch.rand(n, generator=g).clamp(min=1e-6)) / (0.1 * risk.exp())
    censor_time = -torch.log(torch.rand(n, generator=g).clamp(min=1e-6)) / 0.05
    time, event = torch.minimum(event_time, censor_time), (event_time <= censor_time).float()
    x_train, t_train, e_train = x[:2200], time[:2200], event[:2200]
    x_test, t_test, e_test = x[2200:], time[2200:], event[2200:]

    def partial_likelihood(score, time, event):
        order = time.argsort(descending=True)
        score, event = score[order], event[order]
        return -((score - score.logcumsumexp(0)) * event).sum() / event.sum().clamp(min=1)

    def concordance(score, time, event):
        usable = (time[:, None] < time[None]) & (event[:, None] > 0)
        return (((score[:, None] > score[None]) & usable).sum() / usable.sum()).item()

    model = nn.Sequential(
        nn.Linear(8, 320),
        nn.SELU(),
        nn.AlphaDropout(0.1),
        nn.Linear(320, 320),
        nn.SELU(),
        nn.AlphaDropout(0.1),
        nn.Linear(320, 1, bias=False),
    )
    for m in model:
        if isinstance(m, nn.Linear):
            nn.init.kaiming_normal_(m.weight, nonlinearity="linear")
    nn.init.zeros_(model[-1].weight)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    loader = DataLoader(TensorDataset(x_train, t_train, e_train), batch_size=220, shuffle=True)
    for epoch in range(40):
        model.train()
        for xb, tb, eb in loader:
            loss = partial_likelihood(model(xb).squeeze(1), tb, eb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if epoch % 8 == 7:
            model.eval()
            with torch.no_grad():
                s = model(x_test).squeeze(1)
            print(
                f"epoch {epoch} loss {loss.item():.4f} test concordance {concordance(s, t_test, e_test):.3f} "
                f"(of the true risk {concordance(risk[2200:], t_test, e_test):.3f})"
            )


# --------------------------------------------------------------------------------------------------------------
def lambda_rank():
    """Learning to rank: padded query lists, pairwise logistic loss weighted by the change in NDCG."""
    torch.manual_seed(4)
    g = torch.Generator().manual_seed(4)
    queries, longest, features = 700, 20, 16
    sizes = torch.randint(8, longest + 1, (queries,), generator=g)
    mask = torch.arange(longest) < sizes[:, None]
    x = torch.randn(queries, longest, features, generator=g)
    truth = (
        x[..., 0]
        + x[..., 1] * x[..., 2]
        + 0.6 * torch.relu(x[..., 3])
        + 0.4 * torch.randn(queries, longest, generator=g)
    )
    relevance = torch.bucketize(truth, torch.tensor([0.0, 0.8, 1.8])).float() * mask
    x = x * mask[..., None]

    def ideal(rel):
        top = rel.sort(1, descending=True).values
        return ((2**top - 1) / torch.log2(torch.arange(longest) + 2.0)).sum(1)

    def ranks(score, mask):
        order = score.masked_fill(~mask, float("-inf")).argsort(1, descending=True)
        return order.argsort(1).float() + 1

    def ndcg(score, rel, mask):
        gain = (2**rel - 1) * mask / torch.log2(ranks(score, mask) + 1)
        best = ideal(rel)
        return (gain.sum(1)[best > 0] / best[best > 0]).mean()

    def loss_of(score, rel, mask):
        with torch.no_grad():
            discount = 1 / torch.log2(ranks(score, mask) + 1)
            gain = (2**rel - 1) / ideal(rel).clamp(min=1e-6)[:, None]
            delta = (
                (gain[:, :, None] - gain[:, None]) * (discount[:, :, None] - discount[:, None])
            ).abs()
            pairs = (rel[:, :, None] > rel[:, None]) & mask[:, :, None] & mask[:, None]
        margin = score[:, :, None] - score[:, None]
        return (F.softplus(-margin) * delta * pairs).sum() / len(score)

    model = nn.Sequential(
        nn.Linear(features, 448), nn.ReLU(), nn.Linear(448, 448), nn.ReLU(), nn.Linear(448, 1)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    train, held = slice(0, 560), slice(560, queries)
    loader = DataLoader(
        TensorDataset(x[train], relevance[train], mask[train]), batch_size=20, shuffle=True
    )
    for epoch in range(16):
        for xb, rb, mb in loader:
            loss = loss_of(model(xb).squeeze(2), rb, mb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if epoch % 4 in (0, 3):
            with torch.no_grad():
                v = ndcg(model(x[held]).squeeze(2), relevance[held], mask[held])
            print(f"epoch {epoch} loss {loss.item():.4f} held-out NDCG {v:.3f}")


# --------------------------------------------------------------------------------------------------------------
def bayesian_personalised_ranking():
    """Implicit feedback: factors with sampled negatives (known positives resampled away); one held-out item a user."""
    torch.manual_seed(5)
    g = torch.Generator().manual_seed(5)
    users, items, dim = 500, 300, 6
    taste, kind = torch.randn(users, dim, generator=g), torch.randn(items, dim, generator=g)
    popularity = 0.8 * torch.randn(items, generator=g)
    p = (1.6 * taste @ kind.t() / dim**0.5 + popularity).softmax(1)
    chosen = torch.multinomial(p, 25, generator=g)
    held, known = chosen[:, 0], chosen[:, 1:]
    seen = torch.zeros(users, items, dtype=torch.bool).scatter_(1, known, True)
    u_all = torch.arange(users).repeat_interleave(known.shape[1])
    i_all = known.flatten()

    class Factors(nn.Module):
        def __init__(self, width=64):
            super().__init__()
            self.user, self.item = nn.Embedding(users, width), nn.Embedding(items, width)
            self.bias = nn.Embedding(items, 1)
            nn.init.normal_(self.user.weight, std=0.1)
            nn.init.normal_(self.item.weight, std=0.1)
            nn.init.zeros_(self.bias.weight)

        def forward(self, u, i):
            return (self.user(u) * self.item(i)).sum(1) + self.bias(i).squeeze(1)

    model = Factors()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    loader = DataLoader(TensorDataset(u_all, i_all), batch_size=1000, shuffle=True)

    def hit_rate():
        with torch.no_grad():
            score = model.user.weight @ model.item.weight.t() + model.bias.weight.t()
        top = score.masked_fill(seen, float("-inf")).topk(10, 1).indices
        return (top == held[:, None]).any(1).float().mean().item()

    print("hit rate at 10 before", hit_rate())
    for epoch in range(36):
        for u, i in loader:
            j = torch.randint(items, u.shape)
            while (bad := seen[u, j]).any():
                j[bad] = torch.randint(items, (int(bad.sum()),))
            penalty = (model.user(u).pow(2) + model.item(i).pow(2) + model.item(j).pow(2)).sum(1).mean()
            loss = -F.logsigmoid(model(u, i) - model(u, j)).mean() + 0.015 * penalty
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if epoch % 9 == 8:
            print(f"epoch {epoch} loss {loss.item():.4f} hit rate at 10 {hit_rate():.3f}")


# --------------------------------------------------------------------------------------------------------------
def transductive_gcn():
    """Full-batch graph convolution with few labelled nodes; loss on the training mask, choice by the validation mask."""
    torch.manual_seed(6)
    g = torch.Generator().manual_seed(6)
    n, classes = 1500, 6
    y = torch.randint(classes, (n,), generator=g)
    same = y[:, None] == y[None]
    upper = (torch.rand(n, n, generator=g) < torch.where(same, 0.025, 0.0045)).triu(1)
    a = (upper | upper.t()).float() + torch.eye(n)
    d = a.sum(1).rsqrt()
    a = (d[:, None] * a * d[None]).to_sparse()
    centres = torch.randn(classes, 64, generator=g)
    x = 0.45 * centres[y] + torch.randn(n, 64, generator=g)
    order = torch.randperm(n, generator=g)
    train, valid, test = order[:60], order[60:260], order[260:]

    class GCN(nn.Module):
        def __init__(self):
            super().__init__()
            self.l1, self.l2 = nn.Linear(64, 256), nn.Linear(256, classes)

        def forward(self, x):
            x = F.dropout(x, 0.5, self.training)
            h = F.relu(a @ self.l1(x))
            h = F.dropout(h, 0.5, self.training)
            return a @ self.l2(h)

    model = GCN()
    optimizer = torch.optim.Adam(
        [
            {"params": model.l1.parameters(), "weight_decay": 5e-3},
            {"params": model.l2.parameters(), "weight_decay": 0.0},
        ],
        lr=0.005,
    )
    best, best_state = 0.0, None
    for epoch in range(250):
        model.train()
        loss = F.cross_entropy(model(x)[train], y[train])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.eval()
        with torch.no_grad():
            hit = model(x).argmax(1) == y
        v = hit[valid].float().mean().item()
        if v > best:
            best, best_state = v, copy.deepcopy(model.state_dict())
        if epoch % 50 == 49:
            print(f"epoch {epoch} loss {loss.item():.3f} validation {v:.3f}")
    model.load_state_dict(best_state)
    model.eval()
    with torch.no_grad():
        print("test", (model(x)[test].argmax(1) == y[test]).float().mean().item())


def batched_graph_regression():
    """Sum-aggregating message passing over small graphs packed into one; target: how many triangles."""
    torch.manual_seed(7)
    rng = np.random.default_rng(7)
    graphs = []
    for _ in range(1200):
        n = int(rng.integers(8, 15))
        a = np.triu(rng.random((n, n)) < rng.uniform(0.15, 0.55), 1)
        a = (a | a.T).astype(np.float32)
        graphs.append((n, torch.from_numpy(np.stack(a.nonzero())), float(np.trace(a @ a @ a) / 6)))
    target = np.log1p([t for _, _, t in graphs])
    cut = 1000
    mean, std = target[:cut].mean(), target[:cut].std()
    items = [(n, e, (t - mean) / std) for (n, e, _), t in zip(graphs, target)]

    def collate(batch):
        starts = np.cumsum([0] + [n for n, _, _ in batch])
        edges = torch.cat([e + int(s) for (_, e, _), s in zip(batch, starts)], 1)
        graph = torch.repeat_interleave(torch.arange(len(batch)), torch.tensor([n for n, _, _ in batch]))
        return edges, graph, torch.tensor([t for _, _, t in batch], dtype=torch.float32)

    class GIN(nn.Module):
        def __init__(self, width=112):
            super().__init__()
            self.first = nn.Linear(1, width)
            self.layers = nn.ModuleList(
                nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
                for _ in range(3)
            )
            self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
            self.eps = nn.Parameter(torch.zeros(3))
            self.out = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))

        def forward(self, edges, graph, count):
            source, sink = edges
            degree = torch.bincount(sink, minlength=len(graph)).float()
            h = self.first(degree[:, None] / 5)
            for k, (layer, norm) in enumerate(zip(self.layers, self.norms)):
                messages = torch.zeros_like(h).index_add(0, sink, h[source])
                h = h + norm(layer((1 + self.eps[k]) * h + messages))
            pooled = torch.zeros(count, h.shape[1]).index_add(0, graph, h)
            return self.out(pooled / 10).squeeze(1)

    model = GIN()
    loader = DataLoader(items[:cut], batch_size=40, shuffle=True, collate_fn=collate)
    edges, graph, t = collate(items[cut:])
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.85)
    for epoch in range(14):
        model.train()
        for e, gr, y in loader:
            loss = F.huber_loss(model(e, gr, len(y)), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        scheduler.step()
        model.eval()
        with torch.no_grad():
            mse = F.mse_loss(model(edges, graph, len(t)), t)
        if epoch % 3 == 1:
            print(
                f"epoch {epoch} loss {loss.item():.4f} held-out R2 {1 - mse / t.var(correction=0):.3f}"
            )


def point_cloud_sets():
    """PointNet-like classifier of rotated noisy solids; shared per-point net, max pooling, batch norm over points."""
    torch.manual_seed(8)
    g = torch.Generator().manual_seed(8)

    def clouds(n, points=96):
        v = F.normalize(torch.randn(n, points, 3, generator=g), dim=2)
        u = torch.rand(n, points, 3, generator=g) * 2 - 1
        ring = F.normalize(torch.randn(n, points, 2, generator=g), dim=2)
        tube = F.normalize(torch.randn(n, points, 2, generator=g), dim=2)
        torus = torch.cat([ring * (0.75 + 0.25 * tube[..., :1]), 0.25 * tube[..., 1:]], 2)
        kinds = torch.stack(
            [v, u / u.abs().amax(2, keepdim=True) * 0.8, torch.cat([ring * 0.7, u[..., 2:]], 2), torus],
            1,
        )
        y = torch.randint(4, (n,), generator=g)
        q, r = torch.linalg.qr(torch.randn(n, 3, 3, generator=g))
        q = q * torch.diagonal(r, dim1=1, dim2=2).sign()[:, None]
        x = kinds[torch.arange(n), y] @ q
        return x + 0.03 * torch.randn(x.shape, generator=g), y

    class PointNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.point = nn.Sequential(
                nn.Conv1d(3, 48, 1, bias=False),
                nn.BatchNorm1d(48),
                nn.ReLU(),
                nn.Conv1d(48, 96, 1, bias=False),
                nn.BatchNorm1d(96),
                nn.ReLU(),
                nn.Conv1d(96, 192, 1, bias=False),
                nn.BatchNorm1d(192),
                nn.ReLU(),
            )
            self.head = nn.Sequential(nn.Linear(192, 96), nn.ReLU(), nn.Dropout(0.2), nn.Linear(96, 4))

        def forward(self, x):
            return self.head(self.point(x.transpose(1, 2)).amax(2))

    train, held = clouds(1500), clouds(400)
    model = PointNet()
    loader = DataLoader(TensorDataset(*train), batch_size=50, shuffle=True)
    epochs = 9
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(epochs):
        model.train()
        for x, y in loader:
            kept = torch.randperm(x.shape[1])[:72]
            loss = F.cross_entropy(model(x[:, kept]), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        scheduler.step()
        model.eval()
        with torch.no_grad():
            acc = (model(held[0]).argmax(1) == held[1]).float().mean()
        print(f"epoch {epoch} loss {loss.item():.3f} accuracy {acc:.3f}")


# --------------------------------------------------------------------------------------------------------------
class _DriftingSensors(IterableDataset):
    """An endless-looking stream whose relation turns slowly; nothing is seen twice, so nothing is shuffled."""

    def __init__(self, batches, size):
        self.batches, self.size = batches, size

    def __iter__(self):
        g = torch.Generator().manual_seed(9)
        w0, w1 = torch.randn(20, generator=g), torch.randn(20, generator=g)
        for k in range(self.batches):
            t = torch.tensor(3.0 * k / self.batches)
            x = torch.randn(self.size, 20, generator=g)
            score = x @ (torch.cos(t) * w0 + torch.sin(t) * w1) / 20**0.5
            y = (
                torch.tanh(2 * score)
                + 0.3 * x[:, 0] * x[:, 1]
                + 0.1 * torch.randn(self.size, generator=g)
            )
            yield x, y


def prequential_stream():
    """Online learning: every batch is first predicted, then learned from, once."""
    torch.manual_seed(9)
    batches = 600
    model = nn.Sequential(
        nn.Linear(20, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 1)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loader = DataLoader(_DriftingSensors(batches, 224), batch_size=None)
    recent, naive = None, None
    for k, (x, y) in enumerate(loader):
        loss = F.mse_loss(model(x).squeeze(1), y)  # the error before learning is the score of this batch
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        recent = loss.item() if recent is None else 0.97 * recent + 0.03 * loss.item()
        naive = y.var().item() if naive is None else 0.97 * naive + 0.03 * y.var().item()
        if k % 120 == 119:
            print(f"batch {k} running error {recent:.4f} variance {naive:.4f}")


# --------------------------------------------------------------------------------------------------------------
def sparse_mixture_of_experts():
    """Top-two routing with a load-balancing term; experts that a batch does not pick receive no gradient."""
    torch.manual_seed(10)
    g = torch.Generator().manual_seed(10)
    n = 6000
    x = torch.randn(n, 12, generator=g)
    region = (x[:, 0] > 0).long() * 2 + (x[:, 1] > 0).long()
    w = torch.randn(4, 12, generator=g)
    y = (x * w[region]).sum(1) / 12**0.5 + torch.sin(2 * x[:, 2]) + 0.05 * torch.randn(n, generator=g)
    xtr, ytr, xte, yte = x[:5000], y[:5000], x[5000:], y[5000:]

    class MoE(nn.Module):
        def __init__(self, experts=6, width=224):
            super().__init__()
            self.gate = nn.Linear(12, experts)
            self.experts = nn.ModuleList(
                nn.Sequential(
                    nn.Linear(12, width),
                    nn.ReLU(),
                    nn.Linear(width, width),
                    nn.ReLU(),
                    nn.Linear(width, 1),
                )
                for _ in range(experts)
            )

        def forward(self, x):
            probs = self.gate(x).softmax(1)
            top, which = probs.topk(2, 1)
            weight = top / top.sum(1, keepdim=True)
            out = torch.zeros(len(x))
            for k, expert in enumerate(self.experts):
                row, slot = (which == k).nonzero(as_tuple=True)
                if len(row):
                    out = out.index_add(0, row, expert(x[row]).squeeze(1) * weight[row, slot])
            share = F.one_hot(which, len(self.experts)).float().sum(1).mean(0) / 2
            balance = len(self.experts) * (share * probs.mean(0)).sum()
            return out, balance, share

    model = MoE()
    epochs = 7
    loader = DataLoader(TensorDataset(xtr, ytr), batch_size=64, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(loader))
    for epoch in range(epochs):
        model.train()
        for xb, yb in loader:
            out, balance, _ = model(xb)
            loss = F.mse_loss(out, yb) + 0.01 * balance
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
        model.eval()
        with torch.no_grad():
            out, _, share = model(xte)
        print(
            f"epoch {epoch} held-out R2 {1 - F.mse_loss(out, yte) / yte.var(correction=0):.3f} "
            f"shares {[round(s, 2) for s in share.tolist()]}"
        )


HEALTHY = [
    kfold_early_stopping,
    successive_halving,
    wide_and_deep_sparse,
    cox_survival,
    lambda_rank,
    bayesian_personalised_ranking,
    transductive_gcn,
    batched_graph_regression,
    point_cloud_sets,
    prequential_stream,
    sparse_mixture_of_experts,
]
