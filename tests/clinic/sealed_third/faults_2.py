"""Faults in outputs, masks, embeddings, graphs and sharing; two in a loss."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck import Recipe

from . import data

# -- a regression that cannot say anything below zero -----------------------------------------------


class ProgressionNet(nn.Module):
    def __init__(self, features, *, relu_out):
        super().__init__()
        self.fc1 = nn.Linear(features, 32)
        self.fc2 = nn.Linear(32, 32)
        self.fc3 = nn.Linear(32, 1)
        self.relu_out = relu_out

    def forward(self, x):
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        x = self.fc3(x)
        if self.relu_out:
            x = F.relu(x)
        return x.squeeze(-1)


def progression_regression(mistake: bool) -> Recipe:
    """A ReLU follows the last layer too, though half of the standardised targets are below zero."""
    x, y, vx, vy = data.table("diabetes", classes=False)
    model = ProgressionNet(x.size(1), relu_out=mistake)
    return Recipe(
        model=model,
        train_data=data.loader(x, y, batch_size=32),
        val_data=data.loader(vx, vy, batch_size=128, shuffle=False),
        loss=nn.MSELoss(),
        optimizer=torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05),
        shapes="b 10 -> b",
    )


# -- a language model whose causal mask is added as ones and zeros ----------------------------------


class CausalSelfAttention(nn.Module):
    def __init__(self, dim, heads, block_size, *, additive):
        super().__init__()
        self.heads = heads
        self.c_attn = nn.Linear(dim, 3 * dim)
        self.c_proj = nn.Linear(dim, dim)
        self.register_buffer("tril", torch.tril(torch.ones(block_size, block_size)))
        self.additive = additive

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = self.c_attn(x).split(c, dim=2)
        q, k, v = (z.view(b, t, self.heads, c // self.heads).transpose(1, 2) for z in (q, k, v))
        att = q @ k.transpose(-2, -1) / math.sqrt(k.size(-1))
        mask = self.tril[:t, :t]
        att = att + mask if self.additive else att.masked_fill(mask == 0, float("-inf"))
        y = F.softmax(att, dim=-1) @ v
        return self.c_proj(y.transpose(1, 2).reshape(b, t, c))


class GPTBlock(nn.Module):
    def __init__(self, dim, heads, block_size, **options):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = CausalSelfAttention(dim, heads, block_size, **options)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x):
        x = x + self.attn(self.ln1(x))
        return x + self.mlp(self.ln2(x))


class MiniGPT(nn.Module):
    def __init__(self, vocab, dim=48, heads=4, depth=2, block_size=32, **options):
        super().__init__()
        self.wte = nn.Embedding(vocab, dim)
        self.wpe = nn.Embedding(block_size, dim)
        self.blocks = nn.Sequential(*[GPTBlock(dim, heads, block_size, **options) for _ in range(depth)])
        self.ln_f = nn.LayerNorm(dim)
        self.lm_head = nn.Linear(dim, vocab)
        nn.init.normal_(self.wte.weight, std=0.05)
        nn.init.normal_(self.wpe.weight, std=0.05)

    def forward(self, idx):
        x = self.wte(idx) + self.wpe(torch.arange(idx.size(1), device=idx.device))
        return self.lm_head(self.ln_f(self.blocks(x)))


def mini_gpt(mistake: bool) -> Recipe:
    """The lower triangle of ones is added to the scores instead of filling the rest with -inf."""
    train, val, vocab = data.characters()
    model = MiniGPT(vocab, additive=mistake)
    return Recipe(
        model=model,
        train_data=data.loader(train[:, :-1], train[:, 1:], batch_size=32),
        val_data=data.loader(val[:, :-1], val[:, 1:], batch_size=128, shuffle=False),
        loss=lambda logits, targets: F.cross_entropy(logits.flatten(0, 1), targets.flatten()),
        optimizer=torch.optim.AdamW(model.parameters(), lr=3e-3),
        max_grad_norm=1.0,
        shapes=f"b t:int64 -> b t {vocab}",
        causal=1,
    )


# -- a text classifier that attends to the padding only ---------------------------------------------


class TextAttentionClassifier(nn.Module):
    def __init__(self, vocab, classes, dim=48, width=32, *, inverted=False):
        super().__init__()
        self.embedding = nn.Embedding(vocab, dim)
        self.positions = nn.Parameter(0.1 * torch.randn(width, dim))
        self.norm = nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, 4, batch_first=True)
        self.query = nn.Parameter(0.1 * torch.randn(1, 1, dim))
        self.classifier = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, 64), nn.GELU(), nn.Linear(64, classes)
        )
        self.inverted = inverted

    def forward(self, ids):
        x = self.norm(self.embedding(ids) + self.positions[: ids.size(1)])
        mask = (ids != 0) if self.inverted else (ids == 0)
        query = self.query.expand(ids.size(0), -1, -1)
        pooled, _ = self.attention(query, x, x, key_padding_mask=mask, need_weights=False)
        return self.classifier(pooled[:, 0])


def topic_attention(mistake: bool) -> Recipe:
    """`key_padding_mask` is True for real words instead of padding, so that only padding is attended to."""
    x, y, vx, vy, vocab, classes = data.topics()
    model = TextAttentionClassifier(vocab, classes, inverted=mistake)
    return Recipe(
        model=model,
        train_data=data.loader(x, y, batch_size=32),
        val_data=data.loader(vx, vy, batch_size=128, shuffle=False),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
        shapes=f"b 32:int64 -> b {classes}",
    )


# -- a recommender in which most users are the same one ---------------------------------------------


class MatrixFactorization(nn.Module):
    def __init__(self, users, items, factors=8):
        super().__init__()
        self.user_factors = nn.Embedding(users, factors)
        self.item_factors = nn.Embedding(items, factors)
        self.user_bias = nn.Embedding(users, 1)
        self.item_bias = nn.Embedding(items, 1)
        for table in (self.user_factors, self.item_factors):
            nn.init.normal_(table.weight, std=0.3)
        for table in (self.user_bias, self.item_bias):
            nn.init.zeros_(table.weight)

    def forward(self, pairs):
        user = pairs[:, 0].clamp(max=self.user_factors.num_embeddings - 1)
        item = pairs[:, 1].clamp(max=self.item_factors.num_embeddings - 1)
        dot = (self.user_factors(user) * self.item_factors(item)).sum(-1)
        return dot + self.user_bias(user).squeeze(-1) + self.item_bias(item).squeeze(-1)


def ratings_mf(mistake: bool) -> Recipe:
    """The user table has 30 rows for 300 users, and a clamp, put in against an IndexError, hides it."""
    x, y, vx, vy = data.ratings()
    model = MatrixFactorization(30 if mistake else 300, 120)
    return Recipe(
        model=model,
        train_data=data.loader(x, y, batch_size=128),
        val_data=data.loader(vx, vy, batch_size=512, shuffle=False),
        loss=nn.MSELoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-2, weight_decay=1e-5),
        shapes="b 2:int64 -> b",
    )


# -- a graph network that sums over neighbours, layer after layer -----------------------------------


class GraphConv(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, x, adj):
        return self.linear(adj @ x)


class CommunityGNN(nn.Module):
    def __init__(self, inputs=3, width=32, classes=3, depth=4, *, normalise=True):
        super().__init__()
        sizes = [inputs, *[width] * (depth - 1)]
        self.convs = nn.ModuleList(GraphConv(a, width) for a in sizes)
        self.readout = nn.Linear(width, classes)
        self.normalise = normalise

    def forward(self, x, adj):
        if self.normalise:
            d = adj.sum(-1).rsqrt()
            adj = d[:, :, None] * adj * d[:, None, :]
        for conv in self.convs:
            x = F.relu(conv(x, adj)) + (x if x.size(-1) == conv.linear.out_features else 0)
        return self.readout(x)


def community_gnn(mistake: bool) -> Recipe:
    """The adjacency is not normalised by the degrees, so that activations grow tenfold in each layer."""
    (x, a, y), (vx, va, vy) = data.block_graphs()
    model = CommunityGNN(normalise=not mistake)

    def batches(batch):
        xs, adjs, ys = zip(*batch, strict=True)
        return (torch.stack(xs), torch.stack(adjs)), torch.stack(ys)

    return Recipe(
        model=model,
        train_data=data.loader(x, a, y, batch_size=16, collate_fn=batches),
        val_data=data.loader(vx, va, vy, batch_size=32, shuffle=False, collate_fn=batches),
        loss=lambda logits, targets: F.cross_entropy(logits.transpose(1, 2), targets),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        shapes="b n 3, b n n -> b n 3",
    )


# -- a stack of blocks that is one block ------------------------------------------------------------


class MixBlock(nn.Module):
    """Mixes what the columns of an image say, then its channels."""

    def __init__(self, tokens, dim):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.tokens = nn.Sequential(
            nn.Linear(tokens, 2 * tokens), nn.GELU(), nn.Linear(2 * tokens, tokens)
        )
        self.channels = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x):
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.norm2(x))


class ColumnMixer(nn.Module):
    def __init__(self, dim=24, depth=6, *, multiply=False):
        super().__init__()
        self.embed = nn.Linear(8, dim)
        if multiply:
            self.blocks = nn.ModuleList([MixBlock(8, dim)] * depth)
        else:
            self.blocks = nn.ModuleList([MixBlock(8, dim) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, 10)

    def forward(self, images):
        x = self.embed(images.squeeze(1).transpose(1, 2))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(1))


def column_mixer(mistake: bool) -> Recipe:
    """`[Block()] * 6` puts one and the same block into the list six times."""
    x, y, vx, vy = data.digits()
    model = ColumnMixer(multiply=mistake)
    return Recipe(
        model=model,
        train_data=data.loader(x, y),
        val_data=data.loader(vx, vy, batch_size=256, shuffle=False),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
        shapes="b 1 8 8 -> b 10",
    )


# -- a Dice "loss" that is the Dice score -----------------------------------------------------------


class SmallUNet(nn.Module):
    def __init__(self, width=12):
        super().__init__()

        def double(a, b):
            return nn.Sequential(
                nn.Conv2d(a, b, 3, padding=1, bias=False),
                nn.BatchNorm2d(b),
                nn.ReLU(inplace=True),
                nn.Conv2d(b, b, 3, padding=1, bias=False),
                nn.BatchNorm2d(b),
                nn.ReLU(inplace=True),
            )

        self.down1, self.down2 = double(1, width), double(width, 2 * width)
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.out = nn.Sequential(double(2 * width, width), nn.Conv2d(width, 1, 1))

    def forward(self, x):
        a = self.down1(x)
        b = self.down2(F.max_pool2d(a, 2))
        return self.out(torch.cat([a, self.up(b)], dim=1))


class DiceLoss(nn.Module):
    def __init__(self, smooth=1.0, *, score=False):
        super().__init__()
        self.smooth, self.score = smooth, score

    def forward(self, logits, targets):
        probs = torch.sigmoid(logits).flatten(1)
        targets = targets.flatten(1)
        intersection = (probs * targets).sum(1)
        dice = (2 * intersection + self.smooth) / (probs.sum(1) + targets.sum(1) + self.smooth)
        return dice.mean() if self.score else 1 - dice.mean()


def dice_unet(mistake: bool) -> Recipe:
    """The loss returns the Dice score instead of one minus it, so that training makes it worse."""
    x, y, vx, vy = data.blobs()
    model = SmallUNet()
    return Recipe(
        model=model,
        train_data=data.loader(x, y, batch_size=16),
        val_data=data.loader(vx, vy, batch_size=60, shuffle=False),
        loss=DiceLoss(score=mistake),
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
        shapes="b 1 24 24 -> b 1 24 24",
    )


# -- [n, 1] minus [n] -------------------------------------------------------------------------------


def rmse_loss(pred, target):
    return torch.sqrt(((pred - target) ** 2).mean() + 1e-8)


def house_rmse(mistake: bool) -> Recipe:
    """Predictions (n, 1) minus targets (n,) are (n, n): each prediction is held against all targets."""
    x, y, vx, vy = data.friedman()
    model = nn.Sequential(nn.Linear(8, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1))
    if not mistake:
        y, vy = y.unsqueeze(1), vy.unsqueeze(1)
    return Recipe(
        model=model,
        train_data=data.loader(x, y),
        val_data=data.loader(vx, vy, batch_size=80, shuffle=False),
        loss=rmse_loss,
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3),
        shapes="b 8 -> b 1",
    )


FAULTS = [
    (
        progression_regression,
        ("relu", "rectif", "below zero", "negative"),
        "activation on a regression's output",
    ),
    (mini_gpt, ("causal", "future", "look ahead", "after it", "mask"), "causal mask does not mask"),
    (topic_attention, ("padding", "mask", "real words", "influence"), "padding mask inverted"),
    (
        ratings_mf,
        ("clamp", "clipped", "embedding", "same row", "users", "rows"),
        "embedding index clipped",
    ),
    (
        community_gnn,
        ("normalis", "normaliz", "degree", "explod", "grow", "magnitude"),
        "graph not normalised",
    ),
    (
        column_mixer,
        ("same module", "share", "sharing", "one block", "same block", "tied", "several times"),
        "layers shared by list multiplication",
    ),
    (
        dice_unet,
        (
            "flipped",
            "score minimised",
            "is a score",
            "sign of",
            "wrong sign",
            "maximi",
            "one minus",
            "wrong direction",
            "negat",
        ),
        "sign of the loss",
    ),
    (house_rmse, ("broadcast", "squeeze", "(n, n)", "shape"), "broadcast in the loss"),
]
