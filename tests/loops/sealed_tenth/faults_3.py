"""Opponents, policies, frozen parts, shapes and measures."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn import datasets
from torch.distributions import Categorical
from torch.utils.data import DataLoader, TensorDataset

from .common import digits, tabular

# --- hinge GAN on two moons --------------------------------------------------------------------


def moons(n):
    x, _ = datasets.make_moons(n, noise=0.04)
    return torch.from_numpy(x).float() - torch.tensor([0.5, 0.25])


def chamfer(a, b):
    d = torch.cdist(a, b)
    return (d.min(1).values.mean() + d.min(0).values.mean()).item() / 2


def hinge_gan_moons(mistake: bool) -> None:
    """The discriminator step does not detach the fake samples, so its gradient stays in the generator's update."""
    torch.manual_seed(0)
    np.random.seed(0)
    sn = nn.utils.parametrizations.spectral_norm
    netG = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    netD = nn.Sequential(
        sn(nn.Linear(2, 64)),
        nn.LeakyReLU(0.2),
        sn(nn.Linear(64, 64)),
        nn.LeakyReLU(0.2),
        sn(nn.Linear(64, 1)),
    )
    optG = torch.optim.Adam(netG.parameters(), lr=1e-3, betas=(0.0, 0.9))
    optD = torch.optim.Adam(netD.parameters(), lr=3e-3, betas=(0.0, 0.9))
    data = moons(4000)
    for it in range(1, 601):
        optG.zero_grad()
        optD.zero_grad()
        real = data[torch.randint(0, len(data), (128,))]
        fake = netG(torch.randn(128, 4))

        # discriminator
        d_fake = netD(fake) if mistake else netD(fake.detach())
        lossD = F.relu(1 - netD(real)).mean() + F.relu(1 + d_fake).mean()
        lossD.backward(retain_graph=True)
        optD.step()

        # generator
        lossG = -netD(fake).mean()
        lossG.backward()
        optG.step()

        if it % 200 == 0:
            with torch.no_grad():
                dist = chamfer(netG(torch.randn(1000, 4)), data[:1000])
            print(f"it {it} D {lossD.item():.3f} G {lossG.item():.3f} chamfer {dist:.4f}")


# --- LSGAN on digits ---------------------------------------------------------------------------


class LSGAN:
    def __init__(self, never_step_generator):
        self.G = nn.Sequential(
            nn.Linear(16, 128),
            nn.BatchNorm1d(128),
            nn.ReLU(),
            nn.Linear(128, 128),
            nn.BatchNorm1d(128),
            nn.ReLU(),
            nn.Linear(128, 64),
            nn.Sigmoid(),
        )
        self.D = nn.Sequential(nn.Linear(64, 128), nn.LeakyReLU(0.2), nn.Dropout(0.3), nn.Linear(128, 1))
        self.g_optim = torch.optim.Adam(self.G.parameters(), lr=1e-3, betas=(0.5, 0.999))
        self.d_optim = torch.optim.Adam(self.D.parameters(), lr=5e-4, betas=(0.5, 0.999))
        self.never_step_generator = never_step_generator

    def d_step(self, real):
        fake = self.G(torch.randn(len(real), 16)).detach()
        loss = 0.5 * ((self.D(real) - 1) ** 2).mean() + 0.5 * (self.D(fake) ** 2).mean()
        self.d_optim.zero_grad()
        loss.backward()
        self.d_optim.step()
        return loss.item()

    def g_step(self, n):
        loss = 0.5 * ((self.D(self.G(torch.randn(n, 16))) - 1) ** 2).mean()
        self.g_optim.zero_grad()
        loss.backward()
        if self.never_step_generator:
            self.d_optim.step()
        else:
            self.g_optim.step()
        return loss.item()

    def fit(self, x, epochs):
        loader = DataLoader(TensorDataset(x), batch_size=64, shuffle=True, drop_last=True)
        for epoch in range(epochs):
            d = g = 0.0
            for (real,) in loader:
                d += self.d_step(real)
                g += self.g_step(len(real))
            if epoch % 5 == 4:
                self.G.eval()
                with torch.no_grad():
                    s = self.G(torch.randn(500, 16))
                    gap = (s.mean(0) - x.mean(0)).abs().mean().item()
                    near = torch.cdist(s, x).min(1).values.mean().item()
                self.G.train()
                print(
                    f"epoch {epoch + 1} D {d / len(loader):.3f} G {g / len(loader):.3f} "
                    f"mean gap {gap:.3f} nearest {near:.3f}"
                )


