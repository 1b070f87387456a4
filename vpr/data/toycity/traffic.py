"""What stands in the way: parked and driving cars, people, trees, lamps."""

from __future__ import annotations

import numpy as np

from vpr.data.toycity.canvas import Canvas
from vpr.data.toycity.lighting import Lighting
from vpr.data.toycity.map import PAVEMENT, City, Street
from vpr.data.toycity.props import draw_lamp, draw_person, draw_tree
from vpr.data.toycity.vehicles import draw_vehicle

_UP = np.array([0, 0, 1.0])
_CLEAR = 6.5  # metres around the camera without vehicles: none hides most of a view


def draw_traffic(canvas: Canvas, street: Street, lighting: Lighting, rng: np.random.Generator) -> None:
    """Park cars at both kerbs, let some drive, and people walk."""
    eye = np.array(canvas.camera.position[:2])
    here = float((eye - street.start) @ street.direction)
    tint = lighting.above(_UP)
    busy = rng.uniform(0.1, 0.75)
    kerb = street.width / 2 - PAVEMENT - 1.0
    for across, way, chance in ((kerb, -1, busy), (-kerb, 1, busy), (1.7, -1, 0.1), (-1.7, 1, 0.1)):
        bumpers = np.arange(here - 6, here + 70, 6.2) + rng.uniform(0, 3)
        there = rng.random(len(bumpers)) < chance
        looks, vans = rng.integers(1 << 30, size=len(bumpers)), rng.random(len(bumpers)) < 0.15
        for i in np.flatnonzero(there):
            front = street.at(bumpers[i], across)
            middle = front - 2.2 * way * street.direction
            if np.hypot(*(middle - eye)) > _CLEAR and canvas.camera.sees(middle, 2.5):
                night = lighting.condition.night
                draw_vehicle(canvas, front, way * street.direction, int(looks[i]), tint, night, bool(vans[i]))
    for _ in range(int(rng.integers(0, 7))):
        across = rng.choice((-1, 1)) * (street.width / 2 - rng.uniform(0.6, PAVEMENT - 0.4))
        point = street.at(here + rng.uniform(2, 40), across)
        if np.hypot(*(point - eye)) > 3.5:
            draw_person(canvas, point, int(rng.integers(1 << 30)), tint)


def draw_posts(canvas: Canvas, city: City, lighting: Lighting) -> None:
    """Draw trees and lamps, the farthest first, for leaves let the sky through."""
    condition, camera = lighting.condition, canvas.camera
    far = np.hypot(*(city.post_points - camera.position[:2]).T)
    rows = np.flatnonzero(camera.sees(city.post_points, 3) & (far > 1.5) & (far < 90))
    tint = lighting.above(_UP)
    leaf = (tint[0] * 0.5, tint[1] * 0.5, tint[2] * 0.5) if condition.night else tint
    for i in rows[np.argsort(-far[rows])]:
        post = city.posts[i]
        if post.kind == "lamp":
            draw_lamp(canvas, post.point, tint, condition.night)
        else:
            draw_tree(canvas, post.point, post.look, condition.leaves, condition.snow > 0, leaf)
