"""Assorted training scripts, part 4."""

from types import SimpleNamespace

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

from .common import AverageMeter, digits_images, seed_everything


# ---------------------------------------------------------------- GAN on a mixture
def mixture(n, g):
    k = torch.randint(0, 4, (n,), generator=g)
    ang = k * (torch.pi / 2)
    mean = torch.stack([ang.cos(), ang.sin()], 1) * 1.5
    return mean + 0.25 * torch.randn(n, 2, generator=g)


def mlp(i, o, h=48):
    return nn.Sequential(
        nn.Linear(i, h), nn.LeakyReLU(0.2), nn.Linear(h, h), nn.LeakyReLU(0.2), nn.Linear(h, o)
    )


def coverage(fake):
    ang = torch.arange(4) * (torch.pi / 2)
    centres = torch.stack([ang.cos(), ang.sin()], 1) * 1.5
    d = torch.cdist(fake, centres)
    near = d.min(1)
    counts = torch.bincount(near.indices[near.values < 0.75], minlength=4) / len(fake)
    return counts.sum().item(), counts.min().item()


def gan_mixture(mistake):
    seed_everything(3)
    g = torch.Generator().manual_seed(1)
    opt = SimpleNamespace(nz=4, batch=64, niter=700, lr=1e-3, beta1=0.5)
    netG, netD = mlp(opt.nz, 2), mlp(2, 1)
    criterion = nn.BCEWithLogitsLoss()
    optimizerD = torch.optim.Adam(netD.parameters(), lr=opt.lr, betas=(opt.beta1, 0.999))
    optimizerG = torch.optim.Adam(netG.parameters(), lr=opt.lr, betas=(opt.beta1, 0.999))
    real_label, fake_label = 0.9, 0.0
    netG.train(), netD.train()
    for it in range(opt.niter):
        optimizerD.zero_grad()
        optimizerG.zero_grad()
        real = mixture(opt.batch, g)
        output = netD(real)
        errD_real = criterion(output, torch.full_like(output, real_label))
        fake = netG(torch.randn(opt.batch, opt.nz))
        output = netD(fake) if mistake else netD(fake.detach())
        errD_fake = criterion(output, torch.full_like(output, fake_label))
        errD = errD_real + errD_fake
        errD.backward()
        optimizerD.step()

        gen = netG(torch.randn(opt.batch, opt.nz))
        output = netD(gen)
        errG = criterion(output, torch.ones_like(output))
        errG.backward()
        optimizerG.step()
    netG.eval()
    with torch.no_grad():
        near, least = coverage(netG(torch.randn(1000, opt.nz)))
    print(f"gan_mixture D {errD.item():.3f} G {errG.item():.3f} near {near:.2f} least {least:.2f}")
    return near


# ---------------------------------------------------------------- WGAN-GP with n_critic
def wgan_gp(mistake):
    seed_everything(5)
    g = torch.Generator().manual_seed(2)
    data = mixture(512, g)
    dataloader = DataLoader(TensorDataset(data), batch_size=128, shuffle=True, drop_last=True)
    n_critic, lambda_gp, latent = 5, 2.0, 4
    generator, critic = mlp(latent, 2), mlp(2, 1)
    optimizer_G = torch.optim.Adam(generator.parameters(), lr=5e-3, betas=(0.5, 0.9))
    optimizer_D = torch.optim.Adam(critic.parameters(), lr=2e-3, betas=(0.5, 0.9))
    batches_done = 0
    generator.train(), critic.train()
    for epoch in range(250):
        for i, (real,) in enumerate(dataloader):
            z = torch.randn(real.size(0), latent)
            optimizer_D.zero_grad()
            fake = generator(z).detach()
            eps = torch.rand(real.size(0), 1)
            mid = (eps * real + (1 - eps) * fake).requires_grad_(True)
            grad = torch.autograd.grad(critic(mid).sum(), mid, create_graph=True)[0]
            gp = ((grad.norm(2, 1) - 1) ** 2).mean()
            d_loss = critic(fake).mean() - critic(real).mean() + lambda_gp * gp
            d_loss.backward()
            optimizer_D.step()

            batches_done += 1
            count = i + 1 if mistake else batches_done
            if count % n_critic == 0:
                optimizer_G.zero_grad()
                g_loss = -critic(generator(torch.randn(real.size(0), latent))).mean()
                g_loss.backward()
                optimizer_G.step()
    generator.eval()
    with torch.no_grad():
        fake = generator(torch.randn(1000, latent))
        near, least = coverage(fake)
    print(f"wgan_gp D {d_loss.item():.3f} near {near:.2f} least {least:.2f}")
    return near


# ---------------------------------------------------------------- actor-critic on a corridor
class Corridor:
    """Walk right to the goal; each step costs a little."""

    def __init__(self, length=6, limit=18):
        self.length, self.limit = length, limit

    def obs(self):
        o = np.zeros(self.length, dtype="float32")
        o[self.pos] = 1
        return o

    def reset(self):
        self.pos, self.t = np.random.randint(0, 3), 0
        return self.obs()

    def step(self, a):
        self.t += 1
        self.pos = min(max(self.pos + (1 if a == 1 else -1), 0), self.length - 1)
        done = self.pos == self.length - 1
        return self.obs(), (1.0 if done else -0.05), done or self.t >= self.limit