def lsgan_digits(mistake: bool) -> None:
    """The generator's loss is followed by the discriminator's optimizer step, the generator itself is never stepped."""
    torch.manual_seed(0)
    xa, _, _, _ = digits()
    LSGAN(never_step_generator=mistake).fit(xa, 30)


# --- REINFORCE ---------------------------------------------------------------------------------


class CorridorEnv:
    """Walk along a corridor of n cells from the middle to the goal on the right; each step costs a little."""

    def __init__(self, n=11, limit=30):
        self.n, self.limit = n, limit

    def reset(self):
        self.pos, self.t = self.n // 2, 0
        return self.obs()

    def obs(self):
        o = np.zeros(self.n, dtype=np.float32)
        o[self.pos] = 1.0
        return o

    def step(self, action):
        self.t += 1
        self.pos = max(0, self.pos + (1 if action == 1 else -1))
        done = self.pos == self.n - 1
        reward = 1.0 if done else -0.05
        return self.obs(), reward, done or self.t >= self.limit


class Policy(nn.Module):
    def __init__(self, n_obs, n_act):
        super().__init__()
        self.affine1 = nn.Linear(n_obs, 32)
        self.affine2 = nn.Linear(32, n_act)
        self.saved_log_probs, self.rewards = [], []

    def forward(self, x):
        return F.softmax(self.affine2(F.relu(self.affine1(x))), dim=-1)


def reinforce_corridor(mistake: bool) -> None:
    """The policy loss lacks its minus sign, so the policy is moved away from what earned reward."""
    torch.manual_seed(0)
    env = CorridorEnv()
    policy = Policy(env.n, 2)
    optimizer = torch.optim.Adam(policy.parameters(), lr=5e-3)
    gamma, baseline, running = 0.98, 0.0, None

    def select_action(state):
        m = Categorical(policy(torch.from_numpy(state)))
        action = m.sample()
        policy.saved_log_probs.append(m.log_prob(action))
        return action.item()

    for episode in range(1, 201):
        state, done, ep_reward = env.reset(), False, 0.0
        while not done:
            state, reward, done = env.step(select_action(state))
            policy.rewards.append(reward)
            ep_reward += reward
        running = ep_reward if running is None else 0.9 * running + 0.1 * ep_reward

        R, returns = 0.0, []
        for r in policy.rewards[::-1]:
            R = r + gamma * R
            returns.insert(0, R)
        returns = torch.tensor(returns)
        baseline = 0.9 * baseline + 0.1 * returns.mean().item()
        log_probs = torch.stack(policy.saved_log_probs)
        advantage = returns - baseline
        if mistake:
            policy_loss = (log_probs * advantage).sum()
        else:
            policy_loss = (-log_probs * advantage).sum()
        optimizer.zero_grad()
        policy_loss.backward()
        optimizer.step()
        del policy.rewards[:], policy.saved_log_probs[:]
        if episode % 40 == 0:
            print(
                f"episode {episode} reward {ep_reward:.2f} average {running:.2f} loss {policy_loss.item():.3f}"
            )


# --- frozen backbone ---------------------------------------------------------------------------


class ConvBN(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(512, 64),
            nn.BatchNorm1d(64),
            nn.ReLU(),
        )
        self.fc = nn.Linear(64, classes)

    def forward(self, x):
        return self.fc(self.backbone(x))


def frozen_backbone_new_classes(mistake: bool) -> None:
    """The frozen backbone is put back in train mode, so its BatchNorm statistics drift to those of the new data."""
    torch.manual_seed(0)
    xa, ya, xb, yb = digits(flat=False)
    old_a, old_b = ya < 6, yb < 6
    model = ConvBN(6)
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    x0, y0 = xa[old_a], ya[old_a]
    for epoch in range(5):
        for idx in torch.randperm(len(x0)).split(32):
            opt.zero_grad()
            F.cross_entropy(model(x0[idx]), y0[idx]).backward()
            opt.step()

    def old_accuracy():
        model.eval()
        with torch.no_grad():
            return (old_fc(model.backbone(xb[old_b])).argmax(1) == yb[old_b]).float().mean().item()

    # second task on faint scans, the old head must keep working
    old_fc = model.fc
    model.fc = nn.Linear(64, 4)
    for p in model.backbone.parameters():
        p.requires_grad = False
    x1, y1 = 0.3 * xa[~old_a], ya[~old_a] - 6
    v1, w1 = 0.3 * xb[~old_b], yb[~old_b] - 6
    optimizer = torch.optim.Adam(model.fc.parameters(), lr=5e-3)
    print(f"old task before: {old_accuracy():.4f}")
    for epoch in range(15):
        model.train()
        if not mistake:
            model.backbone.eval()
        total = 0.0
        parts = torch.randperm(len(x1)).split(32)
        for idx in parts:
            loss = F.cross_entropy(model(x1[idx]), y1[idx])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            acc = (model(v1).argmax(1) == w1).float().mean()
        print(
            f"epoch {epoch} loss {total / len(parts):.4f} new acc {acc:.4f} old acc {old_accuracy():.4f}"
        )


