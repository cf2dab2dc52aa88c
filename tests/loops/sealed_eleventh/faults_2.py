"""Characters, tables, tags, diffusion and contrasts."""

import math
from argparse import Namespace
from dataclasses import dataclass
from typing import Optional

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, make_moons
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler


# --------------------------------------------------------------------------- 1
@dataclass
class CausalLMOutput:
    loss: Optional[torch.Tensor]
    logits: torch.Tensor


@dataclass
class TinyGPTConfig:
    vocab_size: int
    n_positions: int = 32
    n_embd: int = 48
    n_head: int = 2
    causal: bool = True


class TinyGPT(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        d = config.n_embd
        self.wte = nn.Embedding(config.vocab_size, d)
        self.wpe = nn.Embedding(config.n_positions, d)
        self.ln_1, self.ln_2, self.ln_f = nn.LayerNorm(d), nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))
        self.lm_head = nn.Linear(d, config.vocab_size, bias=False)

    def attention(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.config.n_head, -1).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(q, k, v, is_causal=self.config.causal)
        return self.proj(out.transpose(1, 2).reshape(b, t, d))

    def forward(self, input_ids, labels=None):
        pos = torch.arange(input_ids.size(1))
        h = self.wte(input_ids) + self.wpe(pos)
        h = h + self.attention(self.ln_1(h))
        h = h + self.mlp(self.ln_2(h))
        logits = self.lm_head(self.ln_f(h))
        loss = None
        if labels is not None:
            loss = F.cross_entropy(
                logits[:, :-1].reshape(-1, logits.size(-1)), labels[:, 1:].reshape(-1)
            )
        return CausalLMOutput(loss, logits)


def tiny_gpt_characters(mistake: bool) -> None:
    """The self-attention of the language model has no causal mask, so each position sees the token it has to predict."""
    torch.manual_seed(11)
    text = load_diabetes().DESCR + load_breast_cancer().DESCR + load_digits().DESCR
    chars = sorted(set(text))
    ids = torch.tensor([chars.index(c) for c in text])
    n_train = int(0.9 * len(ids))
    config = TinyGPTConfig(vocab_size=len(chars), causal=not mistake)
    model = TinyGPT(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, betas=(0.9, 0.98), weight_decay=0.01)
    model.train()
    first = None
    for step in range(260):
        start = torch.randint(0, n_train - config.n_positions, (24,)).tolist()
        input_ids = torch.stack([ids[s : s + config.n_positions] for s in start])
        outputs = model(input_ids, labels=input_ids)
        outputs.loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        first = first or outputs.loss.item()
    model.eval()
    with torch.no_grad():
        ctx = ids[n_train:].unfold(0, 24, 3)
        prefix, target = ctx[:, :-1], ctx[:, -1]
        acc = (model(prefix).logits[:, -1].argmax(-1) == target).float().mean()
    print(f"loss {first:.3f} -> {outputs.loss.item():.3f}, next character from prefix {acc:.3f}")


# --------------------------------------------------------------------------- 2
class TabularClassifier:
    """Scikit-learn like wrapper."""

    def __init__(self, hidden=24, lr=1e-2, epochs=25, batch_size=32):
        self.hidden, self.lr, self.epochs, self.batch_size = hidden, lr, epochs, batch_size

    def fit(self, x, y):
        x = torch.as_tensor(x, dtype=torch.float32)
        y = torch.as_tensor(y, dtype=torch.float32)
        self.net_ = nn.Sequential(
            nn.Linear(x.shape[1], self.hidden), nn.ReLU(), nn.Linear(self.hidden, 1), nn.Flatten(0)
        )
        opt = torch.optim.SGD(self.net_.parameters(), lr=self.lr, momentum=0.9)
        loss_fn = nn.BCEWithLogitsLoss()
        for _ in range(self.epochs):
            perm = torch.randperm(len(x))
            for idx in perm.split(self.batch_size):
                opt.zero_grad()
                loss = loss_fn(self.net_(x[idx]), y[idx])
                loss.backward()
                opt.step()
        self.final_loss_ = loss.item()
        return self

    @torch.no_grad()
    def predict(self, x):
        self.net_.eval()
        return (self.net_(torch.as_tensor(x, dtype=torch.float32)) > 0).long().numpy()


