"""Cluster files: local descriptors and their k-means centres, from which NetVLAD starts.

The layout is the published one (`<backbone>_<dataset>_<K>_desc_cen.hdf5` of pytorch-NetVlad, OpenIBL and WAKD): their
files are read, and they read ours.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from vpr.errors import CheckpointError
from vpr.files import atomic_write

SETTINGS = "settings"


@dataclass(frozen=True, eq=False)
class ClusterFile:
    """Local descriptors and the centres of their clusters.

    Attributes:
        descriptors: (n, C) float32, local descriptors of unit norm.
        centroids: (K, C) float32, as k-means leaves them.
        settings: of `cluster.py`, which made them; empty in files from elsewhere.
    """

    descriptors: np.ndarray
    centroids: np.ndarray
    settings: Mapping[str, Any] = field(default_factory=dict)


def cluster_path(folder: str | Path, backbone: str, dataset: str, clusters: int) -> Path:
    """Return `<folder>/<backbone>_<dataset>_<K>_desc_cen.hdf5`."""
    return Path(folder) / f"{backbone}_{dataset}_{clusters}_desc_cen.hdf5"


def read_clusters(path: str | Path) -> ClusterFile:
    """Read a cluster file, of `cluster.py` or of another project.

    Raises:
        CheckpointError: it is missing, damaged, or no such file.
    """
    source = Path(path).expanduser()
    if not os.path.isfile(source):
        raise CheckpointError(
            f"{source}: there is no such cluster file. `python cluster.py --help` says how to make one."
        )
    try:
        with h5py.File(source, "r") as file:
            arrays = {name: np.asarray(file[name][()]) for name in ("descriptors", "centroids") if name in file}
            entries = ", ".join(file) or "nothing"
            settings = _settings(file)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:  # h5py has no error class of its own
        raise CheckpointError(
            f"{source} is damaged or no cluster file: {str(error).splitlines()[0] if str(error) else error!r}. "
            "Make it again with cluster.py, or copy it again."
        ) from error
    if len(arrays) < 2:
        raise CheckpointError(
            f"{source} is no cluster file: it holds {entries}, and must hold descriptors and centroids."
        )
    _check(source, arrays["descriptors"], arrays["centroids"])
    return ClusterFile(arrays["descriptors"].astype(np.float32), arrays["centroids"].astype(np.float32), settings)


def write_clusters(path: str | Path, clusters: ClusterFile) -> None:
    """Write a cluster file, completely or not at all.

    Raises:
        DiskError: the folder cannot be written, or the disk is full.
    """
    with atomic_write(path) as temporary, h5py.File(temporary, "w") as file:
        for name in ("descriptors", "centroids"):
            values = getattr(clusters, name).astype(np.float32)
            file.create_dataset(name, data=values, fletcher32=True)  # a checksum
        file.attrs[SETTINGS] = json.dumps(clusters.settings, sort_keys=True)


def _settings(file: h5py.File) -> dict[str, Any]:
    """Return the settings in a file of `cluster.py`; an attribute of this name in files of others is left alone."""
    try:
        settings = json.loads(file.attrs.get(SETTINGS, "{}"))
    except (OSError, ValueError, TypeError, RuntimeError):
        return {}
    return settings if isinstance(settings, dict) else {}


def _check(source: Path, descriptors: np.ndarray, centroids: np.ndarray) -> None:
    if descriptors.ndim != 2 or centroids.ndim != 2 or descriptors.shape[1] != centroids.shape[1]:
        raise CheckpointError(
            f"{source} is no cluster file: its descriptors have the shape {descriptors.shape} and its centroids "
            f"{centroids.shape}; both must be rows of one length."
        )
    for name, values in (("descriptors", descriptors), ("centroids", centroids)):
        if not len(values) or values.dtype.kind != "f" or not (np.abs(values) <= np.finfo(np.float32).max).all():
            raise CheckpointError(
                f"{source} is damaged: its {name} are not all finite numbers, or none. Make it again with cluster.py."
            )
