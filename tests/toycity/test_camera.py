"""Projection by hand: what stands where in the image, and what hides what."""

from __future__ import annotations

import numpy as np
import pytest

from vpr.toycity.canvas import NEAR, Camera, Canvas, pyramid, tinted


def camera(heading: float = 0.0, pitch: float = 0.0) -> Camera:
    return Camera((10.0, 20.0, 2.0), heading, pitch, focal=100.0, width=200, height=150)


def test_projects_by_similar_triangles() -> None:
    """From (10, 20, 2) northwards: 3 m right, 10 m ahead, 1 m above is 30 px right of and 10 px above the middle."""
    assert camera().project(np.array([[13.0, 30.0, 3.0]])) == pytest.approx(np.array([[130.0, 65.0]]))


def test_heading_is_clockwise_from_north() -> None:
    """Looking east, north is on the left: 5 m north at 20 m ahead is 25 px left."""
    assert camera(90).project(np.array([[30.0, 25.0, 2.0]])) == pytest.approx(np.array([[75.0, 75.0]]))


def test_pitch_moves_the_horizon_down() -> None:
    """Pitched up by 45 degrees, a point at 45 degrees of elevation is in the middle."""
    assert camera(0, 45).project(np.array([[10.0, 30.0, 12.0]])) == pytest.approx(np.array([[100.0, 75.0]]))


def test_rotation_is_a_rotation() -> None:
    turned = camera(123, 17).rotation
    assert turned @ turned.T == pytest.approx(np.eye(3))
    assert np.linalg.det(turned) == pytest.approx(1)


def test_outline_is_cut_at_the_near_plane() -> None:
    """A wall 1 m to the right, from behind the camera to 10 m ahead: the cut lies at NEAR, at 100 / NEAR px."""
    wall = np.array([[11.0, 15.0, 0], [11.0, 30.0, 0], [11.0, 30.0, 4], [11.0, 15.0, 4]])
    pixels = camera().outline(wall)
    assert pixels is not None
    assert sorted(set(pixels[:, 0].round(6))) == pytest.approx([110.0, 100 + 100 / NEAR])
    assert camera().outline(wall - [0, 30, 0]) is None


def test_sees_what_is_ahead_and_within_the_borders() -> None:
    """The half angle is 45 degrees: at 10 m ahead the border is 10 m aside; a margin of 2 m widens it by 2 * sqrt 2."""
    points = np.array([[19.0, 30.0], [21.0, 30.0], [23.0, 30.0], [10.0, 10.0]])
    assert camera().sees(points, 0).tolist() == [True, False, False, False]
    assert camera().sees(points, 2).tolist() == [True, True, False, False]


def test_texture_lands_where_its_corners_project() -> None:
    """A wall 10 m ahead, 4 x 2 m, its left half red: px 80..120 across, 65..85 down."""
    image = np.zeros((20, 40, 3), np.uint8)
    image[:, :20], image[:, 20:] = (255, 0, 0), (0, 0, 255)
    canvas = Canvas(camera(), np.zeros((150, 200, 3), np.uint8))
    levels = pyramid(image)
    canvas.texture(
        lambda level: levels[level], 10, np.array([8, 30, 1.0]), np.array([4.0, 0, 0]), np.array([0, 0, 2.0])
    )
    assert canvas.frame[75, 90].tolist() == [255, 0, 0]
    assert canvas.frame[75, 110].tolist() == [0, 0, 255]
    assert canvas.frame[75, 78].tolist() == [0, 0, 0]
    assert canvas.frame[63, 90].tolist() == [0, 0, 0]
    assert canvas.nearness[75, 90] == pytest.approx(0.1, rel=1e-5)


def test_near_hides_far_in_either_order() -> None:
    def square(depth: float) -> np.ndarray:
        corners = [(8, 1), (12, 1), (12, 3), (8, 3)]
        return np.array([[x, 20 + depth, z] for x, z in corners], float)

    for order in ([5, 10], [10, 5]):
        canvas = Canvas(camera(), np.zeros((150, 200, 3), np.uint8))
        for depth in order:
            canvas.polygon(square(depth), (depth * 10, 0, 0))
        assert canvas.frame[75, 100, 0] == 50
    assert canvas.hides(square(20))
    assert not canvas.hides(square(4))


def test_slanted_wall_has_hyperbolic_depth() -> None:
    """The wall x = 12 (2 m right of the camera) is seen in column c at the depth 2 * 100 / (c - 100)."""
    canvas = Canvas(camera(), np.zeros((150, 200, 3), np.uint8))
    canvas.polygon(np.array([[12, 20, 0], [12, 120, 0], [12, 120, 4], [12, 20, 4.0]]), (9, 9, 9))
    assert 1 / canvas.nearness[75, [110, 120, 150]] == pytest.approx([20, 10, 4], rel=1e-4)


def test_tinted_saturates() -> None:
    image = np.full((2, 2, 3), 200, np.uint8)
    assert tinted(image, (0.5, 1.0, 2.0))[0, 0].tolist() == [100, 200, 255]
