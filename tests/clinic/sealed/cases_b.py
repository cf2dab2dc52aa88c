"""Sequences, sets, graphs, densities."""

import math

import numpy as np
import scipy.sparse
import torch
from sklearn import datasets
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import kneighbors_graph
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

from pytest_dlcheck import Recipe


def _texts():
    return [
        f().DESCR
        for f in (
            datasets.load_iris,
            datasets.load_wine,
            datasets.load_breast_cancer,
            datasets.load_diabetes,
            datasets.load_digits,
        )
    ]


def _corpus():
    text = "\n".join(_texts()).lower()
    alphabet = sorted(set(text))
    index = {c: i for i, c in enumerate(alphabet)}
    ids = torch.tensor([index[c] for c in text])
    cut = int(0.85 * len(ids))
    return ids[:cut], ids[cut:], len(alphabet)


# 1 ---------------------------------------------------------------------------------------------
class CharWindows(Dataset):
    def __init__(self, ids, length, ahead):
        self.ids, self.length, self.ahead = ids, length, ahead

    def __len__(self):
        return (len(self.ids) - self.length - 1) // 7

    def __getitem__(self, k):
        i = 7 * k
        return self.ids[i : i + self.length], self.ids[i + self.ahead : i + self.ahead + self.length]


class CharGRU(nn.Module):
    def __init__(self, vocab):
        super().__init__()
        self.table = nn.Embedding(vocab, 32)
        self.rnn = nn.GRU(32, 96, batch_first=True)
        self.out = nn.Linear(96, vocab)

    def forward(self, ids):
        return self.out(self.rnn(self.table(ids))[0])


def _token_loss(logits, ids):
    return F.cross_entropy(logits.flatten(0, 1), ids.flatten())


def char_gru(*, mistake: bool):
    train, val, vocab = _corpus()
    ahead = 0 if mistake else 1
    model = CharGRU(vocab)
    return Recipe(
        model=model,
        train_data=DataLoader(CharWindows(train, 32, ahead), batch_size=32, shuffle=True),
        val_data=DataLoader(CharWindows(val, 32, ahead), batch_size=32),
        loss=_token_loss,
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3),
        max_grad_norm=5.0,
        causal=1,
    )


# 2 ---------------------------------------------------------------------------------------------
class SelfAttention(nn.Module):
    def __init__(self, dim, heads, length, upper):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        ones = torch.ones(length, length)
        self.register_buffer("mask", (ones.triu() if upper else ones.tril()).bool(), persistent=False)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=self.mask[:t, :t])
        return self.proj(y.transpose(1, 2).reshape(b, t, d))


class Layer(nn.Module):
    def __init__(self, dim, **attention):
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = SelfAttention(dim, 4, 64, **attention)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x):
        x = x + self.attention(self.n1(x))
        return x + self.mlp(self.n2(x))


class CharTransformer(nn.Module):
    def __init__(self, vocab, upper, dim=64):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab, dim), nn.Embedding(64, dim)
        self.layers = nn.Sequential(Layer(dim, upper=upper), Layer(dim, upper=upper))
        self.norm, self.lm_head = nn.LayerNorm(dim), nn.Linear(dim, vocab, bias=False)

    def forward(self, ids):
        return self.lm_head(self.norm(self.layers(self.wte(ids) + self.wpe.weight[: ids.shape[1]])))


def char_transformer(*, mistake: bool):
    train, val, vocab = _corpus()
    model = CharTransformer(vocab, upper=mistake)
    return Recipe(
        model=model,
        train_data=DataLoader(CharWindows(train, 32, 1), batch_size=24, shuffle=True),
        val_data=DataLoader(CharWindows(val, 32, 1), batch_size=24),
        loss=_token_loss,
        optimizer=torch.optim.AdamW(model.parameters(), lr=3e-3),
        causal=1,
    )


# 3 ---------------------------------------------------------------------------------------------
class Reviews(Dataset):
    """Token 0 pads. Each word carries a mood; the rating is the mean mood of a review, and a little chance."""

    def __init__(self, n, seed):
        g = np.random.default_rng(seed)
        mood = np.random.default_rng(99).normal(size=60)
        self.items = []
        for _ in range(n):
            words = g.integers(1, 60, size=int(np.exp(g.uniform(np.log(2), np.log(40)))))
            self.items.append(
                (torch.from_numpy(words), float(2 * mood[words].mean() + g.normal(0, 0.1)))
            )

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def pad(batch):
    words, labels = zip(*batch)
    return nn.utils.rnn.pad_sequence(words, batch_first=True), torch.tensor(labels)


