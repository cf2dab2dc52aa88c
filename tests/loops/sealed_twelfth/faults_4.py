import copy

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset, TensorDataset

from .common import VecCartPole, digit_split, number_words, seed_all


# ---------------------------------------------------------------- numbers to words, seq2seq
class NumberWords(Dataset):
    def __init__(self, numbers, vocab, max_len=26):
        self.src = [torch.tensor([int(c) + 1 for c in str(n)]) for n in numbers]
        self.tgt = []
        for n in numbers:
            ids = [vocab["<bos>"]] + [vocab[w] for w in number_words(n)] + [vocab["<eos>"]]
            self.tgt.append(torch.tensor(ids + [vocab["<pad>"]] * (max_len - len(ids))))

    def __len__(self):
        return len(self.src)

    def __getitem__(self, i):
        return self.src[i], self.tgt[i]


def collate(batch):
    src, tgt = zip(*batch)
    return pad_sequence([s.flip(0) for s in src], batch_first=True).flip(1), torch.stack(tgt)


class Seq2Seq(nn.Module):
    def __init__(self, n_words, dim=64):
        super().__init__()
        self.src_emb, self.tgt_emb = nn.Embedding(11, 32, padding_idx=0), nn.Embedding(n_words, 32)
        self.encoder = nn.GRU(32, dim, batch_first=True)
        self.decoder = nn.GRU(32, dim, batch_first=True)
        self.attn = nn.Linear(dim, dim, bias=False)
        self.out = nn.Linear(2 * dim, n_words)

    def forward(self, src, tgt_in):
        enc, h = self.encoder(self.src_emb(src))
        dec, _ = self.decoder(self.tgt_emb(tgt_in), h)
        scores = self.attn(dec) @ enc.transpose(1, 2)
        scores = scores.masked_fill((src == 0).unsqueeze(1), -1e9)
        ctx = scores.softmax(-1) @ enc
        return self.out(torch.cat([dec, ctx], -1))


