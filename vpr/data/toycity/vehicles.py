"""Cars and vans."""

from __future__ import annotations

import numpy as np

from vpr.data.toycity.canvas import Canvas
from vpr.data.toycity.conditions import Triple
from vpr.data.toycity.props import PAINT

# Profiles (metres behind the front bumper, metres above the road) and side windows.
_CAR = [(0, 0.3), (0, 0.72), (0.1, 0.84), (1.05, 0.95), (1.75, 1.42), (3.1, 1.45), (3.8, 1.0), (4.2, 0.92), (4.2, 0.3)]
_VAN = [(0, 0.3), (0, 0.95), (0.55, 1.2), (1.15, 2.05), (1.5, 2.15), (4.9, 2.2), (5.0, 2.1), (5.0, 0.3)]
_CAR_GLASS = [
    [(1.35, 0.97), (1.85, 1.34), (2.35, 1.36), (2.35, 0.98)],
    [(2.45, 0.98), (2.45, 1.36), (3.05, 1.36), (3.6, 1.0)],
]
_VAN_GLASS = [[(0.8, 1.25), (1.2, 1.92), (1.95, 1.95), (1.95, 1.22)]]


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
