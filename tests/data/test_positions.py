"""Positions that are none (0, 0, booleans, degrees in the place of metres) make no recall."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from vpr.data import tuples
from vpr.data.formats import dbstruct, image_folder, patchnetvlad, utm_folder
from vpr.data.formats.place_lists import numbers, read_rows
from vpr.data.geotagged import zeros_unknown
from vpr.data.retrieval_set import RetrievalSet
from vpr.errors import DataError
from vpr.types import Protocol

OWN = Protocol("own@25m")
UTM = "@0544388.51@4172758.25@{}@.jpg"


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def csv(root: Path, rows: list[str]) -> None:
    """Write positions.csv and an empty image for each row of it."""
    (root / "positions.csv").write_text("path,lat,lon\n" + "".join(f"{row}\n" for row in rows))
    touch(root, *(row.partition(",")[0] for row in rows))


def test_a_csv_of_zeros_has_no_positions(tmp_path: Path) -> None:
    csv(tmp_path, [f"{side}/{n}.jpg,0,0" for side in ("database", "queries") for n in range(4)])
    with pytest.raises(DataError, match="recall needs positions, but 0 of 4 database photos and 0 of 4 queries"):
        image_folder.read(tmp_path, OWN, csv="positions.csv")


def test_zeros_among_degrees_are_unknown_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    csv(tmp_path, ["database/1.jpg,0,0", "database/2.jpg,48,16", "queries/1.jpg,0.0,0.0", "queries/2.jpg,48,16"])
    found = image_folder.read(tmp_path, OWN, csv="positions.csv")
    assert [rows.tolist() for rows in found.positives] == [[], [1]]
    assert "2 of 4 positions are 0, 0, and count as unknown" in caplog.text


def test_booleans_are_no_degrees(tmp_path: Path) -> None:
    csv(tmp_path, ["database/1.jpg,True,False", "queries/1.jpg,True,False"])
    with pytest.raises(DataError, match="Line 2 of .* has no number in lat or lon"):
        image_folder.read(tmp_path, OWN, csv="positions.csv")
    rows = read_rows(tmp_path / "positions.csv", ["lat"])
    assert np.isnan(numbers(rows, "lat")).all() and np.isnan(numbers(rows, "absent")).all()


def test_utm_names_of_zeros_have_no_positions(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{side}/@0@0@{n}.jpg" for side in ("database", "queries") for n in range(4)))
    with pytest.raises(DataError, match="none of the 4 images in .* has a position"):
        utm_folder.read(tmp_path, OWN)


def test_zeros_among_utm_metres_are_unknown_and_a_place_among_frames(caplog: pytest.LogCaptureFixture) -> None:
    utm = np.array([[0, 0], [544388.5, 4172758.2], [0, 0]])
    assert np.isnan(zeros_unknown(utm, "x.mat")).all(axis=1).tolist() == [True, False, True]
    assert "x.mat: 2 of 3 positions are 0, 0" in caplog.text
    frames = np.array([[0, 0], [0, 2.4], [0, 4.8]])  # as Nordland's names have them
    assert zeros_unknown(frames, "names") is frames


def test_zeros_of_mat_and_npz(tmp_path: Path) -> None:
    utm = np.array([[0, 0], [544388.5, 4172758.2]])
    names = np.array(["1.jpg", "2.jpg"], object)
    content = {"dbImageFns": names, "qImageFns": names, "utmDb": utm.T, "utmQ": utm.T, "posDistThr": 25}
    savemat(tmp_path / "x.mat", {"dbStruct": content | {"numImages": 2, "numQueries": 2}})
    struct = dbstruct.read_mat(tmp_path / "x.mat")
    np.savez(tmp_path / "x.npz", utmDb=utm, utmQ=utm, posDistThr=25)
    truth = patchnetvlad.read_npz(tmp_path / "x.npz")
    for sides in ((struct.database_utm, struct.queries_utm), truth[:2]):
        assert [np.isnan(side).all(axis=1).tolist() for side in sides] == [[True, False]] * 2


def test_degrees_of_two_cities_are_refused(tmp_path: Path) -> None:
    """Their span is no longer that of one city, but all of them lie within 25 of what is said to be metres."""
    places = ("@46.62@14.31@", "@49.61@17.25@")
    touch(tmp_path, *(f"{side}/{place}{n}@.jpg" for side in ("database", "queries") for place in places for n in "12"))
    with pytest.raises(DataError, match=r"nearly all of the 4 database images.*Are the positions metres"):
        utm_folder.read(tmp_path, OWN)


def test_a_set_in_which_all_is_near_is_refused_unless_allowed() -> None:
    images = [Path(f"{n}.jpg") for n in range(10)]
    near = [np.arange(9)] * 9 + [np.arange(0)]
    with pytest.raises(DataError, match=r"\+\+dataset.eval.NAME.protocol.all_near=true"):
        RetrievalSet(OWN, images, images, near)
    assert len(RetrievalSet(Protocol("own@25m", all_near=True), images, images, near).queries) == 10
    assert len(RetrievalSet(OWN, images, images, [np.arange(9)] * 8 + near[-1:] * 2).queries) == 10


def test_degrees_are_refused_in_training_photos_too(tmp_path: Path) -> None:
    touch(tmp_path, "@46.62@14.31@.jpg", "@46.63@14.32@.jpg")
    with pytest.raises(DataError, match="look like degrees"):
        utm_folder.photos(tmp_path)


def test_tuples_without_negatives_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, *(f"{side}/{UTM.format(n)}" for side in ("gallery", "queries") for n in range(2)))
    sides = [utm_folder.photos(tmp_path, side) for side in ("queries", "gallery")]
    with caplog.at_level(logging.WARNING):
        tuples.read(*sides, capture=".+")
    assert "so there are no negatives. Are the positions metres" in caplog.text
