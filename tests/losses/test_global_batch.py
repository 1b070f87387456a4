"""Two processes with halves of a batch give the loss and the gradients of one process with all of it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn

from tests.processes import spawn
from vpr.data.tuples import TupleBatch
from vpr.distill.teacher import Teacher
from vpr.distributed import gather_rows
from vpr.losses.objective import PlacesObjective
from vpr.losses.tuples import TupleLoss, sare_independent
from vpr.models.describer import Describer, build_describer
from vpr.training.generations import RegionsObjective, SoftLabels
from vpr.types import Features, PlaceBatch

LOSS = Path(__file__).parents[2] / "conf" / "loss" / "multi_similarity.yaml"
SPLITS = {"even": (4, 2), "uneven": (5, 3)}
"""Places or tuples of the whole batch, and how many of them go to the first rank."""
PARTS = {
    "backbone": {
        "_target_": "vpr.models.backbones.resnet.ResNet",
        "name": "resnet18",
        "weights": "none",
        "crop": [3, 4],
    },
    "agg": {"_target_": "vpr.models.aggregators.mixvpr.MixVPR", "out_channels": 16, "out_rows": 2, "mix_depth": 1},
    "image": {"size": [64, 64]},
}


class Step(nn.Module):
    """Images to loss, as in a training step, with BatchNorm in eval mode: its batch statistics are those of a rank."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.describer = build_describer(**PARTS).eval()
        self.objective = PlacesObjective(instantiate(OmegaConf.load(LOSS)))

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        descriptors = self.describer(self.describer.normalise(images))
        return self.objective(Features(images), descriptors, PlaceBatch(images, labels)).value


class RegionsStep(nn.Module):
    """The same of tuples (query, positive, negative, difficult positive) by regions, with an earlier one's labels."""

    def __init__(self) -> None:
        super().__init__()
        self.describer, earlier = netvlad(0), netvlad(1)
        labels = SoftLabels(Teacher(earlier, "earlier"), 3, 0.5, 0.06, 0.07)
        self.objective = RegionsObjective(TupleLoss(sare_independent), 3, labels)
        self.objective.connect(self.describer)

    def forward(self, images: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        features = self.describer.features(self.describer.normalise(images))
        batch = TupleBatch(images, torch.arange(len(images)), 4, 1, present)
        return self.objective(features, self.describer.aggregator(features), batch).value


def netvlad(seed: int) -> Describer:
    torch.manual_seed(seed)
    agg = {"_target_": "vpr.models.aggregators.netvlad.NetVLAD", "clusters": 4, "allow_random_init": True}
    return build_describer({**PARTS["backbone"], "crop": [2, 3, 4]}, agg, {"size": [24, 36]}).eval()


def random(count: int, height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, height, width), generator=generator, dtype=torch.uint8)


Case = tuple[type[nn.Module], torch.Tensor, torch.Tensor]


def cases(count: int, first: int) -> dict[str, Case]:
    """Each step with the whole batch of `count` places or tuples, `first` of which go to the first rank. Only
    its tuples have a difficult positive."""
    labels, present = torch.arange(count).repeat_interleave(2), torch.arange(count)[:, None] < first
    return {
        "places": (Step, random(count * 2, 64, 64), labels),
        "regions": (RegionsStep, random(count * 4, 24, 36), present),
    }


def single(case: Case) -> tuple[float, dict[str, torch.Tensor]]:
    make, images, told = case
    step = make()
    loss = step(images, told)
    loss.backward()
    return loss.item(), {name: p.grad for name, p in step.named_parameters()}


def rank_main(rank: int, port: int, out: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    for split, (places, first) in SPLITS.items():
        for name, (make, images, told) in cases(places, first).items():
            parts = [x.tensor_split([first * len(x) // places])[rank] for x in (images, told)]
            step = nn.parallel.DistributedDataParallel(make())
            loss = step(*parts)
            loss.backward()
            gradients = {n: p.grad for n, p in step.module.named_parameters()}
            torch.save((loss.item(), gradients), f"{out}/{split}-{name}{rank}.pt")
    dist.destroy_process_group()


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The loss and the gradients of each rank, split and case."""
    folder = tmp_path_factory.mktemp("ranks")
    spawn(rank_main, (free_port(), str(folder)), nprocs=2)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("split", SPLITS)
def test_two_ranks_equal_one_process(saved: Path, split: str):
    for case, content in cases(*SPLITS[split]).items():
        loss, gradients = single(content)
        assert loss > 0
        for rank in range(2):
            rank_loss, rank_gradients = torch.load(saved / f"{split}-{case}{rank}.pt")
            assert rank_loss == pytest.approx(loss, rel=1e-5)
            for name, gradient in gradients.items():
                assert gradient.norm() > 0, name
                error = (rank_gradients[name] - gradient).norm() / gradient.norm()
                assert error <= 1e-5, f"{case}, {name}: {error}"


def test_without_a_process_group_rows_stay_as_they_are():
    rows = torch.randn(3, 2)
    assert gather_rows(rows) is rows
