"""Mistakes as they turn up in the issues of research repositories and in course forums."""

import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from .common import corpus, digit_images, digits, loader


def padding_mask_inverted(mistake: bool) -> None:
    """src_key_padding_mask is True at the real tokens, so attention ignores these and sees only the padding."""
    torch.manual_seed(0)
    PAD, V, T = 0, 12, 16
    g = torch.Generator().manual_seed(1)

    def make(n):
        tokens = torch.zeros(n, T, dtype=torch.long)
        lengths = torch.randint(6, T, (n,), generator=g)
        for k in range(n):
            tokens[k, : lengths[k]] = torch.randint(2, V, (int(lengths[k]),), generator=g)
        tokens[:, 0] = 1  # [CLS]
        label = ((tokens >= 2) & (tokens < 7)).sum(1) > (tokens >= 7).sum(1)
        return tokens, label.long()

    class Classifier(nn.Module):
        def __init__(self, d=32):
            super().__init__()
            self.emb = nn.Embedding(V, d, padding_idx=PAD)
            self.pos = nn.Parameter(torch.randn(1, T, d) * 0.02)
            layer = nn.TransformerEncoderLayer(d, 4, 64, dropout=0.0, batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.fc = nn.Linear(d, 2)

        def forward(self, tokens):
            if mistake:
                mask = tokens != PAD
            else:
                mask = tokens == PAD
            h = self.encoder(self.emb(tokens) + self.pos, src_key_padding_mask=mask)
            return self.fc(h[:, 0])

    (xtr, ytr), (xte, yte) = make(2000), make(400)
    model = Classifier()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for epoch in range(8):
        model.train()
        for tokens, labels in loader(xtr, ytr, batch_size=64):
            loss = F.cross_entropy(model(tokens), labels)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    model.eval()
    with torch.no_grad():
        acc = (model(xte).argmax(1) == yte).float().mean().item()
    print(f"loss {loss.item():.3f} test acc {acc:.3f}")


def char_gru_target_not_shifted(mistake: bool) -> None:
    """The targets of the character model are the inputs themselves, not the next characters."""
    torch.manual_seed(0)
    data, chars = corpus()
    split = int(0.9 * len(data))
    seq_len = 48

    def get_batch(part, batch_size=32):
        starts = torch.randint(len(part) - seq_len - 1, (batch_size,))
        x = torch.stack([part[i : i + seq_len] for i in starts])
        if mistake:
            y = torch.stack([part[i : i + seq_len] for i in starts])
        else:
            y = torch.stack([part[i + 1 : i + seq_len + 1] for i in starts])
        return x, y

    class CharGRU(nn.Module):
        def __init__(self, vocab, hidden=96):
            super().__init__()
            self.embed = nn.Embedding(vocab, 32)
            self.gru = nn.GRU(32, hidden, batch_first=True)
            self.out = nn.Linear(hidden, vocab)

        def forward(self, x, h=None):
            o, h = self.gru(self.embed(x), h)
            return self.out(o), h

    model = CharGRU(len(chars))
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    criterion = nn.CrossEntropyLoss()
    for it in range(220):
        x, y = get_batch(data[:split])
        logits, _ = model(x)
        loss = criterion(logits.reshape(-1, len(chars)), y.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
    with torch.no_grad():
        x = data[None, :1]
        h, text = None, ""
        for _ in range(40):
            logits, h = model(x, h)
            x = torch.multinomial(logits[:, -1].softmax(-1), 1)
            text += chars[x.item()]
    print(f"loss {loss.item():.3f} sample {text!r}")


def tiny_gpt_no_causal_mask(mistake: bool) -> None:
    """The self-attention of the language model has no causal mask: each position sees the character to be predicted."""
    torch.manual_seed(0)
    data, chars = corpus()
    V, T, D = len(chars), 32, 48
    split = int(0.9 * len(data))

    class SelfAttention(nn.Module):
        def __init__(self, d, heads=4):
            super().__init__()
            self.heads = heads
            self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
            self.register_buffer("tril", torch.tril(torch.ones(T, T)))

        def forward(self, x):
            b, t, d = x.shape
            q, k, v = (z.view(b, t, self.heads, -1).transpose(1, 2) for z in self.qkv(x).chunk(3, -1))
            att = q @ k.transpose(-2, -1) / math.sqrt(d // self.heads)
            if not mistake:
                att = att.masked_fill(self.tril[:t, :t] == 0, float("-inf"))
            y = F.softmax(att, dim=-1) @ v
            return self.proj(y.transpose(1, 2).reshape(b, t, d))

    class Block(nn.Module):
        def __init__(self, d):
            super().__init__()
            self.ln1, self.ln2, self.att = nn.LayerNorm(d), nn.LayerNorm(d), SelfAttention(d)
            self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))

        def forward(self, x):
            x = x + self.att(self.ln1(x))
            return x + self.mlp(self.ln2(x))

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.tok, self.pos = nn.Embedding(V, D), nn.Embedding(T, D)
            self.blocks = nn.Sequential(Block(D), Block(D))
            self.ln, self.head = nn.LayerNorm(D), nn.Linear(D, V)

        def forward(self, idx, targets=None):
            x = self.tok(idx) + self.pos(torch.arange(idx.shape[1]))
            logits = self.head(self.ln(self.blocks(x)))
            loss = None if targets is None else F.cross_entropy(logits.view(-1, V), targets.view(-1))
            return logits, loss

    def get_batch(part, n=24):
        ix = torch.randint(len(part) - T - 1, (n,))
        return (
            torch.stack([part[i : i + T] for i in ix]),
            torch.stack([part[i + 1 : i + T + 1] for i in ix]),
        )

    model = GPT()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    for it in range(300):
        xb, yb = get_batch(data[:split])
        _, loss = model(xb, yb)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        val = np.mean([model(*get_batch(data[split:]))[1].item() for _ in range(10)])
        last = np.mean(
            [
                F.cross_entropy(model(x)[0][:, -1], y[:, -1]).item()
                for x, y in (get_batch(data[split:]) for _ in range(10))
            ]
        )
    print(f"train {loss.item():.3f} val {val:.3f} loss at the last position {last:.3f}")


def distill_kl_without_log(mistake: bool) -> None:
    """F.kl_div gets softmax probabilities of the student where it expects log-probabilities."""
    torch.manual_seed(0)
    xtr, ytr, xte, yte = digit_images()
    teacher = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, 10),
    )
    opt_t = torch.optim.Adam(teacher.parameters(), lr=2e-3)
    for epoch in range(8):
        for xb, yb in loader(xtr, ytr):
            opt_t.zero_grad()
            F.cross_entropy(teacher(xb), yb).backward()
            opt_t.step()
    teacher.eval()

    def kd_loss(student_logits, teacher_logits, T=3.0):
        t = F.softmax(teacher_logits / T, dim=1)
        if mistake:
            s = F.softmax(student_logits / T, dim=1)
        else:
            s = F.log_softmax(student_logits / T, dim=1)
        return F.kl_div(s, t, reduction="batchmean") * T * T

    student = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    optimizer = torch.optim.Adam(student.parameters(), lr=3e-3)
    for epoch in range(15):
        student.train()
        for xb, _ in loader(xtr, ytr):
            with torch.no_grad():
                target = teacher(xb)
            loss = kd_loss(student(xb), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    student.eval()
    with torch.no_grad():
        out, ref = student(xte), teacher(xte)
        acc = (out.argmax(1) == yte).float().mean().item()
        gap = F.kl_div(F.log_softmax(out, 1), F.softmax(ref, 1), reduction="batchmean").item()
    print(
        f"loss {loss.item():.3f} test acc {acc:.3f} nll {F.cross_entropy(out, yte).item():.3f} kl to teacher {gap:.3f}"
    )


def gcn_loss_on_all_nodes(mistake: bool) -> None:
    """The loss is taken over all nodes, those of the test mask included, so the test accuracy is of trained nodes."""
    torch.manual_seed(0)
    rng = np.random.RandomState(0)
    n, k, d = 400, 4, 300
    labels = rng.randint(0, k, n)
    same = labels[:, None] == labels[None]
    adj = np.triu(rng.rand(n, n) < np.where(same, 0.04, 0.008), 1)
    adj = torch.tensor(adj | adj.T, dtype=torch.float32) + torch.eye(n)
    deg = adj.sum(1).pow(-0.5)
    a_hat = deg[:, None] * adj * deg[None]
    centres = (rng.rand(k, d) < 0.06) * 0.2
    x = torch.tensor(rng.rand(n, d) < 0.05 + centres[labels], dtype=torch.float32)
    y = torch.tensor(labels)
    perm = torch.randperm(n)
    train_mask = torch.zeros(n, dtype=torch.bool)
    train_mask[perm[:240]] = True
    test_mask = ~train_mask

    class GCN(nn.Module):
        def __init__(self, hidden=32):
            super().__init__()
            self.w1, self.w2 = nn.Linear(d, hidden), nn.Linear(hidden, k)

        def forward(self, x):
            h = F.relu(a_hat @ self.w1(x))
            h = F.dropout(h, 0.5, training=self.training)
            return a_hat @ self.w2(h)

    model = GCN()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
    for epoch in range(120):
        model.train()
        optimizer.zero_grad()
        out = model(x)
        if mistake:
            loss = F.cross_entropy(out, y)
        else:
            loss = F.cross_entropy(out[train_mask], y[train_mask])
        loss.backward()
        optimizer.step()
        if epoch % 10 == 9:
            model.eval()
            with torch.no_grad():
                pred = model(x).argmax(1)
                test_acc = (pred[test_mask] == y[test_mask]).float().mean().item()
    print(f"loss {loss.item():.3f} test acc {test_acc:.3f}")


def segmentation_flips_image_only(mistake: bool) -> None:
    """The random flip turns the image but not its mask."""
    torch.manual_seed(0)
    rng = np.random.RandomState(0)

    def make(n, s=24):
        yy, xx = np.mgrid[:s, :s]
        imgs, masks = [], []
        for _ in range(n):
            img, mask = rng.normal(0.3, 0.15, (s, s)), np.zeros((s, s), bool)
            for _ in range(rng.randint(1, 4)):
                cy, cx, r = rng.uniform(3, s - 3), rng.uniform(3, s - 3), rng.uniform(2, 4.5)
                mask |= (yy - cy) ** 2 + (xx - cx) ** 2 < r * r
            imgs.append(img + 0.35 * mask)
            masks.append(mask)
        return (
            torch.tensor(np.stack(imgs), dtype=torch.float32)[:, None],
            torch.tensor(np.stack(masks), dtype=torch.float32)[:, None],
        )

    class Cells(torch.utils.data.Dataset):
        def __init__(self, images, masks, augment):
            self.images, self.masks, self.augment = images, masks, augment

        def __len__(self):
            return len(self.images)

        def __getitem__(self, i):
            image, mask = self.images[i], self.masks[i]
            if self.augment and torch.rand(1).item() < 0.5:
                image = image.flip(-1)
                if not mistake:
                    mask = mask.flip(-1)
            return image, mask

    def conv(i, o):
        return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU())

    class UNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.d1, self.d2, self.mid = conv(1, 8), conv(8, 16), conv(16, 16)
            self.u1, self.u0 = conv(32, 8), conv(16, 8)
            self.out = nn.Conv2d(8, 1, 1)

        def forward(self, x):
            a = self.d1(x)
            b = self.d2(F.max_pool2d(a, 2))
            c = self.mid(F.max_pool2d(b, 2))
            c = self.u1(torch.cat([F.interpolate(c, scale_factor=2), b], 1))
            return self.out(self.u0(torch.cat([F.interpolate(c, scale_factor=2), a], 1)))

    train = torch.utils.data.DataLoader(Cells(*make(320), augment=True), batch_size=16, shuffle=True)
    xva, yva = make(80)
    model = UNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    criterion = nn.BCEWithLogitsLoss()
    for epoch in range(8):
        model.train()
        for images, masks in train:
            optimizer.zero_grad()
            loss = criterion(model(images), masks)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            pred = model(xva) > 0
            iou = ((pred & (yva > 0)).sum() / (pred | (yva > 0)).sum()).item()
    print(f"loss {loss.item():.3f} val iou {iou:.3f}")


