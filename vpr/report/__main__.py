"""Compare runs: one page of HTML about all runs in the folders, which needs neither network nor account.

python -m vpr.report multirun/2026-01-31_12-00-00      (= make report RUNS=multirun/2026-01-31_12-00-00)
python -m vpr.report runs/a runs/b --pictures --out comparison.html
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.progress import track

from vpr import checkpoint
from vpr.errors import ends_with_a_message
from vpr.evaluation.remeasure import remeasure
from vpr.files import write_text
from vpr.models.costs import measure
from vpr.pages.screen import Screen
from vpr.report import matches
from vpr.report.gains import Gain, SeedGain
from vpr.report.runs import Run
from vpr.retrieval.evaluate import Evaluation
from vpr.retrieval.extractor import pick_device
from vpr.terminal import readable

steps = partial(track, console=Screen(stderr=True), transient=True)


def measure_costs(runs: Sequence[Run], device: str) -> None:
    """Replace the costs of each run by those of its best.ckpt on this machine."""
    for run in steps(runs, "latency"):
        describer = checkpoint.load(run.folder / "best.ckpt")
        run.summary["costs"] = measure(describer, pick_device(device)).plain()


def draw_pictures(gains: Sequence[Gain], folder: Path, device: str) -> dict[tuple[Path, Path, str], Path]:
    """Evaluate both models of each gain, of its first seed, and draw the queries that changed.

    Only sets that the runs themselves evaluated are drawn. Each checkpoint is evaluated once.

    Returns:
        {(undistilled run, distilled run, protocol id): page}
    """
    pages = {}
    evaluations: dict[Path, dict[str, Evaluation]] = {}
    for gain in steps(gains, "pictures"):
        pair = gain.seeds[0]
        results = []
        for run in (pair.plain, pair.distilled):
            if run.folder not in evaluations:
                evaluations[run.folder] = remeasure(run.folder / "best.ckpt", device)
            results.append(evaluations[run.folder].get(gain.protocol))
        before, after = results
        if before and after:
            path = folder / f"{_stem(pair, gain.protocol)}.html"
            names = ("undistilled", "distilled")
            key = (pair.plain.folder, pair.distilled.folder, gain.protocol)
            pages[key] = matches.compare(before, after, path, pair.distilled.label, names)
    return pages


def _stem(pair: SeedGain, protocol: str) -> str:
    """Return a file's name, the same whenever it is drawn again; names of runs are too long for one."""
    folders = "\n".join(str(run.folder.resolve()) for run in (pair.plain, pair.distilled))
    safe = re.sub(r"[^\w.@+-]+", "_", protocol)[:80]
    return f"{safe}_{hashlib.sha256(folders.encode()).hexdigest()[:10]}"


@ends_with_a_message
def main(argv: Sequence[str] | None = None) -> int:
    """Write the page and return 0, or 2 after an error that the user can mend."""
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
    write_page(args.folders, path, args.title, args.pictures, args.latency, args.device)
    print(readable(str(path)))
    return 0


def write_page(
    folders: Sequence[Path], path: Path, title: str | None, pictures: bool, latency: bool, device: str
) -> None:
    """Write the page, and beside it the pages of pictures."""
    from vpr.report.comparison_page import page
    from vpr.report.gains import gains
    from vpr.report.runs import find

    runs, unfinished = find(folders)
    if latency:
        measure_costs(runs, device)
    drawn = draw_pictures(gains(runs), path.parent / f"{path.stem}_pictures", device) if pictures else {}
    heading = title or " and ".join(str(folder) for folder in folders)
    write_text(path, page(heading, runs, unfinished, path, drawn))


if __name__ == "__main__":
    sys.exit(main())
