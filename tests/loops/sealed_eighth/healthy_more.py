"""Healthy loops in the shapes of well-known repositories and tutorials."""

import copy
import math
import random
from collections import defaultdict, deque
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR, StepLR
from torch.utils.data import DataLoader, Dataset, RandomSampler, TensorDataset

from .common import digits_datasets, digits_tensors, english_text, seed_everything
from .faults_rl import CartPole
from .faults_training import CitationGraph


# ============================================================================== pytorch/examples: mnist
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, 1, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, 1)
        self.dropout1 = nn.Dropout(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(288, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = F.max_pool2d(x, 2)
        x = self.dropout1(x)
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = self.dropout2(x)
        x = self.fc2(x)
        return F.log_softmax(x, dim=1)


def mnist_train(args, model, device, train_loader, optimizer, epoch):
    model.train()
    for batch_idx, (data, target) in enumerate(train_loader):
        data, target = data.to(device), target.to(device)
        optimizer.zero_grad()
        output = model(data)
        loss = F.nll_loss(output, target)
        loss.backward()
        optimizer.step()
        if batch_idx % args.log_interval == 0 and epoch in (1, args.epochs):
            print(
                f"Train Epoch: {epoch} [{batch_idx * len(data)}/{len(train_loader.dataset)}] Loss: {loss.item():.4f}"
            )


def mnist_test(model, device, test_loader):
    model.eval()
    test_loss, correct = 0, 0
    with torch.no_grad():
        for data, target in test_loader:
            data, target = data.to(device), target.to(device)
            output = model(data)
            test_loss += F.nll_loss(output, target, reduction="sum").item()
            pred = output.argmax(dim=1, keepdim=True)
            correct += pred.eq(target.view_as(pred)).sum().item()
    return test_loss / len(test_loader.dataset), correct / len(test_loader.dataset)


def pytorch_examples_mnist() -> None:
    args = SimpleNamespace(
        batch_size=64, test_batch_size=200, epochs=12, lr=1.0, gamma=0.8, log_interval=10
    )
    seed_everything(1)
    device = torch.device("cpu")
    dataset1, dataset2 = digits_datasets()
    train_loader = DataLoader(dataset1, batch_size=args.batch_size, shuffle=True)
    test_loader = DataLoader(dataset2, batch_size=args.test_batch_size)
    model = Net().to(device)
    optimizer = optim.Adadelta(model.parameters(), lr=args.lr)
    scheduler = StepLR(optimizer, step_size=1, gamma=args.gamma)
    for epoch in range(1, args.epochs + 1):
        mnist_train(args, model, device, train_loader, optimizer, epoch)
        result = mnist_test(model, device, test_loader)
        scheduler.step()
    print(result)


# ============================================================================== pytorch/examples: word_language_model
class RNNModel(nn.Module):
    def __init__(self, ntoken, ninp, nhid, nlayers, dropout=0.1, tie_weights=True):
        super().__init__()
        self.ntoken, self.nhid, self.nlayers = ntoken, nhid, nlayers
        self.drop = nn.Dropout(dropout)
        self.encoder = nn.Embedding(ntoken, ninp)
        self.rnn = nn.LSTM(ninp, nhid, nlayers, dropout=dropout if nlayers > 1 else 0.0)
        self.decoder = nn.Linear(nhid, ntoken)
        if tie_weights:
            self.decoder.weight = self.encoder.weight
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, input, hidden):
        output, hidden = self.rnn(self.drop(self.encoder(input)), hidden)
        decoded = self.decoder(self.drop(output)).view(-1, self.ntoken)
        return F.log_softmax(decoded, dim=1), hidden

    def init_hidden(self, bsz):
        weight = next(self.parameters())
        return weight.new_zeros(self.nlayers, bsz, self.nhid), weight.new_zeros(
            self.nlayers, bsz, self.nhid
        )


def repackage_hidden(h):
    if isinstance(h, torch.Tensor):
        return h.detach()
    return tuple(repackage_hidden(v) for v in h)


def batchify(data, bsz):
    nbatch = data.size(0) // bsz
    return data.narrow(0, 0, nbatch * bsz).view(bsz, -1).t().contiguous()


def get_batch(source, i, bptt=20):
    seq_len = min(bptt, len(source) - 1 - i)
    return source[i : i + seq_len], source[i + 1 : i + 1 + seq_len].view(-1)


def word_language_model() -> None:
    seed_everything(2)
    text = english_text().lower()
    chars = sorted(set(text))
    ids = torch.tensor([chars.index(c) for c in text])
    cut = int(0.9 * len(ids))
    train_data, val_data = batchify(ids[:cut], 16), batchify(ids[cut:], 8)
    model = RNNModel(len(chars), 64, 64, 1)
    criterion = nn.NLLLoss()
    lr, clip, bptt, best_val_loss = 8.0, 0.25, 20, None

    def evaluate(data_source):
        model.eval()
        total_loss = 0.0
        hidden = model.init_hidden(data_source.size(1))
        with torch.no_grad():
            for i in range(0, data_source.size(0) - 1, bptt):
                data, targets = get_batch(data_source, i)
                output, hidden = model(data, hidden)
                hidden = repackage_hidden(hidden)
                total_loss += len(data) * criterion(output, targets).item()
        return total_loss / (len(data_source) - 1)

    def train():
        model.train()
        total_loss, n = 0.0, 0
        hidden = model.init_hidden(train_data.size(1))
        for i in range(0, train_data.size(0) - 1, bptt):
            data, targets = get_batch(train_data, i)
            model.zero_grad()
            hidden = repackage_hidden(hidden)
            output, hidden = model(data, hidden)
            loss = criterion(output, targets)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            for p in model.parameters():
                p.data.add_(p.grad, alpha=-lr)
            total_loss += loss.item()
            n += 1
        return total_loss / n

    for epoch in range(1, 9):
        train_loss = train()
        val_loss = evaluate(val_data)
        if not best_val_loss or val_loss < best_val_loss:
            best_val_loss = val_loss
        else:
            lr /= 4.0
        if epoch in (1, 8):
            print(epoch, train_loss, val_loss, "lr", lr)


# ============================================================================== pytorch/vision references: amp, ema, warmup
class SmoothedValue:
    def __init__(self, window_size=20):
        self.deque, self.total, self.count = deque(maxlen=window_size), 0.0, 0

    def update(self, value, n=1):
        self.deque.append(value)
        self.count += n
        self.total += value * n

    @property
    def global_avg(self):
        return self.total / max(self.count, 1)


class MetricLogger:
    def __init__(self):
        self.meters = defaultdict(SmoothedValue)

    def update(self, n=1, **kwargs):
        for k, v in kwargs.items():
            self.meters[k].update(v.item() if isinstance(v, torch.Tensor) else v, n)

    def __str__(self):
        return "  ".join(f"{k}: {m.global_avg:.4f}" for k, m in self.meters.items())


class ConvNormActivation(nn.Sequential):
    def __init__(self, c_in, c_out, stride=1):
        super().__init__(
            nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(c_out),
            nn.SiLU(inplace=True),
        )


def set_weight_decay(model, weight_decay, norm_weight_decay=0.0):
    norm, other = [], []
    for m in model.modules():
        for p in m.parameters(recurse=False):
            (norm if isinstance(m, (nn.BatchNorm2d, nn.LayerNorm)) else other).append(p)
    return [
        {"params": norm, "weight_decay": norm_weight_decay},
        {"params": other, "weight_decay": weight_decay},
    ]


def torchvision_references() -> None:
    seed_everything(3)
    train_ds, val_ds = digits_datasets()
    train_loader = DataLoader(train_ds, batch_size=64, shuffle=True, drop_last=True)
    val_loader = DataLoader(val_ds, batch_size=128)
    model = nn.Sequential(
        ConvNormActivation(1, 16),
        ConvNormActivation(16, 32, 2),
        ConvNormActivation(32, 48, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(48, 10),
    )
    epochs, warmup = 10, 2
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    optimizer = optim.SGD(set_weight_decay(model, 1e-4), lr=0.1, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    main = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs - warmup)
    warm = optim.lr_scheduler.LinearLR(optimizer, start_factor=0.1, total_iters=warmup)
    scheduler = optim.lr_scheduler.SequentialLR(optimizer, [warm, main], milestones=[warmup])
    ema = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.95), use_buffers=True
    )

    def evaluate(net):
        net.eval()
        logger = MetricLogger()
        with torch.inference_mode():
            for image, target in val_loader:
                output = net(image)
                acc1 = (output.argmax(1) == target).float().mean()
                logger.update(n=image.shape[0], loss=criterion(output, target), acc1=acc1)
        return logger

    for epoch in range(epochs):
        model.train()
        logger = MetricLogger()
        for image, target in train_loader:
            with torch.amp.autocast("cpu", dtype=torch.bfloat16):
                output = model(image)
                loss = criterion(output, target)
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 2.0)
            scaler.step(optimizer)
            scaler.update()
            ema.update_parameters(model)
            logger.update(n=image.shape[0], loss=loss, acc1=(output.argmax(1) == target).float().mean())
        scheduler.step()
        plain, averaged = evaluate(model), evaluate(ema)
        if epoch in (0, epochs - 1):
            print(epoch, logger, "| test", plain, "| ema", averaged)


