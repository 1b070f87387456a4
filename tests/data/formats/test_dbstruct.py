"""Pittsburgh and sets like it from NetVLAD's .mat files: layouts, counts, errors, golden and published ground truth."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from scipy.spatial.distance import cdist

from vpr.data.formats.dbstruct import photos, read
from vpr.errors import ConfigError, DataAbsent, DataError
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


def make(
    root: Path,
    mat: str = "x.mat",
    folders: tuple[str, str] = ("", "queries_real"),
    suffixes: tuple[str, str] = (".jpg", ".jpg"),
    **changed: object,
) -> Path:
    (root / mat).parent.mkdir(parents=True, exist_ok=True)
    savemat(root / mat, {"dbStruct": struct(**changed)}, do_compression=True)
    for folder, suffix, names in zip(folders, suffixes, (DATABASE, QUERIES), strict=True):
        for name in names:
            path = (root / folder / name).with_suffix(suffix)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return root


@pytest.mark.parametrize(
    ("mat", "folders"),
    [
        ("datasets/x.mat", ("", "queries_real")),
        ("x.mat", ("Pittsburgh/images", "Pittsburgh/queries")),
        ("raw/x.mat", ("raw/Pittsburgh/images", "raw/Pittsburgh/queries")),
        ("x.mat", ("images", "queries")),
    ],
)
def test_both_image_layouts_are_found(tmp_path: Path, mat: str, folders: tuple[str, str]) -> None:
    found = read(make(tmp_path, mat, folders), "x.mat", TOY)
    assert [str(path.relative_to(tmp_path / folders[0])) for path in found.database] == DATABASE
    assert [str(path.relative_to(tmp_path / folders[1])) for path in found.queries] == QUERIES
    assert [rows.tolist() for rows in found.positives] == [[0, 1, 2], []]  # 21, 1 and exactly 25 m
    assert found.panoramas is None and found.query_short_side is None


def test_a_pair_with_both_sides_goes_before_one_with_a_single_side(tmp_path: Path) -> None:
    make(tmp_path)  # database below root
    found = read(tmp_path, "x.mat", TOY, layouts=[[".", "query"], [".", "queries_real"]])
    assert found.queries[0] == tmp_path / "queries_real/000/q.jpg"


def test_names_with_spaces_unicode_and_other_suffixes_work(tmp_path: Path) -> None:
    names = ["Zürich 1/été.v2.jpg", "東京/b.jpg", "c d.jpg"]
    make(tmp_path, dbImageFns=cell(names), suffixes=(".png", ".JPG"))
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).with_suffix(".png").touch()
    found = read(tmp_path, "x.mat", TOY)
    assert [path.name for path in found.database] == ["été.v2.png", "b.png", "c d.png"]
    assert [path.name for path in found.queries] == ["q.JPG", "r.JPG"]


def test_a_list_of_several_suffixes_is_left_as_it_is(tmp_path: Path) -> None:
    names = ["a.jpg", "b.JPG", "c"]
    make(tmp_path, dbImageFns=cell(names))
    for name in names:
        (tmp_path / name).touch()
    assert [path.name for path in read(tmp_path, "x.mat", TOY).database] == names


def test_the_listed_suffix_goes_before_others(tmp_path: Path) -> None:
    make(tmp_path, suffixes=(".png", ".png"))
    assert read(make(tmp_path), "x.mat", TOY).database[0].name == "a.jpg"


def test_a_copy_with_holes_is_found(tmp_path: Path) -> None:
    many = [f"{n:04d}.jpg" for n in range(300)]
    make(tmp_path, dbImageFns=cell(many), utmDb=np.zeros((2, 300)), numImages=300)
    for name in many[200:]:
        (tmp_path / name).with_suffix(".png").touch()
    found = read(tmp_path, "x.mat", Protocol("toy@25m", 300, 2), missing="skip")
    assert found.protocol.id == "toy@25m[100of300db]" and found.database[0] == tmp_path / "0200.png"


def test_the_radius_is_the_file_s_or_the_caller_s(tmp_path: Path) -> None:
    make(tmp_path, posDistThr=10)
    assert [rows.tolist() for rows in read(tmp_path, "x.mat", Protocol("toy")).positives] == [[1], []]
    with pytest.raises(ConfigError, match="radius=10 does not fit the id toy@25m"):
        read(tmp_path, "x.mat", TOY)
    assert [rows.tolist() for rows in read(tmp_path, "x.mat", Protocol("toy@54m"), radius=54).positives] == [
        [0, 1, 2],
        [2],
    ]


def test_photos_of_either_side_or_both(tmp_path: Path) -> None:
    make(tmp_path)
    database, queries, both = (photos(tmp_path, "x.mat", side) for side in ("database", "queries", "both"))
    assert database.files == DATABASE and queries.files == [f"queries_real/{name}" for name in QUERIES]
    assert both.files == [*database.files, *queries.files] and all(path.is_file() for path in both.paths)
    assert both.positions.tolist() == [[0, 0], [20, 0], [46, 0], [21, 0], [100, 0]]
    assert np.isnan(both.headings).all() and both.groups.tolist() == [0] * 5 and both.name == "x"
    with pytest.raises(ConfigError, match="side=gallery is unknown: choose database, queries, both"):
        photos(tmp_path, "x.mat", "gallery")


def test_photos_that_are_on_both_sides_come_once(tmp_path: Path) -> None:
    make(tmp_path, qImageFns=cell([DATABASE[2], DATABASE[0]]), utmQ=np.array([[46.0, 0], [0, 0]]))
    both = photos(tmp_path, "x.mat", "both", layouts=[[".", "."]])
    assert both.files == DATABASE and both.positions[:, 0].tolist() == [0, 20, 46]


def test_missing_parts_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataAbsent, match="no folder .*nowhere.*and queries_real, or in Pittsburgh/images.*Torii says"):
        read(tmp_path / "nowhere", "x.mat", TOY, source="Torii says how.")
    with pytest.raises(DataAbsent, match=r"no y\.mat in .*datasets/y\.mat.*the folder itself and .*Torii says"):
        read(make(tmp_path), "y.mat", TOY, source="Torii says how.")
    (tmp_path / "queries_real/001/r.jpg").unlink()
    with pytest.raises(DataError, match=r"1 of 2 queries of toy@25m are missing \(first: .*queries_real/001/r\.jpg\)"):
        read(tmp_path, "x.mat", TOY)
    assert read(tmp_path, "x.mat", TOY, missing="skip").protocol.id == "toy@25m[1of2q]"


def test_without_any_image_the_usual_layout_is_named(tmp_path: Path) -> None:
    savemat(tmp_path / "x.mat", {"dbStruct": struct()})
    with pytest.raises(DataError, match="3 of 3 database images .*000/a.jpg"):
        read(tmp_path, "x.mat", TOY)


def test_a_folder_that_may_not_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listdir = os.listdir

    def refuse(folder: str) -> list[str]:
        if str(folder).endswith("queries_real/001"):
            raise PermissionError(13, "Permission denied", str(folder))
        return listdir(folder)

    make(tmp_path)
    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(
        DataError, match=r"queries_real/001 cannot be read: Permission denied\. Look at its permissions"
    ):
        read(tmp_path, "x.mat", TOY)


def test_lists_and_positives_are_those_of_the_published_reader(shared: Path) -> None:
    golden = shared / "golden" / "wakd_datasets"
    expected = json.loads((golden / "pitts_mixvpr_expected.json").read_text())
    root = golden / "pitts"
    found = read(root, "pitts30k_val.mat", Protocol("x", expected["numDb"], expected["numQ"]), missing="ignore")
    names = [str(path.relative_to(root)) for path in [*found.database, *found.queries]]
    assert names == [name.removeprefix("../datasets/pitts250k/") for name in expected["images"]]
    assert [rows.tolist() for rows in found.positives] == expected["positives"]


@pytest.mark.parametrize("part", ["val", "test"])
def test_openibl_s_layout_and_positives(shared: Path, tmp_path: Path, part: str) -> None:
    golden = shared / "golden" / "wakd_datasets"
    expected = json.loads((golden / "pitts_expected.json").read_text())
    listed = [[row[0] for row in expected[f"{side}_{part}"]] for side in ("db", "q")]
    for path in (names[-1] for names in listed):
        (tmp_path / "raw" / path).parent.mkdir(parents=True)
        (tmp_path / "raw" / path).touch()
    mat = f"pitts30k_{part}.mat"
    (tmp_path / "raw" / mat).symlink_to(golden / "pitts" / "raw" / mat)
    found = read(tmp_path, mat, TOY, missing="ignore")
    # The published lists are sorted by path, the .mat is not.
    names = [[str(path.relative_to(tmp_path / "raw")) for path in paths] for paths in (found.database, found.queries)]
    assert [sorted(side) for side in names] == listed
    positives = [[names[0][row] for row in rows] for rows in found.positives]
    by_query = dict(zip(names[1], map(sorted, positives), strict=True))
    assert [by_query[q] for q in listed[1]] == [[listed[0][row] for row in rows] for rows in expected[f"{part}_pos"]]


@pytest.mark.parametrize(
    ("mat", "database", "queries", "mean"),
    [
        ("pitts30k_train", 10000, 7416, 137.24),
        ("pitts30k_val", 10000, 7608, 140.06),
        ("pitts30k_test", 10000, 6816, 142.08),
        ("pitts250k_train", 91464, 7824, 139.80),
        ("pitts250k_val", 78648, 7608, 140.06),
        ("pitts250k_test", 83952, 8280, 153.60),
    ],
)
def test_published_counts(shared: Path, mat: str, database: int, queries: int, mean: float) -> None:
    folder = shared / "metadata" / "netvlad_dbstruct_mat"
    found = read(folder, f"{mat}.mat", Protocol(mat, database, queries), missing="ignore")
    counts = np.array([len(rows) for rows in found.positives])
    assert counts.min() >= 1 and round(counts.mean(), 2) == mean


def test_pitts30k_equals_patch_netvlad(shared: Path) -> None:
    folder = shared / "metadata" / "patchnetvlad"
    reference = np.load(folder / "pitts30k_test.npz")
    close = cdist(reference["utmQ"], reference["utmDb"]) <= reference["posDistThr"]
    root = shared / "metadata" / "netvlad_dbstruct_mat"
    found = read(root, "pitts30k_test.mat", TOY, missing="ignore")
    assert all(np.array_equal(np.flatnonzero(row), rows) for row, rows in zip(close, found.positives, strict=True))
    for side, paths in (("index", found.database), ("query", found.queries)):
        listed = (folder / f"pitts30k_imageNames_{side}.txt").read_text().split()
        assert listed == [f"./Pittsburgh250k/{path.relative_to(root)}" for path in paths]
