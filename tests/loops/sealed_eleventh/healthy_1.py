"""Unusual but healthy loops."""

import copy
import itertools

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.preprocessing import StandardScaler
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.optim.swa_utils import SWALR, AveragedModel, update_bn
from torch.utils.data import DataLoader, TensorDataset


def digits(n_train=1300):
    data = load_digits()
    x = torch.tensor(data.data / 16.0, dtype=torch.float32)
    y = torch.tensor(data.target)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(8))
    x, y = x[order], y[order]
    return x[:n_train], y[:n_train], x[n_train:], y[n_train:]


def lbfgs_full_batch_wine() -> None:
    """L-BFGS with a closure on the whole (small) data set: the same batch in every step, many evaluations per step."""
    torch.manual_seed(41)
    x, y = load_wine(return_X_y=True)
    x = torch.tensor(StandardScaler().fit_transform(x), dtype=torch.float32)
    y = torch.tensor(y)
    model = nn.Sequential(nn.Linear(13, 8), nn.Tanh(), nn.Linear(8, 3))
    opt = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=4, history_size=8)

    def closure():
        opt.zero_grad()
        penalty = sum(p.square().sum() for p in model.parameters())
        loss = F.cross_entropy(model(x), y) + 1e-3 * penalty
        loss.backward()
        return loss

    losses = [opt.step(closure).item() for _ in range(80)]
    acc = (model(x).argmax(1) == y).float().mean().item()
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f} acc {acc:.3f}")


def truncated_bptt_stateful_text() -> None:
    """Contiguous text streams: the hidden state is carried on purpose from chunk to chunk, detached, and reset once per epoch."""
    torch.manual_seed(42)
    text = load_diabetes().DESCR + load_breast_cancer().DESCR + load_digits().DESCR
    chars = sorted(set(text))
    ids = torch.tensor([chars.index(c) for c in text])
    streams, chunk = 16, 20
    length = len(ids) // streams
    grid = ids[: streams * length].view(streams, length)
    emb, rnn, out = (
        nn.Embedding(len(chars), 24),
        nn.LSTM(24, 64, batch_first=True),
        nn.Linear(64, len(chars)),
    )
    params = list(itertools.chain(emb.parameters(), rnn.parameters(), out.parameters()))
    opt = torch.optim.Adam(params, lr=5e-3)
    first = None
    for epoch in range(16):
        state, total, n = None, 0.0, 0
        for start in range(0, length - 1 - chunk, chunk):
            x, y = grid[:, start : start + chunk], grid[:, start + 1 : start + chunk + 1]
            h, state = rnn(emb(x), state)
            state = tuple(s.detach() for s in state)
            loss = F.cross_entropy(out(h).transpose(1, 2), y)
            for p in params:
                p.grad = None
            loss.backward()
            nn.utils.clip_grad_norm_(params, 1.0)
            opt.step()
            total, n = total + loss.item(), n + 1
        first = first or total / n
    print(f"loss {first:.3f} -> {total / n:.3f}")


def optimizer_inside_backward() -> None:
    """One optimizer per parameter, stepped and cleared in a hook as soon as its gradient is ready; no step() in the loop."""
    torch.manual_seed(43)
    xtr, ytr, xte, yte = digits()
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizers = {p: torch.optim.Adam([p], lr=2e-3, foreach=False) for p in model.parameters()}

    def hook(p):
        optimizers[p].step()
        optimizers[p].zero_grad()

    for p in model.parameters():
        p.register_post_accumulate_grad_hook(hook)
    losses = []
    for epoch in range(10):
        for idx in torch.randperm(len(xtr)).split(64):
            loss = F.cross_entropy(model(xtr[idx]), ytr[idx])
            loss.backward()
            losses.append(loss.item())
    acc = (model(xte).argmax(1) == yte).float().mean().item()
    print(f"loss {losses[0]:.3f} -> {np.mean(losses[-20:]):.3f} acc {acc:.3f}")


