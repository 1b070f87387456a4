"""Pictures of hits and misses of an evaluation: one HTML page that needs no other file, and the same as a PNG."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from pathlib import Path

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vpr.errors import DataError
from vpr.pages.render import html_page, jpeg_address
from vpr.pages.thumbnails import thumbnail
from vpr.retrieval.evaluate import Evaluation
from vpr.retrieval.metrics import correct, paired_interval

# FOLDED vpr/report/matches.py: A few queries of an evaluation to be looked at, and their thumbnails.


@dataclass(frozen=True)
class Shot:
    """One thumbnail: the photo's path, what is written below it, and whether it is a right match (None: no match)."""

    path: Path
    caption: str
    right: bool | None = None


@dataclass(frozen=True)
class Example:
    """One query: the query and its matches in a row of shots, and a sentence about it."""

    shots: tuple[Shot, ...]
    note: str


def choose(result: Evaluation, seed: int = 0, count: int = 6) -> dict[str, list[Example]]:
    """Draw queries whose first match is wrong, and such whose first match is right, without looking at them."""
    first = correct(result.neighbours.indices[:, :1], result.retrieval_set.positives)[:, 0]
    rng = np.random.default_rng(seed)
    columns = {}
    for name, rows in (("Misses", np.flatnonzero(result.counted & ~first)), ("Hits", np.flatnonzero(first))):
        drawn = np.sort(rng.choice(rows, min(count, len(rows)), replace=False))
        columns[f"{name} ({len(rows):,})"] = [_example(result, query) for query in drawn]
    return columns


