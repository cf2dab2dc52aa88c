"""Sequences: CTC, seq2seq, character language models, masked models, prompts."""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from .common import seed_everything


def ctc_pattern_transcription() -> None:
    """CTC: each symbol is drawn as a noisy stretch of frames of random length; blanks come to dominate at first."""
    seed_everything(0)
    n_sym, feat = 5, 8
    proto = torch.randn(n_sym + 1, feat)

    def batch(n):
        xs, ys, xl, yl = [], [], [], []
        for _ in range(n):
            L = int(torch.randint(2, 6, ()))
            y = torch.randint(1, n_sym + 1, (L,))
            frames = []
            for s in y:
                frames += [
                    proto[s].repeat(int(torch.randint(2, 5, ())), 1),
                    proto[0].repeat(int(torch.randint(1, 3, ())), 1),
                ]
            x = torch.cat(frames)
            xs.append(x + 0.4 * torch.randn_like(x))
            ys.append(y)
            xl.append(len(x))
            yl.append(L)
        return (
            nn.utils.rnn.pad_sequence(xs, batch_first=True),
            torch.cat(ys),
            torch.tensor(xl),
            torch.tensor(yl),
        )

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.GRU(feat, 32, batch_first=True, bidirectional=True)
            self.fc = nn.Linear(64, n_sym + 1)

        def forward(self, x, lengths):
            h, _ = self.rnn(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
            h, _ = pad_packed_sequence(h, batch_first=True)
            return self.fc(h).log_softmax(-1)

    net = Net()
    opt = torch.optim.Adam(net.parameters(), lr=5e-3)
    ctc = nn.CTCLoss(blank=0, zero_infinity=True)

    @torch.no_grad()
    def exact_match(n=200):
        net.eval()
        x, y, xl, yl = batch(n)
        path = net(x, xl).argmax(-1)
        ok = 0
        for p, l, target in zip(path, xl, y.split(yl.tolist())):
            seq = torch.unique_consecutive(p[:l])
            ok += int(torch.equal(seq[seq != 0], target))
        net.train()
        return ok / n

    for step in range(200):
        x, y, xl, yl = batch(32)
        loss = ctc(net(x, xl).transpose(0, 1), y, xl, yl)
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        opt.step()
        if step % 50 == 49:
            print(f"step {step + 1} ctc {loss.item():.3f} exact {exact_match():.2f}")


class Seq2Seq(nn.Module):
    def __init__(self, vocab, d=48, h=96):
        super().__init__()
        self.emb = nn.Embedding(vocab, d, padding_idx=0)
        self.enc = nn.GRU(d, h, batch_first=True, bidirectional=True)
        self.bridge = nn.Linear(2 * h, h)
        self.cell = nn.GRUCell(d + 2 * h, h)
        self.key = nn.Linear(2 * h, h)
        self.out = nn.Linear(3 * h, vocab)

    def forward(self, src, trg, teacher_forcing):
        mask = src == 0
        e, s = self.enc(self.emb(src))
        s = torch.tanh(self.bridge(torch.cat([s[0], s[1]], 1)))
        keys = self.key(e)
        tok = trg[:, 0]
        outs = []
        ctx = e.new_zeros(len(src), e.size(-1))
        for t in range(1, trg.size(1)):
            s = self.cell(torch.cat([self.emb(tok), ctx], 1), s)
            score = (keys @ s.unsqueeze(-1)).squeeze(-1).masked_fill(mask, float("-inf"))
            ctx = (score.softmax(1).unsqueeze(1) @ e).squeeze(1)
            logit = self.out(torch.cat([s, ctx], 1))
            outs.append(logit)
            use_truth = torch.rand(len(src)) < teacher_forcing
            tok = torch.where(use_truth, trg[:, t], logit.argmax(1))
        return torch.stack(outs, 1)


def seq2seq_scheduled_sampling() -> None:
    """Reverse a string with attention; teacher forcing decays, so the training loss may rise while the metric improves."""
    seed_everything(0)
    PAD, BOS, EOS, V = 0, 1, 2, 15

    def batch(n, lo=3, hi=8):
        L = torch.randint(lo, hi + 1, (n,))
        src = torch.zeros(n, hi, dtype=torch.long)
        trg = torch.zeros(n, hi + 2, dtype=torch.long)
        trg[:, 0] = BOS
        for i, l in enumerate(L.tolist()):
            w = torch.randint(3, V, (l,))
            src[i, :l] = w
            trg[i, 1 : l + 1] = w.flip(0)
            trg[i, l + 1] = EOS
        return src, trg

    net = Seq2Seq(V)
    opt = torch.optim.Adam(net.parameters(), lr=4e-3)
    sched = torch.optim.lr_scheduler.ExponentialLR(opt, 0.997)
    crit = nn.CrossEntropyLoss(ignore_index=PAD)
    for step in range(400):
        tf = max(0.3, 1 - step / 350)
        net.train()
        src, trg = batch(48)
        logits = net(src, trg, tf)
        loss = crit(logits.reshape(-1, V), trg[:, 1:].reshape(-1))
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        sched.step()
        if step % 100 == 99:
            net.eval()
            with torch.no_grad():
                src, trg = batch(200)
                pred = net(src, trg, 0.0).argmax(-1)
                gold = trg[:, 1:]
                ok = ((pred == gold) | (gold == PAD)).all(1).float().mean().item()
            print(
                f"step {step + 1} teacher forcing {tf:.2f} loss {loss.item():.3f} free-running exact {ok:.2f}"
            )


def corpus():
    return torch.__doc__ + "\n".join(
        o.__doc__ or ""
        for o in (
            nn.Linear,
            nn.LSTM,
            nn.GRU,
            nn.Conv2d,
            nn.Transformer,
            nn.CrossEntropyLoss,
            nn.Embedding,
            nn.BatchNorm2d,
            nn.CTCLoss,
            torch.optim.Adam,
            torch.optim.SGD,
            nn.MultiheadAttention,
        )
    )


class CharLSTM(nn.Module):
    def __init__(self, vocab, h=96):
        super().__init__()
        self.emb = nn.Embedding(vocab, 48)
        self.lstm = nn.LSTM(48, h, num_layers=2, dropout=0.1, batch_first=True)
        self.fc = nn.Linear(h, vocab)

    def forward(self, x, state=None):
        o, state = self.lstm(self.emb(x), state)
        return self.fc(o), state


def char_lm_truncated_bptt() -> None:
    """Contiguous streams, not shuffled on purpose; the state is carried over and detached between chunks."""
    seed_everything(0)
    text = corpus()
    chars = sorted(set(text))
    ids = torch.tensor([chars.index(c) for c in text])
    cut = int(0.9 * len(ids))
    B, T = 16, 32

    def streams(z, b):
        n = (len(z) - 1) // b
        return z[: n * b].view(b, n), z[1 : n * b + 1].view(b, n)

    tx, ty = streams(ids[:cut], B)
    vx, vy = streams(ids[cut:], 4)
    net = CharLSTM(len(chars))
    opt = torch.optim.Adam(net.parameters(), lr=4e-3)
    for epoch in range(4):
        net.train()
        state, tot, n = None, 0.0, 0
        for i in range(0, tx.size(1) - T, T):
            if state is not None:
                state = tuple(s.detach() for s in state)
            logits, state = net(tx[:, i : i + T], state)
            loss = F.cross_entropy(logits.flatten(0, 1), ty[:, i : i + T].flatten())
            opt.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 0.5)
            opt.step()
            tot += loss.item()
            n += 1
        net.eval()
        with torch.no_grad():
            logits, _ = net(vx)
            val = F.cross_entropy(logits.flatten(0, 1), vy.flatten()).item()
        print(
            f"epoch {epoch} steps {n} loss {tot / n:.3f} val {val:.3f} perplexity {math.exp(val):.1f} (uniform {len(chars)})"
        )