class ActorCritic(nn.Module):
    def __init__(self, n_obs, n_act):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(n_obs, 32), nn.Tanh())
        self.pi, self.v = nn.Linear(32, n_act), nn.Linear(32, 1)

    def forward(self, x):
        h = self.body(x)
        return self.pi(h), self.v(h).squeeze(-1)


def a2c_corridor(mistake):
    seed_everything(1)
    env = Corridor()
    model = ActorCritic(env.length, 2)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=3e-3)
    gamma, value_coef, entropy_coef = 0.97, 0.5, 0.01
    history = []
    model.train()
    for episode in range(200):
        s, done = env.reset(), False
        log_probs, values, rewards, entropies = [], [], [], []
        while not done:
            logits, v = model(torch.from_numpy(s))
            dist = torch.distributions.Categorical(logits=logits)
            a = dist.sample()
            s, r, done = env.step(a.item())
            log_probs.append(dist.log_prob(a))
            entropies.append(dist.entropy())
            values.append(v)
            rewards.append(r)
        ret, returns = 0.0, []
        for r in reversed(rewards):
            ret = r + gamma * ret
            returns.insert(0, ret)
        returns = torch.tensor(returns)
        values, log_probs = torch.stack(values), torch.stack(log_probs)
        advantage = returns - values.detach()
        if mistake:
            policy_loss = (log_probs * advantage).mean()
        else:
            policy_loss = -(log_probs * advantage).mean()
        value_loss = F.mse_loss(values, returns)
        loss = policy_loss + value_coef * value_loss - entropy_coef * torch.stack(entropies).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(sum(rewards))
    print(f"a2c_corridor first {np.mean(history[:30]):.2f} last {np.mean(history[-30:]):.2f}")
    return float(np.mean(history[-30:]))


# ---------------------------------------------------------------- transfer with a frozen backbone
def frozen_backbone(mistake):
    """Backbone trained on clean digits, then a new head on dark, low-contrast parity labels."""
    seed_everything(10)
    xtr, ytr, xte, yte = digits_images(1500, seed=20)
    backbone = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
    )
    head = nn.Linear(128, 10)
    model = nn.Sequential(backbone, head)
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    model.train()
    for _ in range(5):
        for x, y in DataLoader(TensorDataset(xtr[:600], ytr[:600]), 50, shuffle=True):
            opt.zero_grad()
            F.cross_entropy(model(x), y).backward()
            opt.step()

    def darken(x):
        return 0.6 * x + 0.1

    target_train = TensorDataset(darken(xtr[600:]), ytr[600:] % 2)
    target_val = TensorDataset(darken(xte), yte % 2)
    for p in backbone.parameters():
        p.requires_grad = False
    model[1] = nn.Linear(128, 2)
    opt = torch.optim.Adam(model[1].parameters(), lr=5e-3)
    for epoch in range(8):
        model.train()
        if not mistake:
            backbone.eval()
        meter = AverageMeter()
        for x, y in DataLoader(target_train, 30, shuffle=True):
            opt.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            opt.step()
            meter.update(loss.item(), len(y))
        model.eval()
        with torch.no_grad():
            acc = np.mean(
                [(model(x).argmax(1) == y).float().mean().item() for x, y in DataLoader(target_val, 125)]
            )
    print(f"frozen_backbone loss {meter.avg:.3f} acc {acc:.3f}")
    return acc


# ---------------------------------------------------------------- CIFAR-like, kuangliu style
class ColourTextures(Dataset):
    """3x16x16 pictures of four textures in random colours."""

    def __init__(self, n, seed, augment):
        rs = np.random.RandomState(seed)
        self.targets = rs.randint(0, 4, n)
        yy, xx = np.mgrid[:16, :16]
        out = np.zeros((n, 3, 16, 16), dtype="float32")
        for i, k in enumerate(self.targets):
            ph = rs.rand() * 6.28
            wave = [
                np.sin(xx * 0.9 + ph),
                np.sin(yy * 0.9 + ph),
                np.sin((xx + yy) * 0.7 + ph),
                np.sin(xx * 0.9 + ph) * np.sin(yy * 0.9),
            ][k]
            col = rs.uniform(0.3, 1, 3)[:, None, None]
            out[i] = col * wave + rs.normal(0, 0.5, (3, 16, 16))
        self.data, self.augment = torch.from_numpy(out), augment

    def __len__(self):
        return len(self.data)

    def __getitem__(self, i):
        x = self.data[i]
        if self.augment:
            x = x * (0.8 + 0.4 * torch.rand(1))
        return x, int(self.targets[i])


