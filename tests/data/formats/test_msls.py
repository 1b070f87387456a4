"""The official layout of MSLS, on csv files written here: which photos are database, query and positive."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest

from vpr.data import cells
from vpr.data.formats import msls
from vpr.data.npy import load_npy
from vpr.errors import ConfigError, DataAbsent, DataError
from vpr.types import Protocol

TOY = Protocol("toy@25m")
Row = tuple[str, float, float, float | str, bool, bool, bool]  # key, east, north, compass, panorama, all, s2w

# 30 m apart along a street; q0 is 25 m from d0 exactly, q1 25.1 m beside d1; p are panoramas; x1 is in `all` only.
CPH = {
    "database": [
        ("d0", 0, 0, 0, False, True, True),
        ("dp", 1, 0, 0, True, True, True),
        ("d1", 0, 30, -90, False, True, False),
        ("d2", 0, 60, "", False, True, True),
    ],
    "query": [
        ("q0", 25, 0, 10, False, True, True),
        ("qp", 0, 0, 0, True, True, True),
        ("q1", 25.1, 30, 0, False, True, True),
        ("q2", 0, 45, 0, False, True, True),
        ("q3", 0, 1, 0, False, False, False),
    ],
}
SF = {"database": [("e0", 0, 0, 0, False, True, True)], "query": [("r0", 0, 5, 0, False, True, False)]}


def write_side(folder: Path, rows: Iterable[Row], images: bool = True) -> None:
    """Write the three csv files, with the columns of msls_metadata.zip, and empty image files."""
    (folder / "images").mkdir(parents=True)
    lines: dict[str, list[str]] = {
        "postprocessed.csv": [",key,easting,northing,unique_cluster,control_panel,night,view_direction"],
        "raw.csv": [",key,lon,lat,ca,captured_at,pano"],
        "subtask_index.csv": [",key,all,s2w,w2s,o2n,n2o,d2n,n2d"],
    }
    for number, (key, east, north, compass, pano, in_all, in_s2w) in enumerate(rows):
        for name, values in (
            ("postprocessed.csv", (350_000 + east, 6_170_000 + north, 0, False, False, "Forward")),
            ("raw.csv", (12.5, 55.6, compass, "2018-01-01", pano)),
            ("subtask_index.csv", (in_all, in_s2w, False, False, False, False, False)),
        ):
            lines[name].append(",".join(map(str, (number, key, *values))))
        if images:
            (folder / "images" / f"{key}.jpg").touch()
    for name, content in lines.items():
        (folder / name).write_text("\n".join(content) + "\n")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for city, sides in (("cph", CPH), ("sf", SF)):
        for side, rows in sides.items():
            write_side(tmp_path / "train_val" / city / side, rows)  # type: ignore[arg-type]
    return tmp_path


def names(paths: Sequence[Path]) -> list[str]:
    return [path.stem for path in paths]


def positives(found) -> list[list[int]]:
    return [rows.tolist() for rows in found.positives]


def test_official_validation_drops_panoramas_and_queries_without_positives(root: Path) -> None:
    found = msls.read(root, TOY)
    assert names(found.database) == ["d0", "d1", "d2", "e0"]
    assert names(found.queries) == ["q0", "q2", "r0"]  # q1 has no positive, q3 is not in `all`
    assert positives(found) == [[0], [1, 2], [3]]  # r0 is where d0 is, but of another city
    assert found.queries[0] == root / "train_val/cph/query/images/q0.jpg"


def test_every_query_is_kept_where_the_protocol_wants_it(root: Path) -> None:
    found = msls.read(root, Protocol("toy-11k@25m", no_positives="miss"), subtask=None, keep_unmatched=True)
    assert names(found.queries) == ["q0", "q1", "q2", "q3", "r0"]
    assert positives(found) == [[0], [], [1, 2], [0], [3]]


def test_subtasks_choose_database_and_queries_and_cities_are_searched_alone(root: Path) -> None:
    found = msls.read(root, TOY, subtask="s2w")
    assert (names(found.database), names(found.queries), positives(found)) == (
        ["d0", "d2", "e0"],
        ["q0", "q2"],
        [[0], [1]],
    )
    swapped = msls.read(root, TOY, ["sf", "cph"])
    assert (names(swapped.queries), positives(swapped)) == (["r0", "q0", "q2"], [[0], [1], [2, 3]])
    assert positives(msls.read(root, TOY, ["sf"])) == [[0]]
    with pytest.raises(DataError, match="toy@25m has no database images"):
        msls.read(root, TOY, subtask="d2n")


def test_photos_for_training_have_headings_and_a_group_a_city(root: Path) -> None:
    found = msls.photos(root, ["cph", "sf"])
    assert [Path(file).stem for file in found.files] == ["d0", "d1", "d2", "q0", "q1", "q2", "q3", "e0", "r0"]
    assert found.groups.tolist() == [0] * 7 + [1] * 2
    assert found.positions[1].tolist() == [350_000, 6_170_030]
    np.testing.assert_array_equal(found.headings[:4], [0, 270, np.nan, 10])
    assert found.paths[0].is_file()
    places = cells.read(found, cell=10, angle=None, apart=0, min_images_per_place=2)
    assert sorted(places.path(i).stem for i in range(len(places.files))) == ["d0", "e0", "q3", "r0"]


def test_missing_images_are_counted(root: Path) -> None:
    (root / "train_val/cph/database/images/d1.jpg").unlink()
    with pytest.raises(DataError, match=r"1 of 4 database images of toy@25m are missing .*d1\.jpg"):
        msls.read(root, TOY)
    assert msls.read(root, TOY, missing="skip").protocol.id == "toy@25m[3of4db]"
    assert len(msls.read(root, TOY, missing="ignore").database) == 4


def test_nothing_there_is_absent_and_a_city_or_csv_is_named(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    empty = tmp_path_factory.mktemp("empty")
    for folder in (empty / "msls", empty):
        with pytest.raises(DataAbsent, match="must hold train_val/<city>"):
            msls.read(folder, TOY)
    with pytest.raises(DataError, match=r"no city oslo .*there: cph, sf") as caught:
        msls.read(root, TOY, ["cph", "oslo"])
    assert not isinstance(caught.value, DataAbsent)
    (root / "train_val/cph/query/raw.csv").unlink()
    with pytest.raises(DataError, match=r"no file .*cph/query/raw\.csv.*msls_metadata\.zip"):
        msls.read(root, TOY)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("postprocessed.csv", "northing", "y", r"postprocessed\.csv has no column northing"),
        ("raw.csv", ",ca,", ",compass,", r"raw\.csv has no column ca"),
        ("subtask_index.csv", "all", "every", r"subtask_index\.csv has no column all"),
        ("postprocessed.csv", "350025,6170000", "55.6,12.5", r"Line 2 of .* has easting 55\.6; expected UTM metres"),
        ("postprocessed.csv", "350025,6170000", "6170000,350025", r"Line 2 of .* has easting 6170000.*swapped"),
        ("postprocessed.csv", "350025,6170000", "350025,north", r"Line 2 of .* has northing north"),
        (
            "postprocessed.csv",
            "4,q3,350000,6170001,0,False,False,Forward\n",
            "4,q3,35",
            r"Line 6 of .* has no northing",
        ),
        ("postprocessed.csv", "4,q3,350000,6170001,0,False,False,Forward\n", "", r"raw\.csv does not list the images"),
        ("raw.csv", "4,q3,12.5,55.6,0,2018-01-01,False\n", "4,q3,12.5,55.6,0,2018-01-01,Fa", r"Line 6 .*'Fa' for pano"),
        ("subtask_index.csv", "2,q1", "2,q9", r"subtask_index\.csv does not list the images"),
    ],
)
def test_damaged_csv_files_are_named(root: Path, name: str, old: str, new: str, message: str) -> None:
    csv = root / "train_val/cph/query" / name
    content = csv.read_text()
    assert old in content
    csv.write_text(content.replace(old, new))
    with pytest.raises(DataError, match=message):
        msls.read(root, TOY)


def test_wrong_arguments_are_refused(root: Path) -> None:
    with pytest.raises(ConfigError, match="cities='cph'"):
        msls.photos(root, "cph")
    with pytest.raises(ConfigError, match="side=query is unknown: choose database, queries, both"):
        msls.photos(root, ["cph"], "query")


def test_names_of_the_real_validation_set_give_its_counts(shared: Path, tmp_path: Path) -> None:
    """Real keys and matched queries; positions are invented: a query stands at its first real positive."""
    lists = shared / "metadata/gsv_cities_npy/msls_val"
    queries, used, truth = (load_npy(lists / f"msls_val_{name}.npy") for name in ("qImages", "qIdx", "pIdx"))
    first = {int(query): int(min(rows)) for query, rows in zip(used, truth, strict=True)}
    number = 0
    for city in msls.VAL:
        index = (shared / f"metadata/patchnetvlad/mapillary{city}_imageNames_index.txt").read_text().split()
        keys = [Path(name).stem for name in index]
        write_side(
            tmp_path / "train_val" / city / "database",
            [(key, 0, 100 * (number + row), 0, False, True, True) for row, key in enumerate(keys)],
            images=False,
        )
        write_side(
            tmp_path / "train_val" / city / "query",
            [
                (Path(str(name)).stem, 0 if row in first else 9000, 100 * first.get(row, 0), 0, False, True, True)
                for row, name in enumerate(queries)
                if f"/{city}/" in str(name)
            ],
            images=False,
        )
        number += len(keys)
    protocol = Protocol("msls-val-740@25m", 18871, 740)
    found = msls.read(tmp_path, protocol, missing="ignore")
    assert [path.relative_to(tmp_path).as_posix() for path in found.queries] == [str(name) for name in queries[used]]
    assert positives(found) == [[row] for row in first.values()]
    for city, database, count in (("cph", 12556, 498), ("sf", 6315, 242)):
        msls.read(tmp_path, Protocol(f"msls-val-740-{city}@25m", database, count), [city], missing="ignore")
    assert len(msls.read(tmp_path, Protocol("all", 18871, 747), keep_unmatched=True, missing="ignore").queries) == 747
