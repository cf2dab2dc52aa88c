"""Parameters that do not learn: registration, optimizer, detach, initialisation, learning rate."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from .common import digits_split, seed_all


class GraphConv(nn.Module):
    def __init__(self, d_in, d_out):
        super().__init__()
        self.lin = nn.Linear(d_in, d_out)

    def forward(self, x, adj):
        return self.lin(adj @ x)


class GCN(nn.Module):
    def __init__(self, d_in, hidden, n_classes, n_layers, plain):
        super().__init__()
        layers = [GraphConv(d_in if i == 0 else hidden, hidden) for i in range(n_layers)]
        self.convs = layers if plain else nn.ModuleList(layers)
        self.head = nn.Linear(hidden, n_classes)

    def forward(self, x, adj):
        for conv in self.convs:
            x = F.relu(conv(x, adj))
        return self.head(x)


def gcn_communities(mistake: bool) -> None:
    """The graph convolutions are kept in a plain Python list, so they are not registered and never trained."""
    seed_all(0)
    n, k = 400, 4
    y = torch.arange(n) % k
    p = torch.where(y[:, None] == y[None], 0.06, 0.015)
    a = (torch.rand(n, n) < p).float().triu(1)
    a = a + a.T + torch.eye(n)
    d = a.sum(1).rsqrt()
    adj = d[:, None] * a * d[None]
    x = F.one_hot(y, k).float() @ torch.randn(k, 16) * 0.7 + torch.randn(n, 16)
    perm = torch.randperm(n)
    train, test = perm[:240], perm[240:]
    model = GCN(16, 16, k, 2, plain=mistake)
    opt = torch.optim.Adam(model.parameters(), lr=5e-3, weight_decay=5e-3)
    for epoch in range(150):
        model.train()
        opt.zero_grad()
        out = model(x, adj)
        loss = F.cross_entropy(out[train], y[train])
        loss.backward()
        opt.step()
        if epoch % 30 == 29:
            model.eval()
            with torch.no_grad():
                pred = model(x, adj).argmax(1)
            print(
                f"epoch {epoch} loss {loss.item():.3f} train {(pred == y)[train].float().mean():.3f} "
                f"test {(pred == y)[test].float().mean():.3f}"
            )


class Encoder(nn.Module):
    def __init__(self, vocab, hidden):
        super().__init__()
        self.emb = nn.Embedding(vocab, 24)
        self.rnn = nn.GRU(24, hidden, batch_first=True)

    def forward(self, x):
        return self.rnn(self.emb(x))


class AttnDecoder(nn.Module):
    def __init__(self, vocab, hidden):
        super().__init__()
        self.emb = nn.Embedding(vocab, 24)
        self.rnn = nn.GRU(24, hidden, batch_first=True)
        self.out = nn.Linear(2 * hidden, vocab)

    def forward(self, tokens, memory, h):
        y, h = self.rnn(self.emb(tokens), h)
        att = (y @ memory.transpose(1, 2)).softmax(-1)
        return self.out(torch.cat([y, att @ memory], -1)), h


def seq2seq_sorting(mistake: bool) -> None:
    """The optimizer gets the decoder's parameters only, so the encoder stays at its random start."""
    seed_all(0)
    vocab, sos, hidden, length = 11, 10, 64, 7
    encoder, decoder = Encoder(vocab, hidden), AttnDecoder(vocab, hidden)
    if mistake:
        params = list(decoder.parameters())
    else:
        params = list(encoder.parameters()) + list(decoder.parameters())
    optimizer = torch.optim.Adam(params, lr=3e-3)
    src = torch.randint(0, 10, (7000, length))
    tgt = src.sort(1).values
    loader = DataLoader(TensorDataset(src[:6400], tgt[:6400]), batch_size=64, shuffle=True)
    val_src, val_tgt = src[6400:], tgt[6400:]
    for epoch in range(6):
        encoder.train(), decoder.train()
        total = 0.0
        for x, y in loader:
            dec_in = torch.cat([torch.full((len(y), 1), sos), y[:, :-1]], 1)
            memory, h = encoder(x)
            logits, _ = decoder(dec_in, memory, h)
            loss = F.cross_entropy(logits.transpose(1, 2), y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(params, 1.0)
            optimizer.step()
            total += loss.item()
        encoder.eval(), decoder.eval()
        with torch.no_grad():
            memory, h = encoder(val_src)
            token, result = torch.full((len(val_src), 1), sos), []
            for _ in range(length):
                logits, h = decoder(token, memory, h)
                token = logits.argmax(-1)
                result.append(token)
            exact = (torch.cat(result, 1) == val_tgt).all(1).float().mean().item()
        print(f"epoch {epoch} loss {total / len(loader):.3f} sorted right {exact:.3f}")


class VAE(nn.Module):
    def __init__(self, latent=8):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(64, 128), nn.ReLU())
        self.mu = nn.Linear(128, latent)
        self.logvar = nn.Linear(128, latent)
        self.dec = nn.Sequential(nn.Linear(latent, 128), nn.ReLU(), nn.Linear(128, 64))

    def encode(self, x):
        h = self.enc(x)
        return self.mu(h), self.logvar(h)

    def sample(self, mu, logvar):
        return mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)


