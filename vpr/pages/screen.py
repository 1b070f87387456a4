"""Screen of a terminal for tables and texts in which names from anywhere may stand."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from vpr.terminal import readable


class Screen(Console):
    """Console of rich on which all text is made readable, that in cells and titles of tables included."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(readable(text), **options)
