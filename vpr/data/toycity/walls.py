"""Wall materials: brick, plaster, concrete, stone, boards."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from vpr.data.toycity.sheet import Sheet

# Shared by all buildings of all cities: a colour alone names no place.
PLASTER = np.array(
    [
        (214, 204, 182),
        (196, 178, 146),
        (226, 219, 206),
        (188, 172, 160),
        (205, 160, 128),
        (176, 184, 176),
        (222, 200, 150),
        (170, 150, 140),
    ],
    float,
)
BRICK = np.array([(142, 78, 62), (158, 96, 72), (120, 72, 62), (176, 128, 98), (134, 104, 88)], float)
STONE = np.array([(176, 168, 154), (150, 146, 140), (190, 180, 158)], float)
CONCRETE = np.array([(158, 158, 154), (176, 174, 168), (136, 138, 140)], float)
BOARDS = np.array([(150, 128, 104), (182, 186, 184), (120, 132, 128), (196, 186, 160)], float)


def paint(sheet: Sheet, material: str, rng: np.random.Generator) -> np.ndarray:
    """Cover the sheet with a material; returns its mean colour (3,)."""
    colours = {"plaster": PLASTER, "brick": BRICK, "stone": STONE, "concrete": CONCRETE, "boards": BOARDS}[material]
    colour = colours[rng.integers(len(colours))] * rng.uniform(0.92, 1.08) + rng.normal(0, 4, 3)
    h, w = sheet.label.shape
    value = np.ones((h, w), np.float32)
    rows, columns = np.arange(h)[:, None], np.arange(w)
    if material == "brick":
        value += _cells(rows // 3, columns // 6 + (rows // 3 % 2) * 131, 0.1)
        value[rows[:, 0] % 3 == 0] *= 0.88
    elif material == "stone":
        high, wide = int(rng.integers(8, 13)), int(rng.integers(14, 26))
        shifted = columns + (rows // high % 2) * (wide // 2)
        value += _cells(rows // high, shifted // wide, 0.07)
        value[(rows % high == 0) | (shifted % wide == 0)] *= 0.8
    elif material == "concrete":
        high, wide = int(rng.integers(50, 64)), int(rng.integers(40, 80))
        value += _cells(rows // high, columns // wide, 0.05)
        value[(rows % high == 0) | (columns % wide == 0)] *= 0.72
    elif material == "boards":
        value += _cells(rows // 4, columns // 400, 0.05)
        value[rows[:, 0] % 4 == 0] *= 0.84
    value *= 1 + _stains(h, w, rng)
    value *= 1 + grain(h, w, rng)
    z = np.linspace(sheet.height, 0, h, dtype=np.float32)[:, None]
    value *= 1 - 0.22 * np.exp(-z / 0.8)  # dirt and little light near the pavement
    sheet.rgb[:] = np.clip(value[..., None] * colour, 0, 255)
    return colour


def _cells(rows: np.ndarray, columns: np.ndarray, spread: float) -> np.ndarray:
    """Give every (row, column) cell a shade of its own in +-spread, by hashing."""
    mixed = (rows * 7919 + columns * 104729) * 2654435761 % 4294967296
    return ((mixed >> 12) % 256 / 127.5 - 1).astype(np.float32) * spread


def _stains(h: int, w: int, rng: np.random.Generator) -> np.ndarray:
    """Weathering: large soft stains and streaks that run down."""
    soft = cv2.resize(rng.normal(0, 0.045, (4, 4)).astype(np.float32), (w, h), interpolation=cv2.INTER_CUBIC)
    streaks = cv2.resize(
        rng.normal(0, 0.03, (2, max(w // 6, 2))).astype(np.float32), (w, h), interpolation=cv2.INTER_LINEAR
    )
    return soft + streaks


@lru_cache(maxsize=1)
def _noise() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.035, (768, 768)).astype(np.float32)


def grain(h: int, w: int, rng: np.random.Generator) -> np.ndarray:
    """Cut (h, w) of fine relative noise from a fixed sheet: drawing it anew costs more than the wall."""
    y, x = int(rng.integers(768 - h)) if h < 768 else 0, int(rng.integers(768 - w)) if w < 768 else 0
    return np.resize(_noise()[y : y + h, x : x + w], (h, w))
