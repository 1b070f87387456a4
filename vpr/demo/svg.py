"""The parts that maps are drawn of, as SVG; colours are in `page_style`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from vpr.demo.plane import View, length

TOUCH = 34, 20
"""Labels closer than so many pixels, across and down, become one."""


def dots(points: np.ndarray) -> str:
    """Write (N, 2) points as the data of a path whose round ends are dots."""
    return "".join(f"M{x:.10g} {y:.10g}h0" for x, y in points.round(1).tolist())


def city(metres: np.ndarray) -> str:
    """Define the places of the database: (N, 2) metres, once a page; `ground` shows them."""
    return f'<defs><path id="city" d="{dots(metres * (1, -1))}"/></defs>'


def ground(view: View, places: np.ndarray | None = None) -> str:
    """Draw the paper and the places on it: those of `city`, or these (N, 2) metres."""
    paper = f'<rect class="paper" width="{view.width:g}" height="{view.height:g}"/>'
    if places is not None:
        return f'{paper}<path class="dots" d="{dots(view.at(places))}"/>'
    x, y = view.at(np.zeros((1, 2)))[0]
    scale = f"{view.scale:.6g}"
    return f'{paper}<use class="dots" href="#city" transform="matrix({scale} 0 0 {scale} {x:.2f} {y:.2f})"/>'


def bar(view: View, x: float, y: float) -> str:
    """Draw the scale of a view; (x, y) is its left end."""
    wide = view.bar * view.scale
    return (
        f'<path class="bar" d="M{x:g} {y - 5:g}v5h{wide:.1f}v-5"/>'
        f'<text x="{x + wide + 6:.1f}" y="{y + 1:g}">{length(view.bar)}</text>'
    )


def north(x: float, y: float) -> str:
    """Draw an arrow to the north, which is up."""
    return f'<path class="north" d="M{x:g} {y - 14:g}l5 14l-5 -4l-5 4z"/><text x="{x + 8:g}" y="{y:g}">N</text>'


def ring(x: float, y: float) -> str:
    """Mark the estimate, around the label of a match that may be there."""
    return "".join(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="16"/>' for kind in ("halo", "ring"))


def square(x: float, y: float) -> str:
    """Mark where the photo itself says that it was taken, around the label of a match that may be there."""
    path = f"M{x - 13:.1f} {y - 13:.1f}h26v26h-26z"
    return "".join(f'<path class="{kind}" d="{path}"/>' for kind in ("halo", "own"))


def labels(ranks: Sequence[int], pixels: np.ndarray) -> str:
    """Write the ranks of matches, best first, at (N, 2) pixels; those that would cover each other in one label."""
    groups: list[list[int]] = []
    for row, pixel in enumerate(pixels):
        near = [group for group in groups if (np.abs(pixels[group[0]] - pixel) < TOUCH).all()]
        if near:
            near[0].append(row)
        else:
            groups.append([row])
    marks = []
    for group in reversed(groups):  # the best on top
        text, (x, y) = runs([ranks[row] for row in group]), pixels[group[0]]
        wide = 12 + 7 * len(text)
        marks.append(
            f'<rect class="match" x="{x - wide / 2:.1f}" y="{y - 9:.1f}" width="{wide}" height="18" rx="9"/>'
            f'<text class="rank" x="{x:.1f}" y="{y + 4:.1f}">{text}</text>'
        )
    return "".join(marks)


def runs(numbers: Sequence[int]) -> str:
    """Say ascending numbers in short: 1–3,5."""
    parts: list[str] = []
    for _, same in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        first, *rest = (number for _, number in same)
        parts += [f"{first}–{rest[-1]}"] if len(rest) > 1 else map(str, [first, *rest])
    return ",".join(parts)
