"""The list of the importers: finds the one that a file is for, by its tensors, and has it convert the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vpr.checkpoint import is_ours
from vpr.errors import CheckpointError
from vpr.interop import boq, cosplace, deep_vg, megaloc, mixvpr, openibl, openvprlab, pytorch_netvlad, salad
from vpr.interop.published import as_published, read_foreign

IMPORTERS = (megaloc, salad, boq, mixvpr, openvprlab, openibl, pytorch_netvlad, cosplace, deep_vg)
KNOWN = "; ".join(importer.LAYOUT for importer in IMPORTERS)


def convert(path: str | Path) -> dict[str, Any]:
    """Return the content of a checkpoint of ours (see `vpr.checkpoint.write`) made from a published file.

    Raises:
        CheckpointError: the file cannot be read, is ours already, or is none of those that are known.
    """
    return convert_content(read_foreign(path), path)


def convert_content(content: Any, path: str | Path) -> dict[str, Any]:
    """Return the same of what `read_foreign` has read; errors as of `convert`."""
    if is_ours(content):
        raise CheckpointError(f"{path} is a checkpoint of this project already; use it as it is.")
    file = as_published(content, path, KNOWN)
    importer = next((known for known in IMPORTERS if known.recognises(file.state)), None)
    if importer is None:
        seen = ", ".join(f"{key} {tuple(value.shape)}" for key, value in list(file.state.items())[:3])
        raise file.unknown(f"{len(file.state)} tensors (first: {seen})")
    return importer.convert_file(file)
