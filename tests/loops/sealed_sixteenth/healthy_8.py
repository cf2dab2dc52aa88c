"""Transfer, compression, continual, federated and active learning."""

import copy
import io

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn.utils import prune
from torch.utils.data import DataLoader, TensorDataset


def _digits(test_size=0.3):
    data = load_digits()
    x = (data.images / 16.0).astype(np.float32)[:, None]
    xtr, xte, ytr, yte = train_test_split(
        x, data.target, test_size=test_size, stratify=data.target, random_state=0
    )
    return (
        torch.from_numpy(xtr),
        torch.from_numpy(xte),
        torch.from_numpy(ytr).long(),
        torch.from_numpy(yte).long(),
    )


@torch.no_grad()
def _accuracy(model, x, y):
    was_training = model.training
    model.eval()
    acc = (model(x).argmax(1) == y).float().mean().item()
    model.train(was_training)
    return acc


# --------------------------------------------------------------------------------------------------------------
class _LoRALinear(nn.Module):
    """A frozen linear layer plus a low-rank update whose second factor starts at zero."""

    def __init__(self, base, rank=4, alpha=8.0):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.A = nn.Parameter(torch.randn(rank, base.in_features) / base.in_features**0.5)
        self.B = nn.Parameter(torch.zeros(base.out_features, rank))
        self.scale = alpha / rank

    def forward(self, x):
        return self.base(x) + (x @ self.A.t() @ self.B.t()) * self.scale

    @torch.no_grad()
    def merged(self):
        layer = nn.Linear(self.base.in_features, self.base.out_features)
        layer.weight.copy_(self.base.weight + self.scale * self.B @ self.A)
        layer.bias.copy_(self.base.bias)
        return layer


class _RowTransformer(nn.Module):
    """Every row of a digit is a token."""

    def __init__(self, width=64, depth=2, classes=10):
        super().__init__()
        self.embed = nn.Linear(8, width)
        self.pos = nn.Parameter(0.02 * torch.randn(1, 8, width))
        self.blocks = nn.ModuleList()
        for _ in range(depth):
            self.blocks.append(
                nn.ModuleDict(
                    {
                        "n1": nn.LayerNorm(width),
                        "qkv": nn.Linear(width, 3 * width),
                        "proj": nn.Linear(width, width),
                        "n2": nn.LayerNorm(width),
                        "up": nn.Linear(width, 3 * width),
                        "down": nn.Linear(3 * width, width),
                    }
                )
            )
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x):
        h = self.embed(x.squeeze(1)) + self.pos
        n, t, w = h.shape
        for b in self.blocks:
            q, k, v = (
                z.view(n, t, 4, w // 4).transpose(1, 2) for z in b["qkv"](b["n1"](h)).chunk(3, -1)
            )
            a = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, w)
            h = h + b["proj"](a)
            h = h + b["down"](F.gelu(b["up"](b["n2"](h))))
        return self.head(self.norm(h.mean(1)))


def lora_fine_tuning():
    """A row transformer is fitted to upright digits and adapted to transposed, inverted ones by LoRA and a new head."""
    torch.manual_seed(0)
    xtr, xte, ytr, yte = _digits()
    model = _RowTransformer()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    loader = DataLoader(TensorDataset(xtr, ytr), batch_size=64, shuffle=True)
    for _ in range(14):
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    print("source accuracy", _accuracy(model, xte, yte))

    def shifted(x):
        return 1 - x.transpose(2, 3)

    print("target accuracy before", _accuracy(model, shifted(xte), yte))
    model.requires_grad_(False)
    for block in model.blocks:
        for name in ("qkv", "proj", "up", "down"):
            block[name] = _LoRALinear(block[name], rank=8, alpha=16.0)
    model.head.requires_grad_(True)
    trainable = [p for p in model.parameters() if p.requires_grad]
    frozen = [p.clone() for p in model.parameters() if not p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=3e-3, weight_decay=0.0)
    for epoch in range(14):
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(shifted(x)), y).backward()
            optimizer.step()
    assert all(
        torch.equal(a, b) for a, b in zip(frozen, (p for p in model.parameters() if not p.requires_grad))
    )
    print("target accuracy after", _accuracy(model, shifted(xte), yte))
    for block in model.blocks:
        for name in ("qkv", "proj", "up", "down"):
            block[name] = block[name].merged()
    print("merged", _accuracy(model, shifted(xte), yte))


