"""Digests of image files: the same for a copy, others for other content, none for what cannot be read."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from vpr.data.image_digests import PART, SeenImages, digests_by_image, image_digests, mark_seen, seen_images
from vpr.data.retrieval_set import RetrievalSet
from vpr.types import Protocol


def expected(content: bytes) -> int:
    """Hash size, first 64 KiB and last 64 KiB by hand."""
    text = len(content).to_bytes(8, "little") + content[:PART] + content[PART:][-PART:]
    return int(np.frombuffer(hashlib.blake2b(text, digest_size=8).digest(), "<i8")[0])


@pytest.mark.parametrize("size", [0, 5, PART, PART + 1, 2 * PART, 3 * PART + 7])
def test_a_digest_is_that_of_size_and_both_ends(tmp_path: Path, size: int) -> None:
    content = np.random.default_rng(size).bytes(size)
    (tmp_path / "a.jpg").write_bytes(content)
    digests = image_digests([tmp_path / "a.jpg"])
    assert digests.dtype == np.int64 and digests.tolist() == [expected(content)]


def test_digests_are_sorted_and_each_is_there_once(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.jpg" for number in range(600)]
    for number, path in enumerate(paths):
        path.write_bytes(b"%d" % (number // 2))
    digests = image_digests(paths)
    assert len(digests) == 300 and (np.diff(digests) > 0).all()
    assert set(digests.tolist()) == {expected(b"%d" % number) for number in range(300)}


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"a")
    (tmp_path / "folder.jpg").mkdir()
    paths = [tmp_path / "missing.jpg", tmp_path / "a.jpg", tmp_path / "folder.jpg"]
    assert image_digests(paths).tolist() == [expected(b"a")]
    assert digests_by_image(paths).tolist() == [0, expected(b"a"), 0]
    assert image_digests([]).shape == (0,) and image_digests([]).dtype == np.int64


def retrieval_set(folder: Path, database: str, queries: str) -> RetrievalSet:
    """Make a set whose images hold one letter each."""
    for side, letters in (("db", database), ("q", queries)):
        (folder / side).mkdir()
        for number, letter in enumerate(letters):
            (folder / side / f"{number}.jpg").write_text(letter)
    sides = [
        [folder / side / f"{n}.jpg" for n in range(len(names))] for side, names in (("db", database), ("q", queries))
    ]
    return RetrievalSet(Protocol("x@1f"), *sides, [np.array([0])] * len(queries))


@pytest.mark.parametrize(
    ("training", "seen", "name"),
    [
        ("xyz", (0, 0), "x@1f"),
        ("axyz", (2, 0), "x@1f[map]"),  # a lies twice in the database, and as a query it is the map's
        ("abcxyz", (4, 0), "x@1f[map]"),
        ("dxyz", (0, 1), "x@1f[queries]"),
        ("bdexyz", (1, 2), "x@1f[map][queries]"),
    ],
)
def test_images_of_a_set_that_were_trained_on_are_counted_and_named(
    tmp_path: Path, training: str, seen: tuple[int, int], name: str
) -> None:
    measured = retrieval_set(tmp_path, "aabc", "ade")
    (tmp_path / "train").mkdir()
    for letter in training:
        (tmp_path / "train" / f"{letter}.jpg").write_text(letter)
    counts = seen_images(measured, image_digests(sorted((tmp_path / "train").iterdir())))
    assert counts == SeenImages(*seen) and mark_seen(measured, counts).protocol.id == name


def test_without_training_images_no_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = retrieval_set(tmp_path, "a", "b")
    monkeypatch.setattr("vpr.data.image_digests.digests_by_image", None)
    assert seen_images(measured, np.empty(0, np.int64)) == (0, 0) and mark_seen(measured, SeenImages(0, 0)) is measured


def test_missing_images_are_not_taken_for_seen_ones(tmp_path: Path) -> None:
    measured = retrieval_set(tmp_path, "ab", "c")
    for side in ("db", "q"):
        (tmp_path / side / "0.jpg").unlink()
    assert seen_images(measured, image_digests([tmp_path / "missing.jpg", tmp_path / "db/1.jpg"])) == (1, 0)
