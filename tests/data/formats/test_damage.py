"""Damaged and unusual copies of every layout: each gives a DataError that names the thing, or works."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from hydra.errors import InstantiationException
from scipy.io import loadmat, savemat

from vpr.data.formats import gsv_cities
from vpr.data.formats.dbstruct import FIELDS
from vpr.data.retrieval_set import RetrievalSet
from vpr.errors import DataError


class Layout(NamedTuple):
    """A layout with one reader: its folder, the dataset, settings, lists that are read, a folder of the database."""

    folder: str
    dataset: str
    settings: dict[str, Any]
    lists: tuple[str, ...]
    images: str


NPY = ("dbImages", "qImages", "qIdx", "pIdx")
CSV = tuple(f"train_val/cph/query/{name}.csv" for name in ("postprocessed", "raw", "subtask_index"))
LAYOUTS = {
    "mixvpr": Layout("pitts250k", "pitts30k", {}, ("datasets/pitts30k_test.mat",), "000"),
    "openibl": Layout("pitts250k_openibl", "pitts30k", {}, ("raw/pitts30k_test.mat",), "raw/Pittsburgh/images/000"),
    "tokyo": Layout("tokyo247", "tokyo247", {}, ("tokyo247.mat",), "images/03814"),
    "msls": Layout("msls", "msls_740", {}, CSV, "train_val/cph/database/images"),
    "msls_lists": Layout(
        "msls_val", "msls_val", {}, tuple(f"msls_val_{n}.npy" for n in NPY), "train_val/cph/database/images"
    ),
    "lists": Layout(
        "pitts250k", "pitts30k_lists", {}, tuple(f"pitts30k_test_{n}.npy" for n in (*NPY[:2], "gt")), "000"
    ),
    "utm": Layout("pitts30k", "pitts30k_utm", {}, (), "images/test/database"),
    "pairs": Layout("vprbench/Tokyo247", "tokyo247_vprbench", {}, ("ground_truth_new.npy",), "ref"),
    "exif": Layout("own_photos", "image_folder", {}, (), "database"),
    "csv": Layout("own_photos", "image_folder", {"csv": "positions.csv"}, ("positions.csv",), "database"),
}
LISTS = [(name, file) for name, layout in LAYOUTS.items() for file in layout.lists]
BY_NAME = {"mixvpr", "openibl", "tokyo", "msls", "msls_lists", "lists", "pairs", "csv"}  # know what must be there


@pytest.fixture
def make(toycity, tmp_path: Path) -> Callable[[str], tuple[Path, Callable[..., RetrievalSet]]]:
    """Copy a layout; give the copy and what reads it."""

    def copy(name: str, to: str = "copy") -> tuple[Path, Callable[..., RetrievalSet]]:
        layout = LAYOUTS[name]
        root = toycity.copy(layout.folder, tmp_path / to)
        return root, lambda **more: toycity.read(layout.dataset, root, **layout.settings, **more)

    return copy


@contextmanager
def data_error(*named: str) -> Iterator[None]:
    """A reader ends in a DataError whose sentence holds all of this."""
    with pytest.raises(InstantiationException) as caught:
        yield
    cause = caught.value.__cause__
    assert isinstance(cause, DataError), repr(cause)
    for part in named:
        assert part in str(cause)


@pytest.mark.parametrize("name", LAYOUTS)
def test_missing_photos_are_named_or_counted_and_can_be_skipped(make, name: str) -> None:
    root, read = make(name)
    whole = read()
    gone = whole.database[20], whole.queries[7], whole.queries[8]
    for path in gone:
        path.unlink()
    with data_error(gone[0].name if name in BY_NAME else "71 were found"):
        read()
    left = read(missing="skip")
    assert left.protocol.id == f"{whole.protocol.id}[71of72db,16of18q]"
    assert [*left.database] == [path for path in whole.database if path not in gone]
    assert [*left.queries] == [path for path in whole.queries if path not in gone]
    for query, right in zip(left.queries, left.positives, strict=True):
        before = whole.positives[[*whole.queries].index(query)]
        assert [left.database[row] for row in right] == [
            whole.database[row] for row in before if whole.database[row] not in gone
        ]


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_missing_database_is_named(make, name: str) -> None:
    root, read = make(name)
    moved = root / LAYOUTS[name].images
    moved.rename(root / "elsewhere")
    with data_error(str(moved)):
        read()


@pytest.mark.parametrize(("name", "file"), LISTS)
def test_a_missing_list_is_named(make, name: str, file: str) -> None:
    root, read = make(name)
    (root / file).unlink()
    with data_error(Path(file).name, str(root)):
        read()


@pytest.mark.parametrize("damage", ["cut", "empty", "no rows"])
@pytest.mark.parametrize(("name", "file"), LISTS)
def test_a_truncated_list_is_named(make, name: str, file: str, damage: str) -> None:
    root, read = make(name)
    damaged = root / file
    content = damaged.read_bytes()
    if damage == "empty":
        damaged.write_bytes(b"")
    elif damaged.suffix == ".csv":
        lines = content.splitlines()
        cut = lines[: len(lines) // 2]
        cut.append(lines[len(cut)].rpartition(b",")[0].rpartition(b",")[0][:-3])  # ends in mid-row
        damaged.write_bytes(b"\n".join(lines[:1] if damage == "no rows" else cut))
    elif damage == "no rows":
        damaged.write_bytes(content[:64])  # a part of the header
    else:
        damaged.write_bytes(content[: len(content) // 2])
    with data_error(Path(file).name):
        read()


@pytest.mark.parametrize("column", ["path", "lat", "lon"])
def test_a_missing_column_of_positions_is_named(make, column: str) -> None:
    root, read = make("csv")
    edit_csv(root / "positions.csv", lambda table: table.drop(columns=column))
    with data_error("positions.csv", f"no column {column}"):
        read()


@pytest.mark.parametrize(
    ("file", "column"), [(CSV[0], "key"), (CSV[0], "easting"), (CSV[1], "pano"), (CSV[1], "ca"), (CSV[2], "all")]
)
def test_a_missing_column_of_msls_is_named(make, file: str, column: str) -> None:
    root, read = make("msls")
    edit_csv(root / file, lambda table: table.drop(columns=column))
    with data_error(file, f"no column {column}"):
        read()


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("name", ["mixvpr", "tokyo"])
def test_a_missing_field_of_a_mat_is_named(make, name: str, field: str) -> None:
    root, read = make(name)
    file = root / LAYOUTS[name].lists[0]
    edit_mat(file, lambda fields: fields.pop(field))
    with data_error(str(file), f"no field {field}"):
        read()


def test_swapped_degrees_are_noticed_where_they_are_no_place_on_earth(make) -> None:
    """Moved from 14 to 139 degrees east, where Tokyo is: 139 is no latitude."""
    root, read = make("csv")
    edit_csv(root / "positions.csv", lambda table: table.assign(lon=table.lon + 125))
    assert len(read().positives[0])
    edit_csv(root / "positions.csv", lambda table: table.rename(columns={"lat": "lon", "lon": "lat"}))
    with data_error("positions.csv", "Latitude and longitude look swapped"):
        read()


@pytest.mark.parametrize(
    "swap", [{"easting": "northing", "northing": "easting"}, {"easting": "lat", "northing": "lon"}]
)
def test_swapped_metres_or_degrees_of_msls_are_noticed(make, swap: dict[str, str]) -> None:
    root, read = make("msls")
    degrees = pd.read_csv(root / CSV[1])[["lat", "lon"]]
    edit_csv(root / CSV[0], lambda table: table.assign(**{to: table.join(degrees)[of] for to, of in swap.items()}))
    with data_error(CSV[0], "easting"):
        read()


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads what nobody else may")
@pytest.mark.parametrize("name", LAYOUTS)
def test_an_unreadable_folder_is_named(make, name: str) -> None:
    root, read = make(name)
    closed = root / LAYOUTS[name].images
    closed.chmod(0)
    try:
        with data_error(str(closed)):
            read()
    finally:
        closed.chmod(0o755)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_folder_may_have_any_name(make, name: str) -> None:
    _, read = make(name, "Fotos aus Zürich, 東京 [2] #1 & (alt)")
    assert min(map(len, read().positives)) >= 12


@pytest.mark.parametrize("name", LAYOUTS)
def test_upper_case_extensions(make, name: str) -> None:
    root, read = make(name)
    before = read()
    for path in [*before.database, *before.queries]:
        path.rename(path.with_suffix(path.suffix.upper()))
    if name in ("msls", "msls_lists", "lists", "csv"):  # say exactly what each file is called
        with data_error(before.database[0].name):
            read()
    else:
        after = read()
        assert [path.name.lower() for path in after.database] == [path.name.lower() for path in before.database]
        assert [path.suffix.isupper() for path in after.queries] == [True] * 18
        assert [rows.tolist() for rows in after.positives] == [rows.tolist() for rows in before.positives]


@pytest.mark.parametrize("name", LAYOUTS)
def test_file_names_may_have_blanks_and_any_letters(make, name: str) -> None:
    """On disk and in the lists alike; hidden files that macOS leaves beside them are no photos."""
    root, read = make(name)
    before = read()
    for path in [*before.database, *before.queries]:
        (path.parent / f"._{path.name}").write_bytes(b"\0")
        path.rename(path.with_name(unusual(path.name)))
    for file in LAYOUTS[name].lists:
        rename_in(root / file)
    after = read()
    assert [path.name for path in after.database] == [unusual(path.name) for path in before.database]
    assert [path.name for path in after.queries] == [unusual(path.name) for path in before.queries]
    assert [rows.tolist() for rows in after.positives] == [rows.tolist() for rows in before.positives]


def test_names_of_gsv_cities_may_have_blanks_and_any_letters(toycity, tmp_path: Path) -> None:
    root = toycity.copy("gsv_cities", tmp_path / "copy")
    before = gsv_cities.read(root)
    (root / "Images/Sketchwell").rename(root / "Images/São Paulo 東")
    (root / "Dataframes/Sketchwell.csv").rename(root / "Dataframes/São Paulo 東.csv")
    edit_csv(root / "Dataframes/São Paulo 東.csv", lambda table: table.assign(city_id="São Paulo 東"))
    for path in (root / "Images/São Paulo 東").iterdir():
        path.rename(path.with_name(path.name.replace("Sketchwell", "São Paulo 東")).with_suffix(".JPG"))
    after = gsv_cities.read(root)
    assert len(after.files) == len(before.files) == 90
    assert all(after.path(image).is_file() for image in range(90))


@pytest.mark.parametrize("column", ["place_id", "lat", "panoid"])
def test_damaged_tables_of_gsv_cities_are_named(toycity, tmp_path: Path, column: str) -> None:
    root = toycity.copy("gsv_cities", tmp_path / "copy")
    csv = root / "Dataframes/Sketchwell.csv"
    lines = csv.read_text().splitlines()
    for content in (lines[0], "\n".join([*lines[:9], lines[9][:30]]), ""):
        csv.write_text(content)
        with pytest.raises(DataError, match=re.escape(str(csv))):
            gsv_cities.read(root)
    csv.write_text("\n".join(lines) + "\n")
    edit_csv(csv, lambda table: table.drop(columns=column))
    with pytest.raises(DataError, match=f"Sketchwell.csv has no column {column}"):
        gsv_cities.read(root)


def unusual(name: str) -> str:
    return f"Übersicht 東 {name}"


def rename_in(file: Path) -> None:
    """Change the names in a list."""
    if file.suffix == ".mat":
        lists = "dbImageFns", "qImageFns"
        edit_mat(file, lambda fields: fields.update({field: renamed(fields[field]) for field in lists}))
    elif file.suffix == ".npy":
        names = np.load(file, allow_pickle=True)
        if names.dtype.kind == "U":
            np.save(file, renamed(names).astype(str))
    elif file.name == "positions.csv":
        edit_csv(file, lambda table: table.assign(path=renamed(table.path.to_numpy())))
    else:
        for csv in file.parents[3].rglob(file.name):
            edit_csv(csv, lambda table: table.assign(key=[unusual(key) for key in table.key]))


def renamed(names: np.ndarray) -> np.ndarray:
    parts = [str(name).rpartition("/") for name in names.ravel()]
    return np.array([folder + slash + unusual(name) for folder, slash, name in parts], object)


def edit_csv(csv: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    change(pd.read_csv(csv)).to_csv(csv, index=False)


def edit_mat(mat: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    struct = loadmat(mat, struct_as_record=False, squeeze_me=True)["dbStruct"]
    fields = {field: getattr(struct, field) for field in struct._fieldnames}
    change(fields)
    savemat(mat, {"dbStruct": fields})
