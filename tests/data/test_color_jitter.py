"""Our colours are PIL's within rounding, and factors are drawn by torchvision's law."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import functional

from vpr.data import augment
from vpr.data.augment import ColorJitter, turn_hue
from vpr.errors import ConfigError


def street(height: int = 120, width: int = 160, seed: int = 0) -> np.ndarray:
    """Coloured walls in falling light."""
    rng = np.random.default_rng(seed)
    image = np.linspace(220, 60, height)[:, None, None] * rng.uniform(0.4, 1, (1, width // 20, 3)).repeat(20, axis=1)
    return (image + rng.normal(0, 4, image.shape)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("turn", [-0.5, -0.21, 0.0, 0.05, 0.37, 0.5])
def test_hue_is_turned_as_pil_turns_it(turn: float) -> None:
    image = street()
    before = image.copy()
    pil = np.array(functional.adjust_hue(Image.fromarray(image), turn))
    assert np.abs(turn_hue(image, turn).astype(int) - pil).mean() < 2  # both keep hue and saturation in bytes
    assert (image == before).all()


def test_a_third_of_the_circle_makes_red_green() -> None:
    red = np.full((2, 2, 3), (200, 0, 0), np.uint8)
    assert np.abs(turn_hue(red, 1 / 3).astype(int) - (0, 200, 0)).max() <= 4


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_strengths_are_the_factors_of_torchvision(name: str) -> None:
    image = street()
    only = dict.fromkeys(("brightness", "contrast", "saturation", "hue"), 0.0) | {name: 0.7}
    ours = ColorJitter(**only)(image, np.random.default_rng(3))
    rng = np.random.default_rng(3)
    rng.permutation(4)
    factor = 1 + rng.uniform(-0.7, 0.7)
    pil = np.array(getattr(functional, f"adjust_{name}")(Image.fromarray(image), factor))
    assert np.abs(ours.astype(int) - pil).mean() <= 1


def test_factors_are_drawn_evenly_and_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[str, float]] = []

    def record(name: str):
        return lambda image, strength: drawn.append((name, strength)) or image

    for name in ("brightness", "contrast", "saturation"):
        monkeypatch.setattr(augment, f"adjust_{name}", record(name))
    monkeypatch.setattr(augment, "turn_hue", record("hue"))
    jitter, rng = ColorJitter(brightness=1.5, contrast=0.7, saturation=0.7, hue=0.5), np.random.default_rng(0)
    runs = 2000
    for _ in range(runs):
        jitter(street(20, 20), rng)
    ranges = [("brightness", -1, 1.5), ("contrast", -0.7, 0.7), ("saturation", -0.7, 0.7), ("hue", -0.5, 0.5)]
    for name, low, high in ranges:
        found = np.array([strength for drawn_name, strength in drawn if drawn_name == name])
        assert len(found) == runs and found.min() >= low and found.max() <= high
        # Mean of a uniform law; five standard deviations of it.
        assert found.mean() == pytest.approx((low + high) / 2, abs=5 * (high - low) / np.sqrt(12 * runs))
        assert found.max() - found.min() > 0.99 * (high - low)
    orders = [tuple(name for name, _ in drawn[at : at + 4]) for at in range(0, 4 * runs, 4)]
    assert len(set(orders)) == 24


def test_the_generator_alone_decides() -> None:
    image, augment = street(), ColorJitter()
    first, again, other = (augment(image, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert (first == again).all() and (first != other).any()
    assert ColorJitter(0, 0, 0, 0)(image, np.random.default_rng(0)) is image


@pytest.mark.parametrize("wrong", [{"brightness": -0.1}, {"hue": 0.6}, {"hue": -0.1}])
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    name, value = next(iter(wrong.items()))
    with pytest.raises(ConfigError, match=f"augment.{name}={value}: choose 0"):
        ColorJitter(**wrong)