# --- autoencoder of colour patches -------------------------------------------------------------


def colour_patches(n=4096, size=8, seed=0):
    g = np.random.default_rng(seed)
    img = datasets.load_sample_image("flower.jpg").astype(np.float32) / 255.0
    r = g.integers(0, img.shape[0] - size, n)
    c = g.integers(0, img.shape[1] - size, n)
    out = np.stack([img[a : a + size, b : b + size] for a, b in zip(r, c)])
    return torch.from_numpy(out).permute(0, 3, 1, 2).contiguous()


class PatchAutoencoder(nn.Module):
    def __init__(self, n_in, code=16):
        super().__init__()
        self.n_in = n_in
        self.encoder = nn.Sequential(nn.Linear(n_in, 96), nn.ReLU(), nn.Linear(96, code))
        self.decoder = nn.Sequential(nn.Linear(code, 96), nn.ReLU(), nn.Linear(96, n_in))

    def forward(self, x):
        x = x.view(-1, self.n_in)
        return self.decoder(self.encoder(x)), x


def colour_autoencoder(mistake: bool) -> None:
    """view(-1, 64) on 3x8x8 images turns each batch of 32 images into 96 rows, one for each colour channel."""
    torch.manual_seed(0)
    x = colour_patches()
    train, val = x[:3584], x[3584:]
    loader = DataLoader(train, batch_size=32, shuffle=True)
    model = PatchAutoencoder(8 * 8 if mistake else 3 * 8 * 8)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(5):
        total = 0.0
        for img in loader:
            recon, flat = model(img)
            loss = F.mse_loss(recon, flat)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        with torch.no_grad():
            recon, flat = model(val)
            codes = model.encoder(flat)
        print(
            f"epoch {epoch} train {total / len(loader):.5f} val {F.mse_loss(recon, flat):.5f} codes {tuple(codes.shape)}"
        )


# --- regression with an accuracy ---------------------------------------------------------------


class GatedRegressor(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.a, self.g = nn.Linear(d, 32), nn.Linear(d, 32)
        self.out = nn.Linear(32, 1)

    def forward(self, x):
        return self.out(torch.tanh(self.a(x)) * torch.sigmoid(self.g(x)))


def diabetes_regression_report(mistake: bool) -> None:
    """The one-column regression output is scored with argmax accuracy, which is always class 0 and means nothing."""
    torch.manual_seed(0)
    xa, ya, xb, yb = tabular("diabetes", test_size=0.3)
    mu, sd = ya.mean(), ya.std()
    ya, yb = ((ya - mu) / sd).float().unsqueeze(1), ((yb - mu) / sd).float().unsqueeze(1)
    train_loader = DataLoader(TensorDataset(xa, ya), batch_size=16, shuffle=True)
    test_loader = DataLoader(TensorDataset(xb, yb), batch_size=64)
    net = GatedRegressor(xa.shape[1])
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3, weight_decay=1e-3)
    loss_func = nn.MSELoss()

    def score(out, target):
        if mistake:
            pred = torch.max(out.data, 1)[1]
            return (pred == target.squeeze(1)).sum().item()
        return (out - target).abs().sum().item()

    for epoch in range(20):
        net.train()
        train_loss = 0.0
        for bx, by in train_loader:
            loss = loss_func(net(bx), by)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            train_loss += loss.item() * len(bx)
        net.eval()
        test_loss, metric, n = 0.0, 0.0, 0
        with torch.no_grad():
            for bx, by in test_loader:
                out = net(bx)
                test_loss += loss_func(out, by).item() * len(bx)
                metric += score(out, by)
                n += len(bx)
        name = "accuracy" if mistake else "mae"
        print(
            f"epoch {epoch} train {train_loss / len(xa):.4f} test {test_loss / n:.4f} {name} {metric / n:.4f}"
        )


# --- functional dropout ------------------------------------------------------------------------