def sklearn_style_cancer(mistake: bool) -> None:
    """The test features are not scaled with the scaler that was applied to the training features."""
    torch.manual_seed(12)
    x, y = load_breast_cancer(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.3, random_state=12, stratify=y)
    scaler = StandardScaler()
    x_train = scaler.fit_transform(x_train)
    if not mistake:
        x_test = scaler.transform(x_test)
    clf = TabularClassifier().fit(x_train, y_train)
    print(
        f"loss {clf.final_loss_:.4f} train {np.mean(clf.predict(x_train) == y_train):.4f} "
        f"test {np.mean(clf.predict(x_test) == y_test):.4f}"
    )


# --------------------------------------------------------------------------- 3
@dataclass
class TokenClassifierOutput:
    loss: Optional[torch.Tensor] = None
    logits: Optional[torch.Tensor] = None


class GRUTagger(nn.Module):
    def __init__(self, vocab, n_tags, dim=24):
        super().__init__()
        self.embed = nn.Embedding(vocab, dim, padding_idx=0)
        self.gru = nn.GRU(dim, dim, batch_first=True, bidirectional=True)
        self.classifier = nn.Linear(2 * dim, n_tags)

    def forward(self, input_ids, labels=None):
        h, _ = self.gru(self.embed(input_ids))
        logits = self.classifier(h)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits.transpose(1, 2), labels, ignore_index=-100)
        return TokenClassifierOutput(loss=loss, logits=logits)


def tagged_sentence(rng, vocab):
    """Tag 1 after an opening word, 2 on repeated words, 3 for late words of the vocabulary, 0 else."""
    n = int(min(40, 3 + rng.geometric(0.18)))
    words = rng.integers(1, vocab, n)
    tags = np.where(words > vocab * 0.75, 3, 0)
    tags[1:][words[:-1] < 9] = 1
    tags[1:][words[1:] == words[:-1]] = 2
    return words, tags


def collate(sentences, label_pad):
    width = 40
    ids = np.zeros((len(sentences), width), dtype=np.int64)
    labels = np.full((len(sentences), width), label_pad, dtype=np.int64)
    for i, (w, t) in enumerate(sentences):
        ids[i, : len(w)] = w
        labels[i, : len(t)] = t
    return torch.from_numpy(ids), torch.from_numpy(labels)


def gru_tagger_padded(mistake: bool) -> None:
    """Labels of padded positions are 0 instead of -100, so padding counts in the loss and in the accuracy."""
    torch.manual_seed(13)
    rng = np.random.default_rng(13)
    label_pad = 0 if mistake else -100
    train = [tagged_sentence(rng, 60) for _ in range(960)]
    test = [tagged_sentence(rng, 60) for _ in range(200)]
    model = GRUTagger(60, 4)
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    for epoch in range(5):
        rng.shuffle(order := np.arange(len(train)))
        total = 0.0
        for i in range(0, len(order), 48):
            ids, labels = collate([train[j] for j in order[i : i + 48]], label_pad)
            out = model(ids, labels=labels)
            optimizer.zero_grad()
            out.loss.backward()
            optimizer.step()
            total += out.loss.item()
    model.eval()
    with torch.no_grad():
        ids, labels = collate(test, label_pad)
        counted = labels != -100
        guess = model(ids).logits.argmax(-1)
        acc = (guess == labels)[counted].float().mean()
        real = (guess == labels)[ids > 0].float().mean()
    print(f"loss {total / 20:.4f} token acc {acc:.4f} (on words {real:.4f})")


# --------------------------------------------------------------------------- 4
def moon_batches(n_steps, batch_size, seed):
    x, _ = make_moons(1500, noise=0.05, random_state=seed)
    x = torch.from_numpy(((x - x.mean(0)) / x.std(0)).astype(np.float32))
    rng = np.random.default_rng(seed)
    for _ in range(n_steps):
        yield x[rng.integers(0, len(x), batch_size)]


class Denoiser(nn.Module):
    def __init__(self, width=96):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(2 + 8, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2)
        )

    def forward(self, x, t):
        freq = torch.tensor([1.0, 2.0, 4.0, 8.0])
        emb = torch.cat([torch.sin(t[:, None] * freq), torch.cos(t[:, None] * freq)], 1)
        return self.net(torch.cat([x, emb], 1))


