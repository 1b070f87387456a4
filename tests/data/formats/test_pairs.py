"""Two traverses: positives by frame or from VPR-Bench's files."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from vpr.data.formats import npy_lists, pairs
from vpr.data.formats.pairs import read_positives
from vpr.data.npy import load_npy
from vpr.errors import ConfigError, DataAbsent, DataError
from vpr.types import Protocol

TOY = Protocol("toy@1f")


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def positives(retrieval_set) -> list[list[int]]:
    return [rows.tolist() for rows in retrieval_set.positives]


def test_folders_are_matched_by_position_in_natural_order(tmp_path: Path) -> None:
    touch(tmp_path, *(f"day/{i}.jpg" for i in (1, 2, 10, 11)), *(f"night/n{i}.png" for i in range(3)))
    found = pairs.read(tmp_path, TOY, "day", "night", tolerance=1)
    assert [path.name for path in found.database] == ["1.jpg", "2.jpg", "10.jpg", "11.jpg"]
    assert positives(found) == [[0, 1], [0, 1, 2], [1, 2, 3]]


def test_csv_sides_are_matched_by_frame_number(tmp_path: Path) -> None:
    rows = ["s/a.png,summer,0", "s/b.png,summer,5", "w/a.png,winter,5", "w/b.png,winter,8", "w/c.png,winter,1"]
    (tmp_path / "index.csv").write_text("path,season,frame\n" + "\n".join(rows))
    touch(tmp_path, *(row.split(",")[0] for row in rows))
    found = pairs.read(tmp_path, TOY, {"season": "summer"}, {"season": "winter"}, tolerance=1)
    assert positives(found) == [[1], [], [0]]
    assert found.queries[0] == tmp_path / "w/a.png"
    (tmp_path / "s/b.png").unlink()
    with pytest.raises(DataError, match="1 of 2 database images of toy@1f are missing"):
        pairs.read(tmp_path, TOY, {"season": "summer"}, {"season": "winter"}, tolerance=1)
    skipped = pairs.read(tmp_path, TOY, {"season": "summer"}, {"season": "winter"}, tolerance=1, missing="skip")
    assert skipped.protocol.id == "toy@1f[1of2db]" and positives(skipped) == [[], [], [0]]


def test_ground_truth_files_are_cleaned_and_the_rest_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path, *(f"ref/{i}.jpg" for i in range(4)), *(f"query/{i}.jpg" for i in range(3)))
    table = np.array([[2, [3, 1, 1, 4]], [0, [-1, 0]]], dtype=object)
    np.save(tmp_path / "gt.npy", table, allow_pickle=True)
    found = pairs.read(tmp_path, TOY, "ref", "query", ground_truth="gt.npy")
    assert positives(found) == [[0], [], [1, 3]]
    assert "left out 2 positives of 2 queries that are no rows of the 4 database images" in caplog.text


def test_the_first_ground_truth_file_that_is_there_is_read_whichever_form_it_has(tmp_path: Path) -> None:
    touch(tmp_path, *(f"ref/{i}.jpg" for i in range(4)), *(f"query/{i}.jpg" for i in range(3)))
    rows = np.empty(3, dtype=object)
    rows[:] = [np.array([3, 0]), np.array([], np.int64), np.array([9])]
    np.save(tmp_path / "x_gt.npy", rows, allow_pickle=True)
    either = ["ground_truth_new.npy", "x_gt.npy"]
    assert positives(pairs.read(tmp_path, TOY, "ref", "query", ground_truth=either)) == [[0, 3], [], []]
    np.save(tmp_path / "ground_truth_new.npy", np.array([[1, [2]], [0, [1, 3]]], dtype=object), allow_pickle=True)
    assert positives(pairs.read(tmp_path, TOY, "ref", "query", ground_truth=either)) == [[1, 3], [2], []]
    with pytest.raises(DataError, match=r"There is no file .*a\.npy"):
        pairs.read(tmp_path, TOY, "ref", "query", ground_truth=["a.npy", "b.npy"])


def test_one_number_a_query_and_two_rows_a_query_are_no_vprbench_table(tmp_path: Path) -> None:
    np.save(tmp_path / "gt.npy", np.array([[0], [2]]))
    assert [rows.tolist() for rows in read_positives(tmp_path / "gt.npy", 3, 2)] == [[0], [2]]
    np.save(tmp_path / "gt.npy", np.array([[0, 1], [2, 1]], dtype=object), allow_pickle=True)
    assert [rows.tolist() for rows in read_positives(tmp_path / "gt.npy", 3, 2)] == [[0, 1], [1, 2]]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["a"], [1]], "positives of query 0 are no database rows"),
        ([[0], [1.5]], "positives of query 1 are no whole numbers"),
        ([[0], [float("nan")]], "positives of query 1 are no whole numbers"),
        ([[0]], "1 rows for 2 queries"),
    ],
)
def test_positives_that_are_no_rows_are_refused(tmp_path: Path, rows: list, message: str) -> None:
    array = np.empty(len(rows), dtype=object)
    array[:] = rows
    np.save(tmp_path / "gt.npy", array, allow_pickle=True)
    with pytest.raises(DataError, match=message):
        read_positives(tmp_path / "gt.npy", 3, 2)


def test_another_tolerance_needs_another_id(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="tolerance=3 does not fit the id toy@1f"):
        pairs.read(tmp_path, TOY, "day", "night", tolerance=3)


@pytest.mark.parametrize("given", [{}, {"tolerance": 1, "ground_truth": "gt.npy"}])
def test_one_kind_of_ground_truth_is_needed(tmp_path: Path, given: dict) -> None:
    with pytest.raises(ConfigError, match="either tolerance .* or ground_truth"):
        pairs.read(tmp_path, TOY, "a", "b", **given)


def test_missing_parts_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataAbsent, match="no folder .*nowhere.*day and night.*By A. Nobody"):
        pairs.read(tmp_path / "nowhere", TOY, "day", "night", tolerance=1, source="By A. Nobody.")
    with pytest.raises(DataAbsent, match="no folder day or night in .*day and night and a.npy or b.npy.*By A. Nobody"):
        pairs.read(tmp_path, TOY, "day", "night", ground_truth=["a.npy", "b.npy"], source="By A. Nobody.")
    touch(tmp_path, "day/1.jpg")
    with pytest.raises(DataError, match="no images in .*night"):
        pairs.read(tmp_path, TOY, "day", "night", tolerance=1)


@pytest.mark.parametrize("table", [[[9, [0]]], [["0", [0]]], [[0, 1, [0]]], [[0, [0], 1]]])
def test_ground_truth_that_does_not_fit_is_refused(tmp_path: Path, table: list) -> None:
    array = np.empty((1, len(table[0])), dtype=object)
    array[0, :] = table[0]
    np.save(tmp_path / "gt.npy", array, allow_pickle=True)
    with pytest.raises(DataError, match="speaks of query [90]|has the shape|1 rows for 3 queries"):
        read_positives(tmp_path / "gt.npy", 3, 3)


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_ground_truth_file_executes_nothing(tmp_path: Path) -> None:
    np.save(tmp_path / "gt.npy", np.array([[0, Payload(tmp_path / "ran")]], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="no numpy array"):
        load_npy(tmp_path / "gt.npy")
    assert not (tmp_path / "ran").exists()
    np.load(tmp_path / "gt.npy", allow_pickle=True)
    assert (tmp_path / "ran").exists()  # the payload was live


def test_an_npy_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"There is no file {tmp_path}/x\.npy"):
        load_npy(tmp_path / "x.npy")


@pytest.mark.parametrize("content", [b"", b"no numpy", pickle.dumps([1])])
def test_damaged_npy_files_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.npy cannot be read as \.npy"):
        load_npy(tmp_path / "x.npy")


def test_names_with_spaces_unicode_and_upper_case_suffixes_are_read(tmp_path: Path) -> None:
    day, night = ["1 früh.JPG", "2 spät ☀.Jpeg"], ["雪 1.PNG", "雪 2.jpg"]
    touch(tmp_path, *(f"am Tag/{name}" for name in day), *(f"nächt/{name}" for name in night))
    touch(tmp_path, "nächt/notes.txt", "nächt/.雪 3.jpg")
    found = pairs.read(tmp_path, Protocol("toy@0f"), "am Tag", "nächt", tolerance=0)
    assert [path.name for path in (*found.database, *found.queries)] == [*day, *night]
    rows = [f"am Tag/{day[0]},sommer,1", f"nächt/{night[0]},hiver é,1"]
    (tmp_path / "index.csv").write_text("\ufeffpath,season,frame\n" + "\n".join(rows), encoding="utf-8")
    found = pairs.read(tmp_path, Protocol("toy"), {"season": "sommer"}, {"season": "hiver é"}, tolerance=0)
    assert (found.queries, positives(found)) == ([tmp_path / "nächt" / night[0]], [[0]])


@pytest.mark.parametrize(
    ("csv", "message"),
    [
        ("path,season,frame\na.png,summer,1\nb.png,winter", "Line 3 of .* has no frame"),
        ('path,season,frame\na.png,summer,1\n"b.png,winter', "cannot be read as csv"),
        ("path,season,frame\na.png,summer,1\n", "has no row that passes the filter {'season': 'winter'}"),
        ("path,season,frame\na.png,summer,one\nb.png,winter,1\n", "'one' is no frame number .image a.png"),
        (
            "path;season;frame\na.png;summer;1\n",
            "no column path, frame, season; it has path;season;frame. .* by semicolons: write commas",
        ),
        ("path,season\na.png,summer\n", "has no column frame"),
        ("", "cannot be read as csv"),
        (b"\xff\xfe\x00", "cannot be read as csv"),
        (None, "There is no file .*index.csv"),
    ],
)
def test_damaged_csv_files_are_named(tmp_path: Path, csv: str | bytes | None, message: str) -> None:
    if csv is not None:
        (tmp_path / "index.csv").write_bytes(csv if isinstance(csv, bytes) else csv.encode())
    with pytest.raises(DataError, match=message):
        pairs.read(tmp_path, TOY, {"season": "summer"}, {"season": "winter"}, tolerance=1)


def test_a_csv_that_cannot_be_opened_or_compared_is_named(tmp_path: Path) -> None:
    (tmp_path / "index.csv").mkdir()
    with pytest.raises(DataError, match=r"index\.csv cannot be read: Is a directory"):
        pairs.read(tmp_path, TOY, {}, {}, tolerance=1)
    (tmp_path / "walk.csv").write_text("path,frame\na.png,x\n")
    with pytest.raises(DataError, match=r"Column frame of .*walk\.csv cannot be compared with \{'lt': 3\}"):
        pairs.read(tmp_path, TOY, {"frame": {"lt": 3}}, {}, tolerance=1, csv="walk.csv")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("closed", ["", "day", "gt.npy", "index.csv"])
def test_what_cannot_be_opened_is_named(tmp_path: Path, closed: str) -> None:
    touch(tmp_path, "day/0.jpg", "night/0.jpg", "gt.npy", "index.csv")
    (tmp_path / closed).chmod(0)
    try:
        with pytest.raises(DataError, match=closed or tmp_path.name):
            if closed == "index.csv":
                pairs.read(tmp_path, TOY, {}, {}, tolerance=1)
            else:
                pairs.read(tmp_path, TOY, "day", "night", ground_truth="gt.npy")
        with pytest.raises(DataError, match="gt.npy"):
            npy_lists.read(tmp_path, TOY, "gt.npy", "gt.npy", "gt.npy")
    finally:
        (tmp_path / closed).chmod(0o755)