def sharpness_aware_minimisation() -> None:
    """SAM: two forward and backward passes on the same batch for one optimizer step, weights perturbed and put back by hand."""
    torch.manual_seed(44)
    xtr, ytr, xte, yte = digits()
    model = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 10))
    opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    rho = 0.05
    losses = []
    for epoch in range(8):
        for idx in torch.randperm(len(xtr)).split(64):
            x, y = xtr[idx], ytr[idx]
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            with torch.no_grad():
                norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
                shifts = [rho * p.grad / (norm + 1e-12) for p in model.parameters()]
                for p, e in zip(model.parameters(), shifts):
                    p.add_(e)
            opt.zero_grad()
            F.cross_entropy(model(x), y).backward()
            with torch.no_grad():
                for p, e in zip(model.parameters(), shifts):
                    p.sub_(e)
            opt.step()
            opt.zero_grad()
            losses.append(loss.item())
    acc = (model(xte).argmax(1) == yte).float().mean().item()
    print(f"loss {losses[0]:.3f} -> {np.mean(losses[-20:]):.3f} acc {acc:.3f}")


def vmapped_ensemble_functional_sgd() -> None:
    """Five networks trained at once with torch.func: stacked parameters, functional gradients, SGD written by hand, no optimizer."""
    torch.manual_seed(45)
    xtr, ytr, xte, yte = digits()
    nets = [nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10)) for _ in range(5)]
    params, _ = stack_module_state(nets)
    params = {k: v.detach() for k, v in params.items()}
    skeleton = copy.deepcopy(nets[0]).to("meta")

    def loss_fn(p, x, y):
        return F.cross_entropy(functional_call(skeleton, p, (x,)), y)

    step = vmap(grad_and_value(loss_fn), in_dims=(0, 0, 0))
    history = []
    for it in range(250):
        idx = torch.randint(0, len(xtr), (5, 48))
        grads, losses = step(params, xtr[idx], ytr[idx])
        params = {k: v - 0.5 * grads[k] for k, v in params.items()}
        history.append(losses.mean().item())
    with torch.no_grad():
        logits = vmap(lambda p: functional_call(skeleton, p, (xte,)))(params)
    acc = (logits.softmax(-1).mean(0).argmax(1) == yte).float().mean().item()
    print(f"loss {history[0]:.3f} -> {np.mean(history[-20:]):.3f} acc {acc:.3f}")


