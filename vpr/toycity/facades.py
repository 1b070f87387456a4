"""Facades: one texture a building, its roof and sides; walls of a material with windows, doors, gates and shops."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from vpr.toycity.canvas import LEDGE, SHOP, SIGN, Sheet, Skin

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
_ROOFS = np.array([(134, 76, 58), (96, 62, 54), (84, 84, 90), (112, 106, 100), (70, 74, 80)], float)
_FRAMES = [(232, 230, 224), (90, 70, 55), (60, 66, 70), (200, 190, 170), (70, 90, 78)]
_SHUTTERS = [(86, 110, 92), (110, 84, 66), (96, 112, 128), (148, 142, 130), (128, 60, 52)]
_SHOP = [
    (150, 44, 40),
    (38, 72, 120),
    (40, 92, 66),
    (60, 56, 54),
    (196, 152, 50),
    (110, 60, 110),
    (222, 214, 196),
    (34, 110, 120),
]
_SYLLABLES = ["ba", "co", "da", "fi", "ga", "ko", "la", "mi", "no", "pa", "ro", "sa", "ti", "vo", "ze", "lu", "mar",
              "tel", "bon", "ric", "san", "del"]  # fmt: skip


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
    seed: int,
    rich: bool,
) -> Sheet:
    """Draw one wall. `look` fixes the style that front and side share, `own` what differs."""
    ground, storey, storeys = floors
    sheet, style = Sheet(width, top), np.random.default_rng(look)
    rng = np.random.default_rng(seed)
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


class WindowStyle(NamedTuple):
    """Look of the windows of one storey; sizes in metres."""

    width: float
    height: float
    arched: bool
    frame: tuple[int, int, int]
    bars: tuple[int, int]
    surround: float
    cap: str
    shutters: tuple[int, int, int] | None
    balcony: str


def window_style(rng: np.random.Generator, bay: float, storey: float) -> WindowStyle:
    """Draw a style that fits a bay and a storey."""
    width = min(float(rng.choice([0.85, 1.0, 1.2, 1.5, 2.1])), bay * 0.82)
    height = storey * float(rng.choice([0.42, 0.5, 0.58, 0.66]))
    room = bay - width
    return WindowStyle(
        width,
        height,
        bool(rng.random() < 0.22),
        _FRAMES[rng.choice(5, p=[0.5, 0.14, 0.14, 0.12, 0.1])],
        (int(rng.choice([1, 2, 2, 3])), int(rng.choice([1, 2, 2, 3]))),
        float(rng.choice([0, 0, 0.12, 0.2])),
        str(rng.choice(["none", "none", "lintel", "cap", "gable"])),
        _SHUTTERS[rng.integers(5)] if room > width * 0.8 and rng.random() < 0.4 else None,
        str(rng.choice(["none", "rail", "slab", "planter"], p=[0.6, 0.15, 0.15, 0.1])),
    )


def draw_window(
    sheet: Sheet, x: float, z: float, style: WindowStyle, trim: np.ndarray, label: int, rng: np.random.Generator
) -> None:
    """Draw one window with its lower left corner at (x, z)."""
    w, h, edge = style.width, style.height, 0.07
    if style.surround:
        s = style.surround
        sheet.rect(x - s, z - s, x + w + s, z + h + s, trim)
    if style.arched:
        sheet.arch(x - style.surround, z + h, x + w + style.surround, trim if style.surround else style.frame, rise=0.3)
        sheet.arch(x + edge, z + h - 0.02, x + w - edge, (70, 82, 96), label, rise=0.26)
    sheet.rect(x, z, x + w, z + h, style.frame)
    dark = rng.uniform(0.7, 1.25)
    sheet.fade(
        x + edge,
        z + edge,
        x + w - edge,
        z + h - edge,
        np.array([118, 134, 150]) * dark,
        np.array([46, 52, 60]) * dark,
        label,
    )
    if rng.random() < 0.45:  # curtain or blind
        drop, cloth = rng.uniform(0.25, 0.9) * h, np.array([206, 200, 186]) * rng.uniform(0.75, 1.0)
        sheet.rect(x + edge, z + h - drop, x + w - edge, z + h - edge, cloth, label)
    for i in range(1, style.bars[0]):
        sheet.rect(x + w * i / style.bars[0] - 0.03, z, x + w * i / style.bars[0] + 0.03, z + h, style.frame)
    for i in range(1, style.bars[1]):
        sheet.rect(x, z + h * i / style.bars[1] - 0.03, x + w, z + h * i / style.bars[1] + 0.03, style.frame)
    sheet.rect(x - 0.08, z - 0.1, x + w + 0.08, z, trim, LEDGE)
    _cap(sheet, x, z + h, style, trim)
    if style.shutters:
        _shutters(sheet, x, z, style)
    _balcony(sheet, x, z, style)


def _cap(sheet: Sheet, x: float, top: float, style: WindowStyle, trim: np.ndarray) -> None:
    w = style.width
    if style.cap == "lintel":
        sheet.rect(x - 0.15, top, x + w + 0.15, top + 0.2, trim * 0.9)
    elif style.cap == "cap":
        sheet.rect(x - 0.2, top + 0.12, x + w + 0.2, top + 0.24, trim, LEDGE)
        sheet.rect(x - 0.15, top + 0.06, x + w + 0.15, top + 0.12, trim * 0.6)
    elif style.cap == "gable" and not style.arched:
        sheet.poly([(x - 0.2, top + 0.1), (x + w / 2, top + 0.42), (x + w + 0.2, top + 0.1)], trim, LEDGE)
        sheet.poly([(x, top + 0.12), (x + w / 2, top + 0.32), (x + w, top + 0.12)], trim * 0.75)


def _shutters(sheet: Sheet, x: float, z: float, style: WindowStyle) -> None:
    leaf, colour = style.width * 0.42, np.array(style.shutters)
    for left in (x - leaf - 0.03, x + style.width + 0.03):
        sheet.rect(left, z, left + leaf, z + style.height, colour)
        for height in np.arange(z + 0.15, z + style.height - 0.1, 0.22):
            sheet.rect(left + 0.06, height, left + leaf - 0.06, height + 0.06, colour * 0.7)


def _balcony(sheet: Sheet, x: float, z: float, style: WindowStyle) -> None:
    x0, x1 = x - 0.3, x + style.width + 0.3
    if style.balcony == "planter":
        sheet.rect(x, z - 0.02, x + style.width, z + 0.18, (70, 110, 60))
        sheet.rect(x, z - 0.16, x + style.width, z, (140, 90, 66), LEDGE)
    elif style.balcony == "rail":
        for post in np.arange(x0, x1 + 0.01, 0.16):
            sheet.rect(post, z - 0.1, post + 0.05, z + 0.8, (46, 46, 50))
        sheet.rect(x0, z + 0.8, x1, z + 0.88, (46, 46, 50), LEDGE)
        sheet.rect(x0 - 0.05, z - 0.25, x1 + 0.05, z - 0.1, (150, 148, 142), LEDGE)
    elif style.balcony == "slab":
        sheet.rect(x0, z - 0.2, x1, z + 0.75, (188, 186, 178))
        sheet.rect(x0, z + 0.7, x1, z + 0.8, (150, 148, 142), LEDGE)
        sheet.rect(x0, z - 0.35, x1, z - 0.2, (90, 88, 84))


def draw_door(sheet: Sheet, x: float, width: float, height: float, trim: np.ndarray, rng: np.random.Generator) -> None:
    """Draw a house door with its left edge at x, standing on the pavement."""
    colour = np.array(_SHUTTERS[rng.integers(5)]) * rng.uniform(0.6, 1.0)
    sheet.rect(x - 0.18, 0, x + width + 0.18, height + 0.2, trim)
    if rng.random() < 0.4:
        sheet.arch(x - 0.18, height + 0.15, x + width + 0.18, trim)
        sheet.arch(x, height, x + width, (70, 80, 90), 1)
    sheet.rect(x, 0.1, x + width, height, colour)
    leaves, panels = int(rng.choice([1, 2])), int(rng.choice([1, 2, 3]))
    for i in range(leaves):
        for j in range(panels):
            left, low = x + width * (i + 0.18) / leaves, 0.25 + (height - 0.3) * j / panels
            glass = j == panels - 1 and panels > 1
            shade = np.array([70, 80, 92]) if glass else colour * 0.72
            sheet.rect(left, low, left + width * 0.64 / leaves, low + (height - 0.3) / panels * 0.8, shade)
    sheet.rect(x - 0.3, 0, x + width + 0.3, 0.12, (150, 148, 144), LEDGE)


def draw_gate(sheet: Sheet, x: float, width: float, height: float, rng: np.random.Generator) -> None:
    """Draw a garage gate."""
    colour = np.array([(150, 150, 148), (96, 84, 74), (84, 96, 110), (190, 186, 176)][rng.integers(4)])
    sheet.rect(x - 0.12, 0, x + width + 0.12, height + 0.12, colour * 0.6)
    sheet.rect(x, 0, x + width, height, colour)
    for z in np.arange(0.1, height, float(rng.choice([0.2, 0.5]))):
        sheet.rect(x, z, x + width, z + 0.05, colour * 0.75)


def draw_shop(sheet: Sheet, x: float, width: float, height: float, rng: np.random.Generator) -> None:
    """Draw a shop front: windows over a stall riser, a door, a sign with a name, perhaps an awning."""
    colour, accent = np.array(_SHOP)[rng.choice(len(_SHOP), 2, replace=False)]
    sheet.rect(x, 0, x + width, height, colour * 0.8)
    panes = int(rng.integers(2, 5))
    entrance, riser, top = int(rng.integers(panes)), float(rng.choice([0.25, 0.5, 0.8])), height - 0.75
    for i in range(panes):
        x0, x1 = x + width * i / panes + 0.1, x + width * (i + 1) / panes - 0.1
        low = 0.05 if i == entrance else riser
        sheet.fade(x0, low, x1, top, (110, 122, 132), (64, 66, 68), SHOP)
        for _ in range(int(rng.integers(1, 4))):  # goods and posters
            gx, gz = rng.uniform(x0, x1), rng.uniform(low, low + 0.8)
            goods = np.array(_SHOP[rng.integers(len(_SHOP))]) * 0.8
            sheet.rect(gx, gz, min(gx + rng.uniform(0.2, 0.5), x1), gz + rng.uniform(0.2, 0.6), goods, SHOP)
    sheet.rect(x, top, x + width, height - 0.05, colour, SIGN)
    word = "".join(rng.choice(_SYLLABLES, int(rng.integers(2, 4)))).upper()
    ink = (240, 236, 226) if colour.mean() < 150 else (50, 46, 44)
    if rng.random() < 0.4:
        sheet.rect(x + 0.15, top + 0.1, x + 0.65, height - 0.15, accent, SIGN)
    sheet.text(word, x + 0.8, top + 0.14, x + width - 0.3, height - 0.18, ink, int(rng.choice([0, 2, 3, 4])))
    if rng.random() < 0.45:
        stripes = max(int(width / rng.choice([0.35, 0.6, 20])), 1)
        for i in range(stripes):
            shade = accent if i % 2 == 0 else np.array([232, 228, 218])
            sheet.rect(
                x + width * i / stripes,
                top - 0.65,
                x + width * (i + 1) / stripes,
                top + 0.02,
                shade,
                LEDGE if i % 2 else None,
            )
        sheet.rect(x, top - 0.72, x + width, top - 0.65, accent * 0.6)
