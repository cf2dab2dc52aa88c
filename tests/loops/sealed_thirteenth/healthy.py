"""Ten healthy loops that are a little unusual."""

import copy

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_wine
from sklearn.model_selection import StratifiedKFold
from torch.utils.data import ConcatDataset, DataLoader, TensorDataset

from . import common


def wine_cross_validation() -> None:
    """Five folds, with a new network and a new optimizer for each fold, and the mean of the five scores."""
    torch.manual_seed(50)
    d = load_wine()
    y = torch.tensor(d.target)
    scores = []
    for fold, (tr, va) in enumerate(
        StratifiedKFold(5, shuffle=True, random_state=0).split(d.data, d.target)
    ):
        mean, std = d.data[tr].mean(0), d.data[tr].std(0)
        x = torch.tensor((d.data - mean) / std, dtype=torch.float32)
        model = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 3))
        opt = torch.optim.AdamW(model.parameters(), lr=5e-3)
        loader = DataLoader(TensorDataset(x[tr], y[tr]), batch_size=16, shuffle=True)
        for epoch in range(15):
            model.train()
            for xb, yb in loader:
                opt.zero_grad()
                loss = F.cross_entropy(model(xb), yb)
                loss.backward()
                opt.step()
        model.eval()
        with torch.no_grad():
            scores.append((model(x[va]).argmax(1) == y[va]).float().mean().item())
        print(f"fold {fold} loss {loss.item():.4f} acc {scores[-1]:.4f}")
    print(f"cv accuracy {np.mean(scores):.4f}")


def detector_two_backwards() -> None:
    """Class loss and box loss each have their own backward (the gradients add up on purpose), then one step."""
    torch.manual_seed(51)
    x, c, b = common.shapes(1200, seed=51)
    loader = DataLoader(TensorDataset(x[:1000], c[:1000], b[:1000]), batch_size=40, shuffle=True)
    backbone = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 36, 64),
        nn.ReLU(),
    )
    cls_head, box_head = nn.Linear(64, 3), nn.Linear(64, 4)
    params = [*backbone.parameters(), *cls_head.parameters(), *box_head.parameters()]
    opt = torch.optim.Adam(params, lr=2e-3)
    for epoch in range(8):
        backbone.train()
        s = np.zeros(2)
        for img, cls, box in loader:
            opt.zero_grad()
            f = backbone(img)
            loss_cls = F.cross_entropy(cls_head(f), cls)
            loss_cls.backward(retain_graph=True)
            loss_box = 5 * F.smooth_l1_loss(torch.sigmoid(box_head(f)), box, beta=0.1)
            loss_box.backward()
            opt.step()
            s += [loss_cls.item(), loss_box.item()]
        backbone.eval()
        with torch.no_grad():
            f = backbone(x[1000:])
            acc = (cls_head(f).argmax(1) == c[1000:]).float().mean().item()
            err = (torch.sigmoid(box_head(f)) - b[1000:]).abs().mean().item()
        print(
            f"epoch {epoch} cls {s[0] / len(loader):.4f} box {s[1] / len(loader):.4f} acc {acc:.3f} box error {err:.4f}"
        )


def cancer_lbfgs_full_batch() -> None:
    """L-BFGS on the whole training set: the same data at each step, several closures a step, each with its zero_grad."""
    torch.manual_seed(52)
    xt, yt, xv, yv = common.cancer(seed=52)
    net = nn.Sequential(nn.Linear(30, 16), nn.Tanh(), nn.Linear(16, 1))
    opt = torch.optim.LBFGS(net.parameters(), lr=0.05, max_iter=3, history_size=8)

    def closure():
        opt.zero_grad()
        penalty = sum(p.pow(2).sum() for p in net.parameters())
        loss = F.binary_cross_entropy_with_logits(net(xt).squeeze(1), yt.float()) + 3e-3 * penalty
        loss.backward()
        return loss

    for step in range(80):
        loss = opt.step(closure)
        if step % 8 == 7:
            with torch.no_grad():
                acc = ((net(xv).squeeze(1) > 0).long() == yv).float().mean().item()
            print(f"step {step + 1} loss {loss.item():.4f} acc {acc:.4f}")


