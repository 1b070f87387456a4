"""The cluster file of `cluster.py`: local descriptors of training images, and their k-means centres, for NetVLAD.

As published (Arandjelovic et al., CVPR 2016, appendix A): L2-normalised cells of the feature map, some of each of some
images.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch.utils.data import DataLoader

from vpr.catalog.resolve import training_images
from vpr.cli.cluster_command import cluster_names, training_sets
from vpr.cli.compose import plain
from vpr.cli.datasets import random_weights_ok
from vpr.data.loading import loader_workers
from vpr.errors import ConfigError, DataError
from vpr.models.cluster_file import ClusterFile, cluster_path, read_clusters, write_clusters
from vpr.models.describer import Describer
from vpr.retrieval.extractor import image_loader, image_progress, pick_device, progress
from vpr.training.build import clusters_folder, features_digest, make_describer

log = logging.getLogger(__name__)

WORST = 0.01  # share of images that may be unreadable


def make_clusters(cfg: DictConfig) -> Path:
    """Make the cluster file of a backbone and a data set, unless it is there already, and return its path.

    Args:
        cfg: a checked configuration of `cluster.py`.

    Raises:
        CheckpointError: a file of this name is there and damaged.
        ConfigError: one is there that was made with other settings, and `overwrite` is false.
        DataError: images cannot be read, or there are too few of them.
    """
    device = pick_device(cfg.device)
    backbone, dataset = cluster_names(cfg)
    path = cluster_path(clusters_folder(cfg.paths.runs), backbone, dataset, cfg.clusters)
    images = training_images(training_sets(cfg), cfg, "dataset")
    torch.manual_seed(cfg.seed)  # of random weights, where there are no others
    nodes = {"backbone": plain(cfg.backbone), "image": plain(cfg.image)}
    nodes["agg"] = {"_target_": "vpr.models.aggregators.avg.Avg"}
    describer, parts = make_describer(nodes, random_weights_ok=random_weights_ok(cfg.dataset))
    describer = describer.to(device).eval()
    settings = _plain_json(
        {key: cfg[key] for key in ("seed", "clusters", "images", "descriptors_per_image", "iterations")}
        | {"dataset": dataset, "photos": len(images), "features": features_digest(describer)}
        | {"size": describer.preprocess.size, "interpolation": describer.preprocess.interpolation}
        | {"backbone": parts["backbone"]}
    )
    if path.is_file() and not cfg.overwrite:
        _check_same(path, settings)
        return path
    chosen = np.random.default_rng(cfg.seed).permutation(len(images))[: cfg.images]
    paths = [images[row] for row in chosen.tolist()]
    loader = image_loader(paths, describer.preprocess, cfg.batch_size, loader_workers(cfg.num_workers))
    with image_progress("local descriptors", len(paths)) as advance:
        descriptors = local_descriptors(describer, loader, device, cfg.descriptors_per_image, cfg.seed, advance)
    with progress("k-means", cfg.iterations) as advance:
        centroids = kmeans(descriptors, cfg.clusters, cfg.iterations, cfg.seed, device.type == "cuda", advance)
    write_clusters(path, ClusterFile(descriptors, centroids, settings))
    log.info("%d centres of %s descriptors are in %s", len(centroids), f"{len(descriptors):,}", path)
    return path


def local_descriptors(
    describer: Describer,
    loader: DataLoader,
    device: torch.device,
    count: int,
    seed: int,
    progress: Callable[[int], object] | None = None,
) -> np.ndarray:
    """Return (n, C) float32 of unit norm: `count` random cells of each feature map, all of a map that has fewer.

    The choice follows from the seed and the row of the image alone. `progress` is called with each number of images.

    Raises:
        DataError: more than 1 % of the images cannot be read.
    """
    parts: list[np.ndarray] = []
    bad: list[str] = []
    total = 0
    with torch.inference_mode():
        for images, indices, errors in loader:
            cells = describer.features(describer.normalise(images.to(device))).map.flatten(2).float()
            cells = F.normalize(cells, dim=1).transpose(1, 2).cpu()
            for row, descriptors, error in zip(indices.tolist(), cells.numpy(), errors, strict=True):
                order = np.random.default_rng((seed, row)).permutation(len(descriptors))
                parts += [] if error else [descriptors[order[:count]]]
            bad += [error for error in errors if error]
            total += len(errors)
            if progress:
                progress(len(errors))
    if len(bad) > max(1, WORST * total) or not parts:
        raise DataError(
            f"{len(bad):,} of {total:,} images cannot be read (first: {bad[0]}). Extract the archive again."
        )
    if bad:
        log.warning("%d of %d images cannot be read and are left out (first: %s)", len(bad), total, bad[0])
    return np.concatenate(parts)


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


def _plain_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as they come back from a cluster file: lists for tuples."""
    return json.loads(json.dumps(settings))


def _check_same(path: Path, settings: dict[str, Any]) -> None:
    """Make sure that the file that is there is the one that would be made, or one of another project; say so."""
    stored = read_clusters(path).settings
    differ = [key for key in settings if key != "backbone" and stored.get(key) != settings[key]]
    if stored and differ:
        changes = [f"{key}={_short(stored.get(key))}, now {_short(settings[key])}" for key in differ]
        raise ConfigError(
            f"{path} was made with other settings ({'; '.join(changes)}). Type overwrite=true to replace it, another "
            "paths.runs to keep both, or the settings that it was made with."
        )
    log.info("%s is there already%s; overwrite=true makes it again.", path, "" if stored else ", from elsewhere")


def _short(value: object) -> str:
    return f"{value:.12}" if isinstance(value, str) else str(value)
