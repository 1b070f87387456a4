"""Reliability of the confidence as plots: precision against recall, and confidence against the share right.

Apart from the page, which can do without matplotlib.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.stats import binomtest

from vpr.files import atomic_write
from vpr.pages.figures import SIZE, STYLE, Plot, svg
from vpr.retrieval.calibration import Calibrated, calibration_error, precision_recall, reliability

LINE, TARGET = "#0969da", "#57606a"


class Reliability(NamedTuple):
    """Two plots for a page, and a line that says how far the confidence can be trusted."""

    message: str
    plots: tuple[Plot, ...]


def draw_reliability(calibrated: Calibrated) -> Reliability:
    """Draw both plots as SVG. The confidences are those of queries not learned from."""
    return Reliability(calibrated.message(), tuple(svg(draw, alt) for draw, alt in _plots(calibrated)))


def write_png(calibrated: Calibrated, path: Path) -> None:
    """Write both plots into one picture; its folder is made. The confidences are those of queries not learned from."""
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(2 * SIZE[0], SIZE[1] + 0.3), layout="constrained", dpi=130)
        FigureCanvasAgg(figure)
        for axes, (draw, _) in zip(figure.subplots(1, 2), _plots(calibrated), strict=True):
            draw(axes)
        figure.suptitle(f"{calibrated.protocol}: {len(calibrated.right):,} queries, none learned from", fontsize=9)
        with atomic_write(path) as temporary:
            figure.savefig(temporary, format="png")


def _plots(calibrated: Calibrated) -> list[tuple[Callable[[Axes], None], str]]:
    name = calibrated.protocol
    return [
        (partial(_draw_curve, calibrated=calibrated), f"{name}: precision against recall"),
        (partial(_draw_bins, calibrated=calibrated), f"{name}: confidence against share right"),
    ]


def _draw_curve(axes: Axes, calibrated: Calibrated) -> None:
    """Draw precision against recall over all thresholds; a dot is the one that is used."""
    curve, target = precision_recall(calibrated.confidence, calibrated.right), calibrated.calibration.precision
    recall, precision = 100 * np.append(0, curve.recall), 100 * np.append(1, curve.precision)
    axes.plot(recall, precision, color=LINE, linewidth=1.5, zorder=3)
    axes.axhline(100 * target, color=TARGET, linewidth=0.9, linestyle="--")
    if math.isfinite(calibrated.calibration.threshold):
        used = np.flatnonzero(curve.thresholds >= calibrated.calibration.threshold)[-1] + 1
        axes.plot(recall[used], precision[used], "o", color=LINE, markersize=7, zorder=4, clip_on=False)
        label = f"confidence {calibrated.calibration.threshold:.2f}"
        axes.annotate(label, (recall[used], precision[used]), (-6, -12), textcoords="offset points", ha="right")
    axes.set(xlabel="recall: accepted and right, % of all queries", ylabel="precision: right, % of the accepted")
    axes.set(xlim=(0, max(recall[-1] * 1.05, 1)), ylim=(min(50, 0.95 * precision.min()), 101))
    axes.set_title(f"area {curve.area:.3f}, R@100P {100 * curve.recall_without_error:.1f} %", loc="left")
    axes.grid(True)


def _draw_bins(axes: Axes, calibrated: Calibrated) -> None:
    """Draw the share of right answers in each bin of confidence, with its 95 % interval; on the diagonal it is true."""
    bins = reliability(calibrated.confidence, calibrated.right)
    axes.plot([0, 100], [0, 100], color=TARGET, linewidth=0.9, linestyle="--")
    for confidence, share, answers in zip(*bins, strict=True):
        low, high = binomtest(round(share * answers), int(answers)).proportion_ci(method="wilson")
        axes.plot([100 * confidence] * 2, [100 * low, 100 * high], color=LINE, linewidth=1.1, alpha=0.6)
    areas = 12 + 160 * bins.answers / bins.answers.max()
    axes.scatter(100 * bins.confidence, 100 * bins.share, s=areas, color=LINE, alpha=0.85, linewidths=0, zorder=3)
    axes.set(xlabel="confidence, %", ylabel="share of right answers, %", xlim=(-4, 104), ylim=(-4, 104))
    error = calibration_error(calibrated.confidence, calibrated.right)
    axes.set_title(f"expected calibration error {error:.3f}; larger dots: more answers", loc="left")
    axes.grid(True)