# --------------------------------------------------------------------------------------------------------------
def distillation_with_hints():
    """A teacher in eval mode teaches a small student: soft targets at a temperature and a feature hint by a hook."""
    torch.manual_seed(1)
    xtr, xte, ytr, yte = _digits(test_size=0.5)

    def net(c):
        return nn.Sequential(
            nn.Conv2d(1, c, 3, padding=1, bias=False),
            nn.BatchNorm2d(c),
            nn.ReLU(),
            nn.Conv2d(c, 2 * c, 3, padding=1, bias=False),
            nn.BatchNorm2d(2 * c),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(2 * c, 2 * c, 3, padding=1, bias=False),
            nn.BatchNorm2d(2 * c),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(0.1),
            nn.Linear(2 * c, 10),
        )

    loader = DataLoader(TensorDataset(xtr, ytr), batch_size=50, shuffle=True)
    teacher = net(48)
    optimizer = torch.optim.Adam(teacher.parameters(), lr=1e-3)
    for _ in range(10):
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(teacher(x), y).backward()
            optimizer.step()
    print("teacher", _accuracy(teacher, xte, yte))
    teacher.eval().requires_grad_(False)

    student = net(6)
    hint = nn.Conv2d(12, 96, 1)
    features = {}
    handles = [
        m[5].register_forward_hook(lambda _m, _i, out, key=key: features.__setitem__(key, out))
        for key, m in (("teacher", teacher), ("student", student))
    ]
    optimizer = torch.optim.Adam([*student.parameters(), *hint.parameters()], lr=4e-3)
    T = 3.0
    for epoch in range(16):
        student.train()
        for x, y in loader:
            with torch.no_grad():
                soft = (teacher(x) / T).log_softmax(1)
            logits = student(x)
            kd = (
                F.kl_div((logits / T).log_softmax(1), soft, reduction="batchmean", log_target=True)
                * T**2
            )
            match = F.mse_loss(hint(features["student"]), features["teacher"])
            loss = 0.7 * kd + 0.3 * F.cross_entropy(logits, y) + 0.5 * match
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if epoch % 4 == 3:
            print(
                f"epoch {epoch} kd {kd.item():.3f} hint {match.item():.3f} student {_accuracy(student, xte, yte):.3f}"
            )
    for h in handles:
        h.remove()


# --------------------------------------------------------------------------------------------------------------
def iterative_pruning():
    """Magnitude pruning in rounds with fine-tuning between; the masks are made permanent at the end."""
    torch.manual_seed(2)
    xtr, xte, ytr, yte = _digits()
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 800), nn.ReLU(), nn.Linear(800, 800), nn.ReLU(), nn.Linear(800, 10)
    )
    targets = [(m, "weight") for m in model if isinstance(m, nn.Linear)]
    loader = DataLoader(TensorDataset(xtr, ytr), batch_size=64, shuffle=True)

    def tune(epochs, lr):
        optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
        for _ in range(epochs):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()

    tune(8, 0.05)
    print("dense", _accuracy(model, xte, yte))
    for round_ in range(5):
        prune.global_unstructured(targets, prune.L1Unstructured, amount=0.45)
        before = _accuracy(model, xte, yte)
        tune(4, 0.02)
        zeros = sum((m.weight == 0).sum().item() for m, _ in targets) / sum(
            m.weight.numel() for m, _ in targets
        )
        print(
            f"round {round_} sparsity {zeros:.3f} before tuning {before:.3f} after {_accuracy(model, xte, yte):.3f}"
        )
    for m, name in targets:
        prune.remove(m, name)
    print("final", _accuracy(model, xte, yte))


# --------------------------------------------------------------------------------------------------------------
def elastic_weight_consolidation():
    """Two tasks in turn with a diagonal Fisher penalty from per-example gradients of labels drawn from the model."""
    torch.manual_seed(3)
    xtr, xte, ytr, yte = _digits()
    xtr, xte = xtr.flatten(1), xte.flatten(1)
    order = torch.randperm(64)
    tasks = [(xtr, xte), (xtr[:, order], xte[:, order])]
    model = nn.Sequential(
        nn.Linear(64, 640), nn.ReLU(), nn.Linear(640, 640), nn.ReLU(), nn.Linear(640, 10)
    )

    def fit(x, epochs, penalty=None):
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        for _ in range(epochs):
            for i in torch.randperm(len(x)).split(64):
                loss = F.cross_entropy(model(x[i]), ytr[i])
                if penalty is not None:
                    loss = loss + penalty()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    fit(tasks[0][0], 12)
    print(
        "after task one: one",
        _accuracy(model, tasks[0][1], yte),
        "two",
        _accuracy(model, tasks[1][1], yte),
    )
    params = {k: v.detach().clone() for k, v in model.named_parameters()}
    x = tasks[0][0][:600]
    with torch.no_grad():
        drawn = torch.distributions.Categorical(logits=model(x)).sample()

    def example_loss(p, xi, yi):
        return F.cross_entropy(functional_call(model, p, (xi[None],)), yi[None])

    fisher = {k: torch.zeros_like(v) for k, v in params.items()}
    for xi, yi in zip(x.split(100), drawn.split(100)):
        g = vmap(grad(example_loss), in_dims=(None, 0, 0))(params, xi, yi)
        for k in fisher:
            fisher[k] += g[k].pow(2).sum(0) / len(x)

    def penalty():
        return 2000.0 * sum(
            (fisher[k] * (p - params[k]) ** 2).sum() for k, p in model.named_parameters()
        )

    fit(tasks[1][0], 14, penalty)
    print(
        "after task two: one",
        _accuracy(model, tasks[0][1], yte),
        "two",
        _accuracy(model, tasks[1][1], yte),
    )


