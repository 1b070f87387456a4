"""conf/dataset: list and pair sets with the real ground truth and empty image files of the published names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hydra.errors import InstantiationException
from hydra.utils import instantiate

from vpr.cli.compose import compose
from vpr.data.formats.dbstruct import read_mat
from vpr.data.retrieval_set import RetrievalSet, positives_within
from vpr.errors import DataAbsent

FRAMES = np.arange(27592)
# dataset, folder of VPR-Bench, protocol, database, queries, pairs of query and positive, queries without, left out
VPRBENCH = [
    ("sped", "SPEDTEST", "sped-607@0f", 607, 607, 607, 0, 0),
    ("essex", "ESSEX3IN1_dataset", "essex3in1-210@0f", 210, 210, 210, 0, 0),
    ("cross_season", "CrossSeason_CoHOG_Dataset", "cross-season-191@list", 191, 191, 1487, 0, 0),
    ("inria_holidays", "inria_holidays", "inria-holidays-300@list", 512, 300, 512, 0, 0),
    ("nordland_2760", "Nordland", "nordland-2760@1f", 27592, 2760, 8279, 0, 0),
    # 200 frames with 5 positives each, but 3, 4, 4 and 3 at the ends; the file has 200 once and 200, 201 once
    ("gardens_point_vprbench", "GardensPointWalking", "gardens-point-vprbench-200@2f", 200, 200, 994, 0, 3),
    # 7 each, but 4, 5, 6 at both ends; 200 queries with -1
    ("gardens_point_tn", "GardensPoint_TN", "gardens-point-tn-400@3f", 200, 400, 1388, 200, 200),
    ("corridor", "corridor", "corridor-111@2f", 111, 111, 549, 0, 0),
    ("living_room", "Living", "living-room-32@1f", 32, 32, 94, 0, 0),
    ("seventeen_places", "17places", "17places-406@2f", 406, 406, 2024, 0, 3),
    ("synthia", "Synthia-NightToFall", "synthia-night-fall-813@7m", 911, 813, 19750, 0, 0),
    ("pittsburgh_vprbench", "Pittsburgh", "pittsburgh-vprbench-1000@panorama", 23000, 1000, 23000, 0, 0),
    ("tokyo247_vprbench", "Tokyo247", "tokyo247-vprbench-4104@25m", 4104, 315, 37260, 0, 0),
]
PURE = {"gardens_point_vprbench": 2, "gardens_point_tn": 3, "corridor": 2, "living_room": 1, "seventeen_places": 2}


def read(name: str, data: Path, *overrides: str) -> RetrievalSet:
    node = compose("train", [f"dataset={name}", f"paths.data={data}", *overrides]).dataset
    return instantiate(node.eval[name], _convert_="all")


def touch(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()


@pytest.mark.parametrize(
    ("name", "folder", "protocol", "database", "queries", "pairs", "without", "left_out"), VPRBENCH
)
def test_vprbench(
    shared: Path, tmp_path: Path, caplog, name, folder, protocol, database, queries, pairs, without, left_out
) -> None:
    root = tmp_path / "vprbench" / folder
    touch(root / "ref", [f"{row:07d}.jpg" for row in range(database)])
    touch(root / "query", [f"{row:07d}.jpg" for row in range(queries)])
    truth = shared / "metadata" / "vprbench_gt" / folder / "ground_truth_new.npy"
    (root / "ground_truth_new.npy").symlink_to(truth.resolve())
    found = read(name, tmp_path)
    assert (found.protocol.id, len(found.database), len(found.queries)) == (protocol, database, queries)
    counts = [len(rows) for rows in found.positives]
    assert (sum(counts), counts.count(0)) == (pairs, without)
    assert (f"left out {left_out} positives" in caplog.text) if left_out else not caplog.text
    if name in PURE:  # the unit in the id is what the file holds
        expected = positives_within(np.arange(database), np.arange(queries - without), PURE[name])
        assert all(np.array_equal(*rows) for rows in zip(found.positives, expected, strict=False))
    for absent in ("ref", "query"):  # one image each: the others keep their rows
        (root / absent / "0000007.jpg").unlink()
    skipped = read(name, tmp_path, "dataset.on_bad_image=skip")
    assert skipped.protocol.id == f"{protocol}[{database - 1}of{database}db,{queries - 1}of{queries}q]"
    kept = [[row - (row > 7) for row in rows if row != 7] for query, rows in enumerate(found.positives) if query != 7]
    assert [rows.tolist() for rows in skipped.positives] == kept


def test_vprbenchs_tokyo_has_only_the_positives_of_its_queries(shared: Path) -> None:
    struct = read_mat(shared / "metadata" / "netvlad_dbstruct_mat" / "tokyo247.mat")
    rows = positives_within(struct.database_utm, struct.queries_utm, 25)
    assert len(np.unique(np.concatenate(rows))) == 4104
    table = np.load(shared / "metadata/vprbench_gt/Tokyo247/ground_truth_new.npy", allow_pickle=True)
    assert [len(found) for found in rows] == [len(references) for _, references in table]
    assert sum(map(len, rows)) == 37260


@pytest.mark.parametrize("tolerance", [1, 10])
def test_nordland_from_folders_of_all_frames_and_the_list_of_clean_ones(
    shared: Path, tmp_path: Path, tolerance: int
) -> None:
    name, root = f"nordland_27592_{tolerance}f", tmp_path / "nordland"
    index = (shared / "metadata/patchnetvlad/nordland_imageNames_index.txt").read_text()
    for season in ("summer", "winter"):
        (root / season).mkdir(parents=True)
    (root / "cleanImageNames.txt").write_text(index.replace("./nordland/summer/", ""))
    sides = {"database": "winter", "queries": "summer", "names": "cleanImageNames.txt"}  # the other direction
    overrides = [f"dataset.eval.{name}.{key}={value}" for key, value in sides.items()]
    named = f"dataset.eval.{name}.protocol.id=nordland-27592-reversed@{tolerance}f"
    found = read(name, tmp_path, *overrides, named, f"dataset.eval.{name}.missing=ignore")
    assert found.protocol.id == f"nordland-27592-reversed@{tolerance}f"
    assert (found.database[0], found.queries[0]) == tuple(root / s / "images-00202.png" for s in ("winter", "summer"))
    expected = positives_within(FRAMES, FRAMES, tolerance)
    assert all(np.array_equal(*rows) for rows in zip(found.positives, expected, strict=True))
    # by hand: 2 t + 1 each, but t (t + 1) / 2 less at both ends
    assert sum(map(len, found.positives)) == 27592 * (2 * tolerance + 1) - tolerance * (tolerance + 1)


def cut(metres: float) -> str:
    """UTM north as VPR-datasets-downloader writes it: 5 digits and one decimal, cut off."""
    return f"{int(metres * 10) / 10:07.1f}"


def test_nordland_as_arranged_by_the_downloader(tmp_path: Path) -> None:
    names = [f"@0@{cut(i * 25 / 10.5)}@@@@@{i}@@@@@@@@.jpg" for i in range(300)]
    for folder in ("database", "queries"):
        touch(tmp_path / "nordland/images/test" / folder, names)
    own = "dataset.eval.nordland_27592_10f.protocol"
    found = read("nordland_27592_10f", tmp_path, f"{own}.database=300", f"{own}.queries=300")
    assert [path.name for path in found.database] == names
    by_name = compose("train", ["dataset=nordland_2760_reversed"]).dataset.eval.nordland_2760_reversed
    by_name.root = str(tmp_path / "nordland/images/test")
    by_name.protocol.database = by_name.protocol.queries = 300
    metres = instantiate(by_name, missing="raise", _convert_="all").positives  # 25 m between the names' positions
    expected = positives_within(FRAMES[:300], FRAMES[:300], 10)
    for rows in zip(found.positives, metres, expected, strict=True):
        assert np.array_equal(rows[0], rows[2]) and np.array_equal(rows[1], rows[2])


def test_nordland_2760_reversed_is_every_tenth_frame_within_1(tmp_path: Path) -> None:
    names = [f"@0@{cut(i * 25 / 1.5)}@@@@@{i}@@@@@@@@.jpg" for i in range(300)]
    root = tmp_path / "nordland_subset/images/test"
    touch(root / "database", names)
    touch(root / "queries", names[::10])
    own = "dataset.eval.nordland_2760_reversed.protocol"
    found = read("nordland_2760_reversed", tmp_path, f"{own}.database=300", f"{own}.queries=30")
    expected = [[row for row in (10 * q - 1, 10 * q, 10 * q + 1) if row >= 0] for q in range(30)]
    assert [rows.tolist() for rows in found.positives] == expected


def test_patchnetvlads_nordland(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "nordland").mkdir()
    own = "dataset.eval.nordland_27592_7f"
    lists = shared / "metadata" / "patchnetvlad"
    found = read("nordland_27592_7f", tmp_path, f"{own}.lists={lists}", f"{own}.missing=ignore")
    assert (found.protocol.id, len(found.database)) == ("nordland-27592@7f", 27592)
    assert sum(map(len, found.positives)) == 27592 * 15 - 7 * 8
    assert found.queries[0] == tmp_path / "nordland/winter/images-00202.png"


def test_nordland_3450_counts_through_its_sections(tmp_path: Path) -> None:
    for season in ("summer", "winter"):
        for section in range(3):
            frames = range(1150 * section, 1150 * (section + 1))
            folder = tmp_path / "nordland_partitioned/test" / f"{season}_images_test/section{section + 1}"
            touch(folder, [f"{frame}.png" for frame in frames])
    found = read("nordland_3450", tmp_path)
    assert (found.protocol.id, sum(map(len, found.positives))) == ("nordland-3450@2f", 3450 * 5 - 6)
    assert [path.stem for path in found.database] == [str(frame) for frame in range(3450)]
    found.queries[1200].unlink()
    skipped = read("nordland_3450", tmp_path, "dataset.on_bad_image=skip")
    assert skipped.protocol.id == "nordland-3450@2f[3449of3450q]"
    assert skipped.positives[1200].tolist() == [1199, 1200, 1201, 1202, 1203]  # of frame 1201


@pytest.mark.parametrize(
    "name", ["pitts30k_lists", "pitts30k_val_lists", "pitts250k_lists", "nordland_27592_7f", "sped"]
)
def test_a_folder_with_other_files_is_an_absent_set(tmp_path: Path, name: str) -> None:
    for folder in ("pitts250k", "nordland", "vprbench/SPEDTEST"):
        touch(tmp_path / folder, ["readme.txt"])
    with pytest.raises(InstantiationException) as caught:
        read(name, tmp_path)
    assert isinstance(caught.value.__cause__, DataAbsent) and "must hold" in str(caught.value.__cause__)


def test_pitts30k_lists_give_the_protocol_of_the_mat(shared: Path, tmp_path: Path) -> None:
    """The ground truth lists are not at hand: this one is made as theirs are said to be, from the .mat."""
    lists, root = shared / "metadata" / "gsv_cities_npy" / "Pittsburgh", tmp_path / "pitts250k"
    root.mkdir()
    for part in ("dbImages", "qImages"):
        (root / f"pitts30k_test_{part}.npy").symlink_to((lists / f"pitts30k_test_{part}.npy").resolve())
    struct = read_mat(shared / "metadata" / "netvlad_dbstruct_mat" / "pitts30k_test.mat")
    truth = np.empty(6816, dtype=object)
    truth[:] = positives_within(struct.database_utm, struct.queries_utm, 25)
    np.save(root / "pitts30k_test_gt.npy", truth, allow_pickle=True)
    found = read("pitts30k_lists", tmp_path, "dataset.eval.pitts30k_lists.missing=ignore")
    assert (found.protocol.id, len(found.database), len(found.queries)) == ("pitts30k-test@25m", 10000, 6816)
    assert all(np.array_equal(*rows) for rows in zip(found.positives, truth, strict=True))
