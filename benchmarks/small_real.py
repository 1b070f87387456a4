"""Real photos: what training adds to ImageNet features, over seeds, with paired intervals (docs/results.md).

python benchmarks/small_real.py --data DIR [--seeds 0 1 2]     (DIR holds nordland_64x32, sped_thumbs and gardens_point)

Before is the same backbone with its ImageNet weights and GeM; after is `train.py experiment=dev/small_real`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from vpr import checkpoint
from vpr.catalog.resolve import evaluation_sets
from vpr.cli.compose import compose, plain
from vpr.models.describer import build_describer
from vpr.retrieval.evaluate import EvalOptions, Evaluation, evaluate
from vpr.retrieval.extractor import Extractor
from vpr.retrieval.metrics import paired_interval
from vpr.training.run import fit

GEM = {"_target_": "vpr.models.aggregators.gem.GeM"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=Path("runs/small_real"))
    args = parser.parse_args()
    config = [f"paths.data={args.data}", f"paths.runs={args.runs}", "experiment=dev/small_real"]
    cfg = compose("train", config)
    sets = evaluation_sets(cfg.dataset)

    def measure(describer) -> dict[str, Evaluation]:
        extractor, options = Extractor(describer.eval(), "cpu"), EvalOptions(num_workers=1, progress=False)
        return {name: evaluate(extractor, retrieval_set, options=options) for name, retrieval_set in sets.items()}

    before = measure(build_describer(plain(cfg.backbone), GEM, plain(cfg.image)))
    print("| protocol | model | seed | R@1 | R@5 | R@10 | gain in R@1 [95 %] |\n|---|---|---|---|---|---|---|")
    for result in before.values():
        print(f"| {result.protocol} | ImageNet + GeM | - | {recalls(result)} | |", flush=True)
    gains: dict[str, list[float]] = {name: [] for name in sets}
    for seed in args.seeds:
        folder = args.runs / f"seed{seed}"
        if not (folder / "best.ckpt").is_file():
            fit(compose("train", [*config, f"seed={seed}", "logger=none", "trainer.eval_every=0"]), folder)
        for name, result in measure(checkpoint.load(folder / "best.ckpt")).items():
            first, second = (r.hits[r.counted, 0] for r in (before[name], result))
            low, high = paired_interval(first, second)
            gains[name].append(100 * (second.mean() - first.mean()))
            gain = f"{gains[name][-1]:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
            print(f"| {result.protocol} | trained | {seed} | {recalls(result)} | {gain} |", flush=True)
    for name, values in gains.items():
        print(f"{before[name].protocol}: mean gain {np.mean(values):+.1f} ({min(values):+.1f} to {max(values):+.1f})")


def recalls(result: Evaluation) -> str:
    """Return R@1, R@5 and R@10 in per cent, as cells of a table."""
    return " | ".join(f"{100 * result.recalls[k]:.1f}" for k in (1, 5, 10))


if __name__ == "__main__":
    main()
