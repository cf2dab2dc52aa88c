"""Assorted training scripts, part 2."""

import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer, make_regression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

from .common import AverageMeter, digits_images, seed_everything, token_sequences


# ---------------------------------------------------------------- nanoGPT-like char model
class CharLM(nn.Module):
    def __init__(self, vocab, block=24, dim=40, drop=0.3):
        super().__init__()
        self.tok, self.pos = nn.Embedding(vocab, dim), nn.Embedding(block, dim)
        self.drop = nn.Dropout(drop)
        self.blocks = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(dim, 4, 2 * dim, dropout=drop, batch_first=True, norm_first=True),
            1,
            enable_nested_tensor=False,
        )
        self.head = nn.Linear(dim, vocab)
        self.register_buffer("mask", torch.triu(torch.ones(block, block), 1).bool())

    def forward(self, idx, targets=None):
        t = idx.size(1)
        x = self.drop(self.tok(idx) + self.pos.weight[:t])
        logits = self.head(self.blocks(x, mask=self.mask[:t, :t]))
        loss = None
        if targets is not None:
            loss = F.cross_entropy(logits.view(-1, logits.size(-1)), targets.reshape(-1))
        return logits, loss


def char_lm(mistake):
    seed_everything(1337)
    words = ["the", "cat", "sat", "on", "mat", "and", "dog", "ran", "far", "away", "home"]
    rs = np.random.RandomState(0)
    text = " ".join(rs.choice(words, 2500))
    chars = sorted(set(text))
    stoi = {c: i for i, c in enumerate(chars)}
    data = torch.tensor([stoi[c] for c in text])
    n = int(0.9 * len(data))
    splits = {"train": data[:n], "val": data[n:]}
    block, bs, max_iters, eval_interval = 24, 32, 300, 50

    def get_batch(split):
        d = splits[split]
        ix = torch.randint(len(d) - block - 1, (bs,))
        x = torch.stack([d[i : i + block] for i in ix])
        y = torch.stack([d[i + 1 : i + block + 1] for i in ix])
        return x, y

    model = CharLM(len(chars), block)

    @torch.no_grad()
    def estimate_loss():
        out = {}
        model.eval()
        for split in ("train", "val"):
            out[split] = torch.stack([model(*get_batch(split))[1] for _ in range(5)]).mean().item()
        if not mistake:
            model.train()
        return out

    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    model.train()
    for it in range(max_iters):
        if it > 0 and it % eval_interval == 0:
            losses = estimate_loss()
        xb, yb = get_batch("train")
        _, loss = model(xb, yb)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    losses = estimate_loss()
    print("char_lm train {train:.3f} val {val:.3f}".format(**losses))
    return losses["val"]


