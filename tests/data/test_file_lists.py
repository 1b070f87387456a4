"""Long lists of files behave as the lists they stand for."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from vpr.data.file_lists import FileNames, FilePaths

NAMES = ["a.jpg", "Straße/ü ber 7.JPG", os.fsdecode(b"\xff.png"), "x" * 200]


def test_names_come_back_as_they_were() -> None:
    names = FileNames(NAMES)
    assert list(names) == NAMES and len(names) == 4 and names[-1] == NAMES[-1]
    assert names[1:3] == NAMES[1:3]
    assert list(pickle.loads(pickle.dumps(names))) == NAMES  # loader processes
    with pytest.raises(IndexError):
        names[4]
    assert len(FileNames([])) == 0


def test_paths_lie_below_the_root() -> None:
    paths = FilePaths(Path("root"), FileNames(NAMES))
    assert list(paths) == [Path("root") / name for name in NAMES]
    assert paths[::2] == [Path("root/a.jpg"), Path("root") / NAMES[2]] and len(paths) == 4
