"""Real photos, nothing trained: NetVLAD after clustering against GeM and against NetVLAD with random centres.

    python benchmarks/netvlad_real.py --data DIR [--seeds 0 1 2] [backbone=... and other words of cluster.py]

DIR holds gardens_point: walks of 200 frames, which are written as a dbStruct .mat like Pittsburgh's, a metre apart, and
read from it. Clusters are those of the database photos (day_right); no query is among them. docs/results.md.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import Tensor, nn

from vpr.cli.compose import compose, plain
from vpr.data.formats import dbstruct
from vpr.data.retrieval_set import RetrievalSet
from vpr.models.aggregators.netvlad import NetVLAD
from vpr.models.describer import build_describer
from vpr.retrieval.extractor import Extractor, extract, image_loader
from vpr.retrieval.metrics import paired_interval
from vpr.retrieval.scoring import Evaluation, score
from vpr.toycity.layouts.album import POSITION, Album, write_mat
from vpr.training.clusters import make_clusters
from vpr.types import Features, Protocol

DATABASE, QUERIES = "day_right", ("night_right", "day_left")
RADIUS = 2  # metres, and so the two frames of the usual protocol
GEM = {"_target_": "vpr.models.aggregators.gem.GeM"}
RANDOM, CLUSTERED = "NetVLAD, random centres", "NetVLAD after clustering"
USUAL = ["backbone=tf_efficientnet_lite0", "backbone.weights=package", "backbone.crop=[5,6]", "image.size=[240,320]"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("words", nargs="*", help=f"default: {' '.join(USUAL)}")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vpr-") as folder:
        root = Path(folder)
        figures = measure(root, args.words or USUAL, args.seeds, walks(args.data, root))
    print("| protocol | aggregator | seed | length | R@1 | R@5 | R@10 | gain of clustering in R@1 [95 %] |")
    print("|---|---|---|---|---|---|---|---|")
    for (name, seed), results in figures.items():
        for protocol, result in results.items():
            others = {"GeM": figures["GeM", "-"], "random centres": figures[RANDOM, seed]} if name == CLUSTERED else {}
            gains = [f"{gain(theirs[protocol], result)} over {other}" for other, theirs in others.items()]
            recalls = " | ".join(f"{100 * result.recalls[k]:.1f}" for k in (1, 5, 10))
            print(f"| {protocol} | {name} | {seed} | {result.dim:,} | {recalls} | {', '.join(gains)} |")


def walks(data: Path, root: Path, every: int = 1) -> list[RetrievalSet]:
    """Write a .mat of each pair of walks below `root`, beside links to the photos, and read the sets from them.

    Of `every` so many frames there is one.
    """
    index = pd.read_csv(data / "gardens_point" / "index.csv").assign(**{POSITION[1]: 0.0})
    index[POSITION[0]] = index.frame.astype(float)
    by_walk = dict(iter(index[index.frame % every == 0].groupby("condition")))
    for side in ("images", "queries"):
        (root / side).symlink_to((data / "gardens_point").absolute())
    sets = []
    for walk in QUERIES:
        album = Album(root, by_walk[DATABASE], by_walk[walk])
        write_mat(root / f"{walk}.mat", "test", album, list(album.database.path), list(album.queries.path))
        name = f"gardens-point-{walk}-{DATABASE}@{RADIUS}m".replace("_", "-")
        sets.append(dbstruct.read(root, f"{walk}.mat", Protocol(name, 200 // every, 200 // every), radius=RADIUS))
    return sets


def cluster_config(root: Path, words: Sequence[str], seed: int = 0) -> DictConfig:
    """Compose cluster.py for the photos of the database, each of which is a place of its own."""
    cfg = compose("cluster", [*words, f"seed={seed}", f"paths.runs={root}/seed{seed}"])
    photos = {"_target_": "vpr.data.formats.dbstruct.photos", "root": str(root), "mat": f"{QUERIES[0]}.mat"}
    places = {"cell": 1, "angle": None, "apart": 0, "min_images_per_place": 1}
    with open_dict(cfg):
        reader = {"_target_": "vpr.data.cells.read", "photos": {**photos, "side": "database"}, **places}
        cfg.dataset = OmegaConf.create({"train": {"gardens_point": reader}})
    return cfg


def measure(
    root: Path, words: Sequence[str], seeds: Sequence[int], sets: Sequence[RetrievalSet]
) -> dict[tuple[str, int | str], dict[str, Evaluation]]:
    """Cluster, describe each photo once with all aggregators, and score each: {(name, seed): {protocol id: result}}."""
    cfg = cluster_config(root, words)
    describer = build_describer(plain(cfg.backbone), GEM, plain(cfg.image))
    aggregators: dict[tuple[str, int | str], nn.Module] = {("GeM", "-"): describer.aggregator}
    for seed in seeds:
        path = make_clusters(cluster_config(root, words, seed))
        torch.manual_seed(seed)
        for name, start in ((RANDOM, {"allow_random_init": True}), (CLUSTERED, {"centroids": str(path)})):
            aggregators[name, seed] = NetVLAD(describer.backbone.spec, cfg.clusters, **start)
    describer.aggregator = SideBySide(aggregators.values())
    photos = list(dict.fromkeys(photo for dataset in sets for photo in (*dataset.database, *dataset.queries)))
    described = np.empty((len(photos), describer.dim), np.float16)
    bad = extract(Extractor(describer.eval(), "cpu"), image_loader(photos, describer.preprocess, 8, 1), described)
    assert not bad, bad
    row = {photo: number for number, photo in enumerate(photos)}
    ends = np.cumsum([aggregator.dim for aggregator in aggregators.values()])[:-1]
    results = {}
    for key, descriptors in zip(aggregators, np.split(described, ends, axis=1), strict=True):
        sides = (([row[photo] for photo in side] for side in (dataset.database, dataset.queries)) for dataset in sets)
        scored = [score(descriptors[a], descriptors[b], dataset) for (a, b), dataset in zip(sides, sets, strict=True)]
        results[key] = {result.protocol: result for result in scored}
    return results


class SideBySide(nn.Module):
    """The descriptors of several aggregators, one after another."""

    def __init__(self, aggregators: Iterable[nn.Module]) -> None:
        super().__init__()
        self.all = nn.ModuleList(aggregators)
        self.dim = sum(int(aggregator.dim) for aggregator in self.all)

    def forward(self, features: Features) -> Tensor:
        return torch.cat([aggregator(features) for aggregator in self.all], dim=1)


def gain(before: Evaluation, after: Evaluation) -> str:
    """Say what is gained in R@1, in points, and its interval."""
    first, second = (result.hits[result.counted, 0] for result in (before, after))
    low, high = (100 * bound for bound in paired_interval(first, second))
    return f"{100 * (second.mean() - first.mean()):+.1f} [{low:+.1f}, {high:+.1f}]"


if __name__ == "__main__":
    main()