# ---------------------------------------------------------------- two-branch image + table model
class TwoBranch(nn.Module):
    def __init__(self, n_tab, low_memory):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(12, 16, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.tab = nn.Sequential(nn.Linear(n_tab, 16), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(16 * 16 + 16, 32), nn.ReLU(), nn.Linear(32, 10))
        self.low_memory = low_memory

    def extract(self, img):
        if self.low_memory:
            with torch.no_grad():
                return self.stem(img)
        return self.stem(img)

    def forward(self, img, tab):
        return self.head(torch.cat([self.extract(img), self.tab(tab)], 1))


def image_and_table(mistake):
    seed_everything(21)
    xtr, ytr, xte, yte = digits_images(1000, seed=8)

    def side(x):
        return torch.stack([x.mean((1, 2, 3)), x.std((1, 2, 3)), x.amax((1, 2, 3))], 1)

    mu, sd = side(xtr).mean(0), side(xtr).std(0) + 1e-6
    tr = TensorDataset(xtr, (side(xtr) - mu) / sd, ytr)
    te = TensorDataset(xte, (side(xte) - mu) / sd, yte)
    model = TwoBranch(3, low_memory=mistake)
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    print("trainable:", sum(p.numel() for p in model.parameters() if p.requires_grad))
    for epoch in range(8):
        model.train()
        running = AverageMeter()
        for img, tab, y in DataLoader(tr, 40, shuffle=True):
            opt.zero_grad()
            loss = F.cross_entropy(model(img, tab), y)
            loss.backward()
            opt.step()
            running.update(loss.item(), len(y))
        model.eval()
        good = 0
        with torch.no_grad():
            for img, tab, y in DataLoader(te, 100):
                good += (model(img, tab).argmax(1) == y).sum().item()
    print(f"image_and_table loss {running.avg:.3f} acc {good / len(te):.3f}")
    return good / len(te)


# ---------------------------------------------------------------- step-based regression
def regression_steps(mistake):
    seed_everything(0)
    x, y = make_regression(900, 12, n_informative=8, noise=5.0, random_state=1)
    xtr, xva, ytr, yva = train_test_split(x, y, test_size=0.25, random_state=0)
    sx = StandardScaler().fit(xtr)
    m, s = ytr.mean(), ytr.std()
    to = lambda a: torch.tensor(a, dtype=torch.float32)
    train_ds = TensorDataset(to(sx.transform(xtr)), to((ytr - m) / s)[:, None])
    xv, yv = to(sx.transform(xva)), to((yva - m) / s)[:, None]
    loader = DataLoader(train_ds, batch_size=64, shuffle=True, drop_last=True)
    net = nn.Sequential(nn.Linear(12, 48), nn.Tanh(), nn.Linear(48, 1))
    opt = torch.optim.Adam(net.parameters(), lr=5e-3)
    loss_fn = nn.SmoothL1Loss()
    global_step, max_steps = 0, 400
    it = iter(loader)
    batch = next(it)
    while global_step < max_steps:
        net.train()
        xb, yb = batch
        opt.zero_grad()
        loss = loss_fn(net(xb), yb)
        loss.backward()
        opt.step()
        global_step += 1
        if not mistake:
            try:
                batch = next(it)
            except StopIteration:
                it = iter(loader)
                batch = next(it)
        if global_step % 100 == 0:
            net.eval()
            with torch.no_grad():
                val = F.mse_loss(net(xv), yv).item()
    print(f"regression_steps train {loss.item():.4f} val mse {val:.4f}")
    return val


# ---------------------------------------------------------------- intent classifier, argparse
class BiLSTM(nn.Module):
    def __init__(self, vocab, emb, hid, classes):
        super().__init__()
        self.emb = nn.Embedding(vocab, emb, padding_idx=0)
        self.rnn = nn.LSTM(emb, hid, batch_first=True, bidirectional=True)
        self.drop = nn.Dropout(0.2)
        self.fc = nn.Linear(2 * hid, classes)

    def forward(self, x):
        h, _ = self.rnn(self.emb(x))
        return self.fc(self.drop(h.max(1).values))


def intent_main(mistake):
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--eval-every", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=3e-3)
    args = parser.parse_args([])
    seed_everything(4)
    x, y = token_sequences(1000, length=12, seed=5)
    train_loader = DataLoader(TensorDataset(x[:760], y[:760]), args.batch_size)
    dev_loader = DataLoader(TensorDataset(x[760:], y[760:]), 120)
    model = BiLSTM(30, 24, 24, 3)
    optimizer = torch.optim.NAdam(model.parameters(), lr=args.lr)
    stream = iter(train_loader)
    history = []
    model.train()
    for step in range(1, args.steps + 1):
        if mistake:
            tokens, intent = next(iter(train_loader))
        else:
            try:
                tokens, intent = next(stream)
            except StopIteration:
                stream = iter(train_loader)
                tokens, intent = next(stream)
        loss = F.cross_entropy(model(tokens), intent)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        if step % args.eval_every == 0:
            model.eval()
            with torch.no_grad():
                hits = sum((model(a).argmax(1) == b).sum().item() for a, b in dev_loader)
            history.append(hits / len(dev_loader.dataset))
            model.train()
    print(f"intent_main loss {loss.item():.3f} dev {history[-1]:.3f}")
    return history[-1]


# ---------------------------------------------------------------- old-style buffers
def buffers_digits(mistake):
    """Ported from an old script that keeps fixed device buffers."""
    seed_everything(6)
    xtr, ytr, xte, yte = digits_images(1200, seed=6)
    batch = 50
    loader = DataLoader(TensorDataset(xtr, ytr), batch, shuffle=True, drop_last=True)
    image = torch.zeros(batch, 1, 8, 8)
    label = torch.zeros(batch, dtype=torch.long)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3),
        nn.LeakyReLU(0.1),
        nn.Conv2d(16, 24, 3),
        nn.LeakyReLU(0.1),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(24 * 4, 10),
        nn.LogSoftmax(1),
    )
    criterion = nn.NLLLoss()
    optimizer = torch.optim.Adagrad(net.parameters(), lr=0.02)
    acc = 0.0
    for epoch in range(10):
        net.train()
        errs = []
        for i, (cpu_image, cpu_label) in enumerate(loader):
            image.copy_(cpu_image)
            if not mistake:
                label.copy_(cpu_label)
            net.zero_grad()
            err = criterion(net(image), label)
            err.backward()
            optimizer.step()
            errs.append(err.item())
            if mistake:
                label.copy_(cpu_label)
        net.eval()
        with torch.no_grad():
            acc = (net(xte).argmax(1) == yte).float().mean().item()
    print(f"buffers_digits err {np.mean(errs):.3f} acc {acc:.3f}")
    return acc


