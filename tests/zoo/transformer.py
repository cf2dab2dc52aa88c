"""A plain pre-norm character transformer, shared by several of the zoo's language models."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint


class Block(nn.Module):
    def __init__(self, width, heads=4, dropout=0.0, mlp=None):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.mlp = mlp or nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x, causal):
        x = x + self.dropout(self.attention(self.norm1(x), causal))
        return x + self.dropout(self.mlp(self.norm2(x)))

    def attention(self, x, causal):
        q, k, v = (
            part(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.q, self.k, self.v)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return self.out(mixed.transpose(1, 2).flatten(2))


class CharTransformer(nn.Module):
    """Codes [b, t] to logits [b, t, vocabulary]."""

    def __init__(  # noqa: PLR0913  what the language models differ in
        self,
        vocabulary,
        width=48,
        depth=2,
        length=64,
        *,
        tied=False,
        checkpointed=False,
        causal=True,
        dropout=0.0,
        mlp=lambda: None,
    ):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, dropout=dropout, mlp=mlp()) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.checkpointed, self.causal = checkpointed, causal
        nn.init.normal_(self.tokens.weight, std=0.02)
        nn.init.normal_(self.positions.weight, std=0.02)
        if tied:
            self.head.weight = self.tokens.weight

    def embed(self, codes):
        return self.tokens(codes) + self.positions(torch.arange(codes.size(1), device=codes.device))

    def states(self, x):
        for block in self.blocks:
            if self.checkpointed and self.training:
                x = checkpoint(block, x, self.causal, use_reentrant=False)
            else:
                x = block(x, self.causal)
        return self.norm(x)

    def forward(self, codes):
        return self.head(self.states(self.embed(codes)))
