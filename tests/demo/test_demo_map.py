"""Maps of the demo: metres from degrees anywhere on earth, and what is drawn where."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vpr.demo.answers import Answer, Match, Position, Query
from vpr.demo.map import MOST_DOTS, City, Plane, Point, View, apart, labels, length, short
from vpr.retrieval.index.photo_table import Photos

PLACES = {
    "alps": (46.6, 14.3),
    "south and west": (-33.9, -70.6),
    "date line": (-17.0, 180.0),
    "null": (0.0, 0.0),
    "far north": (78.2, 15.6),
}


def photos(degrees: np.ndarray, unit: str = "degrees") -> Photos:
    zeros = np.zeros(len(degrees), np.int64)
    return Photos(Path("map"), [f"{row}.jpg" for row in range(len(degrees))], zeros, zeros, degrees, unit)


def around(place: tuple[float, float], east: np.ndarray, north: np.ndarray) -> np.ndarray:
    """Degrees of places so many metres from a place, by the radius of the earth there: right to 1 %."""
    lat = place[0] + np.degrees(north / 6.37e6)
    lon = place[1] + np.degrees(east / 6.37e6 / np.cos(np.radians(place[0])))
    return np.stack([lat, (lon + 180) % 360 - 180], axis=1)


def answer(*positions: Position | None, estimate: Position | None = None, own: Position | None = None) -> Answer:
    matches = tuple(Match(n, f"{n}.jpg", Path(f"{n}.jpg"), 0.9, place) for n, place in enumerate(positions))
    return Answer(Query("q.jpg", Path("q.jpg"), own), matches, position=estimate)


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_metres_are_right_everywhere(place: tuple[float, float]) -> None:
    east, north = np.array([-400.0, 0, 0, 300]), np.array([0, -200.0, 500, 0])
    metres = (plane := Plane.around(around(place, east, north))).metres(around(place, east, north))
    expected = np.stack([east, north], axis=1)
    assert np.allclose(metres - metres.mean(axis=0), expected - expected.mean(axis=0), atol=5)
    assert np.abs(metres).max() < 600  # the centre is amid them
    # Exact between two points by the straight line through the earth, a hair shorter than the way on the ground.
    first, second = around(place, east, north)[[0, 3]].tolist()
    assert apart(tuple(first), tuple(second)) == pytest.approx(np.linalg.norm(metres[3] - metres[0]), rel=1e-6)
    assert plane.metres(np.array([[plane.lat, plane.lon]])) == pytest.approx(np.zeros((1, 2)), abs=1e-6)


def test_a_view_has_one_scale_and_north_is_up() -> None:
    view = View.over(np.array([[0.0, 0], [1000, 100]]), 360, 270, 30, 60)
    assert view.scale == pytest.approx(0.3)  # 300 pixels for 1000 m
    assert view.at(np.array([[0.0, 0], [1000, 0], [500, 150]])).tolist() == [[30, 150], [330, 150], [180, 105]]
    assert view.corners == pytest.approx(np.array([[-100.0, -400], [1100, 500]]))
    assert view.bar == 200  # of 300 m, a quarter of the width
    one = View.over(np.zeros((1, 2)), 360, 270, 30, 60)
    assert (one.scale, one.at(np.zeros((1, 2))).tolist()) == (6, [[180, 135]])  # 60 m from left to right


def test_lengths_in_words() -> None:
    assert [length(m) for m in (0.2, 3, 12.4, 999.4, 1234, 45_678, 12_345_678)] == [
        "0.2 m", "3 m", "12 m", "999 m", "1.23 km", "45.7 km", "12,346 km",
    ]  # fmt: skip


def test_ranks_that_would_cover_each_other_share_a_label() -> None:
    pixels = np.array([[100.0, 100], [105, 100], [300, 100], [95, 110], [104, 100], [300, 125]])
    assert [label.ranks for label in labels([1, 2, 3, 4, 5, 7], pixels)] == ["7", "3", "1,2,4,5"]
    assert (short([1, 2, 3, 5]), short([4]), short([1, 2])) == ("1–3,5", "4", "1,2")


def test_no_map_without_positions_in_degrees() -> None:
    assert City.of(photos(np.full((3, 2), np.nan))) is None
    assert City.of(photos(np.ones((3, 2)), "metres")) is None


def test_a_city_of_many_photos_is_drawn_with_few_dots_and_one_far_off_does_not_squeeze_it() -> None:
    rng = np.random.default_rng(0)
    degrees = around((-17.0, 180.0), *rng.uniform(-2000, 2000, (2, 3 * MOST_DOTS)))
    degrees = np.concatenate([degrees, degrees, [[0.0, 0.0], [np.nan, 7]]])
    city = City.of(photos(degrees))
    assert city is not None
    assert len(city.places) == 3 * MOST_DOTS + 1 and len(city.dots) == MOST_DOTS
    assert np.abs(city.frame).max() < 2800  # and not a fifth of the way around the earth
    dots = city.overview([])["city"]
    assert dots.count("h0") == MOST_DOTS and len(dots) < 150_000
    # In a window of some 350 m all of its places are there, not a third of them.
    here = [Position(*degrees[row]) for row in np.argsort(np.abs(city.plane.metres(degrees[:MOST_DOTS])).sum(axis=1))]
    drawing = city.around(answer(*here[:3]))
    assert drawing is not None and drawing["ground"]["dots"].count("h0") > 5


def test_a_map_shows_matches_estimate_and_own_position_where_they_are() -> None:
    degrees = around((46.6, 14.3), np.arange(0.0, 1000, 10), np.zeros(100))
    city = City.of(photos(degrees))
    assert city is not None
    left, right, middle = (Position(*degrees[row]) for row in (20, 40, 30))
    drawing = city.around(answer(left, None, right, estimate=left, own=middle))
    assert drawing is not None
    assert drawing["label"] == "Map of the matches 1,3, the estimate, the photo's own position"
    assert drawing["labels"] == [(328, 135, 19, "3"), (32, 135, 19, "1")]
    assert (drawing["estimate"], drawing["exif"]) == (Point(32, 135), Point(180, 135))
    assert drawing["bar"]["label"] == "50 m"  # 200 m are 296 pixels; a quarter of 360 is 60.8 m
    assert city.around(answer(None, estimate=left)) is None


def test_own_position_far_away_is_not_drawn() -> None:
    city = City.of(photos(around((46.6, 14.3), np.arange(0.0, 1000, 10), np.zeros(100))))
    assert city is not None
    place = Position(46.6, 14.3)
    near, far = answer(place, own=Position(46.605, 14.3)), answer(place, own=Position(46.7, 14.3))
    assert (city.exif_position(near), city.exif_position(far), city.exif_position(answer(place))) == (
        near.query.position,
        None,
        None,
    )
    drawing = city.around(far)
    assert drawing is not None and drawing["exif"] is None and "own position" not in drawing["label"]


def test_the_overview_leads_to_the_answers() -> None:
    degrees = around((46.6, 14.3), np.arange(0.0, 1000, 10), np.zeros(100))
    found = [answer(estimate=Position(*degrees[0])), answer(), answer(estimate=Position(*degrees[-1]))]
    city = City.of(photos(degrees))
    assert city is not None
    drawing = city.overview(found)
    assert [(mark["number"], mark["x"], mark["y"]) for mark in drawing["estimates"]] == [(1, 20, 150), (3, 460, 150)]
    assert "100 places, with the estimates of 2 photos" in drawing["label"]