# ============================================================================== fast.ai: Learner and callbacks
class CancelFitException(Exception):
    pass


class Callback:
    learn = None

    def __getattr__(self, name):
        if name.startswith("_") or self.learn is None:
            raise AttributeError(name)
        return getattr(self.learn, name)


class TrainEvalCallback(Callback):
    def before_train(self):
        self.learn.model.train()

    def before_validate(self):
        self.learn.model.eval()


class OneCycleCallback(Callback):
    def __init__(self, lr_max):
        self.lr_max = lr_max

    def before_fit(self):
        self.sched = OneCycleLR(
            self.learn.opt, self.lr_max, total_steps=self.learn.n_epoch * len(self.learn.dls[0])
        )

    def after_step(self):
        self.sched.step()


class Recorder(Callback):
    def before_fit(self):
        self.values, self.losses = [], []

    def before_epoch(self):
        self.tot = {True: [0.0, 0.0, 0], False: [0.0, 0.0, 0]}

    def after_batch(self):
        lr = self.learn
        n = len(lr.yb)
        t = self.tot[lr.training]
        t[0] += lr.loss.item() * n
        t[1] += (lr.pred.argmax(1) == lr.yb).sum().item()
        t[2] += n
        if lr.training:
            self.losses.append(lr.loss.item())

    def after_epoch(self):
        (tl, _, tn), (vl, va, vn) = self.tot[True], self.tot[False]
        self.values.append((tl / tn, vl / vn, va / vn))


class Learner:
    def __init__(self, dls, model, loss_func, opt_func, lr, cbs):
        self.dls, self.model, self.loss_func, self.opt_func, self.lr = (
            dls,
            model,
            loss_func,
            opt_func,
            lr,
        )
        self.cbs = cbs
        for cb in cbs:
            cb.learn = self

    def __call__(self, event):
        for cb in self.cbs:
            f = getattr(type(cb), event, None)
            if f is not None:
                f(cb)

    def one_batch(self):
        self.pred = self.model(self.xb)
        self.loss = self.loss_func(self.pred, self.yb)
        self("after_loss")
        if self.training:
            self.loss.backward()
            self.opt.step()
            self("after_step")
            self.opt.zero_grad()

    def all_batches(self, dl):
        for self.xb, self.yb in dl:
            self.one_batch()
            self("after_batch")

    def fit(self, n_epoch):
        self.n_epoch = n_epoch
        self.opt = self.opt_func(self.model.parameters(), self.lr)
        try:
            self("before_fit")
            for self.epoch in range(n_epoch):
                self("before_epoch")
                self.training = True
                self("before_train")
                self.all_batches(self.dls[0])
                self.training = False
                self("before_validate")
                with torch.no_grad():
                    self.all_batches(self.dls[1])
                self("after_epoch")
        except CancelFitException:
            pass


