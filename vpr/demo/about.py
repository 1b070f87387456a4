"""What a run of the demo says about itself: on the screen, on its page and in matches.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import faiss
import numpy as np

from vpr.checkpoint import versions
from vpr.retrieval.index import Change, PlaceIndex


def sentence(index: PlaceIndex, change: Change) -> str:
    """Say what became of the index."""
    removed = f", removed {len(change.removed):,}" if change.removed else ""
    said = f"{len(index):,} photos in the index {index.folder}: {_counts(change)}{removed}."
    placed = int(np.isfinite(index.photos.positions).all(axis=1).sum())
    if not placed:
        said += " None has a position, so there is no map and no estimate."
    elif placed < len(index):
        said += f" {placed:,} of them have a position."
    if change.bad:
        first = next(iter(change.bad.values())).rstrip(".")
        said += f" Photos that cannot be read and are left out: {len(change.bad):,} (first: {first})."
    return said


def facts(index: PlaceIndex, change: Change, model: str, when: str) -> dict[str, str]:
    """Return what stands on top of the page; `model` is its name."""
    return {
        "model": f"{model} ({index.model[:12]})",
        "database": f"{len(index):,} photos in {index.photos.root}",
        "index": f"{index.kind.id}, {_counts(change)}",
        "made": when,
    }


def plain(
    index: PlaceIndex,
    change: Change,
    settings: Mapping[str, Any],
    when: str,
    calibration: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what matches.json says beside the answers."""
    return {
        "model": {"ckpt": index.schema.get("ckpt"), "digest": index.model, "dim": index.dim},
        "index": {"folder": str(index.folder), "kind": index.kind.id, "photos": len(index)},
        "database": {
            "folder": str(index.photos.root),
            "described": len(change.described),
            "kept": change.kept,
            "removed": change.removed,
            "unreadable": change.bad,
        },
        "calibration": None if calibration is None else dict(calibration),
        "settings": dict(settings),
        "made": when,
        "versions": versions() | {"faiss": faiss.__version__, "numpy": np.__version__},
    }


def _counts(change: Change) -> str:
    return f"described {len(change.described):,}, kept {change.kept:,}"
