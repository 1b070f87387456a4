"""Heat is painted where it is hot, and nowhere else."""

from __future__ import annotations

import numpy as np

from vpr.demo.heat import OPAQUE, overlay

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
