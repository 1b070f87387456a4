"""Windows, doors, shop fronts and signs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vpr.data.toycity.sheet import LEDGE, SHOP, SIGN, Sheet

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
_SYLLABLES = [
    "ba",
    "co",
    "da",
    "fi",
    "ga",
    "ko",
    "la",
    "mi",
    "no",
    "pa",
    "ro",
    "sa",
    "ti",
    "vo",
    "ze",
    "lu",
    "mar",
    "tel",
    "bon",
    "ric",
    "san",
    "del",
]


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
