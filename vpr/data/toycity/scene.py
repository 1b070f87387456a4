"""Draw one view of a city: buildings, streets, trees, traffic, then the air."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from vpr.data.toycity import ground
from vpr.data.toycity.camera import Camera
from vpr.data.toycity.canvas import Canvas
from vpr.data.toycity.conditions import Condition
from vpr.data.toycity.houses import draw_house
from vpr.data.toycity.lighting import Lighting
from vpr.data.toycity.map import Building, City, Street
from vpr.data.toycity.sky import backdrop
from vpr.data.toycity.traffic import draw_posts, draw_traffic

REACH = 150.0  # metres that are drawn
SUPERSAMPLE = 1.5


class View(NamedTuple):
    """One photo to draw: the street it is taken on, camera, condition, and the seed of everything that passes by."""

    street: int
    camera: Camera
    condition: Condition
    seed: tuple[int, ...]


def draw(city: City, view: View) -> np.ndarray:
    """Draw a view without the sensor: (H, W, 3) float32 RGB 0..255, smaller than the camera's size by `SUPERSAMPLE`."""
    camera, condition = view.camera, view.condition
    rng = np.random.default_rng(view.seed)
    frame, nearness = backdrop(camera, condition, int(rng.integers(2000)))
    canvas = Canvas(camera, frame)
    canvas.nearness[:] = nearness
    lighting = Lighting(condition, rng)
    for building in _near(city, camera):
        draw_house(canvas, building, lighting)
    away = np.hypot(*(city.street_middles - camera.position[:2]).T)
    for i in np.flatnonzero(away < 170):
        _ground(canvas, city.streets[i], lighting)
    draw_traffic(canvas, city.streets[view.street], lighting, rng)
    draw_posts(canvas, city, lighting)
    return _air(canvas, condition)


def _near(city: City, camera: Camera) -> list[Building]:
    """Give the buildings that may be seen, the nearest first so that the hidden ones cost nothing."""
    far = np.hypot(*(city.centres - camera.position[:2]).T)
    rows = np.flatnonzero(camera.sees(city.centres, 16) & (far < REACH))
    return [city.buildings[i] for i in rows[np.argsort(far[rows])]]


def _ground(canvas: Canvas, street: Street, lighting: Lighting) -> None:
    eye = np.array(canvas.camera.position[:2])
    along, across = np.array([*street.direction, 0]) * ground.TILE, np.array([*street.left, 0]) * street.width
    middles = street.start + (np.arange(np.ceil(street.length / ground.TILE)) + 0.5)[:, None] * along[:2]
    seen = canvas.camera.sees(middles, 12) & (np.hypot(*(middles - eye).T) < REACH)
    for i in np.flatnonzero(seen).tolist():

        def image(level: int, tile: int = i) -> np.ndarray:
            levels = ground.road(round(street.width, 3), (*street.key, tile), lighting.condition.snow)
            road = levels[min(level, len(levels) - 1)]
            return lighting.ground(road, street.left, street.width, 9 + (tile * 5 + street.key[-1]) % 8)

        share = min(street.length / ground.TILE - i, 1)
        shape = np.array([[0, 0], [share, 0], [share, 1], [0, 1]], float)
        origin = np.array([*street.at(i * ground.TILE, -street.width / 2), 0.0])
        canvas.texture(image, ground.SCALE, origin, along, across, shape)


def _air(canvas: Canvas, condition: Condition) -> np.ndarray:
    """Shrink to the photo's size, fade with the distance, and let lamps glow."""
    size = (round(canvas.camera.width / SUPERSAMPLE), round(canvas.camera.height / SUPERSAMPLE))
    frame: np.ndarray = cv2.resize(canvas.frame, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    nearness = cv2.resize(canvas.nearness, size, interpolation=cv2.INTER_AREA)
    clear = cv2.exp(-1 / (np.maximum(nearness, 1e-4) * np.float32(condition.visibility)))
    clear[nearness == 0] = 1
    haze = np.array(condition.sky_low, np.float32) * np.float32(0.8 if condition.night else 1.0)
    frame = haze + (frame - haze) * clear[..., None]
    if condition.night:
        bright = np.where(frame > 190, frame, 0).astype(np.float32)
        frame += cv2.GaussianBlur(bright, (0, 0), size[0] / 60) * 0.5
    return frame
