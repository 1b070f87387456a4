"""A wall to draw on in metres: colours, and labels of what shines at night or catches snow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import cv2
import numpy as np

PIXELS_PER_METRE = 18
WALL, SHOP, SIGN, LEDGE = 0, 240, 241, 242  # labels; 1..239 number the windows
Colour = Sequence[float] | np.ndarray


def _bounded(colour: Colour) -> list[float]:
    return [min(max(float(c), 0.0), 255.0) for c in colour]


class Sheet:
    """`rgb` (h, w, 3) and `label` (h, w), both uint8; x runs right and z up from the pavement, in metres."""

    def __init__(self, width: float, height: float, scale: float = PIXELS_PER_METRE) -> None:
        self.width, self.height, self.scale = width, height, scale
        shape = (max(round(height * scale), 2), max(round(width * scale), 2))
        self.rgb = np.zeros((*shape, 3), np.uint8)
        self.label = np.zeros(shape, np.uint8)

    def _pixel(self, x: float, z: float) -> tuple[int, int]:
        return round(x * self.scale), self.rgb.shape[0] - round(z * self.scale)

    def rect(self, x0: float, z0: float, x1: float, z1: float, colour: Colour, label: int | None = None) -> None:
        """Fill a rectangle; at least one pixel."""
        (left, bottom), (right, top) = self._pixel(x0, z0), self._pixel(x1, z1)
        right, bottom = max(right, left + 1), max(bottom, top + 1)
        rows, columns = slice(max(top, 0), max(bottom, 0)), slice(max(left, 0), max(right, 0))
        self.rgb[rows, columns] = _bounded(colour)
        if label is not None:
            self.label[rows, columns] = label

    def fade(self, x0: float, z0: float, x1: float, z1: float, top: Colour, bottom: Colour, label: int) -> None:
        """Fill a rectangle with a vertical gradient."""
        (left, low), (right, high) = self._pixel(x0, z0), self._pixel(x1, z1)
        rows, columns = slice(max(high, 0), max(low, 0)), slice(max(left, 0), max(right, 0))
        count = self.rgb[rows, columns].shape[0]
        mix = np.linspace(0, 1, count)[:, None, None]
        self.rgb[rows, columns] = np.clip(np.asarray(top) * (1 - mix) + np.asarray(bottom) * mix, 0, 255)
        self.label[rows, columns] = label

    def poly(self, points: Sequence[tuple[float, float]], colour: Colour, label: int | None = None) -> None:
        """Fill a polygon of (x, z)."""
        pixels = np.array([self._pixel(x, z) for x, z in points], np.int32)
        cv2.fillPoly(self.rgb, [pixels], _bounded(colour))
        if label is not None:
            cv2.fillPoly(self.label, [pixels], label)

    def arch(
        self, x0: float, z0: float, x1: float, colour: Colour, label: int | None = None, rise: float = 0.5
    ) -> None:
        """Fill the half ellipse that stands on the line z0 between x0 and x1, `rise` times as high as wide."""
        turns = np.linspace(0, np.pi, 12)
        middle, half = (x0 + x1) / 2, (x1 - x0) / 2
        self.poly(
            [(middle + half * c, z0 + 2 * half * rise * s) for c, s in zip(np.cos(turns), np.sin(turns), strict=True)],
            colour,
            label,
        )

    def line(self, x0: float, z0: float, x1: float, z1: float, colour: Colour, pixels: int = 1) -> None:
        """Draw a line, its thickness in pixels."""
        cv2.line(self.rgb, self._pixel(x0, z0), self._pixel(x1, z1), _bounded(colour), pixels)

    def text(self, words: str, x0: float, z0: float, x1: float, z1: float, colour: Colour, font: int) -> None:
        """Write into a box, as large as fits."""
        (w, h), _ = cv2.getTextSize(words, font, 1.0, 1)
        size = min((x1 - x0) * self.scale / w, (z1 - z0) * self.scale / h)
        x, y = self._pixel((x0 + x1) / 2, (z0 + z1) / 2)
        corner = (round(x - w * size / 2), round(y + h * size / 2))
        cv2.putText(
            self.rgb, words, corner, font, size, [float(c) for c in colour], 2 if size > 0.7 else 1, cv2.LINE_AA
        )


class Skin:
    """A sheet that is drawn when first looked at, in full, half, quarter ... size."""

    def __init__(self, draw: Callable[[], Sheet]) -> None:
        self._draw = draw

    @cached_property
    def levels(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Pairs of `rgb` and `label`, the largest first."""
        sheet = self._draw()
        out: list[tuple[np.ndarray, np.ndarray]] = [(sheet.rgb, sheet.label)]
        while len(out) < 4:
            rgb, label = out[-1]
            h, w = label.shape[0] // 2, label.shape[1] // 2
            smaller = cv2.resize(rgb, (w, h), interpolation=cv2.INTER_AREA)
            out.append((smaller, np.ascontiguousarray(label[: 2 * h : 2, : 2 * w : 2])))
        return out
