"""28 to 36."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits, load_wine
from torch.utils.data import DataLoader, TensorDataset, random_split

from . import common


# ---------------------------------------------------------------- 28
def patch_wgan(mistake: bool) -> None:
    """If mistake, the generator's turn is compared with n_critic itself, which the inner counter never reaches, so it never steps."""
    torch.manual_seed(28)
    p = common.patches(1400, p=4) * 2 - 1
    loader = DataLoader(TensorDataset(p.flatten(1)), batch_size=50, shuffle=True, drop_last=True)
    z = 16
    gen = nn.Sequential(
        nn.Linear(z, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 48), nn.Tanh()
    )
    critic = nn.Sequential(
        nn.Linear(48, 96), nn.LeakyReLU(0.2), nn.Linear(96, 96), nn.LeakyReLU(0.2), nn.Linear(96, 1)
    )
    opt_g = torch.optim.Adam(gen.parameters(), lr=1e-3, betas=(0.5, 0.9))
    opt_c = torch.optim.Adam(critic.parameters(), lr=1e-3, betas=(0.5, 0.9))
    n_critic, lam = 3, 5.0

    def penalty(a, b):
        e = torch.rand(len(a), 1)
        mix = (e * a + (1 - e) * b).requires_grad_(True)
        (g,) = torch.autograd.grad(critic(mix).sum(), mix, create_graph=True)
        return ((g.norm(2, dim=1) - 1) ** 2).mean()

    turn = n_critic if mistake else n_critic - 1
    loss_g = torch.zeros(())
    for epoch in range(36):
        for i, (real,) in enumerate(loader):
            with torch.no_grad():
                fake = gen(torch.randn(len(real), z))
            loss_c = critic(fake).mean() - critic(real).mean() + lam * penalty(real, fake)
            opt_c.zero_grad()
            loss_c.backward()
            opt_c.step()
            if i % n_critic == turn:
                loss_g = -critic(gen(torch.randn(len(real), z))).mean()
                opt_g.zero_grad()
                loss_g.backward()
                opt_g.step()
        if epoch % 4 == 3:
            with torch.no_grad():
                f = gen(torch.randn(500, z))
                gap = (f.mean(0) - p.flatten(1).mean(0)).abs().mean().item()
                gap_s = (f.std(0) - p.flatten(1).std(0)).abs().mean().item()
            print(
                f"[{epoch + 1}] critic {loss_c.item():.3f} gen {loss_g.item():.3f} mean gap {gap:.3f} std gap {gap_s:.3f}"
            )


# ---------------------------------------------------------------- 29
class ActorCritic(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 32), nn.Tanh())
        self.pi, self.v = nn.Linear(32, 3), nn.Linear(32, 1)

    def forward(self, s):
        h = self.body(s)
        return torch.distributions.Categorical(logits=self.pi(h)), self.v(h).squeeze(-1)


def cart_actor_critic(mistake: bool) -> None:
    """If mistake, the advantage is value minus return, so the policy is pushed towards the worse actions."""
    torch.manual_seed(29)
    env = common.Cart(32, seed=29)
    net = ActorCritic()
    opt = torch.optim.Adam(net.parameters(), lr=5e-3)
    gamma, horizon = 0.9, 25
    for update in range(160):
        s = env.reset()
        logps, values, rewards, ents = [], [], [], []
        for _ in range(horizon):
            dist, v = net(s)
            a = dist.sample()
            s, r = env.step(a)
            logps.append(dist.log_prob(a))
            ents.append(dist.entropy())
            values.append(v)
            rewards.append(r)
        with torch.no_grad():
            g = net(s)[1]
        returns = []
        for r in reversed(rewards):
            g = r + gamma * g
            returns.insert(0, g)
        returns, values, logps = torch.stack(returns), torch.stack(values), torch.stack(logps)
        if mistake:
            advantage = values.detach() - returns
        else:
            advantage = returns - values.detach()
        policy_loss = -(logps * advantage).mean()
        value_loss = F.mse_loss(values, returns)
        loss = policy_loss + 0.5 * value_loss - 0.005 * torch.stack(ents).mean()
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        if update % 20 == 19:
            print(
                f"update {update + 1} mean reward {torch.stack(rewards).mean().item():.4f} value loss {value_loss.item():.4f}"
            )


