"""BoQ, a bag of queries (Ali-bey et al., CVPR 2024): learned queries look for their part in the cells."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vpr.errors import ConfigError
from vpr.types import Features, FeatureSpec


class BoQ(nn.Module):
    """Cells projected to `channels`, `layers` blocks of queries one behind the other, a linear layer over all answers.

    There is no position embedding, so any image size is taken; a class token is not looked at.

    Args:
        spec: of the features.
        channels: d, width of the blocks.
        queries: Q, of each block.
        layers: L, number of blocks.
        rows: r, so many mixtures of the L * Q answers make the descriptor of channels * rows dimensions.
        heads: of the attention; null: channels / 64.

    Raises:
        ConfigError: the heads do not divide the channels.
    """

    def __init__(
        self,
        spec: FeatureSpec,
        channels: int = 384,
        queries: int = 64,
        layers: int = 2,
        rows: int = 32,
        heads: int | None = None,
    ) -> None:
        super().__init__()
        heads = heads or max(1, channels // 64)
        if channels % heads:
            raise ConfigError(
                f"agg.channels={channels}: {heads} heads cannot share them equally. Type agg.channels as a multiple of "
                "64, or other agg.heads."
            )
        self.dim = channels * rows
        self.proj_c = nn.Conv2d(spec.channels, channels, 3, padding=1)
        self.norm_input = nn.LayerNorm(channels)
        self.boqs = nn.ModuleList(BoQBlock(channels, queries, heads) for _ in range(layers))
        self.fc = nn.Linear(layers * queries, rows)

    def forward(self, features: Features) -> Tensor:
        x = self.cells(features)
        answers = []
        for block in self.boqs:
            x, answer = block(x)
            answers.append(answer)
        mixed = self.fc(torch.cat(answers, dim=1).transpose(1, 2))  # (B, channels, rows)
        return F.normalize(mixed.flatten(1).float(), dim=-1)

    def cells(self, features: Features) -> Tensor:
        """Return the cells (B, n, channels) that the first block takes, row by row."""
        return self.norm_input(self.proj_c(features.map).flatten(2).transpose(1, 2))


class BoQBlock(nn.Module):
    """An encoder layer of the cells, and Q learned queries that attend to each other, then to the cells.

    Cells (B, n, d) -> encoded cells (B, n, d), which the next block takes, and answers (B, Q, d).
    """

    def __init__(self, channels: int, queries: int, heads: int) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(channels, heads, 4 * channels, dropout=0.0, batch_first=True)
        self.queries = nn.Parameter(torch.randn(1, queries, channels))
        self.self_attn = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.norm_q = nn.LayerNorm(channels)
        self.cross_attn = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.norm_out = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.encoder(x)
        answers, _ = self.cross_attn(self._mixed_queries(x.shape[0]), x, x, need_weights=False)
        return x, self.norm_out(answers)

    def attention(self, encoded: Tensor) -> Tensor:
        """Return the attention (B, Q, n) of the queries to encoded cells (B, n, d), the mean over heads."""
        return self.cross_attn(self._mixed_queries(encoded.shape[0]), encoded, encoded)[1]

    def _mixed_queries(self, batch: int) -> Tensor:
        """Return the queries (B, Q, d) after they have attended to each other, which no image takes part in."""
        answers, _ = self.self_attn(self.queries, self.queries, self.queries, need_weights=False)
        return self.norm_q(self.queries + answers).expand(batch, -1, -1)
