"""Trees, lamps and people."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from vpr.data.toycity.canvas import Canvas, pyramid, tinted
from vpr.data.toycity.conditions import Triple

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
