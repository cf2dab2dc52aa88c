import copy

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn import datasets
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset, TensorDataset

from .common import corpus, digit_split, seed_all


# ---------------------------------------------------------------- character GRU
class CharWindows(Dataset):
    def __init__(self, data, block, starts):
        self.data, self.block, self.starts = data, block, starts

    def __len__(self):
        return len(self.starts)

    def __getitem__(self, i):
        s = self.starts[i]
        return self.data[s : s + self.block], self.data[s + 1 : s + self.block + 1]


class CharGRU(nn.Module):
    def __init__(self, vocab, dim=96):
        super().__init__()
        self.emb = nn.Embedding(vocab, 32)
        self.rnn = nn.GRU(32, dim, batch_first=True)
        self.out = nn.Linear(dim, vocab)

    def forward(self, x):
        h, _ = self.rnn(self.emb(x))
        return self.out(h)


def char_gru_lm(mistake: bool) -> None:
    """If mistake, the loader's iterator is made anew at every step, so every step sees the first batch."""
    seed_all(0)
    text = corpus()
    chars = sorted(set(text))
    stoi = {c: i for i, c in enumerate(chars)}
    data = torch.tensor([stoi[c] for c in text])
    block = 40
    starts = np.random.permutation(np.arange(0, len(data) - block - 1, block)).tolist()
    loader = DataLoader(CharWindows(data, block, starts[60:]), batch_size=24, drop_last=True)
    valid = DataLoader(CharWindows(data, block, starts[:60]), batch_size=60)

    model = CharGRU(len(chars))
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    batches = iter(loader)

    def get_batch():
        nonlocal batches
        if mistake:
            return next(iter(loader))
        try:
            return next(batches)
        except StopIteration:
            batches = iter(loader)
            return next(batches)

    for step in range(300):
        x, y = get_batch()
        logits = model(x)
        loss = F.cross_entropy(logits.reshape(-1, len(chars)), y.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % 100 == 0:
            model.eval()
            with torch.no_grad():
                vl = np.mean(
                    [F.cross_entropy(model(a).flatten(0, 1), b.flatten()).item() for a, b in valid]
                )
            model.train()
            print(f"step {step + 1}: train {loss.item():.3f} valid {vl:.3f}")


# ---------------------------------------------------------------- sequences cut by a token budget
def make_review_sequences(n, rng):
    """Positive tokens 1-3, negative tokens 4-6, neutral 7-9; 'not' (10) turns the next token's sense around."""
    seqs, labels = [], []
    while len(seqs) < n:
        length = int(np.clip(rng.geometric(0.07) + 3, 4, 70))
        s = rng.integers(1, 11, length)
        sense = np.where(s <= 3, 1, np.where(s <= 6, -1, 0))
        sense[1:] = np.where(s[:-1] == 10, -sense[1:], sense[1:])
        if sense.sum() == 0:
            continue
        seqs.append(torch.tensor(s))
        labels.append(int(sense.sum() > 0))
    return seqs, labels


def token_batches(seqs, labels, max_tokens):
    order = sorted(range(len(seqs)), key=lambda i: len(seqs[i]))
    batch, out = [], []
    for i in order:
        if batch and (len(batch) + 1) * len(seqs[i]) > max_tokens:
            out.append(batch)
            batch = []
        batch.append(i)
    out.append(batch)
    return [
        (
            pad_sequence([seqs[i] for i in b], batch_first=True),
            torch.tensor([len(seqs[i]) for i in b]),
            torch.tensor([labels[i] for i in b]),
        )
        for b in out
    ]


class SeqClassifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(11, 16, padding_idx=0)
        self.rnn = nn.GRU(16, 48, batch_first=True)
        self.fc = nn.Linear(48, 2)

    def forward(self, x, lengths):
        h, _ = self.rnn(self.emb(x))
        last = h[torch.arange(len(x)), lengths - 1]
        return self.fc(last)


def token_budget_classifier(mistake: bool) -> None:
    """If mistake, accuracy is the mean of the batches' accuracies although the batches differ much in size."""
    seed_all(1)
    rng = np.random.default_rng(1)
    train = token_batches(*make_review_sequences(1800, rng), max_tokens=700)
    test = token_batches(*make_review_sequences(600, rng), max_tokens=700)
    model = SeqClassifier()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    criterion = nn.CrossEntropyLoss()

    def evaluate():
        model.eval()
        accs, correct, total = [], 0, 0
        with torch.no_grad():
            for x, lengths, y in test:
                hit = model(x, lengths).argmax(dim=1) == y
                accs.append(hit.float().mean().item())
                correct += hit.sum().item()
                total += len(y)
        return sum(accs) / len(accs) if mistake else correct / total

    for epoch in range(9):
        model.train()
        running, seen = 0.0, 0
        for b in np.random.permutation(len(train)):
            x, lengths, y = train[b]
            optimizer.zero_grad()
            loss = criterion(model(x, lengths), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 2.0)
            optimizer.step()
            running += loss.item() * len(y)
            seen += len(y)
        acc = evaluate()
        print(f"epoch {epoch}: loss {running / seen:.3f} test acc {acc:.3f}")


# ---------------------------------------------------------------- small vision transformer
class TinyViT(nn.Module):
    def __init__(self, dim=48, depth=2, normalize=False):
        super().__init__()
        self.normalize = normalize
        self.patch = nn.Conv2d(1, dim, kernel_size=2, stride=2)
        self.cls = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos = nn.Parameter(torch.randn(1, 17, dim) * 0.02)
        layer = nn.TransformerEncoderLayer(
            dim, 4, dim * 2, dropout=0.0, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, 10)

    def forward(self, x):
        t = self.patch(x).flatten(2).transpose(1, 2)
        t = torch.cat([self.cls.expand(len(x), -1, -1), t], dim=1) + self.pos
        out = self.head(self.norm(self.encoder(t)[:, 0]))
        if self.normalize:
            return F.softmax(out, dim=1)
        return out


def tiny_vit_digits(mistake: bool) -> None:
    """If mistake, the model ends in a softmax and its probabilities go into cross-entropy."""
    seed_all(2)
    xtr, ytr, xte, yte = digit_split(seed=2)
    loader = DataLoader(TensorDataset(xtr, ytr), batch_size=64, shuffle=True)
    model = TinyViT(normalize=mistake)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.5e-3, weight_decay=0.01)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(10):
        model.train()
        total = 0.0
        for images, labels in loader:
            optimizer.zero_grad()
            outputs = model(images)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(labels)
        model.eval()
        with torch.no_grad():
            acc = (model(xte).argmax(1) == yte).float().mean().item()
        print(f"Epoch {epoch + 1}: loss={total / len(xtr):.4f} acc={acc:.4f}")


