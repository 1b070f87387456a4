"""Street: parked and driving cars, people, trees and lamps, which stand in the way of a view."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from vpr.toycity.canvas import Canvas, pyramid, tinted
from vpr.toycity.conditions import Triple
from vpr.toycity.lighting import Lighting
from vpr.toycity.map import PAVEMENT, City, Street

_SCALE = 20  # pixels per metre
TREE = (6.0, 7.6)  # width and height in metres
_LEAVES = {
    "green": [(62, 92, 44), (78, 104, 52)],
    "spring": [(104, 134, 62), (124, 146, 80)],
    "autumn": [(176, 122, 44), (160, 88, 40)],
}
PAINT = [
    (196, 198, 200),
    (52, 54, 58),
    (128, 132, 136),
    (146, 36, 34),
    (40, 62, 104),
    (224, 222, 216),
    (70, 84, 74),
    (186, 160, 110),
]
# Profiles (metres behind the front bumper, metres above the road) and side windows.
_CAR = [(0, 0.3), (0, 0.72), (0.1, 0.84), (1.05, 0.95), (1.75, 1.42), (3.1, 1.45), (3.8, 1.0), (4.2, 0.92), (4.2, 0.3)]
_VAN = [(0, 0.3), (0, 0.95), (0.55, 1.2), (1.15, 2.05), (1.5, 2.15), (4.9, 2.2), (5.0, 2.1), (5.0, 0.3)]
_CAR_GLASS = [
    [(1.35, 0.97), (1.85, 1.34), (2.35, 1.36), (2.35, 0.98)],
    [(2.45, 0.98), (2.45, 1.36), (3.05, 1.36), (3.6, 1.0)],
]
_VAN_GLASS = [[(0.8, 1.25), (1.2, 1.92), (1.95, 1.95), (1.95, 1.22)]]
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
        present = rng.random(len(bumpers)) < chance
        looks, vans = rng.integers(1 << 30, size=len(bumpers)), rng.random(len(bumpers)) < 0.15
        for i in np.flatnonzero(present):
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


@lru_cache(maxsize=96)
def tree(look: int, leaves: str, snow: bool) -> list[np.ndarray]:
    """Draw a tree as an RGBA pyramid; the shape follows from `look` alone."""
    rng = np.random.default_rng((look, 5))
    w, h = round(TREE[0] * _SCALE), round(TREE[1] * _SCALE)
    image = np.zeros((h, w, 4), np.uint8)
    crown = [(0.34, 0.30), (0.26, 0.36), (0.4, 0.26)][look // 8 % 3]
    _branch(image, rng, (w / 2, h - 1), -np.pi / 2, h * 0.2, 6.0, snow)
    if leaves != "bare":
        colour = np.array(_LEAVES[leaves][look % 2], float)
        middle = (w / 2, h * 0.38)
        for i in range(150):
            angle, radius = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random())
            x, y = middle[0] + np.cos(angle) * radius * w * crown[0], middle[1] + np.sin(angle) * radius * h * crown[1]
            shade = 0.62 + 0.5 * (1 - y / (h * 0.75)) + rng.normal(0, 0.1) + 0.1 * i / 150
            cv2.circle(
                image, (round(x), round(y)), int(rng.integers(4, 11)), [*np.clip(colour * shade, 0, 255), 255.0], -1
            )
        holes = rng.random((h, w)) < 0.06
        image[holes, 3] = image[holes, 3] // 3
    return pyramid(image)


def _branch(
    image: np.ndarray,
    rng: np.random.Generator,
    start: tuple[float, float],
    angle: float,
    length: float,
    thick: float,
    snow: bool,
) -> None:
    end = (start[0] + np.cos(angle) * length, start[1] + np.sin(angle) * length)
    ends = (round(start[0]), round(start[1])), (round(end[0]), round(end[1]))
    cv2.line(image, *ends, (76, 66, 58, 255), max(round(thick), 1), cv2.LINE_AA)
    if snow and abs(np.cos(angle)) > 0.35:
        cv2.line(image, (ends[0][0], ends[0][1] - 1), (ends[1][0], ends[1][1] - 1), (226, 230, 236, 255), 1)
    if thick > 0.9:
        for turn in (-0.45, 0.0, 0.45) if thick > 2 else (-0.4, 0.4):
            if rng.random() < 0.92:
                _branch(
                    image,
                    rng,
                    end,
                    angle + turn + rng.normal(0, 0.2),
                    length * rng.uniform(0.6, 0.85),
                    thick * 0.6,
                    snow,
                )


def draw_tree(canvas: Canvas, point: np.ndarray, look: int, leaves: str, snow: bool, light: Triple) -> None:
    """Draw a tree as a board that faces the camera."""
    size = 0.8 + 0.07 * (look % 7)
    right = canvas.camera.rotation[0] * TREE[0] * size

    def image(level: int) -> np.ndarray:
        levels = tree(look, leaves, snow)
        return tinted(levels[min(level, len(levels) - 1)], light)

    origin, up = np.array([*point, 0.0]) - right / 2, np.array([0, 0, TREE[1] * size])
    canvas.texture(image, _SCALE / size, origin, right, up, alpha=True)


def draw_lamp(canvas: Canvas, point: np.ndarray, light: Triple, night: bool) -> None:
    """Draw a street lamp, 5.2 m high."""
    right = canvas.camera.rotation[0]
    foot, up = np.array([*point, 0.0]), np.array([0, 0, 1.0])
    grey = np.array([70, 72, 74]) * light
    canvas.polygon(
        np.array(
            [foot - right * 0.06, foot + right * 0.06, foot + right * 0.05 + up * 5, foot - right * 0.05 + up * 5]
        ),
        grey,
    )
    top = foot + up * 5
    head = np.array([top - right * 0.3, top + right * 0.3, top + right * 0.2 + up * 0.3, top - right * 0.2 + up * 0.3])
    canvas.polygon(head, (255, 226, 160) if night else np.array([190, 190, 184]) * light)


def draw_person(canvas: Canvas, point: np.ndarray, look: int, light: Triple) -> None:
    """Draw a pedestrian as flat shapes that face the camera."""
    rng = np.random.default_rng((look, 11))
    right, up, foot = canvas.camera.rotation[0], np.array([0, 0, 1.0]), np.array([*point, 0.0])
    size, stride = rng.uniform(0.9, 1.08), rng.uniform(0.05, 0.25)
    coat, legs = np.array(PAINT[rng.integers(8)]) * light, np.array(PAINT[rng.integers(1, 5)]) * 0.7 * light

    def shape(points: list[tuple[float, float]], colour: np.ndarray) -> None:
        canvas.polygon(np.array([foot + right * x * size + up * z * size for x, z in points]), colour)

    for s in (-1, 1):
        shape([(s * stride - 0.07, 0), (s * stride + 0.07, 0), (s * 0.09 + 0.08, 0.85), (s * 0.09 - 0.08, 0.85)], legs)
    shape([(-0.19, 0.8), (0.19, 0.8), (0.24, 1.35), (0.12, 1.5), (-0.12, 1.5), (-0.24, 1.35)], coat)
    turns = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    shape([(0.11 * float(np.cos(t)), 1.63 + 0.13 * float(np.sin(t))) for t in turns], np.array([188, 146, 120]) * light)


def draw_vehicle(
    canvas: Canvas,
    point: np.ndarray,
    forward: np.ndarray,
    look: int,
    light: Triple,
    night: bool,
    van: bool,
) -> None:
    """Draw a car or a van as an extruded profile; `point` (2,) is the middle of its front bumper, at ground level."""
    rng = np.random.default_rng((look, 9))
    paint = np.array(PAINT[rng.integers(len(PAINT))]) * rng.uniform(0.85, 1.1) * light
    profile, glass = (_VAN, _VAN_GLASS) if van else (_CAR, _CAR_GLASS)
    half = 0.95 if van else 0.87
    across = np.array([-forward[1], forward[0], 0])
    back, up = np.array([-forward[0], -forward[1], 0]), np.array([0, 0, 1.0])
    base = np.array([*point, 0.0])

    def place(points: list[tuple[float, float]], offset: float) -> np.ndarray:
        return np.array([base + x * back + z * up + offset * across for x, z in points])

    length = profile[-1][0]
    ends = [(-0.1, 0.02), (length + 0.1, 0.02)]
    left, right = place(ends, half + 0.15), place(ends, -half - 0.15)
    canvas.polygon(np.array([left[0], left[1], right[1], right[0]]), (20, 20, 22), 0.6)  # shadow on the road
    for a, b in zip(profile[:-1], profile[1:], strict=True):
        steep = abs(b[1] - a[1]) > 0.3 * abs(b[0] - a[0])
        pane = steep and min(a[1], b[1]) > 0.9
        shade = 0.8 if steep else 1.12
        left, right = place([a, b], half), place([a, b], -half)
        canvas.polygon(
            np.array([left[0], left[1], right[1], right[0]]), np.array([54, 62, 70]) * light if pane else paint * shade
        )
    side = 1 if across @ (np.array(canvas.camera.position) - base) > 0 else -1
    canvas.polygon(place(profile, side * half), paint * 0.92)
    for window in glass:
        canvas.polygon(place(window, side * (half + 0.02)), np.array([48, 56, 64]) * light)
    turns = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    for axle in (0.85, length - 0.85):
        for radius, colour in ((0.33, (26, 26, 28)), (0.18, (120, 122, 124))):
            ring = [(axle + radius * float(np.cos(t)), 0.33 + radius * float(np.sin(t))) for t in turns]
            canvas.polygon(place(ring, side * (half + 0.03 + (radius < 0.3) * 0.01)), np.array(colour) * light)
    for x, day, dark in ((-0.02, (210, 210, 200), (255, 250, 224)), (length + 0.02, (130, 30, 28), (220, 40, 30))):
        for offset in (-half + 0.1, half - 0.35):
            lamp = np.array(
                [
                    base + x * back + z * up + (offset + d) * across
                    for d, z in ((0, 0.6), (0.25, 0.6), (0.25, 0.75), (0, 0.75))
                ]
            )
            canvas.polygon(lamp, dark if night else np.array(day) * light)