def fastai_learner() -> None:
    seed_everything(4)
    train_ds, valid_ds = digits_datasets()
    dls = DataLoader(train_ds, 64, shuffle=True), DataLoader(valid_ds, 128)

    def conv(ni, nf, ks=3, stride=2, act=True):
        layers = [nn.Conv2d(ni, nf, ks, stride, ks // 2)]
        if act:
            layers += [nn.BatchNorm2d(nf), nn.ReLU()]
        return nn.Sequential(*layers)

    model = nn.Sequential(
        conv(1, 16),
        conv(16, 32),
        conv(32, 32),
        conv(32, 10, stride=1, act=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    rec = Recorder()
    learn = Learner(
        dls,
        model,
        F.cross_entropy,
        optim.AdamW,
        1e-3,
        [TrainEvalCallback(), OneCycleCallback(1e-2), rec],
    )
    learn.fit(10)
    print(rec.values[0], rec.values[-1])


# ============================================================================== Hugging Face: Trainer
@dataclass
class TrainingArguments:
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    num_train_epochs: int = 5
    per_device_train_batch_size: int = 16
    per_device_eval_batch_size: int = 64
    gradient_accumulation_steps: int = 2
    warmup_ratio: float = 0.1
    max_grad_norm: float = 1.0


class TinyBertForSequenceClassification(nn.Module):
    def __init__(self, vocab=28, dim=48, heads=4, layers=2, max_len=48, num_labels=2):
        super().__init__()
        self.embeddings = nn.Embedding(vocab, dim, padding_idx=0)
        self.position = nn.Embedding(max_len, dim)
        layer = nn.TransformerEncoderLayer(
            dim, heads, 2 * dim, dropout=0.1, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.LayerNorm = nn.LayerNorm(dim)
        self.classifier = nn.Linear(dim, num_labels)

    def forward(self, input_ids, attention_mask, labels=None):
        pos = torch.arange(input_ids.size(1), device=input_ids.device)
        h = self.embeddings(input_ids) + self.position(pos)
        h = self.LayerNorm(self.encoder(h, src_key_padding_mask=attention_mask == 0))
        m = attention_mask.unsqueeze(-1).float()
        pooled = (h * m).sum(1) / m.sum(1)
        logits = self.classifier(pooled)
        out = {"logits": logits}
        if labels is not None:
            out["loss"] = F.cross_entropy(logits, labels)
        return out


class ReviewDataset(Dataset):
    good = "good great lovely superb warm fresh".split()
    bad = "bad awful cold dull stale rude".split()
    other = "the food and a waiter table was menu with our soup".split()

    def __init__(self, n, seed):
        rng = random.Random(seed)
        self.items = []
        for _ in range(n):
            label = rng.randrange(2)
            words = [rng.choice(self.other) for _ in range(rng.randint(2, 5))]
            words.insert(rng.randrange(len(words) + 1), rng.choice(self.good if label else self.bad))
            ids = [ord(c) - 96 if c != " " else 27 for c in " ".join(words)][:48]
            self.items.append({"input_ids": ids, "labels": label})

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


class DataCollatorWithPadding:
    def __call__(self, features):
        longest = max(len(f["input_ids"]) for f in features)
        ids = torch.zeros(len(features), longest, dtype=torch.long)
        for i, f in enumerate(features):
            ids[i, : len(f["input_ids"])] = torch.tensor(f["input_ids"])
        return {
            "input_ids": ids,
            "attention_mask": (ids != 0).long(),
            "labels": torch.tensor([f["labels"] for f in features]),
        }


def get_linear_schedule_with_warmup(optimizer, num_warmup_steps, num_training_steps):
    def lr_lambda(step):
        if step < num_warmup_steps:
            return step / max(1, num_warmup_steps)
        return max(0.0, (num_training_steps - step) / max(1, num_training_steps - num_warmup_steps))

    return LambdaLR(optimizer, lr_lambda)


class HFTrainer:
    def __init__(self, model, args, train_dataset, eval_dataset, data_collator, compute_metrics):
        self.model, self.args = model, args
        self.train_dataset, self.eval_dataset = train_dataset, eval_dataset
        self.data_collator, self.compute_metrics = data_collator, compute_metrics
        self.state = SimpleNamespace(global_step=0, log_history=[])

    def create_optimizer_and_scheduler(self, num_training_steps):
        no_decay = ("bias", "LayerNorm.weight", "norm1.weight", "norm2.weight")
        groups = [
            {
                "params": [p for n, p in self.model.named_parameters() if not n.endswith(no_decay)],
                "weight_decay": self.args.weight_decay,
            },
            {
                "params": [p for n, p in self.model.named_parameters() if n.endswith(no_decay)],
                "weight_decay": 0.0,
            },
        ]
        self.optimizer = optim.AdamW(groups, lr=self.args.learning_rate)
        self.lr_scheduler = get_linear_schedule_with_warmup(
            self.optimizer, int(self.args.warmup_ratio * num_training_steps), num_training_steps
        )

    def train(self):
        a = self.args
        loader = DataLoader(
            self.train_dataset,
            a.per_device_train_batch_size,
            shuffle=True,
            collate_fn=self.data_collator,
        )
        updates_per_epoch = math.ceil(len(loader) / a.gradient_accumulation_steps)
        self.create_optimizer_and_scheduler(updates_per_epoch * a.num_train_epochs)
        self.model.zero_grad()
        for epoch in range(a.num_train_epochs):
            tr_loss = 0.0
            for step, inputs in enumerate(loader):
                self.model.train()
                loss = self.model(**inputs)["loss"]
                rest = len(loader) % a.gradient_accumulation_steps
                in_rest = rest and step >= len(loader) - rest
                (loss / (rest if in_rest else a.gradient_accumulation_steps)).backward()
                tr_loss += loss.item()
                if (step + 1) % a.gradient_accumulation_steps == 0 or step + 1 == len(loader):
                    nn.utils.clip_grad_norm_(self.model.parameters(), a.max_grad_norm)
                    self.optimizer.step()
                    self.lr_scheduler.step()
                    self.model.zero_grad()
                    self.state.global_step += 1
            self.state.log_history.append(
                {"epoch": epoch, "loss": tr_loss / len(loader), **self.evaluate()}
            )

    @torch.no_grad()
    def evaluate(self):
        self.model.eval()
        logits, labels, losses = [], [], []
        for inputs in DataLoader(
            self.eval_dataset, self.args.per_device_eval_batch_size, collate_fn=self.data_collator
        ):
            out = self.model(**inputs)
            losses.append(out["loss"].repeat(len(inputs["labels"])))
            logits.append(out["logits"])
            labels.append(inputs["labels"])
        metrics = self.compute_metrics((torch.cat(logits).numpy(), torch.cat(labels).numpy()))
        return {
            "eval_loss": torch.cat(losses).mean().item(),
            **{f"eval_{k}": v for k, v in metrics.items()},
        }


def huggingface_trainer() -> None:
    seed_everything(5)
    trainer = HFTrainer(
        TinyBertForSequenceClassification(),
        TrainingArguments(),
        ReviewDataset(800, 0),
        ReviewDataset(250, 1),
        DataCollatorWithPadding(),
        lambda p: {"accuracy": float((p[0].argmax(-1) == p[1]).mean())},
    )
    trainer.train()
    print(trainer.state.global_step, trainer.state.log_history[0], trainer.state.log_history[-1])


# ============================================================================== minGPT: trainer, sorting
class SortDataset(Dataset):
    """Input '0 0 2 1 0 1', output '0 0 0 1 1 2', as in minGPT's demo."""

    def __init__(self, split, length=6, num_digits=3):
        self.split, self.length, self.num_digits = split, length, num_digits

    def __len__(self):
        return 10000

    def get_block_size(self):
        return self.length * 2 - 1

    def __getitem__(self, idx):
        while True:
            inp = torch.randint(self.num_digits, size=(self.length,))
            code = int("".join(map(str, inp.tolist())), self.num_digits)
            if ("test" if code % 4 == 0 else "train") == self.split:
                break
        cat = torch.cat((inp, torch.sort(inp)[0]))
        x, y = cat[:-1].clone(), cat[1:].clone()
        y[: self.length - 1] = -1
        return x, y


class CausalSelfAttention(nn.Module):
    def __init__(self, n_embd, n_head):
        super().__init__()
        self.c_attn, self.c_proj, self.n_head = (
            nn.Linear(n_embd, 3 * n_embd),
            nn.Linear(n_embd, n_embd),
            n_head,
        )

    def forward(self, x):
        B, T, C = x.size()
        q, k, v = (
            t.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
            for t in self.c_attn(x).split(C, dim=2)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).contiguous().view(B, T, C))


class GPTBlock(nn.Module):
    def __init__(self, n_embd, n_head):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(n_embd), nn.LayerNorm(n_embd)
        self.attn = CausalSelfAttention(n_embd, n_head)
        self.mlp = nn.Sequential(nn.Linear(n_embd, 4 * n_embd), nn.GELU(), nn.Linear(4 * n_embd, n_embd))

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class MinGPT(nn.Module):
    def __init__(self, vocab_size, block_size, n_layer=2, n_head=4, n_embd=48):
        super().__init__()
        self.block_size = block_size
        self.wte, self.wpe = nn.Embedding(vocab_size, n_embd), nn.Embedding(block_size, n_embd)
        self.blocks = nn.ModuleList(GPTBlock(n_embd, n_head) for _ in range(n_layer))
        self.ln_f, self.lm_head = nn.LayerNorm(n_embd), nn.Linear(n_embd, vocab_size, bias=False)

    def configure_optimizers(self, cfg):
        decay = [p for p in self.parameters() if p.dim() >= 2]
        no_decay = [p for p in self.parameters() if p.dim() < 2]
        groups = [
            {"params": decay, "weight_decay": cfg.weight_decay},
            {"params": no_decay, "weight_decay": 0.0},
        ]
        return optim.AdamW(groups, lr=cfg.learning_rate, betas=cfg.betas)

    def forward(self, idx, targets=None):
        x = self.wte(idx) + self.wpe(torch.arange(idx.size(1), device=idx.device).unsqueeze(0))
        for block in self.blocks:
            x = block(x)
        logits = self.lm_head(self.ln_f(x))
        loss = None
        if targets is not None:
            loss = F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), ignore_index=-1)
        return logits, loss

    @torch.no_grad()
    def generate(self, idx, max_new_tokens):
        for _ in range(max_new_tokens):
            logits, _ = self(idx[:, -self.block_size :])
            idx = torch.cat((idx, logits[:, -1].argmax(-1, keepdim=True)), dim=1)
        return idx


class MinGPTTrainer:
    def __init__(self, config, model, train_dataset):
        self.config, self.model, self.train_dataset = config, model, train_dataset
        self.callbacks = defaultdict(list)
        self.iter_num = 0

    def add_callback(self, onevent, callback):
        self.callbacks[onevent].append(callback)

    def run(self):
        model, config = self.model, self.config
        self.optimizer = model.configure_optimizers(config)
        loader = DataLoader(
            self.train_dataset,
            sampler=RandomSampler(self.train_dataset, replacement=True, num_samples=int(1e6)),
            batch_size=config.batch_size,
        )
        model.train()
        data_iter = iter(loader)
        while True:
            try:
                batch = next(data_iter)
            except StopIteration:
                data_iter = iter(loader)
                batch = next(data_iter)
            x, y = batch
            logits, self.loss = model(x, y)
            model.zero_grad(set_to_none=True)
            self.loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), config.grad_norm_clip)
            self.optimizer.step()
            for callback in self.callbacks["on_batch_end"]:
                callback(self)
            self.iter_num += 1
            if self.iter_num >= config.max_iters:
                break


