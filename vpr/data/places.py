"""Training images by place: one source of them, the dataset that draws K of a place, and batches of places."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from vpr.data.file_lists import FileNames
from vpr.data.images import decode
from vpr.data.transforms import stack_images
from vpr.errors import ConfigError, DataError
from vpr.types import Draw, PlaceBatch

log = logging.getLogger(__name__)

CHOICES = ("random", "recent")
Transform = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True, eq=False)
class Places:
    """The training images of one source, sorted by place. A reader of `dataset.train` returns one.

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


def group_by_place(
    name: str,
    root: Path,
    files: Sequence[str],
    places: Sequence[object] | np.ndarray | pd.Series,
    groups: Sequence[object] | np.ndarray | pd.Series | None = None,
    min_images_per_place: int = 1,
) -> Places:
    """Sort images by (group, place); within a place the rows keep their order.

    Args:
        files: N names relative to `root`.
        places: N place ids; integers are kept as `Places.ids`, anything else is numbered in sorted order. Equal ids in
            different groups are different places.
        groups: N names or numbers of cities or sequences; None is one group.
        min_images_per_place: places with fewer images are left out.

    A file that a place has twice counts once, with a warning: it would be its own positive.

    Raises:
        DataError: no place is left, or two places have the same file.
    """
    place_codes, place_names = pd.factorize(np.asarray(places), sort=True)
    group_codes, group_names = pd.factorize(
        np.zeros(len(files), int) if groups is None else np.asarray(groups), sort=True
    )
    keys = group_codes * len(place_names) + place_codes
    names = files if isinstance(files, FileNames) else FileNames([os.path.normpath(file) for file in files])
    once = _rows_once(name, names.bytes, keys)
    names, keys = names.take(once), keys[once]
    order = np.argsort(keys, kind="stable")
    unique, counts = np.unique(keys, return_counts=True)
    kept = counts >= min_images_per_place
    if not kept.any():
        raise DataError(
            f"{name}: {len(files):,} images of {len(unique):,} places in {root}, but no place has "
            f"{min_images_per_place} images or more. Check the root and the filters, or type "
            f"min_images_per_place={counts.max(initial=1)}."
        )
    if not kept.all():
        log.info(
            "%s: %d of %d places have fewer than %d images and are left out.",
            name,
            (~kept).sum(),
            len(kept),
            min_images_per_place,
        )
    codes = unique[kept] % len(place_names)
    integers = np.issubdtype(np.asarray(place_names).dtype, np.integer)
    return Places(
        name=name,
        root=root,
        files=names.bytes[order[np.repeat(kept, counts)]],
        starts=np.concatenate([[0], np.cumsum(counts[kept])]).astype(np.int64),
        ids=np.asarray(place_names)[codes].astype(np.int64) if integers else codes.astype(np.int64),
        groups=(unique[kept] // len(place_names)).astype(np.int64),
    )


def _rows_once(name: str, files: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the rows (n,) of the files without those that come again in the same place."""
    if len(set(files.tolist())) == len(files):
        return np.arange(len(files))
    _, first, of_file = np.unique(files, return_index=True, return_inverse=True)
    wrong = np.flatnonzero(places[first[of_file]] != places)
    if len(wrong):
        raise DataError(
            f"{name}: {os.fsdecode(files[wrong[0]])} belongs to two places, and so would be a negative of itself. Keep "
            "one of its rows."
        )
    log.warning(
        "%s: %s of %s rows name a file that its place has already, and are left out (first: %s).",
        *(name, f"{len(files) - len(first):,}", f"{len(files):,}"),
        os.fsdecode(files[np.setdiff1d(np.arange(len(files)), first)[0]]),
    )
    return np.sort(first)


class PlaceItem(NamedTuple):
    """One place: `images` (K, 3, H, W) uint8, or None if no image of it can be read; the rest as in PlaceBatch."""

    images: Tensor | None
    label: int
    bad: tuple[str, ...]
    numbers: np.ndarray


class PlacesDataset(Dataset[PlaceItem]):
    """Draws K images of a place: `dataset[Draw(place, epoch)]`; places are numbered through all sources.

    The choice of images and their augmentation follow from (seed, epoch, place) alone, so that a resumed run and any
    number of workers see the same. Another image of the place stands in for one that cannot be read, which is reported
    once; a place with fewer than K readable images repeats them, augmented anew.

    Args:
        choice: `random` without replacement, or `recent`: the first K, which are the latest where dates are known.
        transform: `(uint8 (H, W, 3) RGB, rng) -> uint8 (h, w, 3)`.
        min_size: (height, width) in pixels that the transform needs at least; lets a large JPEG be decoded smaller.

    Attributes:
        leave_out: images, counted through all sources, that are passed over as unreadable ones are, without a report.

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
        self._first_image = np.cumsum([0, *(len(source.files) for source in self.sources)])
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
        images, bad = self._read(draw)
        if not images:
            return PlaceItem(None, draw.place, tuple(bad), np.empty(0, np.int64))
        numbers, pixels = list(images), list(images.values())
        turns = np.arange(self.images_per_place) % len(images)
        views = [self.transform(pixels[turn], self._rng(draw, 1 + slot)) for slot, turn in enumerate(turns)]
        return PlaceItem(stack_images(views), draw.place, tuple(bad), np.array(numbers, np.int64)[turns])

    def _rng(self, draw: Draw, use: int) -> np.random.Generator:
        # numpy pads a seed sequence with zeros: (s, e, p) and (s, e, p, 0) are one stream, so each use has a number.
        return np.random.default_rng((self.seed, draw.epoch, draw.place, use))

    def _read(self, draw: Draw) -> tuple[dict[int, np.ndarray], list[str]]:
        """Decode the first K readable images in this draw's order: {number through all sources: pixels}."""
        number = int(np.searchsorted(self._first_place, draw.place, side="right")) - 1
        source, offset = self.sources[number], int(self._first_image[number])
        first, last = source.starts[draw.place - self._first_place[number] :][:2]
        rows = np.arange(first, last)
        if self.choice == "random":
            rows = self._rng(draw, 0).permutation(rows)
        images: dict[int, np.ndarray] = {}
        bad: list[str] = []
        for row in rows.tolist():
            if len(images) == self.images_per_place:
                break
            path = source.path(row)
            if path in self._known_bad or offset + row in self.leave_out:
                continue
            try:
                images[offset + row] = decode(path, self.min_size)
            except DataError as error:
                self._known_bad.add(path)
                bad.append(str(error))
        return images, bad


def collate_places(items: Sequence[PlaceItem]) -> PlaceBatch:
    """Join the images of several places.

    Raises:
        DataError: not one image of the batch can be read.
    """
    bad = tuple(message for item in items for message in item.bad)
    readable = [(item.images, item.label, item.numbers) for item in items if item.images is not None]
    if not readable:
        raise DataError(
            f"None of the images of {len(items)} places can be read (first: {bad[:1]}). Check the data set."
        )
    images = torch.cat([images for images, _, _ in readable])
    labels = torch.tensor([label for images, label, _ in readable for _ in images], dtype=torch.int64)
    return PlaceBatch(images, labels, bad, np.concatenate([numbers for _, _, numbers in readable]))


class PlaceBatchSampler(Sampler[list[Draw]]):
    """Yields this rank's part of each global batch of places.

    The order follows from (seed, epoch) alone and is the same on all ranks. Each global batch is cut into contiguous,
    nearly equal parts; a last batch that would leave a rank without a place, or that has no two places to compare, is
    dropped on all ranks. So no rank waits for another, and no place counts twice.

    Args:
        groups: (P,) group (city) of each place.
        places_per_batch: places of the global batch, over all ranks.
        shuffle: `within_group` lets the groups follow one another, as GSV-Cities was published to be trained
            (in-city batches: harder negatives; Ali-bey et al. 2022); `all` mixes them.

    Attributes:
        fixed: draw every epoch as the first one, for overfitting a few batches on purpose.
        start_batch: batches to leave out of the next iteration only: those that an interrupted epoch had done.

    Raises:
        ConfigError: an unknown shuffle, fewer places than ranks in a batch, or not one batch from all places.
    """

    def __init__(
        self,
        groups: np.ndarray,
        places_per_batch: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = False,
        shuffle: str = "within_group",
    ) -> None:
        if shuffle not in ("within_group", "all"):
            raise ConfigError(f"shuffle={shuffle} is unknown: choose within_group or all.")
        smallest = max(2, world_size)
        if places_per_batch < smallest:
            raise ConfigError(f"places_per_batch={places_per_batch}: {world_size} processes need at least {smallest}.")
        self.groups = np.asarray(groups)
        self.places_per_batch = places_per_batch
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.shuffle = shuffle
        self.epoch = 0
        self.start_batch = 0
        self.fixed = False
        full, rest = divmod(len(self.groups), places_per_batch)
        self._batches = full + (rest >= smallest and not drop_last)
        if not self._batches:
            least = places_per_batch if drop_last else smallest
            raise ConfigError(
                f"There {'is' if len(self.groups) == 1 else 'are'} {len(self.groups)} training place"
                f"{'s' * (len(self.groups) != 1)}, and a batch needs {least}: a loss compares places with one another. "
                f"Add photos of other places{', or type batch.drop_last=false' if drop_last else ''}."
            )

    def __len__(self) -> int:
        """Batches of a whole epoch, whatever `start_batch` is."""
        return self._batches

    @property
    def sampler(self) -> PlaceBatchSampler:
        """Itself: Lightning looks for `set_epoch` at `batch_sampler.sampler`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        if not self.fixed:
            self.epoch = epoch

    def order(self) -> np.ndarray:
        """(P,) place numbers in the order of this epoch."""
        places = np.random.default_rng((self.seed, self.epoch)).permutation(len(self.groups))
        if self.shuffle == "within_group":
            places = places[np.argsort(self.groups[places], kind="stable")]
        return places

    def __iter__(self) -> Iterator[list[Draw]]:
        order, epoch, start = self.order(), self.epoch, self.start_batch
        self.start_batch = 0
        for batch in range(start, self._batches):
            places = order[batch * self.places_per_batch :][: self.places_per_batch]
            part = np.array_split(places, self.world_size)[self.rank]
            yield [Draw(int(place), epoch) for place in part]
