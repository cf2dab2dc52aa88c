"""Language model, diffusion, contrastive and self-supervised learning, VQ-VAE, WGAN-GP."""

import copy
import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn import datasets
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset


def _digits(seed=0):
    d = datasets.load_digits()
    x = torch.tensor(d.images, dtype=torch.float32).unsqueeze(1) / 16.0
    y = torch.tensor(d.target)
    tr, te = train_test_split(np.arange(len(y)), test_size=0.25, random_state=seed, stratify=d.target)
    return x[tr], y[tr], x[te], y[te]


# ---------------------------------------------------------------- nanoGPT
def nanogpt_char():
    """Character GPT on scikit-learn's dataset descriptions: weight tying, decay groups,
    gradient accumulation, warmup + cosine set by hand into the param groups.
    """
    torch.manual_seed(1337)
    text = "\n".join(
        f().DESCR
        for f in (
            datasets.load_iris,
            datasets.load_wine,
            datasets.load_breast_cancer,
            datasets.load_diabetes,
            datasets.load_digits,
        )
    )
    chars = sorted(set(text))
    stoi = {c: i for i, c in enumerate(chars)}
    data = torch.tensor([stoi[c] for c in text])
    n = int(0.9 * len(data))
    splits = {"train": data[:n], "val": data[n:]}
    block_size, batch_size, n_embd, n_head, n_layer = 32, 12, 64, 4, 2
    accum, max_iters, warmup, lr_max, lr_min = 2, 200, 15, 5e-3, 5e-4

    def get_batch(split):
        d = splits[split]
        ix = torch.randint(len(d) - block_size - 1, (batch_size,))
        return (
            torch.stack([d[i : i + block_size] for i in ix]),
            torch.stack([d[i + 1 : i + 1 + block_size] for i in ix]),
        )

    class CausalSelfAttention(nn.Module):
        def __init__(self):
            super().__init__()
            self.c_attn = nn.Linear(n_embd, 3 * n_embd, bias=False)
            self.c_proj = nn.Linear(n_embd, n_embd, bias=False)

        def forward(self, x):
            B, T, C = x.shape
            q, k, v = self.c_attn(x).split(C, dim=2)
            q, k, v = (t.view(B, T, n_head, C // n_head).transpose(1, 2) for t in (q, k, v))
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.c_proj(y.transpose(1, 2).contiguous().view(B, T, C))

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.ln_1, self.ln_2 = nn.LayerNorm(n_embd), nn.LayerNorm(n_embd)
            self.attn = CausalSelfAttention()
            self.mlp = nn.ModuleDict(
                dict(c_fc=nn.Linear(n_embd, 4 * n_embd), c_proj=nn.Linear(4 * n_embd, n_embd))
            )

        def forward(self, x):
            x = x + self.attn(self.ln_1(x))
            return x + self.mlp.c_proj(F.gelu(self.mlp.c_fc(self.ln_2(x))))

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.transformer = nn.ModuleDict(
                dict(
                    wte=nn.Embedding(len(chars), n_embd),
                    wpe=nn.Embedding(block_size, n_embd),
                    h=nn.ModuleList(Block() for _ in range(n_layer)),
                    ln_f=nn.LayerNorm(n_embd),
                )
            )
            self.lm_head = nn.Linear(n_embd, len(chars), bias=False)
            self.transformer.wte.weight = self.lm_head.weight
            self.apply(self._init)
            for pn, p in self.named_parameters():
                if pn.endswith("c_proj.weight"):
                    nn.init.normal_(p, std=0.05 / math.sqrt(2 * n_layer))

        def _init(self, m):
            if isinstance(m, (nn.Linear, nn.Embedding)):
                nn.init.normal_(m.weight, std=0.05)
            if isinstance(m, nn.Linear) and m.bias is not None:
                nn.init.zeros_(m.bias)

        def forward(self, idx, targets=None):
            pos = torch.arange(idx.size(1))
            x = self.transformer.wte(idx) + self.transformer.wpe(pos)
            for b in self.transformer.h:
                x = b(x)
            x = self.transformer.ln_f(x)
            if targets is None:
                return self.lm_head(x[:, [-1]]), None
            logits = self.lm_head(x)
            return logits, F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1))

    model = GPT()
    params = [p for p in model.parameters() if p.requires_grad]
    opt = torch.optim.AdamW(
        [
            {"params": [p for p in params if p.dim() >= 2], "weight_decay": 0.1},
            {"params": [p for p in params if p.dim() < 2], "weight_decay": 0.0},
        ],
        lr=lr_max,
        betas=(0.9, 0.95),
    )

    def get_lr(it):
        if it < warmup:
            return lr_max * (it + 1) / warmup
        ratio = (it - warmup) / (max_iters - warmup)
        return lr_min + 0.5 * (1 + math.cos(math.pi * ratio)) * (lr_max - lr_min)

    @torch.no_grad()
    def estimate_loss(k=6):
        model.eval()
        out = {s: float(torch.stack([model(*get_batch(s))[1] for _ in range(k)]).mean()) for s in splits}
        model.train()
        return out

    first = estimate_loss()
    X, Y = get_batch("train")
    for it in range(max_iters):
        for g in opt.param_groups:
            g["lr"] = get_lr(it)
        for _ in range(accum):
            _, loss = model(X, Y)
            loss = loss / accum
            X, Y = get_batch("train")
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
    last = estimate_loss()
    print(f"nanogpt_char: val {first['val']:.2f} -> {last['val']:.2f} (train {last['train']:.2f})")
    model.eval()
    idx = torch.zeros((1, 1), dtype=torch.long)
    with torch.no_grad():
        for _ in range(30):
            logits, _ = model(idx[:, -block_size:])
            idx = torch.cat([idx, torch.multinomial(F.softmax(logits[:, -1] / 0.8, -1), 1)], 1)
    return last["val"]


