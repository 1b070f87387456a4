"""The .mat itself: fields by name, counts, and what is said of files that are wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from vpr.data.formats.dbstruct import FIELDS, read_mat
from vpr.errors import DataError


def save(path: Path, drop: str = "", **changed: object) -> Path:
    names = np.empty((300, 1), dtype=object)
    names[:, 0] = [f"{n}.jpg" for n in range(300)]
    content = {
        "posDistThr": 25,
        "dbTimeStamp": np.arange(300),
        "numImages": np.uint16(300),
        "numQueries": np.uint8(255),
        "utmQ": np.ones((2, 255)),
        "utmDb": np.stack([np.arange(300.0), np.full(300, 7.0)]),
        "qImageFns": names[:255],
        "dbImageFns": names,
        **changed,
    }
    content.pop(drop, None)
    savemat(path, {"dbStruct": content}, do_compression=True)
    return path


def test_fields_are_read_by_name_and_counts_of_few_bits_do_not_overflow(tmp_path: Path) -> None:
    found = read_mat(save(tmp_path / "x.mat"))
    assert (len(found.database), len(found.queries), found.radius) == (300, 255, 25)
    assert found.database[299] == "299.jpg" and found.database_utm[299].tolist() == [299, 7]
    assert found.queries_utm.shape == (255, 2)


def test_a_single_image_is_still_a_list(tmp_path: Path) -> None:
    one = np.empty((1, 1), dtype=object)
    one[0, 0] = "q.jpg"
    found = read_mat(save(tmp_path / "x.mat", qImageFns=one, utmQ=np.array([[3.0], [4]]), numQueries=1))
    assert found.queries == ["q.jpg"] and found.queries_utm.tolist() == [[3, 4]]


@pytest.mark.parametrize("field", FIELDS)
def test_a_missing_field_is_named(tmp_path: Path, field: str) -> None:
    with pytest.raises(DataError, match=rf"x\.mat has no field {field}; it has .*dbTimeStamp"):
        read_mat(save(tmp_path / "x.mat", drop=field))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"numImages": 301}, r"says 301 database images \(numImages\) .* lists 300 and 255 names"),
        ({"numImages": 255, "numQueries": 300}, r"255 database images \(numImages\) and 300 queries \(numQueries\)"),
        ({"utmQ": np.ones((2, 254))}, "300 and 254 positions"),
        ({"utmDb": np.ones((300, 2))}, r"utmDb .*has the shape \(300, 2\); it must be \(2, N\)"),
        ({"posDistThr": "far"}, r"x\.mat cannot be read as a dbStruct"),
    ],
)
def test_a_mat_that_contradicts_itself_is_refused(tmp_path: Path, changed: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_mat(save(tmp_path / "x.mat", **changed))


@pytest.mark.parametrize(
    "damage", [lambda b: b[:300], lambda b: b[: len(b) // 2], lambda b: b"no mat" * 100, lambda b: b""]
)
def test_a_damaged_mat_is_refused(tmp_path: Path, damage) -> None:
    path = save(tmp_path / "x.mat")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"x\.mat cannot be read as a dbStruct"):
        read_mat(path)


def test_another_mat_is_refused(tmp_path: Path) -> None:
    savemat(tmp_path / "x.mat", {"something": 1})
    with pytest.raises(DataError, match="has no dbStruct; it has something"):
        read_mat(tmp_path / "x.mat")
    savemat(tmp_path / "x.mat", {"dbStruct": 1})
    with pytest.raises(DataError, match="has no field dbImageFns, utmDb, .*; it has none"):
        read_mat(tmp_path / "x.mat")


@pytest.mark.parametrize(
    ("mat", "counts"), [("tokyo247", (75984, 315)), ("tokyoTM_train", (49104, 7277)), ("tokyoTM_val", (49056, 7186))]
)
def test_published_counts_of_tokyo_whatever_the_order_of_fields(
    shared: Path, mat: str, counts: tuple[int, int]
) -> None:
    found = read_mat(shared / "metadata" / "netvlad_dbstruct_mat" / f"{mat}.mat")
    assert (len(found.database), len(found.queries)) == counts and found.radius == 25


def test_a_web_page_in_place_of_the_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.mat").write_text("\n<!DOCTYPE html><html><body>log in</body></html>" * 20)
    with pytest.raises(DataError, match=r"x\.mat cannot be read as a dbStruct \.mat: it is a web page"):
        read_mat(tmp_path / "x.mat")
