"""Put a building into the view: front, sides, roof, chimneys."""

from __future__ import annotations

import numpy as np

from vpr.data.toycity.canvas import Canvas
from vpr.data.toycity.conditions import Triple, light
from vpr.data.toycity.facade import Facade, facade
from vpr.data.toycity.lighting import Lighting
from vpr.data.toycity.map import DEPTH, Building
from vpr.data.toycity.sheet import PIXELS_PER_METRE, Skin

_UP = np.array([0, 0, 1.0])
_BOX = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], float)


def draw_house(canvas: Canvas, building: Building, lighting: Lighting) -> None:
    """Draw what the camera can see of a building."""
    look = facade(building.width, DEPTH, any(building.ends), building.key)
    tall = 8.0 + sum(building.key) * 7 % 9  # metres of the houses opposite, for their shadow

    def wall(
        skin: Skin, origin: np.ndarray, along: np.ndarray, height: float, face: np.ndarray, shape: np.ndarray
    ) -> None:
        def image(level: int) -> np.ndarray:
            rgb, label = skin.levels[min(level, len(skin.levels) - 1)]
            return lighting.wall(rgb, label, height, face, tall)

        if face @ (np.array(canvas.camera.position) - origin) > 0:
            canvas.texture(image, PIXELS_PER_METRE, origin, along, _UP * height, shape)

    corner, along = np.array([*building.corner, 0]), np.array([*building.along, 0]) * building.width
    normal = np.array([*building.normal, 0])
    ridge = look.eaves + look.rise + 1.5
    plan = np.array([corner, corner + along, corner - normal * DEPTH, corner + along - normal * DEPTH])
    if canvas.hides(np.concatenate([plan, plan + _UP * ridge])):
        return
    back, aside = -normal * DEPTH, np.array([*building.along, 0])
    wall(look.front, corner, along, look.height, normal, look.outline)
    wall(look.side, corner + back, -back, look.eaves, -aside, _BOX)
    wall(look.side, corner + along, back, look.eaves, aside, _BOX)
    _roof(canvas, look, corner, along, back, lighting)


def _roof(
    canvas: Canvas,
    look: Facade,
    corner: np.ndarray,
    along: np.ndarray,
    back: np.ndarray,
    lighting: Lighting,
) -> None:
    condition, low = lighting.condition, look.eaves
    colour = np.array([228, 232, 238]) if condition.snow == 2 else look.roof_colour
    across = along / np.linalg.norm(along)
    slope = np.cross(along, back / 2 + _UP * look.rise)
    tint = np.array(light(condition, slope / np.linalg.norm(slope)))
    a, b = corner + _UP * low, corner + along + _UP * low
    if look.roof in ("pitched", "mansard"):
        inward = back * (0.5 if look.roof == "pitched" else 0.12)
        ridge = inward + _UP * look.rise
        canvas.polygon(np.array([a - across * 0.1, b + across * 0.1, b + ridge, a + ridge]), colour * tint)
        for foot, sign in ((a, -1), (b, 1)):
            triangle = np.array([foot, foot + ridge, foot + back - inward + _UP * look.rise, foot + back])
            canvas.polygon(triangle, look.roof_colour * 0.8 * np.array(light(condition, sign * across)))
    elif look.roof in ("gable", "stepped"):
        for foot, sign in ((a, 1), (b, -1)):
            top = foot + sign * along / 2 + _UP * look.rise
            canvas.polygon(np.array([foot, top, top + back, foot + back]), colour * tint)
    for place in look.chimneys:
        _chimney(canvas, a + along * place + back * 0.4, across, look, condition.ambient)


def _chimney(canvas: Canvas, foot: np.ndarray, across: np.ndarray, look: Facade, ambient: Triple) -> None:
    top = _UP * (look.rise * 0.8 + 1.4)
    canvas.polygon(
        np.array([foot, foot + across * 0.8, foot + across * 0.8 + top, foot + top]), np.array([120, 84, 70]) * ambient
    )