class Encoder(nn.Module):
    def __init__(self, vocab, d=48, heads=4, layers=2, max_len=32):
        super().__init__()
        self.tok, self.pos = nn.Embedding(vocab, d), nn.Parameter(torch.randn(1, max_len + 8, d) * 0.02)
        layer = nn.TransformerEncoderLayer(
            d, heads, 2 * d, dropout=0.0, batch_first=True, norm_first=True
        )
        self.enc = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(d)
        self.bias = nn.Parameter(torch.zeros(vocab))
        nn.init.normal_(self.tok.weight, std=d**-0.5)

    def features(self, x, prompt=None):
        h = self.tok(x)
        if prompt is not None:
            h = torch.cat([prompt.expand(len(x), -1, -1), h], 1)
        return self.norm(self.enc(h + self.pos[:, : h.size(1)]))

    def forward(self, x):
        return self.features(x) @ self.tok.weight.t() + self.bias


def markov_sequences(n, vocab, length, trans, g=None):
    s = torch.randint(0, vocab, (n,), generator=g)
    out = [s]
    for _ in range(length - 1):
        s = torch.multinomial(trans[s], 1, generator=g).squeeze(1)
        out.append(s)
    return torch.stack(out, 1)


def masked_language_model_tied_weights() -> None:
    """BERT-style 80/10/10 masking, tied output embedding, ignore_index -100, warm-up, no decay on norms and biases."""
    seed_everything(0)
    V, L, MASK = 12, 16, 12
    trans = torch.full((V, V), 0.01)
    for i in range(V):
        trans[i, (i + 1) % V] = 1.0
        trans[i, (3 * i + 2) % V] += 0.3
    trans = trans / trans.sum(1, keepdim=True)
    train, val = markov_sequences(4000, V, L, trans), markov_sequences(500, V, L, trans)
    net = Encoder(V + 1)

    def mask_tokens(x):
        labels = x.clone()
        chosen = torch.rand(x.shape) < 0.15
        labels[~chosen] = -100
        u = torch.rand(x.shape)
        x = torch.where(chosen & (u < 0.8), torch.full_like(x, MASK), x)
        return torch.where(chosen & (u >= 0.9), torch.randint(0, V, x.shape), x), labels

    decay = [p for n, p in net.named_parameters() if p.ndim >= 2 and "pos" not in n]
    rest = [p for n, p in net.named_parameters() if not (p.ndim >= 2 and "pos" not in n)]
    opt = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}], lr=3e-3
    )
    steps, warm = 500, 50
    sched = torch.optim.lr_scheduler.LambdaLR(
        opt, lambda k: (k + 1) / warm if k < warm else max(0.02, (steps - k) / (steps - warm))
    )
    crit = nn.CrossEntropyLoss(ignore_index=-100)
    for step in range(steps):
        net.train()
        xb, yb = mask_tokens(train[torch.randint(0, len(train), (64,))])
        loss = crit(net(xb).flatten(0, 1), yb.flatten())
        opt.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        sched.step()
        if step % 125 == 124:
            net.eval()
            with torch.no_grad():
                xv, yv = mask_tokens(val)
                out = net(xv)
                m = yv != -100
                acc = (out.argmax(-1)[m] == yv[m]).float().mean().item()
            print(
                f"step {step + 1} loss {loss.item():.3f} masked accuracy {acc:.3f} (chance {1 / V:.3f})"
            )