# ---------------------------------------------------------------- 30
class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1, self.b1 = nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.c2, self.b2 = nn.Conv2d(16, 32, 3, padding=1, stride=2), nn.BatchNorm2d(32)

    def forward(self, x):
        x = F.relu(self.b1(self.c1(x)))
        return F.relu(self.b2(self.c2(x))).flatten(1)


def transfer_frozen_backbone(mistake: bool) -> None:
    """If mistake, the frozen backbone is put into train mode with the rest, so its BatchNorm statistics drift with the new data."""
    torch.manual_seed(30)
    xt, yt, xv, yv = common.digits(seed=30)
    backbone, old_head = Backbone(), nn.Linear(512, 5)
    low = yt < 5
    pre = DataLoader(TensorDataset(xt[low], yt[low]), batch_size=50, shuffle=True)
    opt = torch.optim.Adam([*backbone.parameters(), *old_head.parameters()], lr=2e-3)
    for _ in range(5):
        for xb, yb in pre:
            opt.zero_grad()
            F.cross_entropy(old_head(backbone(xb)), yb).backward()
            opt.step()

    for p in backbone.parameters():
        p.requires_grad = False
    model = nn.Sequential(backbone, nn.Linear(512, 5))
    opt = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    high, high_v = yt >= 5, yv >= 5
    xn = 1 - xt[high]
    fine = DataLoader(TensorDataset(xn, yt[high] - 5), batch_size=6, shuffle=True)
    for epoch in range(6):
        model.train()
        if not mistake:
            backbone.eval()
        total = 0.0
        for xb, yb in fine:
            loss = F.cross_entropy(model(xb), yb)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            acc = (model(1 - xv[high_v]).argmax(1) == yv[high_v] - 5).float().mean().item()
            old = F.cross_entropy(old_head(backbone(xv[~high_v])), yv[~high_v]).item()
        print(f"epoch {epoch} loss {total / len(fine):.4f} acc {acc:.4f} loss on the old task {old:.4f}")


# ---------------------------------------------------------------- 31
class ConvAE(nn.Module):
    def __init__(self, flat, latent=16):
        super().__init__()
        self.flat = flat
        self.enc = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU()
        )
        self.to_z = nn.Linear(flat, latent)
        self.from_z = nn.Linear(latent, flat)
        self.dec = nn.Sequential(
            nn.ConvTranspose2d(32, 16, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(16, 3, 4, 2, 1),
            nn.Sigmoid(),
        )

    def encode(self, x):
        h = self.enc(x)
        return self.to_z(h.view(-1, self.flat))

    def decode(self, z):
        h = F.relu(self.from_z(z))
        return self.dec(h.view(-1, 32, 2, 2))

    def forward(self, x):
        z = self.encode(x)
        return self.decode(z), z


def patch_conv_autoencoder(mistake: bool) -> None:
    """If mistake, view(-1, 64) is applied to 128 features an image, so each image becomes two rows (two codes) in the bottleneck."""
    torch.manual_seed(31)
    p = common.patches(1400)
    loader = DataLoader(TensorDataset(p[:1200]), batch_size=40, shuffle=True)
    model = ConvAE(64 if mistake else 32 * 2 * 2)
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(14):
        total = 0.0
        for (img,) in loader:
            recon, z = model(img)
            loss = F.mse_loss(recon, img) + 1e-4 * z.pow(2).mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item()
        with torch.no_grad():
            recon, z = model(p[1200:])
        print(
            f"epoch {epoch} loss {total / len(loader):.5f} val {F.mse_loss(recon, p[1200:]).item():.5f} codes {tuple(z.shape)}"
        )


# ---------------------------------------------------------------- 32
def pixel_scores(logits, target, by_argmax):
    if by_argmax:
        pred = torch.argmax(logits, dim=1, keepdim=True)
    else:
        pred = (torch.sigmoid(logits) > 0.5).long()
    t = target.long()
    acc = (pred == t).float().mean().item()
    inter = ((pred == 1) & (t == 1)).sum().item()
    union = ((pred == 1) | (t == 1)).sum().item()
    return acc, inter / max(union, 1)


def segmentation_pixel_accuracy(mistake: bool) -> None:
    """If mistake, the single-channel logits are scored by argmax over that channel, which is always class 0 (background)."""
    torch.manual_seed(32)
    x, m = common.cells(420, seed=32)
    train = DataLoader(TensorDataset(x[:320], m[:320]), batch_size=16, shuffle=True)
    val = DataLoader(TensorDataset(x[320:], m[320:]), batch_size=25)
    model = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Conv2d(12, 12, 3, padding=2, dilation=2),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Conv2d(12, 1, 1),
    )
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3)
    criterion = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(2.0))
    for epoch in range(9):
        model.train()
        tl = []
        for img, mask in train:
            opt.zero_grad()
            loss = criterion(model(img), mask)
            loss.backward()
            opt.step()
            tl.append(loss.item())
        model.eval()
        accs, ious = [], []
        with torch.no_grad():
            for img, mask in val:
                a, i = pixel_scores(model(img), mask, by_argmax=mistake)
                accs.append(a)
                ious.append(i)
        print(
            f"epoch {epoch} loss {np.mean(tl):.4f} pixel acc {np.mean(accs):.4f} IoU {np.mean(ious):.4f}"
        )


