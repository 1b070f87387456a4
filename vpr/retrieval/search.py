"""Exact search, streamed through memory in blocks: nearest neighbours, non-maximum suppression, chosen similarities."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import faiss
import numpy as np
import torch
from torch import Tensor

BLOCK_BYTES = 256 << 20
LEFT_ROWS, RIGHT_ROWS = 2048, 16_384  # of a tile of similarities: 128 MiB
TINY = 1e-12  # of a length: a row of zeros stays one
TILE = 1024  # faiss multiplies 1,024 database rows at a time: whole tiles give the very sums that IndexFlatIP gives


class Neighbours(NamedTuple):
    """Best database rows of every query.

    Attributes:
        similarities: (Q, k) float32, falling; after re-ranking by local features, in the order of that.
        indices: (Q, k) int64, -1 = none.
        inliers: (Q, k) int32 points of query and image that confirm each other, -1 where they were not compared; None
            where no pixels were.
    """

    similarities: np.ndarray
    indices: np.ndarray
    inliers: np.ndarray | None = None

    def first(self, k: int) -> Neighbours:
        """Return the first `k` of every query."""
        inliers = None if self.inliers is None else self.inliers[:, :k]
        return Neighbours(self.similarities[:, :k], self.indices[:, :k], inliers)

    def of(self, queries: np.ndarray) -> Neighbours:
        """Return those of some of the queries: a mask (Q,) bool, or numbers (n,) int."""
        inliers = None if self.inliers is None else self.inliers[queries]
        return Neighbours(self.similarities[queries], self.indices[queries], inliers)


def search(
    database: np.ndarray, queries: np.ndarray, k: int, block: int | None = None, unit: bool = False
) -> Neighbours:
    """Find the `k` rows of `database` (N, D) with the largest inner product to each row of `queries` (Q, D).

    For unit vectors this is the order of Euclidean distance. Equal similarities go to the lower row number. Float16 and
    float32 are taken; sums are float32. With `unit`, float16 rows are of unit length again, see `unit_rows`. A memmap
    is read from its file, two blocks of `block` rows in memory at most (default: 256 MiB as float32). Where `k` exceeds
    N the tail is -1 with similarity -inf.
    """
    width = database.shape[1]
    rows = block or max(BLOCK_BYTES // (4 * width) // TILE, 1) * TILE
    query_rows = np.empty(queries.shape, np.float32)
    _reader(queries, unit)(0, torch.from_numpy(query_rows))
    best = Neighbours(np.full((len(queries), k), -np.inf, np.float32), np.full((len(queries), k), -1, np.int64))
    for start, vectors in blocks(database, rows, unit):
        of_block = _search_block(query_rows, vectors, k)
        best = _merge(best, Neighbours(of_block.similarities, of_block.indices + start))
    return best


def nearest(
    database: np.ndarray,
    queries: np.ndarray,
    k: int,
    panoramas: np.ndarray | None = None,
    own_rows: Sequence[np.ndarray] | None = None,
) -> Neighbours:
    """Search with non-maximum suppression over cut-outs: of the views cut from one panorama only the nearest counts.

    The protocol of Tokyo 24/7 (Arandjelovic et al., CVPR 2016): among the nearest `k` times 12 cut-outs, keep the
    first of each panorama. A panorama takes at most as many places as the largest one has cut-outs, so `k` times that
    number holds `k` panoramas: the result is that of suppression in the full ranking.

    Args:
        database, queries: (N, D) and (Q, D), as `search` takes them.
        panoramas: (N,) int, the panorama of each database row; None: every row counts.
        own_rows: of each query the database rows that are the query itself, and are left out; None: there are none.

    Returns:
        neighbours of width k; -1 with similarity -inf where there are fewer panoramas.
    """
    more = 0 if own_rows is None else max(map(len, own_rows), default=0)
    wide = search(database, queries, search_width(k, len(database), panoramas) + more, unit=True)
    if more:
        rows_of = own_rows or ()
        wide = _without(wide, np.stack([np.isin(near, rows) for near, rows in zip(wide.indices, rows_of, strict=True)]))
    return wide.first(k) if panoramas is None else suppress_panoramas(wide, panoramas).first(k)


def _without(neighbours: Neighbours, mask: np.ndarray) -> Neighbours:
    """Leave neighbours out by a mask (Q, K) bool, and fill up with -1 and -inf at the end."""
    order = np.argsort(mask, axis=1, kind="stable")
    return Neighbours(
        np.take_along_axis(np.where(mask, np.float32(-np.inf), neighbours.similarities), order, 1),
        np.take_along_axis(np.where(mask, -1, neighbours.indices), order, 1),
    )


def nearest_others(descriptors: np.ndarray, k: int) -> Neighbours:
    """Find the `k` nearest other rows of each row of `descriptors` (N, D); ties and tails as of `search`."""
    wide = search(descriptors, descriptors, k + 1, unit=True)
    rows = np.arange(len(descriptors))[:, None]
    # The row itself goes, whatever its place: rounding or a copy of the image may put it behind the first one.
    return _without(wide, wide.indices == rows).first(k)


def search_width(k: int, rows: int, panoramas: np.ndarray | None) -> int:
    """Return the number of nearest cut-outs, of `rows` in all, that hold the `k` nearest panoramas."""
    if panoramas is None:
        return k
    largest = int(np.unique(panoramas, return_counts=True)[1].max())
    return max(k, min(k * largest, rows))


def suppress_panoramas(neighbours: Neighbours, panoramas: np.ndarray) -> Neighbours:
    """Keep the first neighbour (Q, K) of each panorama, in order; the places left at the end become -1 and -inf."""
    similarities, indices, _ = neighbours
    of_neighbours = panoramas[indices]
    order = np.argsort(of_neighbours, axis=1, kind="stable")  # equal panoramas side by side, the nearest first
    grouped = np.take_along_axis(of_neighbours, order, axis=1)
    first = np.ones(indices.shape, bool)
    np.put_along_axis(first, order[:, 1:], grouped[:, 1:] != grouped[:, :-1], axis=1)
    # -1 reads some panorama, too, but stands at the end of a row: it takes nobody's place, and stays -1 if it is kept.
    front = np.argsort(~first, axis=1, kind="stable")
    keep = np.take_along_axis(first, front, axis=1)
    return Neighbours(
        np.where(keep, np.take_along_axis(similarities, front, axis=1), np.float32(-np.inf)),
        np.where(keep, np.take_along_axis(indices, front, axis=1), -1),
    )


def _search_block(queries: np.ndarray, vectors: np.ndarray, k: int) -> Neighbours:
    width = min(k + 1, len(vectors))  # one more than needed shows a tie at the cut
    similarities, indices = faiss.knn(queries, vectors, width, metric=faiss.METRIC_INNER_PRODUCT)
    if width <= k:
        return Neighbours(similarities, indices)
    tied = np.flatnonzero(similarities[:, k - 1] == similarities[:, k])
    similarities, indices = similarities[:, :k], indices[:, :k]
    for part in np.array_split(tied, -(-len(tied) // 256) or 1):  # faiss keeps any of the tied rows: sort these in full
        product = torch.from_numpy(queries[part]) @ torch.from_numpy(vectors).T
        values, order = product.sort(dim=1, descending=True, stable=True)
        similarities[part], indices[part] = values[:, :k].numpy(), order[:, :k].numpy()
    return Neighbours(similarities, indices)


def _merge(best: Neighbours, more: Neighbours) -> Neighbours:
    similarities = np.concatenate([best.similarities, more.similarities], axis=1)
    indices = np.concatenate([best.indices, more.indices], axis=1)
    order = np.lexsort((indices, -similarities), axis=1)[:, : best.indices.shape[1]]
    return Neighbours(np.take_along_axis(similarities, order, 1), np.take_along_axis(indices, order, 1))


def unit_rows(descriptors: np.ndarray) -> np.ndarray:
    """Return descriptors (..., D) as float32, of unit length again where they were kept as float16.

    16 bits change the length of a row by up to 2^-11, which is more than what tells images apart whose cosines lie
    close together; the change of its direction is many times smaller.
    """
    rows = descriptors.astype(np.float32)
    if descriptors.dtype == np.float16:
        rows /= np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), TINY)
    return rows


class Tile(NamedTuple):
    """Similarities of rows `left` .. of one side to rows `right` .. of the other: `values` (n, m) float32."""

    left: int
    right: int
    values: Tensor


def tiles(
    left: Sequence[np.ndarray], right: Sequence[np.ndarray], device: torch.device | str = "cpu", unit: bool = True
) -> Iterator[Tile]:
    """Yield the inner products of all rows of `left` with all rows of `right`, tile by tile, `left` outermost.

    Each side is a sequence of (N, D) arrays or memmaps, float16 (`unit` as of `search`) or float32, whose rows are
    counted through. Products are made on `device` in float32.
    """
    for start, left_rows in stacked(left, LEFT_ROWS, unit):
        on_device = torch.from_numpy(left_rows).to(device)
        for low, rows in stacked(right, RIGHT_ROWS, unit):
            yield Tile(start, low, on_device @ torch.from_numpy(rows).to(device).T)


def stacked(arrays: Sequence[np.ndarray], most: int, unit: bool = True) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first row, float32 rows) of arrays one below the other, at most `most` rows at a time."""
    first = 0
    for array in arrays:
        rows = min(most, max(BLOCK_BYTES // (4 * array.shape[1]), 1))
        for start, block in blocks(array, rows, unit):
            yield first + start, block
        first += len(array)


def similarities(
    left: Sequence[np.ndarray],
    right: Sequence[np.ndarray],
    rows: np.ndarray,
    columns: np.ndarray,
    device: torch.device | str = "cpu",
    unit: bool = True,
) -> np.ndarray:
    """Return the inner product of row `rows[i]` of `left` with row `columns[i]` of `right`, (n,) float32.

    `left`, `right` and `unit` as in `tiles`; `rows` and `columns` are (n,) int64.
    """
    products = np.empty(len(rows), np.float32)
    order = np.argsort(rows, kind="stable")
    sorted_rows = rows[order]
    for tile in tiles(left, right, device, unit):
        height, width = tile.values.shape
        inside = order[slice(*np.searchsorted(sorted_rows, [tile.left, tile.left + height]))]
        inside = inside[(columns[inside] >= tile.right) & (columns[inside] < tile.right + width)]
        row, column = (torch.from_numpy(index) for index in (rows[inside] - tile.left, columns[inside] - tile.right))
        products[inside] = tile.values[row.to(device), column.to(device)].cpu().numpy()
    return products


def blocks(array: np.ndarray, rows: int, unit: bool = True) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first row, float32 block), `unit` as of `search`.

    The next block is read by a thread while the caller works on this one.
    """
    if array.dtype == np.float32 and array.flags.c_contiguous and not isinstance(array, np.memmap):
        yield from ((start, array[start : start + rows]) for start in range(0, len(array), rows))
        return
    read = _reader(array, unit)
    buffers = [torch.empty(min(rows, len(array)), array.shape[1]) for _ in range(2 if len(array) > rows else 1)]
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(read, 0, buffers[0])
        for number, start in enumerate(range(0, len(array), rows)):
            block = ahead.result()
            if start + rows < len(array):
                ahead = pool.submit(read, start + rows, buffers[(number + 1) % 2])
            yield start, block.numpy()


def _reader(array: np.ndarray, unit: bool) -> Callable[[int, Tensor], Tensor]:
    """Make `read(start, out)`, which fills `out` from row `start` on and returns the part that it filled.

    A mapped file is read with `readinto`: pages touched through the map would stay in this process' memory.
    """
    where = _place_in_file(array)
    scratch = np.empty((min(TILE, len(array)), array.shape[1]), array.dtype)

    def read(start: int, out: Tensor) -> Tensor:
        out = out[: len(array) - start]
        file = None if where is None else open(where[0], "rb", buffering=0)  # noqa: SIM115
        try:
            for low in range(0, len(out), TILE):
                part = scratch[: min(TILE, len(out) - low)]
                if file is None or where is None:
                    part[:] = array[start + low : start + low + len(part)]
                else:
                    file.seek(where[1] + (start + low) * part[0].nbytes)
                    if file.readinto(part.data.cast("B")) != part.nbytes:
                        raise OSError(f"{where[0]} ends before row {start + low + len(part)}")
                piece = out[low : low + len(part)]
                piece.copy_(torch.from_numpy(part))
                if unit and part.dtype == np.float16:
                    piece /= torch.linalg.vector_norm(piece, dim=1, keepdim=True).clamp_min(TINY)
        finally:
            if file is not None:
                file.close()
        return out

    return read


def _place_in_file(array: np.ndarray) -> tuple[str, int] | None:
    """Path and byte offset of the first row of a mapped file, or None where the values are not those of a file."""
    if not isinstance(array, np.memmap) or array.filename is None or array.mode == "c" or not array.flags.c_contiguous:
        return None
    root = array.base if isinstance(array.base, np.memmap) else array
    return str(array.filename), root.offset + array.ctypes.data - root.ctypes.data
