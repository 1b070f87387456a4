"""Plots of the comparison page.

The same student has one colour, and the same teaching one marker, in all plots of a page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from vpr.pages.figures import SIZE, Plot, svg
from vpr.report.gains import Gain
from vpr.report.runs import Curve, Run, setting
from vpr.terminal import readable

# Okabe and Ito 2008: told apart by colour-blind readers, too; the yellow is left out, which is faint on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
# matplotlib's markers, the signs that look like them, and line styles; the first is of undistilled runs.
MARKERS = (("o", "○"), ("o", "●"), ("s", "■"), ("^", "▲"), ("D", "◆"), ("v", "▼"), ("P", "✚"), ("X", "✖"))
LINES = ("--", "-", "-.", ":")
UNDISTILLED = "undistilled"


class PlotStyle:
    """Colour, marker and line style of each of these runs."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.students = list(dict.fromkeys(run.student for run in sorted(runs, key=lambda run: run.student)))
        distilled = dict.fromkeys(teaching(run) for run in sorted(runs, key=teaching) if run.teacher)
        self.teachings = [UNDISTILLED, *distilled]

    def colour(self, run: Run) -> str:
        """Return #rrggbb."""
        return COLOURS[self.students.index(run.student) % len(COLOURS)]

    def marker(self, run: Run) -> str:
        """Return matplotlib's name of the marker."""
        return MARKERS[self._number(teaching(run))][0]

    def line(self, run: Run) -> str:
        """Return matplotlib's name of the line style."""
        return LINES[min(self._number(teaching(run)), len(LINES) - 1)]

    def legend(self) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """Return (colour, student) and (sign, teaching)."""
        students = [(COLOURS[n % len(COLOURS)], name) for n, name in enumerate(self.students)]
        return students, [(MARKERS[self._number(name)][1], name) for name in self.teachings]

    def _number(self, name: str) -> int:
        number = self.teachings.index(name)
        return (number - 1) % (len(MARKERS) - 1) + 1 if number else 0


def teaching(run: Run) -> str:
    """Return a run's teacher and term, in words."""
    return f"{run.teacher}, {run.term}" if run.teacher else UNDISTILLED


# Costs that a recall is plotted against: title, and the number of a run.
COSTS: tuple[tuple[str, Callable[[Run], float]], ...] = (
    ("latency, ms an image", lambda run: run.costs["latency_ms"]),
    ("parameters, millions", lambda run: run.costs["parameters"] / 1e6),
    ("GMACs an image", lambda run: run.costs["gmacs"]),
    ("bytes a descriptor, float32", lambda run: run.costs["descriptor_bytes"]),
)


def recall_against(
    cost: str, number: Callable[[Run], float], protocol: str, runs: Sequence[Run], style: PlotStyle
) -> Plot:
    """Draw recall@1 of each run in percent, small, and the mean of each setting over its seeds, large."""
    measured = [run for run in runs if protocol in run.recalls]
    settings: dict[str, list[Run]] = {}
    for run in measured:
        settings.setdefault(setting(run), []).append(run)

    def draw(axes: Axes) -> None:
        for same in settings.values():
            options: dict[str, Any] = {
                "marker": style.marker(same[0]),
                "edgecolors": style.colour(same[0]),
                "facecolors": style.colour(same[0]) if same[0].teacher else "white",
                "clip_on": False,
            }
            points = np.array([[number(run), 100 * run.recalls[protocol]["R@1"]] for run in same])
            if len(same) > 1:
                axes.scatter(points[:, 0], points[:, 1], s=12, alpha=0.45, linewidths=0.8, zorder=3, **options)
            x, y = points.mean(axis=0)
            axes.scatter(x, y, s=62, linewidths=1.6, zorder=4, **options)
        numbers = [number(run) for run in measured]
        _scale_x(axes, numbers)
        axes.set(xlabel=cost, ylabel="R@1, %")
        axes.grid(True)

    return svg(draw, f"{protocol}: R@1 against {cost}")


def gain_of_each_pair(protocol: str, gains: Sequence[Gain], style: PlotStyle) -> Plot:
    """Draw the gain in points of recall@1: a dot a seed, a bar for the mean and a line for the standard deviation."""

    height = 0.62 if any(gain.difference for gain in gains) else 0.5  # inches a row

    def draw(axes: Axes) -> None:
        axes.axvline(0, color="#57606a", linewidth=1)
        for row, gain in enumerate(gains):
            colour = style.colour(gain.run)
            dots = [100 * seed.gain for seed in gain.seeds]
            axes.scatter(dots, [row] * len(dots), s=26, color=colour, alpha=0.75, linewidths=0, zorder=3, clip_on=False)
            axes.plot([100 * gain.mean] * 2, [row - 0.22, row + 0.22], color=colour, linewidth=2.6, zorder=4)
            if gain.deviation is not None:
                ends = [100 * (gain.mean - gain.deviation), 100 * (gain.mean + gain.deviation)]
                axes.plot(ends, [row, row], color=colour, linewidth=1.1)
            name = "\n".join(_shortened(readable(line)) for line in (gain.run.label, gain.difference) if line)
            text = axes.text(0, row - 0.3, name, transform=axes.get_yaxis_transform(), fontsize=8, zorder=5)
            text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.8})  # lines do not cross it
        axes.set(xlabel="gain in R@1, points", yticks=[], ylim=(len(gains) - 0.5, -0.85))
        axes.margins(x=0.06)
        axes.spines["left"].set_visible(False)
        axes.grid(True, axis="x")

    return svg(draw, f"{protocol}: gain of distillation in points of R@1", (SIZE[0], 0.75 + height * len(gains)))


def curves(protocol: str, lines: Sequence[tuple[Run, Curve]], style: PlotStyle) -> Plot:
    """Draw one line a run over its optimiser steps: recall@1 in percent, or the training loss without a protocol."""

    def draw(axes: Axes) -> None:
        for run, curve in lines:
            values = [100 * value if protocol else value for value in curve.values]
            options: dict[str, Any] = {"marker": ".", "markersize": 4} if len(values) < 20 else {}
            axes.plot(
                curve.steps, values, style.line(run), color=style.colour(run), linewidth=1.3, alpha=0.85, **options
            )
        axes.set(xlabel="optimiser steps", ylabel="R@1, %" if protocol else "training loss")
        axes.grid(True)

    return svg(draw, f"{protocol}: R@1 over optimiser steps" if protocol else "training loss over optimiser steps")


def _scale_x(axes: Axes, numbers: Sequence[float]) -> None:
    """Scale an axis logarithmically where numbers differ by more than an order of magnitude; leave room at its ends."""
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
