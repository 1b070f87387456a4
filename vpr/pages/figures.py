"""Pieces."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Text stays text: it is small, and can be searched and read aloud.
STYLE: dict[str, Any] = {
    **{"svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9, "axes.edgecolor": "#8c959f"},
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True, "axes.labelcolor": "#1f2328"},
    **{"grid.color": "#e3e7eb", "xtick.color": "#57606a", "ytick.color": "#57606a", "axes.titlesize": 9},
}


SIZE = (4.6, 3.3)  # inches


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
