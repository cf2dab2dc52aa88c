"""Self-supervised, semi-supervised and metric learning."""

import copy
import math

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, Sampler, TensorDataset


def _digits():
    data = load_digits()
    x = (data.images / 16.0).astype(np.float32)[:, None]
    xtr, xte, ytr, yte = train_test_split(
        x, data.target, test_size=0.3, stratify=data.target, random_state=0
    )
    return (
        torch.from_numpy(xtr),
        torch.from_numpy(xte),
        torch.from_numpy(ytr).long(),
        torch.from_numpy(yte).long(),
    )


def _augment(x):
    """Random shift, rotation and scale by an affine grid, contrast and noise; every image its own."""
    n = len(x)
    angle = (torch.rand(n) - 0.5) * 0.6
    scale = 1 + (torch.rand(n) - 0.5) * 0.4
    shift = (torch.rand(n, 2) - 0.5) * 0.5
    cos, sin = angle.cos() * scale, angle.sin() * scale
    theta = torch.stack(
        [torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1
    )
    x = F.grid_sample(x, F.affine_grid(theta, x.shape, align_corners=False), align_corners=False)
    return x * (0.7 + 0.6 * torch.rand(n, 1, 1, 1)) + 0.08 * torch.randn_like(x)


def _encoder(width=128):
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


@torch.no_grad()
def _probe(encoder, xtr, ytr, xte, yte, labelled=200):
    was_training = encoder.training
    encoder.eval()
    a, b = encoder(xtr[:labelled]), encoder(xte)
    mean, std = a.mean(0), a.std(0) + 1e-6
    encoder.train(was_training)
    fit = LogisticRegression(max_iter=500, C=0.1).fit(((a - mean) / std).numpy(), ytr[:labelled].numpy())
    return fit.score(((b - mean) / std).numpy(), yte.numpy())


# --------------------------------------------------------------------------------------------------------------
def simclr_nt_xent():
    """Contrastive learning: the batch is its own set of negatives, the diagonal is masked."""
    torch.manual_seed(0)
    xtr, xte, ytr, yte = _digits()
    encoder = _encoder()
    projector = nn.Sequential(nn.Linear(128, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 48))
    model = nn.Sequential(encoder, projector)
    loader = DataLoader(xtr, batch_size=128, shuffle=True, drop_last=True)
    epochs = 14
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(loader))
    print("probe before", _probe(encoder, xtr, ytr, xte, yte))
    model.train()
    for epoch in range(epochs):
        for x in loader:
            n = len(x)
            z = F.normalize(model(torch.cat([_augment(x), _augment(x)])), dim=1)
            similarity = z @ z.t() / 0.3
            similarity.fill_diagonal_(float("-inf"))
            target = torch.cat([torch.arange(n) + n, torch.arange(n)])
            loss = F.cross_entropy(similarity, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
        if epoch % 4 == 1:
            print(
                f"epoch {epoch} loss {loss.item():.3f} probe {_probe(encoder, xtr, ytr, xte, yte):.3f}"
            )


def byol_momentum_target():
    """No negatives: a predictor chases a slowly moving copy whose rate rises to one along a cosine."""
    torch.manual_seed(1)
    xtr, xte, ytr, yte = _digits()

    def head(i, o):
        return nn.Sequential(nn.Linear(i, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, o))

    online = nn.Sequential(_encoder(96), head(96, 64))
    predictor = head(64, 64)
    target = copy.deepcopy(online).requires_grad_(False)
    params = [*online.parameters(), *predictor.parameters()]
    loader = DataLoader(xtr, batch_size=96, shuffle=True, drop_last=True)
    epochs, base = 9, 0.9
    total, step = epochs * len(loader), 0
    optimizer = torch.optim.AdamW(params, lr=2e-3, weight_decay=1e-4)
    for epoch in range(epochs):
        for x in loader:
            a, b = _augment(x), _augment(x)
            with torch.no_grad():
                ta, tb = target(a), target(b)
            loss = 4 - 2 * (
                F.cosine_similarity(predictor(online(a)), tb).mean()
                + F.cosine_similarity(predictor(online(b)), ta).mean()
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rate = 1 - (1 - base) * (math.cos(math.pi * step / total) + 1) / 2
            with torch.no_grad():
                for t, o in zip(target.parameters(), online.parameters()):
                    t.lerp_(o, 1 - rate)
            step += 1
        if epoch % 4 == 0:
            with torch.no_grad():
                spread = F.normalize(target(_augment(xtr[:256])), dim=1).std(0).mean()
            print(
                f"epoch {epoch} loss {loss.item():.3f} spread {spread:.3f} "
                f"probe {_probe(online[0], xtr, ytr, xte, yte):.3f}"
            )


def vicreg():
    """Variance, invariance and covariance terms; both branches get gradient and share weights."""
    torch.manual_seed(2)
    xtr, xte, ytr, yte = _digits()
    encoder = _encoder()
    expander = nn.Sequential(nn.Linear(128, 192), nn.BatchNorm1d(192), nn.ReLU(), nn.Linear(192, 96))
    model = nn.Sequential(encoder, expander)
    loader = DataLoader(xtr, batch_size=128, shuffle=True, drop_last=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=1.5e-3)

    def off_diagonal(m):
        return m - torch.diag(torch.diagonal(m))

    for epoch in range(14):
        for x in loader:
            a, b = model(_augment(x)), model(_augment(x))
            invariance = F.mse_loss(a, b)
            variance = sum(F.relu(1 - (v.var(0) + 1e-4).sqrt()).mean() for v in (a, b))
            covariance = sum(off_diagonal(torch.cov(v.t())).pow(2).sum() / v.shape[1] for v in (a, b))
            loss = 25 * invariance + 12.5 * variance + covariance
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if epoch % 4 == 1:
            print(
                f"epoch {epoch} invariance {invariance.item():.3f} variance {variance.item():.3f} "
                f"covariance {covariance.item():.3f} probe {_probe(encoder, xtr, ytr, xte, yte):.3f}"
            )


# --------------------------------------------------------------------------------------------------------------
def masked_autoencoder():
    """A transformer sees eight of sixteen patches and paints the rest; error counted on hidden patches only."""
    torch.manual_seed(3)
    xtr, xte, _, _ = _digits()

    def patches(x):
        return F.unfold(x, 2, stride=2).transpose(1, 2)  # n, 16, 4

    train, held = patches(xtr), patches(xte)
    mean, std = train.mean((0, 1)), train.std((0, 1))
    train, held = (train - mean) / std, (held - mean) / std
    width, keep = 64, 8

    class MAE(nn.Module):
        def __init__(self):
            super().__init__()

            def body(depth):
                layer = nn.TransformerEncoderLayer(
                    width, 4, 128, dropout=0.0, batch_first=True, norm_first=True
                )
                return nn.TransformerEncoder(
                    layer, depth, norm=nn.LayerNorm(width), enable_nested_tensor=False
                )

            self.embed, self.out = nn.Linear(4, width), nn.Linear(width, 4)
            self.pos_e = nn.Parameter(0.02 * torch.randn(1, 16, width))
            self.pos_d = nn.Parameter(0.02 * torch.randn(1, 16, width))
            self.mask = nn.Parameter(0.02 * torch.randn(1, 1, width))
            self.encoder, self.decoder = body(2), body(1)

        def forward(self, p):
            n = len(p)
            order = torch.rand(n, 16).argsort(1)
            back = order.argsort(1)
            seen = order[:, :keep, None].expand(-1, -1, width)
            h = self.encoder((self.embed(p) + self.pos_e).gather(1, seen))
            full = torch.cat([h, self.mask.expand(n, 16 - keep, -1)], 1)
            full = full.gather(1, back[:, :, None].expand(-1, -1, width))
            hidden = (back >= keep).float()
            error = (self.out(self.decoder(full + self.pos_d)) - p).pow(2).mean(2)
            return (error * hidden).sum() / hidden.sum()

    model = MAE()
    loader = DataLoader(train, batch_size=64, shuffle=True)
    epochs = 24
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0.05)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 3e-3, epochs=epochs, steps_per_epoch=len(loader), pct_start=0.15
    )
    print(f"error of the mean patch {(held - train.mean(0)).pow(2).mean():.4f}")
    for epoch in range(epochs):
        model.train()
        for p in loader:
            loss = model(p)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
        if epoch % 4 == 3:
            model.eval()
            with torch.no_grad():
                print(f"epoch {epoch} held-out error {model(held):.4f}")


