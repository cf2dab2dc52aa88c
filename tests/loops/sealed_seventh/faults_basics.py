import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from .common import digits


def digits_trainer_class(mistake: bool) -> None:
    """optimizer.zero_grad() is never called, so gradients of earlier batches pile up."""
    torch.manual_seed(1)

    class Trainer:
        def __init__(self, model, lr, epochs):
            self.model = model
            self.epochs = epochs
            self.criterion = nn.CrossEntropyLoss()
            self.optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)

        def _run_batch(self, source, targets):
            if not mistake:
                self.optimizer.zero_grad()
            output = self.model(source)
            loss = self.criterion(output, targets)
            loss.backward()
            self.optimizer.step()
            return loss.item()

        def fit(self, train_data, test_data):
            for epoch in range(self.epochs):
                self.model.train()
                losses = [self._run_batch(x, y) for x, y in train_data]
                acc = self.evaluate(test_data)
            print(f"epoch {epoch} | loss {np.mean(losses):.4f} | acc {acc:.4f}")

        @torch.no_grad()
        def evaluate(self, data):
            self.model.eval()
            hits = sum((self.model(x).argmax(1) == y).sum().item() for x, y in data)
            return hits / len(data.dataset)

    xtr, ytr, xte, yte = digits(flat=True)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    train_data = DataLoader(TensorDataset(xtr, ytr), batch_size=32, shuffle=True)
    test_data = DataLoader(TensorDataset(xte, yte), batch_size=256)
    Trainer(model, lr=0.02, epochs=45).fit(train_data, test_data)


