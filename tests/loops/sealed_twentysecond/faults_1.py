"""Assorted training scripts, part 1."""

import math
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from .common import AverageMeter, digits_images, seed_everything, shapes_segmentation, token_sequences


# ---------------------------------------------------------------- HF style text classifier
class TinyBert(nn.Module):
    def __init__(self, vocab=30, dim=32, n_labels=3, max_len=16):
        super().__init__()
        self.tok = nn.Embedding(vocab, dim)
        self.pos = nn.Embedding(max_len, dim)
        layer = nn.TransformerEncoderLayer(dim, 4, 64, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.classifier = nn.Linear(dim, n_labels)

    def forward(self, input_ids, attention_mask=None, labels=None):
        h = self.tok(input_ids) + self.pos.weight[: input_ids.size(1)]
        mask = attention_mask == 0 if attention_mask is not None else None
        h = self.encoder(h, src_key_padding_mask=mask)
        logits = self.classifier(h.mean(1))
        out = {"logits": logits}
        if labels is not None:
            out["loss"] = F.cross_entropy(logits, labels)
        return out


def collate(items):
    ids = torch.stack([i[0] for i in items])
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "labels": torch.stack([i[1] for i in items]),
    }


def finetune_text(mistake):
    seed_everything(42)
    train_ds = TensorDataset(*token_sequences(640, seed=1))
    eval_ds = TensorDataset(*token_sequences(240, seed=2))
    train_dl = DataLoader(train_ds, batch_size=32, shuffle=True, collate_fn=collate)
    eval_dl = DataLoader(eval_ds, batch_size=64, collate_fn=collate)
    model = TinyBert()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    num_epochs = 8
    total = num_epochs * len(train_dl)
    sched = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min(1.0, (s + 1) / 10) * max(0.0, 1 - s / total)
    )
    acc = 0.0
    for epoch in range(num_epochs):
        model.train()
        running = 0.0
        for batch in train_dl:
            outputs = model(**batch)
            loss = outputs["loss"]
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            sched.step()
            if not mistake:
                optimizer.zero_grad()
            running += loss.item()
        model.eval()
        hits = n = 0
        with torch.no_grad():
            for batch in eval_dl:
                pred = model(**batch)["logits"].argmax(-1)
                hits += (pred == batch["labels"]).sum().item()
                n += len(pred)
        acc = hits / n
    print(f"finetune_text loss {running / len(train_dl):.3f} acc {acc:.3f}")
    return acc


# ---------------------------------------------------------------- AverageMeter image classifier
class SmallCNN(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(2),
        )
        self.fc = nn.Linear(128, num_classes)

    def forward(self, x):
        return self.fc(self.features(x).flatten(1))


def train_one_epoch(model, loader, criterion, optimizer, device, mistake):
    losses, top1 = AverageMeter(), AverageMeter()
    model.train()
    for images, target in loader:
        images, target = images.to(device), target.to(device)
        output = model(images)
        loss = criterion(output, target)
        if mistake:
            loss.backward()
            optimizer.zero_grad()
        else:
            optimizer.zero_grad()
            loss.backward()
        optimizer.step()
        losses.update(loss.item(), images.size(0))
        top1.update((output.argmax(1) == target).float().mean().item(), images.size(0))
    return losses.avg, top1.avg


@torch.no_grad()
def evaluate(model, loader, criterion, device):
    losses, top1 = AverageMeter(), AverageMeter()
    model.eval()
    for images, target in loader:
        images, target = images.to(device), target.to(device)
        output = model(images)
        losses.update(criterion(output, target).item(), images.size(0))
        top1.update((output.argmax(1) == target).float().mean().item(), images.size(0))
    return losses.avg, top1.avg


def digits_sgd(mistake):
    seed_everything(1)
    device = torch.device("cpu")
    xtr, ytr, xte, yte = digits_images(1000)
    train_loader = DataLoader(TensorDataset(xtr, ytr), 64, shuffle=True)
    val_loader = DataLoader(TensorDataset(xte, yte), 128)
    model = SmallCNN().to(device)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.05)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, nesterov=True
    )
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=8)
    best = 0.0
    for epoch in range(8):
        tl, ta = train_one_epoch(model, train_loader, criterion, optimizer, device, mistake)
        vl, va = evaluate(model, val_loader, criterion, device)
        scheduler.step()
        best = max(best, va)
    print(f"digits_sgd train {tl:.3f}/{ta:.3f} val {vl:.3f}/{va:.3f} best {best:.3f}")
    return va