def frozen_features_linear_probe() -> None:
    """A pretrained backbone in eval mode under no_grad, and a linear probe trained on its features."""
    torch.manual_seed(53)
    xt, yt, xv, yv = common.digits(seed=53)
    backbone = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, 1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
    )
    parity = nn.Linear(512, 2)
    opt = torch.optim.Adam([*backbone.parameters(), *parity.parameters()], lr=2e-3)
    for epoch in range(4):
        for i in torch.randperm(len(xt)).split(50):
            opt.zero_grad()
            F.cross_entropy(parity(backbone(xt[i])), yt[i] % 2).backward()
            opt.step()
    backbone.eval().requires_grad_(False)
    probe = nn.Linear(512, 10)
    opt = torch.optim.SGD(probe.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    for epoch in range(10):
        total = 0.0
        for i in torch.randperm(len(xt)).split(50):
            with torch.no_grad():
                f = backbone(xt[i])
            loss = F.cross_entropy(probe(f), yt[i])
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item() * len(i)
        with torch.no_grad():
            acc = (probe(backbone(xv)).argmax(1) == yv).float().mean().item()
        print(f"probe epoch {epoch} loss {total / len(xt):.4f} acc {acc:.4f}")


def patch_hinge_gan_rare_generator() -> None:
    """The discriminator steps on samples made under no_grad; every other batch the generator steps, with the discriminator frozen."""
    torch.manual_seed(54)
    p = (common.patches(1400, p=4, seed=54) * 2 - 1).flatten(1)
    sn = nn.utils.parametrizations.spectral_norm
    gen = nn.Sequential(
        nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 48), nn.Tanh()
    )
    disc = nn.Sequential(
        sn(nn.Linear(48, 64)),
        nn.LeakyReLU(0.2),
        sn(nn.Linear(64, 64)),
        nn.LeakyReLU(0.2),
        sn(nn.Linear(64, 1)),
    )
    opt_g = torch.optim.Adam(gen.parameters(), lr=1e-3, betas=(0.0, 0.9))
    opt_d = torch.optim.Adam(disc.parameters(), lr=2e-3, betas=(0.0, 0.9))
    step = 0
    for epoch in range(40):
        for i in torch.randperm(len(p)).split(50):
            with torch.no_grad():
                fake = gen(torch.randn(len(i), 12))
            loss_d = F.relu(1 - disc(p[i])).mean() + F.relu(1 + disc(fake)).mean()
            opt_d.zero_grad()
            loss_d.backward()
            opt_d.step()
            step += 1
            if step % 2 == 0:
                disc.requires_grad_(False)
                loss_g = -disc(gen(torch.randn(50, 12))).mean()
                opt_g.zero_grad()
                loss_g.backward()
                opt_g.step()
                disc.requires_grad_(True)
        if epoch % 4 == 3:
            with torch.no_grad():
                f = gen(torch.randn(400, 12))
            print(
                f"epoch {epoch + 1} disc {loss_d.item():.4f} gen {loss_g.item():.4f} "
                f"mean gap {(f.mean(0) - p.mean(0)).abs().mean().item():.3f} std gap {(f.std(0) - p.std(0)).abs().mean().item():.3f}"
            )


def contextual_bandit_maximize() -> None:
    """Policy gradient on a contextual bandit (arms are digit classes) with maximize=True and no minus sign."""
    torch.manual_seed(55)
    xt, yt, xv, yv = common.digits(flat=True, seed=55)
    policy = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    opt = torch.optim.Adam(policy.parameters(), lr=3e-3, maximize=True)
    baseline = 0.0
    for step in range(900):
        i = torch.randint(len(xt), (128,))
        dist = torch.distributions.Categorical(logits=policy(xt[i]))
        arm = dist.sample()
        reward = (arm == yt[i]).float()
        objective = (dist.log_prob(arm) * (reward - baseline)).mean() + 0.01 * dist.entropy().mean()
        opt.zero_grad()
        objective.backward()
        opt.step()
        baseline = 0.95 * baseline + 0.05 * reward.mean().item()
        if step % 90 == 89:
            with torch.no_grad():
                greedy = (policy(xv).argmax(1) == yv).float().mean().item()
            print(
                f"step {step + 1} reward {reward.mean().item():.3f} baseline {baseline:.3f} greedy {greedy:.4f}"
            )


def textures_sam() -> None:
    """Sharpness-aware minimisation: two backwards a batch, weights moved up and back again, one step of the base optimizer."""
    torch.manual_seed(56)
    x, y = common.textures(900, noise=0.2, seed=56)
    x = (x - 0.5) / 0.35
    loader = DataLoader(TensorDataset(x[:720], y[:720]), batch_size=36, shuffle=True)
    net = nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1),
        nn.GroupNorm(3, 12),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3, padding=1),
        nn.GroupNorm(3, 24),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(24 * 16, 6),
    )
    opt = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    rho = 0.05
    for epoch in range(12):
        net.train()
        total = 0.0
        for xb, yb in loader:
            loss = F.cross_entropy(net(xb), yb)
            opt.zero_grad()
            loss.backward()
            with torch.no_grad():
                norm = torch.stack([p.grad.norm() for p in net.parameters()]).norm() + 1e-12
                shifts = [rho * p.grad / norm for p in net.parameters()]
                for p, e in zip(net.parameters(), shifts):
                    p.add_(e)
            opt.zero_grad()
            F.cross_entropy(net(xb), yb).backward()
            with torch.no_grad():
                for p, e in zip(net.parameters(), shifts):
                    p.sub_(e)
            opt.step()
            total += loss.item()
        net.eval()
        with torch.no_grad():
            acc = (net(x[720:]).argmax(1) == y[720:]).float().mean().item()
        print(f"epoch {epoch} loss {total / len(loader):.4f} acc {acc:.4f}")


