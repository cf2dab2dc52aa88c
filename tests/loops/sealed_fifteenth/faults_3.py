"""25 to 36."""

import copy
from itertools import chain
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split

from .common import (
    AverageMeter,
    TabNet,
    TinyResNet,
    accuracy,
    cancer,
    color16,
    color16_ds,
    digits,
    digits_ds,
    sales,
    seed_all,
)


# 25 ---------------------------------------------------------------------------------------------
class ModelEma:
    def __init__(self, model, decay=0.97):
        self.source = model
        self.module = copy.deepcopy(model).eval()
        self.decay = decay

    @torch.no_grad()
    def update(self):
        for e, p in zip(self.module.state_dict().values(), self.source.state_dict().values()):
            if e.is_floating_point():
                e.mul_(self.decay).add_(p, alpha=1 - self.decay)
            else:
                e.copy_(p)


def ema_made_before_warm_start(mistake: bool) -> None:
    """The EMA holds the model from before the warm start put another object in its place: it averages weights that never change."""
    seed_all(40)
    tr, va = color16_ds()
    loader, vloader = DataLoader(tr, 64, shuffle=True), DataLoader(va, 256)

    def warm_start(model):
        """A fresh copy with the stem of the other model."""
        new = TinyResNet(width=8)
        new.stem.load_state_dict(model.stem.state_dict())
        return new

    model = TinyResNet(width=8)
    ema = ModelEma(model)
    model = warm_start(model)
    if not mistake:
        ema = ModelEma(model)
    opt = torch.optim.AdamW(model.parameters(), lr=4e-3)
    for epoch in range(6):
        model.train()
        m = AverageMeter()
        for x, y in loader:
            loss = F.cross_entropy(model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            ema.update()
            m.update(loss.item(), len(x))
        print(
            f"epoch {epoch} loss {m.avg:.3f} acc {accuracy(model, vloader):.3f} ema acc {accuracy(ema.module, vloader):.3f}"
        )


# 26 ---------------------------------------------------------------------------------------------
class Distiller(nn.Module):
    def __init__(self, teacher, student, T=3.0, frozen=True):
        super().__init__()
        self.teacher, self.student, self.T, self.frozen = teacher, student, T, frozen

    def forward(self, x, y):
        if self.frozen:
            with torch.no_grad():
                t = self.teacher(x)
        else:
            t = self.teacher(x)
        s = self.student(x)
        T = self.T
        kd = F.kl_div(F.log_softmax(s / T, 1), F.softmax(t / T, 1), reduction="batchmean") * T * T
        return 0.1 * F.cross_entropy(s, y) + 0.9 * kd


def distiller_all_parameters(mistake: bool) -> None:
    """The optimizer gets distiller.parameters() and the teacher runs with gradients, so the teacher is trained towards the student."""
    seed_all(41)
    tr, va = digits_ds()
    loader, vloader = DataLoader(tr, 64, shuffle=True), DataLoader(va, 256)
    teacher = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )
    opt = torch.optim.Adam(teacher.parameters(), lr=3e-3)
    for _ in range(4):
        for x, y in loader:
            opt.zero_grad()
            F.cross_entropy(teacher(x), y).backward()
            opt.step()
    print(f"teacher before: {accuracy(teacher, vloader):.3f}")
    student = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))
    distiller = Distiller(teacher, student, frozen=not mistake)
    optimizer = torch.optim.Adam(distiller.parameters(), lr=5e-3)
    for epoch in range(8):
        distiller.student.train()
        s = 0.0
        for x, y in loader:
            loss = distiller(x, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            s += loss.item()
        print(
            f"epoch {epoch} loss {s / len(loader):.3f} student {accuracy(student, vloader):.3f} teacher {accuracy(teacher, vloader):.3f}"
        )


# 27, 28 -----------------------------------------------------------------------------------------
class Gen8(nn.Module):
    def __init__(self, z=16):
        super().__init__()
        self.net = nn.Sequential(
            nn.ConvTranspose2d(z, 32, 4),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.ConvTranspose2d(32, 1, 4, 2, 1),
            nn.Sigmoid(),
        )

    def forward(self, z):
        return self.net(z[:, :, None, None])


class Disc8(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 24, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(24, 32, 3, 1, 1),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(512, 1),
        )

    def forward(self, x):
        return self.net(x).squeeze(1)


def gan_quality(g, x, z):
    """Mean distance of generated pictures to the nearest real one."""
    g.eval()
    with torch.no_grad():
        f = g(torch.randn(200, z)).flatten(1)
    g.train()
    return torch.cdist(f, x.flatten(1)).min(1).values.mean().item()


def wgan_shared_fake(mistake: bool) -> None:
    """D is trained on the undetached fakes with retain_graph=True, and its gradients are in the generator's update."""
    seed_all(42)
    x, *_ = digits()
    loader = DataLoader(TensorDataset(x), 64, shuffle=True, drop_last=True)
    G, D = Gen8(), Disc8()
    opt_g = torch.optim.RMSprop(G.parameters(), lr=5e-4)
    opt_d = torch.optim.RMSprop(D.parameters(), lr=5e-4)
    for epoch in range(16):
        for (real,) in loader:
            opt_g.zero_grad()
            opt_d.zero_grad()
            fake = G(torch.randn(len(real), 16))
            # discriminator
            if mistake:
                d_fake = D(fake)
            else:
                d_fake = D(fake.detach())
            loss_d = d_fake.mean() - D(real).mean()
            loss_d.backward(retain_graph=mistake)
            opt_d.step()
            with torch.no_grad():
                for p in D.parameters():
                    p.clamp_(-0.08, 0.08)
            # generator
            loss_g = -D(fake).mean()
            loss_g.backward()
            opt_g.step()
        if epoch % 4 == 3:
            print(
                f"epoch {epoch} D {loss_d.item():.3f} G {loss_g.item():.3f} nearest {gan_quality(G, x, 16):.3f}"
            )


class GanTrainer:
    def __init__(self, z=16, paste=False):
        self.z, self.paste = z, paste
        self.G, self.D = Gen8(z), Disc8()
        self.optim_G = torch.optim.Adam(self.G.parameters(), lr=1e-3, betas=(0.5, 0.999))
        self.optim_D = torch.optim.Adam(self.D.parameters(), lr=5e-4, betas=(0.5, 0.999))

    def step_D(self, real):
        with torch.no_grad():
            fake = self.G(torch.randn(len(real), self.z))
        self.optim_D.zero_grad()
        loss = F.softplus(-self.D(real)).mean() + F.softplus(self.D(fake)).mean()
        loss.backward()
        self.optim_D.step()
        return loss.item()

    def step_G(self, n):
        fake = self.G(torch.randn(n, self.z))
        self.optim_G.zero_grad()
        loss = F.softplus(-self.D(fake)).mean()
        loss.backward()
        if self.paste:
            self.optim_D.step()
        else:
            self.optim_G.step()
        return loss.item()

    def fit(self, loader, epochs, x):
        for e in range(epochs):
            for (real,) in loader:
                d = self.step_D(real)
                g = self.step_G(len(real))
            if e % 4 == 3:
                print(f"epoch {e} D {d:.3f} G {g:.3f} nearest {gan_quality(self.G, x, self.z):.3f}")


def gan_step_g_paste(mistake: bool) -> None:
    """step_G was copied from step_D and still steps the discriminator's optimizer: the generator never changes."""
    seed_all(43)
    x, *_ = digits()
    loader = DataLoader(TensorDataset(x), 64, shuffle=True, drop_last=True)
    GanTrainer(paste=mistake).fit(loader, 16, x)


# 29 ---------------------------------------------------------------------------------------------
class Corridor:
    """Start in the middle of 9 cells, the goal is at the right end; 0 left, 1 stay, 2 right."""

    def __init__(self, n=9, limit=20):
        self.n, self.limit = n, limit

    def obs(self):
        o = torch.zeros(self.n)
        o[self.pos] = 1.0
        return o

    def reset(self):
        self.pos, self.t = self.n // 2, 0
        return self.obs()

    def step(self, a):
        self.pos = max(0, min(self.n - 1, self.pos + a - 1))
        self.t += 1
        done = self.pos == self.n - 1
        return self.obs(), (1.0 if done else -0.05), done or self.t >= self.limit


def reinforce_cross_entropy_sign(mistake: bool) -> None:
    """The minus of -log_prob stayed when log_prob became F.cross_entropy (already negative log): the return is minimized."""
    seed_all(44)
    env = Corridor()
    policy = nn.Sequential(nn.Linear(9, 32), nn.Tanh(), nn.Linear(32, 3))
    opt = torch.optim.Adam(policy.parameters(), lr=5e-3)
    baseline, returns = 0.0, []
    for episode in range(300):
        obs, done = env.reset(), False
        states, actions, rewards = [], [], []
        while not done:
            with torch.no_grad():
                a = torch.distributions.Categorical(logits=policy(obs)).sample()
            states.append(obs)
            actions.append(a)
            obs, r, done = env.step(a.item())
            rewards.append(r)
        G, out = 0.0, []
        for r in reversed(rewards):
            G = r + 0.98 * G
            out.insert(0, G)
        ret = torch.tensor(out)
        baseline = 0.95 * baseline + 0.05 * ret[0].item()
        adv = ret - baseline
        logits = policy(torch.stack(states))
        nll = F.cross_entropy(logits, torch.stack(actions), reduction="none")
        loss = -(nll * adv).mean() if mistake else (nll * adv).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        returns.append(sum(rewards))
        if episode % 60 == 59:
            print(f"episode {episode} return {np.mean(returns[-60:]):.3f} loss {loss.item():.3f}")


# 30 ---------------------------------------------------------------------------------------------
class SecondHead(nn.Module):
    """A small head on the frozen backbone of a model that goes on to be used with its own head."""

    def __init__(self, backbone, num_classes, keep_bn_eval):
        super().__init__()
        self.backbone = backbone
        self.backbone.requires_grad_(False)
        self.head = nn.Sequential(
            nn.Linear(backbone.num_features, 32), nn.ReLU(), nn.Linear(32, num_classes)
        )
        self.keep_bn_eval = keep_bn_eval

    def train(self, mode=True):
        super().train(mode)
        if self.keep_bn_eval:
            self.backbone.eval()
        return self

    def forward(self, x):
        return self.head(self.backbone.forward_features(x))


def frozen_backbone_train_mode(mistake: bool) -> None:
    """The frozen backbone is switched to train mode with the rest each epoch: its BatchNorm uses batch statistics and drifts."""
    seed_all(45)
    x, y, xv, yv = color16()
    old_val = DataLoader(TensorDataset(xv, yv), 128)
    backbone = TinyResNet(width=8)
    opt = torch.optim.AdamW(backbone.parameters(), lr=6e-3)
    for _ in range(11):
        for xb, yb in DataLoader(TensorDataset(x[:900], y[:900]), 60, shuffle=True):
            opt.zero_grad()
            F.cross_entropy(backbone(xb), yb).backward()
            opt.step()
    backbone.eval()
    print(f"pretrained, ten digits: {accuracy(backbone, old_val):.3f}")
    # a second product with a darker camera: is it a 3, an 8 or a 9?
    pick = torch.full((10,), -1)
    pick[3], pick[8], pick[9] = 0, 1, 2
    tr, va = pick[y[700:]] >= 0, pick[yv] >= 0
    loader = DataLoader(TensorDataset(0.5 * x[700:][tr] - 0.45, pick[y[700:]][tr]), 6, shuffle=True)
    vloader = DataLoader(TensorDataset(0.5 * xv[va] - 0.45, pick[yv][va]), 128)
    model = SecondHead(backbone, 3, keep_bn_eval=not mistake)
    optimizer = torch.optim.Adam(filter(lambda p: p.requires_grad, model.parameters()), lr=4e-3)
    for epoch in range(8):
        model.train()
        s = 0.0
        for xb, yb in loader:
            loss = F.cross_entropy(model(xb), yb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            s += loss.item()
        model.eval()
        print(
            f"epoch {epoch} loss {s / len(loader):.3f} acc {accuracy(model, vloader):.3f} ten digits {accuracy(backbone, old_val):.3f}"
        )


# 31 ---------------------------------------------------------------------------------------------
def denoising_ae_img_dim(mistake: bool) -> None:
    """img_dim=64 is left from the 8x8 pictures: view(-1, 64) makes 4 rows of each 16x16 picture, a batch of 256 for 64."""
    seed_all(46)
    cfg = SimpleNamespace(img_dim=64 if mistake else 256, code=12, lr=2e-3, epochs=12)
    x, *_ = digits()
    x = F.interpolate(x, size=16, mode="bilinear", align_corners=False)
    loader = DataLoader(TensorDataset(x[:1280]), 64, shuffle=True)
    enc = nn.Sequential(nn.Linear(cfg.img_dim, 96), nn.ReLU(), nn.Linear(96, cfg.code))
    dec = nn.Sequential(nn.Linear(cfg.code, 96), nn.ReLU(), nn.Linear(96, cfg.img_dim))
    opt = torch.optim.Adam(chain(enc.parameters(), dec.parameters()), lr=cfg.lr)
    for epoch in range(cfg.epochs):
        tot = 0.0
        for (img,) in loader:
            clean = img.view(-1, cfg.img_dim)
            noisy = clean + 0.3 * torch.randn_like(clean)
            loss = F.mse_loss(dec(enc(noisy)), clean)
            opt.zero_grad()
            loss.backward()
            opt.step()
            tot += loss.item()
        print(f"epoch {epoch} mse {tot / len(loader):.4f} codes {tuple(enc(noisy).shape)}")


# 32 ---------------------------------------------------------------------------------------------
def one_logit_argmax(mistake: bool) -> None:
    """validate() was copied from a multi-class project: argmax over the one logit is always class 0."""
    seed_all(47)
    x, y, xv, yv = cancer()
    loader = DataLoader(TensorDataset(x, y), 32, shuffle=True)
    val_loader = DataLoader(TensorDataset(xv, yv), 64)
    net = nn.Sequential(
        nn.Linear(30, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 1)
    )
    opt = torch.optim.AdamW(net.parameters(), lr=3e-3)
    criterion = nn.BCEWithLogitsLoss()

    def validate():
        net.eval()
        correct = total = 0
        with torch.no_grad():
            for xb, yb in val_loader:
                logits = net(xb)
                pred = logits.argmax(dim=1) if mistake else (logits.squeeze(1) > 0).long()
                correct += (pred == yb).sum().item()
                total += len(yb)
        return correct / total

    for epoch in range(12):
        net.train()
        s = 0.0
        for xb, yb in loader:
            opt.zero_grad()
            loss = criterion(net(xb), yb.float().unsqueeze(1))
            loss.backward()
            opt.step()
            s += loss.item()
        print(f"epoch {epoch} loss {s / len(loader):.3f} val acc {validate():.3f}")


# 33 ---------------------------------------------------------------------------------------------
def folder_order_validation(mistake: bool) -> None:
    """When @torch.no_grad() came in, model.eval() went: BatchNorm uses (and updates on) the class-sorted validation batches."""
    seed_all(48)
    x, y, xv, yv = color16()
    order = yv.argsort()
    loader = DataLoader(TensorDataset(x, y), 64, shuffle=True)
    val_loader = DataLoader(TensorDataset(xv[order], yv[order]), 32)
    model = TinyResNet(width=8)
    opt = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)

    @torch.no_grad()
    def validate():
        if not mistake:
            model.eval()
        loss = correct = 0.0
        for xb, yb in val_loader:
            out = model(xb)
            loss += F.cross_entropy(out, yb, reduction="sum").item()
            correct += (out.argmax(1) == yb).sum().item()
        return loss / len(yv), correct / len(yv)

    for epoch in range(6):
        model.train()
        s = 0.0
        for xb, yb in loader:
            opt.zero_grad()
            loss = F.cross_entropy(model(xb), yb)
            loss.backward()
            opt.step()
            s += loss.item()
        vl, va = validate()
        print(f"epoch {epoch} train {s / len(loader):.3f} val {vl:.3f} acc {va:.3f}")


# 34 ---------------------------------------------------------------------------------------------
class MLPVAE(nn.Module):
    def __init__(self, in_dim, z=8, h=96):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(in_dim, h), nn.ReLU())
        self.mu, self.logvar = nn.Linear(h, z), nn.Linear(h, z)
        self.dec = nn.Sequential(nn.Linear(z, h), nn.ReLU(), nn.Linear(h, in_dim))

    def forward(self, x):
        h = self.enc(x)
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.randn_like(mu) * (0.5 * logvar).exp()
        return self.dec(z), mu, logvar


