import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from .common import Block, hourly_load, waves, windows


class Forecaster(nn.Module):
    def __init__(self, d=24, horizon=6, dropout=0.0):
        super().__init__()
        self.inp, self.pos = nn.Linear(2, d), nn.Parameter(0.02 * torch.randn(48, d))
        self.block = Block(d, 4, dropout, causal=False)
        self.out = nn.Linear(d, horizon)

    def forward(self, x):
        h = self.block(self.inp(x) + self.pos[: x.shape[1]])
        return self.out(h[:, -1])


def forecaster_with_leftover_step(mistake: bool) -> None:
    """After the change to a GradScaler the old optimizer.step() was left in, so each batch's gradient is applied twice."""
    torch.manual_seed(0)
    x, y = windows(hourly_load(1800), 24, 6)
    xt, yt = x[1400:], y[1400:]
    loader = DataLoader(TensorDataset(x[:1350], y[:1350]), batch_size=32, shuffle=True)
    model = Forecaster()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.04, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for epoch in range(10):
        model.train()
        total = 0.0
        for xb, yb in loader:
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                pred = model(xb)
            loss = F.mse_loss(pred.float(), yb)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            if mistake:
                optimizer.step()
            total += loss.item()
        if epoch % 3 == 0:
            print(f"epoch {epoch} mse {total / len(loader):.4f}")
    model.eval()
    with torch.no_grad():
        print("test mse", F.mse_loss(model(xt), yt).item())


class LSTMRegressor:
    """scikit-learn-like estimator with partial_fit."""

    def __init__(self, hidden=32, lr=3e-3, batch_size=64, warm=True):
        self.hidden, self.lr, self.batch_size, self.warm = hidden, lr, batch_size, warm
        self.net = None

    def _build(self, n_features):
        self.net = nn.ModuleDict(
            {"rnn": nn.LSTM(n_features, self.hidden, batch_first=True), "out": nn.Linear(self.hidden, 1)}
        )
        self.opt = torch.optim.Adam(self.net.parameters(), lr=self.lr)

    def _forward(self, x):
        return self.net["out"](self.net["rnn"](x)[0][:, -1])

    def partial_fit(self, x, y):
        if not self.warm or self.net is None:
            self._build(x.shape[-1])
        self.net.train()
        total = 0.0
        for idx in torch.randperm(len(x)).split(self.batch_size):
            self.opt.zero_grad()
            loss = F.mse_loss(self._forward(x[idx]), y[idx])
            loss.backward()
            self.opt.step()
            total += loss.item() * len(idx)
        return total / len(x)

    @torch.no_grad()
    def score(self, x, y):
        self.net.eval()
        return 1 - F.mse_loss(self._forward(x), y).item() / y.var().item()


def partial_fit_lstm(mistake: bool) -> None:
    """partial_fit builds network and optimizer anew on each call, so each epoch starts from nothing."""
    torch.manual_seed(1)
    x, y = windows(hourly_load(1600), 24, 1)
    est = LSTMRegressor(warm=not mistake)
    for epoch in range(60):
        loss = est.partial_fit(x[:1200], y[:1200])
        if epoch % 10 == 9:
            print(f"epoch {epoch} mse {loss:.4f} R2 {est.score(x[1250:], y[1250:]):.3f}")


