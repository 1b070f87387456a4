"""Training images by place: the images of one source, and the dataset that draws K of a place."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from vpr.data.images import decode
from vpr.data.transforms import stack_images
from vpr.errors import ConfigError, DataError
from vpr.types import Draw, PlaceBatch

CHOICES = ("random", "recent")
Transform = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True, eq=False)
class Places:
    """The training images of one source, sorted by place.

    Attributes:
        name: of the source, for messages.
        root: folder that `files` are relative to.
        files: (N,) bytes; one array instead of N strings, so that workers share its memory.
        starts: (P+1,) int64; place p owns images `starts[p]:starts[p+1]`, most recent first where dates are known.
        ids: (P,) int64 place ids as the source counts them.
        groups: (P,) int64; the city or sequence of each place.
    """

    name: str
    root: Path
    files: np.ndarray
    starts: np.ndarray
    ids: np.ndarray
    groups: np.ndarray

    def __post_init__(self) -> None:
        if not len(self.starts) - 1 == len(self.ids) == len(self.groups):
            raise ValueError(f"{len(self.starts)} starts, {len(self.ids)} ids and {len(self.groups)} groups do not fit")
        if self.starts[0] != 0 or self.starts[-1] != len(self.files) or (np.diff(self.starts) < 1).any():
            raise ValueError(f"starts must rise from 0 to {len(self.files)} images, and no place may be empty")

    def __len__(self) -> int:
        return len(self.ids)

    def path(self, image: int) -> Path:
        return self.root / os.fsdecode(self.files[image])


class PlaceItem(NamedTuple):
    """One place: `images` (K, 3, H, W) uint8, or None if no photo of it can be read; the rest as in PlaceBatch."""

    images: Tensor | None
    label: int
    bad: tuple[str, ...]
    photos: np.ndarray


class PlacesDataset(Dataset[PlaceItem]):
    """Draws K images of a place; places are numbered through all sources.

    Which images, and how they are augmented, follows from (seed, epoch, place) alone, so that a resumed run and any
    number of workers see the same. Another image of the place stands in for one that cannot be read, which is reported
    once; a place with fewer than K readable images repeats them, augmented anew.

    Args:
        choice: `random` without replacement, or `recent`: the first K, which are the latest where dates are known.
        transform: `(uint8 (H, W, 3) RGB, rng) -> uint8 (h, w, 3)`.
        min_size: (height, width) in pixels that the transform needs at least; lets a large JPEG be decoded smaller.

    Attributes:
        leave_out: photos, counted through all sources, that are passed over as unreadable ones are, without a report.

    Raises:
        ConfigError: an unknown choice.
    """

    def __init__(
        self,
        sources: Sequence[Places],
        images_per_place: int,
        choice: str,
        transform: Transform,
        seed: int,
        min_size: tuple[int, int] | None = None,
    ) -> None:
        if choice not in CHOICES:
            raise ConfigError(f"choice={choice} is unknown: choose {' or '.join(CHOICES)}.")
        if images_per_place < 1:
            raise ConfigError(f"images_per_place={images_per_place}: at least one image of a place is needed.")
        self.sources = tuple(sources)
        self.images_per_place = images_per_place
        self.transform = transform
        self.seed = seed
        self.choice = choice
        self.min_size = min_size
        self.leave_out: Collection[int] = frozenset()
        self._first_place = np.cumsum([0, *(len(source) for source in self.sources)])
        self._first_photo = np.cumsum([0, *(len(source.files) for source in self.sources)])
        self._known_bad: set[Path] = set()

    def __len__(self) -> int:
        return int(self._first_place[-1])

    @property
    def groups(self) -> np.ndarray:
        """(P,) int64 group of every place; groups of different sources are different."""
        numbered, used = [], 0
        for source in self.sources:
            names, group = np.unique(source.groups, return_inverse=True)
            numbered.append(group + used)
            used += len(names)
        return np.concatenate(numbered) if numbered else np.empty(0, np.int64)

    def __getitem__(self, draw: Draw) -> PlaceItem:
        photos, bad = self._read(draw)
        if not photos:
            return PlaceItem(None, draw.place, tuple(bad), np.empty(0, np.int64))
        numbers, pixels = list(photos), list(photos.values())
        turns = np.arange(self.images_per_place) % len(photos)
        views = [self.transform(pixels[turn], self._rng(draw, 1 + slot)) for slot, turn in enumerate(turns)]
        return PlaceItem(stack_images(views), draw.place, tuple(bad), np.array(numbers, np.int64)[turns])

    def _rng(self, draw: Draw, use: int) -> np.random.Generator:
        # numpy pads a seed sequence with zeros: (s, e, p) and (s, e, p, 0) are one stream, so each use has a number.
        return np.random.default_rng((self.seed, draw.epoch, draw.place, use))

    def _read(self, draw: Draw) -> tuple[dict[int, np.ndarray], list[str]]:
        """Decode the first K readable images in this draw's order: {number through all sources: pixels}."""
        number = int(np.searchsorted(self._first_place, draw.place, side="right")) - 1
        source, offset = self.sources[number], int(self._first_photo[number])
        first, last = source.starts[draw.place - self._first_place[number] :][:2]
        images = np.arange(first, last)
        if self.choice == "random":
            images = self._rng(draw, 0).permutation(images)
        photos: dict[int, np.ndarray] = {}
        bad: list[str] = []
        for image in images.tolist():
            if len(photos) == self.images_per_place:
                break
            path = source.path(image)
            if path in self._known_bad or offset + image in self.leave_out:
                continue
            try:
                photos[offset + image] = decode(path, self.min_size)
            except DataError as error:
                self._known_bad.add(path)
                bad.append(str(error))
        return photos, bad


def collate_places(items: Sequence[PlaceItem]) -> PlaceBatch:
    """Join the images of several places.

    Raises:
        DataError: not one image of the batch can be read.
    """
    bad = tuple(sentence for item in items for sentence in item.bad)
    readable = [(item.images, item.label, item.photos) for item in items if item.images is not None]
    if not readable:
        raise DataError(
            f"None of the images of {len(items)} places can be read (first: {bad[:1]}). Check the data set."
        )
    images = torch.cat([images for images, _, _ in readable])
    labels = torch.tensor([label for images, label, _ in readable for _ in images], dtype=torch.int64)
    return PlaceBatch(images, labels, bad, np.concatenate([photos for _, _, photos in readable]))
