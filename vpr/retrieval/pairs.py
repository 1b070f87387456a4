"""Similarities of chosen pairs of descriptors, streamed: no matrix of all pairs is kept, and none is read at random."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vpr.retrieval.search import BLOCK_BYTES, blocks

LEFT_ROWS, RIGHT_ROWS = 2048, 16_384  # of a tile: 128 MiB of similarities


class Tile(NamedTuple):
    """Similarities of rows `left` .. of one side to rows `right` .. of the other: `values` (n, m) float32."""

    left: int
    right: int
    values: Tensor


def tiles(
    left: Sequence[np.ndarray], right: Sequence[np.ndarray], device: torch.device | str = "cpu"
) -> Iterator[Tile]:
    """Yield the inner products of all rows of `left` with all rows of `right`, tile by tile, `left` outermost.

    Each side is a sequence of (N, D) arrays or memmaps, float16 or float32, whose rows are counted through. Products
    are made on `device` in float32.
    """
    for start, wanted in stacked(left, LEFT_ROWS):
        asked = torch.from_numpy(wanted).to(device)
        for low, rows in stacked(right, RIGHT_ROWS):
            yield Tile(start, low, asked @ torch.from_numpy(rows).to(device).T)


def stacked(arrays: Sequence[np.ndarray], most: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first row, float32 rows) of arrays one below the other, at most `most` rows at a time."""
    first = 0
    for array in arrays:
        rows = min(most, max(BLOCK_BYTES // (4 * array.shape[1]), 1))
        for start, block in blocks(array, rows):
            yield first + start, block
        first += len(array)


def similarities(
    left: Sequence[np.ndarray],
    right: Sequence[np.ndarray],
    rows: np.ndarray,
    columns: np.ndarray,
    device: torch.device | str = "cpu",
) -> np.ndarray:
    """Return the inner product of row `rows[i]` of `left` with row `columns[i]` of `right`, (n,) float32.

    `left` and `right` as in `tiles`; `rows` and `columns` are (n,) int64.
    """
    found = np.empty(len(rows), np.float32)
    order = np.argsort(rows, kind="stable")
    sorted_rows = rows[order]
    for tile in tiles(left, right, device):
        height, width = tile.values.shape
        inside = order[slice(*np.searchsorted(sorted_rows, [tile.left, tile.left + height]))]
        inside = inside[(columns[inside] >= tile.right) & (columns[inside] < tile.right + width)]
        row, column = (torch.from_numpy(index) for index in (rows[inside] - tile.left, columns[inside] - tile.right))
        found[inside] = tile.values[row.to(device), column.to(device)].cpu().numpy()
    return found
