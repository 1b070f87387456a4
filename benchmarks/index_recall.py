"""What a compressed index costs: its recall beside that of the exact search, on labelled queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vpr.data.retrieval_set import RetrievalSet
from vpr.errors import DataError
from vpr.retrieval import metrics
from vpr.retrieval.index.place_index import PlaceIndex
from vpr.retrieval.scoring import KS, check_ks
from vpr.retrieval.search import Neighbours, reach, suppress


@dataclass(frozen=True)
class IndexRecall:
    """Recalls {k: 0..1} of one index on one set.

    Attributes:
        protocol: id of the set's protocol.
        kind: id of the index' kind, e.g. `pq64`.
        bytes, exact_bytes: a photo, of what is searched.
    """

    protocol: str
    kind: str
    exact: dict[int, float]
    compressed: dict[int, float]
    bytes: int
    exact_bytes: int

    def kept(self, k: int) -> float:
        """Share of the exact R@k that the compressed index has; 1 where the exact one is 0."""
        return self.compressed[k] / self.exact[k] if self.exact[k] else 1.0

    def sentences(self) -> str:
        """One line a k: both recalls, what is kept, bytes a photo."""
        return "\n".join(
            f"{self.protocol}: R@{k} {100 * self.compressed[k]:.1f} of {self.kind} ({self.bytes:,} bytes a photo), "
            f"{100 * exact:.1f} of the exact search ({self.exact_bytes:,} bytes): {100 * self.kept(k):.1f} % of it"
            for k, exact in self.exact.items()
        )

    def plain(self) -> dict[str, Any]:
        """Return the recalls for schema.json."""
        return {side: {f"R@{k}": value for k, value in getattr(self, side).items()} for side in ("exact", "compressed")}


def measure(index: PlaceIndex, retrieval_set: RetrievalSet, queries: np.ndarray, ks: Sequence[int] = KS) -> IndexRecall:
    """Measure both searches of an index on a set whose database it holds, and keep the recalls in its schema.json.

    Args:
        queries: (Q, D) descriptors of the set's queries.

    Raises:
        ConfigError: a k below 1.
        DataError: other photos than the set's database, other numbers of queries, or none with a positive.
    """
    ks = check_ks(ks)
    if len(queries) != len(retrieval_set.queries):
        raise DataError(
            f"{retrieval_set.protocol.id} has {len(retrieval_set.queries):,} queries, and {len(queries):,} descriptors "
            "were given: give one for each, in the order of the set."
        )
    rows = _rows(index, retrieval_set)
    counted = metrics.counted(retrieval_set.positives, retrieval_set.protocol.no_positives)

    def recalls(exact: bool) -> dict[int, float]:
        width = reach(max(ks), len(index), retrieval_set.panoramas)
        similarities, indices = index.search(queries, width, exact)
        found = Neighbours(similarities, np.where(indices < 0, -1, rows[indices]))
        if retrieval_set.panoramas is not None:
            found = suppress(found, retrieval_set.panoramas)
        hit = metrics.hits(found.indices, retrieval_set.positives, ks)[counted]
        return dict(zip(ks, metrics.recall(hit).tolist(), strict=True))

    exact_bytes = index.dim * index.descriptors.dtype.itemsize
    protocol = retrieval_set.protocol.id
    found = IndexRecall(protocol, index.kind.id, recalls(True), recalls(False), index.bytes_per_photo, exact_bytes)
    index.note(recall=index.schema.get("recall", {}) | {protocol: found.plain()})
    return found


def _rows(index: PlaceIndex, retrieval_set: RetrievalSet) -> np.ndarray:
    """(N,) int64: the set's row of each photo of the index."""
    rows = {path.absolute(): row for row, path in enumerate(retrieval_set.database)}
    found = np.array([rows.get(path.absolute(), -1) for path in index.photos.paths])
    if len(found) != len(rows) or (found < 0).any():
        raise DataError(
            f"The place index in {index.folder} holds {(found >= 0).sum():,} of the {len(rows):,} database images of "
            f"{retrieval_set.protocol.id} and {(found < 0).sum():,} others. Its recall is measured "
            "on the images of the set alone: build an index of them."
        )
    return found