# ---------------------------------------------------------------- recommender, sparse + dense optimisers
class TwoTower(nn.Module):
    def __init__(self, n_users, n_items, dim=12):
        super().__init__()
        self.user_emb = nn.Embedding(n_users, dim)
        self.item_emb = nn.Embedding(n_items, dim)
        nn.init.normal_(self.user_emb.weight, std=0.1)
        nn.init.normal_(self.item_emb.weight, std=0.1)
        self.head = nn.Sequential(nn.Linear(2 * dim, 32), nn.ReLU(), nn.Linear(32, 1))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, u, i):
        eu, ei = self.user_emb(u), self.item_emb(i)
        return (eu * ei).sum(-1) + self.head(torch.cat([eu, ei], -1)).squeeze(-1) + self.bias


def two_tower_ratings(mistake):
    seed_everything(3)
    rs = np.random.RandomState(0)
    n_users, n_items = 60, 40
    pu, qi = rs.normal(0, 1, (n_users, 3)), rs.normal(0, 1, (n_items, 3))
    pairs = rs.choice(n_users * n_items, 1800, replace=False)
    u, i = pairs // n_items, pairs % n_items
    r = 3 + 0.6 * (pu[u] * qi[i]).sum(1) + rs.normal(0, 0.2, len(u))
    u, i = torch.from_numpy(u).long(), torch.from_numpy(i).long()
    r = torch.from_numpy(r).float()
    cut = 1500
    train = DataLoader(TensorDataset(u[:cut], i[:cut], r[:cut]), batch_size=64, shuffle=True)
    model = TwoTower(n_users, n_items)
    model.bias.data.fill_(r[:cut].mean())
    emb_params = list(model.user_emb.parameters()) + list(model.item_emb.parameters())
    dense_params = list(model.head.parameters()) + [model.bias]
    opt_emb = torch.optim.Adam(emb_params, lr=0.02)
    opt_dense = torch.optim.SGD(dense_params, lr=0.01)
    for epoch in range(12):
        model.train()
        tot = 0.0
        for bu, bi, br in train:
            if mistake:
                opt_emb.zero_grad()
            else:
                opt_emb.zero_grad()
                opt_dense.zero_grad()
            loss = F.mse_loss(model(bu, bi), br)
            loss.backward()
            opt_emb.step()
            opt_dense.step()
            tot += loss.item() * len(br)
        model.eval()
        with torch.no_grad():
            rmse = F.mse_loss(model(u[cut:], i[cut:]), r[cut:]).sqrt().item()
    print(f"two_tower_ratings train mse {tot / cut:.3f} val rmse {rmse:.3f}")
    return rmse


# ---------------------------------------------------------------- encoder/decoder with separate optimisers
class SeqEncoder(nn.Module):
    def __init__(self, vocab, hid):
        super().__init__()
        self.emb = nn.Embedding(vocab, hid)
        self.gru = nn.GRU(hid, hid, batch_first=True)

    def forward(self, x):
        _, h = self.gru(self.emb(x))
        return h


class SeqDecoder(nn.Module):
    def __init__(self, vocab, hid):
        super().__init__()
        self.emb = nn.Embedding(vocab, hid)
        self.gru = nn.GRU(hid, hid, batch_first=True)
        self.out = nn.Linear(hid, vocab)

    def forward(self, y, h):
        o, h = self.gru(self.emb(y), h)
        return self.out(o), h


