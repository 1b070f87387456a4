"""Training images by tuple: a query, its positive, its negatives and, possibly, its difficult positives."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from vpr.data.candidates import Candidates
from vpr.data.images import decode
from vpr.data.places import Places
from vpr.data.transforms import stack_images
from vpr.errors import DataError

Transform = Callable[[np.ndarray, np.random.Generator], np.ndarray]


class TupleDraw(NamedTuple):
    """One request: in this epoch, the tuple of these photos, query first; -1 where a difficult positive is lacking."""

    epoch: int
    photos: tuple[int, ...]


class TupleBatch(NamedTuple):
    """Training batch of T tuples.

    Attributes:
        images: (T * size, 3, H, W) uint8, tuple by tuple: query, positive, negatives, difficult positives.
        labels: (T * size,) int64, the number of each photo: nothing more is known of where two photos are the same.
        size: images of a tuple.
        negatives: how many of these are negatives.
        present: (T, d) bool, which difficult positives there are. In the place of one that is not, the positive stands.
        bad: a sentence per bad photo.
        photos: `labels` as an array on the host.
    """

    images: Tensor
    labels: Tensor
    size: int
    negatives: int
    present: Tensor
    bad: tuple[str, ...] = ()
    photos: np.ndarray | None = None


class TupleItem(NamedTuple):
    """One tuple: `images` (size, 3, H, W) uint8, or None if a photo of it cannot be read; the rest as in TupleBatch."""

    images: Tensor | None
    photos: np.ndarray
    present: np.ndarray
    negatives: int
    bad: tuple[str, ...] = ()


class TuplesDataset(Dataset[TupleItem]):
    """Loads the photos of a tuple.

    How they are augmented follows from (seed, epoch, query, place in the tuple) alone.

    Args:
        candidates: photos, by their numbers.
        negatives: of a tuple.
        transform: `(uint8 (H, W, 3) RGB, rng) -> uint8 (h, w, 3)`.
        min_size: (height, width) in pixels that the transform needs at least; lets a large JPEG be decoded smaller.

    Attributes:
        leave_out: photos that no tuple may have.
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
        """The photos, as `Places`."""
        return self.candidates.sources

    def __len__(self) -> int:
        return self.candidates.queries

    def __getitem__(self, draw: TupleDraw) -> TupleItem:
        asked = np.array(draw.photos, np.int64)
        present = asked[2 + self.negatives :] >= 0
        photos = np.where(asked >= 0, asked, asked[1])
        numbers = photos.tolist()
        try:
            pixels = {photo: decode(self.candidates.path(photo), self.min_size) for photo in dict.fromkeys(numbers)}
        except DataError as error:  # it was readable when it was mined
            return TupleItem(None, photos, present, self.negatives, (str(error),))
        views = [self.transform(pixels[photo], self._rng(draw, slot)) for slot, photo in enumerate(numbers)]
        return TupleItem(stack_images(views), photos, present, self.negatives)

    def _rng(self, draw: TupleDraw, slot: int) -> np.random.Generator:
        # numpy pads a seed sequence with zeros: slots count from 1.
        return np.random.default_rng((self.seed, draw.epoch, draw.photos[0], 1 + slot))


def collate_tuples(items: Sequence[TupleItem]) -> TupleBatch:
    """Join tuples.

    Raises:
        DataError: not one tuple of the batch can be read.
    """
    bad = tuple(sentence for item in items for sentence in item.bad)
    readable = [item for item in items if item.images is not None]
    if not readable:
        raise DataError(f"None of {len(items)} tuples can be read any more (first: {bad[0]}). Check the data set.")
    photos = np.concatenate([item.photos for item in readable])
    return TupleBatch(
        torch.cat([item.images for item in readable if item.images is not None]),
        torch.from_numpy(photos),
        len(readable[0].photos),
        readable[0].negatives,
        torch.from_numpy(np.stack([item.present for item in readable])),
        bad,
        photos.copy(),
    )
