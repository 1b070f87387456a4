"""Written layouts: fields and names of the published files, positions in EXIF, and nothing over what is there."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.io import loadmat

from vpr.data.formats.exif import read_fix
from vpr.data.images import decode
from vpr.errors import DataError
from vpr.toycity.layouts import __main__ as command
from vpr.toycity.layouts.album import link
from vpr.toycity.layouts.write import LAYOUTS, write_all
from vpr.toycity.layouts.writers import with_position

MATS = {
    "pitts250k/datasets/pitts30k_test.mat": "pitts30k_test.mat",
    "pitts250k_openibl/raw/pitts250k_val.mat": "pitts250k_val.mat",
    "tokyo247/tokyo247.mat": "tokyo247.mat",
    "tokyo_tm/tokyoTM_val.mat": "tokyoTM_val.mat",
}
PITTS = r"\d{3}/\d{6}_pitch[12]_yaw([1-9]|1[0-2])\.jpg"
TM = r"[\w-]{2}/(?P<place>[\w-]+)/_(?P<stamp>\d{6})/(?P=place)__(?P=stamp)_\d+\.\d{6}_\d+\.\d{6}_\d{3}_012\.jpg"
NAMES = {  # of the database, of the queries
    "pitts30k_test.mat": (PITTS, PITTS),
    "pitts250k_val.mat": (PITTS, PITTS),
    "tokyo247.mat": (r"\d{5}/\d+\.\d{3}_\d+\.\d{3}/[\w-]+_012_\d\d0\.jpg", r"\d{5}\.jpg"),
    "tokyoTM_val.mat": (TM, TM),
}


@pytest.mark.parametrize("ours", MATS)
def test_mats_are_built_like_the_published_ones(shared: Path, toycity, ours: str) -> None:
    """Fields in their order, kinds and shapes, but for the counts; the names too look alike."""
    theirs = loadmat(shared / "metadata/netvlad_dbstruct_mat" / MATS[ours])["dbStruct"]
    mine = loadmat(toycity.root / ours)["dbStruct"]
    assert mine.dtype.names == theirs.dtype.names and mine.shape == theirs.shape
    counts = [
        (int(struct[0, 0]["numImages"].item()), int(struct[0, 0]["numQueries"].item())) for struct in (mine, theirs)
    ]
    assert counts[0] == (72, 18)
    for field in mine.dtype.names:
        values = [struct[0, 0][field] for struct in (mine, theirs)]
        kinds = [value.dtype.kind.replace("u", "i") for value in values]  # MATLAB takes the smallest that holds it
        assert kinds[0] == kinds[1], field
        shapes = [
            tuple({pair[0]: "N", pair[1]: "Q"}.get(size, size) for size in value.shape)
            for value, pair in zip(values, counts, strict=True)
        ]
        assert shapes[0] == shapes[1], field
        if field.startswith(("pos", "nonTriv")):
            assert values[0].item() == values[1].item()


@pytest.mark.parametrize("ours", MATS)
def test_names_are_built_like_the_published_ones(shared: Path, toycity, ours: str) -> None:
    published = shared / "metadata/netvlad_dbstruct_mat" / MATS[ours]
    for path in (published, toycity.root / ours):
        struct = loadmat(path, struct_as_record=False, squeeze_me=True)["dbStruct"]
        for pattern, names in zip(NAMES[MATS[ours]], (struct.dbImageFns, struct.qImageFns), strict=True):
            assert [name for name in names[:: len(names) // 18] if not re.fullmatch(pattern, name)] == []


def test_npy_lists_are_built_like_the_published_ones(shared: Path, toycity) -> None:
    theirs, mine = shared / "metadata/gsv_cities_npy/msls_val", toycity.root / "msls_val"
    for name in ("qImages", "qIdx", "pIdx"):
        files = [folder / f"msls_val_{name}.npy" for folder in (theirs, mine)]
        arrays = [np.load(file, allow_pickle=True) for file in files]
        assert arrays[0].dtype.kind == arrays[1].dtype.kind and arrays[0].ndim == arrays[1].ndim == 1
        if name == "qImages":
            for names in arrays:
                assert all(re.fullmatch(r"train_val/(cph|sf)/query/images/[\w-]+\.jpg", file) for file in names)
        if name == "pIdx":
            assert [array[0].dtype for array in arrays] == [np.int64] * 2
    theirs = np.load(shared / "metadata/vprbench_gt/Tokyo247/ground_truth_new.npy", allow_pickle=True)
    truth = np.load(toycity.root / "vprbench/Tokyo247/ground_truth_new.npy", allow_pickle=True)
    assert truth.dtype == theirs.dtype and truth.shape == (18, 2)
    assert [type(entry) for entry in truth[3]] == [type(entry) for entry in theirs[3]]


def test_msls_has_the_official_columns(toycity) -> None:
    folder = toycity.root / "msls/train_val/sf/database"
    columns = {
        "postprocessed": "key easting northing unique_cluster control_panel night view_direction",
        "raw": "key lon lat ca captured_at pano",
        "seq_info": "key sequence_key frame_number",
        "subtask_index": "key all s2w w2s o2n n2o d2n n2d",
    }
    for name, expected in columns.items():
        table = pd.read_csv(folder / f"{name}.csv", index_col=0)
        assert list(table.columns) == expected.split()
        assert table.index.tolist() == list(range(len(table)))
        assert set(table.key) == {path.stem for path in (folder / "images").iterdir()}
    assert table["all"].all() and not table["d2n"].eq(table["n2d"]).any()  # day or night


@pytest.mark.parametrize(("lat", "lon", "heading"), [(46.62, 14.31, 30), (-33.9, -70.65, 359.9), (0.5, 179.9999999, 0)])
def test_exif_is_inserted_without_touching_the_pixels(
    toycity, tmp_path: Path, lat: float, lon: float, heading: float
) -> None:
    drawn = toycity.album.folder / toycity.album.database.path[0]
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(with_position(drawn.read_bytes(), lat, lon, heading))
    assert photo.read_bytes().endswith(drawn.read_bytes()[2:])
    assert np.array_equal(decode(photo), decode(drawn))
    fix = read_fix(photo)
    assert (fix.lat, fix.lon) == pytest.approx((lat, lon), abs=2e-9)  # 0.2 mm
    assert fix.heading == pytest.approx(heading, abs=0.01) and not fix.magnetic


def test_photos_take_no_room_twice(toycity) -> None:
    drawn = (toycity.album.folder / toycity.album.queries.path[0]).stat()
    assert (toycity.root / "vprbench/Tokyo247/query/0000000.jpg").stat().st_ino == drawn.st_ino
    assert drawn.st_nlink > 5


def test_a_disk_without_links_gets_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "a").write_bytes(b"photo")
    link(tmp_path / "a", tmp_path / "below/b")
    assert (tmp_path / "below/b").read_bytes() == b"photo"


@pytest.mark.parametrize("folder", ["tokyo247", "vprbench/Tokyo247"])
def test_nothing_is_written_where_a_set_may_be(tmp_path: Path, folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(DataError, match=f"{folder} is there already"):
        write_all(tmp_path)
    assert command.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("DataError: ")
    assert len(list(tmp_path.iterdir())) == 1


def test_the_command_says_what_it_wrote(
    toycity, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "write_all", lambda out: toycity.album)
    assert command.main(["somewhere"]) == 0
    text = capsys.readouterr().out
    assert "72 database images and 18 queries in somewhere/" in text and "protocol.queries=18" in text
    assert all((toycity.root / name).is_dir() and name in text for name in LAYOUTS)
