"""Speed of a network and of its files: CPU time of one thread, one image, all in turn so that they share the noise."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from vpr.export.graph import INPUT
from vpr.export.parity import session
from vpr.models.describer import Describer

EAGER = "eager"


def cpu_ms(runs: Mapping[str, Callable[[], object]], repeats: int = 20, warm_up: int = 3) -> dict[str, float]:
    """Return the median CPU time in milliseconds of each function, called in turn, torch with one thread.

    The CPU time of the calling thread counts: on a busy machine wall time says little.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            for _ in range(warm_up + repeats):
                for name, run in runs.items():
                    began = time.thread_time()
                    run()
                    times[name].append(time.thread_time() - began)
    finally:
        torch.set_num_threads(threads)
    return {name: round(1000 * statistics.median(taken[warm_up:]), 3) for name, taken in times.items()}


def runner(file: Path | bytes, pixels: np.ndarray) -> Callable[[], object]:
    """Return a function that describes pixels (N, 3, H, W) uint8 by a file, with one thread."""
    opened = session(file)
    return lambda: opened.run(None, {INPUT: pixels})


def measure(network: Describer, files: Mapping[str, Path | bytes], repeats: int = 20) -> dict[str, float]:
    """Return the CPU milliseconds an image, pixels to descriptor, of the network (`eager`) and of each file."""
    size = network.preprocess.size
    images = torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    runs: dict[str, Callable[[], object]] = {EAGER: lambda: network(network.normalise(images))}
    return cpu_ms(runs | {name: runner(file, images.numpy()) for name, file in files.items()}, repeats)
