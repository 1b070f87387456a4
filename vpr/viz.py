"""Pictures of hits and misses of an evaluation: one HTML page that needs no other file, and the same as a PNG."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vpr.retrieval.evaluate import Evaluation
from vpr.retrieval.examples import Example, choose, thumbnail
from vpr.viz_compare import compare
from vpr.viz_page import page

__all__ = ["compare", "draw", "page", "write"]

COLOURS = {True: "#1a7f37", False: "#cf222e", None: "#6e7781"}


def write(result: Evaluation, folder: Path, seed: int = 0, count: int = 6) -> tuple[Path, Path]:
    """Write `matches_<protocol>.html` and `.png`: up to `count` misses and hits, drawn at random; return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = "matches_" + re.sub(r"[^\w.@+\[\]-]+", "_", result.protocol)
    columns = choose(result, seed, count)
    html, png = folder / f"{stem}.html", folder / f"{stem}.png"
    html.write_text(page(result, columns), encoding="utf-8")
    figure = draw(result, columns)
    figure.savefig(png, dpi=110, facecolor="white")
    return html, png


def draw(result: Evaluation, columns: dict[str, list[Example]]) -> Figure:
    """Draw the examples, misses on the left and hits on the right."""
    rows, wide = max(1, *(len(examples) for examples in columns.values())), 5
    figure = Figure(figsize=(17, 1.2 + 1.6 * rows))
    FigureCanvasAgg(figure)
    recalls = "   ".join(f"{name} {100 * value:.1f}" for name, value in result.metrics().items())
    top = 1 - 0.5 / figure.get_figheight()
    figure.text(0.02, top, f"{result.protocol}    {recalls}", fontsize=15, weight="bold", va="center")
    blocks = figure.add_gridspec(
        1, len(columns), left=0.02, right=0.98, bottom=0.3 / figure.get_figheight(), wspace=0.06
    )
    blocks.update(top=1 - 1.25 / figure.get_figheight())
    for number, (name, examples) in enumerate(columns.items()):
        block = blocks[0, number]
        grid = block.subgridspec(rows, wide, hspace=0.42, wspace=0.08)
        left = block.get_position(figure).x0
        figure.text(left, 1 - 0.95 / figure.get_figheight(), name, fontsize=13, va="center")
        if not examples:
            figure.text(left, 1 - 1.5 / figure.get_figheight(), "none", fontsize=11, color=COLOURS[None])
        for row, example in enumerate(examples):
            for column, shot in enumerate(example.shots):
                axes = figure.add_subplot(grid[row, column])
                axes.imshow(_boxed(thumbnail(shot.path)))
                axes.set(xticks=[], yticks=[])
                axes.set_xlabel(shot.caption, fontsize=9, labelpad=3, color=COLOURS[shot.right])
                for spine in axes.spines.values():
                    spine.set(color=COLOURS[shot.right], linewidth=1 if shot.right is None else 3.5)
            figure.axes[-len(example.shots)].set_title(example.note, fontsize=8, loc="left", pad=3, color="#444")
    return figure


def _boxed(image: np.ndarray, height: int = 120, width: int = 160) -> np.ndarray:
    """Centre an image in a light box, so that photos of all proportions stand in straight rows."""
    top, left = (height - image.shape[0]) // 2, (width - image.shape[1]) // 2
    bottom, right = height - image.shape[0] - top, width - image.shape[1] - left
    return cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(234, 238, 242))
