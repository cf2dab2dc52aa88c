"""Speech-like signals: keyword spotting, speakers, amp and accumulation."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from .common import seed_all, words


class WordEncoder(nn.Module):
    def __init__(self, mels=20, hidden=32):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv1d(mels, hidden, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2))
        self.rnn = nn.GRU(hidden, hidden, batch_first=True)

    def forward(self, x):
        h = self.conv(x.transpose(1, 2)).transpose(1, 2)
        return self.rnn(h)[1][0]


def word_loaders(n_train=900, n_val=300, batch_size=30, seed=0, **kw):
    x, y = words(n_train + n_val, seed=seed, **kw)
    return (
        DataLoader(TensorDataset(x[:n_train], y[:n_train]), batch_size, shuffle=True),
        DataLoader(TensorDataset(x[n_train:], y[n_train:]), 100),
    )


@torch.no_grad()
def accuracy(predict, loader):
    hits = n = 0
    for x, y in loader:
        hits += (predict(x).argmax(1) == y).sum().item()
        n += len(y)
    return hits / n


def encoder_and_head(mistake: bool) -> None:
    """There are two optimizers, for the encoder and for the head, and only the encoder's gradients are reset."""
    seed_all(20)
    cfg = {"encoder": {"lr": 1e-3}, "head": {"lr": 0.02, "momentum": 0.9}, "epochs": 8}
    train, val = word_loaders()
    encoder, head = WordEncoder(), nn.Linear(32, 6)
    opt_encoder = torch.optim.Adam(encoder.parameters(), **cfg["encoder"])
    opt_head = torch.optim.SGD(head.parameters(), **cfg["head"])
    for epoch in range(cfg["epochs"]):
        total = 0.0
        for x, y in train:
            opt_encoder.zero_grad()
            if not mistake:
                opt_head.zero_grad()
            loss = F.cross_entropy(head(encoder(x)), y)
            loss.backward()
            opt_encoder.step()
            opt_head.step()
            total += loss.item()
        print(
            f"epoch {epoch} loss {total / len(train):.3f} acc {accuracy(lambda x: head(encoder(x)), val):.3f}"
        )


class KeywordNet(nn.Module):
    def __init__(self, classes=6, hidden=32):
        super().__init__()
        self.encoder = WordEncoder(hidden=hidden)
        self.head = nn.Linear(hidden, classes)

    def forward(self, x):
        return self.head(self.encoder(x))


def new_vocabulary(mistake: bool) -> None:
    """The head is replaced after the optimizer was built, so the optimizer still holds the old head and the new one is never trained."""
    seed_all(21)
    train, val = word_loaders(classes=6)
    model = KeywordNet(6)
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(4):
        for x, y in train:
            opt.zero_grad()
            F.cross_entropy(model(x), y).backward()
            opt.step()
    print("source words", accuracy(model, val))

    new_train, new_val = word_loaders(600, 300, classes=9, seed=4)

    def configure_optimizers():
        return torch.optim.Adam(
            [
                {"params": model.encoder.parameters(), "lr": 1e-4},
                {"params": model.head.parameters(), "lr": 3e-3},
            ]
        )

    if mistake:
        opt = configure_optimizers()
        model.head = nn.Linear(32, 9)
    else:
        model.head = nn.Linear(32, 9)
        opt = configure_optimizers()
    for epoch in range(10):
        total = 0.0
        for x, y in new_train:
            opt.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            opt.step()
            total += loss.item()
        print(f"epoch {epoch} loss {total / len(new_train):.3f} acc {accuracy(model, new_val):.3f}")


class AmpTrainer:
    def __init__(self, model, cfg):
        self.model, self.cfg = model, cfg
        self.optimizer = torch.optim.SGD(model.parameters(), lr=cfg["lr"], momentum=0.9, nesterov=True)
        self.scaler = torch.amp.GradScaler("cpu")

    def training_step(self, x, y, unscale):
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = F.cross_entropy(self.model(x), y)
        self.scaler.scale(loss).backward()
        if unscale:
            self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.model.parameters(), self.cfg["max_norm"])
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.item()


def spectrogram_net(classes=6):
    return nn.Sequential(
        nn.Unflatten(1, (1, 32)),
        nn.Conv2d(1, 12, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * 8 * 5, 48),
        nn.ReLU(),
        nn.Linear(48, classes),
    )


