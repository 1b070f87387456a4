"""Re-ranking of the demo's answers: rows of the index are in no order, and a query may be one of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from vpr.data.formats.folders import natural
from vpr.data.retrieval_set import RetrievalSet
from vpr.retrieval.index.place_index import PlaceIndex
from vpr.retrieval.local_rerank import LocalFeatures, Points
from vpr.retrieval.scoring import Rerank
from vpr.retrieval.search import Neighbours
from vpr.types import Protocol


class Reranking:
    """A re-ranking in use.

    Args:
        rerank: of `conf/rerank/`.
        device: computes it.
    """

    def __init__(self, rerank: Rerank, device: torch.device | str = "cpu") -> None:
        self.rerank, self.device = rerank, device
        self.local = rerank if isinstance(rerank, LocalFeatures) else None
        self._verifier = self.local.verifier(device) if self.local else None

    @property
    def width(self) -> int:
        """Neighbours that it needs of a search; 0: it searches itself."""
        return self.local.k if self.local else 0

    def of_first(self, index: PlaceIndex, queries: Sequence[Path], neighbours: Neighbours) -> Neighbours:
        """Order neighbours (Q, K) of a search anew, where `width` is above 0."""
        assert self.local is not None and self._verifier is not None
        photos = index.photos

        def path(row: int) -> Path:
            return photos.root / photos.files[row]

        return self.local.ordered(neighbours, queries, path, self._verifier)

    def of_all(
        self, index: PlaceIndex, queries: Sequence[Path], descriptors: np.ndarray, excluded: np.ndarray, k: int
    ) -> Neighbours:
        """Search the whole index for queries (Q, D) with the re-ranking, the rows `excluded` (Q,) left out.

        Photos of a folder are frames of one sequence, in natural order; queries come in the order in which they are.
        """
        files = list(index.photos.files)
        rows = np.array(sorted(range(len(files)), key=lambda row: (os.path.dirname(files[row]), natural(files[row]))))
        by_folder = np.array(sorted(range(len(queries)), key=lambda number: os.path.dirname(queries[number])))
        in_order = bool((rows == np.arange(len(rows))).all())
        of_index = RetrievalSet(
            Protocol("demo"),
            [index.photos.root / files[row] for row in rows],
            [queries[number] for number in by_folder],
            [np.empty(0, np.int64)] * len(queries),
        )
        self.rerank.check(len(files) + len(queries))
        database = index.descriptors if in_order else index.descriptors[rows]
        reranked = self.rerank.nearest(database, descriptors[by_folder], k + 1, of_index, self.device)
        back = np.argsort(by_folder)
        similarities, indices = reranked.similarities[back], reranked.indices[back]
        indices = np.where(indices >= 0, rows[indices], -1)
        nothing = (indices < 0) | (indices == excluded[:, None])
        order = np.argsort(nothing, axis=1, kind="stable")[:, :k]
        similarities, indices = np.where(nothing, -np.inf, similarities), np.where(nothing, -1, indices)
        return Neighbours(np.take_along_axis(similarities, order, 1), np.take_along_axis(indices, order, 1))

    def points(self, query: Path, match: Path) -> Points | None:
        """Return the points of two photos that confirm each other; None where no pixels are compared."""
        return self._verifier.points(query, match) if self._verifier else None
