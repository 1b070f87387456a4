"""The photos of a training set by number."""

from __future__ import annotations

from pathlib import Path

from vpr.data.formats.place_lists import read_folder
from vpr.data.image_paths import ImagePaths


def test_photos_are_paths_by_number(photos: Path):
    first = read_folder(photos / "train")
    twice = ImagePaths([first, first])
    assert len(twice) == 96 and twice[48 + 5] == twice[5] == first.path(5)
    assert twice[46:50] == [first.path(46), first.path(47), first.path(0), first.path(1)]
    assert twice.digest() != ImagePaths([first]).digest()
    assert twice.digest() == ImagePaths([read_folder(photos / "train"), read_folder(photos / "train")]).digest()
