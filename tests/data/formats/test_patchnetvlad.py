"""Patch-NetVLAD's .txt and .npz files: Pittsburgh, Tokyo 24/7, Nordland and broken ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vpr.data.formats import patchnetvlad
from vpr.data.formats.dbstruct import read_mat
from vpr.data.retrieval_set import positives_within
from vpr.errors import DataAbsent, DataError
from vpr.types import Protocol

TOY = Protocol("toy@10m")


def write(root: Path, database: list[str], queries: list[str], **fields: object) -> Path:
    (root / "index.txt").write_text("\n".join(database), encoding="utf-8")
    (root / "query.txt").write_text("\n".join(queries), encoding="utf-8")
    np.savez(root / "gt.npz", **{name: np.asarray(value) for name, value in fields.items()})
    return root


def read(root: Path, **options: object):
    given = {"protocol": TOY, "missing": "ignore"} | options
    return patchnetvlad.read(root, database="index.txt", queries="query.txt", ground_truth="gt.npz", **given)


def test_positions_give_positives_and_the_prefix_gives_way_to_root(tmp_path: Path) -> None:
    utm = {"utmDb": [[0, 0], [6, 8], [0, 10.1]], "utmQ": [[0, 0], [99, 0]], "posDistThr": 10}
    write(tmp_path, ["./set/a b.jpg", "./set/ü.JPG", "./set/c.jpg"], ["./set/x.jpg", "./set/y.jpg"], **utm)
    found = read(tmp_path, prefix="./set/")
    assert found.database == [tmp_path / name for name in ("a b.jpg", "ü.JPG", "c.jpg")]
    assert [rows.tolist() for rows in found.positives] == [[0, 1], []]  # 10 m from both: the radius is included
    assert [rows.tolist() for rows in read(tmp_path, radius=10.1, protocol=Protocol("toy")).positives] == [
        [0, 1, 2],
        [],
    ]
    with pytest.raises(DataError, match="3 of 3 database images of toy@10m are missing"):
        read(tmp_path, missing="raise")
    photos = patchnetvlad.photos(tmp_path, "index.txt", "gt.npz")
    assert photos.positions.tolist() == utm["utmDb"] and photos.files[1] == "./set/ü.JPG"


def test_what_is_missing_or_does_not_fit_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataAbsent, match="None of index.txt, query.txt, gt.npz can be found in .*By A. Nobody"):
        read(tmp_path, source="By A. Nobody.")
    utm = {"utmDb": [[0, 0]], "utmQ": [[0, 0]], "posDistThr": 10}
    write(tmp_path, ["a.jpg", "b.jpg"], ["x.jpg"], **utm)
    with pytest.raises(DataError, match=r"index\.txt has 2 names for 1 positions"):
        read(tmp_path)
    write(tmp_path, ["a.jpg"], ["x.jpg"], utmDb=[[0, 0]], posDistThr=10)
    with pytest.raises(DataError, match=r"gt\.npz cannot be read as ground truth \.npz: .*utmQ"):
        read(tmp_path)
    write(tmp_path, ["a.jpg"], ["x.jpg"], **utm | {"utmQ": np.array([{}], dtype=object)})
    with pytest.raises(DataError, match=r"gt\.npz cannot be read"):  # pickles are not loaded
        read(tmp_path)
    (tmp_path / "gt.npz").write_bytes((tmp_path / "gt.npz").read_bytes()[:50])
    with pytest.raises(DataError, match=r"gt\.npz cannot be read"):
        read(tmp_path)
    (tmp_path / "query.txt").unlink()
    write(tmp_path, ["a.jpg"], [""], **utm)
    with pytest.raises(DataError, match=r"query\.txt is empty"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("name", "mat", "index", "queries", "prefix", "pairs"),
    [
        ("pitts30k", "pitts30k_test", "index.txt", 6816, "./Pittsburgh250k/", None),
        ("tokyo247", "tokyo247", "index.txt.gz", 315, "./247_Tokyo_GSV_Perspective/", 37260),
    ],
)
def test_real_lists_agree_with_the_mat_files(
    shared: Path, tmp_path: Path, name: str, mat: str, index: str, queries: int, prefix: str, pairs: int | None
) -> None:
    lists, npz = shared / "metadata" / "patchnetvlad", "pitts30k_test.npz" if name == "pitts30k" else "tokyo247.npz"
    struct = read_mat(shared / "metadata" / "netvlad_dbstruct_mat" / f"{mat}.mat")
    protocol = Protocol("x", len(struct.database), queries)
    files = [f"{name}_imageNames_{index}", f"{name}_imageNames_query.txt", npz]
    found = patchnetvlad.read(tmp_path, protocol, *files, prefix=prefix, lists=lists, missing="ignore")
    expected = positives_within(struct.database_utm, struct.queries_utm, 25)
    assert all(np.array_equal(*rows) for rows in zip(found.positives, expected, strict=True))
    assert pairs is None or sum(map(len, found.positives)) == pairs
    ours = [path.relative_to(tmp_path).as_posix().rsplit(".", 1)[0] for path in found.database]
    assert ours == [file.rsplit(".", 1)[0] for file in struct.database]


def test_nordlands_ground_truth_means_7_frames(shared: Path, tmp_path: Path) -> None:
    lists = shared / "metadata" / "patchnetvlad"
    assert patchnetvlad.read_npz(lists / "nordland.npz").radius == 10
    files = ["nordland_imageNames_index.txt", "nordland_imageNames_query.txt", "nordland.npz"]
    protocol = Protocol("x", 27592, 27592)
    found = patchnetvlad.read(tmp_path, protocol, *files, prefix="./nordland/", lists=lists, missing="ignore")
    frames = np.arange(27592)
    assert all(np.array_equal(*rows) for rows in zip(found.positives, positives_within(frames, frames, 7), strict=True))
    assert found.database[0] == tmp_path / "summer/images-00202.png"
    assert found.queries[-1] == tmp_path / "winter/images-35582.png"
