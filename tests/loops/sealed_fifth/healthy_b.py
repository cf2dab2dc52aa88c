import argparse as _corpus_module
import copy
import inspect
import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.model_selection import train_test_split
from torch.optim.swa_utils import SWALR, AveragedModel, update_bn
from torch.utils.data import DataLoader, TensorDataset


def get_digits(seed, test=0.25, image=False):
    X, y = load_digits(return_X_y=True)
    a, b, c, d = train_test_split(
        X.astype(np.float32) / 16.0, y, test_size=test, random_state=seed, stratify=y
    )
    mu, sd = a.mean(), a.std()
    a, b = torch.from_numpy((a - mu) / sd), torch.from_numpy((b - mu) / sd)
    if image:
        a, b = a.view(-1, 1, 8, 8), b.view(-1, 1, 8, 8)
    return a, torch.from_numpy(c), b, torch.from_numpy(d)


# ------------------------------------------------------------------ GCN
class GraphConvolution(nn.Module):
    def __init__(self, in_features, out_features):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(in_features, out_features))
        self.bias = nn.Parameter(torch.empty(out_features))
        stdv = 1.0 / math.sqrt(out_features)
        self.weight.data.uniform_(-stdv, stdv)
        self.bias.data.uniform_(-stdv, stdv)

    def forward(self, x, adj):
        return torch.spmm(adj, x @ self.weight) + self.bias


class GCN(nn.Module):
    def __init__(self, nfeat, nhid, nclass, dropout):
        super().__init__()
        self.gc1 = GraphConvolution(nfeat, nhid)
        self.gc2 = GraphConvolution(nhid, nclass)
        self.dropout = dropout

    def forward(self, x, adj):
        x = F.relu(self.gc1(x, adj))
        x = F.dropout(x, self.dropout, training=self.training)
        return F.log_softmax(self.gc2(x, adj), dim=1)


def gcn_sbm():
    np.random.seed(42)
    torch.manual_seed(42)
    n, k = 1500, 4
    z = np.random.randint(0, k, n)
    P = np.where(z[:, None] == z[None], 0.012, 0.0016)
    A = np.triu(np.random.rand(n, n) < P, 1)
    A = (A | A.T).astype(np.float32) + np.eye(n, dtype=np.float32)
    d = A.sum(1) ** -0.5
    adj = torch.tensor(d[:, None] * A * d[None]).to_sparse()
    feats = np.random.randn(n, 32).astype(np.float32)
    feats[:, :k] += 0.8 * np.eye(k, dtype=np.float32)[z]
    features, labels = torch.from_numpy(feats), torch.from_numpy(z)
    perm = torch.randperm(n)
    idx_train, idx_val, idx_test = perm[:300], perm[300:700], perm[700:]
    model = GCN(32, 32, k, 0.5)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)

    def accuracy(output, labels):
        return (output.max(1)[1] == labels).double().mean()

    for epoch in range(150):
        model.train()
        optimizer.zero_grad()
        output = model(features, adj)
        loss_train = F.nll_loss(output[idx_train], labels[idx_train])
        loss_train.backward()
        optimizer.step()
        model.eval()
        with torch.no_grad():
            output = model(features, adj)
        loss_val = F.nll_loss(output[idx_val], labels[idx_val])
        if epoch % 25 == 0:
            print(
                "Epoch: {:04d}".format(epoch + 1),
                "loss_train: {:.4f}".format(loss_train.item()),
                "loss_val: {:.4f}".format(loss_val.item()),
                "acc_val: {:.4f}".format(accuracy(output[idx_val], labels[idx_val]).item()),
            )
    model.eval()
    with torch.no_grad():
        out = model(features, adj)
    return "lower", F.nll_loss(out[idx_test], labels[idx_test]).item(), math.log(k)


