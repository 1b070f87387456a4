"""Draw one view of a city: buildings, streets, trees, traffic, then the air and the sensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from vpr.data.toycity import ground
from vpr.data.toycity.camera import Camera
from vpr.data.toycity.canvas import Canvas
from vpr.data.toycity.conditions import Condition, light
from vpr.data.toycity.facade import Facade, facade
from vpr.data.toycity.map import DEPTH, PAVEMENT, Building, City, Street
from vpr.data.toycity.props import draw_lamp, draw_person, draw_tree, draw_vehicle, tree
from vpr.data.toycity.sheet import LEDGE, SHOP, SIGN
from vpr.data.toycity.sky import backdrop

REACH = 150.0  # metres that are drawn
_UP = np.array([0, 0, 1.0])
Shade = Callable[[np.ndarray, np.ndarray, float], np.ndarray]


class View(NamedTuple):
    """One photo to draw: the street that it is taken on, camera, condition, and the seed of everything that passes by."""

    street: int
    camera: Camera
    condition: Condition
    seed: tuple[int, ...]


def draw(city: City, view: View) -> np.ndarray:
    """Draw a view without the sensor: (H, W, 3) uint8 RGB at the camera's size."""
    camera, condition = view.camera, view.condition
    rng = np.random.default_rng(view.seed)
    frame, nearness = backdrop(camera, condition, int(rng.integers(2000)))
    canvas = Canvas(camera, frame)
    canvas.nearness[:] = nearness
    shade = _shading(condition, rng)
    for building in _near(city, camera):
        _building(canvas, building, condition, shade)
    for street in city.streets:
        _ground(canvas, street, condition)
    _traffic(canvas, city.streets[view.street], condition, rng)
    _posts(canvas, city, condition)
    return _air(canvas, condition)


def _near(city: City, camera: Camera) -> list[Building]:
    """Give the buildings that may be seen, the nearest first so that the hidden ones cost nothing."""
    offset = city.centres - np.array(camera.position[:2])
    ahead, sideways = offset @ camera.rotation[2, :2], offset @ camera.rotation[0, :2]
    wide = camera.width / camera.focal / 2
    seen = (ahead > -12) & (np.abs(sideways) < wide * np.maximum(ahead, 0) + 24) & (np.hypot(ahead, sideways) < REACH)
    rows = np.flatnonzero(seen)
    return [city.buildings[i] for i in rows[np.argsort(np.hypot(*offset[rows].T))]]


def _shading(condition: Condition, rng: np.random.Generator) -> Shade | None:
    """Make the function that turns a texture and its labels into night or winter; None where nothing changes."""
    if condition.night:
        shine = np.zeros((256, 3), np.float32)
        lit = rng.random(240) < rng.uniform(0.15, 0.45)
        tones = np.array([(255, 206, 130), (255, 226, 170), (226, 230, 240)], np.float32)[rng.integers(3, size=240)]
        shine[:240][lit] = (tones * rng.uniform(0.5, 1.0, (240, 1)))[lit]
        shine[0] = 0
        shine[SHOP] = np.array((255, 232, 190)) * rng.uniform(0.2, 1.0)
        shine[SIGN] = np.array((255, 250, 240)) * rng.uniform(0.15, 0.9)

        def dark(image: np.ndarray, label: np.ndarray, height: float) -> np.ndarray:
            z = np.linspace(height, 0, image.shape[0], dtype=np.float32)[:, None, None]
            lamps = np.float32(condition.ambient) + np.float32((0.5, 0.4, 0.26)) * np.exp(-(((z - 2.5) / 4.0) ** 2))
            glow = shine[label] * (0.35 + 0.65 / 255 * image)
            return np.clip(image * lamps + glow, 0, 255).astype(np.uint8)

        return dark
    if condition.snow:

        def white(image: np.ndarray, label: np.ndarray, height: float) -> np.ndarray:
            out = image.copy()
            out[label == LEDGE] = (232, 236, 242)
            return out

        return white
    return None


def _building(canvas: Canvas, building: Building, condition: Condition, shade: Shade | None) -> None:
    look = facade(building.width, DEPTH, any(building.ends), building.key)
    corner, along = np.array([*building.corner, 0]), np.array([*building.along, 0]) * building.width
    normal, up = np.array([*building.normal, 0]), _UP * look.height
    eye = np.array(canvas.camera.position)
    if normal @ (eye - corner) > 0:
        canvas.texture(
            look.front,
            corner,
            along,
            up,
            *_lit(look.front_label, look.height, condition, normal, shade),
            shape=look.outline,
        )
    low = look.height - (look.rise if look.roof in ("gable", "stepped") else 0)
    back = -normal * DEPTH
    for origin, side, outward in ((corner + back, -back, -building.along), (corner + along, back, building.along)):
        face = np.array([*outward, 0])
        if face @ (eye - origin) > 0:
            canvas.texture(look.side, origin, side, _UP * low, *_lit(look.side_label, low, condition, face, shade))
    _roof(canvas, look, corner, along, back, low, condition)


def _lit(
    labels: list[np.ndarray], height: float, condition: Condition, normal: np.ndarray, shade: Shade | None
) -> tuple[tuple[float, float, float], Callable[[np.ndarray, int], np.ndarray] | None]:
    tint = (1.0, 1.0, 1.0) if condition.night else light(condition, normal)
    return tint, (lambda image, level: shade(image, labels[level], height)) if shade else None


