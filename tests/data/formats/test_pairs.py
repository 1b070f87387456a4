"""Two traverses: positives by frame or from VPR-Bench's files."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from vpr.data.formats import npy_lists, pairs
from vpr.data.formats.ground_truth import load_npy, read_vprbench
from vpr.errors import ConfigError, DataError
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


@pytest.mark.parametrize(
    ("folder", "database", "queries", "dropped"),
    [
        ("GardensPointWalking", 200, 200, 3),
        ("GardensPoint_TN", 200, 400, 200),
        ("Nordland", 27592, 2760, 0),
        ("SPEDTEST", 607, 607, 0),
    ],
)
def test_real_ground_truth_is_read(
    shared: Path, caplog: pytest.LogCaptureFixture, folder: str, database: int, queries: int, dropped: int
) -> None:
    path = shared / "metadata" / "vprbench_gt" / folder / "ground_truth_new.npy"
    rows = read_vprbench(path, database, queries)
    table = np.load(path, allow_pickle=True)
    for query, references in table:
        assert rows[query].tolist() == sorted({r for r in references if 0 <= r < database})
    assert (f"left out {dropped} positives" in caplog.text) if dropped else not caplog.text


@pytest.mark.parametrize("given", [{}, {"tolerance": 1, "ground_truth": "gt.npy"}])
def test_one_kind_of_ground_truth_is_needed(tmp_path: Path, given: dict) -> None:
    with pytest.raises(ConfigError, match="either tolerance .* or ground_truth"):
        pairs.read(tmp_path, TOY, "a", "b", **given)


def test_missing_parts_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder .*nowhere.*day and night.*By A. Nobody"):
        pairs.read(tmp_path / "nowhere", TOY, "day", "night", tolerance=1, source="By A. Nobody.")
    touch(tmp_path, "day/1.jpg")
    with pytest.raises(DataError, match="no images in .*night"):
        pairs.read(tmp_path, TOY, "day", "night", tolerance=1)


@pytest.mark.parametrize("table", [[[9, [0]]], [[0, [0], 1]]])
def test_ground_truth_that_does_not_fit_is_refused(tmp_path: Path, table: list) -> None:
    array = np.empty((1, len(table[0])), dtype=object)
    array[0, :] = table[0]
    np.save(tmp_path / "gt.npy", array, allow_pickle=True)
    with pytest.raises(DataError, match="speaks of query 9|has the shape"):
        read_vprbench(tmp_path / "gt.npy", 3, 3)


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


@pytest.mark.parametrize("content", [None, b"", b"no numpy", pickle.dumps([1])])
def test_damaged_npy_files_are_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.npy cannot be read as \.npy"):
        load_npy(tmp_path / "x.npy")


def save_lists(root: Path, **arrays: object) -> Path:
    for name, array in arrays.items():
        np.save(root / f"{name}.npy", np.asarray(array), allow_pickle=True)
    return root


def test_lists_in_the_msls_layout(tmp_path: Path) -> None:
    truth = np.empty(2, dtype=object)
    truth[:] = [np.array([1]), np.array([2, 0])]
    save_lists(tmp_path, db=["a.jpg", "b.jpg", "c.jpg"], q=["x.jpg", "y.jpg", "z.jpg"], rows=[2, 0], p=truth)
    found = npy_lists.read(tmp_path, TOY, "db.npy", "q.npy", "p.npy", "rows.npy", missing="ignore")
    assert [path.name for path in found.queries] == ["z.jpg", "x.jpg"]
    assert positives(found) == [[1], [0, 2]]
    with pytest.raises(DataError, match="3 of 3 database images"):
        npy_lists.read(tmp_path, TOY, "db.npy", "q.npy", "p.npy", "rows.npy")
    with pytest.raises(DataError, match="2 rows for 3 queries"):
        npy_lists.read(tmp_path, TOY, "db.npy", "q.npy", "p.npy", missing="ignore")
    save_lists(tmp_path, rows=[0, 3])
    with pytest.raises(DataError, match="speaks of query 3"):
        npy_lists.read(tmp_path, TOY, "db.npy", "q.npy", "p.npy", "rows.npy", missing="ignore")


@pytest.mark.parametrize(
    ("name", "prefix", "counts"), [("Nordland", "Nordland", (27592, 2760)), ("SPED", "SPED", (607, 607))]
)
def test_real_lists(shared: Path, tmp_path: Path, name: str, prefix: str, counts: tuple[int, int]) -> None:
    lists = shared / "metadata" / "gsv_cities_npy" / name
    files = [f"{prefix}_{part}.npy" for part in ("dbImages", "qImages", "gt")]
    found = npy_lists.read(tmp_path, Protocol("x", *counts), *files, lists=lists, missing="ignore")
    gt = np.load(lists / files[2], allow_pickle=True)
    assert found.queries[-1] == tmp_path / f"query/{counts[1] - 1:07d}.jpg"
    assert all(rows.tolist() == sorted(np.ravel(truth)) for rows, truth in zip(found.positives, gt, strict=True))


def test_msls_val_keeps_the_740_official_queries(shared: Path, tmp_path: Path) -> None:
    lists = shared / "metadata" / "gsv_cities_npy" / "msls_val"
    truth = np.load(lists / "msls_val_pIdx.npy", allow_pickle=True)
    names = [f"{i}.jpg" for i in range(18871)]  # the real list of database names is not at hand
    save_lists(tmp_path, msls_val_dbImages=names)
    for part in ("qImages", "qIdx", "pIdx"):
        (tmp_path / f"msls_val_{part}.npy").symlink_to((lists / f"msls_val_{part}.npy").resolve())
    files = [f"msls_val_{part}.npy" for part in ("dbImages", "qImages", "pIdx", "qIdx")]
    found = npy_lists.read(tmp_path, Protocol("msls-val-740@25m", 18871, 740), *files, missing="ignore")
    assert positives(found) == [sorted(rows.tolist()) for rows in truth]
    assert found.queries[0] == tmp_path / "train_val/cph/query/images/1RKCGBAWsZbi5dj3vR2mlw.jpg"
