"""Compressed place indices: R@1 that they keep, bytes a photo, seconds of learning and of searching.

    python benchmarks/index.py --ckpt runs/demo/best.ckpt [--data DIR] [--database 2000] [--queries 1000]
    python benchmarks/index.py --ckpt best.ckpt --data DIR --dataset gardens_point nordland_mini

Without --dataset on a drawn city (toycity) of so many photos. Exits with 1 where product quantisation at 64 bytes keeps
less than 97 % of the exact R@1 of the drawn city.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from vpr.catalog.resolve import evaluation_sets
from vpr.cli.compose import compose
from vpr.data.retrieval_set import RetrievalSet
from vpr.errors import ConfigError, DataError
from vpr.retrieval import metrics
from vpr.retrieval.extractor import Extractor
from vpr.retrieval.index.codecs import PQ, Binary, Exact
from vpr.retrieval.index.place_index import Photos, PlaceIndex, path_extractor
from vpr.retrieval.scoring import KS, check_ks
from vpr.retrieval.search import Neighbours, search_width, suppress_panoramas
from vpr.toycity.dataset import test_set

CODECS = (Exact(), PQ(64), PQ(64, rotate=True), PQ(32), PQ(16), Binary(512), Binary(512, learned=False))
LEAST = 0.97


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--ckpt", required=True)
    options.add_argument("--data", type=Path, default=Path("data"))
    options.add_argument("--dataset", nargs="+", help="names in conf/dataset, instead of the drawn city")
    options.add_argument("--database", type=int, default=2000)
    options.add_argument("--queries", type=int, default=1000)
    chosen = options.parse_args()
    extractor = Extractor.load(chosen.ckpt, "cpu")
    if chosen.dataset:
        names = ",".join(chosen.dataset)
        cfg = compose("evaluate", ["ckpt=x", f"dataset=[{names}]", f"paths.data={chosen.data}"])
        sets = list(evaluation_sets(cfg.dataset).values())
    else:
        sets = [test_set(chosen.data / "toycity", 0, chosen.database, chosen.queries)]
    kept = [compare(retrieval_set, extractor) for retrieval_set in sets]
    if not chosen.dataset and min(kept) < LEAST:
        sys.exit(f"pq64 keeps less than {LEAST:.0%} of the exact R@1")


def compare(retrieval_set: RetrievalSet, extractor: Extractor) -> float:
    """Print a line a codec; return the share of the exact R@1 that PQ at 64 bytes keeps."""
    extract_paths, dim = path_extractor(extractor), extractor.dim
    queries = np.empty((len(retrieval_set.queries), dim), np.float32)
    if bad := extract_paths(list(retrieval_set.queries), np.arange(len(queries)), queries):
        sys.exit(next(iter(bad.values())))
    root = Path(os.path.commonpath([path.parent for path in retrieval_set.database]))
    photos = Photos.on_disk(root, [str(path.relative_to(root)) for path in retrieval_set.database])
    shares = {}
    with tempfile.TemporaryDirectory(prefix="vpr-") as folder:
        index, _ = PlaceIndex.build(folder, photos, extract_paths, dim, extractor.digest)
        print(f"{retrieval_set.protocol.id}: {len(index):,} photos, {len(queries):,} queries, {dim:,} numbers each")
        for codec in CODECS:
            try:
                began = time.perf_counter()
                index.recode(codec)
                learned = time.perf_counter() - began
            except ConfigError as error:
                print(f"{codec.id:8} refused: {error}")
                continue
            began = time.perf_counter()
            index.search(queries, 20)
            searched = time.perf_counter() - began
            measured = measure(index, retrieval_set, queries, (1, 5, 10))
            shares[codec] = measured.kept(1)
            recalls = "  ".join(f"R@{k} {100 * v:5.1f}" for k, v in measured.compressed.items())
            print(
                f"{codec.id:8} {measured.bytes:6,} bytes an image  {recalls}  "
                f"{100 * shares[codec]:5.1f} % of the exact R@1  learned in {learned:.1f} s, "
                f"searched in {searched:.3f} s",
                flush=True,
            )
    return shares.get(PQ(64), 0.0)


class IndexRecall(NamedTuple):
    """Recalls {k: 0..1} of one index on one set.

    Attributes:
        protocol: id of the set's protocol.
        codec: id of the index' codec, e.g. `pq64`.
        bytes, exact_bytes: a photo, of what is searched.
    """

    protocol: str
    codec: str
    exact: dict[int, float]
    compressed: dict[int, float]
    bytes: int
    exact_bytes: int

    def kept(self, k: int) -> float:
        """Share of the exact R@k that the compressed index has; 1 where the exact one is 0."""
        return self.compressed[k] / self.exact[k] if self.exact[k] else 1.0

    def sentences(self) -> str:
        """One line a k: both recalls, what is kept, bytes a photo."""
        return "\n".join(
            f"{self.protocol}: R@{k} {100 * self.compressed[k]:.1f} of {self.codec} ({self.bytes:,} bytes a photo), "
            f"{100 * exact:.1f} of the exact search ({self.exact_bytes:,} bytes): {100 * self.kept(k):.1f} % of it"
            for k, exact in self.exact.items()
        )

    def plain(self) -> dict[str, Any]:
        """Return the recalls for schema.json."""
        return {side: {f"R@{k}": value for k, value in getattr(self, side).items()} for side in ("exact", "compressed")}


def measure(index: PlaceIndex, retrieval_set: RetrievalSet, queries: np.ndarray, ks: Sequence[int] = KS) -> IndexRecall:
    """Measure both searches of an index on a set whose database it holds, and keep the recalls in its schema.json.

    Args:
        queries: (Q, D) descriptors of the set's queries.

    Raises:
        ConfigError: a k below 1.
        DataError: other photos than the set's database, other numbers of queries, or none with a positive.
    """
    ks = check_ks(ks)
    if len(queries) != len(retrieval_set.queries):
        raise DataError(
            f"{retrieval_set.protocol.id} has {len(retrieval_set.queries):,} queries, and {len(queries):,} descriptors "
            "were given: give one for each, in the order of the set."
        )
    rows = _rows(index, retrieval_set)
    counted = metrics.counted(retrieval_set.positives, retrieval_set.protocol.no_positives)

    def recalls(exact: bool) -> dict[int, float]:
        width = search_width(max(ks), len(index), retrieval_set.panoramas)
        similarities, indices = index.search(queries, width, exact)[:2]
        neighbours = Neighbours(similarities, np.where(indices < 0, -1, rows[indices]))
        if retrieval_set.panoramas is not None:
            neighbours = suppress_panoramas(neighbours, retrieval_set.panoramas)
        hit = metrics.hits(neighbours.indices, retrieval_set.positives, ks)[counted]
        return dict(zip(ks, metrics.recall(hit).tolist(), strict=True))

    exact_bytes = index.dim * index.descriptors.dtype.itemsize
    protocol = retrieval_set.protocol.id
    measured = IndexRecall(protocol, index.codec.id, recalls(True), recalls(False), index.bytes_per_photo, exact_bytes)
    index.note(recall=index.schema.get("recall", {}) | {protocol: measured.plain()})
    return measured


def _rows(index: PlaceIndex, retrieval_set: RetrievalSet) -> np.ndarray:
    """(N,) int64: the set's row of each photo of the index."""
    rows = {path.absolute(): row for row, path in enumerate(retrieval_set.database)}
    row_of = np.array([rows.get(path.absolute(), -1) for path in index.photos.paths])
    if len(row_of) != len(rows) or (row_of < 0).any():
        raise DataError(
            f"The place index in {index.folder} holds {(row_of >= 0).sum():,} of the {len(rows):,} database images of "
            f"{retrieval_set.protocol.id} and {(row_of < 0).sum():,} others. Its recall is measured "
            "on the images of the set alone: build an index of them."
        )
    return row_of


if __name__ == "__main__":
    main()
