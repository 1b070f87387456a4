"""The HTML of the page of hits and misses; its pictures are in the page itself."""

from __future__ import annotations

from html import escape

from vpr.retrieval.evaluate import Evaluation
from vpr.retrieval.examples import Example, Shot, thumbnail
from vpr.viz_html import html_page, jpeg_address

STYLE = """
:root { color-scheme: light; --right: #1a7f37; --wrong: #cf222e; --line: #d0d7de; --soft: #57606a; }
* { box-sizing: border-box; }
body { margin: 0; padding: 1.5rem clamp(0.8rem, 3vw, 2.5rem); background: #f6f8fa; color: #1f2328;
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { margin: 0 0 0.6rem; font-size: 1.35rem; overflow-wrap: anywhere; }
h2 { margin: 0 0 0.6rem; font-size: 1.05rem; }
.recalls { display: flex; flex-wrap: wrap; gap: 0.6rem; margin: 0 0 0.6rem; padding: 0; list-style: none; }
.recalls li { padding: 0.5rem 0.9rem; background: #fff; border: 1px solid var(--line); border-radius: 8px; }
.recalls b { display: block; font-size: 1.3rem; font-variant-numeric: tabular-nums; }
.soft { color: var(--soft); font-size: 0.85rem; }
.columns { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 1.5rem; margin-top: 1.4rem; }
article { margin-bottom: 0.9rem; padding: 0.7rem; background: #fff; border: 1px solid var(--line); border-radius: 8px; }
article p { margin: 0.4rem 0 0; overflow-wrap: anywhere; }
.shots { display: grid; grid-template-columns: repeat(5, minmax(0, 1fr)); gap: 0.5rem; }
figure { margin: 0; min-width: 0; }
figure img { display: block; width: 100%; aspect-ratio: 4 / 3; object-fit: contain; background: #eaeef2;
  border: 4px solid var(--line); border-radius: 4px; }
figcaption { margin-top: 0.15rem; text-align: center; font-size: 0.8rem; font-variant-numeric: tabular-nums; }
.right img { border-color: var(--right); } .right figcaption { color: var(--right); }
.wrong img { border-color: var(--wrong); } .wrong figcaption { color: var(--wrong); }
@media (max-width: 900px) { .columns { grid-template-columns: minmax(0, 1fr); } }
@media (max-width: 520px) { .shots { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .shots figure:first-child { grid-column: 1 / -1; } }
"""
KIND = {True: "right", False: "wrong", None: "other"}


def page(result: Evaluation, columns: dict[str, list[Example]]) -> str:
    """Lay out the examples under the recalls: columns side by side, below each other where the window is narrow."""
    counts = result.counts
    recalls = "".join(
        f"<li>R@{k}<b>{100 * value:.1f}</b><span class=soft>{100 * low:.1f} – {100 * high:.1f}</span></li>"
        for (k, value), (low, high) in zip(result.recalls.items(), result.intervals.values(), strict=True)
    )
    note = f"""Recall in %, with the 95 % bootstrap interval over {counts["counted_queries"]:,} queries;
{counts["database"]:,} database images, descriptors of {result.dim:,} numbers. Misses and hits go by the first match,
and are drawn at random. Green frame ✓: right, red frame ✗: wrong; the number is the similarity (cosine, at most 1)."""
    return document(result.protocol, recalls, note, columns)


def document(title: str, recalls: str, note: str, columns: dict[str, list[Example]]) -> str:
    """Return a page of columns of examples.

    Args:
        title: plain text.
        recalls, note: HTML, the items of the list on top and the paragraph below it.
    """
    body = "".join(
        f"<section><h2>{escape(name)}</h2>{''.join(map(_article, examples)) or '<p class=soft>none</p>'}</section>"
        for name, examples in columns.items()
    )
    head = f'<h1>{escape(title)}</h1>\n<ul class="recalls">{recalls}</ul>\n<p class="soft">{note}</p>'
    return html_page(title, STYLE, f'{head}\n<main class="columns">{body}</main>')


def _article(example: Example) -> str:
    name = "/".join(example.shots[0].path.parts[-2:])
    figures = "".join(map(_figure, example.shots))
    text = f"{escape(name)} · {escape(example.note)}"
    return f'<article><div class="shots">{figures}</div><p class="soft">{text}</p></article>'


def _figure(shot: Shot) -> str:
    source = jpeg_address(thumbnail(shot.path, 240, 320))
    alternative = escape(f"{shot.caption}: {shot.path.name}", quote=True)
    image = f'<img src="{source}" alt="{alternative}">'
    return f'<figure class="{KIND[shot.right]}">{image}<figcaption>{escape(shot.caption)}</figcaption></figure>'
