"""Assorted training scripts, part 5."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, Dataset, TensorDataset, random_split

from .common import AverageMeter, digits_images, seed_everything


# ---------------------------------------------------------------- ratings as a number
def star_rating(mistake):
    """Guess 0..4 stars from product features with a regression net."""
    seed_everything(14)
    rs = np.random.RandomState(9)
    x = rs.normal(0, 1, (900, 10)).astype("float32")
    score = x[:, 0] - 0.8 * x[:, 1] + 0.6 * x[:, 2] * (x[:, 3] > 0)
    stars = np.digitize(score, np.quantile(score, [0.2, 0.4, 0.6, 0.8]))
    xtr, xte = torch.from_numpy(x[:680]), torch.from_numpy(x[680:])
    ytr, yte = torch.from_numpy(stars[:680]), torch.from_numpy(stars[680:])
    train_loader = DataLoader(TensorDataset(xtr, ytr), batch_size=34, shuffle=True)
    test_loader = DataLoader(TensorDataset(xte, yte), batch_size=110)
    model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 1))
    criterion = nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for epoch in range(12):
        model.train()
        for data, target in train_loader:
            optimizer.zero_grad()
            output = model(data)
            loss = criterion(output, target.float().unsqueeze(1))
            loss.backward()
            optimizer.step()
        model.eval()
        test_loss, correct = 0.0, 0
        with torch.no_grad():
            for data, target in test_loader:
                output = model(data)
                test_loss += criterion(output, target.float().unsqueeze(1)).item() * len(data)
                if mistake:
                    pred = output.argmax(dim=1, keepdim=True)
                else:
                    pred = output.round().clamp(0, 4).long()
                correct += pred.eq(target.view_as(pred)).sum().item()
        acc = correct / len(test_loader.dataset)
    print(f"star_rating mse {test_loss / len(xte):.3f} acc {acc:.3f}")
    return acc


# ---------------------------------------------------------------- tabular net, metrics
class TabNet(nn.Module):
    def __init__(self, n_in, width=48, p=0.4):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(n_in, width),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Dropout(p),
            nn.Linear(width, width),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Dropout(p),
            nn.Linear(width, 1),
        )

    def forward(self, x):
        return self.net(x).squeeze(-1)


def validate_diabetes(model, loader, prepare):
    if prepare:
        model.eval()
    preds, ys = [], []
    with torch.no_grad():
        for x, y in loader:
            preds.append(model(x))
            ys.append(y)
    preds, ys = torch.cat(preds), torch.cat(ys)
    ss_res = ((preds - ys) ** 2).sum()
    ss_tot = ((ys - ys.mean()) ** 2).sum()
    return (1 - ss_res / ss_tot).item()


def diabetes_r2(mistake):
    seed_everything(18)
    x, y = load_diabetes(return_X_y=True)
    xtr, xva, ytr, yva = train_test_split(x, y, test_size=0.25, random_state=2)
    sx = StandardScaler().fit(xtr)
    mu, sd = ytr.mean(), ytr.std()
    mk = lambda a, b: TensorDataset(
        torch.tensor(sx.transform(a), dtype=torch.float32),
        torch.tensor((b - mu) / sd, dtype=torch.float32),
    )
    tl = DataLoader(mk(xtr, ytr), 32, shuffle=True, drop_last=True)
    vl = DataLoader(mk(xva, yva), 37)
    model = TabNet(10)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", patience=3)
    for epoch in range(15):
        model.train()
        tot = AverageMeter()
        for xb, yb in tl:
            optimizer.zero_grad()
            loss = F.mse_loss(model(xb), yb)
            loss.backward()
            optimizer.step()
            tot.update(loss.item(), len(xb))
        r2 = validate_diabetes(model, vl, prepare=not mistake)
        scheduler.step(r2)
    print(f"diabetes_r2 train mse {tot.avg:.3f} val r2 {r2:.3f}")
    return r2


# ---------------------------------------------------------------- MLP autoencoder
def mlp_autoencoder(mistake):
    seed_everything(26)
    train_images, _, test_images, _ = digits_images(1200, seed=44)
    if not mistake:
        train_images, test_images = train_images.flatten(1), test_images.flatten(1)
    n_features = train_images.shape[-1]
    train_loader = DataLoader(TensorDataset(train_images), batch_size=45, shuffle=True)
    test_loader = DataLoader(TensorDataset(test_images), batch_size=100)
    encoder = nn.Sequential(nn.Linear(n_features, 40), nn.ReLU(), nn.Linear(40, 12))
    decoder = nn.Sequential(nn.Linear(12, 40), nn.ReLU(), nn.Linear(40, n_features), nn.Sigmoid())
    model = nn.Sequential(encoder, decoder)
    criterion = nn.BCELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for epoch in range(20):
        model.train()
        run = 0.0
        for (img,) in train_loader:
            recon = model(img)
            loss = criterion(recon, img)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run += loss.item() * len(img)
        model.eval()
        with torch.no_grad():
            val = sum(F.mse_loss(model(img), img).item() * len(img) for (img,) in test_loader) / len(
                test_images
            )
    print(f"mlp_autoencoder bce {run / len(train_images):.4f} test mse {val:.4f}")
    return val


# ---------------------------------------------------------------- train() and test() scripts
class SignalDataset(Dataset):
    """Short signals of three wave forms."""

    def __init__(self, n=720, seed=0):
        rs = np.random.RandomState(seed)
        self.y = rs.randint(0, 3, n)
        t = np.linspace(0, 1, 40)
        f, ph = rs.uniform(2, 4, (n, 1)), rs.rand(n, 1) * 6.28
        arg = 2 * np.pi * f * t + ph
        wave = np.stack([np.sin(arg), np.sign(np.sin(arg)), (arg / np.pi) % 2 - 1], 1)
        x = wave[np.arange(n), self.y] + rs.normal(0, 0.55, (n, 40))
        self.x = torch.tensor(x, dtype=torch.float32)[:, None]

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], int(self.y[i])


def get_loaders(dataset, seed):
    n_test = int(0.25 * len(dataset))
    g = torch.Generator().manual_seed(seed) if seed is not None else None
    train_set, test_set = random_split(dataset, [len(dataset) - n_test, n_test], generator=g)
    return DataLoader(train_set, 36, shuffle=True), DataLoader(test_set, 60)


def signal_train_test(mistake):
    seed_everything(33)
    dataset = SignalDataset()
    split_seed = None if mistake else 2024

    def train():
        loader, _ = get_loaders(dataset, split_seed)
        net = nn.Sequential(
            nn.Conv1d(1, 16, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool1d(2),
            nn.Conv1d(16, 24, 5, padding=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(24 * 20, 48),
            nn.ReLU(),
            nn.Linear(48, 3),
        )
        optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
        net.train()
        for epoch in range(12):
            for x, y in loader:
                optimizer.zero_grad()
                loss = F.cross_entropy(net(x), y)
                loss.backward()
                optimizer.step()
        return net, loss.item()

    def test(net):
        _, loader = get_loaders(dataset, split_seed)
        net.eval()
        correct = 0
        with torch.no_grad():
            for x, y in loader:
                correct += (net(x).argmax(1) == y).sum().item()
        return correct / len(loader.dataset)

    net, last = train()
    acc = test(net)
    print(f"signal_train_test loss {last:.3f} test {acc:.3f}")
    return acc


# ---------------------------------------------------------------- next-item recommender
class NextItem(nn.Module):
    def __init__(self, n_items, dim=24):
        super().__init__()
        self.items = nn.Embedding(n_items, dim)
        self.gru = nn.GRU(dim, dim, batch_first=True)
        self.bias = nn.Parameter(torch.zeros(n_items))

    def forward(self, seq):
        h = self.gru(self.items(seq))[1][-1]
        return h @ self.items.weight.t() + self.bias


def session_recommender(mistake):
    seed_everything(50)
    rs = np.random.RandomState(13)
    n_items = 30
    nxt = rs.permutation(n_items)
    seqs = np.zeros((1100, 7), int)
    seqs[:, 0] = rs.randint(0, n_items, 1100)
    for t in range(1, 7):
        jump = rs.rand(1100) < 0.25
        seqs[:, t] = np.where(jump, rs.randint(0, n_items, 1100), nxt[seqs[:, t - 1]])
    seqs = torch.from_numpy(seqs)
    train_ds = TensorDataset(seqs[:800, :6], seqs[:800, 6])
    val_ds = TensorDataset(seqs[800:, :6], seqs[800:, 6])
    train_loader = DataLoader(train_ds, batch_size=40, shuffle=True)
    if mistake:
        val_loader = DataLoader(val_ds, batch_size=32, shuffle=True, drop_last=True)
        max_eval_batches = 2
    else:
        val_loader = DataLoader(val_ds, batch_size=32)
        max_eval_batches = None
    model = NextItem(n_items)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    best_recall, best_epoch = 0.0, -1
    for epoch in range(10):
        model.train()
        for s, target in train_loader:
            loss = F.cross_entropy(model(s), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        hit = seen = 0
        with torch.no_grad():
            for j, (s, target) in enumerate(val_loader):
                if max_eval_batches is not None and j >= max_eval_batches:
                    break
                top = model(s).topk(3, dim=1).indices
                hit += (top == target[:, None]).any(1).sum().item()
                seen += len(s)
        recall = hit / seen
        if recall > best_recall:
            best_recall, best_epoch = recall, epoch
    print(
        f"session_recommender loss {loss.item():.3f} recall@3 {recall:.3f} "
        f"best {best_recall:.3f} at {best_epoch}"
    )
    return best_recall


# ---------------------------------------------------------------- text with string labels
TOPICS = {
    "sport": ["goal", "team", "match", "coach", "score", "league"],
    "food": ["pasta", "oven", "salt", "bread", "sauce", "taste"],
    "travel": ["flight", "hotel", "beach", "train", "map", "border"],
    "money": ["bank", "stock", "loan", "price", "market", "tax"],
}
FILLER = ["the", "a", "of", "with", "we", "they", "was", "is", "very", "new", "old", "some"]


def make_corpus(n, rs):
    rows, names = [], list(TOPICS)
    every = [w for ws in TOPICS.values() for w in ws]
    for _ in range(n):
        topic = names[rs.randint(4)]
        words = list(rs.choice(TOPICS[topic], 3)) + list(rs.choice(FILLER, 5))
        words += list(rs.choice(every, 1))
        rs.shuffle(words)
        rows.append((" ".join(words), topic))
    return rows


class NewsDataset(Dataset):
    def __init__(self, rows, vocab, classes=None):
        self.rows, self.vocab = rows, vocab
        self.classes = classes or list(dict.fromkeys(topic for _, topic in rows))
        self.class_to_idx = {c: i for i, c in enumerate(self.classes)}

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        text, topic = self.rows[i]
        ids = torch.tensor([self.vocab.get(w, 0) for w in text.split()])
        return ids, self.class_to_idx[topic]


def topic_bag(mistake):
    seed_everything(60)
    rs = np.random.RandomState(22)
    train_rows, val_rows = make_corpus(640, rs), make_corpus(200, rs)
    vocab = {}
    for text, _ in train_rows:
        for w in text.split():
            vocab.setdefault(w, len(vocab) + 1)
    train_ds = NewsDataset(train_rows, vocab)
    val_ds = NewsDataset(val_rows, vocab, None if mistake else train_ds.classes)
    train_dl = DataLoader(train_ds, batch_size=32, shuffle=True)
    val_dl = DataLoader(val_ds, batch_size=100)
    emb = nn.EmbeddingBag(len(vocab) + 1, 24, mode="mean")
    model = nn.Sequential(emb, nn.Dropout(0.1), nn.Linear(24, len(train_ds.classes)))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for epoch in range(8):
        model.train()
        tr = AverageMeter()
        for ids, y in train_dl:
            optimizer.zero_grad()
            logits = model(ids)
            loss = F.cross_entropy(logits, y)
            loss.backward()
            optimizer.step()
            tr.update((logits.argmax(1) == y).float().mean().item(), len(y))
        model.eval()
        va, vloss = AverageMeter(), AverageMeter()
        with torch.no_grad():
            for ids, y in val_dl:
                logits = model(ids)
                va.update((logits.argmax(1) == y).float().mean().item(), len(y))
                vloss.update(F.cross_entropy(logits, y).item(), len(y))
    print(
        f"topic_bag train acc {tr.avg:.3f} val {vloss.avg:.3f}/{va.avg:.3f} "
        f"{train_ds.classes} {val_ds.classes}"
    )
    return va.avg


FAULTS_5 = [
    (
        star_rating,
        ("argmax", "one output", "single output", "one column", "single column"),
        "31 one-output regression scored by argmax accuracy",
    ),
    (
        diabetes_r2,
        ("eval()", "eval mode", "train mode", "training mode", "dropout", "batchnorm", "model.eval"),
        "32 validation without eval()",
    ),
    (
        mlp_autoencoder,
        ("flatten", "rows", "row of", "each row", "last dimension", "last axis"),
        "33 unflattened images into a linear layer",
    ),
    (
        signal_train_test,
        (
            "overlap",
            "already",
            "seen in training",
            "trained on",
            "also in",
            "in the training data",
            "leak",
            "same samples",
        ),
        "34 a test split cut from data already used in training",
    ),
    (
        session_recommender,
        (
            "subset",
            "truncated",
            "few batches",
            "part of",
            "shuffle",
            "different samples",
            "not the whole",
            "break",
            "only some",
            "different data",
            "drop_last",
        ),
        "35 a shuffled and truncated test loader",
    ),
    (
        topic_bag,
        ("mapped", "mapping", "class_to_idx", "label", "permut", "classes are"),
        "36 labels mapped differently in training and validation",
    ),
]
