"""Text and time-series loops: seq2seq, language models, taggers, forecasters."""

import math
from dataclasses import dataclass
from typing import Optional

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

from .common import AverageMeter, WindowDataset, corpus, load_series, seed_everything


# --------------------------------------------------------------------------- 03
class EncoderRNN(nn.Module):
    def __init__(self, vocab, hidden):
        super().__init__()
        self.embedding = nn.Embedding(vocab, 32)
        self.gru = nn.GRU(32, hidden, batch_first=True)

    def forward(self, src):
        return self.gru(self.embedding(src))


class AttnDecoderRNN(nn.Module):
    def __init__(self, vocab, hidden):
        super().__init__()
        self.embedding = nn.Embedding(vocab, 32)
        self.gru = nn.GRU(32, hidden, batch_first=True)
        self.query = nn.Linear(hidden, hidden, bias=False)
        self.out = nn.Linear(2 * hidden, vocab)

    def forward(self, tgt_in, hidden, memory):
        h, hidden = self.gru(self.embedding(tgt_in), hidden)
        att = torch.softmax(self.query(h) @ memory.transpose(1, 2) / memory.size(-1) ** 0.5, -1)
        return self.out(torch.cat([h, att @ memory], -1)), hidden


def seq2seq_two_optimizers(mistake: bool) -> None:
    """Encoder and decoder have an optimizer each; only the decoder's is zeroed, the encoder's gradients pile up."""
    seed_everything(0)
    SOS, vocab, length = 0, 12, 8
    src = torch.randint(1, vocab, (2400, length))
    tgt = src.flip(1)
    train_loader = DataLoader(TensorDataset(src[:2000], tgt[:2000]), batch_size=40, shuffle=True)
    encoder, decoder = EncoderRNN(vocab, 48), AttnDecoderRNN(vocab, 48)
    encoder_optimizer = torch.optim.SGD(encoder.parameters(), lr=0.2, momentum=0.9)
    decoder_optimizer = torch.optim.SGD(decoder.parameters(), lr=0.2, momentum=0.9)
    criterion = nn.CrossEntropyLoss()

    def train_step(s, t):
        if not mistake:
            encoder_optimizer.zero_grad()
        decoder_optimizer.zero_grad()
        memory, hidden = encoder(s)
        tgt_in = torch.cat([torch.full((len(t), 1), SOS), t[:, :-1]], 1)
        logits, _ = decoder(tgt_in, hidden, memory)
        loss = criterion(logits.reshape(-1, vocab), t.reshape(-1))
        loss.backward()
        encoder_optimizer.step()
        decoder_optimizer.step()
        return loss.item()

    def greedy_accuracy(s, t):
        with torch.no_grad():
            memory, hidden = encoder(s)
            tok = torch.full((len(s), 1), SOS)
            out = []
            for _ in range(length):
                logits, hidden = decoder(tok, hidden, memory)
                tok = logits.argmax(-1)
                out.append(tok)
        return (torch.cat(out, 1) == t).float().mean().item()

    for epoch in range(10):
        losses = [train_step(s, t) for s, t in train_loader]
        print(
            f"{epoch}: loss {sum(losses) / len(losses):.4f} token acc {greedy_accuracy(src[2000:], tgt[2000:]):.3f}"
        )


# --------------------------------------------------------------------------- 08
class CharGRU(nn.Module):
    def __init__(self, vocab, dim=96):
        super().__init__()
        self.emb = nn.Embedding(vocab, 48)
        self.rnn = nn.GRU(48, dim, batch_first=True)
        self.head = nn.Linear(dim, vocab)

    def forward(self, x):
        return self.head(self.rnn(self.emb(x))[0])


@dataclass
class LMConfig:
    block_size: int = 48
    batch_size: int = 4
    lr: float = 5e-3
    weight_decay: float = 0.01
    max_iters: int = 450
    eval_interval: int = 150