def mingpt_sort() -> None:
    seed_everything(6)
    train_dataset, test_dataset = SortDataset("train"), SortDataset("test")
    model = MinGPT(3, train_dataset.get_block_size())
    cfg = SimpleNamespace(
        batch_size=48,
        max_iters=200,
        learning_rate=1e-3,
        betas=(0.9, 0.95),
        weight_decay=0.1,
        grad_norm_clip=1.0,
    )
    trainer = MinGPTTrainer(cfg, model, train_dataset)

    def batch_end_callback(trainer):
        if trainer.iter_num % 50 == 0:
            print(f"iter {trainer.iter_num}: train loss {trainer.loss.item():.5f}")

    trainer.add_callback("on_batch_end", batch_end_callback)
    trainer.run()
    model.eval()
    x = torch.stack([test_dataset[i][0][:6] for i in range(100)])
    out = model.generate(x, 6)[:, 6:]
    print("sorted", (out == x.sort(1).values).all(1).float().mean().item())


# ============================================================================== annotated diffusion: small U-Net on digits
class TimeConvBlock(nn.Module):
    def __init__(self, c_in, c_out, t_dim):
        super().__init__()
        self.conv1, self.conv2 = (
            nn.Conv2d(c_in, c_out, 3, padding=1),
            nn.Conv2d(c_out, c_out, 3, padding=1),
        )
        self.norm1, self.norm2 = nn.GroupNorm(4, c_out), nn.GroupNorm(4, c_out)
        self.time = nn.Linear(t_dim, c_out)
        self.res = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else nn.Identity()

    def forward(self, x, t):
        h = F.silu(self.norm1(self.conv1(x))) + self.time(t)[:, :, None, None]
        return F.silu(self.norm2(self.conv2(h))) + self.res(x)


