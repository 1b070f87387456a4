"""Scene: one view of a city, drawn from sky and ground over buildings, streets, trees and traffic to the air."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from vpr.toycity.canvas import PIXELS_PER_METRE, Camera, Canvas, Skin, pyramid
from vpr.toycity.conditions import Condition, Triple, light
from vpr.toycity.facades import Facade, facade, grain
from vpr.toycity.lighting import Lighting
from vpr.toycity.map import DEPTH, PAVEMENT, Building, City, Street
from vpr.toycity.street import draw_posts, draw_traffic

REACH = 150.0  # metres that are drawn
SUPERSAMPLE = 1.5
SCALE = 16  # pixels per metre
TILE = 14.0  # metres of street on one texture
_UP = np.array([0, 0, 1.0])
_BOX = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], float)


class View(NamedTuple):
    """One image to draw: the street it is taken on, camera, condition, and the seed of everything that passes by."""

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
    """Return the buildings that may be seen, the nearest first so that the hidden ones cost nothing."""
    far = np.hypot(*(city.centres - camera.position[:2]).T)
    rows = np.flatnonzero(camera.sees(city.centres, 16) & (far < REACH))
    return [city.buildings[i] for i in rows[np.argsort(far[rows])]]


def _ground(canvas: Canvas, street: Street, lighting: Lighting) -> None:
    eye = np.array(canvas.camera.position[:2])
    along, across = np.array([*street.direction, 0]) * TILE, np.array([*street.left, 0]) * street.width
    middles = street.start + (np.arange(np.ceil(street.length / TILE)) + 0.5)[:, None] * along[:2]
    seen = canvas.camera.sees(middles, 12) & (np.hypot(*(middles - eye).T) < REACH)
    for i in np.flatnonzero(seen).tolist():

        def image(level: int, tile: int = i) -> np.ndarray:
            levels = road_texture(round(street.width, 3), (*street.key, tile), lighting.condition.snow)
            road = levels[min(level, len(levels) - 1)]
            return lighting.ground(road, street.left, street.width, 9 + (tile * 5 + street.key[-1]) % 8)

        share = min(street.length / TILE - i, 1)
        shape = np.array([[0, 0], [share, 0], [share, 1], [0, 1]], float)
        origin = np.array([*street.at(i * TILE, -street.width / 2), 0.0])
        canvas.texture(image, SCALE, origin, along, across, shape)


def _air(canvas: Canvas, condition: Condition) -> np.ndarray:
    """Shrink to the image's size, fade with the distance, and let lamps glow."""
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


@lru_cache(maxsize=4)
def _clouds(seed: int) -> np.ndarray:
    """Fractal noise (256, 1024) in 0..1, periodic enough in azimuth."""
    rng = np.random.default_rng((seed, 77))
    total: np.ndarray = np.zeros((256, 1024), np.float32)
    for octave in range(5):
        n = 3 * 2**octave
        total += (
            cv2.resize(rng.random((n, 2 * n)).astype(np.float32), (1024, 256), interpolation=cv2.INTER_CUBIC)
            / 1.7**octave
        )
    return cv2.normalize(total, total, 0, 1, cv2.NORM_MINMAX)


