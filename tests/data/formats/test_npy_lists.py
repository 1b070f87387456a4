"""Lists as .npy: the real ones of gsv-cities, and broken ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vpr.data.formats import npy_lists
from vpr.data.formats.dbstruct import read_mat
from vpr.data.formats.pairs import read_positives
from vpr.data.retrieval_set import RetrievalSet
from vpr.errors import DataAbsent, DataError
from vpr.types import Protocol

TOY = Protocol("toy@1f")
# folder and file prefix of gsv-cities, folder of VPR-Bench, database, queries, pairs of query and positive
SETS = [
    ("Nordland", "Nordland", "Nordland", 27592, 2760, 3 * 2760 - 1),  # frame 0 has no predecessor
    ("SPED", "SPED", "SPEDTEST", 607, 607, 607),
    ("ESSEX", "ESSEX", "ESSEX3IN1_dataset", 210, 210, 210),
    ("CrossSeason", "CrossSeason", "CrossSeason_CoHOG_Dataset", 191, 191, 1487),
    ("InriaHolidays", "Inria", "inria_holidays", 512, 300, 512),  # every database image is the positive of one query
]


def save_lists(root: Path, **arrays: object) -> Path:
    for name, array in arrays.items():
        np.save(root / f"{name}.npy", np.asarray(array), allow_pickle=True)
    return root


def positives(found: RetrievalSet) -> list[list[int]]:
    return [rows.tolist() for rows in found.positives]


def read(root: Path, query_rows: str | None = None, **options: str) -> RetrievalSet:
    return npy_lists.read(root, TOY, "db.npy", "q.npy", "p.npy", query_rows, **{"missing": "ignore"} | options)


def test_lists_in_the_msls_layout(tmp_path: Path) -> None:
    truth = np.empty(2, dtype=object)
    truth[:] = [np.array([1]), np.array([2, 0])]
    save_lists(tmp_path, db=["a.jpg", "b.jpg", "c.jpg"], q=["x.jpg", "y.jpg", "z.jpg"], rows=[2, 0], p=truth)
    found = read(tmp_path, "rows.npy")
    assert [path.name for path in found.queries] == ["z.jpg", "x.jpg"]
    assert positives(found) == [[1], [0, 2]]
    with pytest.raises(DataError, match="3 of 3 database images"):
        read(tmp_path, "rows.npy", missing="raise")
    with pytest.raises(DataError, match="2 rows for 3 queries"):
        read(tmp_path)
    save_lists(tmp_path, rows=[0, 3])
    with pytest.raises(DataError, match="speaks of query 3"):
        read(tmp_path, "rows.npy")
    save_lists(tmp_path, rows=[0, -1])
    with pytest.raises(DataError, match="speaks of query -1"):
        read(tmp_path, "rows.npy")
    save_lists(tmp_path, rows=[0.0, 1.0])
    with pytest.raises(DataError, match=r"rows\.npy holds float64 .*; expected row numbers"):
        read(tmp_path, "rows.npy")


def test_lists_may_lie_elsewhere_and_have_any_names(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    save_lists(tmp_path / "lists", db=["ré f/1.JPG", "2 é.PNG"], q=np.array([b"q/\xc3\xa9 1.jpeg"]), p=[[1]])
    found = read(tmp_path, lists=str(tmp_path / "lists"))
    assert [*found.database, *found.queries] == [tmp_path / name for name in ("ré f/1.JPG", "2 é.PNG", "q/é 1.jpeg")]
    for path in (*found.database, *found.queries):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert len(read(tmp_path, lists=str(tmp_path / "lists"), missing="raise").database) == 2
    found.database[0].unlink()
    assert read(tmp_path, lists=str(tmp_path / "lists"), missing="skip").protocol.id == "toy@1f[1of2db]"


def test_what_is_missing_or_no_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataAbsent, match="None of db.npy, q.npy, p.npy can be found in .*must hold them. By A. Nobody"):
        read(tmp_path, source="By A. Nobody.")
    save_lists(tmp_path, q=["x.jpg"], p=[[0]])
    with pytest.raises(DataError, match=r"There is no file .*db\.npy"):
        read(tmp_path)
    for wrong in ([1, 2], [["a.jpg", "b.jpg"]], "a.jpg", [None, "a.jpg"]):
        save_lists(tmp_path, db=wrong)
        with pytest.raises(DataError, match=r"db\.npy holds .* of the shape .*; expected a list of names"):
            read(tmp_path)
    content = save_lists(tmp_path, db=["a.jpg"] * 100).joinpath("db.npy").read_bytes()
    (tmp_path / "db.npy").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"db\.npy cannot be read"):
        read(tmp_path)


def test_impossible_positives_are_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_lists(tmp_path, db=["a.jpg", "b.jpg"], q=["x.jpg", "y.jpg"], p=[[0, 2], [-1, 1]])
    assert positives(read(tmp_path)) == [[0], [1]]
    assert "left out 2 positives of 2 queries that are no rows of the 2 database images" in caplog.text


@pytest.mark.parametrize(("folder", "prefix", "vprbench", "database", "queries", "pairs"), SETS)
def test_real_lists_and_vprbench_say_the_same(
    shared: Path,
    tmp_path: Path,
    caplog,
    folder: str,
    prefix: str,
    vprbench: str,
    database: int,
    queries: int,
    pairs: int,
) -> None:
    lists = shared / "metadata" / "gsv_cities_npy" / folder
    files = [f"{prefix}_{part}.npy" for part in ("dbImages", "qImages", "gt")]
    found = npy_lists.read(tmp_path, Protocol("x", database, queries), *files, lists=lists, missing="ignore")
    assert found.database == [tmp_path / f"ref/{row:07d}.jpg" for row in range(database)]
    assert found.queries == [tmp_path / f"query/{row:07d}.jpg" for row in range(queries)]
    assert sum(map(len, found.positives)) == pairs and min(map(len, found.positives)) == 1 + (folder == "Nordland")
    truth = shared / "metadata" / "vprbench_gt" / vprbench / "ground_truth_new.npy"
    for file in (truth, lists / files[2]):
        assert [rows.tolist() for rows in read_positives(file, database, queries)] == positives(found)
    assert not caplog.text  # nothing was left out


def test_nordlands_list_is_every_tenth_frame_within_1(shared: Path) -> None:
    rows = read_positives(shared / "metadata/gsv_cities_npy/Nordland/Nordland_gt.npy", 27592, 2760)
    expected = [[row for row in (10 * q - 1, 10 * q, 10 * q + 1) if row >= 0] for q in range(2760)]
    assert [found.tolist() for found in rows] == expected


@pytest.mark.parametrize("split", ["pitts30k_val", "pitts30k_test", "pitts250k_test"])
def test_pittsburghs_lists_name_the_images_of_the_mat_in_its_order(shared: Path, split: str) -> None:
    struct = read_mat(shared / "metadata" / "netvlad_dbstruct_mat" / f"{split}.mat")
    lists = shared / "metadata" / "gsv_cities_npy" / "Pittsburgh"
    names = npy_lists.load_names(lists / f"{split}_qImages.npy")
    assert names == [f"queries_real/{name}" for name in struct.queries]
    if split != "pitts250k_test":  # its list of the database is not at hand
        assert npy_lists.load_names(lists / f"{split}_dbImages.npy") == list(struct.database)


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
