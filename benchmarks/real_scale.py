"""Evaluation at the size of real sets: seconds and memory, with the published ground truth and random descriptors.

    python benchmarks/real_scale.py --mats DIR     DIR holds NetVLAD's .mat files; no image is needed

Each line is a process of its own. A set: its .mat is read, positives and panoramas are found, and random unit vectors
(512 numbers, float16, in a mapped file as evaluation leaves them) are scored as evaluate.py does. `2.8 M positions`:
positives within 25 m of 1,000 queries, for positions strewn over an area as dense as SF-XL's, 12 at a time.
`2.8 M names`: the same from the names of SF-XL's images, as `vpr.data.formats.utm_folder` reads them from a folder.
Seconds start after the imports; making the random vectors lies outside the clock. `CPU`: the time that all cores
together worked for it; with far less than seconds times cores, others used the machine. Memory: peak resident set of
the process (VmHWM of Linux) minus the resident set after the imports.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

WIDTH = 512
POSITIONS, QUERIES, CUTS, SIDE = 2_800_000, 1000, 12, 13_000.0  # 170 km2
SETS = ("pitts250k", "tokyo247", "tokyo_tm_val")  # of conf/dataset
WHOLE_TOKYO_TM = "tokyoTM_val.mat as it is"
NAMES = "2.8 M names"
BAR_SECONDS = {"2.8 M positions": 5.0, NAMES: 120.0}
GIGABYTE, BAR_OF_SETS = 1.0, 20.0
BAR_GIGABYTES = {NAMES: 2.0}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--mats", type=Path, required=True, help="folder with pitts250k_test.mat, tokyo247.mat ...")
    options.add_argument("--worker", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.worker:
        work = names if chosen.worker == NAMES else positions if chosen.worker in BAR_SECONDS else evaluation
        print(json.dumps(work(chosen.worker, chosen.mats)))
        return
    missed = False
    for name in (*SETS, WHOLE_TOKYO_TM, *BAR_SECONDS):
        figures = start(name, chosen.mats)
        bar, space = BAR_SECONDS.get(name, BAR_OF_SETS), BAR_GIGABYTES.get(name, GIGABYTE)
        met = figures["seconds"] < bar and figures["gigabytes"] < space
        missed |= not met
        print(
            f"{name:<26} {figures['seconds']:6.2f} s of {bar:2.0f} (CPU {figures['cpu']:5.2f})  "
            f"{figures['gigabytes']:5.2f} GB of {space:.0f}  "
            f"{'met' if met else 'MISSED'}  {figures['what']}",
            flush=True,
        )
    sys.exit(missed)


def start(name: str, mats: Path) -> dict[str, Any]:
    """Run one line in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, __file__, "--worker", name, "--mats", str(mats)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def evaluation(name: str, mats: Path) -> dict[str, Any]:
    """Score random descriptors of one set; tell seconds, gigabytes and what came out."""
    from hydra.utils import instantiate

    from vpr.cli.compose import compose
    from vpr.data.formats import (
        dbstruct,
        tokyo_tm,  # noqa: F401  imports stay outside the clock
    )
    from vpr.retrieval.scoring import score
    from vpr.types import Protocol

    def read() -> Any:
        if name == WHOLE_TOKYO_TM:
            return dbstruct.read(mats, "tokyoTM_val.mat", Protocol("tokyoTM-val@25m", 49_056, 7_186), missing="ignore")
        return instantiate(cfg.dataset.eval[name], _convert_="all")

    if name != WHOLE_TOKYO_TM:
        where = f"dataset.eval.{name}"
        cfg = compose("evaluate", [f"dataset={name}", f"{where}.root={mats}", f"{where}.missing=ignore", "ckpt=none"])
    base = resident("VmRSS")
    reading = Clock()
    retrieval_set = read()
    reading.stop()
    split, total = len(retrieval_set.database), len(retrieval_set.database) + len(retrieval_set.queries)
    with tempfile.TemporaryDirectory(prefix="vpr-") as folder:
        path = Path(folder) / "descriptors.npy"
        subprocess.run([sys.executable, "-c", DRAW, str(path), str(total), str(WIDTH)], check=True)
        scoring = Clock()
        values = np.load(path, mmap_mode="r")
        result = score(values[:split], values[split:], retrieval_set)
        scoring.stop()
    recalls = "  ".join(f"{key} {100 * value:.2f}" for key, value in result.metrics().items())
    counts = f"{split:,} x {total - split:,}, {result.mean_positives:.1f} positives a query"
    return {
        "seconds": reading.wall + scoring.wall,
        "cpu": reading.cpu + scoring.cpu,
        "gigabytes": (resident("VmHWM") - base) / 1e9,
        "what": f"{result.protocol}: {counts}; reading {reading.wall:.2f} s, scoring {scoring.wall:.2f} s; {recalls}",
    }


