"""Language models and text classifiers, on scikit-learn's own prose."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import Adagrad, Adam, AdamW
from torch.utils.data import DataLoader

from pytest_dlcheck import Recipe, recipe

from .data import loader, prose, windows
from .transformer import CharTransformer


def next_chars(batch_size=16, length=32, **more):
    texts, _ = windows(length + 1)
    return loader(texts[:, :-1], texts[:, 1:], batch_size=batch_size, **more)


def flattened(logits, codes):
    return F.cross_entropy(logits.reshape(-1, logits.size(-1)), codes.reshape(-1))


def transposed(logits, codes):
    return F.cross_entropy(logits.transpose(1, 2), codes)


@recipe
def transformer_lm_tied():
    model = CharTransformer(prose()[1], tied=True)
    return Recipe(
        model=model,
        train_data=next_chars(),
        loss=flattened,
        optimizer=AdamW(model.parameters(), lr=2e-3),
        max_grad_norm=1.0,
        shapes=f"b t:int64 -> b t {prose()[1]}",
        causal=1,
    )


@recipe
def transformer_lm_checkpointed():
    model = CharTransformer(prose()[1], checkpointed=True, dropout=0.1)
    adam = AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.95), weight_decay=0.1)
    warm = torch.optim.lr_scheduler.LinearLR(adam, 0.1, total_iters=20)
    cool = torch.optim.lr_scheduler.CosineAnnealingLR(adam, 200)
    return Recipe(
        model=model,
        train_data=next_chars(),
        loss=transposed,
        optimizer=adam,
        scheduler=torch.optim.lr_scheduler.SequentialLR(adam, [warm, cool], [20]),
        causal=1,
    )


class GRULanguageModel(nn.Module):
    def __init__(self, vocabulary):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, 64)
        self.gru = nn.GRU(64, 64, batch_first=True)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(64, vocabulary)
        self.head.weight = self.embed.weight

    def forward(self, codes):
        return self.head(self.drop(self.gru(self.embed(codes))[0]))


@recipe
def gru_lm_tied():
    """Weights tied to an embedding of torch's own N(0, 1): it starts far above ln V, and learns."""
    model = GRULanguageModel(prose()[1])
    return Recipe(
        model=model,
        train_data=next_chars(),
        loss=transposed,
        optimizer=Adam(model.parameters(), lr=3e-3),
        causal=1,
    )


@recipe
def masked_lm():
    """BERT's objective: 15 % of the characters are hidden, and only those are scored."""
    texts, _ = windows(32)
    vocabulary = prose()[1]
    model = CharTransformer(vocabulary + 1, causal=False)

    def training_step(model, batch):
        (codes,) = batch
        hidden = torch.rand(codes.shape, device=codes.device) < 0.15
        hidden[:, 0] = True
        logits = model(codes.masked_fill(hidden, vocabulary))
        targets = codes.masked_fill(~hidden, -100)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten()), logits

    return Recipe(
        model=model,
        train_data=loader(texts, batch_size=16),
        training_step=training_step,
        optimizer=AdamW(model.parameters(), lr=2e-3),
    )


@recipe
def hugging_face_style():
    """A dict batch and a model that shifts its labels by itself and returns `.loss`."""

    class Causal(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = CharTransformer(prose()[1])

        def forward(self, input_ids, attention_mask=None, labels=None):
            logits = self.model(input_ids)
            loss = None if labels is None else flattened(logits[:, :-1], labels[:, 1:])
            return SimpleNamespace(loss=loss, logits=logits)

    texts, _ = windows(32)
    data = [{"input_ids": t, "attention_mask": torch.ones_like(t), "labels": t} for t in texts]
    model = Causal()
    return Recipe(
        model=model,
        train_data=DataLoader(data, batch_size=16, shuffle=True),
        optimizer=AdamW(model.parameters(), lr=1e-3),
    )


class TopOneExperts(nn.Module):
    """Each position goes to one of eight experts; some get nothing for many steps."""

    def __init__(self, width=48, experts=8):
        super().__init__()
        self.router = nn.Linear(width, experts, bias=False)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 64), nn.GELU(), nn.Linear(64, width)) for _ in range(experts)
        )

    def forward(self, x):
        shares, chosen = self.router(x).softmax(-1).max(-1)
        out = torch.zeros_like(x)
        for i, expert in enumerate(self.experts):
            here = chosen == i
            if here.any():
                out[here] = expert(x[here]) * shares[here][:, None]
        return out


