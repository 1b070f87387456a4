"""States of a place index on disk: each replaces the one before in one step, or not at all.

A new state takes over the descriptors of images that are unchanged; those of new ones are extracted.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np

from vpr.data.npy import map_npy
from vpr.errors import DataError, IndexDamaged, disk_error
from vpr.files import write_text
from vpr.retrieval import extractor as files
from vpr.retrieval.extractor import Extractor, extract, image_loader, image_progress
from vpr.retrieval.index.codecs import SAMPLE, from_plain
from vpr.retrieval.index.photo_table import Photos
from vpr.retrieval.search import unit_rows

log = logging.getLogger(__name__)

FORMAT = 1
BLOCK = 4096  # rows copied at once

ExtractPaths = Callable[[Sequence[Path], np.ndarray, np.ndarray], dict[int, str]]
"""`(paths, rows (n,) int64, out (N, D))`: fill these rows of `out` with the descriptors of these of the N files, and
return a message per unreadable one, by its row."""


def read_schema(folder: Path) -> dict[str, Any]:
    """Return `folder/schema.json`.

    Raises:
        IndexDamaged: it cannot be read, and states of an index are beside it.
        DataError: there is none, or it is something else.
    """
    path = folder / "schema.json"
    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"There is no place index in {folder.absolute()}: it has no schema.json.") from None
    except (OSError, ValueError, RecursionError) as error:
        if any(folder.glob("state-*")):
            raise IndexDamaged(f"{path} cannot be read ({error}). Build the index again.") from error
        raise DataError(
            f"{path} cannot be read ({error}), and is not that of a place index. Give the index a folder of its own."
        ) from error
    if not isinstance(schema, dict) or schema.get("format") != FORMAT:
        raise DataError(f"{path} is not that of a place index of format {FORMAT}. Give the index a folder of its own.")
    return schema


@contextmanager
def next_state(folder: Path) -> Iterator[Path]:
    """Yield a new folder inside `folder`, for the files of the next state; gone again unless `commit` is called."""
    made = Path(tempfile.mkdtemp(prefix="state-", dir=folder))
    made.chmod(folder.stat().st_mode & 0o777)  # mkdtemp's is for the owner alone
    try:
        yield made
    finally:
        if not (folder / "schema.json").is_file() or read_schema(folder).get("files") != made.name:
            shutil.rmtree(made, ignore_errors=True)


def commit(folder: Path, state: Path, schema: dict[str, Any]) -> None:
    """Make `state` the one that counts: schema.json names it, and is replaced in one step. Older states are removed."""
    for path in state.iterdir():
        with open(path, "rb+") as file:
            os.fsync(file.fileno())
    write_text(folder / "schema.json", json.dumps({"format": FORMAT, "files": state.name} | schema, indent=2) + "\n")
    for path in folder.glob("state-*"):
        if path != state:
            shutil.rmtree(path, ignore_errors=True)  # whoever has it open still reads it


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from writing this index.

    Raises:
        DataError: another one is writing it.
        DiskError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / ".lock", "w")  # noqa: SIM115 - closed below
    except OSError as error:
        raise disk_error(error, folder) or error from error
    with lock as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DataError(f"Another process is writing the place index in {folder}. Wait for it.") from error
        yield


class State(NamedTuple):
    """Content of an index: N photos, descriptors (N, D), and the codes of a coded one."""

    photos: Photos
    descriptors: np.ndarray
    codes: faiss.Index | None = None


@dataclass(frozen=True)
class Change:
    """Result of an update.

    Attributes:
        described: files that were new or changed.
        removed: files that are no longer there.
        kept: number of photos that were not described again.
        bad: a message per unreadable file; it is not in the index.
    """

    described: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    kept: int = 0
    bad: dict[str, str] = field(default_factory=dict)


def path_extractor(extractor: Extractor, batch_size: int = 32, num_workers: int = 0, show: bool = True) -> ExtractPaths:
    """Make the function by which an index has its new images described by `extractor`; `show` a bar."""

    def extract_paths(paths: Sequence[Path], rows: np.ndarray, out: np.ndarray) -> dict[int, str]:
        loader = image_loader(paths, extractor.preprocess, batch_size, num_workers, rows=rows)
        with image_progress("describing", len(rows), show) as advance:
            bad = extract(extractor, loader, out, advance)
        zeros = [row for row in rows.tolist() if row not in bad and not out[row].any()]  # no query would find them
        return bad | {row: f"{paths[row]}: the model describes it by zeros alone." for row in zeros}

    return extract_paths


def update(folder: Path, schema: dict[str, Any], old: State, photos: Photos, extract_paths: ExtractPaths) -> Change:
    """Write the state that holds `photos`, if it is another one; of the old state come all that are unchanged."""
    row = photos.rows_in(old.photos)
    kept = np.flatnonzero(row >= 0)
    kept = kept[np.argsort(row[kept])]
    new = photos.take(np.flatnonzero(row < 0))
    described, bad = _described(folder, schema, new, extract_paths)
    good = np.setdiff1d(np.arange(len(new)), list(bad))
    whole = photos.take(kept).followed_by(new.take(good))
    if not len(whole):
        reason = f" (first: {next(iter(bad.values()))})" if bad else ""
        raise DataError(f"The place index in {folder} would hold no photo: {len(bad):,} cannot be read{reason}.")
    if not whole.same_as(old.photos):
        codes = None if old.codes is None else _follow(old.codes, row[kept], described[good])
        write(folder, schema, whole, [(old.descriptors, row[kept]), (described, good)], codes)
    shutil.rmtree(folder / "unfinished", ignore_errors=True)
    return Change(
        [new.files[number] for number in good],
        sorted(set(old.photos.files) - set(photos.files)),
        len(kept),
        {new.files[number]: message for number, message in bad.items()},
    )


def write(
    folder: Path,
    schema: dict[str, Any],
    photos: Photos,
    parts: Sequence[tuple[np.ndarray, np.ndarray]],
    codes: faiss.Index | None,
) -> None:
    """Write and commit a state of these rows of these arrays; where no `codes` are given, the codec learns its own."""
    dim, codec = schema["dim"], from_plain(schema["kind"])
    with next_state(folder) as state:
        descriptors = files.create(state, len(photos), dim, schema["dtype"])
        end = 0
        for array, rows in parts:
            for low in range(0, len(rows), BLOCK):
                chosen = array[rows[low : low + BLOCK]]
                try:
                    check_rows(chosen, photos.files[end : end + len(chosen)])
                except ValueError as error:
                    raise DataError(f"The place index in {folder} is not changed: {error}.") from error
                descriptors[end : end + len(chosen)] = chosen
                end += len(chosen)
        descriptors.flush()
        photos.write(state / "images.csv")
        if codec.coded:
            codes = _learned(codec.train, descriptors) if codes is None else codes
            faiss.write_index(codes, str(state / "codes.faiss"))
        named = {name: schema[name] for name in ("model", "dim", "dtype", "kind")}
        about = {"photos": len(photos), "data": photos.digest, "root": str(photos.root), "unit": photos.unit}
        about["sha256"] = {path.name: _digest(path) for path in sorted(state.iterdir())}
        commit(folder, state, named | about)


def check_rows(descriptors: np.ndarray, files: Sequence[str]) -> None:
    """Raise ValueError where a descriptor (n, D) is NaN, infinite or zero: no query would ever find its photo."""
    values = np.asarray(descriptors, np.float32)
    wrong = np.flatnonzero(~(np.isfinite(values).all(axis=1) & values.any(axis=1)))
    if len(wrong):
        raise ValueError(f"the descriptor of {files[wrong[0]]} is NaN, infinite or zero")


def check_files(state: Path, schema: dict[str, Any], names: Sequence[str]) -> None:
    """Raise ValueError where one of these files is not as it was written; those of older indices have no digest."""
    for name in names:
        written = schema.get("sha256", {}).get(name)
        if written is not None and written != _digest(state / name):
            raise ValueError(f"{name} is not as it was written: the disk or a copy has changed it")


def _digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    total = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while block := file.read(1 << 22):
            total.update(block)
    return total.hexdigest()


def _described(
    folder: Path, schema: dict[str, Any], new: Photos, extract_paths: ExtractPaths
) -> tuple[np.ndarray, dict[int, str]]:
    """Describe new photos into `folder/unfinished`; go on there if the same was begun and interrupted."""
    if not len(new):
        return np.empty((0, schema["dim"]), schema["dtype"]), {}
    work = folder / "unfinished"
    task = {name: schema[name] for name in ("model", "dim", "dtype")} | {"data": new.digest}
    try:
        begun = json.loads((work / "task.json").read_text(encoding="utf-8")) == task
        out = map_npy(work / "descriptors.npy", "r+") if begun else None
    except (OSError, ValueError, RecursionError):
        out = None
    if out is None:
        shutil.rmtree(work, ignore_errors=True)
        out = files.create(work, len(new), schema["dim"], schema["dtype"])
        for low in range(0, len(new), BLOCK):
            out[low : low + BLOCK] = np.nan  # not yet described
        write_text(work / "task.json", json.dumps(task))
    rows = np.flatnonzero(np.isnan(out[:, 0]))
    if len(rows) < len(new):
        log.info("%s of %s photos had been described before an interruption.", len(new) - len(rows), len(new))
    return out, extract_paths(new.paths, rows, out)


def _follow(codes: faiss.Index, kept: np.ndarray, new: np.ndarray) -> faiss.Index:
    """Return a copy of codes with these rows alone, and then new ones."""
    codes = faiss.clone_index(codes)
    gone = np.setdiff1d(np.arange(codes.ntotal), kept)
    if len(gone):
        codes.remove_ids(faiss.IDSelectorBatch(gone))
    _add(codes, new)
    return codes


def _learned(train: Callable[[np.ndarray], faiss.Index], descriptors: np.ndarray) -> faiss.Index:
    """Learn codes from descriptors, of many from a sample, and code all."""
    rows = np.arange(len(descriptors))
    if len(rows) > SAMPLE:
        rows = np.sort(np.random.default_rng(0).choice(rows, SAMPLE, replace=False))
    codes = train(unit_rows(descriptors[rows]))
    _add(codes, descriptors)
    return codes


def _add(codes: faiss.Index, descriptors: np.ndarray) -> None:
    for low in range(0, len(descriptors), BLOCK):
        codes.add(unit_rows(descriptors[low : low + BLOCK]))
