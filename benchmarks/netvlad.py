"""NetVLAD as two matrix products against the loop over clusters: time and memory of a training step on the CPU.

    python benchmarks/netvlad.py           VGG16 at 480x640: 8 maps of 512 channels x 30 x 40 cells, 64 clusters
    python benchmarks/netvlad.py --small   2 maps of 64 channels x 8 x 8 cells; its ratios mean little

`loop` is the layer in common use: for one cluster after the other the residuals of all cells are made, weighted and
summed. `ours` is `vpr.models.aggregators.netvlad.NetVLAD`. Both have the same values, and must give the same
descriptors and gradients. Forward and backward pass, the gradient of the map included.

Each variant runs in a process of its own, the two in turn. Memory: peak resident set (VmHWM of Linux) over the first
step minus the resident set after imports and inputs. Time: processor seconds of a step, all threads together, which a
busy machine hardly stretches; median of the steps after the first.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from vpr.models.aggregators.netvlad import NetVLAD

FULL, SMALL = (8, 512, 30, 40, 64), (2, 64, 8, 8, 8)  # batch, channels, height, width, clusters
BARS = {"seconds": 5, "megabytes": 5}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--small", action="store_true")
    options.add_argument("--pairs", type=int, default=3)
    options.add_argument("--steps", type=int, default=3, help="timed steps of each process")
    options.add_argument("--threads", type=int, default=1, help="of torch")
    options.add_argument("--worker", choices=list(STEPS), help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.worker:
        torch.set_num_threads(chosen.threads)
        print(json.dumps(worker(STEPS[chosen.worker], SMALL if chosen.small else FULL, chosen.steps)))
        return
    batch, channels, height, width, clusters = SMALL if chosen.small else FULL
    print(f"{batch} maps of {channels} x {height} x {width}, {clusters} clusters, {chosen.threads} threads", flush=True)
    ratios = [compare(pair) for pair in range(chosen.pairs)]
    for what, bar in BARS.items():
        values = [ratio[what] for ratio in ratios]
        middle = statistics.median(values)
        print(f"{what}: loop / ours {min(values):.1f} to {max(values):.1f}, in median {middle:.1f}, bar {bar}")


def compare(pair: int) -> dict[str, float]:
    """Run both variants, print what they took, and return the ratios."""
    measured = {name: start(name) for name in (list(STEPS) if pair % 2 == 0 else list(STEPS)[::-1])}
    for key in ("descriptors", "gradient of the map", "gradient of the weights", "gradient of the centroids"):
        one, two = (torch.tensor(measured[name]["check"][key]) for name in STEPS)
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-3 * float(one.abs().max()))
    print(f"pair {pair + 1}", end="")
    for name, figures in measured.items():
        print(f"   {name} {figures['seconds']:.3f} s, {figures['megabytes']:,.0f} MB", end="")
    print(flush=True)
    return {what: measured["loop"][what] / measured["ours"][what] for what in BARS}


def start(name: str) -> dict:
    command = [sys.executable, __file__, "--worker", name, *sys.argv[1:]]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    return json.loads(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


def worker(forward, sizes: tuple[int, ...], steps: int) -> dict:
    """Return seconds of a step, megabytes that the first one added, and some values to compare."""
    from vpr.models.aggregators.netvlad import NetVLAD
    from vpr.types import FeatureSpec

    batch, channels, height, width, clusters = sizes
    torch.manual_seed(0)
    net = NetVLAD(FeatureSpec(channels, 16), clusters, allow_random_init=True)
    with torch.no_grad():
        net.conv.weight.copy_(30 * net.centroids[:, :, None, None])
    features = torch.randn(batch, channels, height, width, requires_grad=True)
    towards = torch.randn(batch, clusters * channels)

    def step() -> tuple[Tensor, ...]:
        descriptors = forward(net, features)
        return descriptors, *torch.autograd.grad(
            (descriptors * towards).sum(), [features, net.conv.weight, net.centroids]
        )

    before, _ = memory()
    gradients = step()
    megabytes = memory()[1] - before
    names = ("descriptors", "gradient of the map", "gradient of the weights", "gradient of the centroids")
    check = {
        name: value.flatten()[:: max(1, value.numel() // 500)].tolist()
        for name, value in zip(names, gradients, strict=True)
    }
    del gradients
    times = []
    for _ in range(steps):
        began = time.process_time()
        step()
        times.append(time.process_time() - began)
    return {"seconds": statistics.median(times), "megabytes": megabytes, "check": check}


def ours(net: NetVLAD, features: Tensor) -> Tensor:
    from vpr.types import Features

    return net(Features(features))


def loop(net: NetVLAD, features: Tensor) -> Tensor:
    batch, channels = features.shape[:2]
    features = F.normalize(features, dim=1)
    shares = F.softmax(net.conv(features).flatten(2), dim=1)
    cells = features.flatten(2)
    vlad = torch.zeros(batch, len(net.centroids), channels)
    for cluster, centre in enumerate(net.centroids):
        residuals = cells - centre[None, :, None]
        vlad[:, cluster] = (residuals * shares[:, cluster, None]).sum(dim=-1)
    return F.normalize(F.normalize(vlad, dim=2).flatten(1), dim=1)


STEPS = {"loop": loop, "ours": ours}


def memory() -> tuple[float, float]:
    """Return (resident, peak resident) of this process in MB (10^6 bytes)."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    resident, peak = (int(status[key].split()[0]) * 1024 / 1e6 for key in ("VmRSS", "VmHWM"))
    return resident, peak


if __name__ == "__main__":
    main()
