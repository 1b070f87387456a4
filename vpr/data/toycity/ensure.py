"""Draw a city once: into a folder beside its place, renamed when complete, under a lock."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock

from vpr.data.toycity.specs import Spec
from vpr.errors import DataAbsent, DataError

SPEC_FILE = "city.json"


def ensure_city(root: str | Path, spec: Spec, workers: int | None = None, draw: bool = True) -> Path:
    """Return `<root>/<spec.part>`, drawn first if it is absent.

    Several processes may call this at once: one draws, the others wait. An unfinished drawing is never taken for one.
    DataError if the folder holds something else, or a city of another spec; DataAbsent if it is absent and `draw` is
    false.
    """
    folder = Path(root).expanduser().absolute() / spec.part
    if _is_drawn(folder, spec):
        return folder
    if not draw:
        raise DataAbsent(f"There is no folder {folder}. It must hold the drawn city; draw=true draws it.")
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
            f"{folder} has no {SPEC_FILE}: toycity did not draw it. Set its dataset's root to another folder."
        )
    try:
        found = dict(json.loads(file.read_text()))
    except (ValueError, TypeError) as error:
        raise DataError(f"{file} is damaged ({error}). Delete {folder}; it will be drawn again.") from error
    other = [
        f"{key} {found.get(key)} instead of {value}" for key, value in asdict(spec).items() if found.get(key) != value
    ]
    if other:
        raise DataError(f"{folder} was drawn with {', '.join(other)}. Delete it to draw it again, or set another root.")
    count = sum(1 for _ in folder.rglob("*.jpg"))
    if count != spec.images:
        raise DataError(f"{folder} holds {count} photos, not {spec.images}. Delete it; it will be drawn again.")
    return True
