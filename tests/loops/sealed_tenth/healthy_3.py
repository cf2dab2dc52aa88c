"""Graphs, sequences, embeddings, recommender, differential equations."""

import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader, Dataset


# ---------------------------------------------------------------- GAT
def gat_citation_masks():
    """Graph attention network, transductive, on a citation-like block graph; full batch, losses by mask."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    n, k, words = 360, 5, 120
    y = rng.integers(0, k, n)
    prob = np.where(y[:, None] == y[None], 0.03, 0.002)
    up = np.triu(rng.random((n, n)) < prob * 1.3, 1)
    adj = torch.tensor((up | up.T) | np.eye(n, dtype=bool))
    topic = rng.dirichlet(np.full(words, 0.3), k)
    common = np.full(words, 1 / words)
    bag = np.stack([rng.multinomial(18, 0.35 * topic[c] + 0.65 * common) > 0 for c in y])
    x = torch.tensor(bag, dtype=torch.float32)
    x = x / x.sum(1, keepdim=True).clamp(min=1)
    y = torch.tensor(y)
    perm = torch.randperm(n)
    train_mask, val_mask, test_mask = (torch.zeros(n, dtype=torch.bool) for _ in range(3))
    for c in range(k):
        train_mask[perm[y[perm] == c][:10]] = True
    rest = perm[~train_mask[perm]]
    val_mask[rest[:100]] = True
    test_mask[rest[100:]] = True

    class GATLayer(nn.Module):
        def __init__(self, i, o, heads, concat=True, drop=0.4):
            super().__init__()
            self.h, self.o, self.concat, self.drop = heads, o, concat, drop
            self.W = nn.Linear(i, heads * o, bias=False)
            self.a_src, self.a_dst = (
                nn.Parameter(torch.empty(heads, o)),
                nn.Parameter(torch.empty(heads, o)),
            )
            for w in (self.W.weight, self.a_src, self.a_dst):
                nn.init.xavier_uniform_(w, gain=1.414)

        def forward(self, x, adj):
            z = self.W(F.dropout(x, self.drop, self.training)).view(-1, self.h, self.o)
            e = F.leaky_relu((z * self.a_src).sum(-1)[:, None] + (z * self.a_dst).sum(-1)[None], 0.2)
            e = e.masked_fill(~adj[..., None], float("-inf"))
            att = F.dropout(torch.softmax(e, 1), self.drop, self.training)
            out = torch.einsum("ijh,jho->iho", att, z)
            return out.flatten(1) if self.concat else out.mean(1)

    class GAT(nn.Module):
        def __init__(self):
            super().__init__()
            self.l1, self.l2 = GATLayer(words, 8, 4), GATLayer(32, k, 1, concat=False)

        def forward(self, x, adj):
            return self.l2(F.elu(self.l1(x, adj)), adj)

    model = GAT()
    opt = torch.optim.Adam(model.parameters(), lr=0.02, weight_decay=5e-4)
    best_val, best_state = 0.0, None
    for epoch in range(90):
        model.train()
        opt.zero_grad()
        out = model(x, adj)
        loss = F.cross_entropy(out[train_mask], y[train_mask])
        loss.backward()
        opt.step()
        if epoch % 3 == 2:
            model.eval()
            with torch.no_grad():
                hit = model(x, adj).argmax(1) == y
            v = hit[val_mask].float().mean().item()
            if v >= best_val:
                best_val, best_state = v, {kk: t.clone() for kk, t in model.state_dict().items()}
    model.load_state_dict(best_state)
    model.eval()
    with torch.no_grad():
        acc = (model(x, adj).argmax(1) == y)[test_mask].float().mean().item()
    print(f"gat_citation_masks: loss {loss.item():.3f}, val {best_val:.3f}, test {acc:.3f}")
    return acc


# ---------------------------------------------------------------- CTC
def ctc_digit_strips():
    """CRNN with CTC on strips of handwritten digits of varying length; custom collate pads images, joins labels."""
    torch.manual_seed(0)
    d = load_digits()
    imgs, labs = d.images.astype(np.float32) / 16, d.target
    pools = {"train": np.arange(0, 1300), "test": np.arange(1300, 1797)}

    class Strips(Dataset):
        def __init__(self, split, n, seed):
            r = np.random.default_rng(seed)
            self.items = []
            for _ in range(n):
                pick = r.choice(pools[split], r.integers(2, 6))
                cols = [np.zeros((8, int(r.integers(1, 3))), np.float32)]
                for p in pick:
                    cols += [imgs[p], np.zeros((8, int(r.integers(0, 3))), np.float32)]
                self.items.append(
                    (torch.from_numpy(np.concatenate(cols, 1)), torch.tensor(labs[pick] + 1))
                )

        def __len__(self):
            return len(self.items)

        def __getitem__(self, i):
            return self.items[i]

    def collate(batch):
        ims, ys = zip(*batch)
        w = torch.tensor([i.size(1) for i in ims])
        x = pad_sequence([i.T for i in ims], batch_first=True).transpose(1, 2).unsqueeze(1)
        return x, w, torch.cat(ys), torch.tensor([len(t) for t in ys])

    class CRNN(nn.Module):
        def __init__(self):
            super().__init__()
            self.cnn = nn.Sequential(
                nn.Conv2d(1, 24, 3, padding=1),
                nn.BatchNorm2d(24),
                nn.ReLU(),
                nn.MaxPool2d((2, 2)),
                nn.Conv2d(24, 48, 3, padding=1),
                nn.BatchNorm2d(48),
                nn.ReLU(),
                nn.MaxPool2d((2, 1)),
            )
            self.rnn = nn.GRU(96, 48, bidirectional=True, batch_first=True)
            self.fc = nn.Linear(96, 11)

        def forward(self, x, w):
            f = self.cnn(x).flatten(1, 2).transpose(1, 2)
            lengths = w // 2
            p = pack_padded_sequence(f, lengths, batch_first=True, enforce_sorted=False)
            out, _ = pad_packed_sequence(self.rnn(p)[0], batch_first=True)
            return F.log_softmax(self.fc(out), -1).transpose(0, 1), lengths

    train = DataLoader(Strips("train", 1100, 0), 24, shuffle=True, collate_fn=collate)
    test = DataLoader(Strips("test", 200, 1), 100, collate_fn=collate)
    model, ctc = CRNN(), nn.CTCLoss(blank=0, zero_infinity=True)
    opt = torch.optim.Adam(model.parameters(), lr=4e-3)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, 8e-3, total_steps=5 * len(train))
    first = None
    for _ in range(5):
        for x, w, t, tl in train:
            lp, il = model(x, w)
            loss = ctc(lp, t, il, tl)
            opt.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5)
            opt.step()
            sched.step()
            first = first or loss.item()
    model.eval()
    right = total = 0
    with torch.no_grad():
        for x, w, t, tl in test:
            lp, il = model(x, w)
            for path, n, want in zip(lp.argmax(-1).T, il, t.split(tl.tolist())):
                p = torch.unique_consecutive(path[:n])
                right += int(torch.equal(p[p != 0], want))
                total += 1
    print(f"ctc_digit_strips: ctc {first:.2f} -> {loss.item():.3f}, exact strips {right / total:.3f}")
    return right / total


# ---------------------------------------------------------------- seq2seq
def seq2seq_dates_attention():
    """Date normalisation: packed bi-GRU encoder, Bahdanau attention decoder, scheduled teacher forcing."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    months = (
        "january february march april may june july august september october november december".split()
    )
    PAD, SOS, EOS = 0, 1, 2
    src_v = {c: i + 3 for i, c in enumerate("abcdefghijklmnopqrstuvwxyz0123456789 ,/")}
    tgt_v = {c: i + 3 for i, c in enumerate("0123456789-")}

    def example():
        y, m, d = rng.integers(1950, 2030), rng.integers(1, 13), rng.integers(1, 29)
        s = [f"{d} {months[m - 1]} {y}", f"{months[m - 1][:3]} {d}, {y}", f"{d:02d}/{m:02d}/{y}"][
            rng.integers(3)
        ]
        return torch.tensor([src_v[c] for c in s]), torch.tensor(
            [tgt_v[c] for c in f"{y}-{m:02d}-{d:02d}"] + [EOS]
        )

    def batch(n):
        s, t = zip(*sorted((example() for _ in range(n)), key=lambda p: -len(p[0])))
        return pad_sequence(s, True), torch.tensor([len(i) for i in s]), pad_sequence(t, True, PAD)

    H = 64

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb = nn.Embedding(len(src_v) + 3, 24, padding_idx=PAD)
            self.rnn = nn.GRU(24, H // 2, bidirectional=True, batch_first=True)

        def forward(self, x, n):
            out, h = self.rnn(pack_padded_sequence(self.emb(x), n, batch_first=True))
            out, _ = pad_packed_sequence(out, batch_first=True)
            return out, torch.cat([h[0], h[1]], 1)

    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb = nn.Embedding(len(tgt_v) + 3, 16)
            self.Wa, self.Ua, self.Va = nn.Linear(H, H), nn.Linear(H, H), nn.Linear(H, 1)
            self.cell, self.out = nn.GRUCell(16 + H, H), nn.Linear(2 * H, len(tgt_v) + 3)

        def forward(self, tok, h, enc, keys, mask):
            score = self.Va(torch.tanh(self.Wa(h)[:, None] + keys)).squeeze(-1).masked_fill(mask, -1e9)
            ctx = (score.softmax(-1).unsqueeze(1) @ enc).squeeze(1)
            h = self.cell(torch.cat([self.emb(tok), ctx], 1), h)
            return self.out(torch.cat([h, ctx], 1)), h

    enc, dec = Encoder(), Decoder()
    enc_opt = torch.optim.Adam(enc.parameters(), lr=5e-3)
    dec_opt = torch.optim.Adam(dec.parameters(), lr=5e-3)
    scheds = [torch.optim.lr_scheduler.CosineAnnealingLR(o, 160, 5e-4) for o in (enc_opt, dec_opt)]
    criterion = nn.CrossEntropyLoss(ignore_index=PAD)
    steps, losses = 160, []

    def decode(x, n, t=None, ratio=0.0, length=11):
        mem, h = enc(x, n)
        keys, mask = dec.Ua(mem), x == PAD
        tok, outs = torch.full((len(x),), SOS), []
        force = torch.rand(()) < ratio
        for i in range(length):
            o, h = dec(tok, h, mem, keys, mask)
            outs.append(o)
            tok = t[:, i] if (t is not None and force) else o.argmax(1).detach()
        return torch.stack(outs, 1)

    for step in range(steps):
        x, n, t = batch(48)
        logits = decode(x, n, t, ratio=1.0 - 0.5 * step / steps)
        loss = criterion(logits.flatten(0, 1), t.flatten())
        enc_opt.zero_grad()
        dec_opt.zero_grad()
        loss.backward()
        for m in (enc, dec):
            nn.utils.clip_grad_norm_(m.parameters(), 1.0)
        enc_opt.step()
        dec_opt.step()
        for s in scheds:
            s.step()
        losses.append(loss.item())
    enc.eval(), dec.eval()
    with torch.no_grad():
        x, n, t = batch(200)
        acc = float((decode(x, n).argmax(-1) == t).all(1).float().mean())
    print(
        f"seq2seq_dates_attention: loss {losses[0]:.2f} -> {np.mean(losses[-10:]):.3f}, exact dates {acc:.3f}"
    )
    return acc


# ---------------------------------------------------------------- pointer network
def pointer_network_sort():
    """Pointer network learning to sort six numbers, masked pointing, whole-sequence likelihood."""
    torch.manual_seed(0)
    n, H = 6, 64

    class PtrNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.inp = nn.Linear(1, 32)
            self.encoder = nn.LSTM(32, H, batch_first=True)
            self.decoder = nn.LSTMCell(32, H)
            self.W1, self.W2, self.v = (
                nn.Linear(H, H, bias=False),
                nn.Linear(H, H, bias=False),
                nn.Linear(H, 1, bias=False),
            )
            self.go = nn.Parameter(torch.zeros(32))

        def forward(self, x, target=None):
            e = self.inp(x.unsqueeze(-1))
            mem, (h, c) = self.encoder(e)
            h, c, keys = h[0], c[0], self.W1(mem)
            inp, used = self.go.expand(len(x), -1), torch.zeros_like(x, dtype=torch.bool)
            logits, picks, rows = [], [], torch.arange(len(x))
            for t in range(n):
                h, c = self.decoder(inp, (h, c))
                u = self.v(torch.tanh(keys + self.W2(h)[:, None])).squeeze(-1).masked_fill(used, -1e9)
                a = u.argmax(1) if target is None else target[:, t]
                used = used.scatter(1, a[:, None], True)
                inp = e[rows, a]
                logits.append(u)
                picks.append(a)
            return torch.stack(logits, 1), torch.stack(picks, 1)

    model = PtrNet()
    for name, p in model.named_parameters():
        if "weight_hh" in name:
            nn.init.orthogonal_(p)
    opt = torch.optim.Adam(model.parameters(), lr=5e-3)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, 1e-2, total_steps=260)
    losses = []
    for _ in range(260):
        x = torch.rand(128, n)
        t = x.argsort(1)
        logits, _ = model(x, t)
        loss = F.cross_entropy(logits.view(-1, n), t.view(-1))
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        opt.step()
        sched.step()
        losses.append(loss.item())
    model.eval()
    with torch.no_grad():
        x = torch.rand(1000, n)
        acc = float((model(x)[1] == x.argsort(1)).float().mean())
    print(
        f"pointer_network_sort: loss {losses[0]:.2f} -> {np.mean(losses[-10:]):.3f}, positions right {acc:.3f}"
    )
    return acc


