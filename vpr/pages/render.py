"""An HTML page that needs no other file: its frame, and pictures inside it."""

from __future__ import annotations

import base64
from html import escape

import numpy as np
import simplejpeg


def jpeg_address(pixels: np.ndarray) -> str:
    """Return an address for an `<img>` that holds uint8 RGB (h, w, 3) itself, as JPEG."""
    content = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=80, colorsubsampling="420")
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"


def html_page(title: str, style: str, body: str, script: str = "") -> str:
    """Return a whole page.

    Args:
        title: plain text.
        style, body, script: CSS, HTML and JavaScript.
    """
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{style}</style>
</head>
<body>
{body}
{f"<script>{script}</script>" if script else ""}
</body>
</html>
"""