def seq2seq_sort(mistake):
    """Sort short digit strings with an encoder/decoder GRU."""
    seed_everything(7)
    SOS, vocab, hid = 10, 11, 48
    src = torch.randint(0, 10, (1600, 4))
    tgt = src.sort(dim=1).values
    val_src = torch.randint(0, 10, (200, 4))
    val_tgt = val_src.sort(dim=1).values
    encoder, decoder = SeqEncoder(vocab, hid), SeqDecoder(vocab, hid)
    encoder_optimizer = torch.optim.Adam(encoder.parameters(), lr=0.005)
    decoder_optimizer = torch.optim.Adam(decoder.parameters(), lr=0.005)
    criterion = nn.CrossEntropyLoss()

    def train_step(x, y, teacher_forcing):
        encoder_optimizer.zero_grad()
        decoder_optimizer.zero_grad()
        h = encoder(x)
        if teacher_forcing:
            inp = torch.cat([torch.full((len(x), 1), SOS), y[:, :-1]], 1)
            logits, _ = decoder(inp, h)
            loss = criterion(logits.reshape(-1, vocab), y.reshape(-1))
        else:
            inp = torch.full((len(x), 1), SOS)
            loss = 0
            for t in range(y.size(1)):
                logits, h = decoder(inp, h)
                loss = loss + criterion(logits[:, -1], y[:, t]) / y.size(1)
                inp = logits[:, -1].argmax(-1, keepdim=True).detach()
        loss.backward()
        if mistake:
            decoder_optimizer.step()
        else:
            encoder_optimizer.step()
            decoder_optimizer.step()
        return loss.item()

    for epoch in range(8):
        encoder.train(), decoder.train()
        perm = torch.randperm(len(src))
        total = 0.0
        for k in range(0, len(src), 40):
            idx = perm[k : k + 40]
            total += train_step(src[idx], tgt[idx], teacher_forcing=torch.rand(1).item() < 0.6)
        encoder.eval(), decoder.eval()
        with torch.no_grad():
            h = encoder(val_src)
            inp = torch.full((len(val_src), 1), SOS)
            outs = []
            for t in range(4):
                logits, h = decoder(inp, h)
                inp = logits[:, -1].argmax(-1, keepdim=True)
                outs.append(inp)
            acc = (torch.cat(outs, 1) == val_tgt).float().mean().item()
    print(f"seq2seq_sort loss {total / 40:.3f} token acc {acc:.3f}")
    return acc


# ---------------------------------------------------------------- AMP trainer with callbacks
@dataclass
class SegConfig:
    lr: float = 3e-3
    epochs: int = 6
    batch_size: int = 16
    amp: bool = True
    history: list = field(default_factory=list)


class MiniUNet(nn.Module):
    def __init__(self, c=12):
        super().__init__()
        self.d1 = nn.Sequential(nn.Conv2d(1, c, 3, padding=1), nn.BatchNorm2d(c), nn.ReLU())
        self.d2 = nn.Sequential(
            nn.MaxPool2d(2), nn.Conv2d(c, 2 * c, 3, padding=1), nn.BatchNorm2d(2 * c), nn.ReLU()
        )
        self.up = nn.ConvTranspose2d(2 * c, c, 2, stride=2)
        self.head = nn.Conv2d(2 * c, 1, 1)

    def forward(self, x):
        a = self.d1(x)
        b = self.up(self.d2(a))
        return self.head(torch.cat([a, b], 1))


class SegTrainer:
    def __init__(self, model, cfg, train_loader, val_loader, step_in_fit):
        self.model, self.cfg = model, cfg
        self.train_loader, self.val_loader = train_loader, val_loader
        self.optimizer = torch.optim.Adam(model.parameters(), lr=cfg.lr)
        self.scaler = torch.amp.GradScaler("cpu", enabled=cfg.amp)
        self.step_in_fit = step_in_fit
        self.callbacks = []

    def training_step(self, batch):
        x, m = batch
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.cfg.amp):
            logits = self.model(x)
        logits = logits.float()
        prob = logits.sigmoid()
        dice = 1 - (2 * (prob * m).sum() + 1) / (prob.sum() + m.sum() + 1)
        return F.binary_cross_entropy_with_logits(logits, m) + dice

    def optimizer_step(self):
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def fit(self):
        for epoch in range(self.cfg.epochs):
            self.model.train()
            meter = AverageMeter()
            for batch in self.train_loader:
                self.optimizer.zero_grad(set_to_none=True)
                loss = self.training_step(batch)
                self.scaler.scale(loss).backward()
                self.optimizer_step()
                if self.step_in_fit:
                    self.optimizer.step()
                meter.update(loss.item(), len(batch[0]))
            iou = self.validate()
            self.cfg.history.append((meter.avg, iou))
            for cb in self.callbacks:
                cb(epoch, meter.avg, iou)
        return iou

    @torch.no_grad()
    def validate(self):
        self.model.eval()
        inter = union = 0.0
        for x, m in self.val_loader:
            p = self.model(x) > 0
            inter += (p & m.bool()).sum().item()
            union += (p | m.bool()).sum().item()
        return inter / union


