"""How far the confidence can be trusted, drawn: precision against recall, and confidence against the share right."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from html import escape
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.stats import binomtest

from vpr.pages.figures import SIZE, STYLE, svg
from vpr.retrieval.calibration import Calibrated, calibration_error, precision_recall, reliability

LINE, WANTED = "#0969da", "#57606a"
IMAGE = "display:inline-block;width:100%;max-width:26rem;height:auto"


def reliability_html(found: Calibrated) -> str:
    """Return two images for a page, which stand side by side where there is room, and a line that says what they show.

    Nothing else is needed to show them: they are SVG inside the text.
    """
    images = []
    for draw, alternative in _plots(found):
        attributes = f' style="{IMAGE}" title="{escape(alternative, quote=True)}"'
        images.append(svg(draw, alternative, attributes=attributes))
    return f"<p>{escape(found.sentence())}</p>\n<div>{''.join(images)}</div>"


def write_png(found: Calibrated, path: Path) -> None:
    """Write both plots into one picture; its folder is made. The confidences are those of queries not learned from."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(2 * SIZE[0], SIZE[1] + 0.3), layout="constrained", dpi=130)
        FigureCanvasAgg(figure)
        for axes, (draw, _) in zip(figure.subplots(1, 2), _plots(found), strict=True):
            draw(axes)
        figure.suptitle(f"{found.protocol}: {len(found.right):,} queries, none learned from", fontsize=9)
        figure.savefig(path)


def _plots(found: Calibrated) -> list[tuple[Callable[[Axes], None], str]]:
    name = found.protocol
    return [
        (partial(_draw_curve, found=found), f"{name}: precision against recall"),
        (partial(_draw_bins, found=found), f"{name}: confidence against share right"),
    ]


def _draw_curve(axes: Axes, found: Calibrated) -> None:
    """Draw precision against recall over all thresholds; a dot is the one that is used."""
    curve, wanted = precision_recall(found.confidence, found.right), found.calibration.precision
    recall, precision = 100 * np.append(0, curve.recall), 100 * np.append(1, curve.precision)
    axes.plot(recall, precision, color=LINE, linewidth=1.5, zorder=3)
    axes.axhline(100 * wanted, color=WANTED, linewidth=0.9, linestyle="--")
    if math.isfinite(found.calibration.threshold):
        used = np.flatnonzero(curve.thresholds >= found.calibration.threshold)[-1] + 1
        axes.plot(recall[used], precision[used], "o", color=LINE, markersize=7, zorder=4, clip_on=False)
        label = f"confidence {found.calibration.threshold:.2f}"
        axes.annotate(label, (recall[used], precision[used]), (-6, -12), textcoords="offset points", ha="right")
    axes.set(xlabel="recall: accepted and right, % of all queries", ylabel="precision: right, % of the accepted")
    axes.set(xlim=(0, max(recall[-1] * 1.05, 1)), ylim=(min(50, 0.95 * precision.min()), 101))
    axes.set_title(f"area {curve.area:.3f}, R@100P {100 * curve.recall_without_error:.1f} %", loc="left")
    axes.grid(True)


def _draw_bins(axes: Axes, found: Calibrated) -> None:
    """Draw the share of right answers in each bin of confidence, with its 95 % interval; on the diagonal it is true."""
    bins = reliability(found.confidence, found.right)
    axes.plot([0, 100], [0, 100], color=WANTED, linewidth=0.9, linestyle="--")
    for confidence, share, answers in zip(*bins, strict=True):
        low, high = binomtest(round(share * answers), int(answers)).proportion_ci(method="wilson")
        axes.plot([100 * confidence] * 2, [100 * low, 100 * high], color=LINE, linewidth=1.1, alpha=0.6)
    areas = 12 + 160 * bins.answers / bins.answers.max()
    axes.scatter(100 * bins.confidence, 100 * bins.share, s=areas, color=LINE, alpha=0.85, linewidths=0, zorder=3)
    axes.set(xlabel="confidence, %", ylabel="share of right answers, %", xlim=(-4, 104), ylim=(-4, 104))
    error = calibration_error(found.confidence, found.right)
    axes.set_title(f"expected calibration error {error:.3f}; larger dots: more answers", loc="left")
    axes.grid(True)