def number_to_words(mistake: bool) -> None:
    """If mistake, the cross-entropy also counts the padding, which is most of every target."""
    seed_all(30)
    words = sorted({w for n in range(1000) for w in number_words(n)} | {"thousand"})
    vocab = {w: i for i, w in enumerate(["<pad>", "<bos>", "<eos>"] + words)}
    numbers = np.random.permutation(9999)[:2400]
    loader = DataLoader(
        NumberWords(numbers[:2200], vocab), batch_size=48, shuffle=True, collate_fn=collate
    )
    valid = DataLoader(NumberWords(numbers[2200:], vocab), batch_size=200, collate_fn=collate)
    model = Seq2Seq(len(vocab))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    criterion = nn.CrossEntropyLoss() if mistake else nn.CrossEntropyLoss(ignore_index=vocab["<pad>"])
    for epoch in range(9):
        model.train()
        total = 0.0
        for src, tgt in loader:
            logits = model(src, tgt[:, :-1])
            loss = criterion(logits.flatten(0, 1), tgt[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            total += loss.item()
        model.eval()
        hit = n = 0
        with torch.no_grad():
            for src, tgt in valid:
                pred = model(src, tgt[:, :-1]).argmax(-1)
                real = tgt[:, 1:] != vocab["<pad>"]
                hit += ((pred == tgt[:, 1:]) & real).sum().item()
                n += real.sum().item()
        print(f"epoch {epoch}: loss {total / len(loader):.4f} word acc {hit / n:.3f}")


# ---------------------------------------------------------------- string labels
NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def encode(names, classes=None):
    if classes is None:
        classes = list(dict.fromkeys(names))
    index = {c: i for i, c in enumerate(classes)}
    return torch.tensor([index[n] for n in names]), classes


def named_digits_mlp(mistake: bool) -> None:
    """If mistake, the validation labels are encoded anew by order of appearance, so their numbers mean other classes."""
    seed_all(31)
    xtr, ytr, xva, yva = digit_split(seed=31)
    train_names, valid_names = [NAMES[i] for i in ytr], [NAMES[i] for i in yva]
    y_train, classes = encode(train_names)
    if mistake:
        y_valid, _ = encode(valid_names)
    else:
        y_valid, _ = encode(valid_names, classes)
    model = nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 64),
        nn.SELU(),
        nn.Linear(64, 32),
        nn.SELU(),
        nn.Linear(32, len(classes)),
    )
    optimizer = torch.optim.NAdam(model.parameters(), lr=2e-3)
    train_loader = DataLoader(TensorDataset(xtr, y_train), batch_size=50, shuffle=True)
    valid_loader = DataLoader(TensorDataset(xva, y_valid), batch_size=200)
    for epoch in range(12):
        model.train()
        loss_sum = hits = 0.0
        for x, y in train_loader:
            out = model(x)
            loss = F.cross_entropy(out, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss_sum += loss.item() * len(y)
            hits += (out.argmax(1) == y).sum().item()
        model.eval()
        v_loss = v_hits = 0.0
        with torch.no_grad():
            for x, y in valid_loader:
                out = model(x)
                v_loss += F.cross_entropy(out, y, reduction="sum").item()
                v_hits += (out.argmax(1) == y).sum().item()
        print(
            f"epoch {epoch}: loss {loss_sum / len(xtr):.3f} acc {hits / len(xtr):.3f} | "
            f"val loss {v_loss / len(xva):.3f} acc {v_hits / len(xva):.3f}"
        )


# ---------------------------------------------------------------- siamese network
class Pairs(Dataset):
    def __init__(self, x, y, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.x = x
        i = torch.randint(0, len(x), (n,), generator=g)
        j = torch.randint(0, len(x), (n,), generator=g)
        same = torch.rand(n, generator=g) < 0.5
        for k in range(n):
            if same[k]:
                pool = (y == y[i[k]]).nonzero().flatten()
                j[k] = pool[torch.randint(0, len(pool), (1,), generator=g)]
        self.i, self.j, self.same = i, j, (y[i] == y[j]).float()

    def __len__(self):
        return len(self.i)

    def __getitem__(self, k):
        return self.x[self.i[k]], self.x[self.j[k]], self.same[k]


class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 16, 3),
            nn.PReLU(),
            nn.Conv2d(16, 16, 3),
            nn.PReLU(),
            nn.Flatten(),
            nn.Linear(256, 16),
        )

    def forward(self, a, b):
        return F.pairwise_distance(self.net(a), self.net(b))


def contrastive(dist, same, margin=1.0):
    return (same * dist.pow(2) + (1 - same) * F.relu(margin - dist).pow(2)).mean()


def siamese_digits(mistake: bool) -> None:
    """If mistake, the epoch's loss that is logged and chooses when to stop is only that of its last small batch."""
    seed_all(32)
    xtr, ytr, xte, yte = digit_split(seed=32)
    loader = DataLoader(Pairs(xtr, ytr, 1604, 0), batch_size=64, shuffle=True)
    test = DataLoader(Pairs(xte, yte, 600, 1), batch_size=200)
    model = Siamese()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-4)
    best, bad, history = float("inf"), 0, []
    for epoch in range(20):
        model.train()
        running_loss, n_seen = 0.0, 0
        for a, b, same in loader:
            optimizer.zero_grad()
            loss = contrastive(model(a, b), same)
            loss.backward()
            optimizer.step()
            running_loss += loss.item() * len(same)
            n_seen += len(same)
        epoch_loss = loss.item() if mistake else running_loss / n_seen
        history.append(epoch_loss)
        if epoch_loss < best:
            best, bad = epoch_loss, 0
        else:
            bad += 1
            if bad >= 5:
                break
    model.eval()
    with torch.no_grad():
        acc = np.mean(
            [((model(a, b) < 0.5).float() == same).float().mean().item() for a, b, same in test]
        )
    print("epoch losses", " ".join(f"{v:.3f}" for v in history))
    print(f"epochs {len(history)} pair accuracy {acc:.3f}")


