"""The confidence of first matches: calibration error, precision against recall, and whether thresholds keep their word.

    python benchmarks/confidence.py --ckpt runs/demo/best.ckpt [--data DIR] [--out runs/confidence]
    python benchmarks/confidence.py --ckpt best.ckpt --sped DIR/sped_thumbs [--sped-ckpt small_real.ckpt ...]
    python benchmarks/confidence.py --across best.ckpt --data DIR     (a calibration of each real set on each other one)

Drawn city: 1,000 queries are learned from, and others measured: of the same city, of another city, and of another city
with a larger database. SPED thumbnails: all of them by a network with ImageNet weights, which has seen none, and those
that small_real was not trained on by its checkpoints; cross-validated. Exits with 1 where the error on other queries of
the drawn city, or of another one of its size, is above 0.05. Each row becomes a picture in --out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from vpr import checkpoint
from vpr.catalog.resolve import evaluation_sets
from vpr.cli.compose import compose, plain
from vpr.data.formats import pairs
from vpr.data.retrieval_set import RetrievalSet
from vpr.demo.reliability_plot import write_png
from vpr.models.describer import Describer, build_describer
from vpr.retrieval.calibration import (
    WIDTH,
    Calibrated,
    Calibration,
    by_chance,
    calibrate,
    calibration_error,
    counted_answers,
    interval,
    precision_recall,
)
from vpr.retrieval.evaluate import EvalOptions, Evaluation, evaluate
from vpr.retrieval.extractor import Extractor
from vpr.retrieval.search import Neighbours
from vpr.toycity.dataset import test_set
from vpr.types import Protocol

MOST, PRECISION = 0.05, 0.95
CITY, OTHER, LARGE = (1, 600, 2000), (2, 600, 1000), (3, 2000, 1000)  # seed, database, queries
LEARNED = 1000
REAL = ("sped_thumbs", "nordland_mini", "gardens_point")
HEAD = ("queries", "learned from", "model", "R@1", "error [95 %]", "by chance", "accepted, right of them", "R@100P")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    model = options.add_mutually_exclusive_group(required=True)
    model.add_argument("--ckpt", help="a model for the drawn city")
    model.add_argument("--across", metavar="CKPT", help="a model for real sets")
    options.add_argument("--data", type=Path, default=Path("data"), help="the cities are drawn below it")
    options.add_argument("--sped", type=Path, help="folder sped_thumbs")
    options.add_argument("--sped-ckpt", nargs="*", default=[], help="best.ckpt of experiment=dev/small_real")
    options.add_argument("--out", type=Path, default=Path("runs/confidence"))
    chosen = options.parse_args()
    print(f"| {' | '.join(HEAD)} | area [95 %] |\n{'|---' * (len(HEAD) + 1)}|", flush=True)
    if chosen.across:
        return across(chosen.across, chosen.data, chosen.out)
    errors = list(of_cities(chosen.ckpt, chosen.data, chosen.out))
    if chosen.sped:
        of_sped(chosen.sped, chosen.sped_ckpt, chosen.out)
    if max(errors[:2]) > MOST:
        sys.exit(f"expected calibration error above {MOST}")


def of_cities(ckpt: str, data: Path, out: Path) -> Iterator[float]:
    """Yield the calibration error on each of three sets, all by one calibration."""
    describer = checkpoint.load(ckpt)

    def measured(seed: int, database: int, queries: int) -> Evaluation:
        folder = data / f"toycity-{seed}-{database}-{queries}"
        return measure(describer, test_set(folder, seed, database, queries))

    first = measured(*CITY)
    neighbours, right = counted_answers(first)
    order = np.random.default_rng(0).permutation(len(right))
    learned, others = order[:LEARNED], order[LEARNED:]
    fitted = Calibration.fit(rows(neighbours, learned), right[learned], PRECISION)
    print(f"<!-- {fitted} -->")
    source = f"{LEARNED:,} of {first.protocol}"
    name = f"{first.protocol}, others"
    yield report(judged(fitted, name, rows(neighbours, others), right[others]), source, Path(ckpt).stem, out)
    for city in (OTHER, LARGE):
        result = measured(*city)
        yield report(judged(fitted, result.protocol, *counted_answers(result)), source, Path(ckpt).stem, out)


def judged(fitted: Calibration, name: str, neighbours: Neighbours, right: np.ndarray) -> Calibrated:
    return Calibrated(fitted, name, fitted.probability(neighbours), right)


def of_sped(root: Path, ckpts: list[str], out: Path) -> None:
    """Print a row a model, cross-validated."""
    cfg = compose("train", ["experiment=dev/small_real"])
    gem = {"_target_": "vpr.models.aggregators.gem.GeM"}
    untrained = build_describer(plain(cfg.backbone), gem, plain(cfg.image)).eval()
    held_out = sped(root, 207, {"ge": 400})
    models = [("ImageNet + GeM", untrained, sped(root, 606)), ("ImageNet + GeM", untrained, held_out)]
    models += [(f"small_real {number}", checkpoint.load(path), held_out) for number, path in enumerate(ckpts)]
    for name, describer, retrieval_set in models:
        report(calibrate(measure(describer, retrieval_set), PRECISION), "10 folds of the same", name, out)


def across(ckpt: str, data: Path, out: Path) -> None:
    """Print a row for each pair of real sets: learned from one, judged on the other."""
    cfg = compose("evaluate", ["ckpt=x", f"dataset=[{','.join(REAL)}]", f"paths.data={data}"])
    describer = checkpoint.load(ckpt)
    known = [(s.protocol.id, *counted_answers(measure(describer, s))) for s in evaluation_sets(cfg.dataset).values()]
    for (source, neighbours, right), (protocol_id, *answers) in permutations(known, 2):
        fitted = Calibration.fit(neighbours, right, PRECISION)
        report(judged(fitted, protocol_id, *answers), source, f"{Path(ckpt).stem}-{source}", out)


def sped(root: Path, count: int, ids: dict[str, int] | None = None) -> RetrievalSet:
    chosen = {"place_id": ids} if ids else {}
    protocol = Protocol(f"sped-thumbs-{count}@0f", count, count)
    sides = {"database": {"split": "database"} | chosen, "queries": {"split": "query"} | chosen}
    return pairs.read(root, protocol, **sides, tolerance=0, frame="place_id")


def measure(describer: Describer, retrieval_set: RetrievalSet) -> Evaluation:
    options = EvalOptions(ks=[1, WIDTH], num_workers=1, progress=False)
    return evaluate(Extractor(describer, "cpu"), retrieval_set, options=options)


def rows(neighbours: Neighbours, chosen: np.ndarray) -> Neighbours:
    return neighbours.of(chosen)


def report(calibrated: Calibrated, learned: str, model: str, out: Path) -> float:
    """Print a row of the table and draw its picture; return the calibration error."""
    confidence, right = calibrated.confidence, calibrated.right
    low, high = interval(calibration_error, confidence, right)
    curve = precision_recall(confidence, right)
    left, top = interval(lambda p, hit: precision_recall(p, hit).area, confidence, right)
    accepted = right[confidence >= calibrated.calibration.threshold]
    cells = [
        f"{calibrated.protocol} ({len(right):,})",
        learned,
        model,
        f"{100 * right.mean():.1f}",
        f"{calibrated.error:.3f} [{low:.3f}, {high:.3f}]",
        f"{by_chance(confidence):.3f}",
        f"{100 * len(accepted) / len(right):.1f} %, {100 * accepted.mean():.1f} %" if len(accepted) else "none",
        f"{100 * curve.recall_without_error:.1f}",
        f"{curve.area:.3f} [{left:.3f}, {top:.3f}]",
    ]
    print(f"| {' | '.join(cells)} |", flush=True)
    write_png(calibrated, out / f"{model}-{calibrated.protocol}.png".replace("/", "_").replace(" ", "_"))
    return calibrated.error


if __name__ == "__main__":
    main()