class DigitUnet(nn.Module):
    def __init__(self, w=12, t_dim=32):
        super().__init__()
        self.t_dim = t_dim
        self.time_mlp = nn.Sequential(nn.Linear(t_dim, t_dim), nn.GELU(), nn.Linear(t_dim, t_dim))
        self.d1, self.d2 = TimeConvBlock(1, w, t_dim), TimeConvBlock(w, 2 * w, t_dim)
        self.u1 = TimeConvBlock(3 * w, w, t_dim)
        self.final_conv = nn.Conv2d(w, 1, 1)

    def forward(self, x, t):
        half = self.t_dim // 2
        freq = torch.exp(-math.log(10000) * torch.arange(half, device=x.device) / (half - 1))
        e = t[:, None] * freq[None]
        t = self.time_mlp(torch.cat((e.sin(), e.cos()), -1))
        h1 = self.d1(x, t)
        h2 = self.d2(F.avg_pool2d(h1, 2), t)
        h = self.u1(torch.cat([F.interpolate(h2, scale_factor=2), h1], 1), t)
        return self.final_conv(h)


def annotated_diffusion() -> None:
    seed_everything(7)
    images = torch.tensor(load_digits().images, dtype=torch.float32)[:, None] / 8 - 1
    timesteps = 60
    betas = torch.linspace(1e-3, 0.12, timesteps)
    alphas = 1.0 - betas
    alphas_cumprod = torch.cumprod(alphas, 0)
    alphas_cumprod_prev = F.pad(alphas_cumprod[:-1], (1, 0), value=1.0)
    posterior_variance = betas * (1 - alphas_cumprod_prev) / (1 - alphas_cumprod)

    def extract(a, t, shape):
        return a.gather(-1, t).reshape(t.shape[0], *((1,) * (len(shape) - 1)))

    def q_sample(x_start, t, noise):
        a = extract(alphas_cumprod, t, x_start.shape)
        return a.sqrt() * x_start + (1 - a).sqrt() * noise

    def p_losses(denoise_model, x_start, t, noise=None):
        if noise is None:
            noise = torch.randn_like(x_start)
        return F.smooth_l1_loss(denoise_model(q_sample(x_start, t, noise), t), noise)

    @torch.no_grad()
    def p_sample(model, x, t_index):
        t = torch.full((x.shape[0],), t_index, dtype=torch.long)
        mean = (x - betas[t_index] * model(x, t) / (1 - alphas_cumprod[t_index]).sqrt()) / alphas[
            t_index
        ].sqrt()
        return mean if t_index == 0 else mean + posterior_variance[t_index].sqrt() * torch.randn_like(x)

    model = DigitUnet()
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    dataloader = DataLoader(TensorDataset(images), batch_size=64, shuffle=True, drop_last=True)
    for epoch in range(8):
        total = 0.0
        for (batch,) in dataloader:
            optimizer.zero_grad()
            t = torch.randint(0, timesteps, (batch.shape[0],))
            loss = p_losses(model, batch, t)
            loss.backward()
            optimizer.step()
            total += loss.item()
        if epoch in (0, 7):
            print(epoch, total / len(dataloader))
    x = torch.randn(16, 1, 8, 8)
    for i in reversed(range(timesteps)):
        x = p_sample(model, x, i)
    print("samples", x.mean().item(), "data", images.mean().item())


# ============================================================================== CleanRL: PPO
def layer_init(layer, std=np.sqrt(2), bias_const=0.0):
    torch.nn.init.orthogonal_(layer.weight, std)
    torch.nn.init.constant_(layer.bias, bias_const)
    return layer


class Agent(nn.Module):
    def __init__(self):
        super().__init__()
        self.critic = nn.Sequential(
            layer_init(nn.Linear(4, 64)),
            nn.Tanh(),
            layer_init(nn.Linear(64, 64)),
            nn.Tanh(),
            layer_init(nn.Linear(64, 1), std=1.0),
        )
        self.actor = nn.Sequential(
            layer_init(nn.Linear(4, 64)),
            nn.Tanh(),
            layer_init(nn.Linear(64, 64)),
            nn.Tanh(),
            layer_init(nn.Linear(64, 2), std=0.01),
        )

    def get_value(self, x):
        return self.critic(x)

    def get_action_and_value(self, x, action=None):
        probs = torch.distributions.Categorical(logits=self.actor(x))
        if action is None:
            action = probs.sample()
        return action, probs.log_prob(action), probs.entropy(), self.critic(x)


