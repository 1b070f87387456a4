"""Results of an evaluation: a table on the screen, metrics.json and predictions.csv."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.markup import escape
from rich.table import Table

from vpr.checkpoint import versions
from vpr.files import atomic_write, csv_line, csv_name, write_text
from vpr.models.costs import Costs
from vpr.retrieval.evaluate import Evaluation
from vpr.retrieval.metrics import correct

RANKED = 20


def table(result: Evaluation) -> Table:
    """Lay out one protocol: recalls in percent over their 95 % intervals, then counts, dimension and speed."""
    counts, left_out = result.counts, result.counts["queries"] - result.counts["counted_queries"]
    queries = f"{counts['counted_queries']:,} queries" + (f" (+ {left_out:,} without positives)" if left_out else "")
    missed = counts["queries_without_positives"] - left_out
    queries += f", {missed:,} of them without positives" if missed else ""
    speed = f", {result.images_per_second:,.0f} images/s" if result.images_per_second else ""
    positives = f"{result.mean_positives:,.1f} positives a query"
    if not result.recalls:
        queries, positives = f"{counts['queries']:,} queries", "no ground truth"
    caption = (
        f"{counts['database']:,} database images, {queries}, {positives}, "
        f"D = {result.dim:,}, {sum(result.seconds.values()):,.1f} s{speed}"
    )
    if result.neighbours.inliers is not None:
        caption += f"\n{result.ms_per_query:,.0f} ms a query to search and to compare local features"
    models = result.models
    if models.get("database") != models.get("queries"):
        caption += f"\nqueries described by {models['queries']}, database by {models['database']}"
    caption += "".join(f"\n{note}" for note in notes(result))
    grid = Table(title=escape(result.protocol), caption=escape(caption), title_justify="left", caption_justify="left")
    for k in result.recalls:
        grid.add_column(f"R@{k}", justify="right", no_wrap=True)
    if not result.recalls:
        measured = "only agreement is measured" if result.agreement else "nothing is measured"
        grid.add_row(f"no ground truth: predictions are written, {measured}")
        return grid
    grid.add_row(*(f"[bold]{100 * value:.1f}" for value in result.recalls.values()))
    grid.add_row(*(f"[dim]{100 * low:.1f}–{100 * high:.1f}" for low, high in result.intervals.values()))
    return grid


def notes(result: Evaluation) -> list[str]:
    """Say beside the recalls on which images of the set the model was trained, and how it agrees with a teacher."""
    lines, counts, seen = [], result.counts, result.seen
    if seen and seen.database:
        lines += [f"[map]: trained on {seen.database:,} of the {counts['database']:,} database images"]
    if seen and seen.queries:
        lines += [f"[queries]: trained on {seen.queries:,} of the {counts['queries']:,} queries: no measurement"]
    return lines + ([str(result.agreement)] if result.agreement else [])


def write(results: Sequence[Evaluation], folder: Path, settings: Mapping[str, Any], costs: Costs | None = None) -> None:
    """Write `metrics.json` and `predictions.csv` into `folder`; `settings` are how it was measured, plain values.

    metrics.json: `sets` = {protocol id: recalls and intervals (0..1), counts, dim, models, seconds, images_per_second,
    bad_images, and where they are known `trained_on` = numbers of images of the set that the model was trained on, and
    `agreement` with a teacher (vpr.retrieval.agreement)}, `settings`, `costs` of the model that describes the queries
    (vpr.models.costs), `versions`.
    """
    import faiss  # by now loaded; vpr.retrieval has told its loader to be quiet

    content = {
        "sets": {result.protocol: summary(result) for result in results},
        "settings": dict(settings),
        **({"costs": costs.plain()} if costs else {}),
        "versions": versions() | {"faiss": faiss.__version__, "numpy": np.__version__},
    }
    write_text(folder / "metrics.json", json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    rows = pd.concat(map(predictions, results))
    rows["distance"] = [str(value) for value in rows["distance"].to_numpy()]  # as float32, with no more digits
    with (
        atomic_write(folder / "predictions.csv") as temporary,
        open(temporary, "w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        file.write(csv_line(rows.columns))
        file.writelines(map(csv_line, rows.itertuples(index=False, name=None)))


def summary(result: Evaluation) -> dict[str, Any]:
    """Return all numbers of one set as plain containers."""
    return {
        "recalls": result.metrics(),
        "intervals": {f"R@{k}": [round(bound, 6) for bound in bounds] for k, bounds in result.intervals.items()},
        "counts": result.counts | {"mean_positives": round(result.mean_positives, 3)},
        "no_positives": result.retrieval_set.protocol.no_positives,
        "dim": result.dim,
        "models": dict(result.models),
        "seconds": {phase: round(value, 3) for phase, value in result.seconds.items()},
        "images_per_second": round(result.images_per_second, 1),
        "bad_images": list(result.bad.values()),
        **({"trained_on": result.seen._asdict()} if result.seen else {}),
        **({"agreement": result.agreement.plain()} if result.agreement else {}),
    }


def predictions(result: Evaluation, ranked: int = RANKED) -> pd.DataFrame:
    """List the first `ranked` neighbours, one row per query and rank.

    Columns: protocol, query and database (paths, with ./ before what a spreadsheet would take for a formula), rank
    (from 1), distance (Euclidean, of unit vectors: 0..2), correct (empty for queries that the recall leaves out); after
    re-ranking by local features inliers, too (empty for images that were not compared).
    """
    indices = result.neighbours.indices[:, :ranked]
    right = correct(indices, result.retrieval_set.positives).astype(object)
    right[~result.counted] = None
    query, rank = np.nonzero(indices >= 0)
    similarities, inliers = result.neighbours.similarities[query, rank], result.neighbours.inliers
    table = pd.DataFrame(
        {
            "protocol": result.protocol,
            "query": _strings(result.retrieval_set.queries)[query],
            "rank": rank + 1,
            "database": _strings(result.retrieval_set.database)[indices[query, rank]],
            "distance": np.sqrt(np.maximum(2 - 2 * similarities, 0)).round(5),
            "correct": right[query, rank],
        }
    )
    if inliers is not None:
        counts = pd.Series(inliers[query, rank], dtype="Int64")
        table["inliers"] = counts.mask(counts < 0)
    return table


def _strings(paths: Sequence[Path]) -> np.ndarray:
    return np.array([csv_name(str(path)) for path in paths], dtype=object)
