"""Images that are held out: which, and what is compared with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from vpr.data.formats.unlabelled import of_paths
from vpr.data.places import Places
from vpr.errors import DataAbsent, DataError
from vpr.training.students.comparison import LEAST, read, split


def images(folder: str, count: int = 200, first: int = 0) -> Places:
    return of_paths("x", [f"{folder}/{number:04d}.jpg" for number in range(first, first + count)])


def test_the_same_are_held_out_and_none_is_learned_from() -> None:
    found = split(images("/a/photos"), None, 0.1, 500, 50, 0)
    assert (len(found.held_out), len(found.train), len(found.database)) == (20, 180, 50)
    assert not set(found.held_out) & {*found.train, *found.database} and set(found.database) <= set(found.train)
    copy = split(images("/another/disk"), None, 0.1, 500, 50, 0)
    assert [Path(path).name for path in copy.held_out] == [Path(path).name for path in found.held_out]
    assert split(images("/a/photos"), None, 0.1, 500, 50, 1).held_out != found.held_out
    assert len(split(images("/a/photos"), None, 0.1, 7, 50, 0).held_out) == 7


def test_the_map_is_learned_from_and_searched() -> None:
    of_map = images("/a/photos", 150, first=100)  # 100 of its images are among the others
    found = split(images("/a/photos"), of_map, 0.1, 500, 2000, 0)
    unseen = set(found.held_out)
    assert len(found.train) == 250 - len(unseen) and not unseen & {*found.train, *found.database}
    assert all(int(Path(path).stem) >= 100 for path in found.database) and len(found.database) > 120


def test_too_few_images() -> None:
    with pytest.raises(DataError, match="images: 99 are too few. .* it takes 100 or more"):
        split(images("/a", LEAST - 1), None, 0.1, 500, 2000, 0)


def test_a_name_that_no_list_can_hold() -> None:
    names = [f"/a/{number}.jpg" for number in range(LEAST)]
    for name in ("/a/x\ny.jpg", "/a/\udcff.jpg"):
        with pytest.raises(DataError, match="Rename the file"):
            split(of_paths("x", [*names, name]), None, 0.1, 500, 2000, 0)


def test_folders_without_images(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataAbsent, match="nowhere"):
        read(str(tmp_path / "nowhere"), tmp_path, 1)
    with pytest.raises(DataError, match="empty"):
        read(str(tmp_path / "empty"), tmp_path, 1)