def cleanrl_ppo() -> None:
    seed_everything(8)
    num_envs, num_steps, num_updates, num_minibatches, update_epochs = 8, 64, 20, 4, 4
    gamma, gae_lambda, clip_coef, ent_coef, vf_coef, max_grad_norm, lr = (
        0.99,
        0.95,
        0.2,
        0.01,
        0.5,
        0.5,
        2.5e-3,
    )
    envs = [CartPole(s) for s in range(num_envs)]
    agent = Agent()
    optimizer = optim.Adam(agent.parameters(), lr=lr, eps=1e-5)
    obs = torch.zeros(num_steps, num_envs, 4)
    actions = torch.zeros(num_steps, num_envs)
    logprobs, rewards, dones, values = (torch.zeros(num_steps, num_envs) for _ in range(4))
    next_obs = torch.from_numpy(np.stack([e.reset() for e in envs]))
    next_done = torch.zeros(num_envs)
    batch_size = num_envs * num_steps
    minibatch_size = batch_size // num_minibatches
    lengths = []
    for update in range(1, num_updates + 1):
        optimizer.param_groups[0]["lr"] = (1.0 - (update - 1.0) / num_updates) * lr
        for step in range(num_steps):
            obs[step], dones[step] = next_obs, next_done
            with torch.no_grad():
                action, logprob, _, value = agent.get_action_and_value(next_obs)
                values[step] = value.flatten()
            actions[step], logprobs[step] = action, logprob
            new_obs, done = [], []
            for i, e in enumerate(envs):
                o, r, terminated, truncated = e.step(action[i].item())
                rewards[step, i] = r
                if terminated or truncated:
                    lengths.append(e.t)
                    o = e.reset()
                new_obs.append(o)
                done.append(float(terminated or truncated))
            next_obs, next_done = torch.from_numpy(np.stack(new_obs)), torch.tensor(done)
        with torch.no_grad():
            next_value = agent.get_value(next_obs).reshape(1, -1)
            advantages = torch.zeros_like(rewards)
            lastgaelam = 0
            for t in reversed(range(num_steps)):
                if t == num_steps - 1:
                    nextnonterminal, nextvalues = 1.0 - next_done, next_value
                else:
                    nextnonterminal, nextvalues = 1.0 - dones[t + 1], values[t + 1]
                delta = rewards[t] + gamma * nextvalues * nextnonterminal - values[t]
                advantages[t] = lastgaelam = delta + gamma * gae_lambda * nextnonterminal * lastgaelam
            returns = advantages + values
        b_obs, b_logprobs, b_actions = obs.reshape(-1, 4), logprobs.reshape(-1), actions.reshape(-1)
        b_advantages, b_returns = advantages.reshape(-1), returns.reshape(-1)
        b_inds = np.arange(batch_size)
        for epoch in range(update_epochs):
            np.random.shuffle(b_inds)
            for start in range(0, batch_size, minibatch_size):
                mb_inds = b_inds[start : start + minibatch_size]
                _, newlogprob, entropy, newvalue = agent.get_action_and_value(
                    b_obs[mb_inds], b_actions.long()[mb_inds]
                )
                ratio = (newlogprob - b_logprobs[mb_inds]).exp()
                mb_advantages = b_advantages[mb_inds]
                mb_advantages = (mb_advantages - mb_advantages.mean()) / (mb_advantages.std() + 1e-8)
                pg_loss1 = -mb_advantages * ratio
                pg_loss2 = -mb_advantages * torch.clamp(ratio, 1 - clip_coef, 1 + clip_coef)
                pg_loss = torch.max(pg_loss1, pg_loss2).mean()
                v_loss = 0.5 * ((newvalue.view(-1) - b_returns[mb_inds]) ** 2).mean()
                loss = pg_loss - ent_coef * entropy.mean() + v_loss * vf_coef
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), max_grad_norm)
                optimizer.step()
    print("episode length: first", np.mean(lengths[:20]), "last", np.mean(lengths[-20:]))


# ============================================================================== PyTorch Geometric by hand: GAT
class GATConv(nn.Module):
    def __init__(self, in_channels, out_channels, heads=1, concat=True, dropout=0.0):
        super().__init__()
        self.heads, self.out_channels, self.concat, self.dropout = heads, out_channels, concat, dropout
        self.lin = nn.Linear(in_channels, heads * out_channels, bias=False)
        self.att_src, self.att_dst = (
            nn.Parameter(torch.empty(1, heads, out_channels)),
            nn.Parameter(torch.empty(1, heads, out_channels)),
        )
        self.bias = nn.Parameter(torch.zeros(heads * out_channels if concat else out_channels))
        for p in (self.lin.weight, self.att_src, self.att_dst):
            nn.init.xavier_uniform_(p)

    def forward(self, x, edge_index):
        n = x.size(0)
        src, dst = edge_index
        h = self.lin(x).view(n, self.heads, self.out_channels)
        alpha = F.leaky_relu((h * self.att_src).sum(-1)[src] + (h * self.att_dst).sum(-1)[dst], 0.2)
        alpha = (alpha - alpha.max().detach()).exp()
        norm = torch.zeros(n, self.heads).index_add(0, dst, alpha)
        alpha = F.dropout(alpha / (norm[dst] + 1e-16), self.dropout, training=self.training)
        out = torch.zeros(n, self.heads, self.out_channels).index_add(
            0, dst, h[src] * alpha.unsqueeze(-1)
        )
        out = out.flatten(1) if self.concat else out.mean(1)
        return out + self.bias


