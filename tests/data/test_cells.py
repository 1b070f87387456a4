"""Places cut from positions: which photos share one, and that no two that are chosen see the same."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from vpr.cli.checks import check_targets
from vpr.data import cells
from vpr.data.geo import to_earth
from vpr.data.geotagged import GeotaggedImages
from vpr.data.places import PlaceBatchSampler, Places
from vpr.errors import ConfigError, DataError

NAN = float("nan")


def photos(
    positions: list[list[float]] | np.ndarray, headings: list[float] | float = 0, groups: list[int] | int = 0
) -> GeotaggedImages:
    count = len(positions)
    return GeotaggedImages(
        "toy",
        Path("root"),
        [f"{i}.jpg" for i in range(count)],
        np.array(positions, float),
        np.broadcast_to(np.array(headings, float), count),
        np.broadcast_to(np.array(groups, np.int64), count),
    )


def members(places: Places) -> list[list[int]]:
    """Photo numbers of each place."""
    numbers = [int(os.fsdecode(file)[:-4]) for file in places.files]
    return [numbers[a:b] for a, b in zip(places.starts[:-1], places.starts[1:], strict=True)]


def cut(found: GeotaggedImages, **options: float) -> list[list[int]]:
    return sorted(members(cells.read(found, **{"apart": 0, "min_images_per_place": 1, **options})))


def test_equation_1_by_hand() -> None:
    """(floor(e / 10), floor(n / 10), floor(heading / 30)); cells below zero are their own."""
    positions = [[0, 0], [9.9, 9.9], [10, 0], [0, 10], [-0.1, 0], [5, 5], [5, 5], [5, 5]]
    headings = [0, 29.9, 0, 0, 0, 30, 359, 390]
    assert cut(photos(positions, headings), cell=10, angle=30) == [[0, 1], [2], [3], [4], [5, 7], [6]]
    assert cut(photos(positions, headings), cell=10, angle=360) == [[0, 1, 5, 6, 7], [2], [3], [4]]
    assert cut(photos(positions, headings), cell=100, angle=180) == [[0, 1, 2, 3, 5, 7], [4], [6]]


def test_cities_share_no_place_and_are_the_groups() -> None:
    places = cells.read(photos([[0, 0]] * 4, 0, [7, 3, 7, 3]), min_images_per_place=2)
    assert members(places) == [[1, 3], [0, 2]]
    assert len(set(places.groups)) == 2


def test_photos_that_fit_in_no_cell_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    found = photos([[0, 0], [NAN, NAN], [0, 0], [0, 0]], [10, 10, NAN, 20])
    with caplog.at_level(logging.WARNING):
        assert cut(found) == [[0, 3]]
    assert "toy: 1 images without position and 1 without heading are left out of 4." in caplog.text
    assert cut(found, angle=360) == [[0, 2, 3]]
    with pytest.raises(DataError, match="of 1 images in root, 0 have a position. Places"):
        cells.read(photos([[NAN, 0]], 3), angle=None)


def test_too_few_images_in_every_place() -> None:
    with pytest.raises(DataError, match="2 images of 2 places.*no place has 4 images"):
        cells.read(photos([[0, 0], [50, 0]]))


@pytest.mark.parametrize("options", [{"cell": 0}, {"angle": 0}, {"angle": 70}, {"angle": 400}, {"apart": -1}])
def test_sizes_that_make_no_cells(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="divides 360 degrees"):
        cells.read(photos([[0, 0]]), **options)


def test_degrees_that_are_no_whole_numbers() -> None:
    assert cut(photos([[0, 0]] * 3, [0, 7.1, 7.3]), angle=7.2) == [[0, 1], [2]]  # 360 % 7.2 is not 0


def test_the_most_photographed_place_keeps_its_distance() -> None:
    """Cells of a street with 1, 2, 3, 2, 1, 2 photos: 3 wins over its neighbours, then 2 over the 1 beside it."""
    east = [5.0, 15, 15, 25, 25, 25, 35, 35, 45, 55, 55]
    street = photos([[e, 0] for e in east])
    assert cut(street, apart=10) == [[0], [3, 4, 5], [9, 10]]  # one empty cell between
    assert cut(street, apart=11) == [[3, 4, 5], [9, 10]]  # whole cells: 20 m
    assert len(cut(street, apart=1000)) == 1


def test_neighbouring_headings_count_as_the_same_way() -> None:
    at_one_spot = photos([[0, 0]] * 4, [15, 45, 345, 75])
    assert cut(at_one_spot, apart=10) == [[0], [3]]  # 15 is next to 45 and, across north, to 345
    assert cut(at_one_spot, apart=10, angle=90) == [[0, 1, 3]]
    far = photos([[0, 0], [500, 0]], 15)
    assert cut(far, apart=10) == [[0], [1]]


def test_places_of_two_cities_need_no_distance() -> None:
    assert cut(photos([[0, 0], [12, 0]], 0, [0, 1]), apart=40) == [[0], [1]]


def test_no_batch_holds_two_views_of_a_place() -> None:
    """Whatever the sampler draws: places that look the same way are 40 m apart, and nothing could be added."""
    rng = np.random.default_rng(0)
    positions, headings = rng.uniform(0, 300, (3000, 2)), rng.uniform(0, 360, 3000)
    found = photos(positions, headings)
    every = members(cells.read(found, apart=0, min_images_per_place=2))
    places = cells.read(found, min_images_per_place=2)
    kept = members(places)
    assert 10 < len(kept) < len(every)

    def clash(a: list[int], b: list[int]) -> bool:
        turn = np.abs(headings[a][:, None] - headings[b][None])
        apart = np.linalg.norm(positions[a][:, None] - positions[b][None], axis=2)
        return bool(((np.minimum(turn, 360 - turn) < 30) & (apart < 40)).any())

    for batch in PlaceBatchSampler(places.groups, 8, seed=0, shuffle="all"):
        drawn = [kept[draw.place] for draw in batch]
        assert not any(clash(a, b) for i, a in enumerate(drawn) for b in drawn[:i])
    centre = {tuple(place): [positions[place[0]] // 10, headings[place[0]] // 30] for place in every}
    for left_out in (place for place in every if place not in kept):
        spot, way = centre[tuple(left_out)]
        assert any(
            np.abs(spot - other).max() <= 4 and min((way - facing) % 12, (facing - way) % 12) <= 1
            for other, facing in (centre[tuple(place)] for place in kept)
        )


def test_earth_centred_positions_become_utm_cells() -> None:
    """0.001 degrees of latitude are 111 m: five spots in cells of 100 m make five places, and neighbours share them."""
    lat = np.repeat(48.2 + 0.001 * np.arange(5), 2) + np.tile([0, 1e-6], 5)
    found = photos(to_earth(lat, np.full(10, 16.37)))
    assert cut(found, cell=100) == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]


def test_a_city_on_a_zone_border_is_one_map() -> None:
    """Two photos 1.5 m apart on either side of 12 degrees east: places that are neighbours, so one must go."""
    found = photos(to_earth(np.full(3, 48.0), np.array([11.9999, 11.99999, 12.00001])))
    assert len(cut(found, cell=1, apart=25)) == 1
    # but cities of other continents in one group have zones, and cells, of their own
    assert cut(photos(to_earth(np.array([48.0, 48.0]), np.array([9.0, 39.0]))), cell=1e6) == [[0], [1]]


def test_places_from_a_configuration(tmp_path: Path) -> None:
    """A reader inside a reader passes the check of targets, is made, and its errors come out as ours."""
    config = OmegaConf.create(
        {
            "_target_": "vpr.data.cells.read",
            "photos": {"_target_": "vpr.data.formats.utm_folder.photos", "root": str(tmp_path / "city")},
            "cell": 25,
            "angle": 360,
            "min_images_per_place": 2,
        }
    )
    check_targets(OmegaConf.create({"train": {"my_city": config}}))
    with pytest.raises(InstantiationException) as caught:
        instantiate(config, _convert_="all")
    assert isinstance(caught.value.__cause__, DataError) and "There is no folder" in str(caught.value.__cause__)
    (tmp_path / "city").mkdir()
    for i in range(2):
        (tmp_path / "city" / f"@{100 + i}@200@@@@@{i}@@@@@@@@.jpg").touch()
    assert len(instantiate(config, _convert_="all")) == 1
    config.photos.rooot = "x"
    with pytest.raises(ConfigError, match=r"train.my_city.photos.rooot.*Did you mean 'root'"):
        check_targets(OmegaConf.create({"train": {"my_city": config}}))


def test_without_any_heading_headings_are_ignored(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        assert cut(photos([[0, 0], [1, 0], [500, 0]], NAN), angle=60) == [[0, 1], [2]]
    assert caplog.text.count("no image has a heading") == 1