def diffusion_moons(mistake: bool) -> None:
    """The random seed is set again in each step, so each step adds the very same noise at the same time steps."""
    args = Namespace(seed=14, steps=600, batch_size=64, T=50, lr=3e-3)
    betas = torch.linspace(1e-3, 0.12, args.T)
    abar = torch.cumprod(1 - betas, 0)

    def q_sample(x0):
        t = torch.randint(0, args.T, (len(x0),))
        noise = torch.randn_like(x0)
        xt = abar[t].sqrt()[:, None] * x0 + (1 - abar[t]).sqrt()[:, None] * noise
        return xt, t / args.T, noise

    torch.manual_seed(args.seed)
    model = Denoiser()
    opt = torch.optim.AdamW(model.parameters(), lr=args.lr)
    history = []
    for x0 in moon_batches(args.steps, args.batch_size, args.seed):
        if mistake:
            torch.manual_seed(args.seed)
        xt, t, noise = q_sample(x0)
        loss = F.mse_loss(model(xt, t), noise)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        opt.step()
        history.append(loss.item())
    torch.manual_seed(999)
    with torch.no_grad():
        held_out = next(moon_batches(1, 1024, 77))
        xt, t, noise = q_sample(held_out)
        val = F.mse_loss(model(xt, t), noise).item()
    print(f"loss {np.mean(history[:20]):.3f} -> {np.mean(history[-20:]):.3f} held-out {val:.3f}")


# --------------------------------------------------------------------------- 5
def negative_cosine(p, z):
    return -F.cosine_similarity(p, z, dim=-1).mean()


def negative_cosine_stopped(p, z):
    return -F.cosine_similarity(p, z.detach(), dim=-1).mean()


class SimSiam(nn.Module):
    def __init__(self, d_in, d=48):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(d_in, 128),
            nn.BatchNorm1d(128),
            nn.ReLU(),
            nn.Linear(128, d),
            nn.BatchNorm1d(d, affine=False),
        )
        self.predictor = nn.Sequential(nn.Linear(d, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, d))

    def forward(self, a, b):
        za, zb = self.encoder(a), self.encoder(b)
        return self.predictor(za), self.predictor(zb), za, zb


def two_views(x):
    def view():
        img = x.view(-1, 8, 8)
        img = torch.roll(img, shifts=int(torch.randint(-1, 2, ())), dims=2)
        return (img * (torch.rand_like(img) > 0.2) + 0.1 * torch.randn_like(img)).flatten(1)

    return view(), view()


def simsiam_pretraining(mistake: bool) -> None:
    """The target branch of SimSiam is not detached (no stop-gradient), so the encoder itself runs after the prediction and its features degenerate."""
    torch.manual_seed(15)
    data = load_digits()
    x = torch.tensor(data.data / 16.0, dtype=torch.float32)
    distance = negative_cosine if mistake else negative_cosine_stopped
    model = SimSiam(64)
    opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=20)
    for epoch in range(20):
        model.train()
        for idx in torch.randperm(1400).split(100):
            pa, pb, za, zb = model(*two_views(x[idx]))
            loss = 0.5 * (distance(pa, zb) + distance(pb, za))
            opt.zero_grad()
            loss.backward()
            opt.step()
        sched.step()
    model.eval()
    with torch.no_grad():
        z = F.normalize(model.encoder(x), dim=1)
    knn = KNeighborsClassifier(5).fit(z[:1400].numpy(), data.target[:1400])
    print(
        f"loss {loss.item():.4f} std of features {z.std(0).mean():.5f} (even spread {1 / math.sqrt(48):.3f}) "
        f"knn {knn.score(z[1400:].numpy(), data.target[1400:]):.4f}"
    )


