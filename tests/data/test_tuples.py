"""Tuples: which photos a batch has, in which order, and what becomes of those that cannot be read."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from vpr.data.geotagged import GeotaggedImages
from vpr.data.tuples import TupleDraw, TuplesDataset, collate_tuples, join, read
from vpr.errors import ConfigError, DataError


def line(root: Path, files: list[str]) -> GeotaggedImages:
    """Photos a metre apart."""
    n = len(files)
    positions = np.stack([np.arange(n, dtype=float), np.zeros(n)], axis=1)
    return GeotaggedImages("line", root, files, positions, np.full(n, np.nan), np.zeros(n, np.int64))


def test_photos_of_several_sets_are_counted_through():
    first = read(line(Path("a"), ["q0", "q1"]), line(Path("b"), ["g0", "g1", "g2"]), ".+", 0, 1)
    second = read(line(Path("c"), ["q2"]), line(Path("d"), ["g3", "g4"]), ".+", 0, 1)
    found = join([first, second])
    names = ["a/q0", "a/q1", "c/q2", "b/g0", "b/g1", "b/g2", "d/g3", "d/g4"]
    assert [str(found.path(photo)) for photo in range(8)] == names
    assert [str(source.path(i)) for source in found.sources for i in range(len(source.files))] == names
    assert (found.queries, found.database) == (3, 5)
    assert [rows.tolist() for rows in found.positives] == [[0], [1], [3]]
    assert [rows.tolist() for rows in found.near] == [[0, 1], [0, 1, 2], [3, 4]]
    with pytest.raises(IndexError):
        found.path(8)


def test_sets_that_share_a_photo_are_refused(tmp_path: Path):
    """Photo g1 would be a positive of q1, and as one of the other set a negative of q0, beside which it stands."""
    (tmp_path / "again").symlink_to(tmp_path)
    first = read(line(tmp_path, ["q0"]), line(tmp_path, ["g0", "g1"]), ".+", 1, 1)
    second = read(line(tmp_path / "again", ["q1"]), line(tmp_path / "again", ["g1", "g2"]), ".+", 1, 1)
    with pytest.raises(ConfigError, match=r"line and line share 1 images \(first: \S+/g1\)\. .* Choose one"):
        join([first, second])


@pytest.fixture
def dataset(tmp_path: Path) -> TuplesDataset:
    """One query and 5 database images, image i of grey level 20 i; 2 negatives; augmented by one random number."""
    files = [f"{i}.png" for i in range(6)]
    for i, file in enumerate(files):
        cv2.imwrite(str(tmp_path / file), np.full((4, 4, 3), 20 * i, np.uint8))
    weak = read(line(tmp_path, files[:1]), line(tmp_path, files[1:]), ".+", 25, 25)

    def transform(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return image + rng.integers(0, 10, dtype=np.uint8)

    return TuplesDataset(join([weak]), 2, transform, seed=3)


def test_a_tuple_is_query_positive_negatives_and_difficult_positives(dataset: TuplesDataset):
    draws = [TupleDraw(0, (0, 1, 3, 4, 2, -1)), TupleDraw(0, (0, 2, 5, 4, -1, -1))]
    batch = collate_tuples([dataset[draw] for draw in draws])
    assert batch.images.shape == (12, 3, 4, 4) and (batch.size, batch.negatives) == (6, 2)
    # a difficult positive that is lacking is filled in with the positive
    expected = [0, 1, 3, 4, 2, 1, 0, 2, 5, 4, 2, 2]
    assert (batch.images[:, 0, 0, 0] // 20).tolist() == batch.labels.tolist() == expected
    assert batch.numbers is not None and batch.numbers.tolist() == expected
    assert batch.present.tolist() == [[True, False], [False, False]]


def test_augmentation_follows_from_epoch_query_and_place_in_the_tuple(dataset: TuplesDataset):
    first = dataset[TupleDraw(0, (0, 1, 1, 1))].images
    again, later = dataset[TupleDraw(0, (0, 1, 1, 1))].images, dataset[TupleDraw(1, (0, 1, 1, 1))].images
    assert first is not None and again is not None and later is not None
    assert first.equal(again) and not first.equal(later)
    added = first[:, 0, 0, 0] % 20
    assert added.unique().numel() > 1, "the same photo is another view in another place"


def test_a_tuple_that_cannot_be_read_any_more_is_left_out(dataset: TuplesDataset):
    dataset.candidates.path(3).unlink()
    lost, sound = dataset[TupleDraw(0, (0, 1, 3, 4))], dataset[TupleDraw(0, (0, 2, 5, 4))]
    batch = collate_tuples([lost, sound])
    assert batch.labels.tolist() == [0, 2, 5, 4] and len(batch.present) == 1
    assert len(batch.bad) == 1 and "3.png: there is no such file" in batch.bad[0]
    with pytest.raises(DataError, match=r"None of 1 tuples can be read any more .*3\.png"):
        collate_tuples([lost])
