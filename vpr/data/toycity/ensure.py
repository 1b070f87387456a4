"""Draw a city once: into a folder beside its place, renamed when complete, under a lock."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock

from vpr.data.toycity.plan import Spec
from vpr.errors import DataError

SPEC_FILE = "city.json"


def ensure_city(root: str | Path, spec: Spec, workers: int | None = None) -> Path:
    """Return `<root>/<spec.part>`, drawn first if it is absent.

    Several processes may call this at once: one draws, the others wait. An interrupted drawing is never taken for a city.
    DataError if the folder holds something else, or a city of another spec.
    """
    folder = Path(root).expanduser().absolute() / spec.part
    if _is_drawn(folder, spec):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{spec.part}.lock")):
        if _is_drawn(folder, spec):
            return folder
        from vpr.data.toycity.write import draw_city  # a city that is there needs no drawing tools

        unfinished = folder.with_name(f"{spec.part}.part")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        draw_city(unfinished, spec, workers)
        (unfinished / SPEC_FILE).write_text(json.dumps(asdict(spec), indent=1) + "\n")
        unfinished.rename(folder)
    return folder


def _is_drawn(folder: Path, spec: Spec) -> bool:
    if not folder.exists():
        return False
    file = folder / SPEC_FILE
    if not file.is_file():
        raise DataError(
            f"{folder} exists but holds no {SPEC_FILE}: it was not drawn by toycity. Give dataset.*.root another folder."
        )
    try:
        found = json.loads(file.read_text())
    except json.JSONDecodeError as error:
        raise DataError(f"{file} is damaged ({error}). Delete {folder}; it will be drawn again.") from error
    wanted = asdict(spec)
    if found != wanted:
        other = [f"{k} {found.get(k) if isinstance(found, dict) else '?'} instead of {v}" for k, v in wanted.items()]
        differing = [
            o
            for o, (k, v) in zip(other, wanted.items(), strict=True)
            if not isinstance(found, dict) or found.get(k) != v
        ]
        raise DataError(
            f"{folder} holds a city with {', '.join(differing)}. Delete it to have it drawn again, or choose another root."
        )
    count = sum(1 for _ in folder.rglob("*.jpg"))
    if count != spec.images:
        raise DataError(f"{folder} holds {count} photos, not {spec.images}. Delete it; it will be drawn again.")
    return True