# ------------------------------------------------------------------ no optimizer at all
def two_layer_by_hand():
    g = torch.Generator().manual_seed(7)
    X, y = load_diabetes(return_X_y=True)
    Xtr, Xte, ytr, yte = train_test_split(X, y, test_size=0.25, random_state=7)
    mx, sx, my, sy = Xtr.mean(0), Xtr.std(0), ytr.mean(), ytr.std()
    t = lambda a: torch.tensor(a, dtype=torch.float32)
    Xtr, Xte = t((Xtr - mx) / sx), t((Xte - mx) / sx)
    ytr, yte = t((ytr - my) / sy).unsqueeze(1), t((yte - my) / sy).unsqueeze(1)
    w1 = (torch.randn(10, 128, generator=g) * math.sqrt(2 / 10)).requires_grad_()
    b1 = torch.zeros(128, requires_grad=True)
    w2 = (torch.randn(128, 1, generator=g) * 0.05).requires_grad_()
    b2 = torch.zeros(1, requires_grad=True)
    params = [w1, b1, w2, b2]
    vel = [torch.zeros_like(p) for p in params]
    lr, mom, wd = 0.005, 0.9, 4e-3
    for epoch in range(20):
        order = torch.randperm(len(Xtr), generator=g)
        tot = 0.0
        for idx in order.split(32):
            xb, yb = Xtr[idx], ytr[idx]
            pred = (xb @ w1 + b1).clamp(min=0) @ w2 + b2
            loss = ((pred - yb) ** 2).mean()
            reg = wd * (w1.square().sum() + w2.square().sum())
            (loss + reg).backward()
            with torch.no_grad():
                for p, v in zip(params, vel):
                    v.mul_(mom).add_(p.grad)
                    p -= lr * v
                    p.grad = None
            tot += loss.item() * len(idx)
        if epoch == 12:
            lr *= 0.2
        if epoch % 4 == 0:
            print(epoch, tot / len(Xtr))
    with torch.no_grad():
        mse = (((Xte @ w1 + b1).relu() @ w2 + b2 - yte) ** 2).mean().item()
    return "lower", mse, ((yte - 0) ** 2).mean().item()