def two_tasks_two_loaders(mistake: bool) -> None:
    """The second task's batch is taken by next(iter(loader)) at each step, which starts the unshuffled loader anew: always its first batch."""
    torch.manual_seed(2)
    x, y = windows(hourly_load(2800), 24, 1)
    wx, wy = waves(2400, length=24, seed=3)
    wx = torch.cat([wx, wx.roll(1, -1)], 1).transpose(1, 2).contiguous()
    load_loader = DataLoader(TensorDataset(x[:2500], y[:2500]), batch_size=32, shuffle=True)
    wave_loader = DataLoader(TensorDataset(wx[:2000], wy[:2000]), batch_size=32)
    trunk = nn.Sequential(nn.Flatten(), nn.Linear(48, 96), nn.ReLU(), nn.Linear(96, 64), nn.ReLU())
    head_load, head_wave = nn.Linear(64, 1), nn.Linear(64, 4)
    params = [*trunk.parameters(), *head_load.parameters(), *head_wave.parameters()]
    opt = torch.optim.Adam(params, lr=2e-3)
    wave_iter = iter(wave_loader)
    for epoch in range(35):
        sums = [0.0, 0.0]
        for xb, yb in load_loader:
            if mistake:
                ab, cb = next(iter(wave_loader))
            else:
                try:
                    ab, cb = next(wave_iter)
                except StopIteration:
                    wave_iter = iter(wave_loader)
                    ab, cb = next(wave_iter)
            l1 = F.mse_loss(head_load(trunk(xb)), yb)
            l2 = F.cross_entropy(head_wave(trunk(ab)), cb)
            opt.zero_grad()
            (l1 + 0.5 * l2).backward()
            opt.step()
            sums[0] += l1.item()
            sums[1] += l2.item()
        if epoch % 5 == 4:
            print(
                f"epoch {epoch} load {sums[0] / len(load_loader):.3f} wave {sums[1] / len(load_loader):.3f}"
            )
    with torch.no_grad():
        acc = (head_wave(trunk(wx[2000:])).argmax(1) == wy[2000:]).float().mean().item()
        print(
            f"test: load mse {F.mse_loss(head_load(trunk(x[2520:])), y[2520:]).item():.3f} wave acc {acc:.3f}"
        )


def tcn_exponential_decay(mistake: bool) -> None:
    """The scheduler is stepped at the top of the epoch, before the optimizer, so the first and largest rate is never used."""
    torch.manual_seed(3)
    x, y = windows(hourly_load(3000), 32, 1)
    x = x.transpose(1, 2)
    loader = DataLoader(TensorDataset(x[:2500], y[:2500]), batch_size=32, shuffle=True)
    model = nn.Sequential(
        nn.Conv1d(2, 16, 3),
        nn.ReLU(),
        nn.Conv1d(16, 16, 3, dilation=2),
        nn.ReLU(),
        nn.Conv1d(16, 16, 3, dilation=4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 18, 1),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.8)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.75)

    def train():
        model.train()
        s = 0.0
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = F.mse_loss(model(xb), yb)
            loss.backward()
            optimizer.step()
            s += loss.item()
        return s / len(loader)

    for epoch in range(18):
        if mistake:
            scheduler.step()
            loss = train()
        else:
            loss = train()
            scheduler.step()
        if epoch % 3 == 0:
            print(f"epoch {epoch} mse {loss:.4f}")
    model.eval()
    with torch.no_grad():
        print("test mse", F.mse_loss(model(x[2550:]), y[2550:]).item())


def gru_accumulating_in_time_order(mistake: bool) -> None:
    """The batches left over after the last full group of an epoch are wiped by the next epoch's zero_grad, always the same latest hours."""
    torch.manual_seed(4)
    x, y = windows(hourly_load(800), 24, 1)
    loader = DataLoader(TensorDataset(x[:704], y[:704]), batch_size=64)
    rnn, out = nn.GRU(2, 32, batch_first=True), nn.Linear(32, 1)
    params = list(rnn.parameters()) + list(out.parameters())
    optimizer = torch.optim.Adam(params, lr=8e-3)
    accumulation_steps = 4
    for epoch in range(40):
        optimizer.zero_grad()
        total = 0.0
        for i, (xb, yb) in enumerate(loader):
            loss = F.mse_loss(out(rnn(xb)[0][:, -1]), yb) / accumulation_steps
            loss.backward()
            total += loss.item() * accumulation_steps
            if (i + 1) % accumulation_steps == 0 or (not mistake and i + 1 == len(loader)):
                optimizer.step()
                optimizer.zero_grad()
        if epoch % 10 == 9:
            print(f"epoch {epoch} mse {total / len(loader):.4f}")
    with torch.no_grad():
        print("test mse", F.mse_loss(out(rnn(x[710:])[0][:, -1]), y[710:]).item())


class WaveNet1d(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv1d(1, 16, 5, stride=2),
            nn.BatchNorm1d(16),
            nn.ReLU(),
            nn.Conv1d(16, 32, 5, stride=2),
            nn.BatchNorm1d(32),
            nn.ReLU(),
            nn.AdaptiveAvgPool1d(4),
            nn.Flatten(),
        )
        self.head_a, self.head_b = nn.Linear(128, 4), nn.Linear(128, 3)