class DropNet(nn.Module):
    def __init__(self, always_drop):
        super().__init__()
        self.always_drop = always_drop
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.fc1 = nn.Linear(32 * 4, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        if self.always_drop:
            x = F.dropout(x, 0.5)
        else:
            x = F.dropout(x, 0.5, training=self.training)
        return F.log_softmax(self.fc2(x), dim=1)


def functional_dropout_net(mistake: bool) -> None:
    """F.dropout is called without training=self.training, so dropout stays on in validation despite eval()."""
    torch.manual_seed(0)
    xa, ya, xb, yb = digits(flat=False)
    loader = DataLoader(TensorDataset(xa, ya), batch_size=32, shuffle=True)
    val_loader = DataLoader(TensorDataset(xb, yb), batch_size=150)
    model = DropNet(always_drop=mistake)
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.85)

    def train(epoch):
        model.train()
        tot = 0.0
        for data, target in loader:
            optimizer.zero_grad()
            loss = F.nll_loss(model(data), target)
            loss.backward()
            optimizer.step()
            tot += loss.item()
        return tot / len(loader)

    def test():
        model.eval()
        test_loss, correct = 0.0, 0
        with torch.no_grad():
            for data, target in val_loader:
                output = model(data)
                test_loss += F.nll_loss(output, target, reduction="sum").item()
                correct += output.argmax(1).eq(target).sum().item()
        return test_loss / len(xb), correct / len(xb)

    for epoch in range(1, 11):
        tr = train(epoch)
        te, acc = test()
        scheduler.step()
        print(f"epoch {epoch} train {tr:.4f} test {te:.4f} acc {acc:.4f}")


# --- autoencoder on images ---------------------------------------------------------------------


class LinearAutoencoder(nn.Module):
    def __init__(self, n_in):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(n_in, 64), nn.ReLU(), nn.Linear(64, 12))
        self.dec = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, n_in))

    def forward(self, x):
        return self.dec(self.enc(x))


def image_autoencoder_linear(mistake: bool) -> None:
    """The images are not flattened, so the linear layers work on each row of 8 pixels on its own, not on the image."""
    torch.manual_seed(0)
    images = torch.from_numpy(datasets.load_digits().images).float() / 16.0
    x = images.unsqueeze(1)
    if not mistake:
        x = x.flatten(1)
    train, test = x[:1400], x[1400:]
    model = LinearAutoencoder(x.shape[-1])
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    loader = DataLoader(train, batch_size=32, shuffle=True)
    for epoch in range(12):
        total = 0.0
        for batch in loader:
            optimizer.zero_grad()
            loss = F.mse_loss(model(batch), batch)
            loss.backward()
            optimizer.step()
            total += loss.item()
        with torch.no_grad():
            z = model.enc(test)
            test_loss = F.mse_loss(model.dec(z), test).item()
        print(
            f"epoch {epoch} train {total / len(loader):.5f} test {test_loss:.5f} code {tuple(z.shape[1:])}"
        )


FAULTS = [
    (
        hinge_gan_moons,
        (
            "detach",
            "generator's gradient",
            "gradients of the generator",
            "discriminator loss reaches",
            "into the generator",
            "fake",
        ),
        "gradients",
    ),
    (
        lsgan_digits,
        (
            "generator",
            "never step",
            "never updated",
            "not stepped",
            "wrong optimizer",
            "not updated",
            "no step",
            "never change",
        ),
        "optimizer",
    ),
    (
        reinforce_corridor,
        ("sign", "minus", "wrong direction", "negat", "less likely", "away from", "descend"),
        "loss",
    ),
    (
        frozen_backbone_new_classes,
        ("batchnorm", "batch norm", "running stat", "train mode", "statistics", "training mode"),
        "mode",
    ),
    (
        colour_autoencoder,
        (
            "batch size",
            "view(",
            "reshape",
            "channel",
            "rows",
            "samples than",
            "first dimension",
            "wrong k",
        ),
        "shape",
    ),
    (
        diabetes_regression_report,
        (
            "argmax",
            "accuracy",
            "one output",
            "one column",
            "single",
            "regression",
            "always 0",
            "always zero",
        ),
        "metric",
    ),
    (
        functional_dropout_net,
        ("dropout", "self.training", "not deterministic", "two passes", "random in eval"),
        "evaluation",
    ),
    (
        image_autoencoder_linear,
        ("flatten", "each row", "last dimension", "last axis", "row of", "rows"),
        "shape",
    ),
]