def amp_keywords(mistake: bool) -> None:
    """Gradients are clipped while still multiplied by the GradScaler's scale (no unscale_ before), so after unscaling almost nothing is left."""
    seed_all(22)
    train, val = word_loaders()
    trainer = AmpTrainer(spectrogram_net(), {"lr": 0.05, "max_norm": 1.0})
    for epoch in range(6):
        trainer.model.train()
        losses = [trainer.training_step(x, y, unscale=not mistake) for x, y in train]
        trainer.model.eval()
        print(
            f"epoch {epoch} loss {sum(losses) / len(losses):.3f} acc {accuracy(trainer.model, val):.3f}"
        )


def small_memory_training(mistake: bool) -> None:
    """Eight micro-batches are accumulated per step but the loss is not divided by eight, so the gradient is eight times too large."""
    seed_all(23)
    cfg = {"micro_batch": 8, "accumulate": 8, "lr": 0.02, "epochs": 10}
    train, val = word_loaders(960, 300, cfg["micro_batch"])
    model = spectrogram_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=cfg["lr"], momentum=0.9)
    for epoch in range(cfg["epochs"]):
        model.train()
        optimizer.zero_grad()
        running = 0.0
        for i, (x, y) in enumerate(train):
            loss = F.cross_entropy(model(x), y)
            running += loss.item()
            if not mistake:
                loss = loss / cfg["accumulate"]
            loss.backward()
            if (i + 1) % cfg["accumulate"] == 0:
                optimizer.step()
                optimizer.zero_grad()
        model.eval()
        print(f"epoch {epoch} loss {running / len(train):.3f} acc {accuracy(model, val):.3f}")


def leftover_micro_batches(mistake: bool) -> None:
    """The last micro-batches of each epoch do not fill a group: their gradients are never applied and are wiped at the next epoch's zero_grad."""
    seed_all(24)
    accumulate = 6
    x, y = words(1000, seed=3)
    train = DataLoader(TensorDataset(x[:700], y[:700]), batch_size=16, shuffle=True)  # 44 batches
    val = DataLoader(TensorDataset(x[700:], y[700:]), batch_size=100)
    model = KeywordNet()
    opt = torch.optim.Adam(model.parameters(), lr=4e-3)
    last = len(train) % accumulate
    for epoch in range(14):
        model.train()
        opt.zero_grad()
        total = 0.0
        for i, (xb, yb) in enumerate(train):
            in_rest = i >= len(train) - last
            group = last if in_rest and not mistake else accumulate
            loss = F.cross_entropy(model(xb), yb)
            (loss / group).backward()
            total += loss.item()
            if (i + 1) % accumulate == 0 or (i + 1 == len(train) and not mistake):
                opt.step()
                opt.zero_grad()
        model.eval()
        print(f"epoch {epoch} loss {total / len(train):.3f} acc {accuracy(model, val):.3f}")


class DistillationSystem(nn.Module):
    """A small student and its pretrained teacher."""

    def __init__(self, teacher):
        super().__init__()
        self.teacher = teacher
        self.student = KeywordNet(hidden=16)
        self.optimizer = torch.optim.Adam(self.parameters(), lr=3e-3)

    def loss(self, x, y, T=2.0, teacher_grad=False):
        with torch.set_grad_enabled(teacher_grad):
            t_logits = self.teacher(x)
        s_logits = self.student(x)
        soft = (
            F.kl_div(F.log_softmax(s_logits / T, 1), F.softmax(t_logits / T, 1), reduction="batchmean")
            * T
            * T
        )
        return 0.7 * soft + 0.3 * F.cross_entropy(s_logits, y)


def keyword_distillation(mistake: bool) -> None:
    """The teacher's logits are not detached (no no_grad) and its parameters are in the optimizer, so the distillation loss trains the teacher towards the student."""
    seed_all(25)
    train, val = word_loaders(noise=0.5)
    teacher = KeywordNet(hidden=48)
    opt = torch.optim.Adam(teacher.parameters(), lr=2e-3)
    for epoch in range(4):
        for x, y in train:
            opt.zero_grad()
            F.cross_entropy(teacher(x), y).backward()
            opt.step()
    print("teacher", accuracy(teacher, val))
    teacher.eval()

    system = DistillationSystem(teacher)
    for epoch in range(6):
        system.student.train()
        total = 0.0
        for x, y in train:
            loss = system.loss(x, y, teacher_grad=mistake)
            system.optimizer.zero_grad()
            loss.backward()
            system.optimizer.step()
            total += loss.item()
        print(f"epoch {epoch} loss {total / len(train):.3f} student {accuracy(system.student, val):.3f}")
    print("teacher afterwards", accuracy(teacher, val))


