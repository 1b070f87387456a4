"""Plots of matplotlib as data URIs. Apart from the rest of the room, since matplotlib takes a second to import."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Text stays text: it is small, and can be searched and read aloud. Names may hold dollar signs: they are no formulas.
STYLE: dict[str, Any] = {
    **{
        "svg.fonttype": "none",
        "text.parse_math": False,
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.edgecolor": "#8c959f",
    },
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True, "axes.labelcolor": "#1f2328"},
    **{"grid.color": "#e3e7eb", "xtick.color": "#57606a", "ytick.color": "#57606a", "axes.titlesize": 9},
}
SIZE = (4.6, 3.3)  # inches


class Plot(NamedTuple):
    """An image for a page: its data URI, and what it shows in words."""

    uri: str
    alt: str


def svg(draw: Callable[[Axes], None], alt: str, size: tuple[float, float] = SIZE) -> Plot:
    """Return what `draw` draws, as SVG; size in inches."""
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.add_subplot())
        text = io.BytesIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return Plot(f"data:image/svg+xml;base64,{base64.b64encode(text.getvalue()).decode()}", alt)