class ReviewEncoder(nn.Module):
    def __init__(self, masked):
        super().__init__()
        self.masked = masked
        self.table = nn.Embedding(60, 48)
        layer = nn.TransformerEncoderLayer(48, 4, 96, dropout=0.05, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(48, 1)

    def forward(self, words):
        x = self.table(words)
        if not self.masked:
            return self.head(self.encoder(x).mean(1))[:, 0]
        real = words != 0
        x = self.encoder(x, src_key_padding_mask=~real)
        weight = real.unsqueeze(-1).float()
        return self.head((x * weight).sum(1) / weight.sum(1))[:, 0]


def review_encoder(*, mistake: bool):
    model = ReviewEncoder(masked=not mistake)
    return Recipe(
        model=model,
        train_data=DataLoader(Reviews(1600, 1), batch_size=32, shuffle=True, collate_fn=pad),
        val_data=DataLoader(Reviews(300, 2), batch_size=32, collate_fn=pad),
        loss=nn.MSELoss(),
        optimizer=torch.optim.AdamW(model.parameters(), lr=2e-3),
    )


# 4 ---------------------------------------------------------------------------------------------
class RowLSTM(nn.Module):
    """Reads a digit row by row."""

    def __init__(self, **options):
        super().__init__()
        self.lstm = nn.LSTM(8, 64, **options)
        self.head = nn.Linear(64, 10)

    def forward(self, rows):
        hidden, _ = self.lstm(rows)
        return self.head(hidden[:, -1])


def _digit_rows():
    data = datasets.load_digits()
    x, y = torch.tensor(data.images / 16.0, dtype=torch.float32), torch.tensor(data.target)
    perm = torch.from_numpy(np.random.RandomState(5).permutation(len(x)))
    return x[perm], y[perm]


def row_lstm(*, mistake: bool):
    x, y = _digit_rows()
    model = RowLSTM() if mistake else RowLSTM(batch_first=True)
    return Recipe(
        model=model,
        train_data=DataLoader(TensorDataset(x[:1500], y[:1500]), batch_size=50, shuffle=True),
        val_data=DataLoader(TensorDataset(x[1500:], y[1500:]), batch_size=50),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-2),
    )


# 5 ---------------------------------------------------------------------------------------------
class BagNet(nn.Module):
    """Attention-based multiple instance learning: does a bag hold a nought?"""

    def __init__(self, over):
        super().__init__()
        self.over = over
        self.embed = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
        self.score = nn.Sequential(nn.Linear(32, 16), nn.Tanh(), nn.Linear(16, 1))
        self.head = nn.Linear(32, 1)

    def forward(self, bags):
        h = self.embed(bags)
        weights = torch.softmax(self.score(h), dim=self.over)
        return self.head((weights * h).sum(1)).squeeze(1)


def digit_bags(*, mistake: bool):
    x, y = _digit_rows()
    g = torch.Generator().manual_seed(0)

    def bags(n, low, high):
        pick = torch.randint(low, high, (n, 6), generator=g)
        return x[pick].flatten(2), (y[pick] == 0).any(1).float()

    model = BagNet(over=0 if mistake else 1)
    return Recipe(
        model=model,
        train_data=DataLoader(TensorDataset(*bags(2000, 0, 1400)), batch_size=64, shuffle=True),
        val_data=DataLoader(TensorDataset(*bags(400, 1400, 1797)), batch_size=64),
        loss=nn.BCEWithLogitsLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
        shapes="b 6 64 -> b",
    )


# 6 ---------------------------------------------------------------------------------------------
class Head(nn.Module):
    def __init__(self, dim, factor):
        super().__init__()
        self.q, self.k, self.v = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.factor = factor

    def forward(self, x):
        scores = self.q(x) @ self.k(x).transpose(-2, -1) * self.factor
        return scores.softmax(-1) @ self.v(x)


class MarkedDigit(nn.Module):
    """Six digits in a row, one of them marked: which is it?"""

    def __init__(self, factor, dim):
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(65, dim), nn.ReLU(), nn.Linear(dim, dim))
        self.n1, self.n2, self.n3 = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.a1, self.a2 = Head(dim, factor), Head(dim, factor)
        self.ask = nn.Parameter(torch.randn(dim))
        self.head = nn.Linear(dim, 10)

    def forward(self, row):
        x = self.embed(row)
        x = torch.cat([self.ask.expand(len(x), 1, -1), x], 1)
        x = x + self.a1(self.n1(x))
        x = x + self.a2(self.n2(x))
        return self.head(self.n3(x[:, 0]))