def backdrop(camera: Camera, condition: Condition, turn: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw sky, clouds, skyline and bare ground: frame (H, W, 3) uint8 and nearness (H, W) float32.

    `turn` picks the clouds. All of this is soft, so it is computed at half the resolution.
    """
    h, w = camera.height // 2, camera.width // 2
    columns = np.arange(w, dtype=np.float32)[None, :, None] * 2 + 1
    rows = np.arange(h, dtype=np.float32)[:, None, None] * 2 + 1
    towards = camera.unprojection.astype(np.float32)
    world = columns * towards[:, 0] + rows * towards[:, 1] + towards[:, 2]
    lift = world[..., 2] / cv2.magnitude(world[..., 0], world[..., 1])  # tangent of the elevation
    azimuth = cv2.phase(world[..., 1], world[..., 0])
    mix = np.sqrt(np.clip(lift / 0.7, 0, 1))[..., None]
    low, top, ambient = (np.array(c, np.float32) for c in (condition.sky_low, condition.sky_top, condition.ambient))
    frame = low * (1 - mix) + top * mix
    u, v = (azimuth / np.float32(np.pi) * 1023 + turn) % 1023, np.clip(lift, 0, 1.4) * 150
    noise = cv2.remap(_clouds(turn % 4), u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR)
    cover = np.clip((noise - 0.85 + 0.6 * condition.clouds) * 3, 0, 0.75 if condition.clouds else 0)[..., None]
    bright = low * (0.62 if condition.night else 1.08) * (1.12 - 0.3 * noise[..., None])
    frame += (bright - frame) * cover
    hills = (
        0.035 + 0.025 * np.sin(azimuth * 3 + 1) + 0.02 * np.sin(azimuth * 11) + 0.015 * np.sign(np.sin(azimuth * 57))
    )
    frame[lift < hills] = ambient * np.float32(58) + low * 0.5
    frame[lift < -1e-3] = ambient * np.float32(218 if condition.snow else 104)
    size = (camera.width, camera.height)
    nearness = np.maximum(world[..., 2] * np.float32(-0.98 / camera.position[2]), 0)  # of the ground, a little too far
    image = np.clip(frame, 0, 255).astype(np.uint8)
    return cv2.resize(image, size), cv2.resize(nearness, size)


def draw_house(canvas: Canvas, building: Building, lighting: Lighting) -> None:
    """Draw a building as far as the camera sees it: front, sides, roof, chimneys."""
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


@lru_cache(maxsize=400)
def road_texture(width: float, key: tuple[int, ...], snow: int) -> list[np.ndarray]:
    """Draw `TILE` metres of a street, `width` from front to front; `snow` 0..2 is none, some, much."""
    rng = np.random.default_rng(key[:-1])  # markings belong to the street,
    wear = np.random.default_rng(key)  # wear to the tile
    h, w = round(width * SCALE), round(TILE * SCALE)
    image = np.empty((h, w, 3), np.float32)
    asphalt = rng.uniform(78, 104) + np.array([0, 0, 3.0])
    image[:] = asphalt
    image *= (
        1
        + cv2.resize(wear.normal(0, 0.05, (5, 7)).astype(np.float32), (w, h), interpolation=cv2.INTER_CUBIC)[..., None]
    )
    image *= 1 + grain(h, w, wear)[..., None]
    for _ in range(int(wear.integers(0, 3))):  # patches and drains
        left, top = int(wear.integers(w)), int(wear.integers(h))
        image[top : top + int(wear.integers(10, 50)), left : left + int(wear.integers(10, 90))] *= wear.uniform(
            0.75, 1.1
        )
    kerb = round(PAVEMENT * SCALE)
    paint = np.array([206, 204, 196], np.float32)
    line = str(rng.choice(["dashed", "solid", "none"], p=[0.6, 0.2, 0.2]))
    for start in range(0, w, 6 * SCALE) if line == "dashed" else [0]:
        if line != "none":
            image[h // 2 - 1 : h // 2 + 2, start : start + (3 * SCALE if line == "dashed" else w)] = paint
    if rng.random() < 0.5:  # parking bays
        for y in (kerb + 2 * SCALE, h - kerb - 2 * SCALE):
            image[y - 1 : y + 1] = paint * 0.9
    slab = rng.uniform(138, 172) + rng.normal(0, 4, 3)
    size = int(rng.choice([8, 12, 16]))
    rows, columns = np.arange(kerb)[:, None], np.arange(w)
    joints = np.where((rows % size == 0) | ((columns + rows // size % 2 * size // 2) % size == 0), 0.84, 1.0)
    pavement = joints[..., None] * slab * (1 + wear.normal(0, 0.02, (kerb, w, 1)))
    image[:kerb], image[-kerb:] = pavement, pavement[::-1]
    for y in (kerb, h - kerb):
        image[y - 3 : y + 3] = (176, 174, 168)
        image[y : y + 2] *= 0.55
    if snow:
        depth = cv2.resize(wear.normal(0, 0.25, (8, 12)).astype(np.float32), (w, h), interpolation=cv2.INTER_CUBIC)
        across = np.abs(np.arange(h) - h / 2) / (h / 2)
        tracks = 0.45 * np.sin(np.arange(h) / SCALE * 2.4) ** 2 * (across < 0.55)
        cover = np.clip(depth + (0.35 if snow == 1 else 1.0) * (0.35 + across)[:, None] - tracks[:, None] + 0.2, 0, 1)[
            ..., None
        ]
        image = image * (1 - cover) + np.array([226, 230, 236]) * cover
    return pyramid(np.clip(image, 0, 255).astype(np.uint8), 5)
