"""The frame of an HTML page that needs no other file."""

from __future__ import annotations

from html import escape


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