# ---------------------------------------------------------------- word2vec
def word2vec_negative_sampling():
    """Skip-gram with negative sampling: sparse embeddings, SparseAdam, unigram^0.75 noise, frequent-word subsampling."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    topics, per, function_words = 12, 20, 15
    V = topics * per + function_words
    zipf = 1 / np.arange(1, per + 1) ** 0.7
    zipf /= zipf.sum()
    sents = []
    for _ in range(1800):
        c = rng.integers(topics)
        w = c * per + rng.choice(per, 14, p=zipf)
        w = np.where(rng.random(14) < 0.3, topics * per + rng.integers(0, function_words, 14), w)
        sents.append(w)
    freq = np.bincount(np.concatenate(sents), minlength=V) / (1800 * 14)
    keep = np.minimum(1, np.sqrt(0.005 / np.maximum(freq, 1e-9)))
    noise = torch.tensor(freq**0.75)
    pairs = []
    for s in sents:
        s = s[rng.random(len(s)) < keep[s]]
        for i in range(len(s)):
            r = rng.integers(1, 4)
            pairs += [(s[i], s[j]) for j in range(max(0, i - r), min(len(s), i + r + 1)) if j != i]
    pairs = torch.tensor(np.array(pairs))

    class SkipGram(nn.Module):
        def __init__(self, d=24):
            super().__init__()
            self.u, self.v = nn.Embedding(V, d, sparse=True), nn.Embedding(V, d, sparse=True)
            nn.init.uniform_(self.u.weight, -0.5 / d, 0.5 / d)
            nn.init.zeros_(self.v.weight)

        def forward(self, c, o, neg):
            e = self.u(c)
            pos = F.logsigmoid((e * self.v(o)).sum(1))
            negs = F.logsigmoid(-torch.bmm(self.v(neg), e.unsqueeze(2)).squeeze(2)).sum(1)
            return -(pos + negs).mean()

    model = SkipGram()
    opt = torch.optim.SparseAdam(list(model.parameters()), lr=0.01)
    losses = []
    for _ in range(2):
        for idx in torch.randperm(len(pairs)).split(512):
            c, o = pairs[idx].T
            neg = torch.multinomial(noise, len(idx) * 5, replacement=True).view(-1, 5)
            loss = model(c, o, neg)
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
    e = F.normalize(model.u.weight.detach()[: topics * per], dim=1)
    sim = e @ e.T
    sim.fill_diagonal_(-2)
    t = torch.arange(topics * per) // per
    purity = float((t[sim.topk(5, 1).indices] == t[:, None]).float().mean())
    print(
        f"word2vec_negative_sampling: {len(losses)} steps, loss {losses[0]:.2f} -> {np.mean(losses[-20:]):.2f}, neighbours of the topic {purity:.3f}"
    )
    return purity


# ---------------------------------------------------------------- DeepFM
def deepfm_clicks():
    """DeepFM: linear, factorised and deep parts over shared field embeddings; BCE with logits; AUC; early stop."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    fields = [40, 30, 20, 10, 5]
    n = 12000
    lat = [rng.normal(0, 0.9, (f, 3)) for f in fields]
    bias = [rng.normal(0, 0.5, f) for f in fields]
    x = np.stack([rng.integers(0, f, n) for f in fields], 1)
    vec = np.stack([lat[i][x[:, i]] for i in range(5)], 1)
    pair = 0.5 * ((vec.sum(1) ** 2).sum(1) - (vec**2).sum((1, 2)))
    logit = pair * 0.8 + sum(bias[i][x[:, i]] for i in range(5)) - 1
    y = (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(np.float32)
    offsets = torch.tensor(np.concatenate([[0], np.cumsum(fields)[:-1]]))
    X, Y = torch.tensor(x), torch.tensor(y)
    tr, va, te = slice(0, 9000), slice(9000, 10500), slice(10500, n)

    class DeepFM(nn.Module):
        def __init__(self, d=8):
            super().__init__()
            tot = sum(fields)
            self.linear, self.bias, self.emb = (
                nn.Embedding(tot, 1),
                nn.Parameter(torch.zeros(1)),
                nn.Embedding(tot, d),
            )
            nn.init.xavier_uniform_(self.emb.weight)
            nn.init.zeros_(self.linear.weight)
            self.mlp = nn.Sequential(
                nn.Linear(5 * d, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Dropout(0.2), nn.Linear(48, 1)
            )

        def forward(self, x):
            x = x + offsets
            e = self.emb(x)
            fm = 0.5 * (e.sum(1).pow(2) - e.pow(2).sum(1)).sum(1, keepdim=True)
            return (self.linear(x).sum(1) + self.bias + fm + self.mlp(e.flatten(1))).squeeze(1)

    model, crit = DeepFM(), nn.BCEWithLogitsLoss()
    opt = torch.optim.Adam(model.parameters(), lr=5e-3, weight_decay=1e-5)

    def auc(s):
        model.eval()
        with torch.no_grad():
            p = torch.sigmoid(model(X[s]))
        model.train()
        return roc_auc_score(Y[s], p)

    best, bad, state = 0.0, 0, None
    for epoch in range(10):
        for idx in torch.randperm(9000).split(256):
            opt.zero_grad()
            crit(model(X[idx]), Y[idx]).backward()
            opt.step()
        v = auc(va)
        if v > best:
            best, bad, state = v, 0, {k: t.clone() for k, t in model.state_dict().items()}
        else:
            bad += 1
            if bad == 2:
                break
    model.load_state_dict(state)
    a, ceiling = auc(te), roc_auc_score(y[te], logit[te])
    print(f"deepfm_clicks: {epoch + 1} epochs, test AUC {a:.3f} (true model {ceiling:.3f})")
    return a


# ---------------------------------------------------------------- neural ODE
def neural_ode_spiral():
    """Neural ODE on a noisy saturating spiral, fixed-step Euler through short sub-trajectories."""
    torch.manual_seed(0)
    A = torch.tensor([[-0.1, 2.0], [-2.0, -0.1]])
    T, dt = 400, 0.025

    def euler(f, y0, steps, h, sub=1):
        ys, y = [y0], y0
        for _ in range(steps - 1):
            for _ in range(sub):
                y = y + h / sub * f(y)
            ys.append(y)
        return torch.stack(ys)

    with torch.no_grad():
        true_y = euler(lambda y: 2 * torch.tanh(y) @ A, torch.tensor([[2.0, 0.0]]), T, dt, sub=20)
        noisy = true_y + 0.01 * torch.randn_like(true_y)

    class ODEFunc(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(2, 50), nn.Tanh(), nn.Linear(50, 2))
            for m in self.net:
                if isinstance(m, nn.Linear):
                    nn.init.normal_(m.weight, std=0.1)
                    nn.init.constant_(m.bias, 0)

        def forward(self, y):
            return self.net(y)

    def get_batch(bt=20, bs=32):
        s = torch.randperm(T - bt)[:bs]
        return noisy[s, 0], torch.stack([noisy[s + i, 0] for i in range(bt)])

    func = ODEFunc()
    opt = torch.optim.Adam(func.parameters(), lr=2e-2)
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, 350)

    def full():
        with torch.no_grad():
            return float((euler(func, true_y[0], T, dt, sub=2) - true_y).abs().mean())

    before = full()
    for itr in range(350):
        opt.zero_grad()
        y0, by = get_batch()
        loss = (euler(func, y0, 20, dt, sub=2) - by).abs().mean()
        loss.backward()
        opt.step()
        sched.step()
    after = full()
    print(
        f"neural_ode_spiral: trajectory error {before:.3f} -> {after:.3f}, segment loss {loss.item():.4f}"
    )
    return after


# ---------------------------------------------------------------- PINN
def pinn_oscillator_adam_lbfgs():
    """Physics-informed network for a damped oscillator: Adam first, LBFGS with closure after."""
    torch.manual_seed(1)
    w0, d = 8.0, 1.0
    w = math.sqrt(w0**2 - d**2)
    phi = math.atan(-d / w)
    exact = lambda t: torch.exp(-d * t) * torch.cos(phi + w * t) / math.cos(phi)
    t_col = torch.linspace(0, 1, 80).view(-1, 1).requires_grad_(True)
    t0 = torch.zeros(1, 1, requires_grad=True)
    net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    for m in net:
        if isinstance(m, nn.Linear):
            nn.init.xavier_normal_(m.weight)
            nn.init.zeros_(m.bias)

    def derivative(u, t):
        return torch.autograd.grad(u, t, torch.ones_like(u), create_graph=True)[0]

    def physics_loss():
        u = net(t_col)
        ut = derivative(u, t_col)
        utt = derivative(ut, t_col)
        res = (utt + 2 * d * ut + w0**2 * u) / w0**2
        u0 = net(t0)
        return (res**2).mean() + (u0 - 1).pow(2).mean() + (derivative(u0, t0) / w0).pow(2).mean()

    with torch.no_grad():
        tt = torch.linspace(0, 1, 300).view(-1, 1)
        before = float((net(tt) - exact(tt)).norm() / exact(tt).norm())
    adam = torch.optim.Adam(net.parameters(), lr=5e-3)
    for _ in range(250):
        adam.zero_grad()
        loss = physics_loss()
        loss.backward()
        adam.step()
    adam_loss = loss.item()
    lbfgs = torch.optim.LBFGS(
        net.parameters(), lr=1.0, max_iter=20, history_size=30, line_search_fn="strong_wolfe"
    )

    def closure():
        lbfgs.zero_grad()
        l = physics_loss()
        l.backward()
        return l

    for _ in range(25):
        last = lbfgs.step(closure)
    with torch.no_grad():
        err = float((net(tt) - exact(tt)).norm() / exact(tt).norm())
    print(
        f"pinn_oscillator_adam_lbfgs: loss {adam_loss:.1e} -> {last.item():.1e}, relative error {before:.2f} -> {err:.4f}"
    )
    return err


HEALTHY = [
    gat_citation_masks,
    ctc_digit_strips,
    seq2seq_dates_attention,
    pointer_network_sort,
    word2vec_negative_sampling,
    deepfm_clicks,
    neural_ode_spiral,
    pinn_oscillator_adam_lbfgs,
]
