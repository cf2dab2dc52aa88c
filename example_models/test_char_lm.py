"""A small causal transformer that learns to write like scikit-learn's data set descriptions."""

from __future__ import annotations

from importlib.resources import files

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from pytest_dlcheck import Recipe, recipe

CONTEXT = 32


class CharDataset(Dataset):
    """Windows of characters, each with the same window one character later as its targets."""

    def __init__(self, text, alphabet):
        index = {char: i for i, char in enumerate(alphabet)}
        self.codes = torch.tensor([index[char] for char in text])

    def __len__(self):
        return (len(self.codes) - 1) // CONTEXT

    def __getitem__(self, i):
        start = i * CONTEXT
        window = self.codes[start : start + CONTEXT + 1]
        return window[:-1], window[1:]


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        x = x + self.attend(self.norm1(x))
        return x + self.mlp(self.norm2(x))

    def attend(self, x):
        B, T, C = x.shape
        q, k, v = self.qkv(x).view(B, T, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)
        y = self.mix(q, k, v)
        return self.out(y.transpose(1, 2).reshape(B, T, C))

    def mix(self, q, k, v):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)


class CharLM(nn.Module):
    def __init__(self, vocabulary, width=64, heads=4, depth=2):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(CONTEXT, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        for embedding in (self.tokens, self.positions):
            nn.init.normal_(embedding.weight, std=0.02)

    def forward(self, codes):
        x = self.tokens(codes) + self.positions.weight[: codes.size(1)]
        return self.head(self.norm(self.blocks(x)))


def next_char_loss(logits, targets):
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def descriptions():
    folder = files("sklearn.datasets") / "descr"
    pages = sorted((page for page in folder.iterdir() if page.name.endswith(".rst")), key=str)
    return "".join(page.read_text(encoding="utf-8") for page in pages)


@pytest.mark.dlcheck(steps=80)
@recipe
def char_lm():
    text = descriptions()
    alphabet = sorted(set(text))
    cut = int(0.9 * len(text))
    model = CharLM(len(alphabet))
    return Recipe(
        model=model,
        train_data=DataLoader(CharDataset(text[:cut], alphabet), batch_size=32, shuffle=True),
        val_data=DataLoader(CharDataset(text[cut:], alphabet), batch_size=128),
        loss=next_char_loss,
        optimizer=torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01),
        max_grad_norm=1.0,
        shapes=f"b t:int64 -> b t {len(alphabet)}",
        causal=1,
    )
