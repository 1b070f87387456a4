"""Teachers: frozen networks that the student learns from, and the outputs that terms compare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vpr.models.describer import Describer
from vpr.types import PlaceBatch, Preprocess


class Outputs(NamedTuple):
    """Outputs of the student or of a teacher for a batch, in float32: what terms compare.

    Attributes:
        descriptors: (N, D), rows of unit norm, of the global batch: the images of all ranks.
        map: (n, C, h, w) feature map of this rank's images; None where a network gives descriptors only.
        share: weight of this teacher among several; the shares sum to 1.
    """

    descriptors: Tensor
    map: Tensor | None = None
    share: float = 1.0


class Shape(NamedTuple):
    """Sizes of a network's outputs: dimensions of its descriptors, channels of its map (None: no map), and its name."""

    dim: int
    channels: int | None
    name: str


class Teacher(nn.Module):
    """A network in evaluation mode for good, without gradients, at its own image size and normalisation.

    It is no part of what is trained or saved. `targets(batch)` gives its outputs; `CachedTeacher` gives the same from a
    file on disk.

    Args:
        network: a `Describer`, or any module with `preprocess: Preprocess`, `dim: int` and
            `forward(images (n, 3, h, w) normalised) -> (n, dim)`. Only a describer shows its feature map.
        name: its name in messages.
        share: its weight among several teachers.
        size: (height, width) in pixels that it gets instead of its own.
        dtype: of its mixed precision; None computes in float32.
        digest: SHA-256 that names it in records and caches.
        config: of the checkpoint that a describer comes from, or could be written to: its `backbone` and `agg` nodes.
        images: digests of the images that it was trained on, (n,) int64, as its checkpoint notes them down, if it does.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        name: str,
        share: float = 1.0,
        size: tuple[int, int] | None = None,
        dtype: torch.dtype | None = None,
        digest: str = "",
        config: Mapping[str, Any] | None = None,
        images: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        self.images = images
        self.network = network.requires_grad_(False)
        self.name, self.share, self.dtype, self.digest, self.config = name, share, dtype, digest, config
        preprocess: Preprocess = network.preprocess  # type: ignore[assignment]
        self.preprocess = preprocess._replace(size=size) if size else preprocess
        self.register_buffer("mean", torch.tensor(preprocess.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(preprocess.std).view(3, 1, 1), persistent=False)
        self.eval()

    @property
    def shape(self) -> Shape:
        """Sizes of its outputs."""
        channels = self.network.backbone.spec.channels if isinstance(self.network, Describer) else None
        return Shape(int(self.network.dim), channels, self.name)  # type: ignore[arg-type]

    def __deepcopy__(self, memo: dict[int, Any]) -> Teacher:
        """Return itself: it is frozen, so that copies of a run, such as averaged weights need, share it."""
        return self

    def train(self, mode: bool = True) -> Teacher:
        """Stay in evaluation mode, whatever the `mode`."""
        return super().train(False)

    def targets(self, batch: PlaceBatch) -> Outputs:
        """Return the outputs for this rank's batch."""
        return self(batch.images)

    def prepare(self, images: Tensor) -> Tensor:
        """Bring uint8 images (n, 3, H, W) to the teacher's size and normalisation, on their device."""
        x = images.float()
        if tuple(x.shape[-2:]) != tuple(self.preprocess.size):
            x = F.interpolate(x, self.preprocess.size, mode=self.preprocess.interpolation, antialias=True)
            x = x.clamp(0, 255)  # bicubic interpolation overshoots
        return (x / 255 - self.mean) / self.std

    # Not inference_mode: what a term multiplies by the student's outputs is kept for the backward pass.
    @torch.no_grad()
    def forward(self, images: Tensor) -> Outputs:
        """Return the outputs for this rank's uint8 images (n, 3, H, W) of the student's size."""
        x = self.prepare(images)
        with torch.autocast(x.device.type, self.dtype, enabled=self.dtype is not None):
            if not isinstance(self.network, Describer):
                return Outputs(self.network(x).float(), None, self.share)
            features = self.network.features(x)
            return Outputs(self.network.aggregator(features).float(), features.map.float(), self.share)
