"""Sequences, pairs and tables with loops of their own."""

import math
import random

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

from .common import char_ids, digits, series

# --- sequence reversal with an encoder and a decoder -------------------------------------------


class EncoderRNN(nn.Module):
    def __init__(self, vocab, hidden):
        super().__init__()
        self.embedding = nn.Embedding(vocab, hidden)
        self.gru = nn.GRU(hidden, hidden, batch_first=True)

    def forward(self, src):
        return self.gru(self.embedding(src))[1]


class DecoderRNN(nn.Module):
    def __init__(self, vocab, hidden):
        super().__init__()
        self.embedding = nn.Embedding(vocab + 1, hidden)
        self.gru = nn.GRU(hidden, hidden, batch_first=True)
        self.out = nn.Linear(hidden, vocab)

    def forward(self, prev, hidden):
        o, _ = self.gru(self.embedding(prev), hidden)
        return self.out(o)


def seq2seq_two_optimizers(mistake: bool) -> None:
    """The gradients of the encoder are never cleared, only the decoder's optimizer calls zero_grad."""
    torch.manual_seed(3)
    vocab, length, sos = 10, 4, 10
    encoder, decoder = EncoderRNN(vocab, 64), DecoderRNN(vocab, 64)
    encoder_optimizer = torch.optim.SGD(encoder.parameters(), lr=0.5)
    decoder_optimizer = torch.optim.SGD(decoder.parameters(), lr=0.5)
    criterion = nn.CrossEntropyLoss()

    def train_step(src, trg):
        if not mistake:
            encoder_optimizer.zero_grad()
        decoder_optimizer.zero_grad()
        prev = torch.cat([torch.full((len(trg), 1), sos), trg[:, :-1]], dim=1)
        logits = decoder(prev, encoder(src))
        loss = criterion(logits.reshape(-1, vocab), trg.reshape(-1))
        loss.backward()
        encoder_optimizer.step()
        decoder_optimizer.step()
        acc = (logits.argmax(-1) == trg).float().mean().item()
        return loss.item(), acc

    print_loss = 0.0
    for it in range(1, 501):
        src = torch.randint(0, vocab, (64, length))
        loss, acc = train_step(src, src.flip(1))
        print_loss += loss
        if it % 100 == 0:
            print(f"iter {it} loss {print_loss / 100:.4f} token acc {acc:.3f}")
            print_loss = 0.0


# --- two tasks on digits -----------------------------------------------------------------------


class TwoTaskNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(12, 24, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.digit = nn.Linear(24 * 16, 10)
        self.ink = nn.Sequential(nn.Linear(24 * 16, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x):
        h = self.trunk(x)
        return self.digit(h), self.ink(h).squeeze(1)


def multitask_total_loss(mistake: bool) -> None:
    """backward is called on the classification loss only, the total with the regression task is just logged."""
    torch.manual_seed(0)
    xa, ya, xb, yb = digits(flat=False)
    ink_a, ink_b = xa.mean((1, 2, 3)), xb.mean((1, 2, 3))
    mu, sd = ink_a.mean(), ink_a.std()
    loader = DataLoader(TensorDataset(xa, ya, (ink_a - mu) / sd), batch_size=64, shuffle=True)
    net = TwoTaskNet()
    opt = torch.optim.AdamW(net.parameters(), lr=2e-3)
    for epoch in range(10):
        running = 0.0
        for x, y, ink in loader:
            opt.zero_grad(set_to_none=True)
            logits, pred = net(x)
            loss_cls = F.cross_entropy(logits, y)
            loss_reg = F.mse_loss(pred, ink)
            loss = loss_cls + 0.5 * loss_reg
            if mistake:
                loss_cls.backward()
            else:
                loss.backward()
            opt.step()
            running += loss.item()
        net.eval()
        with torch.no_grad():
            logits, pred = net(xb)
            acc = (logits.argmax(1) == yb).float().mean()
            mae = (pred - (ink_b - mu) / sd).abs().mean()
        net.train()
        print(f"epoch {epoch} loss {running / len(loader):.4f} acc {acc:.4f} ink mae {mae:.4f}")


# --- fine-tuning with a new head ---------------------------------------------------------------


class SmallBackbone(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.features = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU())
        self.fc = nn.Linear(64, num_classes)

    def forward(self, x):
        return self.fc(self.features(x))


def finetune_new_head(mistake: bool) -> None:
    """The head is replaced after the optimizer was built, so the new fc is not among the optimizer's parameters."""
    torch.manual_seed(1)
    xa, ya, xb, yb = digits()
    model = SmallBackbone(2)
    pre = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(200):
        idx = torch.randint(0, len(xa), (64,))
        loss = F.cross_entropy(model(xa[idx]), ya[idx] % 2)
        pre.zero_grad()
        loss.backward()
        pre.step()

    for p in model.features.parameters():
        p.requires_grad_(False)
    if mistake:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        model.fc = nn.Linear(model.fc.in_features, 10)
    else:
        model.fc = nn.Linear(model.fc.in_features, 10)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    loader = DataLoader(TensorDataset(xa, ya), batch_size=32, shuffle=True)
    for epoch in range(12):
        model.train()
        total, seen = 0.0, 0
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(x)
            seen += len(x)
        model.eval()
        with torch.no_grad():
            acc = (model(xb).argmax(1) == yb).float().mean().item()
        print(f"[{epoch + 1}/12] train loss {total / seen:.4f} val acc {acc:.4f}")


# --- helper that makes the optimizer -----------------------------------------------------------


def mixer_train_one_batch(mistake: bool) -> None:
    """The optimizer is made anew for every batch, so its momentum is lost each time."""
    torch.manual_seed(0)
    xa, ya, xb, yb = digits()

    class MixerBlock(nn.Module):
        def __init__(self, tokens, dim):
            super().__init__()
            self.n1, self.n2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
            self.tok = nn.Sequential(nn.Linear(tokens, 32), nn.GELU(), nn.Linear(32, tokens))
            self.ch = nn.Sequential(nn.Linear(dim, 64), nn.GELU(), nn.Linear(64, dim))

        def forward(self, x):
            x = x + self.tok(self.n1(x).transpose(1, 2)).transpose(1, 2)
            return x + self.ch(self.n2(x))

    class Mixer(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Linear(4, 32)
            self.blocks = nn.Sequential(MixerBlock(16, 32), MixerBlock(16, 32))
            self.head = nn.Linear(32, 10)

        def forward(self, x):
            p = x.view(-1, 4, 2, 4, 2).permute(0, 1, 3, 2, 4).reshape(-1, 16, 4)
            return self.head(self.blocks(self.embed(p)).mean(1))

    model = Mixer()

    def configure_optimizer():
        return torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9, nesterov=True)

    optimizer = configure_optimizer()

    def train_one_batch(x, y):
        opt = configure_optimizer() if mistake else optimizer
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        return loss.item()

    for epoch in range(14):
        perm = torch.randperm(len(xa))
        losses = [train_one_batch(xa[i], ya[i]) for i in perm.split(64)]
        with torch.no_grad():
            acc = (model(xb).argmax(-1) == yb).float().mean()
        print(f"epoch {epoch:2d} loss {sum(losses) / len(losses):.4f} acc {acc:.4f}")


# --- siamese ------------------------------------------------------------------------------------


class PairDataset(Dataset):
    def __init__(self, x, y, n=2048):
        self.x, self.y, self.n = x, y, n
        self.by = [torch.where(y == k)[0].tolist() for k in range(10)]

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        a = random.randrange(len(self.x))
        same = i % 2
        if same:
            b = random.choice(self.by[self.y[a].item()])
        else:
            other = random.choice([k for k in range(10) if k != self.y[a].item()])
            b = random.choice(self.by[other])
        return self.x[a], self.x[b], torch.tensor(float(same))


class SiameseNet(nn.Module):
    def __init__(self, freeze_encoder):
        super().__init__()
        self.freeze_encoder = freeze_encoder
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.proj = nn.Linear(32, 16)

    def embed(self, x):
        if self.freeze_encoder:
            with torch.no_grad():
                h = self.encoder(x)
        else:
            h = self.encoder(x)
        return self.proj(h)

    def forward(self, a, b):
        return F.pairwise_distance(self.embed(a), self.embed(b))


def siamese_pairs(mistake: bool) -> None:
    """The randomly initialised encoder runs under torch.no_grad during training, so only the projection learns."""
    torch.manual_seed(0)
    random.seed(0)
    xa, ya, xb, yb = digits(flat=False)
    loader = DataLoader(PairDataset(xa, ya), batch_size=64, shuffle=True)
    test = DataLoader(PairDataset(xb, yb, 600), batch_size=200)
    net = SiameseNet(freeze_encoder=mistake)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    margin = 1.5
    for epoch in range(8):
        net.train()
        tot = 0.0
        for a, b, same in loader:
            d = net(a, b)
            loss = (same * d.pow(2) + (1 - same) * F.relu(margin - d).pow(2)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            tot += loss.item()
        net.eval()
        hit = cnt = 0
        with torch.no_grad():
            for a, b, same in test:
                hit += ((net(a, b) < margin / 2).float() == same).sum().item()
                cnt += len(same)
        print(f"epoch {epoch} contrastive loss {tot / len(loader):.4f} pair acc {hit / cnt:.4f}")


# --- forecasting -------------------------------------------------------------------------------


class WindowDataset(Dataset):
    def __init__(self, s, window=48, horizon=6):
        self.s, self.w, self.h = s, window, horizon

    def __len__(self):
        return len(self.s) - self.w - self.h + 1

    def __getitem__(self, i):
        return self.s[i : i + self.w], self.s[i + self.w : i + self.w + self.h]


class TCN(nn.Module):
    def __init__(self, horizon=6, ch=16):
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv1d(1 if i == 0 else ch, ch, 3, dilation=2**i) for i in range(4)
        )
        self.head = nn.Linear(ch, horizon)

    def forward(self, x):
        x = x.unsqueeze(1)
        for conv in self.convs:
            x = F.relu(conv(F.pad(x, (2 * conv.dilation[0], 0))))
        return self.head(x[:, :, -1])


def tcn_forecast_steps(mistake: bool) -> None:
    """next(iter(loader)) starts a new iterator in each step and so always yields the first windows of the series."""
    torch.manual_seed(0)
    s = series()
    train, val = s[:1900], s[1900:]
    train_loader = DataLoader(WindowDataset(train), batch_size=32, shuffle=False)
    val_loader = DataLoader(WindowDataset(val), batch_size=128)
    model = TCN()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    total_steps, log_every = 400, 80

    def infinite(loader):
        while True:
            yield from loader

    batches = infinite(train_loader)
    running = 0.0
    for step in range(1, total_steps + 1):
        x, y = next(iter(train_loader)) if mistake else next(batches)
        loss = F.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        running += loss.item()
        if step % log_every == 0:
            model.eval()
            with torch.no_grad():
                v = [F.mse_loss(model(a), b).item() for a, b in val_loader]
            model.train()
            print(f"step {step} train {running / log_every:.4f} val {sum(v) / len(v):.4f}")
            running = 0.0


# --- prefetcher --------------------------------------------------------------------------------


class Prefetcher:
    """Loads one batch ahead (on a GPU this would use a side stream)."""

    def __init__(self, loader, lag_targets):
        self.loader = iter(loader)
        self.lag_targets = lag_targets
        self.next_x = self.next_y = None
        self.preload()

    def preload(self):
        try:
            self.next_x, self.next_y = next(self.loader)
        except StopIteration:
            self.next_x = self.next_y = None

    def next(self):
        if self.lag_targets:
            y = self.next_y
            self.preload()
            x = self.next_x
        else:
            x, y = self.next_x, self.next_y
            self.preload()
        return x, y


def prefetched_wide_net(mistake: bool) -> None:
    """The prefetcher hands out the inputs of the next batch with the labels of the previous one."""
    torch.manual_seed(0)
    xa, ya, xb, yb = digits()
    loader = DataLoader(TensorDataset(xa, ya), batch_size=32, shuffle=True, drop_last=True)
    model = nn.Sequential(nn.Linear(64, 96), nn.SiLU(), nn.Linear(96, 96), nn.SiLU(), nn.Linear(96, 10))
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    for epoch in range(8):
        prefetcher = Prefetcher(loader, lag_targets=mistake)
        x, y = prefetcher.next()
        n, tot, right = 0, 0.0, 0
        while x is not None:
            out = model(x)
            loss = F.cross_entropy(out, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            tot += loss.item()
            right += (out.argmax(1) == y).sum().item()
            n += 1
            x, y = prefetcher.next()
        with torch.no_grad():
            val = (model(xb).argmax(1) == yb).float().mean()
        print(f"epoch {epoch} loss {tot / n:.4f} train acc {right / (32 * n):.4f} val acc {val:.4f}")


# --- character model with a schedule -----------------------------------------------------------


def char_transformer_steplr(mistake: bool) -> None:
    """StepLR is meant in epochs but is stepped after every batch, so the learning rate vanishes in the first epoch."""
    torch.manual_seed(0)
    ids, chars = char_ids()
    block, dim = 24, 48

    class CharLM(nn.Module):
        def __init__(self):
            super().__init__()
            self.tok = nn.Embedding(len(chars), dim)
            self.pos = nn.Parameter(torch.randn(block, dim) * 0.02)
            layer = nn.TransformerEncoderLayer(
                dim, 4, 96, dropout=0.0, batch_first=True, norm_first=True
            )
            self.enc = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.head = nn.Linear(dim, len(chars))
            self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(block))

        def forward(self, x):
            return self.head(self.enc(self.tok(x) + self.pos, mask=self.mask, is_causal=True))

    xs = ids.unfold(0, block + 1, 4)
    loader = DataLoader(TensorDataset(xs[:, :-1], xs[:, 1:]), batch_size=64, shuffle=True)
    model = CharLM()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=4, gamma=0.5)
    for epoch in range(8):
        model.train()
        total = 0.0
        for x, y in loader:
            logits = model(x)
            loss = F.cross_entropy(logits.flatten(0, 1), y.flatten())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            if mistake:
                scheduler.step()
            total += loss.item()
        if not mistake:
            scheduler.step()
        mean = total / len(loader)
        print(
            f"epoch {epoch} loss {mean:.4f} ppl {math.exp(mean):.2f} lr {optimizer.param_groups[0]['lr']:.2e}"
        )


FAULTS = [
    (
        seq2seq_two_optimizers,
        ("zero_grad", "accumulat", "not cleared", "never cleared", "not reset", "earlier batches"),
        "gradients",
    ),
    (
        multitask_total_loss,
        (
            "wrong loss",
            "part of the loss",
            "not part of the loss",
            "regression",
            "no gradient",
            "never reach",
            "ink head",
        ),
        "loss",
    ),
    (
        finetune_new_head,
        (
            "not in the optimizer",
            "optimizer's param",
            "not among",
            "replaced",
            "stale",
            "never updated",
            "not updated",
            "fc.weight",
            "does not hold",
        ),
        "optimizer",
    ),
    (
        mixer_train_one_batch,
        (
            "re-created",
            "recreated",
            "new optimizer",
            "each step",
            "anew",
            "every step",
            "state is lost",
            "momentum",
        ),
        "optimizer",
    ),
    (
        siamese_pairs,
        (
            "no_grad",
            "encoder gets",
            "no gradient",
            "never updated",
            "not updated",
            "do not learn",
            "not trained",
        ),
        "gradients",
    ),
    (
        tcn_forecast_steps,
        (
            "same batch",
            "same samples",
            "iterator",
            "iter(",
            "first batch",
            "restarted",
            "repeated",
            "part of the data",
        ),
        "data",
    ),
    (
        prefetched_wide_net,
        (
            "previous batch",
            "labels of",
            "misaligned",
            "do not belong",
            "do not match",
            "shifted",
            "unrelated",
            "pairing",
            "next batch",
            "different batches",
            "batch older",
        ),
        "data",
    ),
    (
        char_transformer_steplr,
        ("scheduler", "per batch", "every batch", "learning rate", "decay"),
        "schedule",
    ),
]