# ---------------------------------------------------------------- DDPM
def ddpm_digits():
    """Denoising diffusion on 8x8 digits with an exponential moving average and an infinite loader."""
    torch.manual_seed(0)
    xtr, _, xte, _ = _digits()
    xtr, xte = xtr * 2 - 1, xte * 2 - 1
    T = 100

    def cosine_beta_schedule(t, s=0.008):
        x = torch.linspace(0, t, t + 1, dtype=torch.float64)
        ac = torch.cos(((x / t) + s) / (1 + s) * math.pi * 0.5) ** 2
        ac = ac / ac[0]
        return (1 - ac[1:] / ac[:-1]).clamp(0, 0.999).float()

    class SinusoidalPosEmb(nn.Module):
        def __init__(self, dim):
            super().__init__()
            self.dim = dim

        def forward(self, t):
            half = self.dim // 2
            f = torch.exp(torch.arange(half) * -(math.log(10000) / (half - 1)))
            a = t[:, None].float() * f[None]
            return torch.cat((a.sin(), a.cos()), -1)

    class ResBlock(nn.Module):
        def __init__(self, d, td):
            super().__init__()
            self.n1, self.n2 = nn.GroupNorm(4, d), nn.GroupNorm(4, d)
            self.c1, self.c2 = nn.Conv2d(d, d, 3, padding=1), nn.Conv2d(d, d, 3, padding=1)
            self.t = nn.Linear(td, 2 * d)

        def forward(self, x, t):
            h = self.c1(F.silu(self.n1(x)))
            scale, shift = self.t(F.silu(t))[:, :, None, None].chunk(2, 1)
            return x + self.c2(F.silu(self.n2(h) * (scale + 1) + shift))

    class Eps(nn.Module):
        def __init__(self, d=24):
            super().__init__()
            self.time = nn.Sequential(
                SinusoidalPosEmb(d), nn.Linear(d, 64), nn.GELU(), nn.Linear(64, 64)
            )
            self.inp = nn.Conv2d(1, d, 3, padding=1)
            self.blocks = nn.ModuleList([ResBlock(d, 64), ResBlock(d, 64)])
            self.mid_down, self.mid_up = nn.Conv2d(d, d, 4, 2, 1), nn.ConvTranspose2d(d, d, 4, 2, 1)
            self.mid = ResBlock(d, 64)
            self.out = nn.Conv2d(2 * d, 1, 3, padding=1)

        def forward(self, x, t):
            t = self.time(t)
            h = self.blocks[0](self.inp(x), t)
            m = self.mid_up(self.mid(self.mid_down(h), t))
            return self.out(torch.cat([self.blocks[1](h, t), m], 1))

    class GaussianDiffusion(nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net
            betas = cosine_beta_schedule(T)
            ac = torch.cumprod(1 - betas, 0)
            self.register_buffer("betas", betas)
            self.register_buffer("ac", ac)

        def q_sample(self, x0, t, noise):
            a = self.ac[t][:, None, None, None]
            return a.sqrt() * x0 + (1 - a).sqrt() * noise

        def forward(self, x0):
            t = torch.randint(0, T, (x0.size(0),))
            noise = torch.randn_like(x0)
            return F.mse_loss(self.net(self.q_sample(x0, t, noise), t), noise)

        @torch.inference_mode()
        def sample(self, n):
            x = torch.randn(n, 1, 8, 8)
            for i in reversed(range(T)):
                eps = self.net(x, torch.full((n,), i))
                x0 = ((x - (1 - self.ac[i]).sqrt() * eps) / self.ac[i].sqrt()).clamp(-1, 1)
                prev = self.ac[i - 1] if i > 0 else torch.tensor(1.0)
                mean = (
                    prev.sqrt() * self.betas[i] * x0 + (1 - self.betas[i]).sqrt() * (1 - prev) * x
                ) / (1 - self.ac[i])
                var = self.betas[i] * (1 - prev) / (1 - self.ac[i])
                x = mean + var.sqrt() * torch.randn_like(x) if i > 0 else mean
            return x

    def cycle(dl):
        while True:
            for (b,) in dl:
                yield b

    diffusion = GaussianDiffusion(Eps())
    ema = copy.deepcopy(diffusion).requires_grad_(False)
    ema.eval()
    opt = torch.optim.Adam(diffusion.parameters(), lr=2e-3, betas=(0.9, 0.99))
    dl = cycle(DataLoader(TensorDataset(xtr), batch_size=48, shuffle=True))

    def val(m):
        g = torch.random.get_rng_state()
        torch.manual_seed(5)
        with torch.no_grad():
            v = float(np.mean([float(m(xte)) for _ in range(3)]))
        torch.random.set_rng_state(g)
        return v

    before = val(diffusion)
    for step in range(170):
        loss = diffusion(next(dl))
        loss.backward()
        nn.utils.clip_grad_norm_(diffusion.parameters(), 1.0)
        opt.step()
        opt.zero_grad()
        decay = min(0.98, (1 + step) / (10 + step))
        with torch.no_grad():
            for pe, p in zip(ema.parameters(), diffusion.parameters()):
                pe.lerp_(p, 1 - decay)
    after = val(ema)
    s = ema.sample(24)
    d = torch.cdist(s.flatten(1), xtr.flatten(1)).min(1).values.mean()
    rnd = torch.cdist(torch.rand(32, 64) * 2 - 1, xtr.flatten(1)).min(1).values.mean()
    print(
        f"ddpm_digits: eps-mse {before:.3f} -> {after:.3f}; sample distance to data {d:.2f} (noise {rnd:.2f})"
    )
    return after


# ---------------------------------------------------------------- CLIP
def clip_shapes():
    """Image tower and text tower with a learned, clamped temperature; no repeated caption in a batch."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    colours = {"red": (1, 0.1, 0.1), "green": (0.1, 1, 0.1), "blue": (0.1, 0.1, 1), "white": (1, 1, 1)}
    shapes, places = (
        ["square", "cross", "ring"],
        {"top left": (0, 0), "top right": (0, 8), "bottom left": (8, 0), "bottom right": (8, 8)},
    )
    combos = [(c, s, p) for c in colours for s in shapes for p in places]
    vocab = {
        w: i + 1
        for i, w in enumerate(
            sorted(
                {w for c, s, p in combos for w in (c, s, *p.split())}
                | {"a", "the", "in", "corner", "photo", "of"}
            )
        )
    }
    templates = [
        "a {c} {s} {p}",
        "a photo of a {c} {s} in the {p} corner",
        "the {s} in the {p} of the photo {c}",
    ]

    def draw(c, s, p):
        m = np.zeros((8, 8), np.float32)
        a = rng.integers(0, 3)
        sub = m[a : a + 5, a : a + 5]
        if s == "square":
            sub[:] = 1
        elif s == "cross":
            sub[2] = 1
            sub[:, 2] = 1
        else:
            sub[:] = 1
            sub[1:-1, 1:-1] = 0
        img = np.zeros((3, 16, 16), np.float32)
        r, q = places[p]
        img[:, r : r + 8, q : q + 8] = (
            np.array(colours[c], np.float32)[:, None, None] * m * rng.uniform(0.7, 1)
        )
        return img + 0.05 * rng.standard_normal(img.shape).astype(np.float32)

    def encode(c, s, p, k):
        t = [vocab[w] for w in templates[k].format(c=c, s=s, p=p).split()]
        return t + [0] * (12 - len(t))

    class TextEncoder(nn.Module):
        def __init__(self, d=48):
            super().__init__()
            self.emb = nn.Embedding(len(vocab) + 1, d, padding_idx=0)
            self.pos = nn.Parameter(torch.randn(12, d) * 0.01)
            self.layer = nn.TransformerEncoderLayer(
                d, 4, 96, dropout=0.0, batch_first=True, norm_first=True
            )
            self.ln = nn.LayerNorm(d)

        def forward(self, t):
            pad = t == 0
            h = self.ln(self.layer(self.emb(t) + self.pos, src_key_padding_mask=pad))
            keep = (~pad).unsqueeze(-1)
            return (h * keep).sum(1) / keep.sum(1)

    class CLIP(nn.Module):
        def __init__(self, d=48, e=32):
            super().__init__()
            self.visual = nn.Sequential(
                nn.Conv2d(3, 24, 3, 2, 1),
                nn.ReLU(),
                nn.Conv2d(24, 48, 3, 2, 1),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(48 * 16, e),
            )
            self.text = TextEncoder(d)
            self.text_projection = nn.Linear(d, e, bias=False)
            self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

        def forward(self, image, text):
            i = F.normalize(self.visual(image), dim=-1)
            t = F.normalize(self.text_projection(self.text(text)), dim=-1)
            return i, t, self.logit_scale.exp()

    model = CLIP()
    no_decay = [p for p in model.parameters() if p.ndim < 2]
    decay = [p for p in model.parameters() if p.ndim >= 2]
    opt = torch.optim.AdamW(
        [{"params": no_decay, "weight_decay": 0.0}, {"params": decay, "weight_decay": 0.05}],
        lr=2e-3,
        betas=(0.9, 0.98),
        eps=1e-6,
    )

    def batch(ids):
        im = torch.from_numpy(np.stack([draw(*combos[i]) for i in ids]))
        tx = torch.tensor([encode(*combos[i], int(rng.integers(3))) for i in ids])
        return im, tx

    def zero_shot():
        model.eval()
        with torch.no_grad():
            im, _ = batch(range(48))
            tx = torch.tensor([encode(*c, 0) for c in combos])
            i, t, _ = model(im, tx)
        model.train()
        return float(((i @ t.T).argmax(1) == torch.arange(48)).float().mean())

    for step in range(200):
        im, tx = batch(rng.choice(48, 32, replace=False))
        i, t, scale = model(im, tx)
        logits = scale * i @ t.T
        labels = torch.arange(len(im))
        loss = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
        opt.zero_grad()
        loss.backward()
        opt.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
    acc = zero_shot()
    print(f"clip_shapes: loss {loss.item():.3f}, zero-shot accuracy over 48 captions {acc:.3f}")
    return acc


def _augment(x):
    """Random shift by up to one pixel, brightness, noise and small cut-out, per image."""
    n = x.size(0)
    pad = F.pad(x, (1, 1, 1, 1))
    dx, dy = torch.randint(0, 3, (n,)), torch.randint(0, 3, (n,))
    rows = dy[:, None] + torch.arange(8)
    cols = dx[:, None] + torch.arange(8)
    out = pad[torch.arange(n)[:, None, None], 0, rows[:, :, None], cols[:, None, :]].unsqueeze(1)
    out = out * (0.7 + 0.6 * torch.rand(n, 1, 1, 1)) + 0.05 * torch.randn(n, 1, 8, 8)
    cy, cx = torch.randint(0, 7, (n,)), torch.randint(0, 7, (n,))
    ar = torch.arange(8)
    hole = ((ar[None] - cy[:, None]).clamp(0, 1) == (ar[None] - cy[:, None]))[:, :, None] & (
        (ar[None] - cx[:, None]).clamp(0, 1) == (ar[None] - cx[:, None])
    )[:, None, :]
    return out.masked_fill(hole.unsqueeze(1), 0.0)


def _backbone(width=32):
    return nn.Sequential(
        nn.Conv2d(1, width, 3, 1, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, 2, 1, bias=False),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
    )


def _features(net, x):
    was = net.training
    net.eval()
    with torch.no_grad():
        f = net(x)
    net.train(was)
    return f


def _knn(net, xtr, ytr, xte, yte, k=5):
    a, b = F.normalize(_features(net, xtr), dim=1), F.normalize(_features(net, xte), dim=1)
    return float((ytr[(b @ a.T).topk(k, 1).indices].mode(1).values == yte).float().mean())


# ---------------------------------------------------------------- SimCLR
def simclr_digits():
    """NT-Xent pretraining with cosine schedule, then a linear probe on the frozen encoder."""
    torch.manual_seed(0)
    xtr, ytr, xte, yte = _digits()
    encoder = _backbone()
    head = nn.Sequential(nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 32))
    model = nn.Sequential(encoder, head)
    opt = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9, weight_decay=1e-4)
    loader = DataLoader(TensorDataset(xtr, ytr), batch_size=128, shuffle=True, drop_last=True)
    epochs = 14
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, epochs * len(loader))

    def info_nce_loss(z, temperature=0.3):
        n = z.size(0) // 2
        z = F.normalize(z, dim=1)
        sim = z @ z.T / temperature
        sim = sim.masked_fill(torch.eye(2 * n, dtype=torch.bool), float("-inf"))
        return F.cross_entropy(sim, torch.cat([torch.arange(n, 2 * n), torch.arange(n)]))

    losses = []
    for _ in range(epochs):
        for x, _ in loader:
            z = model(torch.cat([_augment(x), _augment(x)]))
            loss = info_nce_loss(z)
            opt.zero_grad()
            loss.backward()
            opt.step()
            sched.step()
            losses.append(loss.item())

    # linear evaluation protocol
    encoder.requires_grad_(False).eval()
    with torch.no_grad():
        ftr, fte = encoder(xtr), encoder(xte)
    mu, sd = ftr.mean(0), ftr.std(0) + 1e-6
    ftr, fte = (ftr - mu) / sd, (fte - mu) / sd
    probe = nn.Linear(256, 10)
    popt = torch.optim.Adam(probe.parameters(), lr=5e-3, weight_decay=1e-4)
    for _ in range(12):
        for idx in torch.randperm(len(ftr)).split(128):
            popt.zero_grad()
            F.cross_entropy(probe(ftr[idx]), ytr[idx]).backward()
            popt.step()
    acc = float((probe(fte).argmax(1) == yte).float().mean())
    print(f"simclr_digits: nt-xent {losses[0]:.2f} -> {losses[-1]:.2f}, linear probe {acc:.3f}")
    return acc


# ---------------------------------------------------------------- BYOL
def byol_digits():
    """Online network with predictor, target by exponential moving average with rising momentum."""
    torch.manual_seed(1)
    xtr, ytr, xte, yte = _digits()

    def mlp(i, h, o):
        return nn.Sequential(nn.Linear(i, h), nn.BatchNorm1d(h), nn.ReLU(inplace=True), nn.Linear(h, o))

    class BYOL(nn.Module):
        def __init__(self, tau=0.97):
            super().__init__()
            self.encoder = _backbone()
            self.online = nn.Sequential(self.encoder, mlp(256, 128, 64))
            self.predictor = mlp(64, 128, 64)
            self.target = copy.deepcopy(self.online)
            for p in self.target.parameters():
                p.requires_grad = False
            self.base = tau

        @torch.no_grad()
        def update_moving_average(self, frac):
            tau = 1 - (1 - self.base) * (math.cos(math.pi * frac) + 1) / 2
            for t, o in zip(self.target.parameters(), self.online.parameters()):
                t.data.mul_(tau).add_(o.data, alpha=1 - tau)

        def forward(self, a, b):
            pa, pb = self.predictor(self.online(a)), self.predictor(self.online(b))
            with torch.no_grad():
                ta, tb = self.target(a), self.target(b)
            loss = lambda p, t: 2 - 2 * F.cosine_similarity(p, t.detach(), dim=-1)
            return (loss(pa, tb) + loss(pb, ta)).mean()

    learner = BYOL()
    opt = torch.optim.Adam([p for p in learner.parameters() if p.requires_grad], lr=2e-3)
    steps, first, done = 140, None, 0
    loader = DataLoader(TensorDataset(xtr), batch_size=128, shuffle=True, drop_last=True)
    while done < steps:
        for (x,) in loader:
            loss = learner(_augment(x), _augment(x))
            opt.zero_grad()
            loss.backward()
            opt.step()
            done += 1
            learner.update_moving_average(done / steps)
            first = loss.item() if first is None else first
            if done == steps:
                break
    acc = _knn(learner.encoder, xtr, ytr, xte, yte)
    spread = F.normalize(_features(learner.online, xte), dim=1).std(0).mean()
    print(
        f"byol_digits: loss {first:.2f} -> {loss.item():.2f}, knn {acc:.3f}, spread {spread:.3f} (1/sqrt d = .125)"
    )
    return acc


# ---------------------------------------------------------------- MoCo
def moco_digits():
    """Momentum contrast with a ring-buffer queue of keys."""
    torch.manual_seed(2)
    xtr, ytr, xte, yte = _digits()

    class MoCo(nn.Module):
        def __init__(self, dim=32, K=512, m=0.99, T=0.2):
            super().__init__()
            self.K, self.m, self.T = K, m, T
            self.encoder_q = nn.Sequential(
                _backbone(),
                nn.Linear(256, 64),
                nn.BatchNorm1d(64),
                nn.ReLU(),
                nn.Linear(64, dim),
                nn.BatchNorm1d(dim, affine=False),
            )
            self.encoder_k = copy.deepcopy(self.encoder_q)
            for p in self.encoder_k.parameters():
                p.requires_grad = False
            self.register_buffer("queue", F.normalize(torch.randn(dim, K), dim=0))
            self.register_buffer("queue_ptr", torch.zeros(1, dtype=torch.long))

        @torch.no_grad()
        def _momentum_update_key_encoder(self):
            for q, k in zip(self.encoder_q.parameters(), self.encoder_k.parameters()):
                k.data = k.data * self.m + q.data * (1.0 - self.m)

        @torch.no_grad()
        def _dequeue_and_enqueue(self, keys):
            n, ptr = keys.shape[0], int(self.queue_ptr)
            assert self.K % n == 0
            self.queue[:, ptr : ptr + n] = keys.T
            self.queue_ptr[0] = (ptr + n) % self.K

        def forward(self, im_q, im_k):
            q = F.normalize(self.encoder_q(im_q), dim=1)
            with torch.no_grad():
                self._momentum_update_key_encoder()
                k = F.normalize(self.encoder_k(im_k), dim=1)
            l_pos = torch.einsum("nc,nc->n", q, k).unsqueeze(-1)
            l_neg = torch.einsum("nc,ck->nk", q, self.queue.clone().detach())
            logits = torch.cat([l_pos, l_neg], 1) / self.T
            labels = torch.zeros(len(logits), dtype=torch.long)
            self._dequeue_and_enqueue(k)
            return logits, labels

    model = MoCo()
    opt = torch.optim.Adam(model.encoder_q.parameters(), lr=2e-3, weight_decay=1e-5)
    sched = torch.optim.lr_scheduler.MultiStepLR(opt, [12, 14], gamma=0.2)
    loader = DataLoader(TensorDataset(xtr), batch_size=64, shuffle=True, drop_last=True)
    crit = nn.CrossEntropyLoss()
    hist = []
    for epoch in range(16):
        top1 = 0.0
        for (x,) in loader:
            logits, labels = model(_augment(x), _augment(x))
            loss = crit(logits, labels)
            opt.zero_grad()
            loss.backward()
            opt.step()
            top1 += float((logits.argmax(1) == labels).float().mean()) / len(loader)
        sched.step()
        hist.append(top1)
    acc = _knn(model.encoder_q[0], xtr, ytr, xte, yte)
    print(f"moco_digits: instance top-1 {hist[0]:.3f} -> {hist[-1]:.3f}, knn {acc:.3f}")
    return acc


# ---------------------------------------------------------------- VQ-VAE
def vqvae_digits():
    """Vector-quantised autoencoder, straight-through gradient, commitment loss."""
    torch.manual_seed(0)
    xtr, _, xte, _ = _digits()

    class VectorQuantizer(nn.Module):
        def __init__(self, k, d, beta=0.25):
            super().__init__()
            self.k, self.d, self.beta = k, d, beta
            self.embedding = nn.Embedding(k, d)
            self.embedding.weight.data.normal_()
            self.norm = nn.BatchNorm2d(d, affine=False)

        def forward(self, z):
            z = self.norm(z).permute(0, 2, 3, 1).contiguous()
            flat = z.view(-1, self.d)
            dist = (
                flat.pow(2).sum(1, keepdim=True)
                + self.embedding.weight.pow(2).sum(1)
                - 2 * flat @ self.embedding.weight.t()
            )
            idx = dist.argmin(1)
            zq = self.embedding(idx).view(z.shape)
            loss = F.mse_loss(zq, z.detach()) + self.beta * F.mse_loss(zq.detach(), z)
            zq = z + (zq - z).detach()
            probs = torch.bincount(idx, minlength=self.k).float() / len(idx)
            perplexity = torch.exp(-(probs * (probs + 1e-10).log()).sum())
            return loss, zq.permute(0, 3, 1, 2).contiguous(), perplexity

    class Model(nn.Module):
        def __init__(self, d=8):
            super().__init__()
            self.enc = nn.Sequential(
                nn.Conv2d(1, 32, 4, 2, 1),
                nn.ReLU(),
                nn.Conv2d(32, 32, 3, 1, 1),
                nn.ReLU(),
                nn.Conv2d(32, d, 1),
            )
            self.vq = VectorQuantizer(64, d)
            self.dec = nn.Sequential(
                nn.Conv2d(d, 32, 3, 1, 1),
                nn.ReLU(),
                nn.ConvTranspose2d(32, 32, 4, 2, 1),
                nn.ReLU(),
                nn.Conv2d(32, 1, 3, 1, 1),
            )

        def forward(self, x):
            loss, q, perp = self.vq(self.enc(x))
            return loss, self.dec(q), perp

    model = Model()
    opt = torch.optim.Adam(model.parameters(), lr=2e-3, amsgrad=False)
    variance = xtr.var()
    g = torch.Generator().manual_seed(3)
    rec = []
    for epoch in range(14):
        for idx in torch.randperm(len(xtr), generator=g).split(64):
            x = xtr[idx]
            opt.zero_grad()
            vq_loss, x_hat, perp = model(x)
            rec_err = F.mse_loss(x_hat, x) / variance
            (rec_err + vq_loss).backward()
            opt.step()
            rec.append(rec_err.item())
    model.eval()
    with torch.no_grad():
        _, out, perp = model(xte)
        err = float(F.mse_loss(out, xte) / variance)
    print(f"vqvae_digits: relative error {rec[0]:.2f} -> test {err:.3f}, perplexity {perp:.1f}/64")
    return err


# ---------------------------------------------------------------- WGAN-GP
def wgan_gp_ring():
    """Improved Wasserstein GAN on eight Gaussians: five critic steps a generator step, gradient penalty."""
    torch.manual_seed(0)
    angle = torch.arange(8) * (2 * math.pi / 8)
    centres = 2 * torch.stack([angle.cos(), angle.sin()], 1)

    def inf_train_gen(n):
        while True:
            yield (centres[torch.randint(8, (n,))] + 0.1 * torch.randn(n, 2)) / 1.414

    dim, bs, lam, critic_iters = 96, 128, 0.5, 5
    netG = nn.Sequential(
        nn.Linear(2, dim),
        nn.ReLU(True),
        nn.Linear(dim, dim),
        nn.ReLU(True),
        nn.Linear(dim, dim),
        nn.ReLU(True),
        nn.Linear(dim, 2),
    )
    netD = nn.Sequential(
        nn.Linear(2, dim),
        nn.ReLU(True),
        nn.Linear(dim, dim),
        nn.ReLU(True),
        nn.Linear(dim, dim),
        nn.ReLU(True),
        nn.Linear(dim, 1),
    )
    optD = torch.optim.Adam(netD.parameters(), lr=1e-3, betas=(0.5, 0.9))
    optG = torch.optim.Adam(netG.parameters(), lr=1e-3, betas=(0.5, 0.9))

    def calc_gradient_penalty(real, fake):
        alpha = torch.rand(real.size(0), 1)
        inter = (alpha * real + (1 - alpha) * fake).requires_grad_(True)
        grads = torch.autograd.grad(netD(inter).sum(), inter, create_graph=True)[0]
        return ((grads.norm(2, dim=1) - 1) ** 2).mean() * lam

    data = inf_train_gen(bs)
    wdist = []
    for _ in range(230):
        for p in netD.parameters():
            p.requires_grad = True
        for _ in range(critic_iters):
            real = next(data)
            with torch.no_grad():
                fake = netG(torch.randn(bs, 2))
            optD.zero_grad()
            d_real, d_fake = netD(real).mean(), netD(fake).mean()
            (d_fake - d_real + calc_gradient_penalty(real, fake)).backward()
            optD.step()
            wdist.append((d_real - d_fake).item())
        for p in netD.parameters():
            p.requires_grad = False
        optG.zero_grad()
        g_loss = -netD(netG(torch.randn(bs, 2))).mean()
        g_loss.backward()
        optG.step()
    with torch.no_grad():
        d, who = torch.cdist(netG(torch.randn(1000, 2)) * 1.414, centres).min(1)
    good = d < 0.5
    modes = len(who[good].unique())
    print(
        f"wgan_gp_ring: W {max(wdist[:100]):.2f} -> {np.mean(wdist[-50:]):.2f}, on a mode {good.float().mean():.2f}, modes {modes}/8"
    )
    return float(good.float().mean())


HEALTHY = [
    nanogpt_char,
    ddpm_digits,
    clip_shapes,
    simclr_digits,
    byol_digits,
    moco_digits,
    vqvae_digits,
    wgan_gp_ring,
]
