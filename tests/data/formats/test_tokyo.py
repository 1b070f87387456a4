"""Tokyo 24/7 and Tokyo Time Machine: panoramas, suffixes, held-out time stamps, golden and published ground truth."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hydra.utils import instantiate
from scipy.io import loadmat, savemat

from vpr.cli.compose import compose
from vpr.data.formats import tokyo_tm
from vpr.data.formats.dbstruct import read_mat
from vpr.data.retrieval_set import RetrievalSet
from vpr.errors import DataError
from vpr.types import Protocol


def configured(name: str, root: Path, *overrides: str) -> RetrievalSet:
    node = compose("train", [f"dataset={name}", f"dataset.eval.{name}.root={root}", *overrides]).dataset.eval[name]
    return instantiate(node, _convert_="all")


def copy(mat: Path, root: Path, *images: str) -> Path:
    root.mkdir(exist_ok=True)
    (root / mat.name).symlink_to(mat)
    for image in images:
        (root / image).parent.mkdir(parents=True, exist_ok=True)
        (root / image).touch()
    return root


@pytest.fixture(scope="module")
def tokyo247(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> RetrievalSet:
    """As Patch-NetVLAD has it on disk: one image of either side tells which folder and suffix."""
    root = copy(
        shared / "metadata/netvlad_dbstruct_mat/tokyo247.mat",
        tmp_path_factory.mktemp("tokyo247"),
        "03814/381418.231_3946450.428/JHVdmPpMNQcjBfR7qsWEtA_012_000.png",
        "247query_v3/00010.jpg",
    )
    return configured("tokyo247", root, "dataset.eval.tokyo247.missing=ignore")


def test_tokyo247_equals_patch_netvlad(shared: Path, tokyo247: RetrievalSet) -> None:
    folder = shared / "metadata/patchnetvlad"
    reference = np.load(folder / "tokyo247.npz")
    for query, rows in zip(reference["utmQ"], tokyo247.positives, strict=True):
        metres = np.sqrt(((reference["utmDb"] - query) ** 2).sum(axis=1))
        assert np.array_equal(np.flatnonzero(metres <= reference["posDistThr"]), rows) and len(rows)
    root = tokyo247.queries[0].parents[1]
    lists = (
        gzip.decompress((folder / "tokyo247_imageNames_index.txt.gz").read_bytes()).decode(),
        (folder / "tokyo247_imageNames_query.txt").read_text(),
    )
    for names, paths in zip(lists, (tokyo247.database, tokyo247.queries), strict=True):
        assert names.split() == [f"./247_Tokyo_GSV_Perspective/{path.relative_to(root)}" for path in paths]


def test_panoramas_of_tokyo247_are_netvlad_s_and_not_its_folders(tokyo247: RetrievalSet) -> None:
    assert tokyo247.query_short_side == 640
    assert tokyo247.panoramas is not None
    assert np.array_equal(tokyo247.panoramas, np.arange(75984) // 12)  # NetVLAD: floor((id - 1) / 12) from 1
    folders = Counter(path.parent for path in tokyo247.database)
    # A folder is a position: 76 of them hold two or three panoramas, which OpenIBL and WAKD take for one.
    assert Counter(folders.values()) == {12: 6178, 24: 74, 36: 2} and len(folders) == 6254


def test_tokyo247_as_openibl_lays_it_out_equals_golden(shared: Path, tmp_path: Path) -> None:
    golden = shared / "golden/wakd_datasets"
    expected = json.loads((golden / "tokyo_expected.json").read_text())
    root = copy(
        golden / "tokyo/raw/tokyo247.mat",
        tmp_path / "raw",
        "tokyo247/images/03814/03811/pano1_03.png",
        "tokyo247/query/00001_1.jpg",
    )
    counts = [f"dataset.eval.tokyo247.protocol.{key}" for key in ("database=60", "queries=9")]
    found = configured("tokyo247", tmp_path, "dataset.eval.tokyo247.missing=ignore", *counts)
    for part, paths in (("db_test", found.database), ("q_test", found.queries)):
        assert [str(path.relative_to(root)) for path in paths] == [row[0] for row in expected[part]]
    assert [rows.tolist() for rows in found.positives] == expected["test_pos"]
    assert found.panoramas is not None
    first = expected["db_test"][0][1]
    assert [first + panorama for panorama in found.panoramas] == [row[1] for row in expected["db_test"]]


def test_tokyo_tm_val_equals_golden(shared: Path, tmp_path: Path) -> None:
    golden = shared / "golden/wakd_datasets"
    expected = json.loads((golden / "tokyo_expected.json").read_text())
    root = copy(golden / "tokyo/raw/tokyoTM_val.mat", tmp_path / "raw", "tokyoTM/images/val/05002/200901/im_1.jpg")
    found = tokyo_tm.read(tmp_path, "tokyoTM_val.mat", Protocol("x", 24, 12), missing="ignore")
    for part, paths in (("db_val", found.database), ("q_val", found.queries)):
        assert [str(path.relative_to(root)) for path in paths] == [row[0] for row in expected[part]]
    assert [rows.tolist() for rows in found.positives] == expected["val_pos"]


def test_tokyo_tm_val_searches_for_one_time_of_each_place(shared: Path) -> None:
    folder = shared / "metadata/netvlad_dbstruct_mat"
    listed = read_mat(folder / "tokyoTM_val.mat")
    assert set(listed.queries) <= set(listed.database)  # why the .mat's own queries cannot be used
    found = configured("tokyo_tm_val", folder, "dataset.eval.tokyo_tm_val.missing=ignore")
    assert found.protocol == Protocol("tokyo-tm-val-held-out@25m", 33360, 15696)
    database, queries = ({path.parent for path in paths} for paths in (found.database, found.queries))
    assert not database & queries and len(database | queries) == 4088
    asked = Counter(stamp.parent for stamp in queries)
    assert set(asked.values()) == {1} and len(asked) == 1308
    others = {stamp.parent for stamp in database}
    assert all(stamp.parent in others for stamp in queries)
    counts = np.array([len(rows) for rows in found.positives])
    assert counts.min() >= 12 and round(counts.mean(), 2) == 152.13


def test_places_with_one_time_alone_leave_nothing_to_search_for(tmp_path: Path) -> None:
    names = np.array([f"{n}/_200901/{n}.jpg" for n in range(3)], object)
    content = {"dbImageFns": names, "utmDb": np.ones((2, 3)), "numImages": 3, "qImageFns": names[1:]}
    content |= {"utmQ": np.ones((2, 2)), "numQueries": 2, "posDistThr": 25, "dbTimeStamp": 1, "qTimeStamp": 1}
    savemat(tmp_path / "x.mat", {"dbStruct": content})
    with pytest.raises(DataError, match="toy@25m has no queries"):
        tokyo_tm.read(tmp_path, "x.mat", Protocol("toy@25m"), missing="ignore")


def test_folders_of_tokyo_tm_are_place_and_time_stamp(shared: Path) -> None:
    for name in ("tokyoTM_train", "tokyoTM_val"):
        mat = loadmat(shared / f"metadata/netvlad_dbstruct_mat/{name}.mat", struct_as_record=False, squeeze_me=True)
        struct = mat["dbStruct"]
        folders = np.array([file.rpartition("/")[0] for file in struct.dbImageFns])
        stamps = np.array([int(folder.rpartition("/_")[2]) for folder in folders])
        assert np.array_equal(stamps, struct.dbTimeStamp)
        places = np.array([folder.rpartition("/")[0] for folder in folders])
        positions = {(place, *xy) for place, xy in zip(places, struct.utmDb.T.tolist(), strict=True)}
        assert len(positions) == len(set(places)) == {"tokyoTM_train": 1392, "tokyoTM_val": 1441}[name]


def test_held_out_follows_from_the_seed_and_needs_two_stamps() -> None:
    folders = ["a/1", "a/1", "a/2", "a/3", "b/1", "b/1", "c/1", "c/2"]
    drawn = {tuple(np.flatnonzero(tokyo_tm.held_out(folders, seed))) for seed in range(40)}
    assert drawn == {(*a, c) for a in ((0, 1), (2,), (3,)) for c in (6, 7)}
    assert np.array_equal(tokyo_tm.held_out(folders, 5), tokyo_tm.held_out(folders, 5))


@pytest.mark.parametrize(("name", "authors"), [("tokyo247", "Torii et al. 2015.*titech"), ("tokyo_tm_val", "Arandjel")])
def test_absent_tokyo_speaks_of_tokyo(tmp_path: Path, name: str, authors: str) -> None:
    with pytest.raises(Exception, match=f"(?s)no folder .*{name}.*must hold tokyo.*Tokyo.*{authors}") as caught:
        configured(name, tmp_path / name)
    assert "Pittsburgh" not in str(caught.value)


def test_photos_of_tokyo_tm_come_once(tmp_path: Path) -> None:
    names = np.array([f"p/_2009{n:02d}/{n}.jpg" for n in range(3)], object)
    content = {"dbImageFns": names, "utmDb": np.ones((2, 3)), "numImages": 3, "qImageFns": names[1:]}
    content |= {"utmQ": np.ones((2, 2)), "numQueries": 2, "posDistThr": 25, "dbTimeStamp": 1, "qTimeStamp": 1}
    savemat(tmp_path / "x.mat", {"dbStruct": content})
    assert tokyo_tm.photos(tmp_path, "x.mat", "both").files == [f"images/{name}" for name in names]


@pytest.mark.parametrize(("name", "cut_outs"), [("pitts30k_train", 24), ("tokyo_tm", 12)])
def test_training_places_hold_whole_panoramas(shared: Path, name: str, cut_outs: int) -> None:
    folder = shared / "metadata/netvlad_dbstruct_mat"
    node = compose("train", [f"dataset={name}", f"dataset.train.{name}.photos.root={folder}"]).dataset.train[name]
    places = instantiate(node, _convert_="all")
    assert len(places) > 50 and len(set(places.files)) == len(places.files)
    assert not (np.diff(places.starts) % cut_outs).any()  # all cut-outs have the panorama's position