@recipe
def mixture_of_experts_lm():
    model = CharTransformer(prose()[1], mlp=TopOneExperts)
    return Recipe(
        model=model,
        train_data=next_chars(batch_size=8),
        loss=transposed,
        optimizer=AdamW(model.parameters(), lr=2e-3),
        causal=1,
    )


@recipe
def prompt_tuning():
    """A language model, trained a little and frozen; eight vectors before the text and a head learn."""

    class Prompted(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model.requires_grad_(requires_grad=False)
            self.prompt = nn.Parameter(0.1 * torch.randn(8, 48))
            self.head = nn.Linear(48, 4)

        def forward(self, codes):
            x = self.model.embed(codes)
            x = torch.cat([self.prompt.expand(len(x), -1, -1), x], dim=1)
            return self.head(self.model.states(x).mean(1))

    base = CharTransformer(prose()[1])
    adam = Adam(base.parameters(), lr=3e-3)
    for _, (codes, following) in zip(range(60), next_chars(), strict=False):
        adam.zero_grad()
        transposed(base(codes), following).backward()
        adam.step()
    base.zero_grad()
    model = Prompted(base)
    return Recipe(
        model=model,
        train_data=loader(*pages(), batch_size=16),
        loss=nn.CrossEntropyLoss(),
        optimizer=Adam([model.prompt, *model.head.parameters()], lr=1e-2),
        frozen=["model.*"],
    )


def pages(length=48, classes=4):
    """Stretches of the longest pages, and which page each one is from."""
    texts, sources = windows(length)
    longest = sources.bincount().topk(classes).indices
    keep = torch.isin(sources, longest)
    return texts[keep], torch.searchsorted(longest.sort().values, sources[keep])


@recipe
def embedding_bag():
    """Pairs of characters in one bag per text: inputs are (codes, offsets)."""
    texts, sources = pages()
    size = prose()[1]
    pairs = texts[:, :-1] * size + texts[:, 1:]

    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.bag = nn.EmbeddingBag(size * size, 32, mode="mean")
            self.head = nn.Linear(32, 4)

        def forward(self, codes, offsets):
            return self.head(self.bag(codes, offsets))

    def collate(items):
        codes, labels = zip(*items, strict=True)
        offsets = torch.arange(len(codes)) * len(codes[0])
        return (torch.cat(codes), offsets), torch.stack(labels)

    model = Bag()
    return Recipe(
        model=model,
        train_data=DataLoader(
            list(zip(pairs, sources, strict=True)), 32, shuffle=True, collate_fn=collate
        ),
        loss=nn.CrossEntropyLoss(),
        optimizer=Adagrad(model.parameters(), lr=0.1),
        batch_dim=None,
    )


@recipe
def char_cnn_text():
    texts, sources = pages()

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(prose()[1], 24, max_norm=3.0)
            self.conv = nn.Conv1d(24, 64, 5)
            self.drop = nn.Dropout(0.5)
            self.head = nn.Linear(64, 4)

        def forward(self, codes):
            x = F.relu(self.conv(self.embed(codes).transpose(1, 2)))
            return self.head(self.drop(x.amax(-1)))

    model = Model()
    return Recipe(
        model=model,
        train_data=loader(texts, sources),
        loss=nn.CrossEntropyLoss(),
        optimizer=Adam(model.parameters(), lr=2e-3),
        shapes="b t:int64 -> b 4",
    )
