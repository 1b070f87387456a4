"""Photos with positions: what fits together, and who is near whom."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vpr.data.file_lists import FileNames
from vpr.data.geotagged import GeotaggedImages, near

NAN = float("nan")


def photos(positions: list[list[float]], groups: list[int] | None = None) -> GeotaggedImages:
    count = len(positions)
    files = [f"{i}.jpg" for i in range(count)]
    return GeotaggedImages(
        "toy", Path("root"), files, np.array(positions, float), np.full(count, NAN), np.array(groups or [0] * count)
    )


def test_the_radius_is_included_and_unknown_positions_are_near_nothing() -> None:
    database = photos([[0, 0], [NAN, NAN], [25, 0], [26, 0]])
    queries = photos([[0, 0], [NAN, 0]])
    assert [rows.tolist() for rows in near(database, queries, 25)] == [[0, 2], []]


def test_equal_coordinates_of_two_cities_are_not_near() -> None:
    database = photos([[0, 0], [0, 0], [1, 0]], [0, 1, 1])
    assert [rows.tolist() for rows in near(database, photos([[0, 0], [0, 0], [0, 0]], [1, 0, 7]), 5)] == [
        [1, 2],
        [0],
        [],
    ]


def test_paths_and_known() -> None:
    found = photos([[0, 0], [NAN, 1]])
    assert found.paths == [Path("root/0.jpg"), Path("root/1.jpg")] and found.known.tolist() == [True, False]


@pytest.mark.parametrize("kind", [list, FileNames])
def test_rows_are_taken_in_their_order(kind: type) -> None:
    found = photos([[0, 0], [1, 0], [2, 0]], [5, 6, 7])
    taken = replace(found, files=kind(found.files)).take([2, 0])
    assert isinstance(taken.files, kind) and list(taken.files) == ["2.jpg", "0.jpg"]
    assert taken.positions.tolist() == [[2, 0], [0, 0]] and taken.groups.tolist() == [7, 5]
    assert len(taken) == 2 and len(found.take([])) == 0


@pytest.mark.parametrize("positions", [np.zeros((1, 2)), np.zeros((2, 4)), np.zeros(2)])
def test_what_does_not_fit_is_refused(positions: np.ndarray) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        GeotaggedImages("toy", Path(), ["a", "b"], positions, np.zeros(2), np.zeros(2, int))
