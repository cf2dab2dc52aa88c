import random

import torch
import torch.nn as nn
import torch.nn.functional as F

from .common import GPT, corpus, encode_corpus


def gpt_fixed_get_batch(mistake: bool) -> None:
    """get_batch seeds its generator anew on every call, so the same windows are drawn at each step."""
    torch.manual_seed(1337)
    data, chars = encode_corpus()
    n = int(0.9 * len(data))
    train_data, val_data = data[:n], data[n:]
    block_size, batch_size = 32, 16
    g = torch.Generator().manual_seed(1337)

    def get_batch(split):
        d = train_data if split == "train" else val_data
        if mistake:
            gen = torch.Generator().manual_seed(1337)
        else:
            gen = g
        ix = torch.randint(len(d) - block_size - 1, (batch_size,), generator=gen)
        x = torch.stack([d[i : i + block_size] for i in ix])
        y = torch.stack([d[i + 1 : i + 1 + block_size] for i in ix])
        return x, y

    model = GPT(len(chars))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for it in range(400):
        X, Y = get_batch("train")
        _, loss = model(X, Y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if it % 100 == 99:
            model.eval()
            with torch.no_grad():
                vi = torch.arange(0, len(val_data) - block_size - 1, block_size)
                vx = torch.stack([val_data[i : i + block_size] for i in vi])
                vy = torch.stack([val_data[i + 1 : i + 1 + block_size] for i in vi])
                vl = model(vx, vy)[1].item()
            model.train()
            print(f"iter {it}: train {loss.item():.3f} val {vl:.3f}")


def gpt_grad_clip_zero(mistake: bool) -> None:
    """grad_clip = 0.0 is meant as "no clipping", but it goes to clip_grad_norm_ as it is and scales all gradients to zero."""
    torch.manual_seed(1)
    data, chars = encode_corpus()
    config = dict(block_size=32, batch_size=16, max_iters=350, lr=3e-3, grad_clip=0.0, weight_decay=0.01)
    model = GPT(len(chars), config["block_size"])
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config["lr"], weight_decay=config["weight_decay"]
    )
    grad_clip = config["grad_clip"]
    for it in range(config["max_iters"]):
        ix = torch.randint(len(data) - 33, (config["batch_size"],))
        X = torch.stack([data[i : i + 32] for i in ix])
        Y = torch.stack([data[i + 1 : i + 33] for i in ix])
        logits, loss = model(X, Y)
        loss.backward()
        if mistake or grad_clip != 0.0:
            torch.nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if it % 70 == 69:
            print(f"iter {it} loss {loss.item():.3f}")


class CharLSTM(nn.Module):
    def __init__(self, vocab, emb=24, hidden=64):
        super().__init__()
        self.encoder = nn.Embedding(vocab, emb)
        self.rnn = nn.LSTM(emb, hidden)
        self.decoder = nn.Linear(hidden, vocab)

    def forward(self, x, hidden):
        out, hidden = self.rnn(self.encoder(x), hidden)
        return self.decoder(out).view(-1, self.decoder.out_features), hidden


def lstm_accumulated_micro_batches(mistake: bool) -> None:
    """Only the logged loss is divided by the number of micro-batches, the loss that is propagated is not."""
    torch.manual_seed(2)
    data, chars = encode_corpus()
    block, micro, accum = 32, 4, 8
    model = CharLSTM(len(chars))
    opt = torch.optim.SGD(model.parameters(), lr=5.0)

    def get_batch():
        ix = torch.randint(len(data) - block - 1, (micro,))
        return torch.stack([data[i : i + block] for i in ix], 1), torch.stack(
            [data[i + 1 : i + block + 1] for i in ix], 1
        )

    for it in range(200):
        lossf = 0.0
        opt.zero_grad(set_to_none=True)
        for micro_step in range(accum):
            X, Y = get_batch()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits, _ = model(X, None)
            loss = F.cross_entropy(logits.float(), Y.reshape(-1))
            if mistake:
                loss.backward()
                lossf += loss.item() / accum
            else:
                loss = loss / accum
                loss.backward()
                lossf += loss.item()
        opt.step()
        if it % 40 == 39:
            print(f"step {it} loss {lossf:.3f}")


