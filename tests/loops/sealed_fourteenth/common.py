import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn import datasets


def corpus():
    loaders = [
        datasets.load_iris,
        datasets.load_wine,
        datasets.load_breast_cancer,
        datasets.load_diabetes,
        datasets.load_digits,
        datasets.load_linnerud,
    ]
    return "\n".join(f().DESCR for f in loaders).lower()


def encode_corpus():
    text = corpus()
    chars = sorted(set(text))
    stoi = {c: i for i, c in enumerate(chars)}
    return torch.tensor([stoi[c] for c in text]), chars


def digits(n_train=1400, seed=0):
    d = datasets.load_digits()
    x = torch.tensor(d.images / 16.0, dtype=torch.float32)
    y = torch.tensor(d.target)
    p = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    x, y = x[p], y[p]
    return x[:n_train], y[:n_train], x[n_train:], y[n_train:]


def hourly_load(n=3000, seed=0):
    """Hourly electricity load and temperature, standardised: (n, 2)."""
    rng = np.random.default_rng(seed)
    t = np.arange(n)
    temp = 10 + 8 * np.sin(2 * np.pi * t / (24 * 90)) + 4 * np.sin(2 * np.pi * (t - 8) / 24)
    noise = np.zeros(n)
    for i in range(1, n):
        noise[i] = 0.9 * noise[i - 1] + rng.normal(0, 0.5)
    temp = temp + noise
    weekend = ((t // 24) % 7) >= 5
    load = 50 + 12 * np.sin(2 * np.pi * (t - 7) / 24) + 5 * np.sin(4 * np.pi * t / 24) - 6 * weekend
    load = load + 0.6 * np.abs(temp - 16) + rng.normal(0, 1.0, n)
    z = np.stack([load, temp], 1)
    return torch.tensor((z - z.mean(0)) / z.std(0), dtype=torch.float32)


def windows(series, length, horizon=1):
    n = len(series) - length - horizon + 1
    x = torch.stack([series[i : i + length] for i in range(n)])
    y = torch.stack([series[i + length : i + length + horizon, 0] for i in range(n)])
    return x, y


def waves(n, kinds=("sine", "square", "saw", "chirp"), scale=1.0, offset=0.0, length=64, seed=0):
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, length)
    xs, ys = [], []
    for _ in range(n):
        k = rng.integers(len(kinds))
        f, ph = rng.uniform(2, 5), rng.uniform(0, 2 * np.pi)
        a = 2 * np.pi * f * t + ph
        w = {
            "sine": np.sin(a),
            "square": np.sign(np.sin(a)),
            "saw": (a / np.pi) % 2 - 1,
            "chirp": np.sin(a * (1 + t)),
            "am": np.sin(a) * np.sin(2 * np.pi * t),
            "burst": np.sin(3 * a) * (np.sin(a) > 0.3),
            "tri": 2 / np.pi * np.arcsin(np.sin(a)),
        }[kinds[k]]
        xs.append(w + rng.normal(0, 0.25, length))
        ys.append(k)
    x = torch.tensor(np.array(xs), dtype=torch.float32)[:, None] * scale + offset
    return x, torch.tensor(ys)


def citation_graph(n=600, classes=5, words=100, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(classes, size=n)
    same = y[:, None] == y[None]
    a = rng.random((n, n)) < np.where(same, 0.03, 0.003)
    a = np.triu(a, 1)
    a = (a | a.T).astype(np.float32)
    topic = rng.random((classes, words)) * 0.06 + 0.12 * (rng.random((classes, words)) < 0.12)
    x = (rng.random((n, words)) < topic[y]).astype(np.float32)
    a = a + np.eye(n, dtype=np.float32)
    d = a.sum(1) ** -0.5
    a = a * d[:, None] * d[None]
    p = rng.permutation(n)
    return (
        torch.tensor(x),
        torch.tensor(a),
        torch.tensor(y),
        torch.tensor(p[:120]),
        torch.tensor(p[120:220]),
        torch.tensor(p[220:]),
    )


def ratings(users=300, items=200, n=12000, seed=0):
    g = torch.Generator().manual_seed(seed)
    p = torch.randn(users, 4, generator=g)
    q = torch.randn(items, 4, generator=g)
    bu, bi = 0.4 * torch.randn(users, generator=g), 0.5 * torch.randn(items, generator=g)
    u = torch.randint(users, (n,), generator=g)
    i = torch.randint(items, (n,), generator=g)
    r = 3.5 + bu[u] + bi[i] + 0.4 * (p[u] * q[i]).sum(1) + 0.2 * torch.randn(n, generator=g)
    return u, i, r.clamp(1, 5)


class CartPole:
    """n cart-poles side by side; a finished one is started again at once."""

    def __init__(self, n, seed=0):
        self.n, self.rng = n, np.random.default_rng(seed)
        self.s = self._fresh(n)
        self.age = np.zeros(n)

    def _fresh(self, k):
        return self.rng.uniform(-0.05, 0.05, (k, 4))

    def obs(self):
        return torch.tensor(self.s, dtype=torch.float32)

    def reset(self):
        self.s, self.age = self._fresh(self.n), np.zeros(self.n)
        return self.obs()

    def step(self, action):
        x, xd, th, thd = self.s.T
        force = np.where(np.asarray(action) == 1, 10.0, -10.0)
        c, s = np.cos(th), np.sin(th)
        tmp = (force + 0.05 * thd**2 * s) / 1.1
        tha = (9.8 * s - c * tmp) / (0.5 * (4 / 3 - 0.1 * c**2 / 1.1))
        xa = tmp - 0.05 * tha * c / 1.1
        self.s = np.stack([x + 0.02 * xd, xd + 0.02 * xa, th + 0.02 * thd, thd + 0.02 * tha], 1)
        self.age += 1
        fell = (np.abs(self.s[:, 0]) > 2.4) | (np.abs(self.s[:, 2]) > 0.2095)
        nxt = self.obs()
        over = fell | (self.age >= 200)
        if over.any():
            self.s[over] = self._fresh(int(over.sum()))
            self.age[over] = 0
        return nxt, torch.ones(self.n), torch.tensor(fell, dtype=torch.float32), torch.tensor(over)


class Block(nn.Module):
    def __init__(self, d, heads, dropout, causal=True):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.mlp = nn.Sequential(
            nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d), nn.Dropout(dropout)
        )
        self.heads, self.drop, self.causal = heads, nn.Dropout(dropout), causal

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = self.qkv(self.ln1(x)).view(B, T, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        x = x + self.drop(self.proj(a.transpose(1, 2).reshape(B, T, C)))
        return x + self.mlp(self.ln2(x))


class GPT(nn.Module):
    def __init__(self, vocab, block=32, d=32, layers=2, heads=4, dropout=0.0):
        super().__init__()
        self.block = block
        self.wte, self.wpe = nn.Embedding(vocab, d), nn.Embedding(block, d)
        self.h = nn.Sequential(*[Block(d, heads, dropout) for _ in range(layers)])
        self.ln_f, self.lm_head = nn.LayerNorm(d), nn.Linear(d, vocab, bias=False)

    def forward(self, idx, targets=None):
        x = self.wte(idx) + self.wpe(torch.arange(idx.shape[1]))
        logits = self.lm_head(self.ln_f(self.h(x)))
        if targets is None:
            return logits, None
        return logits, F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1))


class RowTransformer(nn.Module):
    """Classifies an 8x8 digit read as eight tokens, its rows."""

    def __init__(self, d=32, layers=2, dropout=0.0, classes=10):
        super().__init__()
        self.emb = nn.Linear(8, d)
        self.pos = nn.Parameter(0.02 * torch.randn(8, d))
        self.blocks = nn.Sequential(*[Block(d, 4, dropout, causal=False) for _ in range(layers)])
        self.head = nn.Linear(d, classes)

    def forward(self, x):
        return self.head(self.blocks(self.emb(x) + self.pos).mean(1))


class RowGRU(nn.Module):
    def __init__(self, hidden=48, classes=10):
        super().__init__()
        self.rnn = nn.GRU(8, hidden, batch_first=True)
        self.head = nn.Linear(hidden, classes)

    def forward(self, x):
        return self.head(self.rnn(x)[1][-1])


def accuracy(model, x, y):
    was = model.training
    model.eval()
    with torch.no_grad():
        a = (model(x).argmax(1) == y).float().mean().item()
    model.train(was)
    return a
