"""k-means centres of descriptors."""

from __future__ import annotations

from collections.abc import Callable

import faiss
import numpy as np

from vpr.errors import DataError


def kmeans(
    descriptors: np.ndarray,
    clusters: int,
    iterations: int = 100,
    seed: int = 0,
    gpu: bool = False,
    progress: Callable[[int], object] | None = None,
) -> np.ndarray:
    """Return centres (clusters, C) float32 of descriptors (n, C) float32, by faiss, of Euclidean distance.

    Ends where nothing changes any more. `progress` is called with 1 after each iteration, and Ctrl-C is heard there.

    Args:
        seed: of the descriptors to start from.
        gpu: use all GPUs, where this build of faiss has any.

    Raises:
        DataError: fewer descriptors than clusters.
    """
    if len(descriptors) < clusters:
        raise DataError(
            f"{len(descriptors):,} descriptors cannot have {clusters:,} centres. Take more images, or fewer clusters."
        )
    rng = np.random.default_rng(seed)
    centres = descriptors[np.sort(rng.choice(len(descriptors), clusters, replace=False))]
    for _ in range(iterations):
        step = faiss.Kmeans(
            descriptors.shape[1],
            clusters,
            niter=1,
            seed=seed,
            gpu=gpu and faiss.get_num_gpus() > 0,
            min_points_per_centroid=1,
            max_points_per_centroid=len(descriptors),  # all of them, where faiss would take a sample
        )
        step.train(descriptors, init_centroids=centres)
        if progress:
            progress(1)
        before, centres = centres, np.asarray(step.centroids)
        if np.array_equal(before, centres):
            break
    return centres