def clip_before_unscale(mistake: bool) -> None:
    """Gradients are clipped while still multiplied by the scale of the GradScaler: scaler.unscale_ is missing."""
    torch.manual_seed(0)
    xtr, ytr, xte, yte = digit_images()
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**14)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(8):
        model.train()
        for xb, yb in loader(xtr, ytr, batch_size=64):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = criterion(model(xb), yb)
            scaler.scale(loss).backward()
            if not mistake:
                scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
            scaler.step(optimizer)
            scaler.update()
    model.eval()
    with torch.no_grad():
        acc = (model(xte).argmax(1) == yte).float().mean().item()
    print(f"loss {loss.item():.3f} test acc {acc:.3f}")


def accumulation_without_division(mistake: bool) -> None:
    """Gradients of eight micro-batches are summed, the loss is not divided by the number of them."""
    torch.manual_seed(0)
    rng = np.random.RandomState(0)
    n = 4000
    shop, day, item = rng.randint(0, 20, n), rng.randint(0, 7, n), rng.randint(0, 40, n)
    price = rng.gamma(2.0, 1.0, n)
    s_eff, d_eff, i_eff = rng.normal(0, 1, 20), rng.normal(0, 0.6, 7), rng.normal(0, 1, 40)
    sales = (
        s_eff[shop] + d_eff[day] + i_eff[item] - 0.7 * np.log1p(price) + 0.4 * s_eff[shop] * i_eff[item]
    )
    sales = sales + rng.normal(0, 0.2, n)
    cats = torch.tensor(np.stack([shop, day, item], 1))
    nums = torch.tensor(np.log1p(price), dtype=torch.float32).unsqueeze(1)
    y = torch.tensor((sales - sales.mean()) / sales.std(), dtype=torch.float32)

    class Tabular(nn.Module):
        def __init__(self):
            super().__init__()
            self.embs = nn.ModuleList(nn.Embedding(c, 8) for c in (20, 7, 40))
            self.net = nn.Sequential(
                nn.Linear(25, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1)
            )

        def forward(self, c, x):
            e = [emb(c[:, k]) for k, emb in enumerate(self.embs)]
            return self.net(torch.cat([*e, x], 1)).squeeze(1)

    model = Tabular()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    accumulation_steps = 8
    train = loader(cats[:3200], nums[:3200], y[:3200], batch_size=8)
    for epoch in range(6):
        optimizer.zero_grad()
        for i, (c, x, target) in enumerate(train):
            loss = F.smooth_l1_loss(model(c, x), target)
            if not mistake:
                loss = loss / accumulation_steps
            loss.backward()
            if (i + 1) % accumulation_steps == 0:
                optimizer.step()
                optimizer.zero_grad()
    with torch.no_grad():
        test = F.mse_loss(model(cats[3200:], nums[3200:]), y[3200:]).item()
    print(f"test mse {test:.3f}")


