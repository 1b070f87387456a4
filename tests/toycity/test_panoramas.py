"""Panoramas: 12 views of one visit, all around; positives that are right by position."""

from __future__ import annotations

import numpy as np
import pytest
import simplejpeg
from scipy.spatial import cKDTree

from vpr.errors import ConfigError
from vpr.toycity.spec import PanoramaSpec
from vpr.toycity.survey import city_of, shots

SPEC = PanoramaSpec()


def test_twelve_cut_outs_share_place_visit_and_panorama() -> None:
    database = [shot for shot in shots(SPEC) if shot.role == "database"]
    assert len(database) == 120
    for start in range(0, 120, 12):
        panorama = database[start : start + 12]
        assert [shot.heading for shot in panorama] == [30.0 * cut for cut in range(12)]  # from true north
        first = panorama[0]
        for shot in panorama:
            assert (shot.place, shot.east, shot.north, shot.panoid, shot.year) == (
                *(start // 12, first.east, first.north, first.panoid, first.year),
            )
            assert shot.view.condition == first.view.condition and shot.view.seed == first.view.seed
    assert len({shot.panoid for shot in database}) == 10


def test_neighbouring_cut_outs_overlap() -> None:
    """A thing at the right edge at heading 0 is left of the middle at 30: the view is 72 degrees wide."""
    left, right = (shot.view.camera for shot in shots(SPEC)[:2])
    seen = left.unprojection @ [left.width, left.height / 2, 1]
    point = np.array(left.position) + 20 * seen
    assert right.width / 2 < right.project(point[None])[0, 0] < right.width


def test_queries_look_anywhere_in_both_shapes_under_other_conditions() -> None:
    planned = shots(SPEC)
    queries = [shot for shot in planned if shot.role == "queries"]
    assert len(queries) == 30
    turns = np.sort([shot.heading for shot in queries])
    assert np.diff([*turns, turns[0] + 360]).max() < 60
    shapes = {(shot.view.camera.width > shot.view.camera.height, shot.view.condition.name) for shot in queries}
    assert {wide for wide, _ in shapes} == {True, False}
    conditions = {shot.view.condition.name for shot in planned if shot.role == "database"}
    assert conditions <= {"sunny", "overcast"} and conditions.isdisjoint(name for _, name in shapes)
    assert {name for wide, name in shapes if not wide} == {name for _, name in shapes}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_each_query_has_its_panorama_within_25_m_and_none_of_another_street(seed: int) -> None:
    planned = shots(PanoramaSpec(seed))
    database, queries = ([shot for shot in planned if shot.role == role] for role in ("database", "queries"))
    tree = cKDTree([(shot.east, shot.north) for shot in database])
    for query in queries:
        near = [database[row] for row in tree.query_ball_point((query.east, query.north), 25)]
        assert query.place in {shot.place for shot in near} and len(near) < len(database)
        assert {shot.view.street for shot in near} == {query.view.street}


def test_no_distance_is_near_the_border() -> None:
    """So that centimetres of another projection change no positive."""
    planned = shots(SPEC)
    database, queries = ([(s.east, s.north) for s in planned if s.role == role] for role in ("database", "queries"))
    distances = np.linalg.norm(np.array(queries)[:, None] - np.array(database), axis=-1)
    assert np.abs(distances - 25).min() > 0.05


def test_drawn_photos_have_their_shapes(toycity) -> None:
    shapes = []
    for path in [*toycity.album.database.path, *toycity.album.queries.path]:
        image = simplejpeg.decode_jpeg((toycity.album.folder / path).read_bytes())
        assert image.std() > 10
        shapes.append(image.shape)
    assert set(shapes[:72]) == {(192, 256, 3)} and set(shapes[72:]) == {(192, 256, 3), (256, 192, 3)}


def test_senseless_sizes_are_refused() -> None:
    for sizes in ((0, 3), (3, 0)):
        with pytest.raises(ConfigError, match="give at least 1 of each"):
            PanoramaSpec(0, *sizes)
    assert city_of(PanoramaSpec(0, 1, 1), 2).streets
