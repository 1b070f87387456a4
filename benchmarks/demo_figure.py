"""The demo's figures beside those that the README announces.

python benchmarks/demo_figure.py [--runs runs] [--require]     after `make demo`; --require: not below what is announced

docs/demo.json holds what was measured for the README: R@1 of three seeds, in per cent, after and before training.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from statistics import mean, stdev

ANNOUNCED = Path(__file__).parents[1] / "docs" / "demo.json"
LEAST_GAIN = 30.0  # points of R@1 over the untrained model


def announced() -> tuple[str, float, float, float]:
    """Return the protocol id, and mean, lower and upper bound (three deviations of the seeds) of R@1 in per cent."""
    content = json.loads(ANNOUNCED.read_text())
    scores = content["after"]
    return content["protocol"], mean(scores), mean(scores) - 3 * stdev(scores), mean(scores) + 3 * stdev(scores)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--require", action="store_true")
    args = parser.parse_args()
    protocol, middle, low, high = announced()
    measured = json.loads((args.runs / "demo" / "evaluation" / "metrics.json").read_text())["sets"][protocol]
    row = json.loads((args.runs / "demo" / "summary.json").read_text())["sets"][protocol]
    after = 100 * measured["recalls"]["R@1"]
    before = 100 * row["before"]["R@1"]
    print(f"R@1 on {protocol}: {after:.1f} %, {after - before:+.1f} points over the untrained model ({before:.1f} %).")
    print(f"README: {middle:.1f} % ({low:.1f} to {high:.1f} %).")
    if args.require and (after < low or after - before < LEAST_GAIN):
        sys.exit(f"Too low: at least {low:.1f} % and {LEAST_GAIN:+.0f} points were announced.")


if __name__ == "__main__":
    main()