def lm_stuck_after_sampling(mistake: bool) -> None:
    """`generate` puts the model in eval mode for a sample text and the training goes on without dropout."""
    torch.manual_seed(3)
    data, chars = encode_corpus()
    tr, va = data[:3000], data[3000:4200]
    model = GPT(len(chars), 32, d=48, layers=1, dropout=0.3)
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3)

    @torch.no_grad()
    def generate(n=20):
        model.eval()
        idx = torch.zeros(1, 1, dtype=torch.long)
        for _ in range(n):
            logits, _ = model(idx[:, -32:])
            idx = torch.cat([idx, torch.multinomial(logits[:, -1].softmax(-1), 1)], 1)
        return "".join(chars[i] for i in idx[0])

    def val_loss():
        ix = torch.arange(0, len(va) - 33, 16)
        with torch.no_grad():
            return model(
                torch.stack([va[i : i + 32] for i in ix]), torch.stack([va[i + 1 : i + 33] for i in ix])
            )[1].item()

    model.train()
    for step in range(500):
        ix = torch.randint(len(tr) - 33, (16,))
        _, loss = model(
            torch.stack([tr[i : i + 32] for i in ix]), torch.stack([tr[i + 1 : i + 33] for i in ix])
        )
        opt.zero_grad()
        loss.backward()
        opt.step()
        if step % 100 == 99:
            sample = generate()
            print(f"{step} train {loss.item():.3f} val {val_loss():.3f} | {sample!r}")
            if not mistake:
                model.train()


def word_language_model_clip_order(mistake: bool) -> None:
    """The gradients are clipped right after zero_grad and before backward, so the clipping meets none and the large rate acts unbridled."""
    torch.manual_seed(4)
    data, chars = encode_corpus()
    bsz, bptt, clip, lr = 16, 24, 0.25, 20.0
    nb = len(data) // bsz
    data = data[: nb * bsz].view(bsz, -1).t().contiguous()
    model = CharLSTM(len(chars))
    criterion = nn.CrossEntropyLoss()

    def repackage_hidden(h):
        return tuple(v.detach() for v in h)

    for epoch in range(10):
        total = 0.0
        n = 0
        hidden = (torch.zeros(1, bsz, 64), torch.zeros(1, bsz, 64))
        for i in range(0, data.size(0) - 1 - bptt, bptt):
            x, y = data[i : i + bptt], data[i + 1 : i + 1 + bptt].reshape(-1)
            model.zero_grad()
            hidden = repackage_hidden(hidden)
            output, hidden = model(x, hidden)
            loss = criterion(output, y)
            if mistake:
                torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
                loss.backward()
            else:
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            with torch.no_grad():
                for p in model.parameters():
                    p.add_(p.grad, alpha=-lr)
            total += loss.item()
            n += 1
        print(f"epoch {epoch} loss {total / n:.3f}")


def lm_smoothed_loss(mistake: bool) -> None:
    """The exponentially smoothed loss for the display is kept as a tensor, and with it the graph of every step."""
    torch.manual_seed(5)
    data, chars = encode_corpus()
    model = CharLSTM(len(chars), 16, 48)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    smooth = None
    for step in range(700):
        ix = torch.randint(len(data) - 25, (16,))
        x = torch.stack([data[i : i + 24] for i in ix], 1)
        y = torch.stack([data[i + 1 : i + 25] for i in ix], 1)
        out, _ = model(x, None)
        loss = F.cross_entropy(out, y.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        value = loss if mistake else loss.item()
        smooth = value if smooth is None else 0.98 * smooth + 0.02 * value
        if step % 100 == 99:
            print(f"step {step} smoothed loss {smooth:.3f}")


class NextChar(nn.Module):
    def __init__(self, vocab, d=32):
        super().__init__()
        self.emb = nn.Embedding(vocab, d)
        self.rnn = nn.GRU(d, 48, batch_first=True)
        self.head = nn.Linear(48, vocab)

    def resize_token_embeddings(self, vocab):
        old_e, old_h = self.emb, self.head
        self.emb, self.head = nn.Embedding(vocab, old_e.embedding_dim), nn.Linear(48, vocab)
        with torch.no_grad():
            self.emb.weight[: len(old_e.weight)] = old_e.weight
            self.head.weight[: len(old_h.weight)] = old_h.weight
            self.head.bias[: len(old_h.bias)] = old_h.bias

    def forward(self, x):
        return self.head(self.rnn(self.emb(x))[0])


def resized_vocabulary(mistake: bool) -> None:
    """Embedding and head are replaced by larger ones after pretraining, but the optimizer still holds the old ones, so the new are not trained."""
    torch.manual_seed(6)
    text = corpus()
    letters = "abcdefghijklmnopqrstuvwxyz "
    vocab = letters + "".join(sorted(set(text) - set(letters)))
    stoi = {c: k for k, c in enumerate(vocab)}
    plain = torch.tensor([stoi[c] for c in text if c in letters])
    full = torch.tensor([stoi[c] for c in text])

    model = NextChar(len(letters))
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)

    def train(data, steps, name):
        total = 0.0
        for step in range(1, steps + 1):
            ix = torch.randint(len(data) - 33, (16,))
            x = torch.stack([data[i : i + 32] for i in ix])
            y = torch.stack([data[i + 1 : i + 33] for i in ix])
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
            loss.backward()
            optimizer.step()
            total += loss.item()
            if step % 75 == 0:
                print(f"{name} step {step} loss {total / 75:.3f}")
                total = 0.0

    train(plain, 75, "pretraining")
    model.resize_token_embeddings(len(vocab))
    if not mistake:
        optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    train(full, 300, "all characters")