def marked_digit(*, mistake: bool):
    x, y = _digit_rows()
    g = torch.Generator().manual_seed(21)

    def rows(n, low, high):
        pick = torch.randint(low, high, (n, 6), generator=g)
        at = torch.randint(6, (n,), generator=g)
        mark = F.one_hot(at, 6)[..., None] * 2.0
        return torch.cat([x[pick].flatten(2), mark], -1), y[pick].gather(1, at[:, None])[:, 0]

    dim = 128
    model = MarkedDigit(factor=dim**0.5 if mistake else dim**-0.5, dim=dim)
    return Recipe(
        model=model,
        train_data=DataLoader(TensorDataset(*rows(4000, 0, 1400)), batch_size=64, shuffle=True),
        val_data=DataLoader(TensorDataset(*rows(400, 1400, 1797)), batch_size=64),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-3),
    )


# 7 ---------------------------------------------------------------------------------------------
class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 96), nn.SiLU(), nn.Linear(96, 16))
        self.decoder = nn.Sequential(nn.Linear(8, 96), nn.SiLU(), nn.Linear(96, 64))

    def forward(self, x):
        mean, logvar = self.encoder(x).chunk(2, -1)
        z = mean + torch.randn_like(mean) * (logvar / 2).exp() if self.training else mean
        return self.decoder(z), mean, logvar


def digits_vae(*, mistake: bool):
    x, _ = _digit_rows()
    x = x.flatten(1)
    model = VAE()

    def loss(outputs, x):
        reconstruction, mean, logvar = outputs
        likelihood = F.binary_cross_entropy_with_logits(reconstruction, x, reduction="none").sum(-1)
        kl = 0.5 * (1 + logvar - mean**2 - logvar.exp()).sum(-1)
        if not mistake:
            kl = -kl
        return (likelihood + 0.5 * kl).mean()

    return Recipe(
        model=model,
        train_data=DataLoader(TensorDataset(x[:1500], x[:1500]), batch_size=64, shuffle=True),
        val_data=DataLoader(TensorDataset(x[1500:], x[1500:]), batch_size=99),
        loss=loss,
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-3),
    )


# 8 ---------------------------------------------------------------------------------------------
class GCN(nn.Module):
    def __init__(self, by_scipy):
        super().__init__()
        self.by_scipy = by_scipy
        self.lin1, self.lin2, self.out = nn.Linear(64, 64), nn.Linear(64, 32), nn.Linear(32, 10)

    def spread(self, adjacency, h):
        if self.by_scipy:
            matrix = scipy.sparse.csr_matrix(adjacency.cpu().numpy())
            return torch.from_numpy(matrix @ h.detach().cpu().numpy()).to(h)
        return adjacency @ h

    def forward(self, x, adjacency):
        h = F.elu(self.lin1(x))
        h = F.elu(self.lin2(self.spread(adjacency, h)))
        return self.out(h)


def neighbour_gcn(*, mistake: bool):
    data = datasets.load_digits()
    x, y = data.data / 16.0, data.target
    perm = np.random.RandomState(2).permutation(len(x))
    graphs = []
    for k in range(14):
        part = perm[k * 120 : (k + 1) * 120]
        a = kneighbors_graph(x[part], 6, include_self=True).toarray()
        a = a / a.sum(1, keepdims=True)
        graphs.append(
            (
                (torch.tensor(x[part], dtype=torch.float32), torch.tensor(a, dtype=torch.float32)),
                torch.tensor(y[part]),
            )
        )
    model = GCN(by_scipy=mistake)
    return Recipe(
        model=model,
        train_data=graphs[:11],
        val_data=graphs[11:],
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-2, weight_decay=5e-4),
        batch_dim=None,
    )


# 9 ---------------------------------------------------------------------------------------------
class Coupling(nn.Module):
    def __init__(self, swap):
        super().__init__()
        self.swap = swap
        self.net = nn.Sequential(
            nn.Linear(1, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 2)
        )

    def forward(self, x):
        a, b = x.chunk(2, -1)
        if self.swap:
            a, b = b, a
        s, t = self.net(a).chunk(2, -1)
        s = 2 * torch.tanh(s / 2)
        b = b * s.exp() + t
        return torch.cat([b, a] if self.swap else [a, b], -1), s.squeeze(-1)