# ------------------------------------------------------------------ nanoGPT
class CausalSelfAttention(nn.Module):
    def __init__(self, n_embd, n_head, dropout):
        super().__init__()
        self.c_attn = nn.Linear(n_embd, 3 * n_embd, bias=False)
        self.c_proj = nn.Linear(n_embd, n_embd, bias=False)
        self.n_head, self.dropout = n_head, dropout
        self.resid_dropout = nn.Dropout(dropout)

    def forward(self, x):
        B, T, C = x.size()
        q, k, v = self.c_attn(x).split(C, dim=2)
        q, k, v = (t.view(B, T, self.n_head, C // self.n_head).transpose(1, 2) for t in (q, k, v))
        y = F.scaled_dot_product_attention(
            q, k, v, dropout_p=self.dropout if self.training else 0.0, is_causal=True
        )
        return self.resid_dropout(self.c_proj(y.transpose(1, 2).contiguous().view(B, T, C)))


class Block(nn.Module):
    def __init__(self, n_embd, n_head, dropout):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(n_embd), nn.LayerNorm(n_embd)
        self.attn = CausalSelfAttention(n_embd, n_head, dropout)
        self.mlp = nn.Sequential(
            nn.Linear(n_embd, 4 * n_embd), nn.GELU(), nn.Linear(4 * n_embd, n_embd), nn.Dropout(dropout)
        )

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    def __init__(self, vocab, block, n_layer=2, n_head=4, n_embd=64, dropout=0.05):
        super().__init__()
        self.block_size = block
        self.transformer = nn.ModuleDict(
            dict(
                wte=nn.Embedding(vocab, n_embd),
                wpe=nn.Embedding(block, n_embd),
                drop=nn.Dropout(dropout),
                h=nn.ModuleList([Block(n_embd, n_head, dropout) for _ in range(n_layer)]),
                ln_f=nn.LayerNorm(n_embd),
            )
        )
        self.lm_head = nn.Linear(n_embd, vocab, bias=False)
        self.transformer.wte.weight = self.lm_head.weight
        self.apply(self._init_weights)

    def _init_weights(self, m):
        if isinstance(m, (nn.Linear, nn.Embedding)):
            nn.init.normal_(m.weight, 0.0, 0.02)
        if isinstance(m, nn.Linear) and m.bias is not None:
            nn.init.zeros_(m.bias)

    def forward(self, idx, targets=None):
        pos = torch.arange(idx.size(1), device=idx.device)
        x = self.transformer.drop(self.transformer.wte(idx) + self.transformer.wpe(pos))
        for b in self.transformer.h:
            x = b(x)
        logits = self.lm_head(self.transformer.ln_f(x))
        if targets is None:
            return logits[:, [-1]], None
        return logits, F.cross_entropy(
            logits.view(-1, logits.size(-1)), targets.view(-1), ignore_index=-1
        )

    def configure_optimizers(self, wd, lr, betas):
        params = {n: p for n, p in self.named_parameters() if p.requires_grad}
        groups = [
            {"params": [p for p in params.values() if p.dim() >= 2], "weight_decay": wd},
            {"params": [p for p in params.values() if p.dim() < 2], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=lr, betas=betas)


def nano_gpt_source_code():
    torch.manual_seed(1337)
    text = inspect.getsource(_corpus_module)[:60000]
    chars = sorted(set(text))
    stoi = {c: i for i, c in enumerate(chars)}
    data = np.array([stoi[c] for c in text], dtype=np.uint16)
    n = int(0.9 * len(data))
    splits = {"train": data[:n], "val": data[n:]}
    block_size, batch_size, accum, max_iters, warm = 48, 10, 2, 130, 15
    rng = torch.Generator().manual_seed(0)

    def get_batch(split):
        d = splits[split]
        ix = torch.randint(len(d) - block_size, (batch_size,), generator=rng)
        x = torch.stack([torch.from_numpy(d[i : i + block_size].astype(np.int64)) for i in ix])
        y = torch.stack([torch.from_numpy(d[i + 1 : i + 1 + block_size].astype(np.int64)) for i in ix])
        return x, y

    model = GPT(len(chars), block_size)
    optimizer = model.configure_optimizers(0.1, 3e-3, (0.9, 0.95))
    ctx = torch.amp.autocast(device_type="cpu", dtype=torch.bfloat16)

    @torch.no_grad()
    def estimate_loss(k=6):
        out = {}
        model.eval()
        for s in ("train", "val"):
            losses = torch.zeros(k)
            for i in range(k):
                X, Y = get_batch(s)
                with ctx:
                    _, loss = model(X, Y)
                losses[i] = loss.item()
            out[s] = losses.mean()
        model.train()
        return out

    def get_lr(it):
        if it < warm:
            return 3e-3 * (it + 1) / (warm + 1)
        r = (it - warm) / (max_iters - warm)
        return 3e-4 + 0.5 * (1 + math.cos(math.pi * r)) * (3e-3 - 3e-4)

    X, Y = get_batch("train")
    for it in range(max_iters):
        for group in optimizer.param_groups:
            group["lr"] = get_lr(it)
        if it % 40 == 0:
            l = estimate_loss()
            print(f"step {it}: train loss {l['train']:.4f}, val loss {l['val']:.4f}")
        for micro in range(accum):
            with ctx:
                logits, loss = model(X, Y)
                loss = loss / accum
            X, Y = get_batch("train")
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        lossf = loss.item() * accum
    final = estimate_loss(12)["val"].item()
    p = np.bincount(splits["train"], minlength=len(chars)) / n
    return "lower", final, float(-(p[p > 0] * np.log(p[p > 0])).sum())


# ------------------------------------------------------------------ SAM
class SAM(torch.optim.Optimizer):
    def __init__(self, params, base_optimizer, rho=0.05, **kwargs):
        super().__init__(params, dict(rho=rho, **kwargs))
        self.base_optimizer = base_optimizer(self.param_groups, **kwargs)
        self.param_groups = self.base_optimizer.param_groups
        self.defaults.update(self.base_optimizer.defaults)

    @torch.no_grad()
    def first_step(self, zero_grad=False):
        norm = torch.norm(
            torch.stack(
                [p.grad.norm(p=2) for g in self.param_groups for p in g["params"] if p.grad is not None]
            ),
            p=2,
        )
        for group in self.param_groups:
            scale = group["rho"] / (norm + 1e-12)
            for p in group["params"]:
                if p.grad is None:
                    continue
                self.state[p]["old_p"] = p.data.clone()
                p.add_(p.grad * scale.to(p))
        if zero_grad:
            self.zero_grad()

    @torch.no_grad()
    def second_step(self, zero_grad=False):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                p.data = self.state[p]["old_p"]
        self.base_optimizer.step()
        if zero_grad:
            self.zero_grad()

    def step(self, closure=None):
        raise NotImplementedError("use first_step and second_step")


def _set_bn_momentum(model, on):
    for m in model.modules():
        if isinstance(m, nn.modules.batchnorm._BatchNorm):
            if on:
                m.momentum = m.backup_momentum
            else:
                m.backup_momentum = m.momentum
                m.momentum = 0


def sam_digits():
    torch.manual_seed(11)
    Xtr, ytr, Xte, yte = get_digits(3, image=True)
    model = nn.Sequential(
        nn.Conv2d(1, 40, 3, padding=1, bias=False),
        nn.BatchNorm2d(40),
        nn.ReLU(),
        nn.Conv2d(40, 48, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(48),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(48 * 16, 10),
    )
    opt = SAM(model.parameters(), torch.optim.SGD, rho=0.05, lr=0.03, momentum=0.9, weight_decay=5e-4)
    loader = DataLoader(TensorDataset(Xtr, ytr), batch_size=64, shuffle=True, drop_last=True)
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt.base_optimizer, 4 * len(loader))
    for epoch in range(4):
        model.train()
        for x, y in loader:
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            opt.first_step(zero_grad=True)
            _set_bn_momentum(model, False)
            F.cross_entropy(model(x), y).backward()
            opt.second_step(zero_grad=True)
            _set_bn_momentum(model, True)
            sched.step()
        model.eval()
        with torch.no_grad():
            vl = F.cross_entropy(model(Xte), yte).item()
        print(f"{epoch}: train {loss.item():.3f} test {vl:.3f}")
    return "lower", vl, math.log(10)


# ------------------------------------------------------------------ distillation
def knowledge_distillation():
    torch.manual_seed(0)
    Xtr, ytr, Xte, yte = get_digits(0)
    teacher = nn.Sequential(
        nn.Linear(64, 800),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(800, 800),
        nn.ReLU(),
        nn.Linear(800, 10),
    )
    student = nn.Sequential(nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 10))
    loader = DataLoader(TensorDataset(Xtr, ytr), batch_size=64, shuffle=True)

    def accuracy(m):
        m.eval()
        with torch.inference_mode():
            return (m(Xte).argmax(1) == yte).float().mean().item()

    opt = torch.optim.Adam(teacher.parameters(), lr=1e-3)
    for _ in range(4):
        teacher.train()
        for x, y in loader:
            opt.zero_grad()
            F.cross_entropy(teacher(x), y).backward()
            opt.step()
    print("teacher", accuracy(teacher))
    teacher.eval()
    for p in teacher.parameters():
        p.requires_grad = False
    T, w = 3.0, 0.7
    opt = torch.optim.Adam(student.parameters(), lr=4e-3)
    for ep in range(6):
        student.train()
        run = 0.0
        for x, y in loader:
            opt.zero_grad()
            with torch.no_grad():
                tl = teacher(x)
            sl = student(x)
            soft_t = F.softmax(tl / T, dim=-1)
            soft_s = F.log_softmax(sl / T, dim=-1)
            kd = torch.sum(soft_t * (soft_t.clamp_min(1e-12).log() - soft_s)) / sl.size(0) * T**2
            loss = w * kd + (1 - w) * F.cross_entropy(sl, y)
            loss.backward()
            opt.step()
            run += loss.item()
        print(ep, run / len(loader), accuracy(student))
    return "higher", accuracy(student), 0.5


# ------------------------------------------------------------------ mean teacher
def mean_teacher_semi_supervised():
    torch.manual_seed(21)
    Xtr, ytr, Xte, yte = get_digits(5)
    lab = torch.cat([(ytr == c).nonzero().flatten()[:12] for c in range(10)])
    mask = torch.ones(len(ytr), dtype=torch.bool)
    mask[lab] = False
    Xl, yl, Xu = Xtr[lab], ytr[lab], Xtr[mask]

    def make():
        return nn.Sequential(
            nn.Linear(64, 300),
            nn.BatchNorm1d(300),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Linear(300, 300),
            nn.BatchNorm1d(300),
            nn.ReLU(),
            nn.Linear(300, 10),
        )

    student, ema = make(), make()
    ema.load_state_dict(student.state_dict())
    for p in ema.parameters():
        p.detach_()
    opt = torch.optim.SGD(student.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-4)
    student.train()
    ema.train()  # teacher noise and batch statistics as in the paper's reference code
    steps = 200
    for step in range(steps):
        bl = torch.randint(len(Xl), (40,))
        bu = torch.randint(len(Xu), (88,))
        x = torch.cat([Xl[bl], Xu[bu]])
        s_out = student(x + 0.2 * torch.randn_like(x))
        with torch.no_grad():
            t_out = ema(x + 0.2 * torch.randn_like(x))
        class_loss = F.cross_entropy(s_out[:40], yl[bl])
        ramp = 8.0 * math.exp(-5 * (1 - min(1.0, step / 80)) ** 2)
        cons = (s_out.softmax(1) - t_out.softmax(1)).pow(2).mean(1).mean()
        loss = class_loss + ramp * cons
        opt.zero_grad()
        loss.backward()
        opt.step()
        alpha = min(1 - 1 / (step + 2), 0.97)
        with torch.no_grad():
            for ep, p in zip(ema.parameters(), student.parameters()):
                ep.mul_(alpha).add_(p, alpha=1 - alpha)
        if step % 50 == 49:
            print(step, class_loss.item(), cons.item())
    ema.eval()
    with torch.no_grad():
        return "lower", F.cross_entropy(ema(Xte), yte).item(), math.log(10)


# ------------------------------------------------------------------ SWA
def swa_breast_cancer():
    torch.manual_seed(2)
    X, y = load_breast_cancer(return_X_y=True)
    Xtr, Xte, ytr, yte = train_test_split(X, y, test_size=0.3, random_state=1, stratify=y)
    mu, sd = Xtr.mean(0), Xtr.std(0)
    tr = TensorDataset(torch.tensor((Xtr - mu) / sd).float(), torch.tensor(ytr).float())
    Xv, yv = torch.tensor((Xte - mu) / sd).float(), torch.tensor(yte).float()
    loader = DataLoader(tr, batch_size=32, shuffle=True)
    model = nn.Sequential(
        nn.Linear(30, 512),
        nn.BatchNorm1d(512),
        nn.ReLU(),
        nn.Linear(512, 512),
        nn.BatchNorm1d(512),
        nn.ReLU(),
        nn.Linear(512, 1),
    )
    opt = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    swa_model = AveragedModel(model)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=15)
    swa_start, swa_scheduler = 10, SWALR(opt, swa_lr=0.02, anneal_epochs=2)
    crit = nn.BCEWithLogitsLoss()
    for epoch in range(16):
        model.train()
        for xb, yb in loader:
            opt.zero_grad()
            crit(model(xb).squeeze(-1), yb).backward()
            opt.step()
        if epoch >= swa_start:
            swa_model.update_parameters(model)
            swa_scheduler.step()
        else:
            scheduler.step()
    update_bn(loader, swa_model)
    swa_model.eval()
    with torch.no_grad():
        loss = crit(swa_model(Xv).squeeze(-1), yv).item()
    p = ytr.mean()
    return "lower", loss, float(-(yte.mean() * np.log(p) + (1 - yte.mean()) * np.log(1 - p)))


# ------------------------------------------------------------------ self-supervision
def _augment(x):
    """random shift by up to one pixel, contrast and noise on (N, 1, 8, 8)"""
    n = x.size(0)
    pad = F.pad(x, (1, 1, 1, 1), value=x.min().item())
    out = torch.empty_like(x)
    dx, dy = torch.randint(0, 3, (n,)).tolist(), torch.randint(0, 3, (n,)).tolist()
    for i in range(n):
        out[i] = pad[i, :, dy[i] : dy[i] + 8, dx[i] : dx[i] + 8]
    return out * (0.8 + 0.4 * torch.rand(n, 1, 1, 1)) + 0.2 * torch.randn_like(out)


def _encoder(dim):
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, dim),
    )


