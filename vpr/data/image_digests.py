"""Digests of image files, by which an evaluation notices that a model was trained on its images, wherever they lie."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vpr.data.retrieval_set import RetrievalSet

THREADS = 16
AT_ONCE = 256
PART = 64 << 10
"""Bytes that are read at either end of a file: a photo differs from all others there, and its middle costs time."""


def image_digests(paths: Sequence[Path]) -> np.ndarray:
    """Return the digests of the images that can be read: (n,) int64, sorted, each once.

    The digest of an image is blake2b, 8 bytes, of its file's size in bytes, first 64 KiB and last 64 KiB. A copy has
    the digest of the original; an image that was resized or compressed again has another. Missing and unreadable files
    are left out.
    """
    digests = digests_by_image(paths)
    return np.unique(digests[digests != 0])


def digests_by_image(paths: Sequence[Path]) -> np.ndarray:
    """Return the digest of each image, as of `image_digests`, in their order: (N,) int64, 0 where it cannot be read."""
    starts = range(0, len(paths), AT_ONCE)
    with ThreadPoolExecutor(THREADS) as pool:
        parts = list(pool.map(lambda start: [_digest(path) for path in paths[start : start + AT_ONCE]], starts))
    return np.array([digest for part in parts for digest in part], np.int64)


def _digest(path: Path) -> int:
    try:
        if not os.path.isfile(path):  # a pipe would be waited for without end
            return 0
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            total = hashlib.blake2b(size.to_bytes(8, "little"), digest_size=8)
            total.update(file.read(PART))
            if size > PART:
                file.seek(max(PART, size - PART))
                total.update(file.read(PART))
    except OSError:
        return 0
    return int.from_bytes(total.digest(), "little", signed=True)


class SeenImages(NamedTuple):
    """Numbers of images of an evaluation set that a model was trained on.

    Attributes:
        database: of the database images.
        queries: of the queries, those left out that are images of the database as well.
    """

    database: int
    queries: int


def seen_images(retrieval_set: RetrievalSet, training: np.ndarray) -> SeenImages:
    """Count the images of a set that are among those of digests `training` (n,) int64; no file is read for none."""
    if not len(training):
        return SeenImages(0, 0)
    database, queries = (digests_by_image(side) for side in (retrieval_set.database, retrieval_set.queries))
    new = ~np.isin(queries, database[database != 0])
    return SeenImages(*(int(np.isin(side, training).sum()) for side in (database, queries[new])))


def mark_seen(retrieval_set: RetrievalSet, seen: SeenImages) -> RetrievalSet:
    """Say in the protocol's id that a model was trained on images of the set, so that its figures stand by themselves.

    `pitts30k-test@25m` becomes `pitts30k-test@25m[map]` where it was trained on database images, as one may do with the
    photos of a map; `[queries]` says that it was trained on queries, so that its recall is no measurement.
    """
    suffix = "".join(f"[{name}]" for name, count in (("map", seen.database), ("queries", seen.queries)) if count)
    protocol = replace(retrieval_set.protocol, id=retrieval_set.protocol.id + suffix)
    return replace(retrieval_set, protocol=protocol) if suffix else retrieval_set
