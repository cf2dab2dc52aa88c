"""Newer architectures: rotary attention, mixers, queries, state spaces, experts, discrete codes."""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import nn
from torch.nn import functional as F
from torch.optim import Adam, AdamW

from pytest_dlcheck import Recipe, recipe

from .data import digits, loader, prose
from .language import next_chars, transposed
from .transformer import CharTransformer


class RotaryBlock(nn.Module):
    """RMSNorm, grouped rotary attention, SwiGLU, no biases."""

    def __init__(self, width, heads=4, groups=2):
        super().__init__()
        self.heads, self.groups, self.size = heads, groups, width // heads
        self.norm1, self.norm2 = nn.RMSNorm(width), nn.RMSNorm(width)
        self.qkv = nn.Linear(width, width + 2 * groups * self.size, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.gate, self.up = (nn.Linear(width, 2 * width, bias=False) for _ in range(2))
        self.down = nn.Linear(2 * width, width, bias=False)

    def forward(self, x):
        mixed = self.qkv(self.norm1(x)).unflatten(-1, (-1, self.size)).transpose(1, 2)
        q, k, v = mixed.split((self.heads, self.groups, self.groups), dim=1)
        k, v = (part.repeat_interleave(self.heads // self.groups, dim=1) for part in (k, v))
        attended = F.scaled_dot_product_attention(turned(q), turned(k), v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        hidden = self.norm2(x)
        return x + self.down(F.silu(self.gate(hidden)) * self.up(hidden))


def turned(x):
    """Pairs of features turned by an angle that grows with the position."""
    half = x.size(-1) // 2
    rates = 10000 ** (-torch.arange(half, device=x.device) / half)
    angles = torch.arange(x.size(-2), device=x.device)[:, None] * rates
    a, b = x.chunk(2, -1)
    return torch.cat([a * angles.cos() - b * angles.sin(), a * angles.sin() + b * angles.cos()], -1)


@recipe
def llama_like():
    class Model(nn.Module):
        def __init__(self, vocabulary, width=48):
            super().__init__()
            self.tokens = nn.Embedding(vocabulary, width)
            self.blocks = nn.Sequential(RotaryBlock(width), RotaryBlock(width))
            self.norm, self.head = nn.RMSNorm(width), nn.Linear(width, vocabulary, bias=False)
            self.apply(self.start)

        def start(self, module):
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.02)

        def forward(self, codes):
            return self.head(self.norm(self.blocks(self.tokens(codes))))

    model = Model(prose()[1])
    adam = AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0.1)
    return Recipe(
        model=model,
        train_data=next_chars(),
        loss=transposed,
        optimizer=adam,
        max_grad_norm=1.0,
        shapes="b t:int64 -> b t v",
        causal=1,
    )


@recipe
def state_space():
    """A diagonal linear recurrence, stepped in time, with a gate."""

    class Layer(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.enter, self.leave = nn.Linear(width, 2 * width), nn.Linear(width, width)
            self.rate = nn.Parameter(torch.linspace(-3, 3, width))

        def forward(self, x):
            kept = torch.sigmoid(self.rate)
            values, gates = self.enter(x).chunk(2, -1)
            state, states = torch.zeros_like(values[:, 0]), []
            for value in values.unbind(1):
                state = kept * state + (1 - kept) * value
                states.append(state)
            return x + self.leave(torch.stack(states, 1) * F.silu(gates))

    model = nn.Sequential(
        nn.Embedding(prose()[1], 48), Layer(48), Layer(48), nn.LayerNorm(48), nn.Linear(48, prose()[1])
    )
    return Recipe(
        model=model,
        train_data=next_chars(length=16),
        loss=transposed,
        optimizer=AdamW(model.parameters(), lr=3e-3),
        causal=1,
    )


@recipe
def unused_pooler():
    """BERT's body as it is downloaded: it gives a pooled output too, which this task does not use."""

    class Body(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = CharTransformer(prose()[1] + 1, causal=False)
            self.pooler = nn.Linear(48, 48)

        def forward(self, codes):
            states = self.body.states(self.body.embed(codes))
            return {"last": states, "pooled": torch.tanh(self.pooler(states[:, 0]))}

    class Tagger(nn.Module):
        """Vowel, consonant or else, for characters of which a few are hidden."""

        def __init__(self):
            super().__init__()
            self.bert = Body()
            self.head = nn.Linear(48, 3)

        def forward(self, codes):
            return self.head(self.bert(codes)["last"])

    texts = next_chars().dataset.tensors[0]
    kinds = torch.tensor([i % 3 for i in range(prose()[1])])[texts]
    model = Tagger()
    return Recipe(
        model=model,
        train_data=loader(texts, kinds, batch_size=16),
        loss=transposed,
        optimizer=AdamW(model.parameters(), lr=1e-3),
    )


class TopTwoExperts(nn.Module):
    """Sixteen experts, two for each position, and a loss that spreads the work."""

    def __init__(self, width=48, experts=16):
        super().__init__()
        self.router = nn.Linear(width, experts)
        self.experts = nn.ModuleList(nn.Linear(width, width) for _ in range(experts))
        self.unevenness = torch.zeros(())

    def forward(self, x):
        chances = self.router(x).softmax(-1)
        top, chosen = chances.topk(2, -1)
        used = F.one_hot(chosen, len(self.experts)).sum(-2).float().mean((0, 1))
        self.unevenness = (used * chances.mean((0, 1))).sum() * len(self.experts)
        out = torch.zeros_like(x)
        for i, expert in enumerate(self.experts):
            share = (top * (chosen == i)).sum(-1, keepdim=True)
            here = share[..., 0] > 0
            if here.any():
                out[here] = out[here] + share[here] * F.gelu(expert(x[here]))
        return out


@recipe
def mixture_of_sixteen():
    """Texts of eight characters, two at a time: many experts see nothing for many steps."""
    model = CharTransformer(prose()[1], mlp=TopTwoExperts)

    def training_step(model, batch):
        codes, following = batch
        logits = model(codes)
        uneven = sum(block.mlp.unevenness for block in model.blocks)
        return transposed(logits, following) + 0.01 * uneven, logits

    return Recipe(
        model=model,
        train_data=next_chars(batch_size=2, length=8),
        training_step=training_step,
        optimizer=AdamW(model.parameters(), lr=2e-3),
    )


@recipe
def mlp_mixer():
    class Mixer(nn.Module):
        def __init__(self, tokens, width):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.across = nn.Sequential(nn.Linear(tokens, 32), nn.GELU(), nn.Linear(32, tokens))
            self.within = nn.Sequential(nn.Linear(width, 64), nn.GELU(), nn.Linear(64, width))

        def forward(self, x):
            x = x + self.across(self.norm1(x).transpose(1, 2)).transpose(1, 2)
            return x + self.within(self.norm2(x))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches = nn.Conv2d(1, 32, 2, stride=2)
            self.mixers = nn.Sequential(Mixer(16, 32), Mixer(16, 32))
            self.head = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 10))

        def forward(self, images):
            x = self.patches(images).flatten(2).transpose(1, 2)
            return self.head(self.mixers(x).mean(1))

    model = Model()
    return Recipe(
        model=model,
        train_data=digits(),
        loss=nn.CrossEntropyLoss(),
        optimizer=AdamW(model.parameters(), lr=3e-3),
        shapes="b 1 8 8 -> b 10",
    )


@recipe
def set_prediction():
    """Two digits in one picture, found by learned queries and matched by the cheapest assignment."""

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Conv2d(1, 32, 2, stride=2)
            self.places = nn.Parameter(0.1 * torch.randn(32, 32))
            self.queries = nn.Parameter(torch.randn(3, 32))
            self.decoder = nn.TransformerDecoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
            self.classes = nn.Linear(32, 11)

        def forward(self, images):
            memory = self.embed(images).flatten(2).transpose(1, 2) + self.places
            return self.classes(self.decoder(self.queries.expand(len(images), -1, -1), memory))

    def loss(logits, labels):
        wanted = torch.cat([labels, labels.new_full((len(labels), 1), 10)], dim=1)
        costs = -logits.log_softmax(-1).gather(2, wanted[:, None].expand(-1, 3, -1))
        pairs = [linear_sum_assignment(cost.detach().cpu()) for cost in costs]
        return torch.stack([c[tuple(pair)].mean() for c, pair in zip(costs, pairs, strict=True)]).mean()

    images, labels = digits()
    both = torch.cat([images[:1000].roll(1, 0), images[:1000]], dim=3)
    model = Model()
    return Recipe(
        model=model,
        train_data=(both, torch.stack([labels[:1000].roll(1, 0), labels[:1000]], 1)),
        loss=loss,
        optimizer=Adam(model.parameters(), lr=3e-3),
    )


@recipe
def gumbel_softmax_codes():
    """A digit through eight categorical variables, drawn at random with a temperature."""

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 64))
            self.decoder = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 64))

        def forward(self, images):
            logits = self.encoder(images).view(-1, 8, 8)
            codes = F.gumbel_softmax(logits, tau=0.7) if self.training else logits.softmax(-1)
            return self.decoder(codes.flatten(1)).view_as(images)

    images, _ = digits()
    model = Model()
    return Recipe(
        model=model,
        train_data=(images, images),
        loss=nn.BCEWithLogitsLoss(),
        optimizer=Adam(model.parameters(), lr=2e-3),
        shapes="b 1 8 8 -> b 1 8 8",
    )
