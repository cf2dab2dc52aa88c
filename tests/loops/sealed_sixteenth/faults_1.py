"""Autoencoders, VAEs, GANs and a small diffusion model."""

import copy
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn import datasets
from torch.nn.utils.parametrizations import spectral_norm
from torch.utils.data import DataLoader, TensorDataset

from .common import AverageMeter, digit_images, seed_everything, shuffled


# --------------------------------------------------------------------------- 05
class ConvAutoencoder(nn.Module):
    def __init__(self, latent=12):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, latent)
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent, 256),
            nn.ReLU(),
            nn.Unflatten(1, (16, 4, 4)),
            nn.ConvTranspose2d(16, 1, 4, stride=2, padding=1),
        )

    def forward(self, x):
        return self.decoder(self.encoder(x))


class Hook:
    def before_epoch(self, runner):
        pass

    def after_train_iter(self, runner):
        pass

    def after_epoch(self, runner):
        pass


class OptimizerHook(Hook):
    def after_train_iter(self, runner):
        runner.optimizer.step()
        runner.optimizer.zero_grad()


class LoggerHook(Hook):
    def before_epoch(self, runner):
        runner.meter = AverageMeter()

    def after_train_iter(self, runner):
        runner.meter.update(runner.loss.item())

    def after_epoch(self, runner):
        runner.model.eval()
        with torch.no_grad():
            val = sum(F.mse_loss(runner.model(x), x).item() for (x,) in runner.val_loader) / len(
                runner.val_loader
            )
        print(f"epoch {runner.epoch}: loss {runner.meter.avg:.4f} val {val:.4f}")


class EpochBasedRunner:
    def __init__(self, model, optimizer, train_loader, val_loader, max_epochs):
        self.model, self.optimizer, self.max_epochs = model, optimizer, max_epochs
        self.train_loader, self.val_loader = train_loader, val_loader
        self.hooks = []

    def register_hook(self, hook):
        self.hooks.append(hook)

    def call_hook(self, name):
        for hook in self.hooks:
            getattr(hook, name)(self)

    def train_iter(self, batch):
        (x,) = batch
        self.loss = F.mse_loss(self.model(x), x)
        self.loss.backward()

    def run(self):
        for self.epoch in range(self.max_epochs):
            self.model.train()
            self.call_hook("before_epoch")
            for batch in self.train_loader:
                self.train_iter(batch)
                self.call_hook("after_train_iter")
            self.call_hook("after_epoch")


class StandaloneRunner(EpochBasedRunner):
    def train_iter(self, batch):
        super().train_iter(batch)
        self.optimizer.step()


def autoencoder_runner_hooks(mistake: bool) -> None:
    """train_iter already steps the optimizer and the OptimizerHook steps again: two updates with the same gradients."""
    seed_everything(0)
    (x,) = shuffled(digit_images(8)[0])
    train_loader = DataLoader(TensorDataset(x[:1400]), batch_size=32, shuffle=True)
    val_loader = DataLoader(TensorDataset(x[1400:]), batch_size=100)
    model = ConvAutoencoder()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    runner_cls = StandaloneRunner if mistake else EpochBasedRunner
    runner = runner_cls(model, optimizer, train_loader, val_loader, max_epochs=20)
    runner.register_hook(LoggerHook())
    runner.register_hook(OptimizerHook())
    runner.run()


# --------------------------------------------------------------------------- 17, 31
class VAE(nn.Module):
    def __init__(self, n_in, hidden=128, latent=8):
        super().__init__()
        self.n_in = n_in
        self.fc1 = nn.Linear(n_in, hidden)
        self.fc21 = nn.Linear(hidden, latent)
        self.fc22 = nn.Linear(hidden, latent)
        self.fc3 = nn.Linear(latent, hidden)
        self.fc4 = nn.Linear(hidden, n_in)

    def encode(self, x):
        h1 = F.relu(self.fc1(x))
        return self.fc21(h1), self.fc22(h1)

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        return mu + torch.randn_like(std) * std

    def decode(self, z):
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z))))

    def forward(self, x):
        mu, logvar = self.encode(x.view(-1, self.n_in))
        return self.decode(self.reparameterize(mu, logvar)), mu, logvar


