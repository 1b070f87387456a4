"""The street map, the stations, and the promise that 25 m never reach around a corner."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from vpr.errors import ConfigError
from vpr.toycity.map import DEPTH, FIRST, LAST, build_city, stations
from vpr.toycity.spec import TestSpec, TrainSpec
from vpr.toycity.survey import OBLIQUE, TOWNS, heading, shots


@pytest.fixture(scope="module")
def city():
    return build_city((3, 1), 40, 20)


def test_the_same_seed_gives_the_same_map(city) -> None:
    again, other = build_city((3, 1), 40, 20), build_city((4, 1), 40, 20)
    assert np.array_equal(city.centres, again.centres)
    assert not np.array_equal(city.centres[:5], other.centres[:5])


def test_the_city_grows_until_it_has_enough_stations(city) -> None:
    assert sum(len(stations(s, 40)) for s in city.streets) >= 20
    assert len(build_city((3, 1), 40, 60).streets) > len(city.streets)


def test_stations_keep_away_from_crossings(city) -> None:
    street = city.streets[0]
    found = stations(street, 12)
    assert found[0] == FIRST and found[-1] < street.length - LAST
    assert np.diff(found) == pytest.approx(12)


def test_fronts_stand_at_the_edge_of_their_block_and_look_outwards(city) -> None:
    for building in city.buildings:
        middle = building.corner + building.along * building.width / 2
        inside = middle - building.normal * (DEPTH / 2)
        outside = middle + building.normal * 3
        x0, y0, x1, y1 = city.blocks.T
        assert ((x0 < inside[0]) & (inside[0] < x1) & (y0 < inside[1]) & (inside[1] < y1)).sum() == 1
        assert not ((x0 < outside[0]) & (outside[0] < x1) & (y0 < outside[1]) & (outside[1] < y1)).any()


def test_buildings_of_a_row_touch_and_do_not_overlap(city) -> None:
    """South row of the first block: corner by corner along the whole side."""
    x0, _, x1, _ = city.blocks[0]
    row = [b for b in city.buildings if b.key[:-1] == city.buildings[0].key[:-1] and b.normal[1] == -1]
    assert row[0].corner[0] == pytest.approx(x0)
    assert sum(b.width for b in row) == pytest.approx(x1 - x0)
    for left, right in zip(row[:-1], row[1:], strict=True):
        assert left.corner[0] + left.width == pytest.approx(right.corner[0])


@pytest.mark.parametrize("spec", [TrainSpec(0, 60, 4), TestSpec(0, 120, 100), TestSpec(7, 120, 100)])
def test_within_25_m_is_the_same_side_of_the_same_street(spec) -> None:
    """So positives by position show the same fronts: cameras face the same side within the two headings' spread."""
    for town in {s.town for s in shots(spec)}:
        mine = [s for s in shots(spec) if s.town == town]
        pairs = cKDTree([(s.east, s.north) for s in mine]).query_pairs(25)
        assert pairs
        for a, b in pairs:
            assert mine[a].view.street == mine[b].view.street
            turn = (mine[a].heading - mine[b].heading + 180) % 360 - 180
            assert abs(turn) <= 32 + 1e-6


def test_cameras_look_obliquely_at_the_photographed_side() -> None:
    spec = TestSpec(0, 40, 1)
    turn = TOWNS[2][3]
    from vpr.toycity.survey import city_of

    for shot in shots(spec):
        street = city_of(spec, 2).streets[shot.view.street]
        expected = heading(street) - street.side * OBLIQUE + turn
        assert abs((shot.heading - expected + 180) % 360 - 180) <= 14


def test_training_places_of_a_town_do_not_mix() -> None:
    """Photos of different places are further apart than 25 m, of one place at most 2 * hypot(5, 1.2) m."""
    spec = TrainSpec(0, 60, 4)
    for town in (0, 1):
        mine = [s for s in shots(spec) if s.town == town]
        points = np.array([(s.east, s.north) for s in mine])
        apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
        same = np.equal.outer([s.place for s in mine], [s.place for s in mine])
        assert apart[same].max() <= 2 * np.hypot(5, 1.2) + 0.02
        assert apart[~same].min() > 25


def test_streets_and_facades_of_test_and_training_are_disjoint() -> None:
    """Kilometres apart on the map, and no facade seed in common."""
    from vpr.toycity.survey import city_of

    train, test = TrainSpec(0, 40, 4), TestSpec(0, 60, 40)
    a = np.array([(s.east, s.north) for s in shots(train)])
    b = np.array([(s.east, s.north) for s in shots(test)])
    assert cKDTree(a).query(b)[0].min() > 10_000
    seen = {building.key for town in (0, 1) for building in city_of(train, town).buildings}
    assert seen.isdisjoint(building.key for building in city_of(test, 2).buildings)
    assert len({street.key for town in (0, 1) for street in city_of(train, town).streets}) == sum(
        len(city_of(train, town).streets) for town in (0, 1)
    )


def test_senseless_sizes_are_refused() -> None:
    with pytest.raises(ConfigError, match="0 places"):
        TrainSpec(places=0)
    with pytest.raises(ConfigError, match="0 query"):
        TestSpec(queries=0)