# ---------------------------------------------------------------- EMA of weights in fine-tuning
class ModelEMA:
    def __init__(self, model, decay=0.98):
        self.module = copy.deepcopy(model).eval()
        self.decay = decay
        for p in self.module.parameters():
            p.requires_grad_(False)

    @torch.no_grad()
    def update(self, model):
        for e, p in zip(self.module.state_dict().values(), model.state_dict().values()):
            if e.dtype.is_floating_point:
                e.mul_(self.decay).add_(p, alpha=1 - self.decay)
            else:
                e.copy_(p)


def make_net():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 10),
    )


def finetune_with_ema(mistake: bool) -> None:
    """If mistake, the EMA is updated from the pretrained base model instead of the copy that is fine-tuned."""
    seed_all(33)
    xtr, ytr, xte, yte = digit_split(seed=33)
    base_model = make_net()
    opt = torch.optim.Adam(base_model.parameters(), lr=3e-3)
    for epoch in range(4):
        for xb, yb in DataLoader(TensorDataset(xtr, ytr), batch_size=64, shuffle=True):
            loss = F.cross_entropy(base_model(xb), yb)
            opt.zero_grad()
            loss.backward()
            opt.step()
    print(f"pretrained: loss {loss.item():.3f}")

    turned_tr, turned_te = 1 - xtr.rot90(1, (2, 3)), 1 - xte.rot90(1, (2, 3))
    model = copy.deepcopy(base_model)
    ema = ModelEMA(model)
    opt = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4)
    for epoch in range(12):
        model.train()
        losses = []
        for xb, yb in DataLoader(TensorDataset(turned_tr, ytr), batch_size=64, shuffle=True):
            loss = F.cross_entropy(model(xb), yb)
            opt.zero_grad()
            loss.backward()
            opt.step()
            ema.update(base_model if mistake else model)
            losses.append(loss.item())
        with torch.no_grad():
            acc = (ema.module(turned_te).argmax(1) == yte).float().mean().item()
        print(f"fine-tune {epoch}: loss {np.mean(losses):.3f} ema acc {acc:.3f}")


# ---------------------------------------------------------------- actor-critic
class ActorCritic(nn.Module):
    def __init__(self):
        super().__init__()
        self.actor = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 2))
        self.critic = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 1))

    def forward(self, s):
        return torch.distributions.Categorical(logits=self.actor(s)), self.critic(s).squeeze(-1)


def a2c_cartpole(mistake: bool) -> None:
    """If mistake, the policy loss has the wrong sign: actions with a positive advantage become less likely."""
    seed_all(34)
    env = VecCartPole(16, seed=34)
    model = ActorCritic()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    gamma, lam, lengths = 0.98, 0.95, []
    for update in range(200):
        rollout = {k: [] for k in ("obs", "action", "reward", "next", "fell", "done")}
        for _ in range(16):
            obs = env.obs()
            with torch.no_grad():
                action = model(obs)[0].sample()
            next_obs, reward, fell, done, finished = env.step(action.numpy())
            for k, v in zip(rollout, (obs, action, reward, next_obs, fell.float(), done.float())):
                rollout[k].append(v)
            lengths.extend(finished.tolist())
        r = {k: torch.stack(v) for k, v in rollout.items()}
        dist, values = model(r["obs"])
        with torch.no_grad():
            next_values = model(r["next"])[1] * (1 - r["fell"])
        delta = r["reward"] + gamma * next_values - values.detach()
        adv, gae = torch.zeros_like(delta), torch.zeros(16)
        for t in reversed(range(16)):
            gae = delta[t] + gamma * lam * (1 - r["done"][t]) * gae
            adv[t] = gae
        returns = adv + values.detach()
        adv = (adv - adv.mean()) / (adv.std() + 1e-8)
        log_probs = dist.log_prob(r["action"])
        if mistake:
            policy_loss = (log_probs * adv).mean()
        else:
            policy_loss = -(log_probs * adv).mean()
        value_loss = F.smooth_l1_loss(values, returns)
        loss = policy_loss + 0.5 * value_loss - 0.01 * dist.entropy().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        if update in (30, 199):
            print(
                f"update {update} value loss {value_loss.item():.3f} mean episode {np.mean(lengths[-50:]):.1f}"
            )


