"""Queries of an evaluation with their first matches: an HTML page, a PNG, and a page that compares two models."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vpr.errors import DataError
from vpr.files import atomic_write, write_text
from vpr.pages.render import render
from vpr.pages.thumbnails import boxed, joined, jpeg_uri, thumbnail
from vpr.report.results import notes
from vpr.retrieval.evaluate import Evaluation
from vpr.retrieval.metrics import correct, paired_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {True: "#1a7f37", False: "#cf222e", None: "#6e7781"}  # of frames in the PNG; those of pages are in base.css
KINDS = {True: "good", False: "bad", None: ""}  # classes of base.css


@dataclass(frozen=True)
class Shot:
    """One thumbnail: the image's path, what is written below it, and whether it is a right match (None: no match)."""

    path: Path
    caption: str
    right: bool | None = None

    @property
    def uri(self) -> str:
        """The image, at most 320 pixels wide and 240 high."""
        return jpeg_uri(thumbnail(self.path, 240, 320))

    @property
    def kind(self) -> str:
        return KINDS[self.right]


@dataclass(frozen=True)
class Example:
    """One query: the query and its matches in a row of shots, and a note about it.

    `lines` is a picture of the query beside its first match, with lines between the points that confirm each other, as
    a data URI; empty where no local features were compared.
    """

    shots: tuple[Shot, ...]
    note: str
    lines: str = ""

    @property
    def name(self) -> str:
        return "/".join(self.shots[0].path.parts[-2:])


Columns = dict[str, list[Example]]


def write(result: Evaluation, folder: Path, seed: int = 0, count: int = 6) -> tuple[Path, Path]:
    """Write `matches_<protocol>.html` and `.png`: up to `count` misses and hits, drawn at random; return the paths."""
    stem = "matches_" + re.sub(r"[^\w.@+\[\]-]+", "_", result.protocol)
    columns = choose(result, seed, count)
    html, png = folder / f"{stem}.html", folder / f"{stem}.png"
    write_text(html, page(result, columns))
    figure = draw(result, columns)
    with atomic_write(png) as temporary:
        figure.savefig(temporary, format="png", dpi=110, facecolor="white")
    return html, png


def choose(result: Evaluation, seed: int = 0, count: int = 6) -> Columns:
    """Draw queries whose first match is wrong, and such whose first match is right, without looking at them.

    Where nobody knows that, but a teacher was named: such whose first match is not the teacher's, and such where it is.
    """
    if result.agreement and not result.counted.any():
        same = result.agreement.same
        kinds = {"Other than the teacher's": ~same, "As the teacher's": same}
        return _columns(kinds, lambda query: _compared_example(result, query), seed, count)
    first = _first_right(result)
    return _columns(
        {"Misses": result.counted & ~first, "Hits": first}, lambda query: _example(result, query), seed, count
    )


def page(result: Evaluation, columns: Columns) -> str:
    """Return the HTML: examples under the recalls, columns side by side, below each other in a narrow window."""
    counts = result.counts
    recalls = [
        _recall(f"R@{k}", value, _percent(low, high))
        for (k, value), (low, high) in zip(result.recalls.items(), result.intervals.values(), strict=True)
    ]
    if result.counted.any():
        note = (
            f"Recall in %, with the 95 % interval over {counts['counted_queries']:,} queries; "
            f"{counts['database']:,} database images, descriptors of {result.dim:,} numbers. Misses and hits go by the "
            "first match, and are drawn at random. Green frame ✓: right, red frame ✗: wrong; the number is the "
            "similarity (cosine, at most 1)."
        )
        if result.neighbours.inliers is not None:
            note += (
                " Behind it stands the number of points that confirm each other; lines lead from those of the query to "
                "those of the first match."
            )
    else:
        note = (
            f"No ground truth, so no recall: {counts['queries']:,} queries, {counts['database']:,} database images, "
            f"descriptors of {result.dim:,} numbers."
        )
    note = " ".join([note, *(f"{line[0].upper()}{line[1:]}." for line in notes(result))])
    if result.agreement:
        shared, ranks = result.agreement.first_match_interval, result.agreement.rank_correlation_interval
        recalls += [
            _recall("first match as the teacher's", result.agreement.first_match, _percent(*shared)),
            {"name": f"rank correlation of its first {result.agreement.ranked}"}
            | {"percent": f"{result.agreement.rank_correlation:.2f}", "interval": f"{ranks[0]:.2f} – {ranks[1]:.2f}"},
        ]
    return render("matches", title=result.protocol, recalls=recalls, note=note, columns=columns)