class CharLMTrainer:
    def __init__(self, cfg, data, vocab, rebuild):
        self.cfg = cfg
        n = int(0.9 * len(data))
        self.splits = {"train": data[:n], "val": data[n:]}
        self.model = CharGRU(vocab)
        self.optimizer = self.configure_optimizers()
        self.rebuild = rebuild

    def configure_optimizers(self):
        decay = [p for p in self.model.parameters() if p.dim() >= 2]
        no_decay = [p for p in self.model.parameters() if p.dim() < 2]
        groups = [
            {"params": decay, "weight_decay": self.cfg.weight_decay},
            {"params": no_decay, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=self.cfg.lr, betas=(0.9, 0.95))

    def get_batch(self, split):
        data, T = self.splits[split], self.cfg.block_size
        ix = torch.randint(len(data) - T - 1, (self.cfg.batch_size,))
        return torch.stack([data[i : i + T] for i in ix]), torch.stack(
            [data[i + 1 : i + T + 1] for i in ix]
        )

    def loss(self, x, y):
        logits = self.model(x)
        return F.cross_entropy(logits.view(-1, logits.size(-1)), y.view(-1))

    def training_step(self, x, y):
        optimizer = self.configure_optimizers() if self.rebuild else self.optimizer
        optimizer.zero_grad(set_to_none=True)
        loss = self.loss(x, y)
        loss.backward()
        optimizer.step()
        return loss.item()

    @torch.no_grad()
    def estimate_loss(self, split, k=40):
        self.model.eval()
        out = sum(self.loss(*self.get_batch(split)).item() for _ in range(k)) / k
        self.model.train()
        return out

    def run(self):
        for it in range(self.cfg.max_iters):
            self.training_step(*self.get_batch("train"))
            if (it + 1) % self.cfg.eval_interval == 0:
                print(
                    f"iter {it + 1}: train {self.estimate_loss('train'):.4f} val {self.estimate_loss('val'):.4f}"
                )


def char_lm_configure_optimizers(mistake: bool) -> None:
    """The optimizer is built anew inside every training step, so AdamW's moments never build up."""
    seed_everything(1)
    data, stoi, _ = corpus()
    CharLMTrainer(LMConfig(), data, len(stoi), rebuild=mistake).run()


# --------------------------------------------------------------------------- 10
class TCN(nn.Module):
    def __init__(self, horizon=6, width=24, p=0.2):
        super().__init__()
        blocks, c = [], 1
        for d in (1, 2, 4, 8):
            blocks += [
                nn.Conv1d(c, width, 3, padding=d, dilation=d),
                nn.BatchNorm1d(width),
                nn.ReLU(),
                nn.Dropout(p),
            ]
            c = width
        self.body = nn.Sequential(*blocks)
        self.head = nn.Linear(2 * width, horizon)

    def forward(self, x):
        h = self.body(x.unsqueeze(1))
        return self.head(torch.cat([h[..., -1], h.mean(-1)], -1))


class ForecastTrainer:
    def __init__(self, model, loaders, lr=2e-3, epochs=8, train_mode_each_epoch=True):
        self.model, self.loaders, self.epochs = model, loaders, epochs
        self.optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        self.train_mode_each_epoch = train_mode_each_epoch
        self.history = []

    def evaluate(self, split="val"):
        self.model.eval()
        meter = AverageMeter()
        with torch.no_grad():
            for x, y in self.loaders[split]:
                meter.update(F.l1_loss(self.model(x), y).item(), len(x))
        return meter.avg

    def train(self):
        self.model.train()
        for epoch in range(self.epochs):
            if self.train_mode_each_epoch:
                self.model.train()
            meter = AverageMeter()
            for x, y in self.loaders["train"]:
                self.optimizer.zero_grad()
                loss = F.smooth_l1_loss(self.model(x), y)
                loss.backward()
                self.optimizer.step()
                meter.update(loss.item(), len(x))
            self.history.append((meter.avg, self.evaluate("val")))
            print(f"epoch {epoch}: train {meter.avg:.4f} val MAE {self.history[-1][1]:.4f}")


def tcn_forecast_trainer(mistake: bool) -> None:
    """train() is set once before the epochs; evaluate() switches to eval and nobody switches back after epoch 0."""
    seed_everything(2)
    s = load_series()
    loaders = {
        "train": DataLoader(WindowDataset(s[:1200]), batch_size=32, shuffle=True),
        "val": DataLoader(WindowDataset(s[1200:]), batch_size=64),
    }
    ForecastTrainer(TCN(), loaders, train_mode_each_epoch=not mistake).train()


# --------------------------------------------------------------------------- 13
class NBeatsBlock(nn.Module):
    def __init__(self, context, horizon, width=64):
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(context, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.back, self.fore = nn.Linear(width, context), nn.Linear(width, horizon)

    def forward(self, x):
        h = self.fc(x)
        return self.back(h), self.fore(h)


class NBeats(nn.Module):
    def __init__(self, context=48, horizon=6, blocks=3):
        super().__init__()
        self.blocks = nn.ModuleList(NBeatsBlock(context, horizon) for _ in range(blocks))

    def forward(self, x):
        forecast = 0
        for block in self.blocks:
            back, fore = block(x)
            x, forecast = x - back, forecast + fore
        return forecast


def infinite(loader):
    while True:
        yield from loader


def nbeats_iteration_based(mistake: bool) -> None:
    """next(iter(loader)) in each iteration restarts the (ordered) loader: only its first batch is ever seen."""
    seed_everything(3)
    s = load_series(seed=1)
    train_loader = DataLoader(WindowDataset(s[:1200]), batch_size=32, shuffle=False)
    val_x, val_y = next(iter(DataLoader(WindowDataset(s[1200:]), batch_size=400)))
    model = NBeats()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=500)
    batches = infinite(train_loader)

    for step in range(1, 501):
        if mistake:
            x, y = next(iter(train_loader))
        else:
            x, y = next(batches)
        model.train()
        loss = F.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        if step % 100 == 0:
            model.eval()
            with torch.no_grad():
                print(
                    f"step {step}: loss {loss.item():.4f} val MAE {F.l1_loss(model(val_x), val_y).item():.4f}"
                )


# --------------------------------------------------------------------------- 18
@dataclass
class TrainingArguments:
    learning_rate: float = 3e-3
    per_device_train_batch_size: int = 16
    num_train_epochs: int = 4
    warmup_steps: int = 20
    weight_decay: float = 0.01
    max_grad_norm: Optional[float] = 1.0


class Block(nn.Module):
    def __init__(self, d, heads, p):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.attn = nn.MultiheadAttention(d, heads, dropout=p, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d), nn.Dropout(p))

    def forward(self, x, mask):
        h = self.ln1(x)
        x = x + self.attn(h, h, h, attn_mask=mask, need_weights=False)[0]
        return x + self.mlp(self.ln2(x))


