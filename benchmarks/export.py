"""Latency of exported student networks, or parity of every backbone x aggregator (docs/results.md).

python benchmarks/export.py [--sizes 224 320] [--repeats 20]   CPU time of one thread, batch 1, interleaved in one run
python benchmarks/export.py --all                              every backbone x aggregator of conf/ at tiny images

Random weights, BatchNorm settled on drawn photos. int8 is calibrated on drawn photos as well: its speed is that of a
real file, its parity is not.
"""

from __future__ import annotations

import argparse
import gc
import os
import time
from typing import Any

import torch
from omegaconf import OmegaConf

from vpr.cli.compose import CONF
from vpr.errors import ConfigError
from vpr.export import speed
from vpr.export.folder import drawn_photos, pixels_of, processor
from vpr.export.graph import deployed, to_onnx
from vpr.export.parity import check_same
from vpr.export.quantise import to_int8
from vpr.models.describer import Describer, build_describer
from vpr.types import Preprocess

GEM = {"_target_": "vpr.models.aggregators.gem.GeM"}
TIMM = "vpr.models.backbones.timm_features.TimmFeatures"
STUDENTS = ["mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "mobilenetv4_conv_small"]
STUDENTS += [
    "mobilenetv4_conv_medium",
    "tf_efficientnet_lite0",
    "repvit_m0_9",
    "efficientvit_b1",
    "resnet18",
    "fastvit_t8",
]
TEACHER = "resnet50"
SMALLEST = {"dinov2": (56, 70)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[224, 320])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--students", nargs="+", default=STUDENTS)
    parser.add_argument("--all", action="store_true")
    args = parser.parse_args()
    photos = drawn_photos(16)
    if args.all:
        matrix(photos)
        return
    print(f"{processor()}; load {os.getloadavg()[0]:.1f} at the start")
    for size in args.sizes:
        table(args.students, size, photos, args.repeats)
    print(f"load {os.getloadavg()[0]:.1f} at the end")


def table(students: list[str], size: int, photos: list[bytes], repeats: int) -> None:
    """Print a row for each student; all of them and the teacher take turns, so that they share the machine's noise."""
    networks = {name: settled(node("backbone", name), GEM, (size, size), photos) for name in (TEACHER, *students)}
    runs, rows = {}, {}
    for name, network in networks.items():
        images = torch.zeros(1, 3, size, size, dtype=torch.uint8)
        runs[name] = lambda network=network, images=images: network(network.normalise(images))
        if name == TEACHER:
            continue
        pixels = pixels_of(photos, network.preprocess)
        model = to_onnx(deployed(network))
        int8, _ = to_int8(model, pixels[:8])
        data = {"fp32": model.SerializeToString(), "int8": int8.SerializeToString()}
        compared = check_same(network, data["fp32"], pixels, 1e-5, name)
        rows[name] = (compared, {kind: len(text) / 1e6 for kind, text in data.items()})
        runs |= {f"{name} {kind}": speed.runner(text, pixels[:1]) for kind, text in data.items()}
    times = speed.cpu_ms(runs, repeats)
    print(f"\n{size}x{size}, GeM; {TEACHER} eager {times[TEACHER]:.1f} ms")
    print("| network | eager ms | fp32 ms | int8 ms | fp32 : eager | int8 : fp32 | fp32 MB | int8 MB | difference "
          f"| {TEACHER} eager : best |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, (compared, sizes) in rows.items():
        eager, fp32, int8 = times[name], times[f"{name} fp32"], times[f"{name} int8"]
        print(
            f"| {name} | {eager:.1f} | {fp32:.1f} | {int8:.1f} | {fp32 / eager:.2f} | {int8 / fp32:.2f} | "
            f"{sizes['fp32']:.2f} | {sizes['int8']:.2f} | {compared.max_difference:.0e} | "
            f"{times[TEACHER] / min(fp32, int8):.1f} |"
        )


def matrix(photos: list[bytes]) -> None:
    """Print the parity of each backbone with each aggregator at batch 1 and 4, and how many are beyond the bound."""
    faults = 0
    for backbone in names("backbone"):
        size = next((sides for start, sides in SMALLEST.items() if backbone.startswith(start)), (96, 128))
        for agg in names("agg"):
            began = time.perf_counter()
            try:
                network = settled(node("backbone", backbone), node("agg", agg), size, photos)
                data = to_onnx(deployed(network)).SerializeToString()
                line = f"{check_same(network, data, pixels_of(photos, network.preprocess), 1e-5, 'the file')}"
            except ConfigError as error:
                faults, line = faults + 1, f"FAULT: {error}"
            print(f"{backbone} + {agg}: {line} ({time.perf_counter() - began:.1f} s)", flush=True)
            gc.collect()
    print(f"{faults} beyond the bound or not exported")


def names(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def node(group: str, name: str) -> dict[str, Any]:
    """Return conf/<group>/<name>.yaml, or the node of a network of timm, with random weights and clusters."""
    file = CONF / group / f"{name}.yaml"
    plain: Any = {"_target_": TIMM, "name": name}
    if file.is_file():
        plain = OmegaConf.to_container(OmegaConf.load(file), resolve=True)
    changes = {"weights": "none"} if group == "backbone" else {}
    return plain | changes | ({"allow_random_init": True} if "allow_random_init" in plain else {})


def settled(backbone: dict[str, Any], agg: dict[str, Any], size: tuple[int, int], photos: list[bytes]) -> Describer:
    """Build a network whose BatchNorm has the statistics of 16 photos: random networks explode else."""
    torch.manual_seed(0)
    network = build_describer(backbone, agg, {"size": list(size)})
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = None
    network.train()
    with torch.no_grad():
        network(network.normalise(torch.from_numpy(pixels_of(photos, Preprocess(size)))))
    for name, statistics in network.named_buffers():
        if name.endswith("running_var"):  # channels that are all but constant would amplify rounding errors
            statistics.clamp_(min=1e-2)
    return network.eval()


if __name__ == "__main__":
    main()