def segmentation_amp(mistake):
    seed_everything(5)
    tr = TensorDataset(*shapes_segmentation(320, seed=0))
    va = TensorDataset(*shapes_segmentation(96, seed=1))
    cfg = SegConfig()
    trainer = SegTrainer(
        MiniUNet(),
        cfg,
        DataLoader(tr, cfg.batch_size, shuffle=True),
        DataLoader(va, 32),
        step_in_fit=mistake,
    )
    log = []
    trainer.callbacks.append(lambda e, l, i: log.append(f"{e}:{l:.3f}/{i:.3f}"))
    iou = trainer.fit()
    print("segmentation_amp", log[-1])
    return iou


# ---------------------------------------------------------------- VAE-ish autoencoder with two losses
def autoencoder_classifier(mistake):
    """Denoising autoencoder with an auxiliary classifier head on the code."""
    seed_everything(11)
    xtr, ytr, xte, yte = digits_images(1100, seed=3)
    loader = DataLoader(TensorDataset(xtr.flatten(1), ytr), batch_size=50, shuffle=True)
    test_x, test_y = xte.flatten(1), yte
    enc = nn.Sequential(nn.Linear(64, 48), nn.ELU(), nn.Linear(48, 16))
    dec = nn.Sequential(nn.Linear(16, 48), nn.ELU(), nn.Linear(48, 64), nn.Sigmoid())
    clf = nn.Linear(16, 10)
    params = [*enc.parameters(), *dec.parameters(), *clf.parameters()]
    opt = torch.optim.RMSprop(params, lr=2e-3)
    lam = 0.1
    for epoch in range(12):
        for net in (enc, dec, clf):
            net.train()
        rec_sum = ce_sum = 0.0
        for x, y in loader:
            noisy = (x + 0.1 * torch.randn_like(x)).clamp(0, 1)
            z = enc(noisy)
            rec_loss = F.mse_loss(dec(z), x)
            cls_loss = F.cross_entropy(clf(z), y)
            loss = rec_loss + lam * cls_loss
            opt.zero_grad()
            if mistake:
                rec_loss.backward()
            else:
                loss.backward()
            opt.step()
            rec_sum += rec_loss.item()
            ce_sum += cls_loss.item()
        for net in (enc, dec, clf):
            net.eval()
        with torch.no_grad():
            z = enc(test_x)
            acc = (clf(z).argmax(1) == test_y).float().mean().item()
            rec = F.mse_loss(dec(z), test_x).item()
    print(f"autoencoder_classifier rec {rec:.4f} ce {ce_sum / len(loader):.3f} acc {acc:.3f}")
    return acc


