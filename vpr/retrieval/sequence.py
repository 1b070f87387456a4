"""Sequence matching: images taken one after another are matched along lines through the matrix of similarities."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from vpr.data.retrieval_set import RetrievalSet
from vpr.errors import ConfigError, DataError
from vpr.retrieval.search import TILE, Neighbours, blocks, search_width, suppress_panoramas

BLOCK_BYTES = 256 << 20


@dataclass(frozen=True)
class InSequence:
    """Similarity of a query = mean along a line through the frames around it (SeqSLAM, Milford & Wyeth, ICRA 2012).

    On a line of velocity v, query frame t + s is compared with database frame n + round(v s); of all velocities the
    best line counts. Query frames beyond the ends of their sequence are left out of the mean; database frames beyond
    theirs are its first or last one. The local contrast enhancement of the paper, made for differences of pixels, is
    left out. The id is window and velocities, `sequence-5-v0.8_0.9_1_1.1_1.2`, with `-past` where frames to come are
    not used.

    Attributes:
        window: frames of a line.
        velocities: database frames a query frame, negative ones for a drive in the other direction.
        ahead: half of the window comes after the query; False: all of it before, as for a robot on its way.

    Raises:
        ConfigError: a window below 2, or even where it is centred; no velocity, or one that is not a finite number.
    """

    window: int = 5
    velocities: Sequence[float] = (0.8, 0.9, 1.0, 1.1, 1.2)
    ahead: bool = True

    def __post_init__(self) -> None:
        if self.window < 2 or (self.ahead and self.window % 2 == 0):
            raise ConfigError(f"window={self.window}: choose 3, 5, 7 ... frames, or with ahead=false 2 or more.")
        if not len(self.velocities) or not np.isfinite(list(self.velocities)).all():
            raise ConfigError(
                f"velocities={list(self.velocities)}: give one or more, in database frames a query frame."
            )

    @property
    def id(self) -> str:
        velocities = "_".join(f"{velocity:g}" for velocity in self.velocities)
        return f"sequence-{self.window}{'' if self.ahead else '-past'}-v{velocities}"

    @property
    def steps(self) -> np.ndarray:
        """(window,) int64: query frames of a line, from the query's own."""
        return np.arange(self.window) - (self.window // 2 if self.ahead else self.window - 1)

    @property
    def lines(self) -> np.ndarray:
        """(L, window) int64: database frames of the lines that differ, from the match's own; halves away from 0."""
        frames = np.outer(list(self.velocities), self.steps)
        return np.unique((np.sign(frames) * np.floor(np.abs(frames) + 0.5)).astype(np.int64), axis=0)

    def check(self, images: int) -> None:
        """Accept any number of images."""

    def nearest(
        self,
        database: np.ndarray,
        queries: np.ndarray,
        k: int,
        retrieval_set: RetrievalSet,
        device: torch.device | str = "cpu",
    ) -> Neighbours:
        """Search a set whose images are in order; those of one folder are one sequence.

        Raises:
            DataError: the images of a folder do not stand together.
        """
        groups = folders(retrieval_set.queries), folders(retrieval_set.database)
        width = search_width(k, len(database), retrieval_set.panoramas)
        neighbours = search_in_sequence(database, queries, width, self, *groups, device=device)
        if retrieval_set.panoramas is not None:
            neighbours = suppress_panoramas(neighbours, retrieval_set.panoramas)
        return neighbours.first(k)


def smooth(
    similarities: np.ndarray,
    settings: InSequence,
    query_groups: np.ndarray | None = None,
    database_groups: np.ndarray | None = None,
) -> np.ndarray:
    """Return the best mean along a line through each of (Q, N) similarities, (Q, N) float32.

    Args:
        query_groups, database_groups: (Q,) and (N,), which sequence a frame belongs to; lines stay within one. None:
            all frames are one sequence.

    Raises:
        DataError: the frames of a sequence do not stand together.
    """
    height, width = similarities.shape
    frames, rows = np.arange(height), np.arange(width)
    (first, last), (low, high) = _bounds(query_groups, height), _bounds(database_groups, width)
    count = np.zeros((height, 1), np.float32)
    for step in settings.steps:
        count[(first <= frames + step) & (frames + step <= last)] += 1
    best = np.full(similarities.shape, -np.inf, np.float32)
    for line in settings.lines:
        total = np.zeros(similarities.shape, np.float32)
        for step, offset in zip(settings.steps, line, strict=True):
            inside = frames[(first <= frames + step) & (frames + step <= last)]
            total[inside] += similarities[inside + step][:, np.clip(rows + offset, low, high)]
        np.maximum(best, total, out=best)
    return best / count


def search_in_sequence(
    database: np.ndarray,
    queries: np.ndarray,
    k: int,
    settings: InSequence,
    query_groups: np.ndarray | None = None,
    database_groups: np.ndarray | None = None,
    block: int | None = None,
    device: torch.device | str = "cpu",
) -> Neighbours:
    """Find the `k` rows of (N, D) most similar to each of (Q, D) after `smooth`, in blocks of `block` queries.

    Descriptors are compared on `device`.
    Equal similarities go to the lower row number. Where `k` exceeds N the tail is -1 with similarity -inf.
    """
    rows = block or max(BLOCK_BYTES // (4 * max(len(database), 1)), 1)
    best = Neighbours(np.full((len(queries), k), -np.inf, np.float32), np.full((len(queries), k), -1, np.int64))
    wide = min(k, len(database))
    for start in range(0, len(queries), rows):
        end = min(start + rows, len(queries))
        low, high = max(start + settings.steps[0], 0), min(end + settings.steps[-1], len(queries))
        groups = None if query_groups is None else query_groups[low:high]
        product = _product(np.asarray(queries[low:high], np.float32), database, device)
        similar = torch.from_numpy(smooth(product, settings, groups, database_groups)[start - low : end - low])
        values, order = similar.sort(dim=1, descending=True, stable=True)
        best.similarities[start:end, :wide], best.indices[start:end, :wide] = values[:, :wide], order[:, :wide]
    return best


def folders(paths: Sequence[os.PathLike[str]]) -> np.ndarray:
    """Number the folders that images lie in, (N,) int64."""
    return np.unique([os.path.dirname(os.fspath(path)) for path in paths], return_inverse=True)[1]


def _product(queries: np.ndarray, database: np.ndarray, device: torch.device | str) -> np.ndarray:
    out = np.empty((len(queries), len(database)), np.float32)
    on_device = torch.from_numpy(queries).to(device)
    for start, part in blocks(database, max(BLOCK_BYTES // (4 * database.shape[1]) // TILE, 1) * TILE):
        out[:, start : start + len(part)] = (on_device @ torch.from_numpy(part).to(device).T).cpu()
    return out


def _bounds(groups: np.ndarray | None, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and last frame of the sequence of each frame."""
    if groups is None:
        groups = np.zeros(frames, np.int64)
    starts = np.flatnonzero(np.append(True, groups[1:] != groups[:-1]))
    if len(starts) > len(np.unique(groups)):
        raise DataError(
            f"{frames:,} images of {len(np.unique(groups)):,} sequences come in {len(starts):,} parts: the frames of a "
            "sequence must stand together, in the order in which they were taken."
        )
    lengths = np.diff(np.append(starts, frames))
    return np.repeat(starts, lengths), np.repeat(starts + lengths - 1, lengths)