# ---------------------------------------------------------------- segmentation with flips
def draw_scene(rng, size=32):
    yy, xx = np.mgrid[0:size, 0:size]
    img = rng.normal(0.35, 0.12, (size, size))
    mask = np.zeros((size, size))
    for _ in range(rng.integers(1, 3)):
        cy, cx = rng.uniform(6, size - 6, 2)
        a, b = rng.uniform(3, 7, 2)
        inside = ((yy - cy) / a) ** 2 + ((xx - cx) / b) ** 2 < 1
        img[inside] += 0.35
        mask[inside] = 1
    return img.astype("float32"), mask.astype("float32")


class CellDataset(Dataset):
    def __init__(self, n, seed, augment=False, joint=True):
        rng = np.random.default_rng(seed)
        scenes = [draw_scene(rng) for _ in range(n)]
        self.images = torch.tensor(np.stack([s[0] for s in scenes])).unsqueeze(1)
        self.masks = torch.tensor(np.stack([s[1] for s in scenes])).unsqueeze(1)
        self.augment, self.joint = augment, joint

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        image, mask = self.images[i], self.masks[i]
        if self.augment:
            dims = [d for d in (1, 2) if torch.rand(1).item() < 0.5]
            if dims:
                image = torch.flip(image, dims)
                if self.joint:
                    mask = torch.flip(mask, dims)
            image = image + 0.03 * torch.randn_like(image)
        return image, mask


def block(i, o):
    return nn.Sequential(
        nn.Conv2d(i, o, 3, padding=1),
        nn.BatchNorm2d(o),
        nn.ReLU(),
        nn.Conv2d(o, o, 3, padding=1),
        nn.BatchNorm2d(o),
        nn.ReLU(),
    )


class SmallUNet(nn.Module):
    def __init__(self, w=8):
        super().__init__()
        self.d1, self.d2, self.mid = block(1, w), block(w, 2 * w), block(2 * w, 4 * w)
        self.u2, self.u1 = block(6 * w, 2 * w), block(3 * w, w)
        self.out = nn.Conv2d(w, 1, 1)

    def forward(self, x):
        a = self.d1(x)
        b = self.d2(F.max_pool2d(a, 2))
        m = self.mid(F.max_pool2d(b, 2))
        b = self.u2(torch.cat([F.interpolate(m, scale_factor=2), b], 1))
        a = self.u1(torch.cat([F.interpolate(b, scale_factor=2), a], 1))
        return self.out(a)


def dice_loss(logits, target, eps=1.0):
    p = torch.sigmoid(logits)
    inter = (p * target).sum((1, 2, 3))
    return (1 - (2 * inter + eps) / (p.sum((1, 2, 3)) + target.sum((1, 2, 3)) + eps)).mean()