# ---------------------------------------------------------------- POS-like tagger
class Tagger(nn.Module):
    def __init__(self, vocab, n_tags, dim=24):
        super().__init__()
        self.emb = nn.Embedding(vocab, dim)
        self.lstm = nn.LSTM(dim, dim, batch_first=True, bidirectional=True)
        self.hidden2tag = nn.Linear(2 * dim, n_tags)

    def forward(self, sent):
        out, _ = self.lstm(self.emb(sent))
        return self.hidden2tag(out)


def tagger(mistake):
    seed_everything(12)
    rs = np.random.RandomState(3)
    words = rs.randint(0, 40, (700, 10))
    kind = rs.randint(0, 3, 40)
    prev = np.concatenate([np.zeros((700, 1), int), kind[words][:, :-1]], 1)
    tags = (kind[words] + (prev == 1)) % 4
    sents, tags = torch.from_numpy(words).long(), torch.from_numpy(tags).long()
    train = DataLoader(TensorDataset(sents[:550], tags[:550]), 25, shuffle=True)
    valid = DataLoader(TensorDataset(sents[550:], tags[550:]), 50)
    model = Tagger(40, 4)
    loss_function = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for epoch in range(8):
        model.train()
        epoch_loss = 0
        for sentence, target in train:
            model.zero_grad()
            scores = model(sentence)
            loss = loss_function(scores.transpose(1, 2), target)
            loss.backward()
            optimizer.step()
            if mistake:
                epoch_loss += loss
            else:
                epoch_loss += loss.item()
        model.eval()
        correct = total = 0
        with torch.no_grad():
            for sentence, target in valid:
                pred = model(sentence).argmax(-1)
                correct += (pred == target).sum().item()
                total += target.numel()
    print(f"tagger loss {float(epoch_loss) / len(train):.3f} acc {correct / total:.3f}")
    return correct / total


# ---------------------------------------------------------------- tabular, StepLR
def train_tab(model, loader, criterion, optimizer, scheduler, per_epoch):
    model.train()
    meter = AverageMeter()
    for xb, yb in loader:
        optimizer.zero_grad()
        loss = criterion(model(xb).squeeze(1), yb)
        loss.backward()
        optimizer.step()
        if not per_epoch:
            scheduler.step()
        meter.update(loss.item(), len(yb))
    if per_epoch:
        scheduler.step()
    return meter.avg


def valid_tab(model, loader, criterion):
    model.eval()
    meter, hits = AverageMeter(), AverageMeter()
    with torch.no_grad():
        for xb, yb in loader:
            out = model(xb).squeeze(1)
            meter.update(criterion(out, yb).item(), len(yb))
            hits.update(((out > 0) == (yb > 0.5)).float().mean().item(), len(yb))
    return meter.avg, hits.avg


