"""Retrieval sets: counts, positives, missing files, and the images that evaluation reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from vpr.data.images import decode
from vpr.data.retrieval_set import ImageDataset, RetrievalSet, collate_images, positives_within
from vpr.errors import ConfigError, DataError
from vpr.types import Preprocess, Protocol


def make_set(root: Path = Path("r"), protocol: Protocol | None = None) -> RetrievalSet:
    return RetrievalSet(
        protocol or Protocol("toy@25m", 4, 3),
        [root / f"d{i}.png" for i in range(4)],
        [root / f"q{i}.png" for i in range(3)],
        [np.array([0, 2]), np.array([], np.int64), np.array([1, 2, 3])],
    )


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        (Protocol("p@25m", 1234, 3), r"p@25m has 1,234 database images, but 4 were found \(first: r/d0\.png\)"),
        (Protocol("p@25m", None, 7), r"p@25m has 7 queries, but 3 were found \(first: r/q0\.png\)"),
    ],
)
def test_counts_must_be_those_of_the_protocol(protocol: Protocol, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_set(protocol=protocol)


@pytest.mark.parametrize("rows", [[2, 0], [1, 1], [-1, 0], [3, 4]])
def test_positives_must_be_sorted_rows_of_the_database(rows: list[int]) -> None:
    paths = [Path(str(i)) for i in range(4)]
    with pytest.raises(DataError, match="positives of query 1"):
        RetrievalSet(Protocol("p"), paths, paths[:2], [np.array([3]), np.array(rows)])
    with pytest.raises(DataError, match="1 positives for 2 queries"):
        RetrievalSet(Protocol("p"), paths, paths[:2], [np.array([3])])


@pytest.mark.parametrize(("database", "queries", "what"), [(0, 1, "database images"), (1, 0, "queries")])
def test_a_set_without_images_is_refused(database: int, queries: int, what: str) -> None:
    with pytest.raises(DataError, match=f"has no {what}"):
        RetrievalSet(Protocol("p"), [Path("d")] * database, [Path("q")] * queries, [np.array([], np.int64)] * queries)


def test_left_out_rows_are_renumbered_and_named_in_the_protocol() -> None:
    left = make_set().without([0, 1], [1])
    assert [path.name for path in left.database] == ["d2.png", "d3.png"]
    assert [path.name for path in left.queries] == ["q0.png", "q2.png"]
    assert [rows.tolist() for rows in left.positives] == [[0], [0, 1]]  # old rows 2, and 2 and 3
    assert left.protocol == Protocol("toy@25m[2of4db,2of3q]", 2, 2)
    assert make_set().without([], [2]).protocol.id == "toy@25m[2of3q]"
    assert make_set().without([], []).protocol.id == "toy@25m"


@pytest.mark.parametrize("panoramas", [np.zeros(3, int), np.zeros((4, 1), int), np.zeros(4)])
def test_panoramas_are_one_integer_a_database_image(panoramas: np.ndarray) -> None:
    with pytest.raises(DataError, match="toy@25m: panoramas must be 4 integers"):
        replace(make_set(), panoramas=panoramas)


def test_panoramas_and_query_size_stay_with_what_is_left() -> None:
    left = replace(make_set(), panoramas=np.array([9, 9, 5, 4]), query_short_side=640).without([0, 2], [])
    assert left.panoramas is not None and left.panoramas.tolist() == [9, 4]
    assert left.query_short_side == 640


def test_queries_resized_as_the_database_are_named_in_the_protocol() -> None:
    whole = replace(make_set(), query_short_side=640)
    resized = whole.with_queries_at((320, 480))
    assert resized.protocol == Protocol("toy@25m[q320x480]", 4, 3) and resized.query_short_side is None
    assert make_set().with_queries_at((320, 480)).protocol.id == "toy@25m"
    with pytest.raises(ConfigError, match="query_short_side=0"):
        replace(make_set(), query_short_side=0)


def test_missing_files_raise_or_are_skipped_or_ignored(tmp_path: Path) -> None:
    whole = make_set(tmp_path)
    for path in [*whole.database, *whole.queries]:
        path.touch()
    assert whole.present("raise") is whole and whole.present("skip") is whole
    whole.database[1].unlink()
    whole.database[3].unlink()
    with pytest.raises(DataError, match=r"2 of 4 database images of toy@25m are missing \(first: .*d1\.png\)"):
        whole.present("raise")
    assert whole.present("skip").protocol.id == "toy@25m[2of4db]"
    assert whole.present("ignore") is whole
    whole.queries[2].unlink()
    assert whole.present("skip").protocol.id == "toy@25m[2of4db,2of3q]"
    with pytest.raises(ConfigError, match="missing=maybe"):
        whole.present("maybe")


def test_a_side_that_is_missing_as_a_whole_is_not_skipped(tmp_path: Path) -> None:
    whole = make_set(tmp_path)
    for path in [*whole.database, *whole.queries]:
        path.with_suffix(".JPG" if path in whole.queries else ".png").touch()
    wanted = r"3 of 3 queries of toy@25m are missing \(first: .*q0\.png; there is q0\.JPG, whose suffix is another\)"
    for missing in ("raise", "skip"):
        with pytest.raises(DataError, match=wanted + r"\. Extract the archive again, or look at the names of folders"):
            whole.present(missing)


def test_missing_folder_means_missing_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="4 of 4 database images"):
        make_set(tmp_path / "nowhere").present()


def test_positives_within_a_radius_include_its_edge() -> None:
    database = np.array([[0, 0], [3, 4], [0, 10], [3, 4]])
    queries = np.array([[0, 0], [100, 100], [3, 4], [0, 12.5]])
    found = positives_within(database, queries, 5.0, block=2)
    assert [rows.tolist() for rows in found] == [[0, 1, 3], [], [0, 1, 3], [2]]
    assert all(rows.dtype == np.int64 for rows in found)


def test_positives_by_frame_number() -> None:
    found = positives_within(np.array([10, 11, 13, 20]), np.array([12, 20, 16]), 1)
    assert [rows.tolist() for rows in found] == [[1, 2], [3], []]


def test_images_come_at_the_network_size_with_index_and_error(tmp_path: Path) -> None:
    Image.new("RGB", (30, 20), (10, 200, 30)).save(tmp_path / "0.png")
    (tmp_path / "1.png").write_bytes(b"broken")
    data = ImageDataset([tmp_path / f"{i}.png" for i in range(3)], Preprocess(size=(8, 12)))
    images, indices, errors = next(iter(DataLoader(data, batch_size=3, collate_fn=collate_images)))
    assert images.shape == (3, 3, 8, 12) and images.dtype == torch.uint8
    assert images[0].flatten(1).unique(dim=1).squeeze(1).tolist() == [10, 200, 30]
    assert indices.tolist() == [0, 1, 2]
    assert errors[0] == "" and "1.png" in errors[1] and "2.png" in errors[2]
    assert not images[1:].any()


def test_images_in_their_own_shape_are_read_whole(tmp_path: Path) -> None:
    # The decoder's reduced 39 x 38 pixels would do for 36, but come out 36 wide; the photo's own shape gives 37.
    Image.new("RGB", (103, 100), (10, 200, 30)).save(tmp_path / "0.jpg")
    data = ImageDataset([tmp_path / "0.jpg", tmp_path / "none.jpg"], Preprocess(size=(8, 12)), short_side=36)
    assert decode(tmp_path / "0.jpg", (36, 36)).shape == (38, 39, 3)
    assert [data[row][0].shape for row in (0, 1)] == [(36, 37, 3), (36, 36, 3)]