def unet_cells(mistake: bool) -> None:
    """If mistake, the random flips change the image but not its mask."""
    seed_all(3)
    train = DataLoader(CellDataset(320, 0, augment=True, joint=not mistake), batch_size=16, shuffle=True)
    valid = DataLoader(CellDataset(64, 1), batch_size=32)
    net = SmallUNet()
    opt = torch.optim.Adam(net.parameters(), lr=3e-3)
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=8)
    for epoch in range(8):
        net.train()
        losses = []
        for image, mask in train:
            logits = net(image)
            loss = F.binary_cross_entropy_with_logits(logits, mask) + dice_loss(logits, mask)
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
        sched.step()
        net.eval()
        inter = union = 0.0
        with torch.no_grad():
            for image, mask in valid:
                pred = net(image) > 0
                inter += (pred & (mask > 0)).sum().item()
                union += (pred | (mask > 0)).sum().item()
        print(f"epoch {epoch} loss {np.mean(losses):.3f} IoU {inter / union:.3f}")


# ---------------------------------------------------------------- tabular, split by a helper
def load_part(part, random_state):
    d = datasets.load_diabetes()
    y = (d.target > np.median(d.target)).astype("int64")
    x_train, x_test, y_train, y_test = train_test_split(
        d.data, y, test_size=0.3, random_state=random_state
    )
    scaler = StandardScaler().fit(x_train)
    x, y = (x_train, y_train) if part == "train" else (x_test, y_test)
    return torch.tensor(scaler.transform(x), dtype=torch.float32), torch.tensor(y)


def diabetes_mlp(mistake: bool) -> None:
    """If mistake, the test rows come from a second split with another seed, so most were trained on."""
    seed_all(4)
    x, y = load_part("train", random_state=0)
    model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    for epoch in range(24):
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(xb), yb)
            loss.backward()
            optimizer.step()
        if epoch % 8 == 7:
            print(f"epoch {epoch + 1} loss {loss.item():.3f}")
    x_test, y_test = load_part("test", random_state=42 if mistake else 0)
    model.eval()
    correct = 0
    with torch.no_grad():
        for xb, yb in DataLoader(TensorDataset(x_test, y_test), batch_size=32):
            correct += (model(xb).argmax(1) == yb).sum().item()
    print(f"test accuracy {correct / len(y_test):.3f}")


# ---------------------------------------------------------------- keep the best epoch
class SmallCNN(nn.Module):
    def __init__(self, n_out=10):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Linear(64 * 4, n_out)

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


def cnn_keep_best(mistake: bool) -> None:
    """If mistake, the best weights are kept as a reference to the live state dict, so the last ones are restored."""
    seed_all(5)
    xtr, ytr, xte, yte = digit_split(n_test=600, seed=5)
    xtr, ytr = xtr[:400], ytr[:400].clone()
    wrong = torch.rand(400) < 0.3
    ytr[wrong] = torch.randint(0, 10, (int(wrong.sum()),))
    xva, yva, xte, yte = xte[:300], yte[:300], xte[300:], yte[300:]
    loader = DataLoader(TensorDataset(xtr, ytr), batch_size=32, shuffle=True)
    model = SmallCNN()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    best_loss, best_state, best_epoch = float("inf"), None, -1
    for epoch in range(45):
        model.train()
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(xb), yb)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            val_loss = F.cross_entropy(model(xva), yva).item()
        if val_loss < best_loss:
            best_loss, best_epoch = val_loss, epoch
            if mistake:
                best_state = model.state_dict()
            else:
                best_state = copy.deepcopy(model.state_dict())
    model.load_state_dict(best_state)
    model.eval()
    with torch.no_grad():
        out = model(xte)
        print(
            f"best epoch {best_epoch} val {best_loss:.3f}; train {loss.item():.3f}; restored: test loss "
            f"{F.cross_entropy(out, yte).item():.3f} acc {(out.argmax(1) == yte).float().mean().item():.3f}"
        )


FAULTS = [
    (
        char_gru_lm,
        ("iter(", "iterator", "same batch", "first batch", "restart", "one batch", "repeat"),
        "iterator restarted each step",
    ),
    (
        token_budget_classifier,
        (
            "unequal",
            "batch size",
            "size of the batch",
            "weighted",
            "mean of means",
            "per batch",
            "averaged over batches",
            "average of batch",
            "per-batch",
            "different size",
        ),
        "metric averaged over batches of unequal size",
    ),
    (tiny_vit_digits, ("softmax", "probabilit", "logit"), "softmax before cross-entropy"),
    (
        unet_cells,
        ("augment", "flip", "mask", "not transformed"),
        "augmentation applied to inputs but not to their targets",
    ),
    (
        diabetes_mlp,
        ("leak", "overlap", "trained on", "seen in training", "split", "held-out", "also in train"),
        "a test split cut from data already used",
    ),
    (
        cnn_keep_best,
        ("reference", "deepcopy", "clone", "copy", "alias", "best weights", "best state", "state_dict"),
        "best weights kept by reference",
    ),
]
