"""Re-ranking of a search by k-reciprocal distances, over the whole database."""

from __future__ import annotations

import numpy as np
import torch

from vpr.retrieval.reciprocal import Jaccard, KReciprocal, jaccard
from vpr.retrieval.search import Neighbours, search
from vpr.retrieval.suppress import reach, suppress


def nearest_reranked(
    database: np.ndarray,
    queries: np.ndarray,
    k: int,
    settings: KReciprocal,
    panoramas: np.ndarray | None = None,
    device: torch.device | str = "cpu",
) -> Neighbours:
    """Return the `k` database rows of the smallest k-reciprocal distance, at most one of each panorama.

    Arguments as of `vpr.retrieval.suppress.nearest`. What stands for similarity is 1 - distance. Of rows equally
    far, such as those that share no neighbour with the query where lambda is 0, the `k` nearest by descriptor come
    first, in their order, and then the others by row number.
    """
    wide = search(database, queries, reach(k, len(database), panoramas))
    found = rerank(wide, jaccard(queries, database, settings, device))
    if panoramas is not None:
        found = suppress(found, panoramas)
    return Neighbours(found.similarities[:, :k], found.indices[:, :k])


def rerank(found: Neighbours, distances: Jaccard) -> Neighbours:
    """Return as many neighbours of the smallest distance as the nearest `found` (Q, K).

    Only rows that share neighbours with the query, and those found, need a distance: each other one is farther than all
    found by its descriptor, and shares nothing.
    """
    similarities, indices = np.full_like(found.similarities, -np.inf), np.full_like(found.indices, -1)
    width, rows = indices.shape[1], distances.holders.shape[1]
    for asked, shared in distances.overlaps(np.arange(len(indices))):
        near = found.indices[asked]
        number, rank = np.nonzero(near >= 0)
        sharing = shared.tocoo()
        pairs, first = np.unique(
            np.append(number * rows + near[number, rank], sharing.row * np.int64(rows) + sharing.col), return_index=True
        )
        rank = np.append(rank, np.full(sharing.nnz, width))[first]
        number, row = np.divmod(pairs, rows)
        far = distances.distances(shared[number, row], asked[number], row)
        order = np.lexsort((row, rank, far, number))
        place = np.arange(len(order)) - np.searchsorted(number, number)  # `number` is sorted before and after
        order, place = order[place < width], place[place < width]
        similarities[asked[number[order]], place] = 1 - far[order]
        indices[asked[number[order]], place] = row[order]
    return Neighbours(similarities, indices)