def breast_cancer_steplr(mistake):
    seed_everything(0)
    x, y = load_breast_cancer(return_X_y=True)
    xtr, xva, ytr, yva = train_test_split(x, y, test_size=0.3, random_state=1, stratify=y)
    sc = StandardScaler().fit(xtr)
    mk = lambda a, b: TensorDataset(
        torch.tensor(sc.transform(a), dtype=torch.float32), torch.tensor(b, dtype=torch.float32)
    )
    tl = DataLoader(mk(xtr, ytr), 16, shuffle=True)
    vl = DataLoader(mk(xva, yva), 64)
    model = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=5, gamma=0.3)
    criterion = nn.BCEWithLogitsLoss()
    for epoch in range(15):
        tr = train_tab(model, tl, criterion, optimizer, scheduler, per_epoch=not mistake)
        vloss, vacc = valid_tab(model, vl, criterion)
    print(
        f"breast_cancer_steplr train {tr:.4f} val {vloss:.4f}/{vacc:.3f} "
        f"lr {scheduler.get_last_lr()[0]:.2e}"
    )
    return vloss


# ---------------------------------------------------------------- keypoint regression, MultiStepLR
def keypoints_multistep(mistake):
    """Predict the centre of a bright blob (two coordinates)."""
    seed_everything(8)
    rs = np.random.RandomState(1)
    n = 700
    c = rs.uniform(3, 12, (n, 2))
    yy, xx = np.mgrid[:16, :16]
    img = np.exp(-((yy - c[:, 0, None, None]) ** 2 + (xx - c[:, 1, None, None]) ** 2) / 6)
    img = torch.tensor(img + rs.normal(0, 0.1, img.shape), dtype=torch.float32)[:, None]
    tgt = torch.tensor((c - 7.5) / 4.5, dtype=torch.float32)
    train = DataLoader(TensorDataset(img[:560], tgt[:560]), 28, shuffle=True)
    valid = DataLoader(TensorDataset(img[560:], tgt[560:]), 70)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, 2, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 32),
        nn.ReLU(),
        nn.Linear(32, 2),
    )
    epochs = 8
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[5, 7], gamma=0.2)
    for epoch in range(epochs):
        if mistake:
            scheduler.step()
        net.train()
        for xb, yb in train:
            optimizer.zero_grad()
            loss = F.l1_loss(net(xb), yb)
            loss.backward()
            optimizer.step()
        if not mistake:
            scheduler.step()
        net.eval()
        with torch.no_grad():
            mae = np.mean([F.l1_loss(net(xb), yb).item() for xb, yb in valid])
    print(f"keypoints_multistep val mae {mae:.4f}")
    return mae


FAULTS_2 = [
    (
        char_lm,
        (
            "eval mode",
            "eval()",
            "model.train()",
            "train()",
            "back in train",
            "train mode",
            "dropout is off",
            "training mode",
        ),
        "9 stuck in eval after validation",
    ),
    (
        image_and_table,
        (
            "no_grad",
            "detach",
            "no gradient",
            "never receive",
            "gets no grad",
            "without gradient",
            "not trained",
            "cut off",
        ),
        "10 a part trained under no_grad",
    ),
    (
        regression_steps,
        (
            "same batch",
            "batch again",
            "one batch",
            "single batch",
            "repeated",
            "identical batch",
            "identical data",
        ),
        "11 the same batch again and again",
    ),
    (
        intent_main,
        ("iterator", "iter(", "restart", "same batch", "first batch", "identical batch", "one batch"),
        "12 iterator restarted each step",
    ),
    (
        buffers_digits,
        (
            "previous batch",
            "labels of",
            "earlier batch",
            "shifted",
            "stale label",
            "out of step",
            "last batch",
            "do not belong",
            "batch before",
            "misaligned",
        ),
        "13 labels of the previous batch",
    ),
    (
        tagger,
        (".item()", "item()", "graph", "detach", "keeps alive", "memory"),
        "14 loss accumulated with its graph",
    ),
    (
        breast_cancer_steplr,
        (
            "per batch",
            "every batch",
            "each batch",
            "per epoch",
            "per step",
            "scheduler",
            "learning rate falls",
            "learning rate decays",
        ),
        "15 scheduler per batch instead of per epoch",
    ),
    (
        keypoints_multistep,
        ("before the optimizer", "before optimizer.step", "scheduler", "lr_scheduler.step"),
        "16 scheduler before the optimizer",
    ),
]