def lstm_power_forecast(mistake: bool) -> None:
    """Gradients are not cleared between the hand-cut batches of a forecaster trained with Adam."""
    torch.manual_seed(2)
    rng = np.random.default_rng(2)
    t = np.arange(3000)
    load = (
        np.sin(2 * np.pi * t / 24) + 0.5 * np.sin(2 * np.pi * t / 168) + 0.15 * rng.standard_normal(3000)
    )
    load = ((load - load[:2400].mean()) / load[:2400].std()).astype(np.float32)
    window = 24
    X = torch.tensor(np.stack([load[i : i + window] for i in range(len(load) - window)])).unsqueeze(-1)
    y = torch.tensor(load[window:]).unsqueeze(-1)
    X_train, y_train, X_val, y_val = X[:2300], y[:2300], X[2400:], y[2400:]

    class Forecaster(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(1, 24, batch_first=True)
            self.out = nn.Linear(24, 1)

        def forward(self, x):
            h, _ = self.lstm(x)
            return self.out(h[:, -1])

    net = Forecaster()
    opt = torch.optim.Adam(net.parameters(), lr=0.005)
    mse = nn.MSELoss()
    bs = 64
    for epoch in range(16):
        net.train()
        perm = torch.randperm(len(X_train))
        running = 0.0
        for i in range(0, len(perm), bs):
            idx = perm[i : i + bs]
            pred = net(X_train[idx])
            loss = mse(pred, y_train[idx])
            loss.backward()
            opt.step()
            if not mistake:
                opt.zero_grad()
            running += loss.item() * len(idx)
        net.eval()
        with torch.no_grad():
            val = mse(net(X_val), y_val).item()
    print(f"train mse {running / len(perm):.4f} val mse {val:.4f}")


def churn_embeddings(mistake: bool) -> None:
    """zero_grad() sits between backward() and step(), so every step uses empty gradients."""
    torch.manual_seed(3)
    rng = np.random.default_rng(3)
    n = 4000
    plan, region = rng.integers(0, 5, n), rng.integers(0, 12, n)
    num = rng.standard_normal((n, 4)).astype(np.float32)
    score = (
        np.array([-1.5, -0.5, 0, 1, 2.0])[plan]
        + rng.standard_normal(12)[region]
        + num @ np.array([1.2, -0.8, 0.5, 0])
    )
    churn = (rng.random(n) < 1 / (1 + np.exp(-1.5 * score))).astype(np.float32)

    class TabularNet(nn.Module):
        def __init__(self, cards, n_num):
            super().__init__()
            self.embs = nn.ModuleList([nn.Embedding(c, min(8, (c + 1) // 2)) for c in cards])
            d = sum(e.embedding_dim for e in self.embs) + n_num
            self.layers = nn.Sequential(nn.Linear(d, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 1))

        def forward(self, cat, num):
            z = [e(cat[:, i]) for i, e in enumerate(self.embs)]
            return self.layers(torch.cat(z + [num], dim=1)).squeeze(1)

    cat = torch.tensor(np.stack([plan, region], 1))
    num, churn = torch.tensor(num), torch.tensor(churn)
    train_ds = TensorDataset(cat[:3200], num[:3200], churn[:3200])
    loader = DataLoader(train_ds, batch_size=64, shuffle=True)
    model = TabularNet([5, 12], 4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    loss_fn = nn.BCEWithLogitsLoss()

    for epoch in range(22):
        model.train()
        total = 0.0
        for c, x, y in loader:
            loss = loss_fn(model(c, x), y)
            if mistake:
                loss.backward()
                optimizer.zero_grad()
                optimizer.step()
            else:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            total += loss.item()
    model.eval()
    with torch.no_grad():
        acc = ((model(cat[3200:], num[3200:]) > 0).float() == churn[3200:]).float().mean().item()
    print(f"loss {total / len(loader):.4f} acc {acc:.3f}")


def seq2seq_two_optimizers(mistake: bool) -> None:
    """Only the encoder's optimizer is cleared; the decoder's gradients pile up over all steps."""
    torch.manual_seed(4)
    SOS, V, L, H = 10, 11, 6, 64

    class EncoderRNN(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(V, 32)
            self.gru = nn.GRU(32, H, batch_first=True)

        def forward(self, src):
            return self.gru(self.embedding(src))[1]

    class DecoderRNN(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(V, 32)
            self.gru = nn.GRU(32, H, batch_first=True)
            self.out = nn.Linear(H, V)

        def forward(self, inp, hidden):
            o, hidden = self.gru(self.embedding(inp), hidden)
            return self.out(o), hidden

    def make_pairs(n):
        src = torch.randint(0, 10, (n, L))
        return src, src.flip(1)

    encoder, decoder = EncoderRNN(), DecoderRNN()
    encoder_optimizer = torch.optim.Adam(encoder.parameters(), lr=0.005)
    decoder_optimizer = torch.optim.Adam(decoder.parameters(), lr=0.005)
    criterion = nn.CrossEntropyLoss()

    def train(input_tensor, target_tensor):
        encoder_optimizer.zero_grad()
        if not mistake:
            decoder_optimizer.zero_grad()
        hidden = encoder(input_tensor)
        dec_in = torch.cat([torch.full((len(input_tensor), 1), SOS), target_tensor[:, :-1]], 1)
        logits, _ = decoder(dec_in, hidden)
        loss = criterion(logits.reshape(-1, V), target_tensor.reshape(-1))
        loss.backward()
        encoder_optimizer.step()
        decoder_optimizer.step()
        return loss.item()

    print_loss = 0.0
    for it in range(1, 601):
        print_loss += train(*make_pairs(64))
        if it % 100 == 0:
            avg, print_loss = print_loss / 100, 0.0
    with torch.no_grad():
        src, tgt = make_pairs(200)
        hidden, tok, outs = encoder(src), torch.full((200, 1), SOS), []
        for _ in range(L):
            logits, hidden = decoder(tok, hidden)
            tok = logits.argmax(-1)
            outs.append(tok)
    print(f"loss {avg:.4f} token acc {(torch.cat(outs, 1) == tgt).float().mean().item():.3f}")


def ring_gan(mistake: bool) -> None:
    """The generator's optimizer is never stepped: the discriminator's is stepped in its place."""
    torch.manual_seed(5)
    nz = 8
    G = nn.Sequential(nn.Linear(nz, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    D = nn.Sequential(
        nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)
    )
    optG = torch.optim.Adam(G.parameters(), lr=1e-3, betas=(0.5, 0.999))
    optD = torch.optim.Adam(D.parameters(), lr=2e-3, betas=(0.5, 0.999))
    bce = nn.BCEWithLogitsLoss()
    B = 128
    ones, zeros = torch.ones(B, 1), torch.zeros(B, 1)

    def real_batch():
        a = torch.rand(B) * 2 * math.pi
        return torch.stack([a.cos(), a.sin()], 1) * 2 + 0.05 * torch.randn(B, 2)

    for it in range(1500):
        optD.zero_grad()
        fake = G(torch.randn(B, nz))
        errD = bce(D(real_batch()), ones) + bce(D(fake.detach()), zeros)
        errD.backward()
        optD.step()

        optG.zero_grad()
        errG = bce(D(fake), ones)
        errG.backward()
        if mistake:
            optD.step()
        else:
            optG.step()
        if it % 500 == 499:
            with torch.no_grad():
                r = G(torch.randn(1000, nz)).norm(dim=1)
            print(
                f"[{it}] Loss_D {errD.item():.3f} Loss_G {errG.item():.3f} |r-2| {(r - 2).abs().mean().item():.3f}"
            )


def box_and_class_heads(mistake: bool) -> None:
    """backward() is called on the class loss only, though the sum with the box loss is meant; the box head never learns."""
    torch.manual_seed(6)

    def make_shapes(n):
        imgs = 0.1 * torch.randn(n, 1, 16, 16)
        boxes, labels = torch.zeros(n, 4), torch.randint(0, 2, (n,))
        for i in range(n):
            w, h = torch.randint(4, 9, (2,)).tolist()
            x, y = torch.randint(0, 16 - w, (1,)).item(), torch.randint(0, 16 - h, (1,)).item()
            if labels[i] == 0:
                imgs[i, 0, y : y + h, x : x + w] += 1
            else:
                imgs[i, 0, y : y + h, x] += 1
                imgs[i, 0, y : y + h, x + w - 1] += 1
                imgs[i, 0, y, x : x + w] += 1
                imgs[i, 0, y + h - 1, x : x + w] += 1
            boxes[i] = torch.tensor([x, y, x + w, y + h]) / 16.0
        return imgs, labels, boxes

    class TinyDetector(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = nn.Sequential(
                nn.Conv2d(1, 16, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(16, 32, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Flatten(),
                nn.Linear(512, 64),
                nn.ReLU(),
            )
            self.cls_head = nn.Linear(64, 2)
            self.box_head = nn.Linear(64, 4)

        def forward(self, x):
            f = self.backbone(x)
            return self.cls_head(f), torch.sigmoid(self.box_head(f))

    imgs, labels, boxes = make_shapes(1400)
    loader = DataLoader(
        TensorDataset(imgs[:1200], labels[:1200], boxes[:1200]), batch_size=32, shuffle=True
    )
    model = TinyDetector()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(10):
        model.train()
        for x, y, b in loader:
            cls_logits, pred_boxes = model(x)
            loss_cls = F.cross_entropy(cls_logits, y)
            loss_box = F.smooth_l1_loss(pred_boxes, b, beta=0.1)
            losses = {"cls": loss_cls, "box": 5.0 * loss_box}
            loss = sum(losses.values())
            optimizer.zero_grad()
            if mistake:
                loss_cls.backward()
            else:
                loss.backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        c, b = model(imgs[1200:])
        acc = (c.argmax(1) == labels[1200:]).float().mean().item()
        mae = (b - boxes[1200:]).abs().mean().item()
    print(f"loss {loss.item():.3f} cls acc {acc:.3f} box mae {mae:.4f}")


def finetune_new_head(mistake: bool) -> None:
    """The classifier head is replaced after the optimizer was built, so the new head is never updated."""
    torch.manual_seed(7)
    xtr, ytr, xte, yte = digits(seed=7)

    class Net(nn.Module):
        def __init__(self, n_classes):
            super().__init__()
            self.features = nn.Sequential(
                nn.Conv2d(1, 16, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(16, 32, 3, padding=1),
                nn.ReLU(),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
            )
            self.fc = nn.Linear(32, n_classes)

        def forward(self, x):
            return self.fc(self.features(x))

    def run_epoch(model, x, y, optimizer):
        model.train()
        tot = 0.0
        for idx in torch.randperm(len(x)).split(32):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x[idx]), y[idx])
            loss.backward()
            optimizer.step()
            tot += loss.item() * len(idx)
        return tot / len(x)

    low, high = ytr < 5, ytr >= 5
    model = Net(5)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(6):
        run_epoch(model, xtr[low], ytr[low], optimizer)

    for p in model.features[0].parameters():
        p.requires_grad = False
    if mistake:
        optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-3)
        model.fc = nn.Linear(32, 5)
    else:
        model.fc = nn.Linear(32, 5)
        optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    for epoch in range(35):
        loss = run_epoch(model, xtr[high], ytr[high] - 5, optimizer)
    model.eval()
    with torch.no_grad():
        m = yte >= 5
        acc = (model(xte[m]).argmax(1) == yte[m] - 5).float().mean().item()
    print(f"finetune loss {loss:.4f} acc {acc:.4f}")


def blob_segmentation(mistake: bool) -> None:
    """A new Adam is created inside every training step, so its moment estimates are lost each time."""
    torch.manual_seed(8)

    def scenes(n):
        yy, xx = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
        c = torch.rand(n, 2, 1, 1) * 12 + 2
        r = torch.rand(n, 1, 1) * 3 + 2
        mask = (((xx - c[:, 0]) ** 2 + (yy - c[:, 1]) ** 2) < r**2).float()
        return (mask * 0.8 + 0.5 * torch.randn(n, 16, 16)).unsqueeze(1), mask.unsqueeze(1)

    class MiniUNet(nn.Module):
        def __init__(self, c=8):
            super().__init__()
            self.d1 = nn.Sequential(nn.Conv2d(1, c, 3, padding=1), nn.ReLU())
            self.d2 = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(c, 2 * c, 3, padding=1), nn.ReLU())
            self.up = nn.ConvTranspose2d(2 * c, c, 2, stride=2)
            self.out = nn.Sequential(nn.Conv2d(2 * c, c, 3, padding=1), nn.ReLU(), nn.Conv2d(c, 1, 1))

        def forward(self, x):
            a = self.d1(x)
            return self.out(torch.cat([a, self.up(self.d2(a))], 1))

    def dice(logits, mask):
        p = (logits > 0).float()
        return (2 * (p * mask).sum() / (p.sum() + mask.sum() + 1e-6)).item()

    def train_step(model, batch, optimizer=None):
        img, mask = batch
        if optimizer is None:
            optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(model(img), mask)
        loss.backward()
        optimizer.step()
        return loss.item()

    img, mask = scenes(700)
    loader = DataLoader(TensorDataset(img[:600], mask[:600]), batch_size=20, shuffle=True)
    model = MiniUNet()
    opt = None if mistake else torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(9):
        model.train()
        tr = [train_step(model, batch, opt) for batch in loader]
    model.eval()
    with torch.no_grad():
        print(f"bce {np.mean(tr):.4f} dice {dice(model(img[600:]), mask[600:]):.3f}")


def river_level_clip(mistake: bool) -> None:
    """clip_grad_norm_ is called before backward(), when there is no gradient yet, so nothing is ever clipped."""
    torch.manual_seed(9)
    rng = np.random.default_rng(9)
    n, T = 1600, 40
    rain = (
        (rng.random((n, T)) < 0.15)
        * rng.exponential(1.0, (n, T))
        * np.where(rng.random((n, T)) < 0.02, 12, 1)
    )
    level = np.zeros((n, T))
    for k in range(1, T):
        level[:, k] = 0.85 * level[:, k - 1] + rain[:, k]
    X = torch.tensor(rain, dtype=torch.float32).unsqueeze(-1)
    Y = torch.tensor(level, dtype=torch.float32).unsqueeze(-1)
    train_dl = DataLoader(TensorDataset(X[:1280], Y[:1280]), batch_size=32, shuffle=True)

    class RiverRNN(nn.Module):
        def __init__(self, hidden=32):
            super().__init__()
            self.rnn = nn.RNN(1, hidden, nonlinearity="relu", batch_first=True)
            nn.init.eye_(self.rnn.weight_hh_l0)
            with torch.no_grad():
                self.rnn.weight_hh_l0.mul_(0.9)
            self.out = nn.Linear(hidden, 1)

        def forward(self, x):
            return self.out(self.rnn(x)[0])

    model = RiverRNN()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    for epoch in range(10):
        model.train()
        total = 0.0
        for x, y in train_dl:
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
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
        print(
            f"train {total / len(train_dl):.4f} test {F.mse_loss(model(X[1280:]), Y[1280:]).item():.4f} var {Y.var().item():.2f}"
        )


FAULTS = [
    (
        digits_trainer_class,
        ("zero_grad", "accumulat", "not reset", "not cleared", "gradients of earlier", "pile"),
        "zero_grad missing",
    ),
    (
        lstm_power_forecast,
        ("zero_grad", "accumulat", "not reset", "not cleared", "gradients of earlier", "pile"),
        "zero_grad missing",
    ),
    (
        churn_embeddings,
        (
            "zero_grad",
            "between backward",
            "before the step",
            "cleared",
            "no gradient",
            "empty grad",
            "weights do not change",
            "never change",
        ),
        "zero_grad between backward and step",
    ),
    (
        seq2seq_two_optimizers,
        ("zero_grad", "accumulat", "not cleared", "not reset", "decoder", "gradients of earlier"),
        "zero_grad only on one optimizer",
    ),
    (
        ring_gan,
        ("generator", "never step", "not stepped", "optg", "twice", "two steps", "never updated"),
        "generator never stepped",
    ),
    (
        box_and_class_heads,
        ("box_head", "box head", "wrong loss", "no gradient", "part of the loss", "backward on"),
        "backward on the wrong loss",
    ),
    (
        finetune_new_head,
        (
            "not in the optimizer",
            "head",
            "fc",
            "stale",
            "replaced",
            "optimizer does not",
            "old parameters",
        ),
        "stale optimizer after re-creating parameters",
    ),
    (
        blob_segmentation,
        (
            "re-created",
            "recreated",
            "new optimizer",
            "optimizer state",
            "moment",
            "created each",
            "created every",
        ),
        "optimizer re-created each step",
    ),
    (
        river_level_clip,
        ("clip", "before backward", "no effect on the gradient"),
        "clipping before backward",
    ),
]