def frozen_features_linear_probe() -> None:
    """A pretrained backbone stays in eval mode and under no_grad; only the new head is in the optimizer and learns."""
    torch.manual_seed(46)
    xtr, ytr, xte, yte = digits()
    backbone = nn.Sequential(nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Dropout(0.1))
    pretext = nn.Linear(128, 2)
    opt = torch.optim.Adam([*backbone.parameters(), *pretext.parameters()], lr=3e-3)
    for epoch in range(4):
        for idx in torch.randperm(len(xtr)).split(64):
            loss = F.cross_entropy(pretext(backbone(xtr[idx])), ytr[idx] % 2)
            opt.zero_grad()
            loss.backward()
            opt.step()
    backbone.eval().requires_grad_(False)
    head = nn.Linear(128, 10)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    opt = torch.optim.SGD(head.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for epoch in range(10):
        for idx in torch.randperm(len(xtr)).split(64):
            with torch.no_grad():
                features = backbone(xtr[idx])
            loss = F.cross_entropy(head(features), ytr[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
    acc = (head(backbone(xte)).argmax(1) == yte).float().mean().item()
    print(f"loss {losses[0]:.3f} -> {np.mean(losses[-20:]):.3f} acc {acc:.3f}")


def vector_quantised_autoencoder() -> None:
    """VQ-VAE: detach in the straight-through estimator and in both codebook terms is part of the method."""
    torch.manual_seed(47)
    xtr, _, xte, _ = digits()
    enc = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8 * 4))
    dec = nn.Sequential(nn.Linear(8 * 4, 64), nn.ReLU(), nn.Linear(64, 64))
    codebook = nn.Embedding(32, 4)
    nn.init.uniform_(codebook.weight, -0.5, 0.5)
    opt = torch.optim.Adam([*enc.parameters(), *dec.parameters(), *codebook.parameters()], lr=3e-3)

    def forward(x):
        z = enc(x).view(-1, 8, 4)
        code = torch.cdist(z.reshape(-1, 4), codebook.weight).argmin(1).view(-1, 8)
        q = codebook(code)
        vq = F.mse_loss(q, z.detach()) + 0.25 * F.mse_loss(z, q.detach())
        return dec((z + (q - z).detach()).flatten(1)), vq

    losses = []
    for epoch in range(14):
        for idx in torch.randperm(len(xtr)).split(64):
            rec, vq = forward(xtr[idx])
            loss = F.mse_loss(rec, xtr[idx]) + 0.1 * vq
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
    with torch.no_grad():
        mse = F.mse_loss(forward(xte)[0], xte).item()
    print(
        f"loss {losses[0]:.3f} -> {np.mean(losses[-20:]):.3f} val mse {mse:.4f} (variance {xte.var(0).mean():.4f})"
    )


def uneven_accumulation_token_weighted() -> None:
    """Micro-batches of different sizes with summed losses, divided once by the number of samples of the group; the remainder steps too."""
    torch.manual_seed(48)
    x, y = load_diabetes(return_X_y=True)
    x = torch.tensor(StandardScaler().fit_transform(x), dtype=torch.float32)
    y = torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32)
    model = nn.Sequential(nn.Linear(10, 32), nn.GELU(), nn.Linear(32, 1), nn.Flatten(0))
    opt = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.05)
    epochs, group = 30, 48
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, 4e-3, total_steps=epochs * -(-350 // group))
    for epoch in range(epochs):
        total = 0.0
        for big in torch.randperm(350).split(group):
            cuts = sorted(torch.randint(1, len(big), (2,)).tolist())
            for small in torch.tensor_split(big, cuts):
                if len(small) == 0:
                    continue
                loss = F.mse_loss(model(x[small]), y[small], reduction="sum") / len(big)
                loss.backward()
                total += loss.item() * len(big)
            opt.step()
            sched.step()
            opt.zero_grad()
        if epoch == 0:
            first = total / 350
    with torch.no_grad():
        r2 = 1 - F.mse_loss(model(x[350:]), y[350:]) / y[350:].var()
    print(f"loss {first:.3f} -> {total / 350:.3f} R2 {r2:.3f}")


def swa_with_cyclic_rate() -> None:
    """Stochastic weight averaging: the averaged model is never trained itself and gets its BatchNorm statistics in a pass at the end."""
    torch.manual_seed(49)
    xtr, ytr, xte, yte = digits()
    loader = DataLoader(TensorDataset(xtr, ytr), batch_size=64, shuffle=True, drop_last=True)
    model = nn.Sequential(nn.Linear(64, 96), nn.BatchNorm1d(96), nn.ReLU(), nn.Linear(96, 10))
    swa = AveragedModel(model)
    opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    swa_sched = SWALR(opt, swa_lr=0.03, anneal_epochs=3)
    losses = []
    for epoch in range(14):
        model.train()
        for x, y in loader:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = F.cross_entropy(model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
        if epoch >= 7:
            swa.update_parameters(model)
            swa_sched.step()
    update_bn(loader, swa)
    swa.eval()
    with torch.no_grad():
        acc = (swa(xte).argmax(1) == yte).float().mean().item()
    print(f"loss {losses[0]:.3f} -> {np.mean(losses[-20:]):.3f} swa acc {acc:.3f}")


def progressive_unfreezing_new_optimizers() -> None:
    """Gradual unfreezing: in each stage more layers are thawed and a new optimizer is made for all that is trainable."""
    torch.manual_seed(50)
    xtr, ytr, xte, yte = digits()
    stages = nn.ModuleList(
        [
            nn.Sequential(nn.Linear(64, 96), nn.ReLU()),
            nn.Sequential(nn.Linear(96, 64), nn.ReLU()),
            nn.Linear(64, 10),
        ]
    )
    stages.requires_grad_(False)
    per_stage = []
    for depth in (1, 2, 3):
        for block in stages[-depth:]:
            block.requires_grad_(True)
        opt = torch.optim.Adam((p for p in stages.parameters() if p.requires_grad), lr=3e-3)
        for epoch in range(5):
            total = 0.0
            for idx in torch.randperm(len(xtr)).split(64):
                h = xtr[idx]
                for block in stages:
                    h = block(h)
                loss = F.cross_entropy(h, ytr[idx])
                opt.zero_grad()
                loss.backward()
                opt.step()
                total += loss.item() * len(idx)
        per_stage.append(round(total / len(xtr), 3))
    with torch.no_grad():
        h = xte
        for block in stages:
            h = block(h)
    print(f"loss per stage {per_stage} acc {(h.argmax(1) == yte).float().mean().item():.3f}")


HEALTHY = [
    lbfgs_full_batch_wine,
    truncated_bptt_stateful_text,
    optimizer_inside_backward,
    sharpness_aware_minimisation,
    vmapped_ensemble_functional_sgd,
    frozen_features_linear_probe,
    vector_quantised_autoencoder,
    uneven_accumulation_token_weighted,
    swa_with_cyclic_rate,
    progressive_unfreezing_new_optimizers,
]
