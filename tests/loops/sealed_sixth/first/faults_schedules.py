import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import DataLoader, TensorDataset

from . import common


class MF(nn.Module):
    def __init__(self, users=120, items=150, dim=12):
        super().__init__()
        self.user, self.item = nn.Embedding(users, dim), nn.Embedding(items, dim)
        self.bias = nn.Embedding(items, 1)
        nn.init.normal_(self.user.weight, std=0.1)
        nn.init.normal_(self.item.weight, std=0.1)
        nn.init.zeros_(self.bias.weight)

    def forward(self, u, i):
        return (self.user(u) * self.item(i)).sum(-1) + self.bias(i).squeeze(-1)


def _ratings(users=120, items=150, seed=0):
    g = torch.Generator().manual_seed(seed)
    score = torch.randn(users, 4, generator=g) @ torch.randn(4, items, generator=g)
    u = torch.arange(users).repeat_interleave(120)
    pairs = torch.rand(users, 120, 2, generator=g).mul(items).long().reshape(-1, 2)
    a, b = score[u, pairs[:, 0]], score[u, pairs[:, 1]]
    keep = (a - b).abs() > 0.5
    u, pairs, a, b = u[keep], pairs[keep], a[keep], b[keep]
    pos = torch.where(a > b, pairs[:, 0], pairs[:, 1])
    neg = torch.where(a > b, pairs[:, 1], pairs[:, 0])
    order = torch.randperm(len(u), generator=g)
    return u[order], pos[order], neg[order]


def bpr_ranking_steplr(mistake: bool) -> None:
    """StepLR is meant in epochs but is stepped after every batch, so the learning rate is gone within an epoch."""
    torch.manual_seed(30)
    u, p, n = _ratings()
    cut = int(0.85 * len(u))
    loader = DataLoader(TensorDataset(u[:cut], p[:cut], n[:cut]), batch_size=256, shuffle=True)
    model = MF()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02, weight_decay=1e-5)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=5, gamma=0.3)
    for epoch in range(12):
        model.train()
        total = 0.0
        for user, pos, neg in loader:
            optimizer.zero_grad()
            loss = -F.logsigmoid(model(user, pos) - model(user, neg)).mean()
            loss.backward()
            optimizer.step()
            if mistake:
                scheduler.step()
            total += loss.item()
        if not mistake:
            scheduler.step()
        model.eval()
        with torch.no_grad():
            auc = (model(u[cut:], p[cut:]) > model(u[cut:], n[cut:])).float().mean().item()
        print(f"epoch {epoch} loss {total / len(loader):.4f} pairs right {auc:.3f}")


def digits_distill_decay(mistake: bool) -> None:
    """scheduler.step() comes at the top of the loop before optimizer.step(), so the first learning rate is skipped."""
    torch.manual_seed(31)
    xa, ya, xt, yt = common.digits()
    loader = DataLoader(TensorDataset(xa, ya), batch_size=64, shuffle=True)
    test = DataLoader(TensorDataset(xt, yt), batch_size=200)

    teacher = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    opt = torch.optim.Adam(teacher.parameters(), lr=2e-3)
    for _ in range(6):
        for x, y in loader:
            opt.zero_grad()
            F.cross_entropy(teacher(x), y).backward()
            opt.step()
    teacher.eval()

    student = nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.3)
    T, alpha = 3.0, 0.7
    for epoch in range(8):
        if mistake:
            scheduler.step()
        student.train()
        total = 0.0
        for x, y in loader:
            with torch.no_grad():
                soft = F.softmax(teacher(x) / T, dim=1)
            logits = student(x)
            kd = F.kl_div(F.log_softmax(logits / T, dim=1), soft, reduction="batchmean") * T * T
            loss = alpha * kd + (1 - alpha) * F.cross_entropy(logits, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        if not mistake:
            scheduler.step()
        print(
            f"epoch {epoch} loss {total / len(loader):.4f} student acc {common.accuracy(student, test):.3f}"
        )


class Embedder(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 16))

    def forward(self, x):
        return F.normalize(self.net(x), dim=1)