def scheduler_stepped_every_batch(mistake: bool) -> None:
    """StepLR is meant in epochs but scheduler.step() stands inside the batch loop, so the rate dies within an epoch."""
    torch.manual_seed(0)
    rng = np.random.RandomState(0)
    t = np.arange(1600)
    series = np.sin(t / 9) + 0.6 * np.sin(t / 31 + 1) + 0.3 * np.sin(t / 4) + 0.1 * rng.randn(len(t))
    series = torch.tensor(series / series.std(), dtype=torch.float32)
    window = 32
    x = series.unfold(0, window + 1, 1)
    xtr, ytr = x[:1200, :-1].unsqueeze(-1), x[:1200, -1:]
    xte, yte = x[1240:, :-1].unsqueeze(-1), x[1240:, -1:]

    class Forecaster(nn.Module):
        def __init__(self, hidden=24):
            super().__init__()
            self.gru = nn.GRU(1, hidden, batch_first=True)
            self.fc = nn.Linear(hidden, 1)

        def forward(self, x):
            _, h = self.gru(x)
            return self.fc(h[-1])

    model = Forecaster()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=4, gamma=0.5)
    for epoch in range(12):
        model.train()
        epoch_loss = 0.0
        for xb, yb in loader(xtr, ytr, batch_size=48):
            optimizer.zero_grad()
            loss = F.mse_loss(model(xb), yb)
            loss.backward()
            optimizer.step()
            if mistake:
                scheduler.step()
            epoch_loss += loss.item() * len(xb)
        if not mistake:
            scheduler.step()
    model.eval()
    with torch.no_grad():
        test = F.mse_loss(model(xte), yte).item()
    print(f"loss {epoch_loss / len(xtr):.3f} test mse {test:.3f} lr {scheduler.get_last_lr()[0]:.1e}")