def class_incremental_replay():
    """Classes arrive in pairs; a reservoir of past examples with their logits is replayed (dark experience replay)."""
    torch.manual_seed(4)
    rng = np.random.default_rng(4)
    xtr, xte, ytr, yte = _digits()
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 48, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(768, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    size, seen = 200, 0
    bx, by, bl = torch.zeros(size, 1, 8, 8), torch.zeros(size, dtype=torch.long), torch.zeros(size, 10)
    for task in range(5):
        now = (ytr // 2 == task).nonzero().flatten()
        for epoch in range(6):
            for i in now[torch.randperm(len(now))].split(32):
                x, y = xtr[i], ytr[i]
                logits = model(x)
                loss = F.cross_entropy(logits, y)
                filled = min(seen, size)
                if filled >= 32:
                    j = torch.randint(filled, (32,))
                    k = torch.randint(filled, (32,))
                    loss = (
                        loss
                        + 0.1 * F.mse_loss(model(bx[j]), bl[j])
                        + F.cross_entropy(model(bx[k]), by[k])
                    )
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 5.0)
                optimizer.step()
                if epoch == 0:  # each example is offered to the reservoir once
                    for xi, yi, li in zip(x, y, logits.detach()):
                        slot = seen if seen < size else int(rng.integers(seen + 1))
                        if slot < size:
                            bx[slot], by[slot], bl[slot] = xi, yi, li
                        seen += 1
        so_far = yte // 2 <= task
        print(
            f"task {task} accuracy over classes so far {_accuracy(model, xte[so_far], yte[so_far]):.3f}"
        )


# --------------------------------------------------------------------------------------------------------------
def federated_averaging():
    """Eight clients of skewed labels; each round some train a copy with a fresh optimizer, weights averaged by size."""
    torch.manual_seed(5)
    rng = np.random.default_rng(5)
    xtr, xte, ytr, yte = _digits()
    shares = [[] for _ in range(8)]
    for c in range(10):
        index = rng.permutation((ytr == c).nonzero().flatten().numpy())
        cuts = (np.cumsum(rng.dirichlet(np.full(8, 0.6)))[:-1] * len(index)).astype(int)
        for share, part in zip(shares, np.split(index, cuts)):
            share.extend(part.tolist())
    clients = [torch.tensor(s) for s in shares]
    server = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.GroupNorm(4, 32),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.GroupNorm(8, 64),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(1024, 10),
    )
    for round_ in range(14):
        chosen = rng.choice(8, 5, replace=False)
        total = sum(len(clients[c]) for c in chosen)
        mean = {k: torch.zeros_like(v) for k, v in server.state_dict().items()}
        for c in chosen:
            local = copy.deepcopy(server)
            optimizer = torch.optim.SGD(local.parameters(), lr=0.05, momentum=0.9)
            for _ in range(2):
                for i in clients[c][torch.randperm(len(clients[c]))].split(48):
                    loss = F.cross_entropy(local(xtr[i]), ytr[i])
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
            for k, v in local.state_dict().items():
                mean[k] += v * (len(clients[c]) / total)
        server.load_state_dict(mean)
        if round_ % 3 == 1:
            print(f"round {round_} accuracy {_accuracy(server, xte, yte):.3f}")


# --------------------------------------------------------------------------------------------------------------
def active_learning_bald():
    """Rounds of labelling by mutual information under Monte Carlo dropout; a new model from scratch every round."""
    torch.manual_seed(6)
    xtr, xte, ytr, yte = _digits()
    labelled = torch.randperm(len(ytr))[:20]

    def build():
        return nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 48, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Dropout2d(0.1),
            nn.Flatten(),
            nn.Linear(768, 128),
            nn.ReLU(),
            nn.Dropout(0.4),
            nn.Linear(128, 10),
        )

    for round_ in range(6):
        model = build()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
        model.train()
        for _ in range(80):
            i = labelled[torch.randint(len(labelled), (32,))]
            loss = F.cross_entropy(model(xtr[i]), ytr[i])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"round {round_} labels {len(labelled)} accuracy {_accuracy(model, xte, yte):.3f}")
        pool = torch.ones(len(ytr), dtype=torch.bool)
        pool[labelled] = False
        pool = pool.nonzero().flatten()
        model.train()  # dropout stays on: the samples are the posterior
        with torch.no_grad():
            p = torch.stack([model(xtr[pool]).softmax(1) for _ in range(12)])
        mean = p.mean(0)
        entropy = -(mean * mean.clamp(min=1e-8).log()).sum(1)
        expected = -(p * p.clamp(min=1e-8).log()).sum(2).mean(0)
        labelled = torch.cat([labelled, pool[(entropy - expected).topk(20).indices]])