def vae_loss(recon_x, x, mu, logvar):
    bce = F.binary_cross_entropy(recon_x, x.view(-1, recon_x.size(-1)), reduction="sum")
    kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return bce + kld


def vae_linear_decay(mistake: bool) -> None:
    """scheduler.step() opens the epoch, before any optimizer step: the first rate is skipped and the last epoch runs at rate 0."""
    seed_everything(1)
    (x,) = shuffled(digit_images(8)[0])
    train_loader = DataLoader(TensorDataset(x[:1500]), batch_size=50, shuffle=True)
    test_loader = DataLoader(TensorDataset(x[1500:]), batch_size=100)
    model = VAE(64)
    epochs = 20
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lr_lambda=lambda e: 1 - e / epochs)

    def train(epoch):
        model.train()
        train_loss = 0
        for (data,) in train_loader:
            optimizer.zero_grad()
            recon, mu, logvar = model(data)
            loss = vae_loss(recon, data, mu, logvar) / len(data)
            loss.backward()
            train_loss += loss.item() * len(data)
            optimizer.step()
        print(
            f"====> Epoch: {epoch} Average loss: {train_loss / len(train_loader.dataset):.4f} lr {optimizer.param_groups[0]['lr']:.5f}"
        )

    def test():
        model.eval()
        test_loss = 0
        with torch.no_grad():
            for (data,) in test_loader:
                recon, mu, logvar = model(data)
                test_loss += vae_loss(recon, data, mu, logvar).item()
        print(f"====> Test set loss: {test_loss / len(test_loader.dataset):.4f}")

    for epoch in range(1, epochs + 1):
        if mistake:
            scheduler.step()
        train(epoch)
        test()
        if not mistake:
            scheduler.step()


@dataclass
class VAEConfig:
    image_size: int = 16
    input_dim: int = 256
    batch_size: int = 64
    epochs: int = 30
    lr: float = 2e-3


def vae_hardcoded_input_dim(mistake: bool) -> None:
    """view(-1, 64) is left over from 8x8 images, the data is 16x16: each image becomes four strips in the batch."""
    cfg = VAEConfig(input_dim=64) if mistake else VAEConfig()
    seed_everything(2)
    (x,) = shuffled(digit_images(cfg.image_size)[0])
    train_loader = DataLoader(TensorDataset(x[:1500]), batch_size=cfg.batch_size, shuffle=True)
    test_loader = DataLoader(TensorDataset(x[1500:]), batch_size=cfg.batch_size)
    model = VAE(cfg.input_dim)
    optimizer = torch.optim.Adam(model.parameters(), lr=cfg.lr)
    for epoch in range(cfg.epochs):
        model.train()
        meter = AverageMeter()
        for (imgs,) in train_loader:
            recon, mu, logvar = model(imgs)
            loss = vae_loss(recon, imgs, mu, logvar) / imgs.size(0)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            meter.update(loss.item(), imgs.size(0))
        model.eval()
        with torch.no_grad():
            test = sum(
                vae_loss(*((lambda o: (o[0], imgs, o[1], o[2]))(model(imgs)))).item()
                for (imgs,) in test_loader
            )
        print(f"epoch {epoch}: train {meter.avg:.3f} test {test / len(test_loader.dataset):.3f}")


# --------------------------------------------------------------------------- 25
class EMAHelper:
    """Exponential moving average of the parameters, as in DDPM repositories."""

    def __init__(self, module, mu=0.99):
        self.mu = mu
        self.params = list(module.parameters())
        self.shadow = [p.detach().clone() for p in self.params]

    @torch.no_grad()
    def update(self):
        for s, p in zip(self.shadow, self.params):
            s.mul_(self.mu).add_(p, alpha=1 - self.mu)

    @torch.no_grad()
    def copy_to(self, module):
        for s, p in zip(self.shadow, module.parameters()):
            p.copy_(s)


class EpsNet(nn.Module):
    def __init__(self, width=96, steps=50):
        super().__init__()
        self.t_emb = nn.Embedding(steps, width)
        self.inp = nn.Linear(2, width)
        self.mid = nn.Sequential(
            nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )
        self.out = nn.Linear(width, 2)

    def forward(self, x, t):
        return self.out(self.mid(self.inp(x) + self.t_emb(t)))


