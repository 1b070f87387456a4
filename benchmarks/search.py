"""Streamed exact search against faiss.IndexFlatIP: time, peak memory, and whether the neighbours are the same.

    python benchmarks/search.py            83,952 x 8,280 x 4,096, three pairs (Pitts250k test with MixVPR): minutes
    python benchmarks/search.py --small    the same in seconds; its ratios mean little

Each variant runs in a process of its own, the two in turn, on the same file of random unit vectors (float16). Times
start after the imports. `flat`: the values are read and turned to float32 outside the clock, then `add` and `search`
are timed. `ours`: `vpr.retrieval.search.search` on the mapped file, reading and conversion inside the clock.
Memory: peak resident set of the process (VmHWM of Linux) minus the resident set after the imports. Pages of the file
that are touched through a map count; pages that the kernel keeps of files which were read do not.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

FULL, SMALL = (83_952, 8_280, 4_096), (20_000, 2_000, 512)
K = 20


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--small", action="store_true")
    options.add_argument("--pairs", type=int, default=3)
    options.add_argument("--folder", help="where the file is written (default: a temporary folder, removed afterwards)")
    options.add_argument("--worker", choices=["ours", "flat"], help=argparse.SUPPRESS)
    options.add_argument("--counts", type=int, nargs=2, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.worker:
        print(json.dumps(worker(chosen.worker, Path(chosen.folder), *chosen.counts)))
        return
    with tempfile.TemporaryDirectory(prefix="vpr-", dir=chosen.folder) as folder:
        compare(Path(folder), *(SMALL if chosen.small else FULL), pairs=chosen.pairs)


def compare(folder: Path, database: int, queries: int, width: int, pairs: int) -> None:
    """Make the file, run the pairs, print the figures."""
    print(f"{database:,} database rows x {queries:,} queries x {width:,}, k = {K}, float16 on disk", flush=True)
    draw(folder / "descriptors.npy", database + queries, width)
    ratios = []
    for pair in range(pairs):
        order = ("flat", "ours") if pair % 2 == 0 else ("ours", "flat")
        measured = {name: start(name, folder, database, queries) for name in order}
        ratios.append(measured["ours"]["seconds"] / measured["flat"]["seconds"])
        print(f"pair {pair + 1}", end="  ")
        for name in ("flat", "ours"):
            print(
                f"{name}  {measured[name]['seconds']:7.2f} s  peak {measured[name]['gigabytes']:.2f} GB",
                end="  ",
            )
        print(f"ratio {ratios[-1]:.3f}", flush=True)
        print(f"        {same(folder)}", flush=True)
    print(f"median ratio of times {statistics.median(ratios):.3f}")


def draw(path: Path, rows: int, width: int) -> None:
    """Write random unit vectors."""
    rng = np.random.default_rng(0)
    file = np.lib.format.open_memmap(path, "w+", np.float16, (rows, width))
    for low in range(0, rows, 4096):
        part = rng.standard_normal((min(4096, rows - low), width), np.float32)
        file[low : low + len(part)] = part / np.linalg.norm(part, axis=1, keepdims=True)


def start(name: str, folder: Path, database: int, queries: int) -> dict[str, float]:
    """Run one variant in a process of its own."""
    arguments = ["--worker", name, "--folder", str(folder), "--counts", str(database), str(queries)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def worker(name: str, folder: Path, database: int, queries: int) -> dict[str, float]:
    """Search once; write the neighbours; tell seconds and gigabytes."""
    import faiss

    from vpr.retrieval.search import Neighbours, search

    before = resident("VmRSS")
    values = np.load(folder / "descriptors.npy", mmap_mode="r")
    if name == "ours":
        began = time.perf_counter()
        neighbours = search(values[:database], values[database:], K)
        seconds = time.perf_counter() - began
    else:
        vectors, query_vectors = values[:database].astype(np.float32), values[database:].astype(np.float32)
        index = faiss.IndexFlatIP(values.shape[1])
        began = time.perf_counter()
        index.add(vectors)
        neighbours = Neighbours(*index.search(query_vectors, K))
        seconds = time.perf_counter() - began
    peak = resident("VmHWM")
    np.savez(folder / f"{name}.npz", **neighbours._asdict())
    return {"seconds": seconds, "gigabytes": (peak - before) / 1e9}


def resident(field: str) -> int:
    """Bytes of this process in memory: now (VmRSS), or the most so far (VmHWM), which unlike getrusage's forgets the
    process that started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def same(folder: Path) -> str:
    """Compare the neighbours of both; equally similar rows, which faiss leaves in no certain order, by row number."""
    flat, ours = (np.load(folder / f"{name}.npz") for name in ("flat", "ours"))
    order = np.lexsort((flat["indices"], -flat["similarities"]), axis=1)
    indices = np.take_along_axis(flat["indices"], order, axis=1)
    equal = (indices == ours["indices"]) & (flat["similarities"] == ours["similarities"])
    ties = int((np.diff(flat["similarities"], axis=1) == 0).sum())
    return (
        f"{equal.sum():,} of {equal.size:,} neighbours identical (rank, row and similarity); {ties} ties in the lists"
    )


if __name__ == "__main__":
    main()