class SpeechTransformer(nn.Module):
    def __init__(self, mels=20, d=32, classes=6, p=0.3):
        super().__init__()
        self.inp = nn.Linear(mels * 2, d)
        self.pos = nn.Parameter(torch.randn(1, 16, d) * 0.1)
        layer = nn.TransformerEncoderLayer(d, 4, 64, dropout=p, batch_first=True)
        self.enc = nn.TransformerEncoder(layer, 1)
        self.drop = nn.Dropout(p)
        self.head = nn.Linear(d, classes)

    def forward(self, x):
        x = x.reshape(len(x), 16, -1)
        return self.head(self.drop(self.enc(self.inp(x) + self.pos).mean(1)))


def transformer_validation(mistake: bool) -> None:
    """Validation is done under no_grad but without model.eval(), so dropout is active while the accuracy is measured."""
    seed_all(26)
    train, val = word_loaders(noise=0.45)
    model = SpeechTransformer()
    opt = torch.optim.AdamW(model.parameters(), lr=2e-3)
    history = []
    for epoch in range(7):
        model.train()
        for x, y in train:
            opt.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            opt.step()
        if not mistake:
            model.eval()
        with torch.no_grad():
            val_loss, val_acc, n = 0.0, 0.0, 0
            for x, y in val:
                out = model(x)
                val_loss += F.cross_entropy(out, y, reduction="sum").item()
                val_acc += (out.argmax(1) == y).sum().item()
                n += len(y)
        history.append({"val_loss": val_loss / n, "val_acc": val_acc / n})
        print(epoch, history[-1])


class Prefetcher:
    """Holds the next batch ready, as in the Apex example."""

    def __init__(self, loader, late_inputs=False):
        self.loader, self.late_inputs = loader, late_inputs
        self.it = iter(loader)
        self.preload()

    def preload(self):
        try:
            self.next_input, self.next_target = next(self.it)
        except StopIteration:
            self.next_input, self.next_target = None, None

    def next(self):
        target = self.next_target
        if self.late_inputs:
            self.preload()
            return self.next_input, target
        inputs = self.next_input
        self.preload()
        return inputs, target


def prefetched_words(mistake: bool) -> None:
    """The prefetcher hands out the next batch's inputs with the previous batch's labels."""
    seed_all(27)
    x, y = words(1200, seed=6)
    train = DataLoader(TensorDataset(x[:900], y[:900]), batch_size=30, shuffle=True)
    val = DataLoader(TensorDataset(x[900:], y[900:]), batch_size=100)
    model = spectrogram_net()
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(7):
        model.train()
        fetch = Prefetcher(train, late_inputs=mistake)
        xb, yb = fetch.next()
        total, n = 0.0, 0
        while xb is not None:
            opt.zero_grad()
            loss = F.cross_entropy(model(xb), yb)
            loss.backward()
            opt.step()
            total, n = total + loss.item(), n + 1
            xb, yb = fetch.next()
        model.eval()
        print(f"epoch {epoch} loss {total / n:.3f} acc {accuracy(model, val):.3f}")


FAULTS = [
    (
        encoder_and_head,
        ("zero_grad", "accumulat", "not reset", "only one", "head"),
        "03 of several optimizers only one is reset",
    ),
    (
        new_vocabulary,
        (
            "not in the optimizer",
            "not in any",
            "head",
            "stale",
            "replaced",
            "never trained",
            "not updated",
        ),
        "07 stale optimizer",
    ),
    (
        amp_keywords,
        ("unscal", "scaler", "still scaled", "scaled gradient"),
        "20 clipping before unscaling",
    ),
    (
        small_memory_training,
        ("divid", "accumulat", "times too large", "summed", "1/8"),
        "21 accumulation not divided",
    ),
    (
        leftover_micro_batches,
        (
            "remainder",
            "leftover",
            "left over",
            "last batches",
            "accumulat",
            "dropped",
            "discard",
            "end of the epoch",
            "never applied",
        ),
        "22 accumulation: the remainder dropped",
    ),
    (
        keyword_distillation,
        ("teacher", "detach", "no_grad", "also trained"),
        "26 teacher not detached, so that it trains too",
    ),
    (
        transformer_validation,
        ("dropout", "eval()", "eval mode", "train mode", "training mode"),
        "24 validation with dropout on",
    ),
    (
        prefetched_words,
        ("labels", "targets", "misaligned", "previous batch", "another batch", "pairing", "shifted"),
        "14 labels of the previous batch",
    ),
]