def nt_xent(z1, z2, tau):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    n = z1.size(0)
    sim = z @ z.t() / tau
    sim = sim.masked_fill(torch.eye(2 * n, dtype=torch.bool), float("-inf"))
    pos = torch.cat([torch.diag(sim, n), torch.diag(sim, -n)])
    return (-pos + torch.logsumexp(sim, dim=1)).mean()


def simclr_digits():
    torch.manual_seed(8)
    Xtr, ytr, Xte, yte = get_digits(9, image=True)
    enc, proj = _encoder(64), nn.Sequential(nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32))
    opt = torch.optim.Adam(list(enc.parameters()) + list(proj.parameters()), lr=2e-3, weight_decay=1e-6)
    bs, tau = 128, 0.3
    losses = []
    for epoch in range(9):
        perm = torch.randperm(len(Xtr))
        enc.train(), proj.train()
        for i in range(0, len(perm) - bs + 1, bs):
            x = Xtr[perm[i : i + bs]]
            loss = nt_xent(proj(enc(_augment(x))), proj(enc(_augment(x))), tau)
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
        print(f"epoch {epoch}: {np.mean(losses[-10:]):.3f}")
    # linear probe on frozen features
    enc.eval()
    with torch.no_grad():
        ftr, fte = enc(Xtr), enc(Xte)
    mu, sd = ftr.mean(0), ftr.std(0) + 1e-6
    ftr, fte = (ftr - mu) / sd, (fte - mu) / sd
    probe = nn.Linear(64, 10)
    popt = torch.optim.Adam(probe.parameters(), lr=2e-2)
    for _ in range(60):
        popt.zero_grad()
        F.cross_entropy(probe(ftr), ytr).backward()
        popt.step()
    acc = (probe(fte).argmax(1) == yte).float().mean().item()
    print("linear probe", acc)
    return "lower", float(np.mean(losses[-10:])), math.log(2 * bs - 1)