# --------------------------------------------------------------------------------------------------------------
class _PK(Sampler):
    """Batches of P classes with K examples each."""

    def __init__(self, labels, p, k, batches):
        self.by_class = [(labels == c).nonzero().flatten() for c in labels.unique()]
        self.p, self.k, self.batches = p, k, batches

    def __len__(self):
        return self.batches

    def __iter__(self):
        for _ in range(self.batches):
            chosen = torch.randperm(len(self.by_class))[: self.p].tolist()
            yield torch.cat(
                [self.by_class[c][torch.randperm(len(self.by_class[c]))[: self.k]] for c in chosen]
            ).tolist()


def batch_all_triplets():
    """Metric learning with every violating triplet of a P x K batch; judged by retrieval, unseen classes included."""
    torch.manual_seed(4)
    xtr, xte, ytr, yte = _digits()
    seen = ytr < 7
    x, y = xtr[seen], ytr[seen]
    new = yte >= 7
    loader = DataLoader(TensorDataset(x, y), batch_sampler=_PK(y, p=7, k=8, batches=30))
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.GroupNorm(8, 32),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.GroupNorm(8, 64),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.GroupNorm(8, 64),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(1024, 32),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-4)

    def recall_at_1(x, y):
        with torch.no_grad():
            z = F.normalize(model(x), dim=1)
        d = torch.cdist(z, z).fill_diagonal_(float("inf"))
        return (y[d.argmin(1)] == y).float().mean().item()

    for epoch in range(8):
        losses, active = [], []
        for xb, yb in loader:
            z = F.normalize(model(_augment(xb)), dim=1)
            d = 2 - 2 * z @ z.t()
            same = yb[:, None] == yb[None]
            other = ~torch.eye(len(yb), dtype=torch.bool)
            valid = (same & other)[:, :, None] & ~same[:, None, :]
            violation = F.relu(d[:, :, None] - d[:, None, :] + 0.3)[valid]
            hard = (violation > 0).sum()
            loss = violation.sum() / hard.clamp(min=1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            active.append(hard.item() / len(violation))
        print(
            f"epoch {epoch} loss {np.mean(losses):.3f} active {np.mean(active):.3f} seen classes "
            f"{recall_at_1(xte[~new], yte[~new]):.3f} new classes {recall_at_1(xte[new], yte[new]):.3f}"
        )


# --------------------------------------------------------------------------------------------------------------
def prototypical_episodes():
    """Few-shot episodes: prototypes from a support set, loss on the queries; new classes at test."""
    torch.manual_seed(5)
    xtr, xte, ytr, yte = _digits()
    pools = [xtr[ytr == c] for c in range(7)]
    new = [xte[yte == c] for c in range(7, 10)]
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.GroupNorm(8, 32),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.GroupNorm(8, 64),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.GroupNorm(8, 64),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
    )

    def episode(pools, ways, shots, queries):
        chosen = torch.randperm(len(pools))[:ways].tolist()
        take = [pools[c][torch.randperm(len(pools[c]))[: shots + queries]] for c in chosen]
        support = torch.cat([t[:shots] for t in take])
        query = torch.cat([t[shots:] for t in take])
        z = model(torch.cat([support, query]))
        prototypes = z[: ways * shots].view(ways, shots, -1).mean(1)
        logits = -torch.cdist(z[ways * shots :], prototypes).pow(2) / z.shape[1]
        return logits, torch.arange(ways).repeat_interleave(queries)

    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=100, gamma=0.5)
    for step in range(300):
        logits, y = episode(pools, ways=5, shots=5, queries=12)
        loss = F.cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        if step % 75 == 74:
            with torch.no_grad():
                tests = [episode(new, 3, 5, 15) for _ in range(40)]
            hits = [(o.argmax(1) == t).float().mean().item() for o, t in tests]
            print(f"step {step} loss {loss.item():.3f} three new classes {np.mean(hits):.3f}")


