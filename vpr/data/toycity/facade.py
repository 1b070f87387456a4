"""Facades: one texture a building, and what the renderer must know about its roof and sides."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from vpr.data.toycity.openings import draw_door, draw_gate, draw_shop, draw_window, window_style
from vpr.data.toycity.sheet import LEDGE, Sheet, Skin
from vpr.data.toycity.walls import paint

_ROOFS = np.array([(134, 76, 58), (96, 62, 54), (84, 84, 90), (112, 106, 100), (70, 74, 80)], float)


class Facade(NamedTuple):
    """Front and side, height of the front and of its eaves in metres, outline of the front in 0..1, roof."""

    front: Skin
    side: Skin
    height: float
    eaves: float
    outline: np.ndarray
    roof: str
    rise: float
    roof_colour: np.ndarray
    chimneys: tuple[float, ...]


@lru_cache(maxsize=500)
def facade(width: float, depth: float, corner: bool, key: tuple[int, ...]) -> Facade:
    """Draw the building `key`; a corner house has windows and shops on its sides too."""
    rng = np.random.default_rng((*key, 1))
    material = str(rng.choice(["plaster", "brick", "stone", "concrete", "boards"], p=[0.42, 0.26, 0.12, 0.12, 0.08]))
    storeys = int(rng.choice([2, 3, 4, 5], p=[0.22, 0.36, 0.28, 0.14]))
    ground, storey = rng.uniform(3.2, 4.3), rng.uniform(2.7, 3.5)
    roof = str(rng.choice(["flat", "pitched", "gable", "stepped", "mansard"], p=[0.34, 0.32, 0.12, 0.08, 0.14]))
    eaves = ground + (storeys - 1) * storey + 0.5
    rise = {"flat": 0.0, "pitched": 2.6, "mansard": 2.4, "gable": 0.36 * width, "stepped": 0.34 * width}[roof]
    top = eaves + (rise if roof in ("gable", "stepped") else 0)
    look = int(rng.integers(1 << 30))
    floors = (ground, storey, storeys)
    return Facade(
        Skin(lambda: _wall(width, top, eaves, floors, material, look, look + 1, True)),
        Skin(lambda: _wall(depth, eaves, eaves, floors, material, look, look + 2, corner)),
        top,
        eaves,
        _outline(roof, eaves / top),
        roof,
        rise,
        _ROOFS[rng.integers(len(_ROOFS))] * rng.uniform(0.85, 1.15),
        tuple(rng.uniform(0.1, 0.9, int(rng.integers(0, 3)))),
    )


def _outline(roof: str, eaves: float) -> np.ndarray:
    if roof == "gable":
        return np.array([(0, 0), (1, 0), (1, eaves), (0.5, 1), (0, eaves)])
    if roof == "stepped":
        steps = [(0.0, 0.0), (1.0, 0.0)]
        for i in range(4):
            level = eaves + (1 - eaves) * (i + 0.4) / 3.4
            steps += [(1 - i / 8, level), (1 - (i + 1) / 8, level)]
        mirrored = [(1 - x, z) for x, z in reversed(steps[2:])]
        return np.array(steps + mirrored[1:])
    return np.array([(0, 0), (1, 0), (1, 1), (0, 1)], float)


def _wall(
    width: float,
    top: float,
    eaves: float,
    floors: tuple[float, float, int],
    material: str,
    look: int,
    own: int,
    rich: bool,
) -> Sheet:
    """Draw one wall. `look` fixes the style that front and side share, `own` what differs."""
    ground, storey, storeys = floors
    sheet, style = Sheet(width, top), np.random.default_rng(look)
    rng = np.random.default_rng(own)
    colour = paint(sheet, material, style)
    trim = np.clip(colour * style.choice([0.7, 0.85, 1.2, 1.3]) + style.choice([0, 14]), 30, 236)
    bays = max(int(width / style.choice([2.3, 2.8, 3.4, 4.2])), 1)
    if not rich:
        bays = int(rng.integers(0, 2))
    margin = width * float(style.choice([0.03, 0.06]))
    bay = (width - 2 * margin) / max(bays, 1)
    upper, first = window_style(style, bay, storey), window_style(style, bay, storey)
    skip = int(style.integers(bays)) if bays > 2 and style.random() < 0.3 else -1
    label = 2
    for level in range(1, storeys):
        now = first if level == 1 else upper
        base = ground + (level - 1) * storey + storey * 0.24
        for i in range(bays):
            if i == skip and level % 2:
                continue
            draw_window(sheet, margin + bay * (i + 0.5) - now.width / 2, base, now, trim, label, rng)
            label += 1
    _ornament(sheet, trim, style, floors, eaves, bays, margin)
    if top > eaves and rich:
        attic = window_style(style, min(width / 3, 2), 2.0)
        draw_window(sheet, width / 2 - attic.width / 2, eaves + 0.3, attic, trim, label, rng)
    if rich:
        _ground_floor(sheet, width, ground, trim, bay, margin, bays, rng)
    return sheet


def _ornament(
    sheet: Sheet,
    trim: np.ndarray,
    style: np.random.Generator,
    floors: tuple[float, float, int],
    eaves: float,
    bays: int,
    margin: float,
) -> None:
    ground, storey, storeys = floors
    w = sheet.width
    if style.random() < 0.5:  # string courses
        for level in range(1, storeys):
            z = ground + (level - 1) * storey
            sheet.rect(0, z, w, z + 0.16, trim, LEDGE)
            sheet.rect(0, z - 0.06, w, z, trim * 0.6)
    if style.random() < 0.3:  # pilasters
        for x in np.linspace(0.15, w - 0.55, max(bays // 2 + 1, 2)):
            sheet.rect(x, ground, x + 0.4, eaves - 0.4, trim * 0.95)
            sheet.rect(x + 0.36, ground, x + 0.42, eaves - 0.4, trim * 0.7)
    if style.random() < 0.35:  # quoins
        for i, z in enumerate(np.arange(ground, eaves - 0.5, 0.45)):
            size = 0.5 if i % 2 else 0.3
            sheet.rect(0, z, size, z + 0.38, trim)
            sheet.rect(w - size, z, w, z + 0.38, trim)
    depth = float(style.choice([0.25, 0.4, 0.6]))
    sheet.rect(0, eaves - depth, w, eaves, trim, LEDGE)
    sheet.rect(0, eaves - depth - 0.12, w, eaves - depth, trim * 0.55)
    if style.random() < 0.4:  # brackets below the cornice
        for x in np.arange(0.2, w, 0.6):
            sheet.rect(x, eaves - depth - 0.3, x + 0.2, eaves - depth, trim * 0.8)
    if style.random() < 0.5:  # drain pipe
        x = float(style.choice([0.15, w - 0.3]))
        sheet.rect(x, 0, x + 0.13, eaves - depth, (96, 96, 96))


def _ground_floor(
    sheet: Sheet,
    width: float,
    ground: float,
    trim: np.ndarray,
    bay: float,
    margin: float,
    bays: int,
    rng: np.random.Generator,
) -> None:
    use = str(rng.choice(["shop", "two shops", "home", "gate"], p=[0.38, 0.17, 0.3, 0.15]))
    plinth = trim * 0.72
    if rng.random() < 0.5 or use == "home":
        sheet.rect(0, 0, width, rng.uniform(0.4, 0.9), plinth)
    if use in ("shop", "two shops"):
        door = 1.6 if rng.random() < 0.6 else 0.0
        room = width - 0.6 - door
        left = 0.3 + (door if rng.random() < 0.5 else 0)
        for i in range(2 if use == "two shops" and room > 7 else 1):
            share = room / (2 if use == "two shops" and room > 7 else 1)
            draw_shop(sheet, left + i * share + 0.1, share - 0.2, ground - rng.uniform(0.15, 0.45), rng)
        if door:
            draw_door(sheet, 0.5 if left > 0.5 else width - 1.5, 1.0, 2.3, trim, rng)
        return
    style = window_style(rng, bay, ground)
    door = int(rng.integers(bays))
    gate = int(rng.integers(bays)) if use == "gate" else -1
    for i in range(bays):
        middle = margin + bay * (i + 0.5)
        if i == gate:
            size = min(bay * 0.9, 3.2)
            draw_gate(sheet, middle - size / 2, size, ground * 0.72, rng)
        elif i == door:
            draw_door(sheet, middle - 0.55, 1.1, 2.35, trim, rng)
        else:
            draw_window(sheet, middle - style.width / 2, 1.0, style._replace(balcony="none"), trim, 1, rng)
