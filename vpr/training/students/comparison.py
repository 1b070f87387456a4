"""Images that no run sees, and how often a student's first match of them is its teacher's."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from vpr.data.formats import unlabelled
from vpr.data.image_paths import ImagePaths
from vpr.data.loading import BadImageTally
from vpr.data.places import Places
from vpr.errors import DataError
from vpr.files import write_text
from vpr.retrieval.agreement import Agreement, agreement
from vpr.retrieval.extractor import Extractor, extract, image_loader, image_progress
from vpr.retrieval.index.place_index import PlaceIndex, unlabelled_images

LEAST = 100
"""Images below which nothing can be chosen by those that are held out."""


class Images(NamedTuple):
    """Absolute paths of the images of a student.

    Attributes:
        train: images that it learns from, those of the map included.
        held_out: images that no run sees.
        database: images that the held-out ones are compared with: of the map, or else of `train`.
        digest: of all images, their names, order and sizes.
    """

    train: list[str]
    held_out: list[str]
    database: list[str]
    digest: str


def read(source: str | Sequence[str], frames: Path, every: float) -> Places:
    """List images: of a folder, a video, a list, several of these, or of the place index in a folder.

    Raises:
        DataAbsent, DataError: there are none, or they cannot be read.
    """
    if isinstance(source, str) and PlaceIndex.exists(Path(source).expanduser()):
        return unlabelled_images(source)
    return unlabelled.read(source, frames, every)


def split(images: Places, of_map: Places | None, share: float, most: int, database: int, seed: int) -> Images:
    """Hold out some of `images`, chosen by their names alone: the same command holds out the same.

    Args:
        of_map: images of the map.
        share, most: of the held-out images.
        database: images that these are compared with, at most.

    Raises:
        DataError: fewer than `LEAST` images, or a name that no list of paths can hold.
    """
    if len(images) < LEAST:
        raise DataError(
            f"images: {len(images)} are too few. Some are held out to compare students on, and it takes {LEAST} or "
            "more in all. Add others of the kind that will be asked; they need no labels."
        )
    paths, map_paths = _paths(images), _paths(of_map) if of_map else []
    unseen = set(_draw(paths, min(most, max(2, round(share * len(paths)))), seed))
    train = [path for path in dict.fromkeys([*paths, *map_paths]) if path not in unseen]
    database_paths = _draw([path for path in map_paths if path not in unseen] or train, database, seed)
    digest = ImagePaths([images, of_map] if of_map else [images]).digest()
    return Images(train, sorted(unseen), database_paths, digest)


def write_list(paths: Sequence[str], file: Path) -> Path:
    """Write a list of paths, as `dataset=my_images` reads it."""
    write_text(file, "\n".join(paths) + "\n")
    return file


def _paths(images: Places) -> list[str]:
    paths = [os.path.abspath(images.path(row)) for row in range(len(images.files))]
    for path in paths:
        if len(path.splitlines()) != 1 or any("\ud800" <= char <= "\udfff" for char in path):
            raise DataError(f"{path!r}: a list of paths cannot hold this name. Rename the file.")
    return paths


def _draw(paths: Sequence[str], count: int, seed: int) -> list[str]:
    """Draw paths by a hash of what they do not have in common: the same in a copy of their folder."""
    root = len(os.path.commonpath([os.path.dirname(path) for path in paths]))
    drawn = sorted(paths, key=lambda path: hashlib.sha256(f"{seed}{path[root:]}".encode()).digest())[:count]
    return sorted(drawn)


class _Described(NamedTuple):
    """Descriptors (N, D) float32 of database and held-out images, what could not be read, and the model's name."""

    descriptors: np.ndarray
    bad: dict[int, str]
    name: str


@dataclass
class Comparison:
    """Compares students with their teacher: held-out images as queries, the map or training images as database.

    Args:
        teacher: path of its checkpoint.
        images: of the students.
        device, batch_size, num_workers: for extraction.
        seed: of the bootstrap intervals.
    """

    teacher: str
    images: Images
    device: torch.device
    batch_size: int = 64
    num_workers: int = 0
    seed: int = 0

    def __call__(self, ckpt: str | Path) -> Agreement:
        """Return how far the matches of a checkpoint are the teacher's.

        Raises:
            DataError: more than 1 % of the images cannot be read, or a descriptor is NaN.
        """
        student, teacher = self._describe(ckpt), self._teacher
        readable = np.array([row not in teacher.bad for row in range(len(teacher.descriptors))])
        split = int(readable[: len(self.images.database)].sum())
        sides = [(m.descriptors[readable][:split], m.descriptors[readable][split:]) for m in (student, teacher)]
        return agreement(sides[0], sides[1], seed=self.seed, teacher_name=teacher.name)

    @cached_property
    def _teacher(self) -> _Described:
        teacher = self._describe(self.teacher)
        tally = BadImageTally("images and map", minimum=0)  # all of them have been seen
        tally.add(len(teacher.descriptors) - len(teacher.bad), list(teacher.bad.values()))
        return teacher

    def _describe(self, ckpt: str | Path) -> _Described:
        paths = [Path(path) for path in (*self.images.database, *self.images.held_out)]
        extractor = Extractor.load(str(ckpt), self.device)
        extractor.describer.eval()
        out = np.zeros((len(paths), extractor.dim), np.float32)
        loader = image_loader(paths, extractor.preprocess, self.batch_size, self.num_workers)
        with image_progress(f"{extractor.name} describes images", len(paths)) as advance:
            return _Described(out, extract(extractor, loader, out, advance), extractor.name)
