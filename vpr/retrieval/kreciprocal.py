"""Re-ranking by k-reciprocal Jaccard distances (Zhong et al., CVPR 2017), on sparse lists of neighbours.

Images are near where they have the same neighbours, and those have them, too. Tuple mining uses the distances as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import torch
from scipy.sparse import coo_array, csr_array

from vpr.data.retrieval_set import RetrievalSet
from vpr.errors import ConfigError
from vpr.retrieval.search import Neighbours, search, search_width, similarities, suppress_panoramas, tiles

PART = 1 << 22  # overlapping entries summed at once: 100 MB


@dataclass(frozen=True)
class KReciprocal:
    """Settings of the distances, and the re-ranked search. The id is `kreciprocal-k1-k2-lambda`.

    Attributes:
        k1: neighbours of an image, itself not counted.
        k2: nearest images, itself the first, over which its weights are averaged (local query expansion); 1: none.
        lambda_value: share of the distance of the descriptors in the final one, 0..1.

    Raises:
        ConfigError: a number out of its range.
    """

    k1: int = 20
    k2: int = 1
    lambda_value: float = 0.1

    def __post_init__(self) -> None:
        if self.k1 < 1:
            raise ConfigError(f"k1={self.k1}: k-reciprocal re-ranking needs 1 neighbour or more. Published: 20.")
        if not 1 <= self.k2 <= self.k1 + 1:
            raise ConfigError(f"k2={self.k2} with k1={self.k1}: choose k2 from 1 (no query expansion) to k1 + 1.")
        if not 0 <= self.lambda_value <= 1:
            raise ConfigError(f"lambda_value={self.lambda_value}: it is a share, from 0 to 1.")

    def check(self, images: int) -> None:
        """Raise ConfigError where there are too few images, queries and database together."""
        if images <= self.k1:
            raise ConfigError(
                f"rerank.k1={self.k1}: there are {images:,} images in all, and each needs {self.k1} others. "
                + (f"Type rerank.k1={images - 1} or less." if images > 1 else "Type rerank=none.")
            )

    @property
    def id(self) -> str:
        return f"kreciprocal-{self.k1}-{self.k2}-{self.lambda_value:g}"

    def nearest(
        self,
        database: np.ndarray,
        queries: np.ndarray,
        k: int,
        retrieval_set: RetrievalSet,
        device: torch.device | str = "cpu",
    ) -> Neighbours:
        """Return the first `k` of a set after re-ranking; see `nearest_reranked`."""
        return nearest_reranked(database, queries, k, self, retrieval_set.panoramas, device)


def nearest_reranked(
    database: np.ndarray,
    queries: np.ndarray,
    k: int,
    settings: KReciprocal,
    panoramas: np.ndarray | None = None,
    device: torch.device | str = "cpu",
) -> Neighbours:
    """Return the `k` database rows of the smallest k-reciprocal distance, at most one of each panorama.

    Arguments as of `vpr.retrieval.search.nearest`. The similarity is 1 - distance. Of rows equally
    far, such as those that share no neighbour with the query where lambda is 0, the `k` nearest by descriptor come
    first, in their order, and then the others by row number.
    """
    wide = search(database, queries, search_width(k, len(database), panoramas), unit=True)
    reranked = rerank(wide, jaccard(queries, database, settings, device))
    if panoramas is not None:
        reranked = suppress_panoramas(reranked, panoramas)
    return reranked.first(k)


def rerank(nearest: Neighbours, distances: Jaccard) -> Neighbours:
    """Return as many neighbours of the smallest distance as those nearest by descriptor (Q, K).

    Only rows that share neighbours with the query, and the nearest ones, need a distance: each other one is farther
    than those by its descriptor, and shares nothing.
    """
    similarities, indices = np.full_like(nearest.similarities, -np.inf), np.full_like(nearest.indices, -1)
    width, rows = indices.shape[1], distances.holders.shape[1]
    for queries, shared in distances.overlaps(np.arange(len(indices))):
        near = nearest.indices[queries]
        number, rank = np.nonzero(near >= 0)
        sharing = shared.tocoo()
        pairs, first = np.unique(
            np.append(number * rows + near[number, rank], sharing.row * np.int64(rows) + sharing.col), return_index=True
        )
        rank = np.append(rank, np.full(sharing.nnz, width))[first]
        number, row = np.divmod(pairs, rows)
        far = distances.distances(shared[number, row], queries[number], row)
        order = np.lexsort((row, rank, far, number))
        place = np.arange(len(order)) - np.searchsorted(number, number)  # `number` is sorted before and after
        order, place = order[place < width], place[place < width]
        similarities[queries[number[order]], place] = 1 - far[order]
        indices[queries[number[order]], place] = row[order]
    return Neighbours(similarities, indices)


@dataclass(frozen=True, eq=False)
class Jaccard:
    """Distances of queries to database rows, made on demand; `jaccard` makes one.

    Attributes:
        queries, database: (Q, D) and (N, D) descriptors.
        farthest: (Q,) float32, similarity of each query to what is least like it.
        weights: (Q, Q + N), those of each query's neighbours, which sum to 1.
        holders: (Q + N, N), the transposed weights of the database.
    """

    settings: KReciprocal
    queries: np.ndarray
    database: np.ndarray
    farthest: np.ndarray
    weights: csr_array
    holders: csr_array
    device: torch.device | str = "cpu"

    def take(self, queries: np.ndarray) -> Jaccard:
        """Return the same for some of the queries, (q,) int64, which are then counted from 0."""
        kept = {name: getattr(self, name)[queries] for name in ("queries", "farthest", "weights")}
        return replace(self, **kept)

    def __call__(self, query: np.ndarray, row: np.ndarray) -> np.ndarray:
        """Return the distances of queries (n,) to database rows (n,), both int64: (n,) float32, 0..1."""
        shared = np.zeros(len(query), np.float32)
        for part, overlap in self.overlaps(np.unique(query)):
            inside = np.flatnonzero(np.isin(query, part))
            shared[inside] = overlap[np.searchsorted(part, query[inside]), row[inside]]
        return self.distances(shared, query, row)

    def distances(self, shared: np.ndarray, query: np.ndarray, row: np.ndarray) -> np.ndarray:
        """Return the same for pairs whose shared weight (n,) float32 is known."""
        distances = 1 - shared / (2 - shared)  # the union of two sets of weight 1
        share = np.float32(self.settings.lambda_value)
        if share == 0:
            return distances
        similar = similarities([self.queries], [self.database], query, row, self.device)
        return (1 - share) * distances + share * _scaled(similar, self.farthest[query])

    def overlaps(self, queries: np.ndarray) -> Iterator[tuple[np.ndarray, csr_array]]:
        """Yield the queries, part by part (n,), with the weight (n, N) that they share with database rows.

        Equation 11, of which only what is not 0 is kept.
        """
        begins, lengths = self.holders.indptr[:-1], np.diff(self.holders.indptr)
        weights = self.weights[queries]
        work = np.append(0, np.cumsum(lengths[weights.indices]))[weights.indptr[1:]]
        for part in np.split(queries, np.flatnonzero(np.diff(work // PART)) + 1) if len(queries) else []:
            of_part = self.weights[part].tocoo()
            count = lengths[of_part.col]
            first = np.cumsum(count) - count
            entries = np.repeat(begins[of_part.col] - first, count) + np.arange(count.sum())
            shared = np.minimum(np.repeat(of_part.data, count), self.holders.data[entries])
            place = np.repeat(of_part.row, count), self.holders.indices[entries]
            yield part, coo_array((shared, place), (len(part), len(self.database))).tocsr()


def jaccard(
    queries: np.ndarray, database: np.ndarray, settings: KReciprocal, device: torch.device | str = "cpu"
) -> Jaccard:
    """Find the k-reciprocal neighbours of all images among all, and weigh them.

    As published, the squared distance is squared again, and divided by the largest one of its image (section 3.3).

    Args:
        queries, database: (Q, D) and (N, D) L2-normalised rows, float16 or float32, arrays or memmaps, read in blocks.

    Raises:
        ConfigError: fewer than `k1` + 1 images.
    """
    images, total = [queries, database], len(queries) + len(database)
    settings.check(total)
    nearest, farthest = neighbours(images, settings.k1 + 1, device)
    reciprocal = _expanded(nearest, settings.k1).tocoo()
    similar = similarities(images, images, reciprocal.row, reciprocal.col, device)
    weight = np.exp(-_scaled(similar, farthest[reciprocal.row]))
    weight /= np.bincount(reciprocal.row, weight, total).astype(np.float32)[reciprocal.row]
    weights = csr_array((weight, (reciprocal.row, reciprocal.col)), (total, total))
    if settings.k2 > 1:
        weights = _adjacency(nearest[:, : settings.k2]).astype(np.float32) @ weights / np.float32(settings.k2)
    of_queries, of_database = weights[: len(queries)], weights[len(queries) :]
    return Jaccard(settings, queries, database, farthest[: len(queries)], of_queries, of_database.T.tocsr(), device)


def neighbours(
    images: Sequence[np.ndarray], k: int, device: torch.device | str = "cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """Return the `k` nearest of each of M images, (M, k) int64, itself the first, and its least similarity, (M,)."""
    total = sum(map(len, images))
    nearest, farthest = np.empty((total, k), np.int64), np.empty(total, np.float32)
    for left, row in groupby(tiles(images, images, device), lambda tile: tile.left):
        best = least = None
        for tile in row:
            width = tile.values.shape[1]
            low = tile.values.amin(1)
            least = low if least is None else torch.minimum(least, low)
            tile.values.diagonal(left - tile.right).fill_(torch.inf)  # nobody is nearer than itself
            similar, index = tile.values.topk(min(k, width))
            index += tile.right
            if best is not None:
                similar, index = torch.cat([best[0], similar], 1), torch.cat([best[1], index], 1)
                similar, order = similar.topk(min(k, similar.shape[1]))
                index = index.gather(1, order)
            best = similar, index
        assert best is not None and least is not None
        nearest[left : left + len(least)], farthest[left : left + len(least)] = best[1].cpu(), least.cpu()
    return nearest, farthest


def _expanded(nearest: np.ndarray, k1: int) -> csr_array:
    """Return R* of equation 4 as a matrix that is not 0 for its members.

    These are k1-reciprocal neighbours, and the (k1 / 2)-reciprocal ones of those that have more than two thirds of
    theirs in common with the image.
    """
    full, half = (_mutual(_adjacency(nearest[:, : k + 1])) for k in (k1, round(k1 / 2)))
    common = full * (full @ half)
    common.data = (3 * common.data > 2 * np.diff(half.indptr)[common.indices]).astype(np.int32)
    common.eliminate_zeros()
    return (full + common @ half).tocsr()


def _adjacency(nearest: np.ndarray) -> csr_array:
    total, k = nearest.shape
    return csr_array((np.ones(total * k, np.int32), nearest.ravel(), np.arange(0, total * k + 1, k)), (total, total))


def _mutual(directed: csr_array) -> csr_array:
    return (directed * directed.T.tocsr()).tocsr()


def _scaled(similar: np.ndarray, farthest: np.ndarray) -> np.ndarray:
    """Return the squared squared distance as a share of the largest: for unit vectors (2 - 2 s)^2 / (2 - 2 min s)^2."""
    far = np.maximum(1 - farthest, np.finfo(np.float32).tiny)
    return (np.maximum(1 - similar, 0) / far) ** 2