def vae_digits(mistake: bool) -> None:
    """The latent sample is drawn from mu.data and logvar.data, so the reconstruction error never reaches the encoder."""
    seed_all(0)
    xtr, _, xte, _ = digits_split(images=False)
    xtr, xte = (xtr * 0.376 + 0.305).clamp(0, 1), (xte * 0.376 + 0.305).clamp(0, 1)
    loader = DataLoader(TensorDataset(xtr), batch_size=64, shuffle=True)
    model = VAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    def loss_function(x):
        mu, logvar = model.encode(x)
        if mistake:
            z = model.sample(mu.data, logvar.data)
        else:
            z = model.sample(mu, logvar)
        bce = F.binary_cross_entropy_with_logits(model.dec(z), x, reduction="sum") / len(x)
        kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp()) / len(x)
        return bce, kld

    for epoch in range(25):
        model.train()
        tb = tk = 0.0
        for (x,) in loader:
            optimizer.zero_grad()
            bce, kld = loss_function(x)
            (bce + kld).backward()
            optimizer.step()
            tb += bce.item()
            tk += kld.item()
        if epoch % 5 == 4:
            model.eval()
            with torch.no_grad():
                vb, vk = loss_function(xte)
            print(
                f"epoch {epoch} bce {tb / len(loader):.2f} kld {tk / len(loader):.2f} test {vb.item():.2f} {vk.item():.2f}"
            )


class TinySegNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1 = nn.Conv2d(1, 12, 3, padding=1)
        self.down2 = nn.Conv2d(12, 24, 3, padding=1)
        self.mid = nn.Conv2d(24, 24, 3, padding=1)
        self.up = nn.ConvTranspose2d(24, 12, 2, stride=2)
        self.final = nn.Conv2d(24, 1, 1)

    def forward(self, x):
        a = F.relu(self.down1(x))
        b = F.relu(self.down2(F.max_pool2d(a, 2)))
        b = F.relu(self.mid(b))
        return self.final(torch.cat([F.relu(self.up(b)), a], 1))


def segmentation_init(mistake: bool) -> None:
    """All convolution weights and biases are initialised to zero, so only the last bias can learn."""
    seed_all(0)

    def init_weights(m):
        if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d)):
            if mistake:
                nn.init.constant_(m.weight, 0)
            else:
                nn.init.kaiming_normal_(m.weight)
            nn.init.constant_(m.bias, 0)

    yy, xx = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
    c, r = torch.rand(800, 2, 1, 1) * 12 + 6, torch.rand(800, 1, 1) * 4 + 3
    masks = (((yy - c[:, 0]) ** 2 + (xx - c[:, 1]) ** 2) < r**2).float().unsqueeze(1)
    stripes = torch.sin(xx * 0.8 + torch.rand(800, 1, 1) * 6).unsqueeze(1) * 0.5
    images = masks * 1.0 + stripes + 0.4 * torch.randn_like(masks)
    images = (images - images[:640].mean()) / images[:640].std()
    loader = DataLoader(TensorDataset(images[:640], masks[:640]), batch_size=16, shuffle=True)
    model = TinySegNet()
    model.apply(init_weights)
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(6):
        model.train()
        losses = []
        for img, mask in loader:
            loss = criterion(model(img), mask)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            pred = model(images[640:]) > 0
            t = masks[640:] > 0.5
            iou = ((pred & t).sum() / (pred | t).sum().clamp(min=1)).item()
        print(f"epoch {epoch} loss {np.mean(losses):.4f} IoU {iou:.3f}")