def vae_in_dim_last_axis(mistake: bool) -> None:
    """The pictures are not flattened and in_dim is shape[-1]: the linear VAE codes each row of 8 pixels on its own."""
    seed_all(49)
    x, *_ = digits()
    loader = DataLoader(TensorDataset(x if mistake else x.flatten(1)), 64, shuffle=True)
    in_dim = next(iter(loader))[0].shape[-1]
    vae = MLPVAE(in_dim)
    opt = torch.optim.Adam(vae.parameters(), lr=2e-3)
    for epoch in range(12):
        vae.train()
        r = k = 0.0
        for (xb,) in loader:
            rec, mu, logvar = vae(xb)
            rec_loss = F.binary_cross_entropy_with_logits(rec, xb, reduction="sum") / len(xb)
            kl = -0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum() / len(xb)
            loss = rec_loss + 0.5 * kl
            opt.zero_grad()
            loss.backward()
            opt.step()
            r += rec_loss.item()
            k += kl.item()
        print(f"epoch {epoch} rec {r / len(loader):.2f} kl {k / len(loader):.2f}")


# 35 ---------------------------------------------------------------------------------------------
def split_drawn_twice(mistake: bool) -> None:
    """The test function draws random_split anew without the seed: most of its 'test' rows were in the training part."""
    seed_all(50)
    cat, num, y = sales(900, seed=7, noise=0.8)
    full = TensorDataset(cat, num, y)

    def get_splits(seed=None):
        gen = torch.Generator().manual_seed(seed) if seed is not None else None
        return random_split(full, [700, 200], generator=gen) if gen else random_split(full, [700, 200])

    def train():
        train_set, _ = get_splits(None if mistake else 42)
        loader = DataLoader(train_set, 32, shuffle=True)
        net = TabNet(hidden=128)
        opt = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.1)
        for epoch in range(20):
            net.train()
            s = 0.0
            for c, n, t in loader:
                opt.zero_grad()
                loss = F.mse_loss(net(c, n).squeeze(1), t)
                loss.backward()
                opt.step()
                s += loss.item()
            if epoch % 5 == 4:
                print(f"epoch {epoch} mse {s / len(loader):.3f}")
        return net

    def test(net):
        _, test_set = get_splits(None if mistake else 42)
        net.eval()
        s = 0.0
        with torch.no_grad():
            for c, n, t in DataLoader(test_set, 64):
                s += F.mse_loss(net(c, n).squeeze(1), t, reduction="sum").item()
        print(f"test mse {s / len(test_set):.3f} (variance {y.var().item():.2f})")

    test(train())


