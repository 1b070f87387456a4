"""Plain values that the rooms hand to each other. Imports nothing of the package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


class FeatureSpec(NamedTuple):
    """Shape of a backbone's map: channels, stride in pixels, and its (h, w) at the describer's image size."""

    channels: int
    stride: int
    grid: tuple[int, int] | None = None


class Features(NamedTuple):
    """Backbone output: `map` (B, C, h, w), and the class token `cls` (B, C) where the backbone has one."""

    map: Tensor
    cls: Tensor | None = None


class Preprocess(NamedTuple):
    """Steps from an image to network input: size (height, width) in pixels, mean and std of RGB, interpolation."""

    size: tuple[int, int] = (320, 320)
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    interpolation: str = "bilinear"


@dataclass(frozen=True)
class Protocol:
    """Rules that a recall was measured by; its id stands beside every number.

    Attributes:
        id: set, split and what counts as a hit, e.g. `pitts30k-test@25m`, `nordland-mini-913@1f`.
        database, queries: the counts that the set must have; None where the set has no published count.
        no_positives: rule for a query without positives: `skip` leaves it out, `miss` counts it as wrong; `unknown`:
            nobody knows the positives, and predictions are written but nothing is measured.
        all_near: take a set also where nearly every database image is a positive of nearly every query, which is
            mostly a fault of its positions.
    """

    id: str
    database: int | None = None
    queries: int | None = None
    no_positives: str = "skip"
    all_near: bool = False


class Draw(NamedTuple):
    """Request to a training set: a place, in an epoch. With the seed, all randomness follows from it."""

    place: int
    epoch: int


class PlaceBatch(NamedTuple):
    """Training batch of places.

    Attributes:
        images: (N, 3, H, W) uint8.
        labels: (N,) int64 places.
        bad: a message per bad image.
        numbers: (N,) int64, the number of each image through all sources. An array, for it stays on the host: it is an
            index into what lies on disk.
    """

    images: Tensor
    labels: Tensor
    bad: tuple[str, ...] = ()
    numbers: np.ndarray | None = None