class GAT(nn.Module):
    def __init__(self, in_channels, hidden, out_channels, heads=4):
        super().__init__()
        self.conv1 = GATConv(in_channels, hidden, heads, dropout=0.3)
        self.conv2 = GATConv(hidden * heads, out_channels, heads=1, concat=False, dropout=0.3)

    def forward(self, x, edge_index):
        x = F.dropout(x, p=0.4, training=self.training)
        x = F.elu(self.conv1(x, edge_index))
        x = F.dropout(x, p=0.4, training=self.training)
        return self.conv2(x, edge_index)


def geometric_gat() -> None:
    seed_everything(9)
    data = CitationGraph(seed=3)
    edge_index = data.adj.nonzero().t().contiguous()
    model = GAT(data.x.size(1), 8, 5)
    optimizer = optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)

    def train():
        model.train()
        optimizer.zero_grad()
        out = model(data.x, edge_index)
        loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
        loss.backward()
        optimizer.step()
        return loss.item()

    @torch.no_grad()
    def test():
        model.eval()
        pred = model(data.x, edge_index).argmax(dim=-1)
        return [
            int((pred[m] == data.y[m]).sum()) / int(m.sum())
            for m in (data.train_mask, data.val_mask, data.test_mask)
        ]

    best_val_acc = test_acc = 0
    for epoch in range(1, 151):
        loss = train()
        train_acc, val_acc, tmp_test_acc = test()
        if val_acc > best_val_acc:
            best_val_acc, test_acc = val_acc, tmp_test_acc
        if epoch in (1, 150):
            print(
                f"Epoch {epoch} Loss {loss:.4f} Train {train_acc:.3f} Val {val_acc:.3f} Test {test_acc:.3f}"
            )


# ============================================================================== Kaggle: k folds, AUC, best weights, ReduceLROnPlateau
class CFG:
    seed = 42
    n_folds = 3
    epochs = 20
    train_bs = 32
    valid_bs = 128
    lr = 3e-3
    weight_decay = 1e-3
    patience = 6


class CancerDataset(Dataset):
    def __init__(self, X, y=None):
        self.X, self.y = X.astype(np.float32), y

    def __len__(self):
        return len(self.X)

    def __getitem__(self, idx):
        item = {"x": torch.from_numpy(self.X[idx])}
        if self.y is not None:
            item["y"] = torch.tensor(self.y[idx], dtype=torch.float32)
        return item


class KaggleNet(nn.Module):
    def __init__(self, n_features, hidden=64):
        super().__init__()
        self.batch_norm1, self.dense1 = (
            nn.BatchNorm1d(n_features),
            nn.utils.parametrizations.weight_norm(nn.Linear(n_features, hidden)),
        )
        self.batch_norm2, self.dropout2 = nn.BatchNorm1d(hidden), nn.Dropout(0.3)
        self.dense2 = nn.utils.parametrizations.weight_norm(nn.Linear(hidden, 1))

    def forward(self, x):
        x = F.leaky_relu(self.dense1(self.batch_norm1(x)))
        return self.dense2(self.dropout2(self.batch_norm2(x))).squeeze(1)


def train_fn(model, optimizer, loss_fn, dataloader):
    model.train()
    final_loss = 0
    for data in dataloader:
        optimizer.zero_grad()
        outputs = model(data["x"])
        loss = loss_fn(outputs, data["y"])
        loss.backward()
        optimizer.step()
        final_loss += loss.item()
    return final_loss / len(dataloader)


def valid_fn(model, loss_fn, dataloader):
    model.eval()
    final_loss, preds = 0, []
    for data in dataloader:
        with torch.no_grad():
            outputs = model(data["x"])
        final_loss += loss_fn(outputs, data["y"]).item() * len(outputs)
        preds.append(outputs.sigmoid().numpy())
    return final_loss / len(dataloader.dataset), np.concatenate(preds)


def kaggle_kfold() -> None:
    seed_everything(CFG.seed)
    X, y = load_breast_cancer(return_X_y=True)
    oof = np.zeros(len(y))
    folds = StratifiedKFold(CFG.n_folds, shuffle=True, random_state=CFG.seed)
    for fold, (trn_idx, val_idx) in enumerate(folds.split(X, y)):
        mean, std = X[trn_idx].mean(0), X[trn_idx].std(0)
        trn_ds = CancerDataset((X[trn_idx] - mean) / std, y[trn_idx])
        val_ds = CancerDataset((X[val_idx] - mean) / std, y[val_idx])
        trn_dl = DataLoader(trn_ds, CFG.train_bs, shuffle=True, drop_last=True)
        val_dl = DataLoader(val_ds, CFG.valid_bs, shuffle=False)
        model = KaggleNet(X.shape[1])
        optimizer = optim.Adam(model.parameters(), lr=CFG.lr, weight_decay=CFG.weight_decay)
        scheduler = optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="min", factor=0.3, patience=3)
        loss_fn = nn.BCEWithLogitsLoss()
        best_loss, best_state, wait = np.inf, None, 0
        for epoch in range(CFG.epochs):
            train_loss = train_fn(model, optimizer, loss_fn, trn_dl)
            valid_loss, preds = valid_fn(model, loss_fn, val_dl)
            scheduler.step(valid_loss)
            if valid_loss < best_loss:
                best_loss, wait = valid_loss, 0
                best_state = copy.deepcopy(model.state_dict())
                oof[val_idx] = preds
            else:
                wait += 1
                if wait >= CFG.patience:
                    break
        model.load_state_dict(best_state)
        print(
            f"fold {fold} epochs {epoch + 1} train {train_loss:.4f} best {best_loss:.4f} again {valid_fn(model, loss_fn, val_dl)[0]:.4f}"
        )
    print("CV AUC", roc_auc_score(y, oof))


