"""PCA of descriptors as `evaluate.py pca.dim=4096` fits it to VGG16-NetVLAD on Pitts30k: seconds and peak memory.

    python benchmarks/pca.py             10,000 descriptors of 32,768 numbers to 4,096: many minutes on a CPU
    python benchmarks/pca.py --small     1,000 of 3,276 to 409, and the variances beside numpy's
    python benchmarks/pca.py --sizes 5000 32768 4096

Descriptors are drawn, of low rank with noise, float32 on disk as evaluate.py keeps them. Fitting and applying run in a
process of their own; times start after the imports. Memory: peak resident set of the process (VmHWM of Linux) minus the
resident set before; it counts the pages of the file that are mapped at that time. Say OMP_NUM_THREADS=2 for two cores.
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

FULL, SMALL = (10_000, 32_768, 4096), (1000, 3276, 409)  # descriptors, their numbers, components
NOISE = 0.5  # length of it, where that of the rest is 1
COMPARED = 1000  # descriptors, up to which numpy decomposes them as well


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--small", action="store_true")
    options.add_argument("--sizes", type=int, nargs=3, metavar=("N", "D", "K"))
    options.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    rows, width, dim = chosen.sizes or (SMALL if chosen.small else FULL)
    if chosen.worker:
        print(json.dumps(work(chosen.worker, dim)))
        return
    with tempfile.TemporaryDirectory(prefix="vpr-") as folder:
        draw(Path(folder) / "descriptors.npy", rows, width, rank=dim // 2)
        command = [sys.executable, __file__, *sys.argv[1:], "--worker", f"{folder}/descriptors.npy"]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    print(f"{rows:,} descriptors of {width:,} numbers to {dim:,}, a file of {4e-9 * rows * width:.2f} GB")
    print("  " + ", ".join(f"{name} {value:.3g}" for name, value in json.loads(done.stdout.splitlines()[-1]).items()))


def draw(path: Path, rows: int, width: int, rank: int) -> None:
    """Write unit vectors: sums of `rank` directions, the later ones the weaker, and noise."""
    rng = np.random.default_rng(0)
    file = np.lib.format.open_memmap(path, "w+", np.float32, (rows, width))
    basis = rng.standard_normal((rank, width), np.float32) * np.linspace(1, 0.1, rank, dtype=np.float32)[:, None]
    for low in range(0, rows, 1024):
        part = rng.standard_normal((min(1024, rows - low), rank), np.float32) @ basis
        part /= np.linalg.norm(part, axis=1, keepdims=True)
        part += NOISE / width**0.5 * rng.standard_normal(part.shape, np.float32)
        file[low : low + len(part)] = part / np.linalg.norm(part, axis=1, keepdims=True)


def work(path: Path, dim: int) -> dict[str, float]:
    """Fit components and apply them to the same descriptors; say how far they are from orthonormal, and from numpy."""
    import torch

    from vpr.retrieval.pca import PCA
    from vpr.retrieval.search import blocks

    descriptors = np.load(path, mmap_mode="r")
    before, began, spent = resident("VmRSS"), time.perf_counter(), time.process_time()
    pca = PCA.fit(descriptors, dim)
    figures = {"fit s": time.perf_counter() - began, "fit CPU s": time.process_time() - spent}
    figures["fit GB added"] = (resident("VmHWM") - before) / 1e9
    whitening = pca.projection()
    began, spent = time.perf_counter(), time.process_time()
    for _, part in blocks(descriptors, 1024):
        whitening(torch.from_numpy(part))
    figures |= {"apply s": time.perf_counter() - began, "apply CPU s": time.process_time() - spent}
    figures["share of variance"] = float(pca.variances.sum()) / total_variance(descriptors)
    figures["U'U - I at most"] = float((pca.basis.T @ pca.basis - torch.eye(dim)).abs().max())
    if len(descriptors) <= COMPARED:
        gram = np.asarray(descriptors, np.float64) - np.mean(descriptors, 0, np.float64)
        expected = np.linalg.eigvalsh(gram @ gram.T / (len(gram) - 1))[::-1][:dim]
        figures["variances off numpy's by at most"] = float(np.abs(pca.variances.numpy() / expected - 1).max())
    return figures


def total_variance(descriptors: np.ndarray) -> float:
    columns = (descriptors[:, low : low + 1024] for low in range(0, descriptors.shape[1], 1024))
    return sum(float(part.var(0, np.float64, ddof=1).sum()) for part in columns)


def resident(field: str) -> int:
    """Bytes of this process in memory: now (VmRSS), or the most so far (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


if __name__ == "__main__":
    main()