def digits_siamese(mistake: bool) -> None:
    """The gradient norm is clipped to 1e-4, so with SGD practically nothing is left of any update."""
    torch.manual_seed(32)
    x, y, xt, yt = common.digits()
    net = Embedder()
    max_norm = 1e-4 if mistake else 1.0
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    margin = 0.8

    def pairs(n):
        a = torch.randint(len(x), (n,))
        b = torch.randint(len(x), (n,))
        for k in range(0, n, 2):
            same = (y == y[a[k]]).nonzero().squeeze(1)
            b[k] = same[torch.randint(len(same), (1,))]
        return x[a], x[b], (y[a] == y[b]).float()

    for step in range(1, 301):
        net.train()
        x1, x2, same = pairs(64)
        d = (net(x1) - net(x2)).pow(2).sum(1).add(1e-8).sqrt()
        loss = (same * d.pow(2) + (1 - same) * F.relu(margin - d).pow(2)).mean()
        optimizer.zero_grad()
        loss.backward()
        clip_grad_norm_(net.parameters(), max_norm)
        optimizer.step()
        if step % 50 == 0:
            net.eval()
            with torch.no_grad():
                nn_idx = torch.cdist(net(xt), net(x)).argmin(1)
                acc = (y[nn_idx] == yt).float().mean().item()
                ea, eb, es = pairs(400)
                dist = (net(ea) - net(eb)).norm(dim=1)
            print(
                f"step {step} loss {loss.item():.4f} 1-nn acc {acc:.3f} "
                f"distance same {dist[es == 1].mean():.3f} other {dist[es == 0].mean():.3f}"
            )


class AddingRNN(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.rnn = nn.RNN(2, hidden, batch_first=True, nonlinearity="relu")
        self.out = nn.Linear(hidden, 1)
        nn.init.eye_(self.rnn.weight_hh_l0)
        nn.init.zeros_(self.rnn.bias_hh_l0)
        nn.init.normal_(self.rnn.weight_ih_l0, std=0.1)

    def forward(self, x):
        h, _ = self.rnn(x)
        return self.out(h[:, -1]).squeeze(1)


def _adding(n, length=12):
    values = torch.rand(n, length)
    mark = torch.zeros(n, length)
    for i in range(n):
        mark[i, torch.randperm(length)[:2]] = 1
    return torch.stack([values, mark], 2), (values * mark).sum(1)


def adding_problem_rnn(mistake: bool) -> None:
    """The gradients are clipped before backward, when there are none yet, so the RNN's large gradients pass."""
    torch.manual_seed(33)
    x, y = _adding(3200)
    xv, yv = _adding(400)
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    model = AddingRNN()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    for epoch in range(10):
        model.train()
        total = 0.0
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = F.mse_loss(model(xb), yb)
            if mistake:
                nn.utils.clip_grad_norm_(model.parameters(), 0.5)
                loss.backward()
            else:
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            val = F.mse_loss(model(xv), yv).item()
        print(f"epoch {epoch} train {total / len(loader):.4f} val {val:.4f}")


class DigitCNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(128, 64),
            nn.ReLU(),
            nn.Linear(64, 10),
        )

    def forward(self, x):
        return self.net(x)


