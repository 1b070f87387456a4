"""Re-ranking by local features (rerank=local): R@1 before and after, with paired intervals, and milliseconds a query.

python benchmarks/local_features.py --data DIR CKPT ... [--sets gardens_point gardens_point_day sped_thumbs toycity]
                                                          (DIR holds gardens_point, sped_thumbs and toycity)

The intervals are 95 %, of a bootstrap over the queries; the time is that of the search with all that it compares, on
the threads of this machine.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from hydra.utils import instantiate

from vpr.catalog.resolve import evaluation_sets
from vpr.cli.compose import compose
from vpr.retrieval.evaluate import EvalOptions, evaluate
from vpr.retrieval.extractor import Extractor
from vpr.retrieval.metrics import paired_interval

SETS = ("gardens_point_day", "gardens_point", "sped_thumbs", "toycity")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ckpt", nargs="+", help="NAME=PATH")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--set", dest="settings", nargs="+", default=[], help="rerank.k=50 ...")
    args = parser.parse_args()
    words = ["ckpt=x", f"paths.data={args.data}", f"dataset=[{','.join(args.sets)}]", "rerank=local", *args.settings]
    cfg = compose("evaluate", words)
    sets = evaluation_sets(cfg.dataset)
    print("| protocol | model | R@1 | re-ranked | gain [95 %] | right among the compared | ms a query |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for given in args.ckpt:
        name, _, path = given.rpartition("=")
        extractor, rerank = Extractor.load(path, "cpu"), instantiate(cfg.rerank)
        for retrieval_set in sets.values():
            options = EvalOptions(ks=[1, 5, 10, rerank.k], progress=False)
            before = evaluate(extractor, retrieval_set, rerank=rerank, options=options)
            after = before.reranked
            assert after is not None
            first, second = (result.hits[result.counted, 0] for result in (before, after))
            low, high = paired_interval(first, second)
            gain = f"{100 * (after.recalls[1] - before.recalls[1]):+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
            recalls = f"{100 * before.recalls[1]:.1f} | {100 * after.recalls[1]:.1f} | {gain}"
            print(
                f"| {before.protocol} | {name or Path(path).parent.name} | {recalls} "
                f"| {100 * before.recalls[rerank.k]:.1f} | {after.ms_per_query:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