# --------------------------------------------------------------------------------------------------------------
def fixmatch_few_labels():
    """Semi-supervised: confident predictions on weak views become targets of strong views; mean-teacher weights."""
    torch.manual_seed(6)
    xtr, xte, ytr, yte = _digits()
    labelled = torch.cat([(ytr == c).nonzero().flatten()[:5] for c in range(10)])
    rest = torch.ones(len(ytr), dtype=torch.bool)
    rest[labelled] = False
    unlabelled = xtr[rest]
    model = nn.Sequential(_encoder(96), nn.Linear(96, 10))
    teacher = copy.deepcopy(model).eval().requires_grad_(False)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.03, momentum=0.9, nesterov=True, weight_decay=5e-4
    )

    def weak(x):
        n = len(x)  # every image shifted by at most one pixel
        rows = torch.randint(3, (n, 1, 1)) + torch.arange(8)[:, None]
        columns = torch.randint(3, (n, 1, 1)) + torch.arange(8)
        return F.pad(x, (1, 1, 1, 1))[torch.arange(n)[:, None, None], 0, rows, columns][:, None]

    for step in range(220):
        model.train()
        i = labelled[torch.randint(len(labelled), (32,))]
        u = unlabelled[torch.randint(len(unlabelled), (96,))]
        logits = model(torch.cat([weak(xtr[i]), weak(u), _augment(u)]))
        l, w, s = logits[:32], logits[32:128], logits[128:]
        confidence, pseudo = w.detach().softmax(1).max(1)
        mask = (confidence > 0.9).float()
        loss = F.cross_entropy(l, ytr[i]) + (F.cross_entropy(s, pseudo, reduction="none") * mask).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate = min(0.98, 1 - 1 / (step + 2))
        with torch.no_grad():
            for t, m in zip(teacher.parameters(), model.parameters()):
                t.lerp_(m, 1 - rate)
            for t, m in zip(teacher.buffers(), model.buffers()):
                t.copy_(m)
        if step % 55 == 54:
            with torch.no_grad():
                acc = (teacher(xte).argmax(1) == yte).float().mean()
            print(
                f"step {step} loss {loss.item():.3f} used {mask.mean():.2f} teacher accuracy {acc:.3f}"
            )


HEALTHY = [
    simclr_nt_xent,
    byol_momentum_target,
    vicreg,
    masked_autoencoder,
    batch_all_triplets,
    prototypical_episodes,
    fixmatch_few_labels,
]
