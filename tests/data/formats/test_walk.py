"""All images below a folder: what counts, links, and folders that cannot be read."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from vpr.data.formats.folders import natural, require_sides, walk_images
from vpr.errors import DataAbsent, DataError


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_images_of_all_suffixes_and_depths(tmp_path: Path) -> None:
    wanted = ["a.JPG", "b.jpeg", "sub/c d.Png", "sub/deep/ü.webp", "sub/e.tif"]
    for name in [*wanted, "notes.txt", ".hidden.jpg", "._a.JPG", ".trash/x.jpg", "sub/.DS_Store", "jpg"]:
        touch(tmp_path / name)
    assert sorted(walk_images(tmp_path)) == sorted(wanted)


def test_photos_that_are_not_read_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("1.NEF", "sub/2.nef", "sub/3.dng"):
        touch(tmp_path / name)
    said = rf"3 photos in {tmp_path} are \.dng, \.nef \(first: 1\.NEF\), which is not read\. Convert them to \.jpg\."
    with pytest.raises(DataError, match=said + "$"):
        walk_images(tmp_path)
    touch(tmp_path / "4.jpg")
    assert walk_images(tmp_path) == ["4.jpg"]
    assert re.search(said + r" They are left out\.", caplog.text)


def test_links_are_followed_but_never_in_circles(tmp_path: Path) -> None:
    touch(tmp_path / "photos/a/1.jpg")
    touch(tmp_path / "elsewhere/2.jpg")
    (tmp_path / "photos/a/up").symlink_to(tmp_path / "photos")
    (tmp_path / "photos/there").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos/one.jpg").symlink_to(tmp_path / "elsewhere/2.jpg")
    (tmp_path / "photos/nowhere").symlink_to(tmp_path / "gone")
    assert sorted(walk_images(tmp_path / "photos")) == ["a/1.jpg", "one.jpg", "there/2.jpg"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read_as_a_user(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0)
    with pytest.raises(DataError, match="locked cannot be read: Permission denied"):
        walk_images(tmp_path)


def test_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=f"{tmp_path} cannot be read: Permission denied.*permissions"):
        walk_images(tmp_path)


def test_a_folder_that_may_not_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "is_dir", refuse)
    with pytest.raises(DataError, match=f"{tmp_path} cannot be read: Permission denied"):
        require_sides(tmp_path, "database", "queries", "two things")


def test_natural_order() -> None:
    names = ["10.jpg", "2.jpg", "a10b.jpg", "a9b.jpg", "a.jpg", "1/20.jpg", "1/3.jpg", "²3.jpg"]
    assert sorted(names, key=natural) == [
        "1/3.jpg",
        "1/20.jpg",
        "2.jpg",
        "10.jpg",
        "a9b.jpg",
        "a10b.jpg",
        "a.jpg",
        "²3.jpg",
    ]


def test_nothing_there_is_absent_and_half_of_it_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataAbsent, match="There is no folder .*set. It must hold two things. By me."):
        require_sides(tmp_path / "set", "database", "queries", "two things", "By me.")
    (tmp_path / "set").mkdir()
    with pytest.raises(DataAbsent, match="There is no folder .*set/database. It must hold two things"):
        require_sides(tmp_path / "set", "database", "queries", "two things")
    (tmp_path / "set/database").mkdir()
    with pytest.raises(DataError, match="There is no folder .*set/queries.*must hold two things") as caught:
        require_sides(tmp_path / "set", "database", "queries", "two things")
    assert not isinstance(caught.value, DataAbsent)
    (tmp_path / "set/queries").mkdir()
    assert require_sides(tmp_path / "set", "database", "queries", "two things") == tmp_path / "set"