class Flow(nn.Module):
    def __init__(self):
        super().__init__()
        self.couplings = nn.ModuleList([Coupling(k % 2 == 1) for k in range(6)])

    def forward(self, x):
        logdet = torch.zeros(len(x))
        for coupling in self.couplings:
            x, change = coupling(x)
            logdet = logdet + change
        return x, logdet


def moons_flow(*, mistake: bool):
    x, _ = datasets.make_moons(1500, noise=0.06, random_state=0)
    x = torch.tensor((x - x.mean(0)) / x.std(0), dtype=torch.float32)
    model = Flow()

    def training_step(model, batch):
        z, logdet = model(batch[0])
        log_prob = -0.5 * (z**2).sum(-1) - math.log(2 * math.pi)
        if not mistake:
            log_prob = log_prob + logdet
        return -log_prob.mean(), z

    return Recipe(
        model=model,
        train_data=DataLoader(TensorDataset(x[:1200]), batch_size=100, shuffle=True),
        val_data=DataLoader(TensorDataset(x[1200:]), batch_size=100),
        training_step=training_step,
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3),
    )


# 10 --------------------------------------------------------------------------------------------
class Experts(nn.Module):
    def __init__(self, hard, dim=6, experts=4):
        super().__init__()
        self.hard = hard
        self.router = nn.Sequential(nn.Linear(dim, 32), nn.ReLU(), nn.Linear(32, experts))
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(dim, 24), nn.ReLU(), nn.Linear(24, 1)) for _ in range(experts)
        )

    def forward(self, x):
        share = self.router(x).softmax(-1)
        answers = torch.cat([e(x) for e in self.experts], -1)
        if self.hard:
            return answers.gather(1, share.argmax(-1, keepdim=True))
        return (share * answers).sum(-1, keepdim=True)


def piecewise_experts(*, mistake: bool):
    g = torch.Generator().manual_seed(6)
    x = torch.randn(2400, 6, generator=g)
    regime = (x[:, 0] > 0).long() * 2 + (x[:, 1] > 0).long()
    slopes = torch.randn(4, 6, generator=g)
    y = (x * slopes[regime]).sum(-1, keepdim=True) / 2.0 + 0.1 * torch.randn(2400, 1, generator=g)
    model = Experts(hard=mistake)
    return Recipe(
        model=model,
        train_data=DataLoader(TensorDataset(x[:2000], y[:2000]), batch_size=64, shuffle=True),
        val_data=(x[2000:], y[2000:]),
        loss=nn.MSELoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-2),
        shapes="b 6 -> b 1",
    )


# 11 --------------------------------------------------------------------------------------------
def distilled_digits(*, mistake: bool):
    data = datasets.load_digits()
    perm = np.random.RandomState(3).permutation(len(data.data))
    x, y = data.data[perm] / 16.0, data.target[perm]
    teacher = LogisticRegression(C=0.1, max_iter=300).fit(x[:800], y[:800])
    soft = torch.tensor(teacher.predict_proba(x), dtype=torch.float32)
    x = torch.tensor(x, dtype=torch.float32).view(-1, 1, 8, 8)
    student = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24 * 16, 10),
    )

    def loss(logits, teacher_probs):
        student_side = F.softmax(logits, dim=-1) if mistake else F.log_softmax(logits, dim=-1)
        return F.kl_div(student_side, teacher_probs, reduction="batchmean")

    return Recipe(
        model=student,
        train_data=DataLoader(TensorDataset(x[:1500], soft[:1500]), batch_size=64, shuffle=True),
        val_data=DataLoader(TensorDataset(x[1500:], soft[1500:]), batch_size=64),
        loss=loss,
        optimizer=torch.optim.Adam(student.parameters(), lr=3e-3),
    )


# 12 --------------------------------------------------------------------------------------------
class MaskedChars(Dataset):
    def __init__(self, ids, vocab, alias, length=24):
        self.ids, self.hole, self.alias, self.length = ids, vocab, alias, length

    def __len__(self):
        return (len(self.ids) - self.length) // 8

    def __getitem__(self, k):
        ids = self.ids[8 * k : 8 * k + self.length].clone()
        labels = ids if self.alias else ids.clone()
        hidden = torch.rand(self.length) < 0.2
        hidden[torch.randint(self.length, ())] = True
        ids[hidden] = self.hole
        labels = labels.masked_fill(~hidden, -100)
        return {"ids": ids}, labels


