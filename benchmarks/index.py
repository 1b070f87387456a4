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
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.index_recall import measure
from vpr import checkpoint
from vpr.catalog.resolve import evaluation_sets
from vpr.cli.compose import compose
from vpr.data.retrieval_set import RetrievalSet
from vpr.errors import ConfigError
from vpr.retrieval.extractor import describe_fn
from vpr.retrieval.index.codecs import PQ, Binary, Exact
from vpr.retrieval.index.place_index import DescribePaths, Photos, PlaceIndex, path_describer
from vpr.toycity.dataset import test_set

KINDS = (Exact(), PQ(64), PQ(64, rotate=True), PQ(32), PQ(16), Binary(512), Binary(512, learned=False))
LEAST = 0.97


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--ckpt", required=True)
    options.add_argument("--data", type=Path, default=Path("data"))
    options.add_argument("--dataset", nargs="+", help="names in conf/dataset, instead of the drawn city")
    options.add_argument("--database", type=int, default=2000)
    options.add_argument("--queries", type=int, default=1000)
    chosen = options.parse_args()
    content = checkpoint.read(chosen.ckpt)
    describer = checkpoint.unpack(content, chosen.ckpt)
    describe_paths = path_describer(describe_fn(describer, "cpu"), describer.preprocess)
    if chosen.dataset:
        names = ",".join(chosen.dataset)
        cfg = compose("evaluate", ["ckpt=x", f"dataset=[{names}]", f"paths.data={chosen.data}"])
        sets = list(evaluation_sets(cfg.dataset).values())
    else:
        sets = [test_set(chosen.data / "toycity", 0, chosen.database, chosen.queries)]
    kept = [compare(found, describe_paths, describer.dim, checkpoint.digest(content)) for found in sets]
    if not chosen.dataset and min(kept) < LEAST:
        sys.exit(f"pq64 keeps less than {LEAST:.0%} of the exact R@1")


def compare(retrieval_set: RetrievalSet, describe_paths: DescribePaths, dim: int, model: str) -> float:
    """Print a line a kind; return the share of the exact R@1 that PQ at 64 bytes keeps."""
    queries = np.empty((len(retrieval_set.queries), dim), np.float32)
    if bad := describe_paths(list(retrieval_set.queries), np.arange(len(queries)), queries):
        sys.exit(next(iter(bad.values())))
    root = Path(os.path.commonpath([path.parent for path in retrieval_set.database]))
    photos = Photos.on_disk(root, [str(path.relative_to(root)) for path in retrieval_set.database])
    shares = {}
    with tempfile.TemporaryDirectory(prefix="vpr-") as folder:
        index, _ = PlaceIndex.build(folder, photos, describe_paths, dim, model)
        print(f"{retrieval_set.protocol.id}: {len(index):,} photos, {len(queries):,} queries, {dim:,} numbers each")
        for kind in KINDS:
            try:
                began = time.perf_counter()
                index.recode(kind)
                learned = time.perf_counter() - began
            except ConfigError as error:
                print(f"{kind.id:8} refused: {error}")
                continue
            began = time.perf_counter()
            index.search(queries, 20)
            searched = time.perf_counter() - began
            found = measure(index, retrieval_set, queries, (1, 5, 10))
            shares[kind] = found.kept(1)
            recalls = "  ".join(f"R@{k} {100 * v:5.1f}" for k, v in found.compressed.items())
            print(
                f"{kind.id:8} {found.bytes:6,} bytes a photo  {recalls}  {100 * shares[kind]:5.1f} % of the exact R@1  "
                f"learned in {learned:.1f} s, searched in {searched:.3f} s",
                flush=True,
            )
    return shares.get(PQ(64), 0.0)


if __name__ == "__main__":
    main()