def frozen_wave_encoder(mistake: bool) -> None:
    """The encoder's weights are frozen but model.train() leaves its BatchNorm layers in training mode, so their statistics go over to the new sensor."""
    torch.manual_seed(5)
    xa, ya = waves(1200, seed=1)
    xb, yb = waves(900, kinds=("am", "burst", "tri"), scale=2.5, offset=1.0, seed=2)
    model = WaveNet1d()
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(6):
        for idx in torch.randperm(1000).split(32):
            opt.zero_grad()
            F.cross_entropy(model.head_a(model.encoder(xa[idx])), ya[idx]).backward()
            opt.step()

    def acc(head, x, y):
        model.eval()
        with torch.no_grad():
            return (head(model.encoder(x)).argmax(1) == y).float().mean().item()

    print(f"old task before {acc(model.head_a, xa[1000:], ya[1000:]):.3f}")
    for p in model.encoder.parameters():
        p.requires_grad_(False)
    opt = torch.optim.Adam(model.head_b.parameters(), lr=5e-3)
    for epoch in range(60):
        model.train()
        if not mistake:
            model.encoder.eval()
        total = 0.0
        for idx in torch.randperm(700).split(16):
            loss = F.cross_entropy(model.head_b(model.encoder(xb[idx])), yb[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item() * len(idx)
        if epoch % 20 == 19:
            print(
                f"epoch {epoch} loss {total / 700:.3f} new task {acc(model.head_b, xb[700:], yb[700:]):.3f}"
            )
    print(f"old task after {acc(model.head_a, xa[1000:], ya[1000:]):.3f}")


def window_autoencoder(mistake: bool) -> None:
    """The windows hold 48 hours of two channels, but are viewed as (-1, 48), so that each one becomes two samples."""
    torch.manual_seed(6)
    x, _ = windows(hourly_load(2000), 48)
    WINDOW = 48
    k = WINDOW if mistake else WINDOW * x.shape[-1]
    train, test = x[:1500], x[1600:]
    loader = DataLoader(TensorDataset(train), batch_size=32, shuffle=True)
    model = nn.Sequential(
        nn.Linear(k, 64), nn.ReLU(), nn.Linear(64, 6), nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, k)
    )
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(60):
        s = 0.0
        for (xb,) in loader:
            xb = xb.reshape(-1).view(-1, k)
            loss = F.mse_loss(model(xb), xb)
            opt.zero_grad()
            loss.backward()
            opt.step()
            s += loss.item()
        if epoch % 12 == 0:
            print(f"epoch {epoch} mse {s / len(loader):.4f}")
    with torch.no_grad():
        t = test.reshape(-1, k)
        err = (model(t) - t).pow(2).mean(1)
        print(f"windows {len(test)} scores {len(err)} threshold {err.quantile(0.99).item():.3f}")


def real_waves(n):
    t = torch.linspace(0, 1, 32)
    a = 0.6 + 0.3 * torch.rand(n, 1)
    ph = 6.283 * torch.rand(n, 1)
    return a * torch.sin(6.283 * 2 * t + ph) + 0.02 * torch.randn(n, 32)


def wave_quality(fake):
    """Share of the energy at the right frequency, and the mean energy (real: about 1, 0.29)."""
    p = torch.fft.rfft(fake, dim=1).abs().pow(2)
    return (p[:, 2:3].sum(1) / p.sum(1)).mean().item(), fake.pow(2).mean().item()


def wgan_critic_steps(mistake: bool) -> None:
    """The fakes are not detached in the critic's loss, whose gradients pile up in the generator until its own turn and work against it."""
    torch.manual_seed(7)
    G = nn.Sequential(
        nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.Tanh()
    )
    C = nn.Sequential(
        nn.Linear(32, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)
    )
    opt_g = torch.optim.RMSprop(G.parameters(), lr=2e-3)
    opt_c = torch.optim.RMSprop(C.parameters(), lr=2e-3)

    def critic_loss(real, fake):
        return C(fake).mean() - C(real).mean()

    for it in range(500):
        for _ in range(4):
            fake = G(torch.randn(64, 8))
            loss_c = critic_loss(real_waves(64), fake if mistake else fake.detach())
            opt_c.zero_grad()
            loss_c.backward()
            opt_c.step()
            with torch.no_grad():
                for p in C.parameters():
                    p.clamp_(-0.1, 0.1)
        loss_g = -C(G(torch.randn(64, 8))).mean()
        loss_g.backward()
        opt_g.step()
        opt_g.zero_grad()
        if it % 100 == 99:
            with torch.no_grad():
                q, e = wave_quality(G(torch.randn(500, 8)))
            print(f"it {it} critic {loss_c.item():.3f} right frequency {q:.3f} energy {e:.3f}")


def gan_with_turns(mistake: bool) -> None:
    """The generator's turn comes every fifth batch of an epoch, but an epoch has four batches, so it never comes."""
    torch.manual_seed(8)
    loader = DataLoader(TensorDataset(real_waves(512)), batch_size=128, shuffle=True)
    G = nn.Sequential(
        nn.Linear(8, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 32)
    )
    D = nn.Sequential(
        nn.Linear(32, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)
    )
    opt_G = torch.optim.Adam(G.parameters(), lr=2e-3, betas=(0.5, 0.99))
    opt_D = torch.optim.Adam(D.parameters(), lr=5e-4, betas=(0.5, 0.99))
    d_per_g, batches_done = 5, 0
    for epoch in range(500):
        for i, (real,) in enumerate(loader):
            opt_D.zero_grad()
            fake = G(torch.randn(len(real), 8)).detach()
            loss_D = F.relu(1 - D(real)).mean() + F.relu(1 + D(fake)).mean()
            loss_D.backward()
            opt_D.step()
            batches_done += 1
            turn = (i + 1) if mistake else batches_done
            if turn % d_per_g == 0:
                opt_G.zero_grad()
                loss_G = -D(G(torch.randn(len(real), 8))).mean()
                loss_G.backward()
                opt_G.step()
        if epoch % 100 == 99:
            with torch.no_grad():
                q, e = wave_quality(G(torch.randn(500, 8)))
            print(f"epoch {epoch} D {loss_D.item():.4f} right frequency {q:.3f} energy {e:.3f}")


FAULTS = [
    (
        forecaster_with_leftover_step,
        (
            "twice",
            "two steps",
            "second step",
            "double",
            "two optimizer steps",
            "several steps",
            "same gradient",
        ),
        "05 two steps per batch",
    ),
    (
        partial_fit_lstm,
        (
            "re-created",
            "recreat",
            "new network",
            "new model",
            "from scratch",
            "fresh model",
            "rebuil",
            "built anew",
            "reinitial",
        ),
        "09 model re-created each epoch",
    ),
    (
        two_tasks_two_loaders,
        ("iterator", "next(iter", "same batch", "first batch", "restart", "same data", "repeat"),
        "13 iterator restarted each step",
    ),
    (
        tcn_exponential_decay,
        (
            "scheduler before",
            "before the optimizer",
            "before optimizer",
            "lr_scheduler",
            "skips the first",
            "first learning rate",
        ),
        "17 scheduler before the optimizer",
    ),
    (
        gru_accumulating_in_time_order,
        ("remainder", "accumul", "dropped", "discard", "left over", "leftover", "last batches"),
        "22 accumulation: remainder dropped",
    ),
    (
        wgan_critic_steps,
        (
            "detach",
            "into the generator",
            "through the fake",
            "generator's grad",
            "discriminator's loss",
            "critic's loss",
        ),
        "27 GAN discriminator loss without detach",
    ),
    (
        gan_with_turns,
        ("generator", "never stepped", "no step", "never updated"),
        "28 GAN generator never stepped",
    ),
    (
        frozen_wave_encoder,
        ("batchnorm", "batch norm", "running stat", "frozen"),
        "30 frozen BatchNorm left in train mode",
    ),
    (
        window_autoencoder,
        ("view", "reshape", "batch size", "number of samples", "batch dimension"),
        "31 view(-1, k) with a wrong k",
    ),
]