class BYOL(nn.Module):
    def __init__(self, dim=64, tau=0.97):
        super().__init__()
        self.online = nn.Sequential(_encoder(dim), nn.BatchNorm1d(dim), nn.ReLU(), nn.Linear(dim, 32))
        self.predictor = nn.Sequential(
            nn.Linear(32, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 32)
        )
        self.target = copy.deepcopy(self.online).requires_grad_(False)
        self.tau = tau

    @torch.no_grad()
    def update_target(self):
        for o, t in zip(self.online.parameters(), self.target.parameters()):
            t.data = self.tau * t.data + (1 - self.tau) * o.data

    def forward(self, v1, v2):
        p1, p2 = self.predictor(self.online(v1)), self.predictor(self.online(v2))
        with torch.no_grad():
            t1, t2 = self.target(v1), self.target(v2)
        cos = lambda a, b: 2 - 2 * (F.normalize(a, dim=-1) * F.normalize(b, dim=-1)).sum(-1)
        return (cos(p1, t2.detach()) + cos(p2, t1.detach())).mean()


def byol_digits():
    torch.manual_seed(4)
    Xtr, ytr, Xte, yte = get_digits(4, image=True)
    learner = BYOL()
    opt = torch.optim.AdamW(
        [p for p in learner.parameters() if p.requires_grad], lr=2e-3, weight_decay=1e-4
    )
    loader = DataLoader(TensorDataset(Xtr), batch_size=96, shuffle=True, drop_last=True)
    learner.train()
    for epoch in range(10):
        for (x,) in loader:
            loss = learner(_augment(x), _augment(x))
            opt.zero_grad()
            loss.backward()
            opt.step()
            learner.update_target()
        print(epoch, loss.item())
    learner.eval()
    with torch.no_grad():
        a, b = F.normalize(learner.online[0](Xtr), dim=1), F.normalize(learner.online[0](Xte), dim=1)
        print("feature std", a.std(0).mean().item())
        knn = ytr[(b @ a.t()).topk(5, dim=1).indices].mode(1).values
    return "higher", (knn == yte).float().mean().item(), 0.5


LOOPS = [
    gcn_sbm,
    two_layer_by_hand,
    nano_gpt_source_code,
    sam_digits,
    knowledge_distillation,
    mean_teacher_semi_supervised,
    swa_breast_cancer,
    simclr_digits,
    byol_digits,
]