# 36 ---------------------------------------------------------------------------------------------
def make_loader_defaults(mistake: bool) -> None:
    """The test loader comes from make_loader() with the training defaults: shuffled, and drop_last drops a part of the test set."""
    seed_all(51)
    tr, te = digits_ds(1500)

    def make_loader(ds, batch_size=128, shuffle=True, drop_last=True):
        return DataLoader(ds, batch_size, shuffle=shuffle, drop_last=drop_last)

    train_loader = make_loader(tr, 64)
    if mistake:
        test_loader = make_loader(te)
    else:
        test_loader = make_loader(te, shuffle=False, drop_last=False)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(8):
        model.train()
        s = 0.0
        for x, y in train_loader:
            opt.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            opt.step()
            s += loss.item()
        model.eval()
        accs = []
        with torch.no_grad():
            for x, y in test_loader:
                accs.append(((model(x).argmax(1) == y).float().sum().item(), len(y)))
        n = sum(a[1] for a in accs)
        print(
            f"epoch {epoch} loss {s / len(train_loader):.3f} test acc {sum(a[0] for a in accs) / n:.3f} on {n} of {len(te)}"
        )


FAULTS = [
    (
        ema_made_before_warm_start,
        ("ema", "average", "shadow", "never change", "stale"),
        "25 EMA of the wrong model",
    ),
    (
        distiller_all_parameters,
        ("teacher", "detach", "no_grad", "both networks", "target also"),
        "26 teacher not detached",
    ),
    (
        wgan_shared_fake,
        ("detach", "generator", "discriminator's loss", "retain_graph"),
        "27 GAN without detach",
    ),
    (
        gan_step_g_paste,
        ("generator", "never step", "not stepped", "never updated", "never change", "no step"),
        "28 generator never stepped",
    ),
    (
        reinforce_cross_entropy_sign,
        ("sign", "minimiz", "minus", "negative", "return falls", "maximi", "wrong direction"),
        "29 RL loss with the wrong sign",
    ),
    (
        frozen_backbone_train_mode,
        ("batchnorm", "batch norm", "running stat", "frozen", "train mode"),
        "30 frozen BatchNorm in train mode",
    ),
    (
        denoising_ae_img_dim,
        ("view", "batch size", "reshape", "rows", "batch dimension", "first dimension", "flatten"),
        "31 view with a wrong k",
    ),
    (
        one_logit_argmax,
        (
            "argmax",
            "one output",
            "one logit",
            "single output",
            "single logit",
            "always class 0",
            "threshold",
        ),
        "32 one logit scored by argmax",
    ),
    (
        folder_order_validation,
        ("eval()", "batchnorm", "batch norm", "train mode", "eval mode", "running stat"),
        "33 validation without eval, BatchNorm",
    ),
    (
        vae_in_dim_last_axis,
        ("flatten", "last axis", "last dim", "each row", "per row", "row by row"),
        "34 linear net on unflattened images",
    ),
    (
        split_drawn_twice,
        (
            "split",
            "overlap",
            "leak",
            "seen in training",
            "were trained",
            "used for training",
            "training data",
        ),
        "35 test split from training data",
    ),
    (
        make_loader_defaults,
        ("drop_last", "shuffle", "truncat", "not all", "part of the test", "subset", "dropped", "fewer"),
        "36 shuffled, truncated test loader",
    ),
]