def _roof(
    canvas: Canvas,
    look: Facade,
    corner: np.ndarray,
    along: np.ndarray,
    back: np.ndarray,
    low: float,
    condition: Condition,
) -> None:
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
        _chimney(canvas, a + along * place + back * 0.4, across, look, condition)


def _chimney(canvas: Canvas, foot: np.ndarray, across: np.ndarray, look: Facade, condition: Condition) -> None:
    top = _UP * (look.rise * 0.8 + 1.4)
    tint = np.array(condition.ambient)
    canvas.polygon(
        np.array([foot, foot + across * 0.8, foot + across * 0.8 + top, foot + top]), np.array([120, 84, 70]) * tint
    )


def _ground(canvas: Canvas, street: Street, condition: Condition) -> None:
    eye = np.array(canvas.camera.position)
    middle = street.at(street.length / 2, 0) - eye[:2]
    if np.hypot(*middle) > street.length / 2 + REACH * 0.7:
        return
    tint = np.array(light(condition, _UP))
    if condition.night:
        tint = tint + (0.3, 0.24, 0.15)
    if condition.wet:
        tint = tint * 0.72
    for i in range(int(np.ceil(street.length / ground.TILE))):
        origin = np.array([*street.at(i * ground.TILE, -street.width / 2), 0.0])
        centre = origin[:2] + street.direction * ground.TILE / 2 + street.left * street.width / 2 - eye[:2]
        if canvas.camera.rotation[2, :2] @ centre < -12 or np.hypot(*centre) > REACH:
            continue
        along, across = np.array([*street.direction, 0]) * ground.TILE, np.array([*street.left, 0]) * street.width
        tile = ground.road(round(street.width, 3), (street.number, i), condition.snow)
        share = min((street.length - i * ground.TILE) / ground.TILE, 1)
        shape = np.array([[0, 0], [share, 0], [share, 1], [0, 1]], float)
        canvas.texture(tile, origin, along, across, (float(tint[0]), float(tint[1]), float(tint[2])), shape=shape)


def _traffic(canvas: Canvas, street: Street, condition: Condition, rng: np.random.Generator) -> None:
    """Park cars at both kerbs, let some drive, and people walk; nothing within 6 m of the camera."""
    eye = np.array(canvas.camera.position[:2])
    here = float((eye - street.start) @ street.direction)
    tint = np.array(light(condition, _UP)) + (np.array((0.25, 0.2, 0.12)) if condition.night else 0)
    shine = (float(tint[0]), float(tint[1]), float(tint[2]))
    busy = rng.uniform(0.1, 0.75)
    kerb = street.width / 2 - PAVEMENT - 1.0
    for across, heading, chance in ((kerb, -1, busy), (-kerb, 1, busy), (1.7, -1, 0.1), (-1.7, 1, 0.1)):
        for along in np.arange(here - 6, here + 70, 6.2) + rng.uniform(0, 3):
            point = street.at(along, across)
            if (
                rng.random() < chance
                and np.hypot(*(point - eye)) > 6.5
                and np.hypot(*(point - 4 * heading * street.direction - eye)) > 6.5
            ):
                draw_vehicle(
                    canvas,
                    point,
                    heading * street.direction,
                    int(rng.integers(1 << 30)),
                    shine,
                    condition.night,
                    bool(rng.random() < 0.15),
                )
    for _ in range(int(rng.integers(0, 7))):
        across = rng.choice((-1, 1)) * (street.width / 2 - rng.uniform(0.6, PAVEMENT - 0.4))
        point = street.at(here + rng.uniform(2, 40), across)
        if np.hypot(*(point - eye)) > 3.5:
            draw_person(canvas, point, int(rng.integers(1 << 30)), shine)


def _posts(canvas: Canvas, city: City, condition: Condition) -> None:
    camera = canvas.camera
    offset = city.post_points - np.array(camera.position[:2])
    ahead, sideways = offset @ camera.rotation[2, :2], offset @ camera.rotation[0, :2]
    rows = np.flatnonzero(
        (ahead > 0.8) & (ahead < 90) & (np.abs(sideways) < ahead * camera.width / camera.focal / 2 + 4)
    )
    tint = light(condition, np.array([0, 0, 1.0]))
    for i in rows[np.argsort(-ahead[rows])]:
        post = city.posts[i]
        if post.kind == "lamp":
            draw_lamp(canvas, post.point, tint, condition.night)
        else:
            size = 0.8 + 0.07 * (post.look % 7)
            draw_tree(canvas, post.point, tree(post.look, condition.leaves, condition.snow > 0), tint, size)


def _air(canvas: Canvas, condition: Condition) -> np.ndarray:
    """Fade with the distance, and let lamps glow."""
    frame = canvas.frame.astype(np.float32)
    clear = np.exp(-1 / (np.maximum(canvas.nearness, 1e-4) * condition.visibility))[..., None]
    clear[canvas.nearness == 0] = 1
    haze = np.float32(condition.sky_low) * (0.8 if condition.night else 1.0)
    frame = frame * clear + haze * (1 - clear)
    if condition.night:
        bright = np.where(frame > 190, frame, 0).astype(np.float32)
        frame += cv2.GaussianBlur(bright, (0, 0), canvas.camera.width / 60) * 0.5
    return np.clip(frame, 0, 255).astype(np.uint8)
