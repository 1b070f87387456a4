"""Compare runs: one page of HTML about all runs in the folders, which needs neither network nor account.

python -m vpr.report multirun/2026-01-31_12-00-00      (= make report RUNS=multirun/2026-01-31_12-00-00)
python -m vpr.report runs/a runs/b --pictures --out comparison.html
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vpr.errors import VPRError


def main(argv: Sequence[str]) -> int:
    """Write the page and return 0, or 2 for what the user can mend."""
    parser = argparse.ArgumentParser(
        "python -m vpr.report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="runs, or folders of runs")
    parser.add_argument("--out", type=Path, help="the page; default: report.html in the first folder")
    parser.add_argument("--title", help="its heading; default: the folders")
    parser.add_argument(
        "--pictures",
        action="store_true",
        help="evaluate the best.ckpt of each pair again and draw the queries that distillation fixed and broke",
    )
    parser.add_argument(
        "--latency", action="store_true", help="measure the costs of each best.ckpt again, here, one after the other"
    )
    parser.add_argument("--device", default="auto", help="auto | cpu | cuda: where --pictures and --latency compute")
    args = parser.parse_args(argv)
    path = args.out or args.folders[0] / "report.html"
    try:
        write_page(args.folders, path, args.title, args.pictures, args.latency, args.device)
    except VPRError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    print(f"{path}")
    return 0


def write_page(
    folders: Sequence[Path], path: Path, title: str | None, pictures: bool, latency: bool, device: str
) -> None:
    """Write the page, and beside it the pages of pictures."""
    # Imports torch: not for --help or a wrong argument.
    from vpr.report.again import draw_pictures, measure_costs
    from vpr.report.gains import gains
    from vpr.report.page import page
    from vpr.report.runs import find

    runs, unfinished = find(folders)
    if latency:
        measure_costs(runs, device)
    drawn = draw_pictures(gains(runs), path.parent / f"{path.stem}_pictures", device) if pictures else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    heading = title or " and ".join(str(folder) for folder in folders)
    path.write_text(page(heading, runs, unfinished, path, drawn), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
