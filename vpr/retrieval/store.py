"""Descriptors on disk: one mapped file that is filled by index, and a small JSON that says what lies in it."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from vpr.errors import DataError
from vpr.retrieval import ranks

DTYPES = ("float16", "float32")


@contextmanager
def working_folder(given: Path | None = None) -> Iterator[Path]:
    """Give all ranks one folder: the given one, or else one of ours, which rank 0 removes when all are done with it."""
    if given is not None:
        yield Path(given)
        return
    temporary = tempfile.TemporaryDirectory(prefix="vpr-") if ranks.rank() == 0 else None
    try:
        yield Path(ranks.broadcast(temporary.name if temporary else ""))
    finally:
        if temporary:
            temporary.cleanup()


def create(folder: Path, rows: int, dim: int, dtype: str = "float16") -> np.memmap:
    """Make `folder/descriptors.npy` of (rows, dim) and map it for writing; what was there before is replaced.

    DataError where the disk is too small.
    """
    folder.mkdir(parents=True, exist_ok=True)
    needed, free = rows * dim * np.dtype(dtype).itemsize, shutil.disk_usage(folder).free
    if needed > free:  # a mapped file that outgrows its disk would end the process without a word
        raise DataError(
            f"The descriptors of {rows:,} images need {needed / 1e9:,.1f} GB; {folder} has {free / 1e9:,.1f} GB free. "
            "Free some, or set TMPDIR to a folder on a larger disk."
        )
    (folder / "schema.json").unlink(missing_ok=True)  # it appears again when the rows are all written
    return np.lib.format.open_memmap(folder / "descriptors.npy", "w+", np.dtype(dtype), (rows, dim))


def attach(folder: Path) -> np.memmap:
    """Map the file that another rank has made, for writing."""
    try:
        return np.lib.format.open_memmap(folder / "descriptors.npy", "r+")
    except OSError as error:
        raise DataError(
            f"{folder / 'descriptors.npy'} cannot be opened by this rank ({error}). "
            "With several machines set TMPDIR, or the working folder, to a disk that all of them share."
        ) from error


def seal(folder: Path, descriptors: np.ndarray, database: int, queries: int, model: str = "") -> None:
    """Write `schema.json`: the first `database` rows are the database's, the next `queries` rows the queries'."""
    schema = {"dim": descriptors.shape[1], "dtype": str(descriptors.dtype), "database": database, "queries": queries}
    text = json.dumps(schema | {"model": model}, indent=2)
    (folder / "schema.json").write_text(text + "\n", encoding="utf-8")


def compact(descriptors: np.ndarray, rows: np.ndarray, chunk: int = 4096) -> None:
    """Move `rows` (ascending) to the front, in place and a chunk at a time."""
    for start in range(0, len(rows), chunk):
        part = rows[start : start + chunk]
        descriptors[start : start + len(part)] = descriptors[part]
