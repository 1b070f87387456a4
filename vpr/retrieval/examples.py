"""A few queries of an evaluation to be looked at, and their thumbnails."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vpr.data.images import decode
from vpr.errors import DataError
from vpr.retrieval.evaluate import Evaluation
from vpr.retrieval.metrics import correct


@dataclass(frozen=True)
class Shot:
    """One thumbnail: the photo's path, what is written below it, and whether it is a right match (None: no match)."""

    path: Path
    caption: str
    right: bool | None = None


@dataclass(frozen=True)
class Example:
    """One query: the query and its matches in a row of shots, and a sentence about it."""

    shots: tuple[Shot, ...]
    note: str


def choose(result: Evaluation, seed: int = 0, count: int = 6) -> dict[str, list[Example]]:
    """Draw queries whose first match is wrong, and such whose first match is right, without looking at them."""
    first = correct(result.neighbours.indices[:, :1], result.retrieval_set.positives)[:, 0]
    rng = np.random.default_rng(seed)
    columns = {}
    for name, rows in (("Misses", np.flatnonzero(result.counted & ~first)), ("Hits", np.flatnonzero(first))):
        drawn = np.sort(rng.choice(rows, min(count, len(rows)), replace=False))
        columns[f"{name} ({len(rows):,})"] = [_example(result, query) for query in drawn]
    return columns


def _example(result: Evaluation, query: int) -> Example:
    """Query and four matches; for a miss three matches and one image that would have been right."""
    images, positives = result.retrieval_set.database, result.retrieval_set.positives[query]
    rows = result.neighbours.indices[query]
    right = np.isin(rows, positives) & (rows >= 0)
    missed = not right[0] and len(positives) > 0
    shots = [Shot(result.retrieval_set.queries[query], "query")]
    for rank in range(min(3 if missed else 4, int((rows >= 0).sum()))):
        similarity = result.neighbours.similarities[query, rank]
        mark = "✓" if right[rank] else "✗"
        shots.append(Shot(images[rows[rank]], f"{mark} {similarity:.2f}", bool(right[rank])))
    if missed:
        shots.append(Shot(images[positives[len(positives) // 2]], "a right one"))
    note = f"{right.sum()} of {len(positives)} positives in the first {len(rows)}"
    if missed and right.any():
        note = f"first right match at rank {right.argmax() + 1}"
    return Example(tuple(shots), note)


def thumbnail(path: Path, height: int = 120, width: int = 160) -> np.ndarray:
    """Read a photo to fit a box, sides in proportion: uint8 RGB (h, w, 3); grey where it cannot be read any more."""
    try:
        image = decode(path, (height, width))
    except DataError:
        return np.full((height, width, 3), 200, np.uint8)
    scale = min(height / image.shape[0], width / image.shape[1])
    size = max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
