"""Principal components on disk, in the layout in which OpenIBL and WAKD keep theirs beside a checkpoint.

HDF5 with `U` (D, k), `lams` (k,), `mu` (D, 1) and `Utmu` (k, 1) = U^T mu, float32. Files of ours say in attributes to
whose descriptors they were fitted; what files of others may have there is not read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from vpr.errors import CheckpointError
from vpr.retrieval.components import Components

ORIGIN = {"model": str, "dataset": str, "photos": str, "samples": int, "seed": int, "components": int}
LAYOUT = "U (D, k), lams (k,), mu (D, 1)"


def pca_path(checkpoint: str | Path) -> Path:
    """Return where the components of a checkpoint lie: beside it, by its name up to the first dot."""
    path = Path(checkpoint)
    return path.with_name(f"pca_params_{path.name.partition('.')[0]}.h5")


def write_components(path: Path, components: Components, attributes: Mapping[str, str | int]) -> None:
    """Write components, completely or not at all.

    Raises:
        CheckpointError: the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    mean, directions, variances = (part.numpy() for part in components)
    try:
        with h5py.File(temporary, "w") as file:
            file["U"], file["lams"], file["mu"] = directions, variances, mean[:, None]
            file["Utmu"] = directions.T @ mean[:, None]
            file.attrs.update(attributes)
        os.replace(temporary, path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def read_attributes(path: Path) -> dict[str, Any]:
    """Return what a file of ours says of its origin, `ORIGIN`; empty where others made it. CheckpointError as
    `read_components`."""
    with _opened(path) as file:
        try:
            found = {name: file.attrs[name] for name in ORIGIN}
            if all(isinstance(value, str | np.generic) for value in found.values()):
                return {name: kind(found[name]) for name, kind in ORIGIN.items()}
        except (OSError, ValueError, TypeError, RuntimeError, KeyError):  # h5py has no error class of its own
            pass
    return {}


def read_components(path: Path) -> Components:
    """Return the components of a file, of whoever made it. `Utmu` is not read: it follows from the rest.

    Raises:
        CheckpointError: the file is missing or damaged, or holds something else.
    """
    with _opened(path) as file:
        absent = [name for name in ("U", "lams", "mu") if not isinstance(file.get(name), h5py.Dataset)]
        if absent:
            found = ", ".join(file) or "nothing"
            raise CheckpointError(f"{path} lacks {', '.join(absent)}: it holds {found}, and should hold {LAYOUT}.")
        shapes = {name: file[name].shape for name in ("U", "lams", "mu")}
        try:
            directions, variances, mean = (np.asarray(file[name], np.float32) for name in shapes)
        except (OSError, ValueError, TypeError, RuntimeError, KeyError) as error:
            raise CheckpointError(f"{path} is damaged: {error}. Delete it, or copy it again.") from error
    if directions.ndim != 2 or (variances.size, mean.size) != directions.shape[::-1]:
        raise CheckpointError(f"{path} does not hold {LAYOUT}: the shapes are {shapes}.")
    if not all(np.isfinite(part).all() for part in (directions, variances, mean)):
        raise CheckpointError(f"{path} holds numbers that are NaN or infinite. Delete it, or copy it again.")
    if (np.diff(variances.ravel()) > 0).any():
        raise CheckpointError(f"{path} is no such file: its variances (lams) do not fall.")
    return Components(*(torch.from_numpy(part) for part in (mean.ravel(), directions, variances.ravel())))


def _opened(path: Path) -> h5py.File:
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file (looked in {path.absolute().parent}).")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise CheckpointError(f"{path} is damaged or no HDF5 file ({error}). Delete it, or copy it again.") from error