class Diffusion:
    def __init__(self, steps=50):
        self.steps = steps
        self.betas = torch.linspace(1e-3, 0.15, steps)
        self.abar = torch.cumprod(1 - self.betas, 0)

    def loss(self, model, x0):
        t = torch.randint(0, self.steps, (len(x0),))
        eps = torch.randn_like(x0)
        a = self.abar[t][:, None]
        return F.mse_loss(model(a.sqrt() * x0 + (1 - a).sqrt() * eps, t), eps)

    @torch.no_grad()
    def sample(self, model, n):
        x = torch.randn(n, 2)
        for t in reversed(range(self.steps)):
            eps = model(x, torch.full((n,), t))
            x = (x - self.betas[t] / (1 - self.abar[t]).sqrt() * eps) / (1 - self.betas[t]).sqrt()
            if t > 0:
                x = x + self.betas[t].sqrt() * torch.randn_like(x)
        return x


def prepare(model):
    """Device placement and wrapping; hands back the module to train."""
    return copy.deepcopy(model).to("cpu").train()


def nearest_distance(samples, data):
    return torch.cdist(samples, data).min(1).values.mean().item()


def ddpm_moons_ema(mistake: bool) -> None:
    """The EMA holds the parameters of the module from before prepare(); they are never trained, so the average stays at the initial weights."""
    seed_everything(3)
    pts, _ = datasets.make_moons(2048, noise=0.05, random_state=0)
    data = torch.tensor(pts, dtype=torch.float32)
    data = (data - data.mean(0)) / data.std(0)
    loader = DataLoader(TensorDataset(data), batch_size=128, shuffle=True)
    diffusion = Diffusion()

    model = EpsNet()
    if mistake:
        ema = EMAHelper(model)
        model = prepare(model)
    else:
        model = prepare(model)
        ema = EMAHelper(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    for epoch in range(60):
        meter = AverageMeter()
        for (x0,) in loader:
            optimizer.zero_grad()
            loss = diffusion.loss(model, x0)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            ema.update()
            meter.update(loss.item())
        if (epoch + 1) % 20 == 0:
            ema_model = copy.deepcopy(model).eval()
            ema.copy_to(ema_model)
            d = nearest_distance(diffusion.sample(ema_model, 500), data)
            d_raw = nearest_distance(diffusion.sample(model, 500), data)
            print(f"epoch {epoch + 1}: loss {meter.avg:.4f} sample distance ema {d:.3f} raw {d_raw:.3f}")


# --------------------------------------------------------------------------- 27
class Generator(nn.Module):
    def __init__(self, nz=16, ngf=24):
        super().__init__()
        self.nz = nz
        self.main = nn.Sequential(
            nn.Linear(nz, ngf * 2 * 4),
            nn.BatchNorm1d(ngf * 2 * 4),
            nn.ReLU(True),
            nn.Unflatten(1, (ngf * 2, 2, 2)),
            nn.ConvTranspose2d(ngf * 2, ngf, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ngf),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf, 1, 4, 2, 1),
            nn.Tanh(),
        )

    def forward(self, z):
        return self.main(z)


class Discriminator(nn.Module):
    def __init__(self, ndf=24):
        super().__init__()
        self.main = nn.Sequential(
            spectral_norm(nn.Conv2d(1, ndf, 4, 2, 1)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv2d(ndf, ndf * 2, 4, 2, 1)),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            spectral_norm(nn.Linear(ndf * 2 * 4, 1)),
        )

    def forward(self, x):
        return self.main(x).squeeze(1)