# --------------------------------------------------------------------------------------------------------------
class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, strength):
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad_output):
        return -ctx.strength * grad_output, None


def domain_adversarial():
    """DANN: labels from the source, a domain classifier behind a gradient reversal whose strength grows."""
    torch.manual_seed(7)
    xtr, xte, ytr, yte = _digits()

    def shift(x, g=None):
        noise = torch.rand(x.shape, generator=g)
        return (0.55 * x + 0.45 * noise).clamp(0, 1)

    half = len(xtr) // 2
    source, labels = xtr[:half], ytr[:half]
    target = shift(xtr[half:])
    held = shift(xte, torch.Generator().manual_seed(77))
    features = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 48, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(768, 96),
        nn.ReLU(),
    )
    classifier = nn.Linear(96, 10)
    domain = nn.Sequential(nn.Linear(96, 64), nn.ReLU(), nn.Linear(64, 1))
    model = nn.ModuleList([features, classifier, domain])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    steps = 320
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: (1 + 10 * s / steps) ** -0.75)
    flags = torch.cat([torch.ones(64), torch.zeros(64)])
    for step in range(steps):
        strength = 2 / (1 + np.exp(-10 * step / steps)) - 1
        i, j = torch.randint(len(source), (64,)), torch.randint(len(target), (64,))
        h = features(torch.cat([source[i], target[j]]))
        label_loss = F.cross_entropy(classifier(h[:64]), labels[i])
        domain_loss = F.binary_cross_entropy_with_logits(
            domain(_Reverse.apply(h, 0.3 * strength)).squeeze(1), flags
        )
        optimizer.zero_grad()
        (label_loss + domain_loss).backward()
        optimizer.step()
        scheduler.step()
        if step % 80 == 79:
            with torch.no_grad():
                s = (classifier(features(xte)).argmax(1) == yte).float().mean()
                t = (classifier(features(held)).argmax(1) == yte).float().mean()
            print(
                f"step {step} label {label_loss.item():.3f} domain {domain_loss.item():.3f} "
                f"source {s:.3f} target {t:.3f}"
            )


# --------------------------------------------------------------------------------------------------------------
def checkpoint_and_resume():
    """Training stops after half the epochs, everything goes through a file, and a fresh process-like setup continues."""
    xtr, xte, ytr, yte = _digits()

    def setup():
        torch.manual_seed(8)
        model = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(1024, 10),
        )
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
        generator = torch.Generator().manual_seed(8)
        loader = DataLoader(
            TensorDataset(xtr, ytr), batch_size=64, shuffle=True, drop_last=True, generator=generator
        )
        return model, optimizer, scheduler, generator, loader

    def run(state, epochs):
        model, optimizer, scheduler, _, loader = state
        for epoch in epochs:
            model.train()
            for x, y in loader:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
            scheduler.step()
            print(
                f"epoch {epoch} loss {loss.item():.4f} accuracy {_accuracy(model, xte, yte):.4f} "
                f"next lr {scheduler.get_last_lr()[0]:.2e}"
            )

    state = setup()
    run(state, range(5))
    model, optimizer, scheduler, generator, _ = state
    file = io.BytesIO()
    torch.save(
        {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scheduler": scheduler.state_dict(),
            "loader": generator.get_state(),
            "rng": torch.get_rng_state(),
            "epoch": 5,
        },
        file,
    )
    del state, model, optimizer, scheduler, generator

    file.seek(0)
    saved = torch.load(file, weights_only=True)
    state = setup()
    model, optimizer, scheduler, generator, _ = state
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    scheduler.load_state_dict(saved["scheduler"])
    generator.set_state(saved["loader"])
    torch.set_rng_state(saved["rng"])
    run(state, range(saved["epoch"], 10))


HEALTHY = [
    lora_fine_tuning,
    distillation_with_hints,
    iterative_pruning,
    elastic_weight_consolidation,
    class_incremental_replay,
    federated_averaging,
    active_learning_bald,
    domain_adversarial,
    checkpoint_and_resume,
]
