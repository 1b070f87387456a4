"""Plots of the page, as SVG that stands in an <img>."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from vpr.report.curves import Curve
from vpr.report.gains import Gain
from vpr.report.marks import Marks
from vpr.report.runs import Run
from vpr.report.settings import setting

# What a recall is plotted against: title, and the number of a run.
COSTS: tuple[tuple[str, Callable[[Run], float]], ...] = (
    ("latency, ms an image", lambda run: run.costs["latency_ms"]),
    ("parameters, millions", lambda run: run.costs["parameters"] / 1e6),
    ("GMACs an image", lambda run: run.costs["gmacs"]),
    ("bytes a descriptor, float32", lambda run: run.costs["descriptor_bytes"]),
)
# Text stays text: it is small, and can be searched and read aloud.
STYLE: dict[str, Any] = {
    **{"svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9, "axes.edgecolor": "#8c959f"},
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True, "axes.labelcolor": "#1f2328"},
    **{"grid.color": "#e3e7eb", "xtick.color": "#57606a", "ytick.color": "#57606a", "axes.titlesize": 9},
}
SIZE = (4.6, 3.3)  # inches


def recall_against(cost: str, number: Callable[[Run], float], protocol: str, runs: Sequence[Run], marks: Marks) -> str:
    """Draw recall@1 of each run in percent, small, and the mean of each setting over its seeds, large."""
    measured = [run for run in runs if protocol in run.recalls]
    settings: dict[str, list[Run]] = {}
    for run in measured:
        settings.setdefault(setting(run), []).append(run)

    def draw(axes: Axes) -> None:
        for same in settings.values():
            look: dict[str, Any] = {
                "marker": marks.mark(same[0]),
                "edgecolors": marks.colour(same[0]),
                "facecolors": marks.colour(same[0]) if same[0].teacher else "white",
                "clip_on": False,
            }
            points = np.array([[number(run), 100 * run.recalls[protocol]["R@1"]] for run in same])
            if len(same) > 1:
                axes.scatter(points[:, 0], points[:, 1], s=12, alpha=0.45, linewidths=0.8, zorder=3, **look)
            x, y = points.mean(axis=0)
            axes.scatter(x, y, s=62, linewidths=1.6, zorder=4, **look)
        numbers = [number(run) for run in measured]
        _scale_x(axes, numbers)
        axes.set(xlabel=cost, ylabel="R@1, %")
        axes.grid(True)

    return svg(draw, f"{protocol}: R@1 against {cost}")


def gain_of_each_pair(protocol: str, found: Sequence[Gain], marks: Marks) -> str:
    """Draw the gain in points of recall@1: a dot a seed, a bar for the mean and a line for the standard deviation."""

    height = 0.62 if any(gain.what for gain in found) else 0.5  # inches a row

    def draw(axes: Axes) -> None:
        axes.axvline(0, color="#57606a", linewidth=1)
        for row, gain in enumerate(found):
            colour = marks.colour(gain.run)
            dots = [100 * seed.gain for seed in gain.seeds]
            axes.scatter(dots, [row] * len(dots), s=26, color=colour, alpha=0.75, linewidths=0, zorder=3, clip_on=False)
            axes.plot([100 * gain.mean] * 2, [row - 0.22, row + 0.22], color=colour, linewidth=2.6, zorder=4)
            if gain.deviation is not None:
                ends = [100 * (gain.mean - gain.deviation), 100 * (gain.mean + gain.deviation)]
                axes.plot(ends, [row, row], color=colour, linewidth=1.1)
            name = "\n".join(_shortened(line) for line in (gain.run.label, gain.what) if line)
            text = axes.text(0, row - 0.3, name, transform=axes.get_yaxis_transform(), fontsize=8, zorder=5)
            text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.8})  # lines do not cross it
        axes.set(xlabel="gain in R@1, points", yticks=[], ylim=(len(found) - 0.5, -0.85))
        axes.margins(x=0.06)
        axes.spines["left"].set_visible(False)
        axes.grid(True, axis="x")

    return svg(draw, f"{protocol}: gain of distillation in points of R@1", (SIZE[0], 0.75 + height * len(found)))


def curves(protocol: str, lines: Sequence[tuple[Run, Curve]], marks: Marks) -> str:
    """Draw one line a run over its optimiser steps: recall@1 in percent, or the training loss without a protocol."""

    def draw(axes: Axes) -> None:
        for run, curve in lines:
            values = [100 * value if protocol else value for value in curve.values]
            look: dict[str, Any] = {"marker": ".", "markersize": 4} if len(values) < 20 else {}
            axes.plot(curve.steps, values, marks.line(run), color=marks.colour(run), linewidth=1.3, alpha=0.85, **look)
        axes.set(xlabel="optimiser steps", ylabel="R@1, %" if protocol else "training loss")
        axes.grid(True)

    return svg(draw, f"{protocol}: R@1 over optimiser steps" if protocol else "training loss over optimiser steps")


def _scale_x(axes: Axes, numbers: Sequence[float]) -> None:
    """Numbers of more than one order of magnitude stand on a logarithmic axis; no axis is cut tightly."""
    if min(numbers) > 0 and max(numbers) / min(numbers) > 8:
        axes.set_xscale("log")
        axes.set_xlim(min(numbers) / 1.4, max(numbers) * 1.4)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xlim(0, max(numbers) * 1.1 or 1)


def _shortened(name: str, longest: int = 72) -> str:
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def svg(draw: Callable[[Axes], None], alternative: str, size: tuple[float, float] = SIZE, attributes: str = "") -> str:
    """Return an `<img>` that holds what `draw` draws; `attributes` are HTML, size is in inches."""
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.add_subplot())
        text = io.BytesIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    source = base64.b64encode(text.getvalue()).decode()
    return f'<img src="data:image/svg+xml;base64,{source}" alt="{escape(alternative, quote=True)}"{attributes}>'
