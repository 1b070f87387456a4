"""Two processes with parts of a batch give the terms and the gradients of one process with all of it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor, nn

from tests.processes import spawn
from vpr.distill.bank import BankSampler
from vpr.distill.cached_teacher import CachedTeacher
from vpr.distill.distiller import Distiller
from vpr.distill.teacher import Shape, Teacher
from vpr.distill.terms.descriptor import Descriptor
from vpr.distill.terms.rank import Rank
from vpr.distill.terms.similarity import Similarity
from vpr.models.describer import build_describer
from vpr.types import PlaceBatch

CONF = Path(__file__).parents[2] / "conf" / "distillation"
NAMES = sorted(path.stem for path in CONF.glob("*.yaml") if path.stem != "none")
RESNET = {"_target_": "vpr.models.backbones.resnet.ResNet", "name": "resnet18", "weights": "none", "crop": [3, 4]}
GEM = {"_target_": "vpr.models.aggregators.gem.GeM"}
MIXVPR = {"_target_": "vpr.models.aggregators.mixvpr.MixVPR", "out_channels": 16, "out_rows": 2, "mix_depth": 1}


class Step(nn.Module):
    """Images to terms, with BatchNorm in eval mode: its batch statistics are those of a rank."""

    names = NAMES

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        teacher = build_describer(RESNET, GEM, {"size": [64, 64]})
        self.describer = build_describer(RESNET, MIXVPR, {"size": [64, 64]}).eval()
        terms = {n: v for name in NAMES for n, v in instantiate(OmegaConf.load(CONF / f"{name}.yaml").terms).items()}
        self.distiller = Distiller(terms, [Teacher(teacher, "teacher")])
        self.distiller.connect(Shape(self.describer.dim, 128, "student"))

    def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        features = self.describer.features(self.describer.normalise(images))
        return self.distiller(features, self.describer.aggregator(features), PlaceBatch(images, labels))


def batch(places: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (places * 2, 3, 64, 64), generator=generator, dtype=torch.uint8)
    return images, torch.arange(places).repeat_interleave(2)


class BankStep(nn.Module):
    """Images to the terms that look at a bank, by a teacher whose descriptors are cached."""

    names = ("similarity", "rank", "descriptor")

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.describer = build_describer(RESNET, MIXVPR, {"size": [64, 64]}).eval()
        teacher = CachedTeacher(Teacher(build_describer(RESNET, GEM, {"size": [64, 64]}), "teacher", digest="its own"))
        teacher.rows, teacher.network = np.random.default_rng(0).normal(size=(40, 128)).astype(np.float16), None
        terms = {"similarity": Similarity(), "rank": Rank(), "descriptor": Descriptor(contrast=1.0)}
        self.distiller = Distiller(terms, [teacher], bank=BankSampler(20))
        self.distiller.connect(Shape(self.describer.dim, 128, "student"))

    def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        features = self.describer.features(self.describer.normalise(images))
        numbers = images[:, 0, 0, 0].numpy() % 40  # the same image has the same number on any rank
        batch = PlaceBatch(images, labels, numbers=numbers.astype(np.int64))
        return self.distiller(features, self.describer.aggregator(features), batch)


def run(step: nn.Module, images: Tensor, labels: Tensor) -> dict[str, tuple[float, dict[str, Tensor]]]:
    """Return value and gradients of each term."""
    found = {}
    for name in getattr(step, "module", step).names:
        step.zero_grad()
        values = step(images, labels)
        # The others count nothing, but all parameters are used, as DistributedDataParallel asks.
        sum(value * (key == name) for key, value in values.items()).backward()
        gradients = {key.removeprefix("module."): p.grad.clone() for key, p in step.named_parameters()}
        found[name] = values[name].item(), gradients
    return found


def rank_main(rank: int, port: int, kind: type[nn.Module], places: int, first: int, out: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    images, labels = batch(places)
    mine = slice(0, 2 * first) if rank == 0 else slice(2 * first, None)
    torch.save(run(nn.parallel.DistributedDataParallel(kind()), images[mine], labels[mine]), f"{out}/{rank}.pt")
    dist.destroy_process_group()


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "places", "first"), [(Step, 4, 2), (Step, 5, 3), (BankStep, 5, 3)], ids=["even", "uneven", "bank"]
)
def test_two_ranks_equal_one_process(tmp_path: Path, kind: type[nn.Module], places: int, first: int):
    spawn(rank_main, (free_port(), kind, places, first, str(tmp_path)), nprocs=2)
    alone = run(kind(), *batch(places))
    for rank in range(2):
        together = torch.load(tmp_path / f"{rank}.pt")
        for name, (value, gradients) in alone.items():
            assert value > 0, name
            assert together[name][0] == pytest.approx(value, rel=1e-4), name
            whole = torch.cat([g.flatten() for g in gradients.values()])
            parts = torch.cat([together[name][1][key].flatten() for key in gradients])
            assert whole.norm() > 0
            assert (parts - whole).norm() / whole.norm() < 1e-4, name
