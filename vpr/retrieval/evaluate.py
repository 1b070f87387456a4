"""Evaluation: images -> descriptors -> neighbours -> recall. Training and evaluate.py call this same function."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vpr.data.retrieval_set import RetrievalSet
from vpr.errors import ConfigError, DataError
from vpr.retrieval import metrics, ranks, store
from vpr.retrieval.describe import Describe
from vpr.retrieval.extract import extract, image_loader
from vpr.retrieval.progress import image_progress
from vpr.retrieval.search import Neighbours, search
from vpr.types import Preprocess


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What was measured on one set.

    Attributes:
        retrieval_set: the set as measured, without the bad images that were skipped.
        recalls: {k: share of the counted queries with a positive among their first k neighbours}, 0..1.
        intervals: {k: (low, high)}, 95 % bootstrap interval over the counted queries.
        hits: (Q, len(ks)) bool, one row per query; `counted` (Q,) bool are those that the recalls count.
        bad: sentence per unreadable image, by its row in the database followed by the queries.
        seconds: wall time of `extract` and `search`.
    """

    retrieval_set: RetrievalSet
    recalls: dict[int, float]
    intervals: dict[int, tuple[float, float]]
    hits: np.ndarray
    counted: np.ndarray
    neighbours: Neighbours
    bad: dict[int, str]
    dim: int
    seconds: dict[str, float]

    @property
    def protocol(self) -> str:
        """Id of the protocol, to stand beside every recall."""
        return self.retrieval_set.protocol.id

    @property
    def counts(self) -> dict[str, int]:
        """Numbers of database images and queries measured, of queries without positives, and of bad images skipped."""
        positives = self.retrieval_set.positives
        return {
            "database": len(self.retrieval_set.database),
            "queries": len(self.retrieval_set.queries),
            "counted_queries": int(self.counted.sum()),
            "queries_without_positives": sum(len(rows) == 0 for rows in positives),
            "bad_images": len(self.bad),
        }

    @property
    def images_per_second(self) -> float:
        """Images read and described in a second, over all ranks."""
        return (self.counts["database"] + self.counts["queries"]) / max(self.seconds["extract"], 1e-9)

    def metrics(self) -> dict[str, float]:
        """Return {"R@1": 0..1, ...}."""
        return {f"R@{k}": value for k, value in self.recalls.items()}


def evaluate(
    describe: Describe,
    dim: int,
    preprocess: Preprocess,
    retrieval_set: RetrievalSet,
    *,
    ks: Sequence[int] = (1, 5, 10, 20),
    batch_size: int = 32,
    num_workers: int = 0,
    dtype: str = "float16",
    on_bad_image: str = "raise",
    workdir: Path | None = None,
    progress: bool = True,
    seed: int = 0,
    model: str = "",
) -> Evaluation:
    """Measure recall@k of `describe: (B, 3, H, W) uint8 -> (B, dim)` on one set; every rank gets the same result.

    Args:
        dtype: of the descriptors on disk, float16 or float32.
        on_bad_image: `raise` ends with a DataError after the pass; `skip` leaves bad images out and says so in the id.
        workdir: where descriptors.npy and schema.json stay; None removes them afterwards. All ranks must see it.
        progress: show a bar (on rank 0).
        seed: of the bootstrap.
        model: digest of the model, kept in schema.json.

    Raises:
        ConfigError: a choice is unknown, or a k is below 1.
        DataError: unreadable images under `raise`, NaN descriptors, no query with a positive.
    """
    _check(ks, dtype, on_bad_image)
    ks, paths = sorted(set(ks)), [*retrieval_set.database, *retrieval_set.queries]
    with _folder(workdir) as folder:
        began = time.perf_counter()
        if ranks.rank() == 0:
            store.create(folder, len(paths), dim, dtype)
        ranks.gather(None)
        descriptors = store.attach(folder)
        with image_progress(retrieval_set.protocol.id, len(paths), progress) as advance:
            bad = extract(describe, image_loader(paths, preprocess, batch_size, num_workers), descriptors, advance)
        used = _without(retrieval_set, bad, on_bad_image)
        extracted = time.perf_counter()
        neighbours = None
        if ranks.rank() == 0:
            kept = np.setdiff1d(np.arange(len(paths)), list(bad))
            if bad:
                store.compact(descriptors, kept)
            store.seal(folder, descriptors, len(used.database), len(used.queries), model)
            split, end = len(used.database), len(kept)
            neighbours = search(descriptors[:split], descriptors[split:end], max(ks))
        neighbours = ranks.broadcast(neighbours)
        assert neighbours is not None
        seconds = {"extract": extracted - began, "search": time.perf_counter() - extracted}
        del descriptors
    return _score(used, neighbours, ks, bad, dim, seconds, seed)


def _score(
    used: RetrievalSet,
    neighbours: Neighbours,
    ks: Sequence[int],
    bad: dict[int, str],
    dim: int,
    seconds: dict[str, float],
    seed: int,
) -> Evaluation:
    hits = metrics.hits(neighbours.indices, used.positives, ks)
    counted = metrics.counted(used.positives, used.protocol.no_positives)
    recalls = dict(zip(ks, metrics.recall(hits[counted]).tolist(), strict=True))
    bounds = metrics.interval(hits[counted], seed).tolist()
    intervals = {k: (low, high) for k, (low, high) in zip(ks, bounds, strict=True)}
    return Evaluation(used, recalls, intervals, hits, counted, neighbours, bad, dim, seconds)


def _check(ks: Sequence[int], dtype: str, on_bad_image: str) -> None:
    if not ks or min(ks) < 1:
        raise ConfigError(f"ks={list(ks)}: recall@k needs at least one k, each 1 or more.")
    if dtype not in store.DTYPES:
        raise ConfigError(f"dtype={dtype} is unknown: choose {' or '.join(store.DTYPES)}.")
    if on_bad_image not in ("raise", "skip"):
        raise ConfigError(f"on_bad_image={on_bad_image} is unknown: choose raise or skip.")


def _without(retrieval_set: RetrievalSet, bad: dict[int, str], on_bad_image: str) -> RetrievalSet:
    split = len(retrieval_set.database)
    bad_database, bad_queries = [row for row in bad if row < split], [row - split for row in bad if row >= split]
    if not bad:
        return retrieval_set
    if on_bad_image == "skip":
        return retrieval_set.without(bad_database, bad_queries)
    found = _counts(bad_database, split, "database images")
    found += _counts(bad_queries, len(retrieval_set.queries), "queries")
    raise DataError(
        f"{' and '.join(found)} of {retrieval_set.protocol.id} cannot be read (first: {next(iter(bad.values()))}). "
        "Extract the archive again, or pass dataset.on_bad_image=skip."
    )


def _counts(rows: Collection[int], total: int, what: str) -> list[str]:
    return [f"{len(rows):,} of {total:,} {what}"] if rows else []


@contextmanager
def _folder(workdir: Path | None) -> Iterator[Path]:
    """Give all ranks one working folder; one of ours is removed by rank 0 when all are done with it."""
    if workdir is not None:
        yield Path(workdir)
        return
    temporary = tempfile.TemporaryDirectory(prefix="vpr-") if ranks.rank() == 0 else None
    try:
        yield Path(ranks.broadcast(temporary.name if temporary else ""))
    finally:
        if temporary:
            temporary.cleanup()