# ---------------------------------------------------------------- 33
def validate(model, loader, switch):
    if switch:
        model.eval()
    loss = hits = n = 0
    with torch.no_grad():
        for x, y in loader:
            out = model(x)
            loss += F.cross_entropy(out, y, reduction="sum").item()
            hits += (out.argmax(1) == y).sum().item()
            n += len(y)
    return loss / n, hits / n


def wine_batchnorm_validation(mistake: bool) -> None:
    """If mistake, validation runs under no_grad but without eval(), so BatchNorm uses (and learns from) the validation batches."""
    torch.manual_seed(33)
    d = load_wine()
    x = torch.tensor((d.data - d.data.mean(0)) / d.data.std(0), dtype=torch.float32)
    y = torch.tensor(d.target)
    held = torch.arange(len(y)) % 3 == 0
    train = DataLoader(TensorDataset(x[~held], y[~held]), batch_size=20, shuffle=True, drop_last=True)
    val = DataLoader(TensorDataset(x[held], y[held]), batch_size=10)
    model = nn.Sequential(
        nn.Linear(13, 32),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.Linear(32, 32),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.Linear(32, 3),
    )
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(30):
        model.train()
        for xb, yb in train:
            opt.zero_grad()
            loss = F.cross_entropy(model(xb), yb)
            loss.backward()
            opt.step()
        vl, va = validate(model, val, switch=not mistake)
        if epoch % 3 == 2:
            print(f"epoch {epoch + 1} train {loss.item():.4f} val loss {vl:.4f} val acc {va:.4f}")


# ---------------------------------------------------------------- 34
class Denoiser(nn.Module):
    def __init__(self, n_in):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(n_in, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU())
        self.decoder = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, n_in), nn.Sigmoid())

    def forward(self, x):
        return self.decoder(self.encoder(x))


def digits_linear_denoiser(mistake: bool) -> None:
    """If mistake, the images (8 by 8) and not the flat rows of 64 go into the linear net, which thus sees one line of pixels at a time."""
    torch.manual_seed(34)
    d = load_digits()
    data = d.images if mistake else d.data
    x = torch.tensor(data / 16.0, dtype=torch.float32)[torch.randperm(len(data))]
    train, test = x[:1400], x[1400:]
    model = Denoiser(x.shape[-1])
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    loader = DataLoader(train, batch_size=35, shuffle=True)
    noisy_test = test + 0.4 * torch.randn_like(test)
    for epoch in range(15):
        model.train()
        total = 0.0
        for img in loader:
            noisy = img + 0.4 * torch.randn_like(img)
            loss = F.mse_loss(model(noisy), img)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            val = F.mse_loss(model(noisy_test), test).item()
        print(f"epoch {epoch} train {total / len(loader):.4f} test {val:.4f}")


# ---------------------------------------------------------------- 35
def make_dataset(seed):
    x, y = common.textures(900, noise=0.6, seed=seed)
    return TensorDataset(x, y)


def make_split(dataset, part, batch_size, fixed):
    g = torch.Generator().manual_seed(0) if fixed else None
    train, test = random_split(dataset, [600, 300], generator=g)
    if part == "train":
        return DataLoader(train, batch_size=batch_size, shuffle=True)
    return DataLoader(test, batch_size=100)


