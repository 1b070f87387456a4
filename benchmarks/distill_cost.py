"""Cost of cached targets: a training step with them against one without a teacher, and making them.

    python benchmarks/distill_cost.py            some minutes on one core
    python benchmarks/distill_cost.py --quick    smaller networks and images; its ratios are coarser

A step is `TrainingModule.training_step`, the backward pass and the optimiser's step, of a MobileNetV3-small on batches
that are in memory; the cached one reads its targets from a file of 20,000 x 2,048 numbers by random rows. Making them
is `TargetBuild.run` from JPEGs to the sealed file, without loader workers, against the teacher's forward
pass alone on the same images in memory. The variants take turns, in changing order, in one process with one thread.
Times are wall-clock; ratios are medians of the rounds' ratios, of wall-clock and of processor time, which other
processes of a busy machine disturb less.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from hydra.utils import instantiate
from loader import draw_photos
from omegaconf import OmegaConf

sys.path.insert(0, str(Path(__file__).parents[1]))

from vpr.data.image_paths import ImagePaths
from vpr.data.places import group_by_place
from vpr.data.retrieval_set import ImageDataset, collate_images
from vpr.distill.cached_teacher import CachedTeacher
from vpr.distill.descriptor_cache import DescriptorCache
from vpr.distill.distiller import Distiller
from vpr.distill.teacher import Shape, Teacher
from vpr.distill.terms.descriptor import Descriptor
from vpr.distill.terms.similarity import Similarity
from vpr.losses.objective import PlacesObjective
from vpr.models.describer import Describer, build_describer
from vpr.training.module import TrainingModule
from vpr.training.teacher_cache import TargetBuild
from vpr.types import PlaceBatch

GEM = {"_target_": "vpr.models.aggregators.gem.GeM"}
RESNET = "vpr.models.backbones.resnet.ResNet"
STUDENT = {"_target_": "vpr.models.backbones.mobilenet_v3.MobileNetV3", "name": "mobilenet_v3_small"}
CONF = Path(__file__).parents[1] / "conf"
ROWS = 20_000
PLACES, VIEWS = 16, 4


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="a ResNet-18 at 160x160, students at 96x96")
    options.add_argument("--rounds", type=int, default=15, help="how often each variant is timed")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{os.cpu_count()} cores, load before it began {load} (1, 5, 15 minutes); one thread", flush=True)
    with tempfile.TemporaryDirectory(prefix="vpr-") as folder:
        teacher = describer("resnet18", 160) if chosen.quick else describer("resnet50", 320)
        steps(Path(folder), teacher, 96 if chosen.quick else 160, chosen.rounds)
        making(Path(folder), teacher, 32 if chosen.quick else 16, chosen.rounds)


def describer(name: str, side: int) -> Describer:
    """A network with random weights."""
    torch.manual_seed(0)
    return build_describer({"_target_": RESNET, "name": name, "weights": "none"}, GEM, {"size": [side, side]}).eval()


class Quiet(TrainingModule):
    """Training without a trainer, so without its log."""

    def _log_step(self, *args: Any) -> None:
        pass


def steps(folder: Path, network: Describer, side: int, rounds: int) -> None:
    """Time a step without a teacher, with cached targets, and, a few times, with the live teacher."""
    file = DescriptorCache(folder, "targets", {}, ROWS, network.dim)
    file.begin()
    rng = np.random.default_rng(0)
    values = rng.standard_normal((ROWS, network.dim), np.float32)
    file.attach()[:] = values / np.linalg.norm(values, axis=1, keepdims=True)
    cached = CachedTeacher(Teacher(network, "teacher", digest="teacher"))
    cached.open(file)
    variants = {
        "no teacher": training(Distiller()),
        "cached, similarity": training(Distiller({"similarity": Similarity()}, [cached])),
        "cached, descriptor": training(Distiller({"descriptor": Descriptor()}, [cached])),
        "live, similarity": training(Distiller({"similarity": Similarity()}, [Teacher(network, "teacher")])),
    }
    labels = torch.arange(PLACES).repeat_interleave(VIEWS)
    images = torch.from_numpy(rng.integers(0, 256, (len(labels), 3, side, side), dtype=np.uint8))

    def on_a_batch(step: Callable[[PlaceBatch], None]) -> None:
        step(PlaceBatch(images, labels, (), rng.integers(0, ROWS, len(labels))))

    print(f"\na step: {PLACES} places x {VIEWS} views at {side}x{side}; targets of {network.dim:,} numbers")
    timed = {name: partial(on_a_batch, step) for name, step in variants.items()}
    live = "live, similarity"
    compare(timed, 2, "a step", (live,))
    del timed[live]
    compare(timed, rounds, "a step", tuple(timed))


def training(distiller: Distiller) -> Callable[[PlaceBatch], None]:
    """Return one whole step of a fresh student."""
    torch.manual_seed(0)
    student = build_describer({**STUDENT, "weights": "none"}, GEM, {"size": [96, 96]})
    distiller.connect(Shape(student.dim, student.backbone.spec.channels, "student"))
    objective = PlacesObjective(instantiate(OmegaConf.load(CONF / "loss" / "multi_similarity.yaml")))
    module = Quiet(student, objective, distiller, torch.optim.AdamW, lambda *args: None)
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=1e-4)

    def step(batch: PlaceBatch) -> None:
        optimizer.zero_grad()
        module.training_step(batch, 0).backward()
        optimizer.step()

    return step


def making(folder: Path, network: Describer, photos: int, rounds: int) -> None:
    """Time the teacher's forward pass on images in memory, and a whole build from their files."""
    (folder / "photos").mkdir()
    files = [path.name for path in draw_photos(folder / "photos", photos)]
    source = group_by_place("drawn", folder / "photos", files, [0] * len(files))
    paths = ImagePaths([source])
    teacher = Teacher(network, "teacher", digest="teacher")
    dataset = ImageDataset(paths, teacher.preprocess)
    size = 8
    batches = [
        collate_images([dataset[row] for row in range(start, min(start + size, photos))])[0]
        for start in range(0, photos, size)
    ]
    number = count()

    def forward() -> None:
        for images in batches:
            teacher(images)

    def build() -> None:
        root = folder / str(next(number))
        TargetBuild(CachedTeacher(teacher), paths, paths.digest(), root, size).run(torch.device("cpu"))

    height, width = teacher.preprocess.size
    print(f"\nmaking the targets of {photos} JPEGs of 400x300; the teacher sees {height}x{width}")
    both = {"forward alone": forward, "build": build}
    seconds = compare(both, rounds, "an image", tuple(both), photos)
    wall = statistics.median(a / b for (a, _), (b, _) in zip(*seconds.values(), strict=True))
    processor = statistics.median(a / b for (_, a), (_, b) in zip(*seconds.values(), strict=True))
    print(f"throughput of the build: {wall:.1%} of the forward pass (wall-clock), {processor:.1%} (processor time)")


def compare(
    variants: Mapping[str, Callable[[], None]], rounds: int, what: str, show: tuple[str, ...], parts: int = 1
) -> dict[str, list[tuple[float, float]]]:
    """Run the variants in turn; print each one's time and its ratio to the first; return (wall, processor) seconds."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
    for run in variants.values():
        run()
    for turn in range(rounds):
        names = list(variants)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            wall, processor = time.perf_counter(), time.process_time()
            variants[name]()
            seconds[name].append((time.perf_counter() - wall, time.process_time() - processor))
    first = seconds[next(iter(variants))]
    for name in show:
        ratios = [
            statistics.median(step[kind] / base[kind] for step, base in zip(seconds[name], first, strict=True))
            for kind in (0, 1)
        ]
        typical = 1000 * statistics.median(wall for wall, _ in seconds[name]) / parts
        print(f"{name:<20}{typical:9.1f} ms for {what}   x{ratios[0]:.3f} wall-clock   x{ratios[1]:.3f} processor time")
    return seconds


if __name__ == "__main__":
    main()
