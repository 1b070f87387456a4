"""Real photos, nothing trained: NetVLAD after clustering against GeM and against NetVLAD with random centres.

    python benchmarks/netvlad_real.py --data DIR [--seeds 0 1 2] [backbone=... and other words of cluster.py]

DIR holds gardens_point: walks of 200 frames, which are written as a dbStruct .mat like Pittsburgh's, a metre apart, and
read from it. Clusters are those of the database photos (day_right); no query is among them. docs/results.md.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from omegaconf import DictConfig, OmegaConf, open_dict

from vpr.config.compose import compose
from vpr.data.formats import dbstruct
from vpr.data.retrieval_set import RetrievalSet
from vpr.data.toycity.layouts.album import POSITION, Album
from vpr.data.toycity.layouts.mat import write_mat
from vpr.engine.build import plain
from vpr.engine.cluster import make_clusters
from vpr.models.build import build_describer
from vpr.retrieval.describe import describe_fn
from vpr.retrieval.evaluate import Evaluation, evaluate
from vpr.retrieval.metrics import paired_interval
from vpr.types import Protocol

DATABASE, QUERIES = "day_right", ("night_right", "day_left")
RADIUS = 2  # metres, and so the two frames of the usual protocol
GEM = {"_target_": "vpr.models.aggregators.gem.GeM"}
NETVLAD = {"_target_": "vpr.models.aggregators.netvlad.NetVLAD"}
USUAL = ["backbone=tf_efficientnet_lite0", "backbone.weights=package", "backbone.crop=[5,6]", "image.size=[240,320]"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("words", nargs="*", help=f"default: {' '.join(USUAL)}")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vpr-") as folder:
        root = Path(folder)
        sets = walks(args.data, root)
        gem = measure(cluster_config(root, args.words), GEM, sets)
        print("| protocol | aggregator | seed | length | R@1 | R@5 | R@10 | gain of clustering in R@1 [95 %] |")
        print("|---|---|---|---|---|---|---|---|")
        tell("GeM", "-", gem)
        for seed in args.seeds:
            cfg = cluster_config(root, args.words, seed)
            random = measure(cfg, {**NETVLAD, "clusters": cfg.clusters, "allow_random_init": True}, sets)
            tell("NetVLAD, random centres", seed, random)
            clustered = measure(cfg, {**NETVLAD, "clusters": cfg.clusters, "centroids": str(make_clusters(cfg))}, sets)
            tell("NetVLAD after clustering", seed, clustered, {"GeM": gem, "random centres": random})


def walks(data: Path, root: Path) -> list[RetrievalSet]:
    """Write a .mat of each pair of walks below `root`, beside links to the photos, and read the sets from them."""
    index = pd.read_csv(data / "gardens_point" / "index.csv").assign(**{POSITION[1]: 0.0})
    index[POSITION[0]] = index.frame.astype(float)
    by_walk = {name: rows for name, rows in index.groupby("condition")}
    for side in ("images", "queries"):
        (root / side).symlink_to((data / "gardens_point").absolute())
    sets = []
    for walk in QUERIES:
        album = Album(root, by_walk[DATABASE], by_walk[walk])
        write_mat(root / f"{walk}.mat", "test", album, list(album.database.path), list(album.queries.path))
        name = f"gardens-point-{walk}-{DATABASE}@{RADIUS}m".replace("_", "-")
        sets.append(dbstruct.read(root, f"{walk}.mat", Protocol(name, 200, 200), radius=RADIUS))
    return sets


def cluster_config(root: Path, words: list[str], seed: int = 0) -> DictConfig:
    """Compose cluster.py for the photos of the database, each of which is a place of its own."""
    cfg = compose("cluster", [*(words or USUAL), f"seed={seed}", f"paths.runs={root}/seed{seed}"])
    photos = {"_target_": "vpr.data.formats.dbstruct.photos", "root": str(root), "mat": f"{QUERIES[0]}.mat"}
    places = {"cell": 1, "angle": None, "apart": 0, "min_images_per_place": 1}
    with open_dict(cfg):
        reader = {"_target_": "vpr.data.cells.read", "photos": {**photos, "side": "database"}, **places}
        cfg.dataset = OmegaConf.create({"train": {"gardens_point": reader}})
    return cfg


def measure(cfg: DictConfig, agg: Mapping[str, Any], sets: list[RetrievalSet]) -> dict[str, Evaluation]:
    """Evaluate the backbone of `cfg` with an aggregator, by the protocols' ids."""
    torch.manual_seed(cfg.seed)  # of random centres
    describer = build_describer(plain(cfg.backbone), agg, plain(cfg.image)).eval()
    describe = describe_fn(describer, "cpu")
    return {
        found.protocol.id: evaluate(describe, describer.dim, describer.preprocess, found, num_workers=1, progress=False)
        for found in sets
    }


def tell(
    name: str,
    seed: int | str,
    results: Mapping[str, Evaluation],
    others: Mapping[str, Mapping[str, Evaluation]] | None = None,
) -> None:
    """Print a row of the table for each protocol, with the gain over other aggregators."""
    for protocol, result in results.items():
        gains = []
        for other, theirs in (others or {}).items():
            first, second = (r.hits[r.counted, 0] for r in (theirs[protocol], result))
            low, high = (100 * bound for bound in paired_interval(first, second))
            gains.append(f"{100 * (second.mean() - first.mean()):+.1f} [{low:+.1f}, {high:+.1f}] over {other}")
        recalls = " | ".join(f"{100 * result.recalls[k]:.1f}" for k in (1, 5, 10))
        print(f"| {protocol} | {name} | {seed} | {result.dim:,} | {recalls} | {', '.join(gains)} |", flush=True)


if __name__ == "__main__":
    main()