def prompt_tuning_frozen_transformer() -> None:
    """A transformer trained on one task is frozen; only prompt vectors and a small head learn the second task."""
    seed_everything(0)
    V, L = 10, 12
    net = Encoder(V)

    def data(n, task):
        x = torch.randint(0, V, (n, L))
        if task == 0:
            y = (x == 3).sum(1).clamp(max=4)
        else:
            y = ((x == 3).sum(1) > (x == 7).sum(1)).long()
        return x, y

    head0 = nn.Linear(48, 5)
    opt = torch.optim.Adam([*net.parameters(), *head0.parameters()], lr=2e-3)
    for step in range(150):
        x, y = data(64, 0)
        loss = F.cross_entropy(head0(net.features(x).mean(1)), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(f"first task loss {loss.item():.3f}")

    net.eval().requires_grad_(False)
    prompt = nn.Parameter(torch.randn(1, 6, 48) * 0.1)
    head1 = nn.Linear(48, 2)
    opt = torch.optim.Adam(
        [{"params": [prompt], "lr": 3e-2}, {"params": head1.parameters(), "lr": 5e-3}]
    )
    for step in range(300):
        x, y = data(64, 1)
        loss = F.cross_entropy(head1(net.features(x, prompt).mean(1)), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        if step % 100 == 99:
            with torch.no_grad():
                xv, yv = data(1000, 1)
                acc = (head1(net.features(xv, prompt).mean(1)).argmax(1) == yv).float().mean().item()
            print(
                f"prompt step {step + 1} loss {loss.item():.3f} accuracy {acc:.3f} (majority {max(yv.float().mean(), 1 - yv.float().mean()):.3f})"
            )


class Adapter(nn.Module):
    def __init__(self, layer, d, r=8):
        super().__init__()
        self.layer, self.down, self.up = layer, nn.Linear(d, r), nn.Linear(r, d)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x):
        h = self.layer(x)
        return h + self.up(F.gelu(self.down(h)))


def adapters_new_sequence_task() -> None:
    """Bottleneck adapters (zero at start) behind frozen residual convolution blocks, moved to a second labelling task."""
    seed_everything(0)
    V, L, d = 8, 24, 48

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.conv = nn.LayerNorm(d), nn.Conv1d(d, d, 3, padding=1)

        def forward(self, x):
            return x + F.gelu(self.conv(self.norm(x).transpose(1, 2)).transpose(1, 2))

    emb, blocks, head = nn.Embedding(V, d), nn.ModuleList([Block(), Block(), Block()]), nn.Linear(d, 2)

    def forward(x):
        h = emb(x)
        for b in blocks:
            h = b(h)
        return head(h)

    def data(n, task):
        x = torch.randint(0, V, (n, L))
        left, right = F.pad(x, (1, 0), value=0)[:, :-1], F.pad(x, (0, 1), value=0)[:, 1:]
        y = ((left + x + right) % 2) if task == 0 else (left > right).long()
        return x, y

    def train(params, task, steps, lr):
        opt = torch.optim.AdamW(params, lr=lr)
        for step in range(steps):
            x, y = data(64, task)
            loss = F.cross_entropy(forward(x).flatten(0, 1), y.flatten())
            opt.zero_grad()
            loss.backward()
            opt.step()
        with torch.no_grad():
            x, y = data(500, task)
            print(
                f"task {task} loss {loss.item():.3f} accuracy {(forward(x).argmax(-1) == y).float().mean():.3f}"
            )

    train([*emb.parameters(), *blocks.parameters(), *head.parameters()], 0, 150, 3e-3)
    emb.requires_grad_(False)
    blocks.requires_grad_(False)
    for i in range(len(blocks)):
        blocks[i] = Adapter(blocks[i], d)
    new = [p for p in blocks.parameters() if p.requires_grad] + list(head.parameters())
    train(new, 1, 250, 5e-3)


HEALTHY = [
    ctc_pattern_transcription,
    seq2seq_scheduled_sampling,
    char_lm_truncated_bptt,
    masked_language_model_tied_weights,
    prompt_tuning_frozen_transformer,
    adapters_new_sequence_task,
]