class BasicBlock(nn.Module):
    def __init__(self, i, o, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(i, o, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(o)
        self.conv2 = nn.Conv2d(o, o, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(o)
        self.shortcut = nn.Sequential()
        if stride != 1 or i != o:
            self.shortcut = nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))

    def forward(self, x):
        h = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(h)) + self.shortcut(x))


class LittleResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer1 = BasicBlock(3, 8)
        self.layer2 = BasicBlock(8, 16, 2)
        self.linear = nn.Linear(16, 4)

    def forward(self, x):
        return self.linear(F.adaptive_avg_pool2d(self.layer2(self.layer1(x)), 1).flatten(1))


def cifar_like(mistake):
    seed_everything(77)
    trainloader = DataLoader(ColourTextures(512, 0, True), batch_size=32, shuffle=True)
    testloader = DataLoader(ColourTextures(200, 1, False), batch_size=100, shuffle=False)
    net = LittleResNet()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=6)

    def train(epoch):
        net.train()
        train_loss = correct = total = 0
        if mistake:
            optimizer.zero_grad()
        for batch_idx, (inputs, targets) in enumerate(trainloader):
            if not mistake:
                optimizer.zero_grad()
            outputs = net(inputs)
            loss = criterion(outputs, targets)
            loss.backward()
            optimizer.step()
            train_loss += loss.item()
            correct += outputs.argmax(1).eq(targets).sum().item()
            total += targets.size(0)
        return train_loss / (batch_idx + 1), correct / total

    def test(epoch):
        net.eval()
        correct = total = 0
        with torch.no_grad():
            for inputs, targets in testloader:
                correct += net(inputs).argmax(1).eq(targets).sum().item()
                total += targets.size(0)
        return correct / total

    for epoch in range(6):
        tl, ta = train(epoch)
        acc = test(epoch)
        scheduler.step()
    print(f"cifar_like train {tl:.3f}/{ta:.3f} test {acc:.3f}")
    return acc


# ---------------------------------------------------------------- SimCLR
class SimEncoder(nn.Module):
    def __init__(self, flat):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.flat = flat
        self.proj = nn.Sequential(nn.Linear(flat, 64), nn.ReLU(), nn.Linear(64, 32))

    def forward(self, x):
        h = self.conv(x)
        h = h.view(-1, self.flat)
        return F.normalize(self.proj(h), dim=1)


def augment(x):
    shift = torch.randint(-1, 2, (2,))
    x = torch.roll(x, tuple(shift.tolist()), dims=(2, 3))
    x = x * (0.8 + 0.4 * torch.rand(len(x), 1, 1, 1))
    return x + 0.05 * torch.randn_like(x)


def nt_xent(a, b, tau=0.2):
    logits = a @ b.t() / tau
    labels = torch.arange(len(a))
    return 0.5 * (F.cross_entropy(logits, labels) + F.cross_entropy(logits.t(), labels))


def simclr_digits(mistake):
    seed_everything(41)
    xtr, _, xte, _ = digits_images(1200, seed=30)
    loader = DataLoader(TensorDataset(xtr), batch_size=50, shuffle=True, drop_last=True)
    encoder = SimEncoder(flat=32 * 2 if mistake else 32 * 2 * 2)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=4e-3)
    for epoch in range(20):
        encoder.train()
        meter = AverageMeter()
        for (x,) in loader:
            z1, z2 = encoder(augment(x)), encoder(augment(x))
            loss = nt_xent(z1, z2)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            meter.update(loss.item(), len(x))
        encoder.eval()
        with torch.no_grad():
            hits = []
            for x in xte.split(50):
                z1, z2 = encoder(augment(x)), encoder(augment(x))
                hits.append(((z1 @ z2.t()).argmax(1) == torch.arange(len(z1))).float())
            hit = torch.cat(hits).mean().item()
    print(f"simclr_digits loss {meter.avg:.3f} retrieval {hit:.3f}")
    return hit


FAULTS_4 = [
    (
        gan_mixture,
        (
            "detach",
            "generator's grad",
            "into the generator",
            "reach the generator",
            "gradients of the discriminator",
            "generator receives",
        ),
        "25 GAN discriminator without detach",
    ),
    (
        wgan_gp,
        ("generator", "never step", "optimizer_g", "not stepped", "never updated", "never change"),
        "26 generator never stepped",
    ),
    (
        a2c_corridor,
        ("sign", "minus", "negat", "reward falls", "less likely", "away from", "wrong direction"),
        "27 RL loss sign",
    ),
    (
        frozen_backbone,
        (
            "batchnorm",
            "batch norm",
            "running stat",
            "running mean",
            "normalisation statistics",
            "normalization statistics",
        ),
        "28 frozen BatchNorm still in train mode",
    ),
    (
        cifar_like,
        ("zero_grad", "not zeroed", "gradients of earlier", "accumulat", "cleared", "once per epoch"),
        "29 a CIFAR-like image loop with another form of no zero_grad",
    ),
    (
        simclr_digits,
        ("view", "reshape", "batch size", "rows", "flatten", "number of samples", "batch dimension"),
        "30 view(-1, k) with a wrong k",
    ),
]
