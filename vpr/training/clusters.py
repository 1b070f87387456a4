"""Local descriptors of training photos, and their centres: what `cluster.py` does.

As NetVLAD was published (Arandjelovic et al., CVPR 2016, appendix A): cells of the feature map, L2-normalised, some of
each of some photos.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
import torch.nn.functional as F
from omegaconf import DictConfig

from vpr.catalog.photos import training_photos
from vpr.cli.cluster_command import cluster_names, training_sets
from vpr.cli.compose import plain
from vpr.data.loading import loader_workers
from vpr.errors import ConfigError, DataError
from vpr.models.cluster_file import ClusterFile, cluster_path, read_clusters, write_clusters
from vpr.models.describer import Describer
from vpr.retrieval.extractor import image_loader, image_progress, pick_device, progress
from vpr.training.build import describer_of
from vpr.training.centroids import clusters_folder, features_digest

log = logging.getLogger(__name__)

# FOLDED vpr/training/clusters.py: k-means centres of descriptors.


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


WORST = 0.01  # share of photos that may be unreadable


def make_clusters(cfg: DictConfig) -> Path:
    """Make the cluster file of a backbone and a dataset, unless it is there already, and return its path.

    Raises:
        CheckpointError: a file of this name is there and damaged.
        ConfigError: one is there that was made with other settings, and `overwrite` is false.
        DataError: photos cannot be read, or there are too few of them.
    """
    device = pick_device(cfg.device)
    path = cluster_path(clusters_folder(cfg.paths.runs), *cluster_names(cfg), cfg.clusters)
    photos = training_photos(training_sets(cfg), cfg, "dataset")
    torch.manual_seed(cfg.seed)  # of random weights, where there are no others
    parts = {"backbone": plain(cfg.backbone), "agg": {"_target_": "vpr.models.aggregators.avg.Avg"}}
    parts["image"] = plain(cfg.image)
    describer = describer_of(parts, cfg.dataset).to(device).eval()
    settings = _settings(cfg, len(photos), describer, parts["backbone"])
    if path.is_file() and not cfg.overwrite:
        _check_same(path, settings)
        return path
    descriptors = local_descriptors(cfg, describer, photos, device)
    with progress("k-means", cfg.iterations) as advance:
        centroids = kmeans(descriptors, cfg.clusters, cfg.iterations, cfg.seed, device.type == "cuda", advance)
    write_clusters(path, ClusterFile(descriptors, centroids, settings))
    log.info("%d centres of %s descriptors are in %s", len(centroids), f"{len(descriptors):,}", path)
    return path


def local_descriptors(
    cfg: DictConfig, describer: Describer, photos: Sequence[Path], device: torch.device
) -> np.ndarray:
    """Return (n, C) float32: `descriptors_per_image` random cells of each of `images` random photos, of unit norm.

    Which ones follows from the seed alone. Where a map has fewer cells all of them are taken.
    """
    chosen = np.random.default_rng(cfg.seed).permutation(len(photos))[: cfg.images]
    paths = [photos[row] for row in chosen.tolist()]
    loader = image_loader(paths, describer.preprocess, cfg.batch_size, loader_workers(cfg.num_workers))
    parts: list[np.ndarray] = []
    bad: list[str] = []
    with torch.inference_mode(), image_progress("local descriptors", len(paths)) as advance:
        for images, indices, errors in loader:
            cells = describer.features(describer.normalise(images.to(device))).map.flatten(2).float()
            cells = F.normalize(cells, dim=1).transpose(1, 2).cpu()
            for row, own, error in zip(indices.tolist(), cells.numpy(), errors, strict=True):
                order = np.random.default_rng((cfg.seed, row)).permutation(len(own))
                parts += [] if error else [own[order[: cfg.descriptors_per_image]]]
            bad += [error for error in errors if error]
            if advance:
                advance(len(errors))
    if len(bad) > max(1, WORST * len(paths)) or not parts:
        raise DataError(
            f"{len(bad):,} of {len(paths):,} photos cannot be read (first: {bad[0]}). Extract the archive again."
        )
    if bad:
        log.warning("%d of %d photos cannot be read and are left out (first: %s)", len(bad), len(paths), bad[0])
    return np.concatenate(parts)


def _settings(cfg: DictConfig, photos: int, describer: Describer, backbone: dict[str, Any]) -> dict[str, Any]:
    """Return what decides a cluster file, as it stands in one; `backbone` is only told."""
    own = {key: cfg[key] for key in ("seed", "clusters", "images", "descriptors_per_image", "iterations")}
    made = {"dataset": cluster_names(cfg)[1], "photos": photos, "features": features_digest(describer)}
    image = {"size": describer.preprocess.size, "interpolation": describer.preprocess.interpolation}
    return json.loads(json.dumps({**own, **made, **image, "backbone": backbone}))


def _check_same(path: Path, settings: dict[str, Any]) -> None:
    """Make sure that the file that is there is the one that would be made, or one of another project; say so."""
    theirs = read_clusters(path).settings
    differ = [key for key in settings if key != "backbone" and theirs.get(key) != settings[key]]
    if theirs and differ:
        said = [f"{key}={_short(theirs.get(key))}, now {_short(settings[key])}" for key in differ]
        raise ConfigError(
            f"{path} was made with other settings ({'; '.join(said)}). Type overwrite=true to replace it, another "
            "paths.runs to keep both, or the settings that it was made with."
        )
    log.info("%s is there already%s; overwrite=true makes it again.", path, "" if theirs else ", from elsewhere")


def _short(value: object) -> str:
    return f"{value:.12}" if isinstance(value, str) else str(value)
