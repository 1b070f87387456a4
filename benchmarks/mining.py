"""Mining on a drawn training set: time and peak memory of tuples, and of k-reciprocal distances.

    python benchmarks/mining.py                     100,000 gallery photos x 8,000 queries, 512 numbers each, float16
    python benchmarks/mining.py --only reciprocal   20,000 x 8,000: lists and weights, distances of 1,000 queries
    python benchmarks/mining.py --small             the same in seconds

Each part runs in a process of its own, on files of drawn descriptors: photos of a place are alike, and places of a
district more than others. Times start after the imports. Memory: peak resident set of the process (VmHWM of Linux)
minus the resident set before. CPU time, over all threads, is what a busy machine stretches little. Say
OMP_NUM_THREADS=2 for two cores.
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

import numpy as np

WIDTH, VIEWS, DISTRICT = 512, 10, 50  # numbers; gallery photos of a place; places that look alike
SIZES = {
    "tuples": (100_000, 8_000, 1_000),
    "reciprocal": (20_000, 8_000, 1_000),
}  # database, queries, of which mined for


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--small", action="store_true", help="a tenth of each number")
    options.add_argument("--only", choices=list(SIZES))
    options.add_argument("--worker", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    for part in [chosen.only] if chosen.only else list(SIZES):
        sizes = [number // (10 if chosen.small else 1) for number in SIZES[part]]
        if chosen.worker:
            print(json.dumps(WORKERS[part](Path(chosen.worker), *sizes)))
            continue
        with tempfile.TemporaryDirectory(prefix="vpr-") as folder:
            draw(Path(folder), *sizes[:2])
            figures = start(part, folder, chosen.small)
        print(f"{part}: {sizes[0]:,} gallery photos, {sizes[1]:,} queries, {sizes[2]:,} of them asked for, {WIDTH}-d")
        print("  " + ", ".join(f"{name} {value:.2f}" for name, value in figures.items()), flush=True)


def draw(folder: Path, gallery: int, queries: int) -> None:
    """Write unit vectors, `VIEWS` of each place in the gallery."""
    rng = np.random.default_rng(0)
    places = rng.standard_normal((gallery // VIEWS, WIDTH), np.float32)
    places += rng.standard_normal((len(places) // DISTRICT + 1, WIDTH), np.float32)[np.arange(len(places)) // DISTRICT]
    of_queries = rng.integers(0, len(places), queries)
    np.save(folder / "places.npy", of_queries)
    for name, of in (("gallery", np.arange(gallery) // VIEWS), ("queries", of_queries)):
        file = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.float16, (len(of), WIDTH))
        for low in range(0, len(of), 4096):
            part = places[of[low : low + 4096]]
            part = part + rng.standard_normal(part.shape, np.float32)
            file[low : low + len(part)] = part / np.linalg.norm(part, axis=1, keepdims=True)


def start(part: str, folder: str, small: bool) -> dict[str, float]:
    """Run one part in a process of its own."""
    command = [sys.executable, __file__, "--only", part, "--worker", folder, *(["--small"] if small else [])]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def tuples(folder: Path, gallery: int, queries: int, count: int) -> dict[str, float]:
    """Mine two times, the second one with the negatives of the first."""
    from vpr.retrieval.mining import Mining, mine

    before, (photos, query_descriptors, positives) = resident("VmRSS"), read(folder, count)
    near = [np.arange(max(rows[0] - 40, 0), min(rows[-1] + 41, gallery)) for rows in positives]
    rng, mining, seconds, earlier = np.random.default_rng(0), Mining(10, 1000, 3), [], None
    spent = time.process_time()
    for _ in range(2):
        began = time.perf_counter()
        mined = mine(query_descriptors[:count], photos, positives, near, mining, rng, earlier)
        seconds.append(time.perf_counter() - began)
        earlier = list(mined.negatives)
    spent, added = time.process_time() - spent, (resident("VmHWM") - before) / 1e9
    return {"first s": seconds[0], "second s": seconds[1], "CPU s of both": spent, "GB added": added}


def reciprocal(folder: Path, gallery: int, queries: int, count: int) -> dict[str, float]:
    """Make the lists and weights of all photos, then the distances of some queries to their positives."""
    from vpr.retrieval.kreciprocal import KReciprocal, jaccard

    before, (photos, query_descriptors, positives) = resident("VmRSS"), read(folder, count)
    began, spent = time.perf_counter(), time.process_time()
    distances = jaccard(query_descriptors, photos, KReciprocal(20, 1, 0.1))
    made = time.perf_counter()
    distances.take(np.arange(count))(np.repeat(np.arange(count), VIEWS), np.concatenate(positives))
    seconds = {
        "lists and weights s": made - began,
        "distances s": time.perf_counter() - made,
        "CPU s": time.process_time() - spent,
    }
    held = len(distances.weights.data) + len(distances.holders.data)
    return {**seconds, "GB added": (resident("VmHWM") - before) / 1e9, "weights a photo": held / (gallery + queries)}


def read(folder: Path, count: int) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    gallery, queries = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("gallery", "queries"))
    places = np.load(folder / "places.npy")[:count]
    return gallery, queries, [np.arange(VIEWS * place, VIEWS * (place + 1)) for place in places]


def resident(field: str) -> int:
    """Bytes of this process in memory: now (VmRSS), or the most so far (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


WORKERS = {"tuples": tuples, "reciprocal": reciprocal}

if __name__ == "__main__":
    main()