# In a process of its own: what it takes is no part of the figures.
DRAW = """
import sys, numpy as np
path, rows, width = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rng = np.random.default_rng(0)
file = np.lib.format.open_memmap(path, "w+", np.float16, (rows, width))
for low in range(0, rows, 4096):
    part = rng.standard_normal((min(4096, rows - low), width), np.float32)
    file[low : low + len(part)] = part / np.linalg.norm(part, axis=1, keepdims=True)
file.flush()
"""


def positions(name: str, mats: Path) -> dict[str, Any]:
    """Find the positives of 1,000 queries among 2.8 M positions; tell seconds, gigabytes and how many there are."""
    from vpr.data.retrieval_set import positives_within

    rng = np.random.default_rng(0)
    panoramas = rng.uniform(0, SIDE, (-(-POSITIONS // CUTS), 2))
    database = np.repeat(panoramas, CUTS, axis=0)[:POSITIONS]
    queries = rng.uniform(0, SIDE, (QUERIES, 2))
    base = resident("VmRSS")
    clock = Clock()
    rows = positives_within(database, queries, 25.0)
    clock.stop()
    gigabytes = (resident("VmHWM") - base) / 1e9
    mean = sum(map(len, rows)) / QUERIES
    what = f"{mean:.1f} positives a query"
    return {"seconds": clock.wall, "cpu": clock.cpu, "gigabytes": gigabytes, "what": what}


def names(name: str, mats: Path) -> dict[str, Any]:
    """Read a folder of 2.8 M images named by their positions, listed already; tell seconds, gigabytes and counts."""
    from vpr.data.formats import utm_folder
    from vpr.types import Protocol

    rng = np.random.default_rng(0)
    east, north = rng.uniform(540_000, 556_000, POSITIONS), rng.uniform(4_170_000, 4_186_000, POSITIONS)
    form = "37.{:02d}/@{:010.2f}@{:010.2f}@10@S@037.70098@-122.49646@kPnABhWJ{}@@{}@@@@2016@@.jpg".format
    listed = {
        "database": [form(i % 12, e, n, i, i % 360) for i, (e, n) in enumerate(zip(east, north, strict=True))],
        "queries": [form(0, e, n, i, 0) for i, (e, n) in enumerate(zip(east[:QUERIES], north[:QUERIES], strict=True))],
    }
    with tempfile.TemporaryDirectory(prefix="vpr-") as folder:
        for side in listed:
            (Path(folder) / side).mkdir()
        utm_folder.walk_images = lambda folder: listed.pop(folder.name)  # type: ignore[assignment]
        base = resident("VmRSS")
        clock = Clock()
        retrieval_set = utm_folder.read(folder, Protocol("big@25m", POSITIONS, QUERIES))
        clock.stop()
    gigabytes = (resident("VmHWM") - base) / 1e9
    what = f"{sum(map(len, retrieval_set.positives)) / QUERIES:.1f} positives a query"
    return {"seconds": clock.wall, "cpu": clock.cpu, "gigabytes": gigabytes, "what": what}


class Clock:
    """Seconds on the wall and of this process' cores, from when it is made until it is stopped."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        self.wall, self.cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu


def resident(field: str) -> int:
    """Bytes of this process in memory: now (VmRSS), or the most so far (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


if __name__ == "__main__":
    main()