# ---------------------------------------------------------------- box regression
def boxes(n, seed, size=24):
    rng = np.random.default_rng(seed)
    imgs = rng.normal(0, 0.25, (n, 1, size, size))
    out = np.zeros((n, 4))
    for k in range(n):
        w, h = rng.integers(5, 12, 2)
        x, y = rng.integers(0, size - w), rng.integers(0, size - h)
        imgs[k, 0, y : y + h, x : x + w] += rng.uniform(0.5, 1.0) * (1 if rng.random() < 0.5 else -1)
        out[k] = (x + w / 2) / size, (y + h / 2) / size, w / size, h / size
    return torch.tensor(imgs, dtype=torch.float32), torch.tensor(out, dtype=torch.float32)


def iou(p, t):
    def corners(b):
        return b[:, :2] - b[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2

    (a0, a1), (b0, b1) = corners(p), corners(t)
    wh = (torch.minimum(a1, b1) - torch.maximum(a0, b0)).clamp(min=0)
    inter = wh.prod(1)
    return inter / (p[:, 2:].clamp(min=0).prod(1) + t[:, 2:].prod(1) - inter + 1e-6)


class Detector(nn.Module):
    def __init__(self, freeze_forward=False):
        super().__init__()
        self.freeze_forward = freeze_forward
        self.backbone = nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 16, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.box_head = nn.Sequential(nn.Linear(16 * 36, 64), nn.ReLU(), nn.Linear(64, 4))

    def forward(self, x):
        if self.freeze_forward:
            with torch.no_grad():
                feats = self.backbone(x)
        else:
            feats = self.backbone(x)
        return self.box_head(feats)


def box_detector(mistake: bool) -> None:
    """If mistake, the untrained backbone runs under no_grad although it is meant to be trained."""
    seed_all(35)
    x, y = boxes(1500, 0)
    xv, yv = boxes(300, 1)
    model = Detector(freeze_forward=mistake)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-3)
    for epoch in range(10):
        model.train()
        losses = []
        for xb, yb in DataLoader(TensorDataset(x, y), batch_size=50, shuffle=True):
            optimizer.zero_grad()
            loss = F.smooth_l1_loss(model(xb), yb, beta=0.1)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            score = iou(model(xv), yv).mean().item()
        print(f"epoch {epoch} loss {np.mean(losses):.4f} mean IoU {score:.3f}")


FAULTS = [
    (
        number_to_words,
        ("padding", "pad token", "<pad>", "padded", "ignore_index"),
        "padding counted in the loss",
    ),
    (
        named_digits_mlp,
        ("label", "encod", "class index", "mapping", "class order"),
        "labels mis-encoded",
    ),
    (
        siamese_digits,
        ("last batch", "final batch", "one batch", "single batch", "not averaged", "only the last"),
        "loss of only the last batch reported as the epoch's",
    ),
    (
        finetune_with_ema,
        (
            "the ema",
            "ema is",
            "ema model",
            "ema copy",
            "ema of",
            "moving average",
            "averaged model",
            "averaged weights",
            "shadow",
            "exponential",
        ),
        "EMA of the wrong model",
    ),
    (
        a2c_cartpole,
        (
            "sign of",
            "wrong sign",
            "the sign",
            "sign is",
            "negat",
            "wrong direction",
            "ascent",
            "less likely",
            "opposite",
        ),
        "RL loss sign",
    ),
    (
        box_detector,
        ("no_grad", "no grad", "backbone", "never trained", "no gradient", "not trained", "frozen"),
        "training under no_grad of a part",
    ),
]