def digits_mixup() -> None:
    """Mixup: each image is blended with another of its batch, and the loss takes the labels of both."""
    torch.manual_seed(57)
    xt, yt, xv, yv = common.digits(seed=57)
    loader = DataLoader(TensorDataset(xt, yt), batch_size=50, shuffle=True)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, 10),
    )
    opt = torch.optim.AdamW(net.parameters(), lr=2e-3)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=5e-3, total_steps=10 * len(loader))
    beta = torch.distributions.Beta(0.3, 0.3)
    for epoch in range(10):
        net.train()
        total = 0.0
        for xb, yb in loader:
            lam = beta.sample().item()
            j = torch.randperm(len(xb))
            out = net(lam * xb + (1 - lam) * xb[j])
            loss = lam * F.cross_entropy(out, yb) + (1 - lam) * F.cross_entropy(out, yb[j])
            opt.zero_grad()
            loss.backward()
            opt.step()
            sched.step()
            total += loss.item()
        net.eval()
        with torch.no_grad():
            acc = (net(xv).argmax(1) == yv).float().mean().item()
        print(
            f"epoch {epoch} mixed loss {total / len(loader):.4f} acc {acc:.4f} lr {sched.get_last_lr()[0]:.5f}"
        )


def houses_refit_on_train_and_val() -> None:
    """The number of epochs is chosen on validation data, then a new network is fitted on train and validation; a third part tests it."""
    torch.manual_seed(58)
    num, district, price = common.houses(seed=58)
    feats = torch.cat([num, F.one_hot(district, 12).float()], 1)
    parts = {
        k: TensorDataset(feats[a:b], price[a:b])
        for k, a, b in (("train", 0, 1200), ("val", 1200, 1600), ("test", 1600, 2000))
    }

    def make():
        net = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
        return net, torch.optim.Adam(net.parameters(), lr=1e-3)

    def fit_epoch(net, opt, loader):
        net.train()
        total = 0.0
        for xb, yb in loader:
            opt.zero_grad()
            loss = F.mse_loss(net(xb), yb)
            loss.backward()
            opt.step()
            total += loss.item()
        return total / len(loader)

    def score(net, ds):
        net.eval()
        with torch.no_grad():
            return F.mse_loss(net(ds.tensors[0]), ds.tensors[1]).item()

    net, opt = make()
    loader = DataLoader(parts["train"], batch_size=40, shuffle=True)
    curve = []
    for epoch in range(20):
        tr = fit_epoch(net, opt, loader)
        curve.append(score(net, parts["val"]))
        print(f"select {epoch} train {tr:.4f} val {curve[-1]:.4f}")
    best = int(np.argmin(curve)) + 1

    net, opt = make()
    loader = DataLoader(ConcatDataset([parts["train"], parts["val"]]), batch_size=40, shuffle=True)
    for epoch in range(best):
        tr = fit_epoch(net, opt, loader)
        print(f"refit {epoch} train {tr:.4f}")
    print(f"test mse after {best} epochs on both: {score(net, parts['test']):.4f}")


class Mixer(nn.Module):
    """Patches as tokens: linear layers work on the last axis, across channels and, transposed, across patches."""

    def __init__(self, tokens=16, dim=32, classes=6):
        super().__init__()
        self.embed = nn.Linear(48, dim)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.across = nn.Sequential(nn.Linear(tokens, 32), nn.GELU(), nn.Linear(32, tokens))
        self.within = nn.Sequential(nn.Linear(dim, 64), nn.GELU(), nn.Linear(64, dim))
        self.head = nn.Linear(dim, classes)

    def forward(self, x):
        n = x.size(0)
        p = x.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5).reshape(-1, 48)
        h = self.embed(p).view(n, 16, -1)
        h = h + self.across(self.norm1(h).transpose(1, 2)).transpose(1, 2)
        h = h + self.within(self.norm2(h))
        return self.head(h.mean(1))


def textures_mixer() -> None:
    """A small mixer on image patches; the average of its weights (of the right network) is what is tested."""
    torch.manual_seed(59)
    x, y = common.textures(1300, noise=0.2, seed=59)
    x = (x - 0.5) / 0.35
    loader = DataLoader(TensorDataset(x[:1100], y[:1100]), batch_size=50, shuffle=True)
    net = Mixer()
    average = copy.deepcopy(net).requires_grad_(False)
    opt = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.01)
    for epoch in range(16):
        total = 0.0
        for xb, yb in loader:
            loss = F.cross_entropy(net(xb), yb)
            opt.zero_grad()
            loss.backward()
            opt.step()
            with torch.no_grad():
                for a, p in zip(average.parameters(), net.parameters()):
                    a.lerp_(p, 0.05)
            total += loss.item()
        with torch.no_grad():
            acc = (average(x[1100:]).argmax(1) == y[1100:]).float().mean().item()
        print(f"epoch {epoch} loss {total / len(loader):.4f} averaged net acc {acc:.4f}")


HEALTHY = [
    wine_cross_validation,
    detector_two_backwards,
    cancer_lbfgs_full_batch,
    frozen_features_linear_probe,
    patch_hinge_gan_rare_generator,
    contextual_bandit_maximize,
    textures_sam,
    digits_mixup,
    houses_refit_on_train_and_val,
    textures_mixer,
]
