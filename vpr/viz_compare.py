"""A page of the queries that one model finds and another does not."""

from __future__ import annotations

from html import escape
from pathlib import Path

import numpy as np

from vpr.errors import DataError
from vpr.retrieval.evaluate import Evaluation
from vpr.retrieval.examples import Example, Shot
from vpr.retrieval.metrics import correct, paired_interval
from vpr.viz_page import document


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
        columns[f"{name} ({len(rows):,})"] = [_example(before, after, query, names) for query in drawn]
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


def _example(before: Evaluation, after: Evaluation, query: int, names: tuple[str, str]) -> Example:
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