def simsiam_without_stop_gradient(mistake: bool) -> None:
    """The target branch of SimSiam is not detached, so the representation collapses to one point."""
    torch.manual_seed(0)
    xtr, ytr, xte, yte = digits()

    def augment(x):
        img = x.view(-1, 8, 8)
        dy, dx = int(torch.randint(-1, 2, (1,))), int(torch.randint(-1, 2, (1,)))
        img = torch.roll(img, (dy, dx), (1, 2)).reshape(-1, 64)
        keep = (torch.rand_like(img) > 0.2).float()
        return img * keep + 0.1 * torch.randn_like(img)

    encoder = nn.Sequential(
        nn.Linear(64, 128),
        nn.BatchNorm1d(128),
        nn.ReLU(),
        nn.Linear(128, 64),
        nn.BatchNorm1d(64, affine=False),
    )
    predictor = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 64))
    optimizer = torch.optim.SGD(
        [*encoder.parameters(), *predictor.parameters()], lr=0.05, momentum=0.9, weight_decay=1e-4
    )

    def distance(p, z):
        if not mistake:
            z = z.detach()
        return -F.cosine_similarity(p, z, dim=-1).mean()

    for epoch in range(25):
        encoder.train(), predictor.train()
        for (x,) in loader(xtr, batch_size=128, drop_last=True):
            z1, z2 = encoder(augment(x)), encoder(augment(x))
            p1, p2 = predictor(z1), predictor(z2)
            loss = (distance(p1, z2) + distance(p2, z1)) / 2
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    encoder.eval()
    with torch.no_grad():
        a, b = F.normalize(encoder(xtr), dim=1), F.normalize(encoder(xte), dim=1)
        knn = ytr[(b @ a.T).topk(5).indices].mode(1).values
        sv = torch.linalg.svdvals(a - a.mean(0))
        rank = ((sv.sum() ** 2) / (sv**2).sum()).item()
    print(f"loss {loss.item():.3f} knn acc {(knn == yte).float().mean().item():.3f} rank {rank:.1f}")