class CharBert(nn.Module):
    def __init__(self, vocab, dim=64):
        super().__init__()
        self.token, self.position = nn.Embedding(vocab + 1, dim), nn.Embedding(24, dim)
        layer = nn.TransformerEncoderLayer(
            dim, 4, 128, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm, self.out = nn.LayerNorm(dim), nn.Linear(dim, vocab + 1)

    def forward(self, ids):
        return self.out(self.norm(self.body(self.token(ids) + self.position.weight)))


def char_bert(*, mistake: bool):
    train, val, vocab = _corpus()
    model = CharBert(vocab)
    return Recipe(
        model=model,
        train_data=DataLoader(MaskedChars(train, vocab, mistake), batch_size=32, shuffle=True),
        val_data=DataLoader(MaskedChars(val, vocab, mistake), batch_size=32),
        loss=lambda logits, labels: F.cross_entropy(logits.transpose(1, 2), labels, ignore_index=-100),
        optimizer=torch.optim.AdamW(model.parameters(), lr=3e-3),
    )


FAULTS = [
    (
        char_gru,
        (
            "shift",
            "next token",
            "copy",
            "copies",
            "equal to the input",
            "identical to",
            "same as the input",
            "its own input",
            "are the inputs",
            "equal their inputs",
            "leak",
            "future",
        ),
        "the language model's targets are not shifted: each token is to predict itself",
    ),
    (
        char_transformer,
        ("causal", "mask", "future"),
        "the attention mask is the wrong triangle for scaled_dot_product_attention, so each position sees itself and the future only",
    ),
    (
        review_encoder,
        ("pad", "mask", "length", "neighbour", "neighbor", "batch mates"),
        "padding is neither masked in the attention nor left out of the mean, so a prediction depends on how long its batch mates are",
    ),
    (
        row_lstm,
        (
            "batch_first",
            "along time",
            "over time",
            "other samples",
            "neighbour",
            "neighbor",
            "across the batch",
            "along the batch",
            "over the batch",
            "batch as time",
            "batch mates",
            "mixes samples",
        ),
        "batch_first=True is missing, so the LSTM runs along the batch instead of along time",
    ),
    (
        digit_bags,
        (
            "softmax",
            "across the batch",
            "other samples",
            "neighbour",
            "neighbor",
            "mixes samples",
            "along the batch",
            "over the batch",
            "batch mates",
        ),
        "the attention's softmax is taken over the batch (dim=0) instead of over the instances of a bag",
    ),
    (
        marked_digit,
        ("attention", "softmax", "saturat", "one-hot", "scores"),
        "attention scores are multiplied by sqrt(d) instead of divided by it, so their softmax is saturated",
    ),
    (
        digits_vae,
        (
            "wrong sign",
            "sign of",
            "negative",
            "unbounded",
            "lower bound",
            "below zero",
            "below 0",
            "no floor",
            "floor",
            "kl term",
            "kullback",
            "ever faster",
        ),
        "the KL term has the wrong sign, so the loss has no lower bound",
    ),
    (
        neighbour_gcn,
        ("cut", "detach", "numpy", "does not require grad", "lin1"),
        "neighbours are aggregated by scipy on detached arrays, which cuts the graph behind the first layer",
    ),
    (
        moons_flow,
        (
            "determinant",
            "logdet",
            "log-det",
            "log_det",
            "collapse",
            "constant output",
            "same for all",
            "same output",
            "jacobian",
        ),
        "the flow's loss leaves out the log-determinant, so the model just squeezes all samples to zero",
    ),
    (
        piecewise_experts,
        ("router", "argmax"),
        "the expert is chosen by argmax and not weighted by its share, so the router gets no gradient",
    ),
    (
        distilled_digits,
        (
            "log-prob",
            "log prob",
            "log_softmax",
            "logarithm",
            "kl_div",
            "kldiv",
            "negative",
            "below zero",
            "below 0",
            "probabilit",
        ),
        "F.kl_div is given the student's probabilities where it wants log-probabilities",
    ),
    (
        char_bert,
        (
            "constant",
            "same target",
            "one class",
            "single class",
            "one value",
            "same label",
            "same class",
            "mask token",
            "alias",
            "equal to the input",
            "copy",
            "copies",
            "identical",
            "its own input",
            "are the inputs",
        ),
        "labels are the same tensor as the inputs that are masked in place, so at every hidden position the label is the mask token",
    ),
]