class AmpTrainer:
    def __init__(self, model, lr, max_norm, unscale=True):
        self.model = model
        self.optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
        self.scaler = torch.amp.GradScaler("cpu")
        self.max_norm = max_norm
        self.unscale = unscale

    def training_step(self, x, y):
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = self.model(x)
            loss = F.cross_entropy(logits, y)
        self.scaler.scale(loss).backward()
        if self.unscale:
            self.scaler.unscale_(self.optimizer)
        clip_grad_norm_(self.model.parameters(), self.max_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.item()

    def fit(self, train_loader, val_loader, epochs):
        for epoch in range(epochs):
            self.model.train()
            losses = [self.training_step(x, y) for x, y in train_loader]
            acc = common.accuracy(self.model, val_loader)
            print(f"epoch {epoch}: loss {sum(losses) / len(losses):.4f} val acc {acc:.3f}")


def digits_amp_clip(mistake: bool) -> None:
    """clip_grad_norm_ is applied to the scaled gradients; after unscaling next to nothing is left of them."""
    torch.manual_seed(34)
    train_set, val_set = common.digit_sets(images=True)
    trainer = AmpTrainer(DigitCNN(), lr=0.03, max_norm=1.0, unscale=not mistake)
    trainer.fit(
        DataLoader(train_set, batch_size=32, shuffle=True),
        DataLoader(val_set, batch_size=200),
        epochs=10,
    )


class CharLSTM(nn.Module):
    def __init__(self, vocab, dim=32, hidden=80):
        super().__init__()
        self.embed = nn.Embedding(vocab, dim)
        self.lstm = nn.LSTM(dim, hidden, batch_first=True)
        self.decoder = nn.Linear(hidden, vocab)

    def forward(self, x):
        h, _ = self.lstm(self.embed(x))
        return self.decoder(h)


def char_lstm_accum(mistake: bool) -> None:
    """Eight micro-batches are accumulated without dividing the loss by eight: the step is eight times too long."""
    torch.manual_seed(35)
    ids, chars = common.corpus()
    chunks = ids[: len(ids) // 33 * 33].view(-1, 33)
    chunks = chunks[torch.randperm(len(chunks))]
    val, train = chunks[:80], chunks[80:2480]
    loader = DataLoader(TensorDataset(train), batch_size=4, shuffle=True, drop_last=True)
    model = CharLSTM(len(chars))
    optimizer = torch.optim.SGD(model.parameters(), lr=3.0)
    accumulation_steps = 8

    def lm_loss(batch):
        logits = model(batch[:, :-1])
        return F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())

    micro, running = 0, 0.0
    model.train()
    optimizer.zero_grad()
    for epoch in range(2):
        for (batch,) in loader:
            loss = lm_loss(batch)
            running += loss.item()
            if not mistake:
                loss = loss / accumulation_steps
            loss.backward()
            micro += 1
            if micro % accumulation_steps == 0:
                optimizer.step()
                optimizer.zero_grad()
            if micro % 160 == 0:
                model.eval()
                with torch.no_grad():
                    v = lm_loss(val).item()
                model.train()
                print(f"step {micro // accumulation_steps} train {running / 160:.3f} val {v:.3f}")
                running = 0.0


class RowGRU(nn.Module):
    """Reads a digit row by row."""

    def __init__(self, hidden=48):
        super().__init__()
        self.gru = nn.GRU(8, hidden, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(2 * hidden, 10)

    def forward(self, x):
        h, _ = self.gru(x.squeeze(1))
        return self.fc(h.mean(1))


def digit_rows_accum(mistake: bool) -> None:
    """The last, incomplete group of accumulated micro-batches of every epoch is thrown away without a step."""
    torch.manual_seed(36)
    x, y, x_test, y_test = common.digits(images=True)
    x, y = x[:336], y[:336]
    loader = DataLoader(TensorDataset(x, y), batch_size=16)
    test_loader = DataLoader(TensorDataset(x_test, y_test), batch_size=200)
    model = RowGRU()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    accum = 12
    for epoch in range(65):
        model.train()
        optimizer.zero_grad()
        total = 0.0
        for i, (xb, yb) in enumerate(loader):
            loss = F.cross_entropy(model(xb), yb)
            group = accum if mistake else min(accum, len(loader) - i // accum * accum)
            (loss / group).backward()
            total += loss.item()
            if (i + 1) % accum == 0 or (not mistake and i + 1 == len(loader)):
                optimizer.step()
                optimizer.zero_grad()
        if epoch % 5 == 4:
            print(
                f"epoch {epoch + 1} train {total / len(loader):.4f} test acc {common.accuracy(model, test_loader):.3f}"
            )


FAULTS = [
    (
        bpr_ranking_steplr,
        (
            "per batch",
            "every batch",
            "each batch",
            "per epoch",
            "scheduler",
            "decay",
            "learning rate falls",
            "learning rate fell",
            "learning rate drop",
        ),
        "scheduler per batch instead of per epoch",
    ),
    (
        digits_distill_decay,
        (
            "scheduler",
            "first learning rate",
            "lr_scheduler",
            "before optimizer.step",
            "before the optimizer",
            "order of",
        ),
        "scheduler before the optimizer",
    ),
    (digits_siamese, ("clip", "max_norm", "norm limit"), "clipping to nothing"),
    (adding_problem_rnn, ("clip",), "clipping before backward"),
    (
        digits_amp_clip,
        ("unscale", "scaled grad", "clip", "gradscaler", "loss scale"),
        "clipping before unscaling",
    ),
    (
        char_lstm_accum,
        ("divid", "accumulat", "micro-batch", "sum of", "times too large", "not averaged"),
        "accumulation not divided",
    ),
    (
        digit_rows_accum,
        (
            "remainder",
            "remaining",
            "leftover",
            "left over",
            "last batches",
            "incomplete",
            "thrown away",
            "discard",
            "dropped",
            "never used",
            "without a step",
        ),
        "remainder of the accumulation dropped",
    ),
]
