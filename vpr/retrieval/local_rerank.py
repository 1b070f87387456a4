"""Re-ranking by local features: of the images that a search finds first, those come first that geometry confirms."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from vpr.data.images import decode
from vpr.data.retrieval_set import RetrievalSet
from vpr.errors import ConfigError, DataError
from vpr.retrieval.extractor import progress
from vpr.retrieval.local_matching import MATCHERS, Matcher, of_one_homography
from vpr.retrieval.search import Neighbours, nearest

KEPT = 1024
"""Images whose local features are kept in memory: half a megabyte each."""


@dataclass(frozen=True, eq=False)
class Points:
    """Points of two images that confirm each other: (n, 2) float32 each, x and y as shares 0..1 of width and height."""

    left: np.ndarray
    right: np.ndarray


@dataclass(frozen=True)
class LocalFeatures:
    """Two-stage retrieval: the first `k` by descriptor are ordered by local features. The id is `local-matcher-k`.

    Keypoints of query and image are matched, and the matches that one homography explains are the inliers
    (MAGSAC++, Barath et al., CVPR 2020). A query's images are ordered by similarity + weight * n / (n + half) of n
    inliers; those beyond the first `k` stay behind them.

    Args:
        k: images of a query that are compared with it.
        matcher: sift (RootSIFT), or a network of kornia: lightglue, loftr.
        keypoints: of an image, at most.
        side: pixels of the longer side at which images are compared; smaller ones are enlarged.
        enlarge: at most so many times.
        pixels: distance at that side within which a homography explains a match.
        weight: of the inliers beside the cosine similarity.
        half: inliers that count half as much as infinitely many.

    Raises:
        ConfigError: a number out of its range, or an unknown matcher.
    """

    k: int = 20
    matcher: str = "sift"
    keypoints: int = 512
    side: int = 640
    enlarge: float = 4.0
    pixels: float = 4.0
    weight: float = 0.5
    half: float = 20.0

    def __post_init__(self) -> None:
        if self.matcher not in MATCHERS:
            raise ConfigError(f"rerank.matcher={self.matcher} is unknown: choose {', '.join(MATCHERS)}.")
        for name, least in (("k", 2), ("keypoints", 4), ("side", 32), ("enlarge", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"rerank.{name}={getattr(self, name):g}: the least is {least}.")
        for name in ("pixels", "weight", "half"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"rerank.{name}={getattr(self, name):g}: it must be above 0.")

    @property
    def id(self) -> str:
        return f"local-{self.matcher}-{self.k}"

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
        """Search a set, and order the first `self.k` of each query by the pixels of the images."""
        wide = nearest(database, queries, max(k, self.k), retrieval_set.panoramas)
        verifier = self.verifier(device)
        return self.ordered(wide, retrieval_set.queries, retrieval_set.database.__getitem__, verifier).first(k)

    def ordered(
        self,
        neighbours: Neighbours,
        queries: Sequence[Path],
        database: Callable[[int], Path],
        verifier: Verifier,
    ) -> Neighbours:
        """Return the neighbours (Q, K) with the first `self.k` in their new order; `inliers` is -1 beyond these.

        Their similarities stay those of the descriptors, so they no longer fall. An image that cannot be read has no
        inliers.

        Args:
            database: returns the image of a row.
        """
        inliers = np.full(neighbours.indices.shape, -1, np.int32)
        first = neighbours.indices[:, : self.k]

        def count(query: int) -> None:
            rows = first[query]
            inliers[query, : len(rows)] = [
                -1 if row < 0 else len(verifier.points(queries[query], database(row)).left) for row in rows.tolist()
            ]

        with progress("comparing local features", len(first)) as advance, ThreadPoolExecutor(verifier.threads) as pool:
            for _ in pool.map(count, range(len(first))):
                if advance:
                    advance(1)
        share = np.maximum(inliers, 0) / (np.maximum(inliers, 0) + self.half)
        scores = np.where(inliers >= 0, neighbours.similarities + self.weight * share, -np.inf)
        order = np.argsort(-scores, axis=1, kind="stable")  # those that were not compared stay in place, at the end
        values = neighbours.similarities, neighbours.indices, inliers
        return Neighbours(*(np.take_along_axis(array, order, 1) for array in values))

    def verifier(self, device: torch.device | str = "cpu") -> Verifier:
        """Return what compares the pixels of images, with these settings.

        Raises:
            ConfigError: the matcher needs a package that is not installed.
            WeightsUnavailable: its weights cannot be had.
        """
        return Verifier(MATCHERS[self.matcher](self.keypoints, device), self.side, self.enlarge, self.pixels)


class Verifier:
    """Compares images by local features, which it keeps for `KEPT` of them. `points` may be called by several threads.

    Args:
        matcher: of local features.
        side, enlarge, pixels: as of `LocalFeatures`.
    """

    def __init__(self, matcher: Matcher, side: int, enlarge: float, pixels: float) -> None:
        self.matcher, self.side, self.enlarge, self.pixels = matcher, side, enlarge, pixels
        self.threads = (os.cpu_count() or 1) if matcher.parallel else 1
        self._kept: Callable[..., tuple[np.ndarray, Any] | None] = lru_cache(maxsize=KEPT)(self._extract)

    def points(self, query: Path, image: Path) -> Points:
        """Return the inliers of two images; none where one of them cannot be read."""
        left, right = self._features(query), self._features(image)
        if left is None or right is None:
            return Points(np.empty((0, 2), np.float32), np.empty((0, 2), np.float32))
        pairs = self.matcher.match(left[1], right[1])
        inside = of_one_homography(pairs, self.pixels)
        return Points(pairs[0][inside] / left[0], pairs[1][inside] / right[0])

    def _features(self, path: Path) -> tuple[np.ndarray, Any] | None:
        """Return (width, height) at which an image is compared, and its features; None where it cannot be read."""
        try:
            status = os.stat(path)
        except OSError:
            return None
        return self._kept(path, status.st_size, status.st_mtime_ns)  # a photo that was replaced is another one

    def _extract(self, path: Path, size_in_bytes: int, changed: int) -> tuple[np.ndarray, Any] | None:
        try:
            image = decode(path)
        except DataError:
            return None
        scale = min(self.side / max(image.shape[:2]), self.enlarge)
        size = max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1)
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
        return np.array(size, np.float32), self.matcher.extract(image)
