"""States of a place index on disk: one follows another in one step, or not at all."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vpr.errors import DataError, IndexDamaged

FORMAT = 1


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
    except (OSError, ValueError) as error:
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
    temporary = folder / ".schema.json.tmp"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump({"format": FORMAT, "files": state.name} | schema, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, folder / "schema.json")
    for path in folder.glob("state-*"):
        if path != state:
            shutil.rmtree(path, ignore_errors=True)  # whoever has it open still reads it


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from writing this index; DataError where one is at it."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DataError(f"Another process is writing the place index in {folder}. Wait for it.") from error
        yield
