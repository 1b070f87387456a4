"""Image lists and ground truth as .npy, as github.com/amaralibey/gsv-cities ships them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vpr.data.toycity.layouts import msls, pittsburgh
from vpr.data.toycity.layouts.album import Album


def write_msls_val(album: Album, root: Path) -> None:
    """Write `msls_val_{dbImages,qImages,qIdx,pIdx}.npy` and `train_val/{cph,sf}/{database,query}/images/*.jpg`."""
    names: dict[str, list[str]] = {"database": [], "query": []}
    for part in msls.parts(album):
        album.put(part.rows, root, part.names)
        names[part.folder.rpartition("/")[2]] += part.names
    np.save(root / "msls_val_dbImages.npy", names["database"])
    np.save(root / "msls_val_qImages.npy", names["query"])
    np.save(root / "msls_val_qIdx.npy", np.arange(len(names["query"])))
    np.save(root / "msls_val_pIdx.npy", _ragged(album.positives))


def write_pitts30k_lists(album: Album, root: Path) -> None:
    """Write `pitts30k_test_{dbImages,qImages,gt}.npy`, for the images that `pittsburgh.write` puts there."""
    database, queries = pittsburgh.names(album)
    np.save(root / "pitts30k_test_dbImages.npy", database)
    np.save(root / "pitts30k_test_qImages.npy", [f"queries_real/{name}" for name in queries])
    np.save(root / "pitts30k_test_gt.npy", _ragged(album.positives))


def _ragged(rows: Sequence[np.ndarray]) -> np.ndarray:
    array = np.empty(len(rows), object)
    array[:] = rows
    return array
