"""Pittsburgh and Tokyo from NetVLAD's .mat files: invented, golden and the published ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from scipy.spatial.distance import cdist

from vpr.data.formats.dbstruct import read, read_mat
from vpr.errors import DataError
from vpr.types import Protocol

TOY = Protocol("toy@25m")
DATABASE, QUERIES = ["000/a.jpg", "000/b.jpg", "001/c.jpg"], ["000/q.jpg", "001/r.jpg"]


def cell(names: list[str]) -> np.ndarray:
    array = np.empty((len(names), 1), dtype=object)
    array[:, 0] = names
    return array


def struct(**changed: object) -> dict:
    """Metres on a line: a 0, b 20, c 46; q 21 and r 100."""
    return {
        "whichSet": "test",
        "dbImageFns": cell(DATABASE),
        "utmDb": np.array([[0.0, 20, 46], [0, 0, 0]]),
        "qImageFns": cell(QUERIES),
        "utmQ": np.array([[21.0, 100], [0, 0]]),
        "numImages": np.uint16(3),
        "numQueries": np.uint16(2),
        "posDistThr": 25.0,
        **changed,
    }


def make(root: Path, mat: str = "x.mat", folders: tuple[str, str] = ("", "queries_real"), **changed: object) -> Path:
    (root / mat).parent.mkdir(parents=True, exist_ok=True)
    savemat(root / mat, {"dbStruct": struct(**changed)}, do_compression=True)
    for folder, names in zip(folders, (DATABASE, QUERIES), strict=True):
        for name in names:
            (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
            (root / folder / name).touch()
    return root


@pytest.mark.parametrize(
    ("mat", "folders"),
    [
        ("datasets/x.mat", ("", "queries_real")),
        ("x.mat", ("Pittsburgh/images", "Pittsburgh/queries")),
        ("raw/x.mat", ("raw/Pittsburgh/images", "raw/Pittsburgh/queries")),
    ],
)
def test_both_image_layouts_are_found(tmp_path: Path, mat: str, folders: tuple[str, str]) -> None:
    found = read(make(tmp_path, mat, folders), "x.mat", TOY)
    assert [str(path.relative_to(tmp_path / folders[0])) for path in found.database] == DATABASE
    assert [str(path.relative_to(tmp_path / folders[1])) for path in found.queries] == QUERIES
    assert [rows.tolist() for rows in found.positives] == [[0, 1, 2], []]  # 21, 1 and exactly 25 m


def test_the_radius_is_the_file_s_or_the_caller_s(tmp_path: Path) -> None:
    make(tmp_path, posDistThr=10)
    assert [rows.tolist() for rows in read(tmp_path, "x.mat", TOY).positives] == [[1], []]
    assert [rows.tolist() for rows in read(tmp_path, "x.mat", TOY, radius=54).positives] == [[0, 1, 2], [2]]


def test_a_single_image_is_still_a_list(tmp_path: Path) -> None:
    one = {"qImageFns": cell(QUERIES[:1]), "utmQ": np.array([[21.0], [0]]), "numQueries": 1}
    assert read_mat(make(tmp_path, **one) / "x.mat").queries == QUERIES[:1]


def test_missing_parts_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder .*nowhere.*queries_real.*netvlad"):
        read(tmp_path / "nowhere", "x.mat", TOY)
    with pytest.raises(DataError, match=r"no y\.mat in .*datasets/y\.mat"):
        read(make(tmp_path), "y.mat", TOY)
    (tmp_path / "queries_real/001/r.jpg").unlink()
    with pytest.raises(DataError, match=r"1 of 2 queries of toy@25m are missing \(first: .*queries_real/001/r\.jpg\)"):
        read(tmp_path, "x.mat", TOY)
    assert read(tmp_path, "x.mat", TOY, missing="skip").protocol.id == "toy@25m[1of2q]"


def test_without_any_image_the_usual_layout_is_named(tmp_path: Path) -> None:
    savemat(tmp_path / "x.mat", {"dbStruct": struct()})
    with pytest.raises(DataError, match="3 of 3 database images .*000/a.jpg"):
        read(tmp_path, "x.mat", TOY)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"numImages": 4}, "says 4 database images and 2 queries, but lists 3"),
        ({"utmQ": np.zeros((2, 3))}, "3 positions"),
    ],
)
def test_a_mat_that_contradicts_itself_is_refused(tmp_path: Path, changed: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_mat(make(tmp_path, **changed) / "x.mat")


def test_a_damaged_mat_is_refused(tmp_path: Path) -> None:
    make(tmp_path)
    whole = (tmp_path / "x.mat").read_bytes()
    savemat(tmp_path / "other.mat", {"something": 1})
    for name, content in (("cut.mat", whole[:300]), ("text.mat", b"no mat" * 100), ("empty.mat", b"")):
        (tmp_path / name).write_bytes(content)
    for name in ("cut.mat", "text.mat", "empty.mat", "other.mat"):
        with pytest.raises(DataError, match=f"{name} cannot be read as a dbStruct"):
            read_mat(tmp_path / name)


def test_lists_and_positives_are_those_of_the_published_reader(shared: Path) -> None:
    golden = shared / "golden" / "wakd_datasets"
    expected = json.loads((golden / "pitts_mixvpr_expected.json").read_text())
    root = golden / "pitts"
    found = read(root, "pitts30k_val.mat", Protocol("x", expected["numDb"], expected["numQ"]), missing="ignore")
    names = [str(path.relative_to(root)) for path in [*found.database, *found.queries]]
    assert names == [name.removeprefix("../datasets/pitts250k/") for name in expected["images"]]
    assert [rows.tolist() for rows in found.positives] == expected["positives"]


@pytest.mark.parametrize(
    ("mat", "database", "queries"),
    [
        ("pitts30k_train", 10000, 7416),
        ("pitts30k_val", 10000, 7608),
        ("pitts30k_test", 10000, 6816),
        ("pitts250k_train", 91464, 7824),
        ("pitts250k_val", 78648, 7608),
        ("pitts250k_test", 83952, 8280),
    ],
)
def test_published_counts(shared: Path, mat: str, database: int, queries: int) -> None:
    folder = shared / "metadata" / "netvlad_dbstruct_mat"
    found = read(folder, f"{mat}.mat", Protocol(mat, database, queries), missing="ignore")
    assert min(map(len, found.positives)) >= 1


@pytest.mark.parametrize(
    ("mat", "counts"), [("tokyo247", (75984, 315)), ("tokyoTM_train", (49104, 7277)), ("tokyoTM_val", (49056, 7186))]
)
def test_fields_are_found_by_name_whatever_their_order(shared: Path, mat: str, counts: tuple[int, int]) -> None:
    found = read_mat(shared / "metadata" / "netvlad_dbstruct_mat" / f"{mat}.mat")
    assert (len(found.database), len(found.queries)) == counts and found.radius == 25


def test_pitts30k_positives_equal_those_of_patch_netvlad(shared: Path) -> None:
    reference = np.load(shared / "metadata" / "patchnetvlad" / "pitts30k_test.npz")
    close = cdist(reference["utmQ"], reference["utmDb"]) <= reference["posDistThr"]
    found = read(shared / "metadata" / "netvlad_dbstruct_mat", "pitts30k_test.mat", TOY, missing="ignore")
    assert all(np.array_equal(np.flatnonzero(row), rows) for row, rows in zip(close, found.positives, strict=True))
