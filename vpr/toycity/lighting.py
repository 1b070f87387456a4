"""Lighting of textures under a condition: sun and cast shadow, snow on ledges, lit windows at night."""

from __future__ import annotations

import numpy as np

from vpr.toycity.canvas import LEDGE, SHOP, SIGN, tinted
from vpr.toycity.conditions import Condition, Triple, light

_SNOW = (232, 236, 242)
_LAMPS = np.array((0.62, 0.5, 0.34), np.float32)  # street lamps at the height of 2.5 m
_ACROSS = 16.0  # metres to the houses opposite, whose shadow falls on a front


class Lighting:
    """The light of one visit; which windows are lit is drawn anew for each."""

    def __init__(self, condition: Condition, rng: np.random.Generator) -> None:
        self.condition = condition
        turn, lift = np.radians(condition.azimuth), np.radians(condition.elevation)
        self.towards = np.array([np.sin(turn), np.cos(turn)])  # the sun, on the map
        self.slope = float(np.tan(lift))
        self.shine = np.zeros((256, 3), np.float32)
        if condition.night:
            lit = rng.random(240) < rng.uniform(0.15, 0.45)
            lit[0] = False
            tones = np.array([(255, 206, 130), (255, 226, 170), (226, 230, 240)], np.float32)[rng.integers(3, size=240)]
            self.shine[:240][lit] = (tones * rng.uniform(0.5, 1.0, (240, 1)))[lit]
            self.shine[SHOP] = np.array((255, 232, 190)) * rng.uniform(0.2, 1.0)
            self.shine[SIGN] = np.array((255, 250, 240)) * rng.uniform(0.15, 0.9)

    def wall(self, image: np.ndarray, label: np.ndarray, height: float, normal: np.ndarray, tall: float) -> np.ndarray:
        """Light a wall texture (h, w, 3) that is `height` metres high; the houses opposite are `tall` metres high."""
        if self.condition.night:
            z = np.linspace(height, 0, image.shape[0], dtype=np.float32)[:, None, None]
            lamps = np.array(self.condition.ambient, np.float32) + _LAMPS * np.exp(-(((z - 2.5) / 4.5) ** 2))
            glow = self.shine[label] * (0.35 + 0.65 / 255 * image)
            return np.clip(image * lamps + glow, 0, 255).astype(np.uint8)
        out = tinted(image, light(self.condition, normal))
        facing = float(self.towards @ normal[:2])
        if facing > 0.02 and self.condition.sun != (0, 0, 0):
            shadow = tall - _ACROSS / facing * self.slope
            rows = round(float(np.clip(1 - shadow / height, 0, 1)) * len(image))
            if rows < len(image):
                out[rows:] = tinted(image[rows:], self.condition.ambient)
        if self.condition.snow:
            out[label == LEDGE] = np.array(_SNOW) * min(self.condition.ambient[0] + 0.1, 1)
        return out

    def ground(self, image: np.ndarray, left: np.ndarray, width: float, tall: float) -> np.ndarray:
        """Light a road texture whose top row lies on the left; the houses towards the sun are `tall` metres high."""
        up = np.array([0, 0, 1.0])
        out = tinted(image, self.above(up))
        facing = float(self.towards @ left)
        if self.condition.sun != (0, 0, 0):
            rows = int(min(tall * abs(facing) / self.slope / width, 1) * len(image))
            part = slice(0, rows) if facing > 0 else slice(len(image) - rows, None)
            if rows:
                out[part] = tinted(image[part], self._damp(self.condition.ambient))
        return out

    def above(self, normal: np.ndarray) -> Triple:
        """Light on things in the street: with the lamps at night, darker where it is wet."""
        r, g, b = light(self.condition, normal)
        return self._damp((r + 0.34, g + 0.27, b + 0.18) if self.condition.night else (r, g, b))

    def _damp(self, colour: Triple) -> Triple:
        factor = 0.72 if self.condition.wet else 1.0
        return (colour[0] * factor, colour[1] * factor, colour[2] * factor)
