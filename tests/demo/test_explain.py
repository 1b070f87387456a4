"""Heat is painted where it is hot, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from vpr.demo.explain import OPAQUE, heat_maker, overlay
from vpr.errors import DataError
from vpr.models.aggregators.avg import Avg
from vpr.models.backbones.base import Backbone
from vpr.models.describer import Describer
from vpr.types import Features, FeatureSpec, Preprocess

GREY = np.full((60, 90, 3), 128, np.uint8)


def test_the_photo_stays_where_it_is_cold() -> None:
    heat = np.zeros((4, 6), np.float32)
    assert (overlay(GREY, heat) == GREY).all()
    heat[0, 0] = 1  # the cell over the pixels 0..14, 0..14
    painted = overlay(GREY, heat)
    assert painted.shape == GREY.shape
    assert painted.dtype == np.uint8
    assert (painted[30:, 45:] == GREY[30:, 45:]).all()
    assert (painted[7, 7] != 128).any()


def test_the_hottest_is_the_yellow_of_inferno_and_the_photo_shows_through() -> None:
    painted = overlay(GREY, np.ones((2, 2)))
    yellow = np.array([252, 255, 164])  # the last colour of the map
    assert np.abs(painted[0, 0] - ((1 - OPAQUE) * 128 + OPAQUE * yellow)).max() <= 1
    assert (GREY == 128).all()


def test_warmer_is_brighter_and_undefined_heat_is_none() -> None:
    row = overlay(GREY, np.linspace(0.3, 1, 9)[None])[30].astype(int).sum(axis=1)
    assert (np.diff(row[:85]) >= -3).all()  # a step of rounding in each colour
    assert (overlay(GREY, np.full((3, 3), np.nan)) == GREY).all()


class Blocks(Backbone):
    """Mean colours of blocks of 16 x 16 pixels."""

    spec = FeatureSpec(3, 16)

    def forward(self, images: Tensor) -> Features:
        return Features(torch.nn.functional.avg_pool2d(images, 16))


def test_heat_of_two_photos_is_where_they_have_the_same_colour(tmp_path: Path) -> None:
    first, second = np.zeros((64, 96, 3), np.uint8), np.zeros((128, 96, 3), np.uint8)
    first[:32, :48] = second[64:, 48:] = [200, 0, 0]  # both have red, and something of their own
    first[32:, 48:], second[:64, :48] = [0, 200, 0], [0, 0, 200]
    paths = [tmp_path / "first.png", tmp_path / "second.png"]
    for path, pixels in zip(paths, (first, second), strict=True):
        Image.fromarray(pixels).save(path)
    model = Describer(Blocks(), Avg(Blocks.spec), Preprocess((64, 64), mean=(0, 0, 0), std=(1, 1, 1)))
    heat_of = heat_maker(model, "cpu")
    with torch.inference_mode():
        heat = heat_of(*paths)
    for cells, hot in ((heat.query, np.s_[:2, :2]), (heat.match, np.s_[2:, 2:])):
        expected = np.zeros((4, 4), np.float32)
        expected[hot] = 1
        np.testing.assert_allclose(cells, expected, atol=0.02)  # resizing mixes a pixel at the edges
        assert cells.dtype == np.float32
    with pytest.raises(DataError, match=r"gone\.jpg: there is no such file"):
        heat_of(paths[0], tmp_path / "gone.jpg")


def test_nothing_in_common_is_cold(tmp_path: Path) -> None:
    for name in ("red", "blue"):
        Image.new("RGB", (64, 64), name).save(tmp_path / f"{name}.png")
    model = Describer(Blocks(), Avg(Blocks.spec), Preprocess((64, 64), mean=(0, 0, 0), std=(1, 1, 1)))
    heat = heat_maker(model, "cpu")(tmp_path / "red.png", tmp_path / "blue.png")
    assert not heat.query.any()
    assert not heat.match.any()
