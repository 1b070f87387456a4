"""Training images by tuple: a query, its positive, its negatives and, possibly, its difficult positives.

Weak supervision, where only positions are known: NetVLAD (Arandjelovic et al., CVPR 2016, section 4). An image within
10 m may show the query's place, one beyond 25 m does not; those between are neither. A `WeakSet` is one source of such
images, `Candidates` are those of all sources, a `TupleBatch` is a training batch.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from vpr.data.file_lists import FileNames, number_by_name
from vpr.data.geotagged import GeotaggedImages, near
from vpr.data.images import decode
from vpr.data.places import Places
from vpr.data.transforms import stack_images
from vpr.errors import ConfigError, DataError

log = logging.getLogger(__name__)

Transform = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True, eq=False)
class WeakSet:
    """Queries to learn from, and the database in which their positives and negatives are looked for.

    A reader of `dataset.weak` returns one; a query has a positive within 10 m, of another capture, and what lies within
    25 m is no negative of it.

    Attributes:
        queries: Q images, each with a positive.
        database: N images.
        positives: one sorted int64 array of database rows per query: near enough, and of another capture.
        near: the same for the non-negatives: the positives and the query's own capture are among them.
        query_captures, database_captures: (Q,) and (N,) int64; equal numbers are one capture.
        dropped: queries that had no positive and were left out.
    """

    queries: GeotaggedImages
    database: GeotaggedImages
    positives: Sequence[np.ndarray]
    near: Sequence[np.ndarray]
    query_captures: np.ndarray
    database_captures: np.ndarray
    dropped: int = 0

    def __len__(self) -> int:
        return len(self.queries)


def read(
    queries: GeotaggedImages,
    gallery: GeotaggedImages,
    capture: str,
    positive_radius: float = 10,
    negative_radius: float = 25,
) -> WeakSet:
    """Find positives and non-negatives by position.

    Args:
        gallery: the database.
        capture: regular expression; what it matches from the start of a file name is the capture: images that one
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
    query_captures, database_captures = captures[: len(queries)], captures[len(queries) :]
    close = near(gallery, queries, positive_radius)
    positives = [rows[database_captures[rows] != number] for rows, number in zip(close, query_captures, strict=True)]
    kept = [query for query, rows in enumerate(positives) if len(rows)]
    if not kept:
        raise DataError(
            f"{queries.name}: none of {len(queries):,} queries has a positive within {positive_radius:g} m among "
            f"{len(gallery):,} database images. Are both in metres and of the same city?"
        )
    dropped = len(queries) - len(kept)
    if dropped:
        log.info("%s: %d of %d queries have no positive and are left out.", queries.name, dropped, len(queries))
    chosen = queries.take(kept)
    excluded = near(gallery, chosen, negative_radius)
    if all(len(rows) == len(gallery) for rows in excluded):
        log.warning(
            "%s: all %s database images lie within %g m of every query, so there are no negatives. Are the positions "
            "metres, and filled in?",
            *(queries.name, f"{len(gallery):,}", negative_radius),
        )
    return WeakSet(
        queries=chosen,
        database=gallery,
        positives=[positives[query] for query in kept],
        near=excluded,
        query_captures=query_captures[kept],
        database_captures=database_captures,
        dropped=dropped,
    )


@dataclass(frozen=True, eq=False)
class Candidates:
    """The images of one or several weak sets, numbered: the queries of all sets first, then all their databases.

    Attributes:
        sources: the images in this order, each side of each set as one nameless place.
        queries, database: the number of each. Database row r is image `queries + r`.
        positives, near: one sorted int64 array of database rows per query, see `WeakSet`.
    """

    sources: Sequence[Places]
    queries: int
    database: int
    positives: Sequence[np.ndarray]
    near: Sequence[np.ndarray]

    def path(self, image: int) -> Path:
        for source in self.sources:
            if image < len(source.files):
                return source.path(image)
            image -= len(source.files)
        raise IndexError(image)


def join(sets: Sequence[WeakSet]) -> Candidates:
    """Join sets. All of one set's database may be negatives of another's queries: they are of other places.

    Raises:
        ConfigError: two sets share images, and so places.
    """
    _check_apart(sets)
    first = np.cumsum([0, *(len(weak.database) for weak in sets)])
    return Candidates(
        sources=[_as_place(side) for side in [*(s.queries for s in sets), *(s.database for s in sets)]],
        queries=sum(len(weak.queries) for weak in sets),
        database=int(first[-1]),
        positives=[rows + start for weak, start in zip(sets, first[:-1], strict=True) for rows in weak.positives],
        near=[rows + start for weak, start in zip(sets, first[:-1], strict=True) for rows in weak.near],
    )


