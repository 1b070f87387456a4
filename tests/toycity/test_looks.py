"""Light, facades, sky and sensor: small pieces of the picture, checked by their numbers."""

from __future__ import annotations

import numpy as np
import pytest

from vpr.toycity.canvas import LEDGE, PIXELS_PER_METRE, Sheet, Skin
from vpr.toycity.conditions import NAMES, light, visit
from vpr.toycity.facades import facade
from vpr.toycity.lighting import Lighting
from vpr.toycity.scene import draw
from vpr.toycity.spec import TestSpec, TrainSpec
from vpr.toycity.survey import city_of, shots
from vpr.toycity.writer import develop


def sunny(azimuth: float, elevation: float):
    made = visit("sunny", np.random.default_rng(0))
    return made._replace(azimuth=azimuth, elevation=elevation, ambient=(0.5, 0.5, 0.5), sun=(0.4, 0.2, 0.0), snow=0)


def test_light_follows_lambert() -> None:
    """Sun in the south, 60 degrees high: a south wall gets cos 60 = 1/2 of it, a north wall none, the ground sin 60."""
    condition = sunny(180, 60)
    assert light(condition, np.array([0, -1.0, 0])) == pytest.approx((0.7, 0.6, 0.5))
    assert light(condition, np.array([0, 1.0, 0])) == pytest.approx((0.5, 0.5, 0.5))
    assert light(condition, np.array([0, 0, 1.0]))[0] == pytest.approx(0.5 + 0.4 * np.sqrt(3) / 2)


def test_houses_opposite_cast_their_shadow() -> None:
    """Sun at 45 degrees, 16 m away houses of 21 m: shadow up to 5 m of a 10 m wall, the lower half."""
    wall = np.full((20, 4, 3), 100, np.uint8)
    label = np.zeros((20, 4), np.uint8)
    lighting = Lighting(sunny(180, 45), np.random.default_rng(0))
    lit = lighting.wall(wall, label, 10.0, np.array([0, -1.0, 0]), tall=21.0)
    assert lit[:10, :, 0] == pytest.approx(100 * (0.5 + 0.4 * np.sqrt(0.5)), abs=1)
    assert lit[10:, :, 0] == pytest.approx(50, abs=1)
    assert lighting.wall(wall, label, 10.0, np.array([0, 1.0, 0]), tall=21.0) == pytest.approx(50, abs=1)


def test_snow_lies_on_ledges_and_windows_shine_at_night() -> None:
    wall, label = np.full((8, 8, 3), 60, np.uint8), np.zeros((8, 8), np.uint8)
    label[4] = LEDGE
    label[:2] = np.arange(16).reshape(2, 8) + 1
    rng = np.random.default_rng(1)
    white = Lighting(visit("snow", rng), rng).wall(wall, label, 4.0, np.array([0, 1.0, 0]), 9.0)
    assert white[4].min() > 150 > white[6].max()
    dark = Lighting(visit("night", rng), rng).wall(wall, label, 4.0, np.array([0, 1.0, 0]), 9.0)
    lit = dark[:2].max(-1) > 90
    assert 0 < lit.sum() < 16 and dark[5:].max() < 70


def test_months_go_with_the_season() -> None:
    rng = np.random.default_rng(0)
    for name in NAMES:
        for _ in range(10):
            made = visit(name, rng)
            assert 1 <= made.month <= 12
            assert (made.leaves == "bare") == (made.month in (12, 1, 2, 3))
            assert made.snow < 2 or made.month in (12, 1, 2)


def test_a_facade_is_fixed_by_its_key_and_differs_from_others() -> None:
    def front(key: tuple[int, ...]) -> np.ndarray:
        facade.cache_clear()
        return facade(10.0, 11.0, False, key).front.levels[0][0]

    first = front((0, 1, 2, 3))
    assert np.array_equal(first, front((0, 1, 2, 3)))
    other = front((0, 1, 2, 4))
    assert first.shape != other.shape or not np.array_equal(first, other)


def test_all_roofs_and_materials_can_be_drawn() -> None:
    made = [facade(9.0, 11.0, True, (9, i)) for i in range(40)]
    assert {f.roof for f in made} == {"flat", "pitched", "gable", "stepped", "mansard"}
    for look in made:
        rgb, label = look.front.levels[0]
        assert rgb.shape[0] == round(look.height * PIXELS_PER_METRE)
        assert rgb.std() > 5 and (label == LEDGE).any()
        assert look.outline.min() == 0 and look.outline.max() == pytest.approx(1)


def test_sheet_measures_in_metres_from_the_pavement() -> None:
    sheet = Sheet(4.0, 3.0, scale=10)
    sheet.rect(1.0, 0.5, 2.0, 1.5, (300, -5, 7), label=9)
    assert sheet.rgb[15:25, 10:20].reshape(-1, 3).tolist() == [[255, 0, 7]] * 100
    assert (sheet.label == 9).sum() == 100


def test_skin_is_drawn_once_and_halved() -> None:
    calls = []

    def paint() -> Sheet:
        calls.append(1)
        return Sheet(4.0, 2.0, scale=10)

    skin = Skin(paint)
    assert not calls
    assert [rgb.shape[:2] for rgb, _ in skin.levels] == [label.shape for _, label in skin.levels]
    assert [label.shape for _, label in skin.levels][:2] == [(20, 40), (10, 20)] and calls == [1]


@pytest.fixture(scope="module")
def photos() -> dict[str, np.ndarray]:
    """One street corner under all conditions."""
    spec = TrainSpec(1, 4, len(NAMES))
    out = {}
    for shot in shots(spec)[: len(NAMES)]:
        image = draw(city_of(spec, 0), shot.view)
        out[shot.view.condition.name] = develop(image, shot.view.condition, np.random.default_rng(shot.view.seed))
    return out


def test_every_condition_can_be_drawn_and_is_no_blank(photos) -> None:
    assert set(photos) == set(NAMES)
    for image in photos.values():
        assert image.shape == (192, 256, 3) and image.dtype == np.uint8
        assert image.std() > 15


def test_night_is_dark_and_fog_is_flat(photos) -> None:
    assert photos["night"].mean() < min(photos[n].mean() for n in ("sunny", "overcast", "snow", "fog"))
    assert photos["fog"].std() < photos["sunny"].std()


def test_passing_traffic_hides_less_than_35_percent(monkeypatch) -> None:
    spec = TestSpec(2, 30, 20)
    full = [draw(city_of(spec, 2), s.view) for s in shots(spec)[-20:]]
    monkeypatch.setattr("vpr.toycity.scene.draw_traffic", lambda *_: None)
    free = [draw(city_of(spec, 2), s.view) for s in shots(spec)[-20:]]
    hidden = [float((np.abs(a - b).max(-1) > 3).mean()) for a, b in zip(full, free, strict=True)]
    assert np.mean(hidden) > 0.005 and max(hidden) < 0.35