def sngan_digits(mistake: bool) -> None:
    """The fake batch is not detached in the discriminator's loss: its gradients gather in the generator and are applied with its own."""
    seed_everything(4)
    x, _ = digit_images(8)
    x = x * 2 - 1
    loader = DataLoader(TensorDataset(x), batch_size=64, shuffle=True, drop_last=True)
    netG, netD = Generator(), Discriminator()
    optimizerD = torch.optim.Adam(netD.parameters(), lr=1e-3, betas=(0.5, 0.999))
    optimizerG = torch.optim.Adam(netG.parameters(), lr=1e-3, betas=(0.5, 0.999))
    n_critic = 3
    fixed_noise = torch.randn(500, netG.nz)

    for epoch in range(30):
        for i, (real,) in enumerate(loader):
            b = real.size(0)

            # update D: logistic loss
            fake = netG(torch.randn(b, netG.nz))
            d_fake_in = fake if mistake else fake.detach()
            errD = F.softplus(-netD(real)).mean() + F.softplus(netD(d_fake_in)).mean()
            errD.backward()
            optimizerD.step()
            optimizerD.zero_grad()

            # update G
            if (i + 1) % n_critic != 0:
                continue
            netD.requires_grad_(False)
            errG = F.softplus(-netD(netG(torch.randn(b, netG.nz)))).mean()
            errG.backward()
            optimizerG.step()
            optimizerG.zero_grad()
            netD.requires_grad_(True)
        with torch.no_grad():
            netG.eval()
            s = netG(fixed_noise)
            netG.train()
            gap = (s.mean(0) - x.mean(0)).abs().mean() + (s.std(0) - x.std(0)).abs().mean()
            near = torch.cdist(s.flatten(1), x.flatten(1)).min(1).values.mean()
        print(
            f"[{epoch}] Loss_D: {errD.item():.4f} Loss_G: {errG.item():.4f} moment gap {gap:.3f} nearest {near:.3f}"
        )


# --------------------------------------------------------------------------- 28
@dataclass
class TabularGANConfig:
    embedding_dim: int = 8
    hidden: int = 64
    batch_size: int = 32
    epochs: int = 60
    n_critic: int = 2
    lr: float = 1e-3
    gp_weight: float = 5.0


class TabularSynthesizer:
    """WGAN-GP on table rows."""

    def __init__(self, n_columns, cfg, step_generator=True):
        self.cfg, self.step_generator = cfg, step_generator
        h = cfg.hidden
        self.generator = nn.Sequential(
            nn.Linear(cfg.embedding_dim, h),
            nn.ReLU(),
            nn.Linear(h, h),
            nn.ReLU(),
            nn.Linear(h, n_columns),
        )
        self.critic = nn.Sequential(
            nn.Linear(n_columns, h),
            nn.LeakyReLU(0.2),
            nn.Linear(h, h),
            nn.LeakyReLU(0.2),
            nn.Linear(h, 1),
        )
        self.g_optim = torch.optim.Adam(self.generator.parameters(), lr=cfg.lr, betas=(0.5, 0.9))
        self.c_optim = torch.optim.Adam(self.critic.parameters(), lr=cfg.lr, betas=(0.5, 0.9))

    def gradient_penalty(self, real, fake):
        a = torch.rand(len(real), 1)
        mix = (a * real + (1 - a) * fake).requires_grad_(True)
        (grad,) = torch.autograd.grad(self.critic(mix).sum(), mix, create_graph=True)
        return ((grad.norm(2, dim=1) - 1) ** 2).mean()

    def sample(self, n):
        return self.generator(torch.randn(n, self.cfg.embedding_dim))

    def critic_step(self, real):
        fake = self.sample(len(real)).detach()
        loss = (
            self.critic(fake).mean()
            - self.critic(real).mean()
            + self.cfg.gp_weight * self.gradient_penalty(real, fake)
        )
        self.c_optim.zero_grad()
        loss.backward()
        self.c_optim.step()
        return loss.item()

    def generator_update(self, n):
        loss = -self.critic(self.sample(n)).mean()
        self.g_optim.zero_grad()
        loss.backward()
        if self.step_generator:
            self.g_optim.step()
        return loss.item()

    def fit(self, table):
        loader = DataLoader(
            TensorDataset(table), batch_size=self.cfg.batch_size, shuffle=True, drop_last=True
        )
        for epoch in range(self.cfg.epochs):
            for i, (real,) in enumerate(loader):
                c_loss = self.critic_step(real)
                if (i + 1) % self.cfg.n_critic == 0:
                    g_loss = self.generator_update(len(real))
            if (epoch + 1) % 15 == 0:
                with torch.no_grad():
                    fake = self.sample(2000)
                gap = (torch.corrcoef(fake.T) - torch.corrcoef(table.T)).abs().mean()
                std = (fake.std(0) - table.std(0)).abs().mean()
                print(
                    f"epoch {epoch + 1}: critic {c_loss:.3f} gen {g_loss:.3f} corr gap {gap:.3f} std gap {std:.3f}"
                )


