"""A place index that is read while another process changes it, and from another folder than it was made in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from vpr.errors import DataError
from vpr.retrieval.index.place_index import Photos, PlaceIndex


def by_row(paths: Sequence[Path], rows: np.ndarray, out: np.ndarray) -> dict[int, str]:
    out[rows] = np.stack([np.ones(len(rows)), rows], axis=1)
    return {}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index of a.jpg and b.jpg, made from the folder above them."""
    (tmp_path / "photos").mkdir()
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / "photos" / name).write_text(name)
    monkeypatch.chdir(tmp_path)
    PlaceIndex.build("index", Photos.on_disk("photos", ["a.jpg", "b.jpg"]), by_row, 2, "model")
    return tmp_path / "index"


def test_photos_are_found_from_any_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert [path.read_text() for path in PlaceIndex.open(folder).photos.paths] == ["a.jpg", "b.jpg"]


def test_a_reader_takes_the_state_that_replaces_the_one_it_had_begun_to_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, read, begun = PlaceIndex.open(folder), Photos.read, []

    def replaced_meanwhile(path: Path, root: Path, unit: str) -> Photos:
        if not begun:
            begun.append(path)
            writer.add(Photos.on_disk("photos", ["c.jpg"]), by_row)
        return read(path, root, unit)

    monkeypatch.setattr(Photos, "read", replaced_meanwhile)
    assert PlaceIndex.open(folder).photos.files == ["a.jpg", "b.jpg", "c.jpg"]
    assert begun and not begun[0].exists()


def test_a_state_that_is_gone_is_damage(folder: Path) -> None:
    state = json.loads((folder / "schema.json").read_text())["files"]
    (folder / state / "images.csv").unlink()
    with pytest.raises(DataError, match="is damaged"):
        PlaceIndex.open(folder)
