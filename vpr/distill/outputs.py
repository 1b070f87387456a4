"""What student and teachers hand to the distillation terms."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Outputs(NamedTuple):
    """What a network says of a batch, in float32.

    Attributes:
        descriptors: (N, D), rows of unit norm, of the global batch: the images of all ranks.
        map: (n, C, h, w) feature map of this rank's images; None where a network gives descriptors only.
        share: weight of this teacher among several; the shares sum to 1.
    """

    descriptors: Tensor
    map: Tensor | None = None
    share: float = 1.0


class Shape(NamedTuple):
    """Sizes of a network's outputs: length of its descriptors, channels of its map (None: it shows no map), a name."""

    dim: int
    channels: int | None
    name: str