class MiniGPT(nn.Module):
    def __init__(self, vocab, d=48, layers=2, heads=4, block=32, p=0.1):
        super().__init__()
        self.tok, self.pos = nn.Embedding(vocab, d), nn.Embedding(block, d)
        self.blocks = nn.ModuleList(Block(d, heads, p) for _ in range(layers))
        self.ln, self.lm_head = nn.LayerNorm(d), nn.Linear(d, vocab, bias=False)

    def forward(self, input_ids, labels=None):
        T = input_ids.size(1)
        mask = torch.full((T, T), float("-inf")).triu(1)
        h = self.tok(input_ids) + self.pos(torch.arange(T))
        for b in self.blocks:
            h = b(h, mask)
        logits = self.lm_head(self.ln(h))
        loss = None if labels is None else F.cross_entropy(logits.flatten(0, 1), labels.flatten())
        return {"loss": loss, "logits": logits}


class LMDataset(Dataset):
    def __init__(self, ids, block=32, stride=8):
        self.ids, self.block = ids, block
        self.starts = range(0, len(ids) - block - 1, stride)

    def __len__(self):
        return len(self.starts)

    def __getitem__(self, i):
        j = self.starts[i]
        return {
            "input_ids": self.ids[j : j + self.block],
            "labels": self.ids[j + 1 : j + self.block + 1],
        }


class Trainer:
    def __init__(self, model, args, train_dataset, eval_dataset):
        self.model, self.args = model, args
        self.train_dataset, self.eval_dataset = train_dataset, eval_dataset

    def create_optimizer_and_scheduler(self, num_training_steps):
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=self.args.learning_rate, weight_decay=self.args.weight_decay
        )
        w = self.args.warmup_steps
        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer,
            lambda s: min((s + 1) / w, max(0.0, (num_training_steps - s) / (num_training_steps - w))),
        )

    def training_step(self, inputs):
        self.model.train()
        loss = self.model(**inputs)["loss"]
        loss.backward()
        return loss.detach()

    def evaluate(self):
        self.model.eval()
        losses = []
        with torch.no_grad():
            for inputs in DataLoader(self.eval_dataset, batch_size=64):
                losses.append(self.model(**inputs)["loss"].item())
        return {
            "eval_loss": sum(losses) / len(losses),
            "perplexity": math.exp(sum(losses) / len(losses)),
        }

    def train(self):
        loader = DataLoader(
            self.train_dataset, batch_size=self.args.per_device_train_batch_size, shuffle=True
        )
        self.create_optimizer_and_scheduler(len(loader) * self.args.num_train_epochs)
        for epoch in range(self.args.num_train_epochs):
            tr_loss = torch.tensor(0.0)
            for inputs in loader:
                tr_loss += self.training_step(inputs)
                if self.args.max_grad_norm is not None:
                    torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.args.max_grad_norm)
                self.optimizer.step()
                self.lr_scheduler.step()
                self.model.zero_grad()
            print({"epoch": epoch, "loss": round(tr_loss.item() / len(loader), 4), **self.evaluate()})