def _check_apart(sets: Sequence[WeakSet]) -> None:
    known: dict[str, str] = {}
    for weak in sets if len(sets) > 1 else ():
        files = {
            os.path.join(os.path.realpath(side.root), file): side.name
            for side in (weak.queries, weak.database)
            for file in side.files
        }
        shared = sorted(known.keys() & files.keys())
        if shared:
            raise ConfigError(
                f"dataset: {known[shared[0]]} and {files[shared[0]]} share {len(shared):,} images "
                f"(first: {shared[0]}). What is a positive by the one would be a negative by the other. Choose one of "
                "them."
            )
        known |= files


def _as_place(side: GeotaggedImages) -> Places:
    files = FileNames(side.files).bytes
    zero = np.zeros(1, np.int64)
    return Places(side.name, side.root, files, np.array([0, len(files)]), zero, zero)


class TupleDraw(NamedTuple):
    """A request: in this epoch, the tuple of these images, query first; -1 where a difficult positive is lacking."""

    epoch: int
    numbers: tuple[int, ...]


class TupleBatch(NamedTuple):
    """Training batch of T tuples.

    Attributes:
        images: (T * size, 3, H, W) uint8, tuple by tuple: query, positive, negatives, difficult positives.
        labels: (T * size,) int64, the number of each image: nothing more is known of which two show the same.
        size: images of a tuple.
        negatives: the number of negatives among them.
        present: (T, d) bool, true where there is a difficult positive. In the place of an absent one the positive
            stands.
        bad: a message per bad image.
        numbers: `labels` as an array on the host.
    """

    images: Tensor
    labels: Tensor
    size: int
    negatives: int
    present: Tensor
    bad: tuple[str, ...] = ()
    numbers: np.ndarray | None = None


class TupleItem(NamedTuple):
    """One tuple: `images` (size, 3, H, W) uint8, or None if one of them cannot be read; the rest as in TupleBatch."""

    images: Tensor | None
    numbers: np.ndarray
    present: np.ndarray
    negatives: int
    bad: tuple[str, ...] = ()


class TuplesDataset(Dataset[TupleItem]):
    """Loads the images of a tuple; their augmentation follows from (seed, epoch, query, place in the tuple) alone.

    Args:
        candidates: images, by their numbers.
        negatives: of a tuple.
        transform: `(uint8 (H, W, 3) RGB, rng) -> uint8 (h, w, 3)`.
        min_size: (height, width) in pixels that the transform needs at least; lets a large JPEG be decoded smaller.

    Attributes:
        leave_out: images that no tuple may have.
    """

    def __init__(
        self,
        candidates: Candidates,
        negatives: int,
        transform: Transform,
        seed: int,
        min_size: tuple[int, int] | None = None,
    ) -> None:
        self.candidates = candidates
        self.negatives = negatives
        self.transform = transform
        self.seed = seed
        self.min_size = min_size
        self.leave_out: Collection[int] = frozenset()

    @property
    def sources(self) -> Sequence[Places]:
        """The images, as `Places`."""
        return self.candidates.sources

    def __len__(self) -> int:
        return self.candidates.queries

    def __getitem__(self, draw: TupleDraw) -> TupleItem:
        drawn = np.array(draw.numbers, np.int64)
        present = drawn[2 + self.negatives :] >= 0
        images = np.where(drawn >= 0, drawn, drawn[1])
        numbers = images.tolist()
        try:
            pixels = {image: decode(self.candidates.path(image), self.min_size) for image in dict.fromkeys(numbers)}
        except DataError as error:  # it was readable when it was mined
            return TupleItem(None, images, present, self.negatives, (str(error),))
        views = [self.transform(pixels[image], self._rng(draw, slot)) for slot, image in enumerate(numbers)]
        return TupleItem(stack_images(views), images, present, self.negatives)

    def _rng(self, draw: TupleDraw, slot: int) -> np.random.Generator:
        # numpy pads a seed sequence with zeros: slots count from 1.
        return np.random.default_rng((self.seed, draw.epoch, draw.numbers[0], 1 + slot))


def collate_tuples(items: Sequence[TupleItem]) -> TupleBatch:
    """Join tuples.

    Raises:
        DataError: not one tuple of the batch can be read.
    """
    bad = tuple(message for item in items for message in item.bad)
    readable = [item for item in items if item.images is not None]
    if not readable:
        raise DataError(f"None of {len(items)} tuples can be read any more (first: {bad[0]}). Check the data set.")
    numbers = np.concatenate([item.numbers for item in readable])
    return TupleBatch(
        torch.cat([item.images for item in readable if item.images is not None]),
        torch.from_numpy(numbers),
        len(readable[0].numbers),
        readable[0].negatives,
        torch.from_numpy(np.stack([item.present for item in readable])),
        bad,
        numbers.copy(),
    )