def compare(
    before: Evaluation, after: Evaluation, path: Path, title: str, names: tuple[str, str], seed: int = 0, count: int = 8
) -> Path:
    """Write a page of queries whose first match was wrong and is right now, and the other way round; return its path.

    Args:
        before, after: of the same set, by two models.
        title: of the page, before the protocol.
        names: the two models, in a word each.
        seed: of the draw of up to `count` queries for each column, made without looking at them.

    Raises:
        DataError: the two were measured on other photos.
    """
    for side in ("queries", "database"):
        if list(getattr(before.retrieval_set, side)) != list(getattr(after.retrieval_set, side)):
            raise DataError(f"{before.protocol} and {after.protocol} have other {side}: they cannot be compared.")
    first, second = (_first_right(result) for result in (before, after))
    changes = {"Fixed": second & ~first & before.counted, "Broken": first & ~second & before.counted}
    low, high = paired_interval(first[before.counted], second[before.counted])
    note = (
        f"Gain {100 * (after.recalls[1] - before.recalls[1]):+.1f} points of R@1, 95 % interval "
        f"{100 * low:+.1f} to {100 * high:+.1f} (bootstrap over the same {before.counts['counted_queries']:,} "
        f"queries). Fixed: the first match of the {names[0]} model is wrong and that of the {names[1]} one right; "
        "broken: the other way round. The queries are drawn at random; the number is the similarity (cosine, at most "
        "1)."
    )
    html = render(
        "matches",
        title=f"{title}: {before.protocol}",
        recalls=[
            _recall(f"{name}, R@1", result.recalls[1]) for name, result in zip(names, (before, after), strict=True)
        ],
        note=note,
        columns=_columns(changes, lambda query: _changed_example(before, after, query, names), seed, count),
    )
    write_text(path, html)
    return path


def _columns(kinds: Mapping[str, np.ndarray], example: Callable[[int], Example], seed: int, count: int) -> Columns:
    """Draw up to `count` queries of each kind, given as (Q,) bool."""
    rng, columns = np.random.default_rng(seed), {}
    for name, chosen in kinds.items():
        queries = np.flatnonzero(chosen)
        drawn = np.sort(rng.choice(queries, min(count, len(queries)), replace=False))
        columns[f"{name} ({len(queries):,})"] = [example(query) for query in drawn]
    return columns


def _first_right(result: Evaluation) -> np.ndarray:
    return correct(result.neighbours.indices[:, :1], result.retrieval_set.positives)[:, 0]


def _recall(name: str, value: float, interval: str = "") -> dict[str, str]:
    return {"name": name, "percent": f"{100 * value:.1f}", "interval": interval}


def _percent(low: float, high: float) -> str:
    return f"{100 * low:.1f} – {100 * high:.1f}"


def _compared_example(result: Evaluation, query: int) -> Example:
    """Query, its first three matches, and the teacher's first match where it is another one."""
    assert result.agreement is not None
    images, used = result.retrieval_set.database, result.neighbours.of(np.array([query]))
    rows = used.indices[0, :3]
    shots = [Shot(result.retrieval_set.queries[query], "query")]
    shots += [Shot(images[row], f"{used.similarities[0, n]:.2f}") for n, row in enumerate(rows) if row >= 0]
    if not result.agreement.same[query]:
        shots.append(Shot(images[result.agreement.teachers_first[query]], "the teacher's"))
    note = f"rank correlation of the teacher's first {result.agreement.ranked}"
    return Example(tuple(shots), f"{note}: {result.agreement.correlations[query]:.2f}")


def _example(result: Evaluation, query: int) -> Example:
    """Query and four matches; for a miss three matches and one image that would have been right."""
    images, positives = result.retrieval_set.database, result.retrieval_set.positives[query]
    rows = result.neighbours.indices[query]
    right = np.isin(rows, positives) & (rows >= 0)
    missed = not right[0] and len(positives) > 0
    shots = [Shot(result.retrieval_set.queries[query], "query")]
    for rank in range(min(3 if missed else 4, int((rows >= 0).sum()))):
        similarity = result.neighbours.similarities[query, rank]
        caption = f"{'✓' if right[rank] else '✗'} {similarity:.2f}"
        if result.neighbours.inliers is not None and (inliers := result.neighbours.inliers[query, rank]) >= 0:
            caption += f" · {inliers}"
        shots.append(Shot(images[rows[rank]], caption, bool(right[rank])))
    if missed:
        shots.append(Shot(images[positives[len(positives) // 2]], "a right one"))
    note = f"{right.sum()} of {len(positives)} positives in the first {len(rows)}"
    if missed and right.any():
        note = f"first right match at rank {right.argmax() + 1}"
    lines = ""
    if result.verifier and rows[0] >= 0:
        sides = shots[0].path, shots[1].path
        points = result.verifier.points(*sides)
        lines = jpeg_uri(joined(*sides, points.left, points.right))
    return Example(tuple(shots), note, lines)


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


def draw(result: Evaluation, columns: Columns) -> Figure:
    """Draw the examples, misses on the left and hits on the right."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # a second that training need not wait for
    from matplotlib.figure import Figure

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
                axes.imshow(boxed(thumbnail(shot.path), 120, 160))
                axes.set(xticks=[], yticks=[])
                axes.set_xlabel(shot.caption, fontsize=9, labelpad=3, color=COLOURS[shot.right])
                for spine in axes.spines.values():
                    spine.set(color=COLOURS[shot.right], linewidth=1 if shot.right is None else 3.5)
            figure.axes[-len(example.shots)].set_title(example.note, fontsize=8, loc="left", pad=3, color="#444")
    return figure