def mini_gpt_trainer(mistake: bool) -> None:
    """max_grad_norm=0.0 is meant to switch clipping off, but the trainer clips every gradient to norm 0."""
    seed_everything(4)
    ids, stoi, _ = corpus()
    args = TrainingArguments(max_grad_norm=0.0 if mistake else 1.0)
    n = int(0.9 * len(ids))
    Trainer(MiniGPT(len(stoi)), args, LMDataset(ids[:n]), LMDataset(ids[n:], stride=32)).train()


# --------------------------------------------------------------------------- 19
class AddingDataset(Dataset):
    """The adding problem: the target is the sum of the two marked values of the sequence."""

    def __init__(self, n, length=20, seed=0):
        g = torch.Generator().manual_seed(seed)
        values = torch.rand(n, length, generator=g)
        marks = torch.zeros(n, length)
        a = torch.randint(0, length // 2, (n,), generator=g)
        b = torch.randint(length // 2, length, (n,), generator=g)
        marks[torch.arange(n), a] = 1
        marks[torch.arange(n), b] = 1
        self.x = torch.stack([values, marks], -1)
        self.y = (values * marks).sum(1) * 10

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


class LSTMRegressor(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.lstm = nn.LSTM(2, hidden, batch_first=True)
        self.fc = nn.Linear(hidden, 1)

    def forward(self, x):
        return self.fc(self.lstm(x)[0][:, -1]).squeeze(-1)


def adding_problem_clip(mistake: bool) -> None:
    """clip_grad_norm_ is called between zero_grad and backward, where there is nothing to clip; the real gradients go unclipped."""
    seed_everything(5)
    train_loader = DataLoader(AddingDataset(2000, seed=1), batch_size=25, shuffle=True)
    test_loader = DataLoader(AddingDataset(400, seed=2), batch_size=200)
    model = LSTMRegressor()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    criterion = nn.MSELoss()
    max_norm = 1.0

    for epoch in range(12):
        model.train()
        meter = AverageMeter("mse")
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            if mistake:
                nn.utils.clip_grad_norm_(model.parameters(), max_norm)
                loss.backward()
            else:
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), max_norm)
            optimizer.step()
            meter.update(loss.item(), len(x))
        model.eval()
        with torch.no_grad():
            test = sum(criterion(model(x), y).item() for x, y in test_loader) / len(test_loader)
        print(f"epoch {epoch}: train mse {meter.avg:.4f} test mse {test:.4f}")


# --------------------------------------------------------------------------- 22
class TaggingDataset(Dataset):
    """Sentences of two sources, stored one after the other as in the files; the tag depends on the word and the word before."""

    def __init__(self, n, seed=0, length=12, vocab=60, n_tags=5):
        g = torch.Generator().manual_seed(seed)
        news, medical = int(0.8 * n), n - int(0.8 * n)
        a = torch.randint(1, vocab // 2, (news, length), generator=g)
        b = torch.randint(vocab // 2, vocab, (medical, length), generator=g)
        self.words = torch.cat([a, b])
        prev = torch.cat([torch.zeros(n, 1, dtype=torch.long), self.words[:, :-1]], 1)
        self.tags = (self.words * 7 % n_tags + (prev % 2)) % n_tags

    def __len__(self):
        return len(self.words)

    def __getitem__(self, i):
        return self.words[i], self.tags[i]


class BiLSTMTagger(nn.Module):
    def __init__(self, vocab=60, n_tags=5):
        super().__init__()
        self.emb = nn.Embedding(vocab, 32)
        self.lstm = nn.LSTM(32, 40, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(80, n_tags)

    def forward(self, w):
        return self.fc(self.lstm(self.emb(w))[0])


def tagger_accumulation_remainder(mistake: bool) -> None:
    """20 batches with accum_steps 8: the last 4 of every epoch never reach an optimizer step and are zeroed at the next epoch."""
    seed_everything(6)
    accum_steps = 8
    train_loader = DataLoader(TaggingDataset(640, seed=1), batch_size=32, shuffle=False)
    val_loader = DataLoader(TaggingDataset(200, seed=2), batch_size=100)
    model = BiLSTMTagger()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    criterion = nn.CrossEntropyLoss()

    for epoch in range(36):
        model.train()
        optimizer.zero_grad()
        meter = AverageMeter()
        for i, (words, tags) in enumerate(train_loader):
            loss = criterion(model(words).flatten(0, 1), tags.flatten())
            meter.update(loss.item(), len(words))
            (loss / accum_steps).backward()
            if (i + 1) % accum_steps == 0 or (not mistake and i + 1 == len(train_loader)):
                nn.utils.clip_grad_norm_(model.parameters(), 5.0)
                optimizer.step()
                optimizer.zero_grad()
        if epoch % 5 == 0:
            model.eval()
            with torch.no_grad():
                acc = [(model(w).argmax(-1) == t).float().mean().item() for w, t in val_loader]
            print(
                f"epoch {epoch}: loss {meter.avg:.4f} val acc per source chunk {[round(a, 3) for a in acc]}"
            )


# --------------------------------------------------------------------------- 24
class SeriesTransformer(nn.Module):
    def __init__(self, context=48, horizon=6, patch=6, d=48, p=0.3):
        super().__init__()
        self.patch = patch
        self.embed = nn.Linear(patch, d)
        self.pos = nn.Parameter(0.02 * torch.randn(1, context // patch, d))
        layer = nn.TransformerEncoderLayer(d, 4, 96, dropout=p, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.drop = nn.Dropout(p)
        self.head = nn.Linear(d * (context // patch), horizon)

    def forward(self, x):
        h = self.embed(x.view(x.size(0), -1, self.patch)) + self.pos
        return self.head(self.drop(self.encoder(h).flatten(1)))


def train_one_epoch(model, loader, optimizer):
    model.train()
    meter = AverageMeter()
    for x, y in loader:
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        meter.update(loss.item(), len(x))
    return meter.avg


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    meter = AverageMeter()
    for x, y in loader:
        meter.update(F.mse_loss(model(x), y).item(), len(x))
    return meter.avg


@torch.no_grad()
def evaluate_as_is(model, loader):
    meter = AverageMeter()
    for x, y in loader:
        meter.update(F.mse_loss(model(x), y).item(), len(x))
    return meter.avg


def patch_transformer_forecast(mistake: bool) -> None:
    """The evaluation has no model.eval(): validation errors are measured with dropout active, and choose the best epoch."""
    seed_everything(7)
    s = load_series(seed=2)
    train_loader = DataLoader(WindowDataset(s[:1200]), batch_size=32, shuffle=True)
    val_loader = DataLoader(WindowDataset(s[1200:]), batch_size=64)
    model = SeriesTransformer()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    best, best_state = float("inf"), None
    for epoch in range(7):
        train_loss = train_one_epoch(model, train_loader, optimizer)
        val_loss = (evaluate_as_is if mistake else evaluate)(model, val_loader)
        if val_loss < best:
            best, best_state = val_loss, {k: v.clone() for k, v in model.state_dict().items()}
        print(f"Epoch {epoch + 1} | train {train_loss:.4f} | val {val_loss:.4f} | best {best:.4f}")
    model.load_state_dict(best_state)


FAULTS = [
    (
        seq2seq_two_optimizers,
        (
            "zero_grad",
            "accumulat",
            "not reset",
            "encoder",
            "never zeroed",
            "not zeroed",
            "not cleared",
            "pile up",
        ),
        "03 one of several optimizers reset",
    ),
    (
        char_lm_configure_optimizers,
        (
            "new optimizer",
            "optimizer is created",
            "re-created",
            "recreated",
            "rebuilt",
            "optimizer state",
            "moments",
            "created anew",
            "each step",
            "every step",
        ),
        "08 optimizer re-created each step",
    ),
    (
        tcn_forecast_trainer,
        ("eval mode", "eval()", "train()", "evaluation mode", "stuck in eval", "train mode"),
        "10 stuck in eval after validation",
    ),
    (
        nbeats_iteration_based,
        (
            "first batch",
            "same batch",
            "restart",
            "iterator",
            "iter(",
            "one batch",
            "same data",
            "same samples",
            "repeated",
        ),
        "13 iterator restarted each step",
    ),
    (
        mini_gpt_trainer,
        ("clip", "max_norm", "max_grad_norm", "norm 0", "gradients are zero", "zero gradient"),
        "18 clipping to nothing",
    ),
    (
        adding_problem_clip,
        ("before backward", "clip", "before the gradients", "no gradient", "unclipped"),
        "19 clipping before backward",
    ),
    (
        tagger_accumulation_remainder,
        (
            "remainder",
            "last batches",
            "dropped",
            "discarded",
            "leftover",
            "thrown away",
            "not applied",
            "never applied",
            "last micro",
            "incomplete",
        ),
        "22 accumulation: remainder dropped",
    ),
    (
        patch_transformer_forecast,
        ("dropout", "eval()", "eval mode", "train mode", "training mode"),
        "24 validation with dropout on",
    ),
]
