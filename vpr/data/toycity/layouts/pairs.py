"""VPR-Bench: numbered images and ground_truth_new.npy (Zaffar et al., IJCV 2021)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vpr.data.toycity.layouts.album import Album, numbered


def write(album: Album, root: Path) -> None:
    """Write `ref/0000000.jpg` ..., `query/0000000.jpg` ... and rows of [query, [database images]]."""
    album.put(album.database, root / "ref", numbered(album.database, "{:07d}.jpg"))
    album.put(album.queries, root / "query", numbered(album.queries, "{:07d}.jpg"))
    truth = np.empty((len(album.queries), 2), object)
    for query, rows in enumerate(album.positives):
        truth[query] = query, rows.tolist()
    np.save(root / "ground_truth_new.npy", truth)
