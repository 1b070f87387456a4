"""Principal components of the descriptors of some photos, drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from vpr.data.bad_images import BadImageTally
from vpr.retrieval import ranks, store
from vpr.retrieval.components import Components, check_dim, principal_components
from vpr.retrieval.describe import Describe
from vpr.retrieval.extract import extract, image_loader
from vpr.retrieval.progress import image_progress
from vpr.types import Preprocess

SAMPLE = 10_000  # photos that principal components are fitted to


def sample(photos: Sequence[Path], count: int, seed: int) -> list[Path]:
    """Draw `count` photos, or all where there are no more, in their order."""
    rows = np.random.default_rng(seed).choice(len(photos), min(count, len(photos)), replace=False)
    return [photos[row] for row in np.sort(rows)]


def components_of_photos(
    describe: Describe,
    width: int,
    preprocess: Preprocess,
    photos: Sequence[Path],
    dim: int,
    *,
    batch_size: int = 32,
    num_workers: int = 0,
    device: torch.device | str = "cpu",
    title: str = "PCA",
) -> Components | None:
    """Describe photos into a temporary file and return `dim` principal components; None on all ranks but the first.

    Unreadable photos are left out, as in training.

    Args:
        describe: (B, 3, H, W) uint8 -> (B, width).
        device: where the matrices are decomposed.
        title: of the bar.

    Raises:
        ConfigError: so many photos, or descriptors of this width, cannot have so many components.
        DataError: more than 1 % of the photos cannot be read, a descriptor is NaN, or the disk is too small.
    """
    check_dim(dim, len(photos), width)  # before an hour goes into descriptors
    with store.working_folder() as folder:
        with ranks.together():
            if ranks.rank() == 0:
                store.create(folder, len(photos), width, "float32")
        descriptors = store.attach(folder)
        loader = image_loader(photos, preprocess, batch_size, num_workers)
        with image_progress(title, len(photos)) as advance:
            bad = extract(describe, loader, descriptors, advance)
        good = np.setdiff1d(np.arange(len(photos)), list(bad))
        tally = BadImageTally("the data set's folder", minimum=0)  # all of them have been seen
        tally.add(len(good), list(bad.values()))
        found = None
        with ranks.together():
            if ranks.rank() == 0:
                if bad:
                    store.compact(descriptors, good)
                found = principal_components(descriptors[: len(good)], dim, device=device, show=True)
        return found