class RowTransformer(nn.Module):
    def __init__(self, d=32):
        super().__init__()
        self.proj = nn.Linear(8, d)
        self.pos = nn.Parameter(torch.randn(1, 8, d) * 0.02)
        layer = nn.TransformerEncoderLayer(d, 4, 64, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(d, 10)

    def forward(self, x):
        return self.head(self.encoder(self.proj(x.squeeze(1)) + self.pos).mean(1))


def transformer_digit_rows(mistake: bool) -> None:
    """The learning rate of the transformer is 0.3 with AdamW, far too high."""
    seed_all(0)
    xtr, ytr, xte, yte = digits_split()
    loader = DataLoader(TensorDataset(xtr, ytr), batch_size=64, shuffle=True)
    model = RowTransformer()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.3 if mistake else 0.003)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=12)
    for epoch in range(12):
        model.train()
        total = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item()
        scheduler.step()
        model.eval()
        with torch.no_grad():
            acc = (model(xte).argmax(1) == yte).float().mean().item()
        if epoch % 3 == 2:
            print(f"epoch {epoch} loss {total / len(loader):.3f} acc {acc:.3f}")


class Forecaster(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.lstm = nn.LSTM(1, hidden, batch_first=True)
        self.fc = nn.Linear(hidden, 1)

    def forward(self, x):
        out, _ = self.lstm(x)
        return self.fc(out[:, -1])


def lstm_forecast(mistake: bool) -> None:
    """The learning rate of Adam is 1e-6, far too low for 15 epochs."""
    seed_all(0)
    t = np.arange(1500)
    series = (
        np.sin(2 * np.pi * t / 24) + 0.5 * np.sin(2 * np.pi * t / 168) + 0.1 * np.random.randn(len(t))
    )
    mean, std = series[:1200].mean(), series[:1200].std()
    series = torch.tensor((series - mean) / std, dtype=torch.float32)

    def windows(s, size=36):
        w = s.unfold(0, size + 1, 1)
        return TensorDataset(w[:, :-1].unsqueeze(-1), w[:, -1:])

    train_dl = DataLoader(windows(series[:1200]), batch_size=64, shuffle=True)
    val_dl = DataLoader(windows(series[1200:]), batch_size=128)
    model = Forecaster()
    criterion = nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-6 if mistake else 1e-2)
    for epoch in range(15):
        model.train()
        tl = 0.0
        for x, y in train_dl:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            tl += loss.item() * len(x)
        model.eval()
        vl = 0.0
        with torch.no_grad():
            for x, y in val_dl:
                vl += criterion(model(x), y).item() * len(x)
        if epoch % 5 == 4:
            print(
                f"epoch {epoch} train {tl / len(train_dl.dataset):.4f} val {vl / len(val_dl.dataset):.4f}"
            )


FAULTS = [
    (
        gcn_communities,
        (
            "modulelist",
            "plain list",
            "python list",
            "not registered",
            "unregistered",
            "in a list",
            "not in model.parameters",
            "not among",
        ),
        "layers in a plain list",
    ),
    (
        seq2seq_sorting,
        (
            "not in the optimizer",
            "not in any optimizer",
            "left out",
            "missing from the optimizer",
            "no optimizer",
            "not given to",
            "never updated",
            "only decoder",
        ),
        "part of the model left out of the optimizer",
    ),
    (
        vae_digits,
        (
            "mu.data",
            "detach",
            "cut off",
            "cuts the",
            "graph is broken",
            "does not reach",
            "never reaches",
            "no gradient from",
        ),
        "detach / .data / .item() in the middle",
    ),
    (
        segmentation_init,
        ("zero weight", "initiali", "all zero", "weights are zero", "set to zero", "zeros"),
        "weights initialised to zero",
    ),
    (
        transformer_digit_rows,
        (
            "too high",
            "too large",
            "diverg",
            "lr=0.3",
            "lower the learning rate",
            "reduce the learning rate",
            "lower learning rate",
        ),
        "learning rate far too high",
    ),
    (
        lstm_forecast,
        (
            "too low",
            "too small",
            "tiny",
            "1e-06",
            "1e-6",
            "hardly move",
            "barely",
            "raise the learning rate",
            "higher learning rate",
        ),
        "learning rate far too low",
    ),
]