# ============================================================================== PyTorch-VAE: conditional VAE with KL warm-up
class ConvVAE(nn.Module):
    def __init__(self, latent_dim=8):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 16, 3, 2, 1),
            nn.BatchNorm2d(16),
            nn.LeakyReLU(),
            nn.Conv2d(16, 32, 3, 2, 1),
            nn.BatchNorm2d(32),
            nn.LeakyReLU(),
            nn.Flatten(),
        )
        self.fc_mu, self.fc_var = nn.Linear(128, latent_dim), nn.Linear(128, latent_dim)
        self.decoder_input = nn.Linear(latent_dim, 128)
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(32, 16, 3, 2, 1, output_padding=1),
            nn.BatchNorm2d(16),
            nn.LeakyReLU(),
            nn.ConvTranspose2d(16, 16, 3, 2, 1, output_padding=1),
            nn.BatchNorm2d(16),
            nn.LeakyReLU(),
            nn.Conv2d(16, 1, 3, padding=1),
            nn.Sigmoid(),
        )

    def forward(self, x):
        h = self.encoder(x)
        mu, log_var = self.fc_mu(h), self.fc_var(h)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * log_var)
        return self.decoder(self.decoder_input(z).view(-1, 32, 2, 2)), mu, log_var

    @staticmethod
    def loss_function(recons, x, mu, log_var, kld_weight):
        recons_loss = F.mse_loss(recons, x, reduction="none").sum((1, 2, 3)).mean()
        kld = torch.mean(-0.5 * torch.sum(1 + log_var - mu**2 - log_var.exp(), dim=1), dim=0)
        return {
            "loss": recons_loss + kld_weight * kld,
            "recons": recons_loss.detach(),
            "kld": kld.detach(),
        }


def pytorch_vae() -> None:
    seed_everything(10)
    xt, _, xv, _ = digits_tensors()
    low, high = xt.min(), xt.max()
    loader = DataLoader(
        TensorDataset((xt - low) / (high - low)), batch_size=32, shuffle=True, drop_last=True
    )
    xv = (xv - low) / (high - low)
    model = ConvVAE()
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    scheduler = optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.9)
    epochs = 10
    for epoch in range(epochs):
        model.train()
        kld_weight = 0.1 * min(1.0, (epoch + 1) / 4)
        logs = defaultdict(float)
        for (x,) in loader:
            optimizer.zero_grad()
            recons, mu, log_var = model(x)
            out = model.loss_function(recons, x, mu, log_var, kld_weight)
            out["loss"].backward()
            optimizer.step()
            for k, v in out.items():
                logs[k] += v.item() / len(loader)
        scheduler.step()
        model.eval()
        with torch.no_grad():
            recons, mu, log_var = model(xv)
            val = {
                k: v.item() for k, v in model.loss_function(recons, xv, mu, log_var, kld_weight).items()
            }
        if epoch in (0, epochs - 1):
            print(epoch, dict(logs), val)


# ============================================================================== pytorch/examples: dcgan
def weights_init(m):
    name = m.__class__.__name__
    if name.find("Conv") != -1:
        nn.init.normal_(m.weight, 0.0, 0.05)
    elif name.find("BatchNorm") != -1:
        nn.init.normal_(m.weight, 1.0, 0.02)
        nn.init.zeros_(m.bias)


def dcgan_digits() -> None:
    seed_everything(11)
    nz, ngf, ndf = 16, 16, 16
    images = torch.tensor(load_digits().images, dtype=torch.float32)[:, None] / 8 - 1
    dataloader = DataLoader(TensorDataset(images), batch_size=64, shuffle=True, drop_last=True)
    netG = nn.Sequential(
        nn.ConvTranspose2d(nz, ngf * 2, 2, 1, 0, bias=False),
        nn.BatchNorm2d(ngf * 2),
        nn.ReLU(True),
        nn.ConvTranspose2d(ngf * 2, ngf, 4, 2, 1, bias=False),
        nn.BatchNorm2d(ngf),
        nn.ReLU(True),
        nn.ConvTranspose2d(ngf, 1, 4, 2, 1, bias=False),
        nn.Tanh(),
    )
    netD = nn.Sequential(
        nn.Conv2d(1, ndf, 4, 2, 1, bias=False),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(ndf, ndf * 2, 4, 2, 1, bias=False),
        nn.BatchNorm2d(ndf * 2),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(ndf * 2, 1, 2, 1, 0, bias=False),
        nn.Sigmoid(),
        nn.Flatten(0),
    )
    netG.apply(weights_init)
    netD.apply(weights_init)
    criterion = nn.BCELoss()
    fixed_noise = torch.randn(64, nz, 1, 1)
    real_label, fake_label = 1.0, 0.0
    optimizerD = optim.Adam(netD.parameters(), lr=1e-3, betas=(0.5, 0.999))
    optimizerG = optim.Adam(netG.parameters(), lr=1e-3, betas=(0.5, 0.999))
    for epoch in range(12):
        for i, (real,) in enumerate(dataloader):
            netD.zero_grad()
            label = torch.full((real.size(0),), real_label)
            output = netD(real)
            errD_real = criterion(output, label)
            errD_real.backward()
            D_x = output.mean().item()
            noise = torch.randn(real.size(0), nz, 1, 1)
            fake = netG(noise)
            label.fill_(fake_label)
            output = netD(fake.detach())
            errD_fake = criterion(output, label)
            errD_fake.backward()
            D_G_z1 = output.mean().item()
            errD = errD_real + errD_fake
            optimizerD.step()
            netG.zero_grad()
            label.fill_(real_label)
            output = netD(fake)
            errG = criterion(output, label)
            errG.backward()
            D_G_z2 = output.mean().item()
            optimizerG.step()
        if epoch in (0, 11):
            print(
                epoch,
                f"Loss_D {errD.item():.3f} Loss_G {errG.item():.3f} D(x) {D_x:.3f} D(G(z)) {D_G_z1:.3f} / {D_G_z2:.3f}",
            )
    with torch.no_grad():
        fake = netG(fixed_noise)
    print("pixel means apart", (fake.mean(0) - images.mean(0)).abs().mean().item())


HEALTHY = [
    pytorch_examples_mnist,
    word_language_model,
    torchvision_references,
    fastai_learner,
    huggingface_trainer,
    mingpt_sort,
    annotated_diffusion,
    cleanrl_ppo,
    geometric_gat,
    kaggle_kfold,
    pytorch_vae,
    dcgan_digits,
]