def _example(result: Evaluation, query: int) -> Example:
    """Query and four matches; for a miss three matches and one image that would have been right."""
    images, positives = result.retrieval_set.database, result.retrieval_set.positives[query]
    rows = result.neighbours.indices[query]
    right = np.isin(rows, positives) & (rows >= 0)
    missed = not right[0] and len(positives) > 0
    shots = [Shot(result.retrieval_set.queries[query], "query")]
    for rank in range(min(3 if missed else 4, int((rows >= 0).sum()))):
        similarity = result.neighbours.similarities[query, rank]
        mark = "✓" if right[rank] else "✗"
        shots.append(Shot(images[rows[rank]], f"{mark} {similarity:.2f}", bool(right[rank])))
    if missed:
        shots.append(Shot(images[positives[len(positives) // 2]], "a right one"))
    note = f"{right.sum()} of {len(positives)} positives in the first {len(rows)}"
    if missed and right.any():
        note = f"first right match at rank {right.argmax() + 1}"
    return Example(tuple(shots), note)


# FOLDED vpr/report/matches.py: The HTML of the page of hits and misses; its pictures are in the page itself.


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


# FOLDED vpr/report/matches.py: A page of the queries that one model finds and another does not.


def compare(
    before: Evaluation, after: Evaluation, path: Path, title: str, names: tuple[str, str], seed: int = 0, count: int = 8
) -> Path:
    """Write a page of queries whose first match was wrong and is right now, and the other way round; return its path.

    Args:
        before, after: of the same set, by two models.
        title: of the page, before the protocol.
        names: what the two models are called, in a word each.
        seed: of the draw of up to `count` queries for each column, made without looking at them.

    Raises:
        DataError: the two were measured on other photos.
    """
    for side in ("queries", "database"):
        if list(getattr(before.retrieval_set, side)) != list(getattr(after.retrieval_set, side)):
            raise DataError(f"{before.protocol} and {after.protocol} have other {side}: they cannot be compared.")
    first, second = (_right(result) for result in (before, after))
    rng = np.random.default_rng(seed)
    columns = {}
    for name, chosen in (("Fixed", second & ~first), ("Broken", first & ~second)):
        rows = np.flatnonzero(chosen & before.counted)
        drawn = np.sort(rng.choice(rows, min(count, len(rows)), replace=False))
        columns[f"{name} ({len(rows):,})"] = [_changed_example(before, after, query, names) for query in drawn]
    low, high = paired_interval(first[before.counted], second[before.counted])
    recalls = "".join(
        f"<li>{escape(name)}, R@1<b>{100 * result.recalls[1]:.1f}</b></li>"
        for name, result in zip(names, (before, after), strict=True)
    )
    note = (
        f"Gain {100 * (after.recalls[1] - before.recalls[1]):+.1f} points of R@1, 95 % interval "
        f"{100 * low:+.1f} to {100 * high:+.1f} (bootstrap over the same {before.counts['counted_queries']:,} "
        f"queries). Fixed: the first match of the {escape(names[0])} model is wrong and that of the {escape(names[1])} "
        "one right; broken: the other way round. The queries are drawn at random; the number is the similarity "
        "(cosine, at most 1)."
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document(f"{title}: {before.protocol}", recalls, note, columns), encoding="utf-8")
    return path


def _right(result: Evaluation) -> np.ndarray:
    return correct(result.neighbours.indices[:, :1], result.retrieval_set.positives)[:, 0]


def _changed_example(before: Evaluation, after: Evaluation, query: int, names: tuple[str, str]) -> Example:
    """The query, the first match of either model, and one image that would have been right."""
    used = before.retrieval_set
    shots = [Shot(used.queries[query], "query")]
    for result, name in zip((before, after), names, strict=True):
        row = int(result.neighbours.indices[query, 0])
        right = bool(np.isin(row, used.positives[query]))
        caption = f"{'✓' if right else '✗'} {result.neighbours.similarities[query, 0]:.2f} {name}"
        shots.append(Shot(used.database[row], caption, right))
    positives = used.positives[query]
    shots.append(Shot(used.database[positives[len(positives) // 2]], "a right one"))
    return Example(tuple(shots), "1 positive" if len(positives) == 1 else f"{len(positives)} positives")


__all__ = ["compare", "draw", "page", "write"]

COLOURS = {True: "#1a7f37", False: "#cf222e", None: "#6e7781"}


def write(result: Evaluation, folder: Path, seed: int = 0, count: int = 6) -> tuple[Path, Path]:
    """Write `matches_<protocol>.html` and `.png`: up to `count` misses and hits, drawn at random; return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = "matches_" + re.sub(r"[^\w.@+\[\]-]+", "_", result.protocol)
    columns = choose(result, seed, count)
    html, png = folder / f"{stem}.html", folder / f"{stem}.png"
    html.write_text(page(result, columns), encoding="utf-8")
    figure = draw(result, columns)
    figure.savefig(png, dpi=110, facecolor="white")
    return html, png


def draw(result: Evaluation, columns: dict[str, list[Example]]) -> Figure:
    """Draw the examples, misses on the left and hits on the right."""
    rows, wide = max(1, *(len(examples) for examples in columns.values())), 5
    figure = Figure(figsize=(17, 1.2 + 1.6 * rows))
    FigureCanvasAgg(figure)
    recalls = "   ".join(f"{name} {100 * value:.1f}" for name, value in result.metrics().items())
    top = 1 - 0.5 / figure.get_figheight()
    figure.text(0.02, top, f"{result.protocol}    {recalls}", fontsize=15, weight="bold", va="center")
    blocks = figure.add_gridspec(
        1, len(columns), left=0.02, right=0.98, bottom=0.3 / figure.get_figheight(), wspace=0.06
    )
    blocks.update(top=1 - 1.25 / figure.get_figheight())
    for number, (name, examples) in enumerate(columns.items()):
        block = blocks[0, number]
        grid = block.subgridspec(rows, wide, hspace=0.42, wspace=0.08)
        left = block.get_position(figure).x0
        figure.text(left, 1 - 0.95 / figure.get_figheight(), name, fontsize=13, va="center")
        if not examples:
            figure.text(left, 1 - 1.5 / figure.get_figheight(), "none", fontsize=11, color=COLOURS[None])
        for row, example in enumerate(examples):
            for column, shot in enumerate(example.shots):
                axes = figure.add_subplot(grid[row, column])
                axes.imshow(_boxed(thumbnail(shot.path)))
                axes.set(xticks=[], yticks=[])
                axes.set_xlabel(shot.caption, fontsize=9, labelpad=3, color=COLOURS[shot.right])
                for spine in axes.spines.values():
                    spine.set(color=COLOURS[shot.right], linewidth=1 if shot.right is None else 3.5)
            figure.axes[-len(example.shots)].set_title(example.note, fontsize=8, loc="left", pad=3, color="#444")
    return figure


def _boxed(image: np.ndarray, height: int = 120, width: int = 160) -> np.ndarray:
    """Centre an image in a light box, so that photos of all proportions stand in straight rows."""
    top, left = (height - image.shape[0]) // 2, (width - image.shape[1]) // 2
    bottom, right = height - image.shape[0] - top, width - image.shape[1] - left
    return cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(234, 238, 242))