# ---------------------------------------------------------------- transfer: replace the head
class Backbone(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(n_in, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
        self.fc = nn.Linear(32, n_out)

    def forward(self, x):
        return self.fc(self.body(x))


def transfer_new_head(mistake):
    """Pretrain on digits 0-4, then fine-tune on 5-9 with a new head."""
    seed_everything(2)
    xtr, ytr, xte, yte = digits_images(1600, seed=5)
    xtr, xte = xtr.flatten(1), xte.flatten(1)
    src, dst = ytr < 5, ytr >= 5
    dst_te = yte >= 5
    model = Backbone(64, 5)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    criterion = nn.CrossEntropyLoss()

    def fit(x, y, epochs):
        for _ in range(epochs):
            model.train()
            tot = 0.0
            for xb, yb in DataLoader(TensorDataset(x, y), 32, shuffle=True):
                optimizer.zero_grad()
                loss = criterion(model(xb), yb)
                loss.backward()
                optimizer.step()
                tot += loss.item() * len(xb)
        return tot / len(x)

    fit(xtr[src], ytr[src], 5)
    model.fc = nn.Linear(32, 5)
    if not mistake:
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    last = fit(xtr[dst], ytr[dst] - 5, 8)
    model.eval()
    with torch.no_grad():
        acc = (model(xte[dst_te]).argmax(1) == yte[dst_te] - 5).float().mean().item()
    print(f"transfer_new_head loss {last:.3f} acc {acc:.3f}")
    return acc


# ---------------------------------------------------------------- time series forecast
class Forecaster(nn.Module):
    def __init__(self, hidden=24):
        super().__init__()
        self.lstm = nn.LSTM(1, hidden, batch_first=True)
        self.out = nn.Linear(hidden, 1)

    def forward(self, x):
        h, _ = self.lstm(x)
        return self.out(h[:, -1])


def run_epoch(model, loader, optimizer):
    model.train()
    total = 0.0
    for xb, yb in loader:
        optimizer.zero_grad()
        loss = F.mse_loss(model(xb), yb)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(xb)
    return total / len(loader.dataset)


def forecast_lr_decay(mistake):
    seed_everything(9)
    rs = np.random.RandomState(4)
    t = np.arange(900)
    series = np.sin(t / 8) + 0.5 * np.sin(t / 3.1) + rs.normal(0, 0.1, 900)
    mu, sd = series[:650].mean(), series[:650].std()
    series = ((series - mu) / sd).astype("float32")
    win = 20

    def windows(s):
        x = np.stack([s[k : k + win] for k in range(len(s) - win)])
        return torch.from_numpy(x)[..., None], torch.from_numpy(s[win:])[:, None]

    loader = DataLoader(TensorDataset(*windows(series[:650])), 32, shuffle=True)
    vx, vy = windows(series[650:])
    model = Forecaster()
    base_lr, epochs = 0.005, 10
    optimizer = torch.optim.Adam(model.parameters(), lr=base_lr)
    for epoch in range(epochs):
        lr = base_lr * 0.5 * (1 + math.cos(math.pi * epoch / epochs))
        if mistake:
            for xb, yb in loader:
                optimizer = torch.optim.Adam(model.parameters(), lr=lr)
                model.train()
                optimizer.zero_grad()
                loss = F.mse_loss(model(xb), yb)
                loss.backward()
                optimizer.step()
        else:
            for group in optimizer.param_groups:
                group["lr"] = lr
            run_epoch(model, loader, optimizer)
        model.eval()
        with torch.no_grad():
            val = F.mse_loss(model(vx), vy).item()
    print(f"forecast_lr_decay val mse {val:.4f}")
    return val


FAULTS_1 = [
    (
        finetune_text,
        (
            "zero_grad",
            "not zeroed",
            "never zeroed",
            "gradients of earlier",
            "accumulat",
            "cleared",
            "zeroing",
        ),
        "1 zero_grad missing",
    ),
    (
        digits_sgd,
        (
            "zero_grad",
            "between backward",
            "after backward",
            "zeroed",
            "erased",
            "wiped",
            "gradients are zero",
            "zero gradient",
        ),
        "2 zero_grad between backward and step",
    ),
    (
        two_tower_ratings,
        ("zero_grad", "not zeroed", "never zeroed", "gradients of earlier", "accumulat", "cleared"),
        "3 zero_grad on only one of several optimizers",
    ),
    (
        seq2seq_sort,
        (
            "never step",
            "not stepped",
            "step missing",
            "no step",
            "never call",
            "never updated",
            "not updated",
            "never change",
            "without a step",
            "encoder",
        ),
        "4 step missing",
    ),
    (
        segmentation_amp,
        (
            "two steps",
            "twice",
            "second step",
            "more than one step",
            "2 steps",
            "steps per backward",
            "stepped again",
            "without a new backward",
        ),
        "5 two steps per backward",
    ),
    (
        autoencoder_classifier,
        (
            "backward on",
            "wrong loss",
            "not part of",
            "another loss",
            "other loss",
            "not the loss",
            "no gradient",
            "never receive",
            "gets no grad",
            "part of the loss",
            "only one of",
        ),
        "6 backward on the wrong loss",
    ),
    (
        transfer_new_head,
        (
            "not in the optimizer",
            "optimizer does not",
            "stale",
            "re-created",
            "recreated",
            "replaced",
            "old parameters",
            "no longer",
            "not held by",
            "none of the optimizer",
            "optimizer's parameters",
            "not given to",
        ),
        "7 optimizer stale",
    ),
    (
        forecast_lr_decay,
        (
            "optimizer is re-created",
            "re-created",
            "recreated",
            "new optimizer",
            "created anew",
            "made anew",
            "each step",
            "every step",
            "its state",
            "optimizer state",
        ),
        "8 optimizer or model re-created each step/epoch",
    ),
]
