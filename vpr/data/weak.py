"""Weak supervision: what may serve as positive and as negative when only positions are known.

NetVLAD (Arandjelovic et al., CVPR 2016, section 4): a photo within 10 m may show what the query shows, one beyond 25 m
does not; those between are neither.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vpr.data.file_names import number_by_name
from vpr.data.positioned import Positioned, near
from vpr.errors import ConfigError, DataError

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class WeakSet:
    """Queries to learn from, and the gallery in which their positives and negatives are looked for.

    Attributes:
        queries: Q photos, each with a positive.
        gallery: N photos.
        positives: one sorted int64 array of gallery rows per query: near enough, and of another capture.
        near: the same; gallery rows that are no negatives, the positives and the query's own capture among them.
        query_captures, gallery_captures: (Q,) and (N,) int64; equal numbers are one capture.
        dropped: queries that had no positive and were left out.
    """

    queries: Positioned
    gallery: Positioned
    positives: Sequence[np.ndarray]
    near: Sequence[np.ndarray]
    query_captures: np.ndarray
    gallery_captures: np.ndarray
    dropped: int = 0

    def __len__(self) -> int:
        return len(self.queries)


def read(
    queries: Positioned,
    gallery: Positioned,
    capture: str,
    positive_radius: float = 10,
    negative_radius: float = 25,
) -> WeakSet:
    """Find positives and non-negatives by position.

    Args:
        capture: regular expression; what it matches from the start of a file name is the capture: photos that one
            camera took at one place and time, such as the cut-outs of a panorama. Those of a query's own capture show
            nothing that could be learnt and are no positives.
        positive_radius, negative_radius: metres, each included; a negative is farther than the latter.

    Raises:
        ConfigError: a negative radius below the positive one; DataError: no query has a positive.
    """
    if not 0 <= positive_radius <= negative_radius:
        raise ConfigError(
            f"positive_radius={positive_radius:g}, negative_radius={negative_radius:g}: a positive cannot be farther "
            "than a negative. Published: 10 and 25 metres."
        )
    captures = number_by_name([*queries.files, *gallery.files], capture, "capture")
    asked, offered = captures[: len(queries)], captures[len(queries) :]
    close = near(gallery, queries, positive_radius)
    positives = [rows[offered[rows] != own] for rows, own in zip(close, asked, strict=True)]
    kept = [query for query, rows in enumerate(positives) if len(rows)]
    if not kept:
        raise DataError(
            f"{queries.name}: none of {len(queries):,} queries has a positive within {positive_radius:g} m among "
            f"{len(gallery):,} gallery photos. Are both in metres and of the same city?"
        )
    dropped = len(queries) - len(kept)
    if dropped:
        log.info("%s: %d of %d queries have no positive and are left out.", queries.name, dropped, len(queries))
    chosen = queries.take(kept)
    return WeakSet(
        queries=chosen,
        gallery=gallery,
        positives=[positives[query] for query in kept],
        near=near(gallery, chosen, negative_radius),
        query_captures=asked[kept],
        gallery_captures=offered,
        dropped=dropped,
    )