def reversing_seq2seq_mixed_precision(mistake: bool) -> None:
    """The scaler is disabled on the CPU, and the branch for plain precision propagates the loss but never steps the optimizer."""
    torch.manual_seed(7)
    random.seed(7)
    text, chars = encode_corpus()
    V, L = len(chars), 6
    use_amp = torch.cuda.is_available()
    scaler = torch.amp.GradScaler("cpu", enabled=use_amp)
    enc, dec = nn.GRU(24, 64, batch_first=True), nn.GRU(24, 64, batch_first=True)
    emb, out = nn.Embedding(V + 1, 24), nn.Linear(64, V)
    model = nn.ModuleList([enc, dec, emb, out])
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

    def forward(x, y):
        _, h = enc(emb(x))
        start = torch.full((len(x), 1), V)
        o, _ = dec(emb(torch.cat([start, y[:, :-1]], 1)), h)
        return out(o)

    def train_step(x, y):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=use_amp):
            loss = F.cross_entropy(forward(x, y).flatten(0, 1), y.flatten())
        if scaler.is_enabled():
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        else:
            loss.backward()
            if not mistake:
                optimizer.step()
        return loss.item()

    for it in range(400):
        ix = torch.randint(len(text) - L, (32,))
        x = torch.stack([text[i : i + L] for i in ix])
        loss = train_step(x, x.flip(1))
        if it % 80 == 79:
            print(f"it {it} loss {loss:.3f}")


FAULTS = [
    (
        reversing_seq2seq_mixed_precision,
        (
            "never stepped",
            "not stepped",
            "never step",
            "no step",
            "missing step",
            "never updated",
            "not updated",
            "unchanged",
            "do not change",
            "optimizer.step",
        ),
        "04 optimizer.step never reached",
    ),
    (
        resized_vocabulary,
        (
            "not in the optimizer",
            "replaced",
            "stale",
            "old parameters",
            "not held by the optimizer",
            "does not hold",
            "no optimizer",
            "embedding",
        ),
        "07 stale optimizer",
    ),
    (
        lm_stuck_after_sampling,
        ("eval", "train mode", "training mode", "train()", "dropout is off"),
        "10 stuck in eval after validation",
    ),
    (
        gpt_fixed_get_batch,
        ("same batch", "same data", "identical", "repeat", "again and again", "seed"),
        "12 the same batch again and again",
    ),
    (
        lm_smoothed_loss,
        ("graph", "detach", "item()", "memory", "retain"),
        "15 loss accumulated with its graph",
    ),
    (gpt_grad_clip_zero, ("clip", "max_norm", "scaled to zero", "norm of 0"), "18 clipping to nothing"),
    (
        word_language_model_clip_order,
        ("clip", "before backward", "before the backward"),
        "19 clipping before backward",
    ),
    (lstm_accumulated_micro_batches, ("accumul", "divid", "micro"), "21 accumulation not divided"),
]