def wgan_gp_tabular(mistake: bool) -> None:
    """The generator's loss is propagated but its optimizer never steps: only the critic trains."""
    seed_everything(5)
    table = torch.tensor(datasets.load_wine().data, dtype=torch.float32).repeat(4, 1)
    table = (table - table.mean(0)) / table.std(0)
    TabularSynthesizer(table.size(1), TabularGANConfig(), step_generator=not mistake).fit(table)


# --------------------------------------------------------------------------- 34
class DenoisingAE(nn.Module):
    def __init__(self, input_dim, hidden, latent):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(input_dim, hidden), nn.ReLU(), nn.Linear(hidden, latent))
        self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, input_dim))

    def forward(self, x):
        return self.decoder(self.encoder(x))


class DAETrainer:
    def __init__(self, model, lr=2e-3, noise=0.4):
        self.model, self.noise = model, noise
        self.optimizer = torch.optim.Adam(model.parameters(), lr=lr)

    def train_epoch(self, loader):
        self.model.train()
        meter = AverageMeter()
        for (x,) in loader:
            recon = self.model(x + self.noise * torch.randn_like(x))
            loss = F.mse_loss(recon, x)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            meter.update(loss.item(), len(x))
        return meter.avg

    @torch.no_grad()
    def evaluate(self, loader):
        self.model.eval()
        meter = AverageMeter()
        for (x,) in loader:
            meter.update(F.mse_loss(self.model(x + self.noise * torch.randn_like(x)), x).item(), len(x))
        return meter.avg


def denoising_autoencoder_dims(mistake: bool) -> None:
    """The linear layers are built with x.shape[-1] and fed (B, 1, 8, 8): each row of 8 pixels is coded alone."""
    seed_everything(6)
    (x,) = shuffled(digit_images(8)[0])
    if not mistake:
        x = x.flatten(1)
    train_loader = DataLoader(TensorDataset(x[:1400]), batch_size=32, shuffle=True)
    val_loader = DataLoader(TensorDataset(x[1400:]), batch_size=128)
    input_dim = x.shape[-1]
    trainer = DAETrainer(DenoisingAE(input_dim, hidden=128, latent=24))
    for epoch in range(20):
        print(
            f"epoch {epoch}: train {trainer.train_epoch(train_loader):.4f} val {trainer.evaluate(val_loader):.4f}"
        )


FAULTS = [
    (
        autoencoder_runner_hooks,
        (
            "two steps",
            "twice",
            "two updates",
            "second step",
            "steps again",
            "several steps",
            "more than one step",
            "2 steps",
        ),
        "05 two steps per batch",
    ),
    (
        vae_linear_decay,
        (
            "scheduler",
            "before the optimizer",
            "before optimizer",
            "learning rate",
            "rate 0",
            "first rate",
        ),
        "17 scheduler before the optimizer",
    ),
    (
        ddpm_moons_ema,
        ("ema", "moving average", "averaged", "shadow", "initial weights"),
        "25 EMA of stale parameters",
    ),
    (
        sngan_digits,
        (
            "detach",
            "generator receives",
            "discriminator's loss",
            "discriminator loss",
            "into the generator",
        ),
        "27 discriminator's loss without detach",
    ),
    (
        wgan_gp_tabular,
        (
            "generator",
            "never stepped",
            "never step",
            "not stepped",
            "no step",
            "step() is never",
            "without a step",
        ),
        "28 generator never stepped",
    ),
    (
        vae_hardcoded_input_dim,
        ("batch size", "view", "reshape", "batch dimension", "rows", "strips", "samples become"),
        "31 view with a wrong k",
    ),
    (
        denoising_autoencoder_dims,
        ("flatten", "last axis", "last dimension", "each row", "row by row", "per row", "unflattened"),
        "34 linear net on unflattened images",
    ),
]