def textures_split_twice(mistake: bool) -> None:
    """If mistake, the random split is drawn anew for the test loader, so most of the test images were trained on."""
    torch.manual_seed(35)
    dataset = make_dataset(36)
    train_loader = make_split(dataset, "train", 30, fixed=not mistake)
    test_loader = make_split(dataset, "test", 30, fixed=not mistake)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 5, padding=2),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(512, 6),
    )
    opt = torch.optim.Adam(net.parameters(), lr=1e-3)
    for epoch in range(12):
        net.train()
        total = 0.0
        for xb, yb in train_loader:
            opt.zero_grad()
            loss = F.cross_entropy(net(xb), yb)
            loss.backward()
            opt.step()
            total += loss.item()
        net.eval()
        hits = 0
        with torch.no_grad():
            for xb, yb in test_loader:
                hits += (net(xb).argmax(1) == yb).sum().item()
        print(
            f"epoch {epoch} loss {total / len(train_loader):.4f} test acc {hits / len(test_loader.dataset):.4f}"
        )


# ---------------------------------------------------------------- 36
def digits_shared_loader_options(mistake: bool) -> None:
    """If mistake, the test loader takes over the options of training (shuffle, drop_last), so each test sees another part of the set."""
    torch.manual_seed(36)
    xt, yt, xv, yv = common.digits(seed=36)
    options = dict(batch_size=100, shuffle=True, drop_last=True)
    test_options = options if mistake else dict(batch_size=100)
    train_loader = DataLoader(TensorDataset(xt, yt), **options)
    test_loader = DataLoader(TensorDataset(xv, yv), **test_options)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 10)
    )
    opt = torch.optim.RMSprop(net.parameters(), lr=2e-3)
    for epoch in range(20):
        net.train()
        losses = []
        for xb, yb in train_loader:
            opt.zero_grad()
            loss = F.cross_entropy(net(xb), yb)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        net.eval()
        correct = seen = 0
        with torch.no_grad():
            for xb, yb in test_loader:
                correct += (net(xb).argmax(1) == yb).sum().item()
                seen += len(yb)
        if epoch % 2 == 1:
            print(
                f"epoch {epoch + 1} loss {np.mean(losses):.4f} test acc {correct / seen:.4f} on {seen} images"
            )


FAULTS = [
    (
        patch_wgan,
        ("generator", "opt_g", "never step", "gen ", "not stepped", "no step"),
        "28 GAN: generator never stepped",
    ),
    (
        cart_actor_critic,
        ("sign", "minus", "negative", "advantage", "reward falls", "less likely", "worse", "reversed"),
        "29 RL loss with the wrong sign",
    ),
    (
        transfer_frozen_backbone,
        ("batchnorm", "running stat", "frozen", "batch norm", "running_mean"),
        "30 frozen BatchNorm left in train mode",
    ),
    (
        patch_conv_autoencoder,
        ("view", "reshape", "batch size", "rows", "batch dimension", "twice as many", "two per"),
        "31 view(-1, k) with a wrong k",
    ),
    (
        segmentation_pixel_accuracy,
        (
            "argmax",
            "one output",
            "single",
            "always 0",
            "always class 0",
            "constant prediction",
            "one channel",
            "threshold",
        ),
        "32 one output scored by argmax",
    ),
    (
        wine_batchnorm_validation,
        (
            "eval()",
            "batchnorm",
            "train mode",
            "eval mode",
            "training mode",
            "running stat",
            "batch norm",
        ),
        "33 validation without eval(), BatchNorm",
    ),
    (
        digits_linear_denoiser,
        ("flatten", "last axis", "last dimension", "rows", "row of pixels", "each line", "view("),
        "34 linear net fed unflattened images",
    ),
    (
        textures_split_twice,
        ("overlap", "split", "trained on", "leak", "same samples", "seen in training", "in both"),
        "35 test split of data already trained on",
    ),
    (
        digits_shared_loader_options,
        (
            "drop_last",
            "shuffle",
            "truncat",
            "not the whole",
            "part of the test",
            "incomplete",
            "different samples",
            "never evaluated",
            "subset",
        ),
        "36 shuffled and truncated test loader",
    ),
]