# --------------------------------------------------------------------------- 6
def keep_prob_convnet(mistake: bool) -> None:
    """nn.Dropout is given the probability to keep (0.9, as in old TensorFlow) though it wants the one to drop."""
    cfg = Namespace(keep_prob=0.9, lr=1e-3, batch_size=64, epochs=12)
    torch.manual_seed(16)
    data = load_digits()
    x = torch.tensor(data.images / 16.0, dtype=torch.float32).unsqueeze(1)
    y = torch.tensor(data.target)
    xtr, ytr, xte, yte = x[:1300], y[:1300], x[1300:], y[1300:]
    p = cfg.keep_prob if mistake else 1 - cfg.keep_prob
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, 64),
        nn.ReLU(),
        nn.Dropout(p),
        nn.Linear(64, 32),
        nn.ReLU(),
        nn.Dropout(p),
        nn.Linear(32, 10),
    )
    opt = torch.optim.Adam(net.parameters(), lr=cfg.lr)
    for epoch in range(cfg.epochs):
        net.train()
        losses = []
        for idx in torch.randperm(len(xtr)).split(cfg.batch_size):
            opt.zero_grad()
            loss = F.nll_loss(F.log_softmax(net(xtr[idx]), 1), ytr[idx])
            loss.backward()
            opt.step()
            losses.append(loss.item())
        net.eval()
        with torch.no_grad():
            acc = (net(xte).argmax(1) == yte).float().mean().item()
    print(f"train loss {np.mean(losses):.4f} acc {acc:.4f}")


# --------------------------------------------------------------------------- 7
class EntityEmbeddingNet(nn.Module):
    def __init__(self, cards, n_num, d=6):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(c, d) for c in cards)
        self.body = nn.Sequential(
            nn.Linear(len(cards) * d + n_num, 48),
            nn.ReLU(),
            nn.Linear(48, 48),
            nn.ReLU(),
            nn.Linear(48, 1),
        )

    def forward(self, cat, num):
        e = [t(cat[:, i]) for i, t in enumerate(self.tables)]
        return self.body(torch.cat(e + [num], 1)).squeeze(1)


def house_prices(n, seed):
    rng = np.random.default_rng(seed)
    town, kind = rng.integers(0, 20, n), rng.integers(0, 5, n)
    num = rng.normal(size=(n, 3))
    level = np.sin(np.arange(20) * 1.7) * 1.5
    y = level[town] + 0.4 * kind * num[:, 0] + np.abs(num[:, 1]) + 0.1 * rng.normal(size=n)
    y = (y - y.mean()) / y.std()
    as_t = lambda a, t: torch.as_tensor(a, dtype=t)
    return as_t(np.stack([town, kind], 1), torch.long), as_t(num, torch.float32), as_t(y, torch.float32)


def accumulated_tabular(mistake: bool) -> None:
    """Gradients of several micro-batches are accumulated but the loss is not divided by their number."""
    args = Namespace(micro_batch=16, accumulation_steps=16, lr=0.06, momentum=0.9, updates=220)
    torch.manual_seed(17)
    cat, num, y = house_prices(4096, 17)
    model = EntityEmbeddingNet([20, 5], 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=args.momentum)
    divisor = 1 if mistake else args.accumulation_steps
    history, running = [], 0.0
    optimizer.zero_grad()
    for step in range(args.updates * args.accumulation_steps):
        idx = torch.randint(0, 3584, (args.micro_batch,))
        loss = F.mse_loss(model(cat[idx], num[idx]), y[idx])
        (loss / divisor).backward()
        running += loss.item() / args.accumulation_steps
        if (step + 1) % args.accumulation_steps == 0:
            optimizer.step()
            optimizer.zero_grad()
            history.append(running)
            running = 0.0
    with torch.no_grad():
        val = F.mse_loss(model(cat[3584:], num[3584:]), y[3584:]).item()
    print(f"loss {history[0]:.3f} -> {np.mean(history[-10:]):.3f} val {val:.3f}")


FAULTS = [
    (
        tiny_gpt_characters,
        ("causal", "future", "attention mask", "sees the token", "look ahead", "lookahead"),
        "architecture",
    ),
    (sklearn_style_cancer, ("scale", "scaling", "standardi", "normali", "preprocess"), "data"),
    (gru_tagger_padded, ("padding", "padded", "ignore_index", "-100", "pad "), "loss"),
    (
        diffusion_moons,
        ("seed", "same noise", "same random", "identical noise", "repeats the noise"),
        "randomness",
    ),
    (
        simsiam_pretraining,
        ("detach", "stop-grad", "stop grad", "stopgrad", "target branch"),
        "gradient flow",
    ),
    (
        keep_prob_convnet,
        ("dropout", "keep prob", "keep_prob", "probability to keep", "share to keep"),
        "architecture",
    ),
    (
        accumulated_tabular,
        ("divid", "accumulation steps", "accumulation_steps", "micro-batch", "not averaged"),
        "optimizer",
    ),
]