FAULTS = [
    (
        padding_mask_inverted,
        ("mask", "padding", "inverted", "does not depend on", "ignores the input"),
        "attention mask inverted",
    ),
    (
        char_gru_target_not_shifted,
        (
            "shift",
            "next character",
            "next token",
            "target equals",
            "targets equal",
            "same as the input",
            "equal to the input",
            "copy",
            "copies",
            "identity",
            "is the input",
            "are the input",
        ),
        "targets not shifted",
    ),
    (
        tiny_gpt_no_causal_mask,
        ("causal", "future", "look ahead", "looks ahead", "leak", "later position", "later token"),
        "no causal mask",
    ),
    (
        distill_kl_without_log,
        ("kl_div", "kl div", "log-prob", "log_softmax", "logarithm", "negative", "probabilities"),
        "kl_div without log",
    ),
    (
        gcn_loss_on_all_nodes,
        (
            "test node",
            "leak",
            "test mask",
            "all nodes",
            "trained on the test",
            "held-out",
            "train_mask",
            "evaluation data",
            "test data",
        ),
        "test data in the loss",
    ),
    (
        segmentation_flips_image_only,
        ("flip", "augment", "mask", "misaligned", "do not match", "not aligned", "transformed"),
        "augmentation leaves the target",
    ),
    (
        clip_before_unscale,
        ("unscale", "scaled gradient", "scaler", "loss scale", "clip"),
        "clipping of scaled gradients",
    ),
    (
        accumulation_without_division,
        ("accumul", "divide", "division", "micro-batch", "summed", "effective learning rate"),
        "accumulated loss not divided",
    ),
    (
        scheduler_stepped_every_batch,
        ("scheduler", "every batch", "each batch", "per batch", "learning rate"),
        "scheduler stepped per batch",
    ),
    (
        simsiam_without_stop_gradient,
        ("collaps", "stop-grad", "stop grad", "detach", "constant representation", "target branch"),
        "stop-gradient missing",
    ),
]
