"""Two processes with halves of a batch give the loss and the gradients of one process with all of it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn

from vpr.losses.gather import gather_rows
from vpr.losses.objective import PlacesObjective
from vpr.models.build import build_describer
from vpr.types import Features, PlaceBatch

LOSS = Path(__file__).parents[2] / "conf" / "loss" / "multi_similarity.yaml"
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


def batch(places: int) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.randint(
        0, 256, (places * 2, 3, 64, 64), generator=torch.Generator().manual_seed(1), dtype=torch.uint8
    )
    return images, torch.arange(places).repeat_interleave(2)


def single(places: int) -> tuple[float, dict[str, torch.Tensor]]:
    step = Step()
    loss = step(*batch(places))
    loss.backward()
    return loss.item(), {name: p.grad for name, p in step.named_parameters()}


def rank_main(rank: int, port: int, places: int, first: int, out: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    images, labels = batch(places)
    mine = slice(0, 2 * first) if rank == 0 else slice(2 * first, None)
    step = nn.parallel.DistributedDataParallel(Step())
    loss = step(images[mine], labels[mine])
    loss.backward()
    torch.save((loss.item(), {n: p.grad for n, p in step.module.named_parameters()}), f"{out}/{rank}.pt")
    dist.destroy_process_group()


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.mark.slow
@pytest.mark.parametrize(("places", "first"), [(4, 2), (5, 3)], ids=["even", "uneven"])
def test_two_ranks_equal_one_process(tmp_path: Path, places: int, first: int):
    mp.spawn(rank_main, (free_port(), places, first, str(tmp_path)), nprocs=2)
    loss, gradients = single(places)
    assert loss > 0
    for rank in range(2):
        rank_loss, rank_gradients = torch.load(tmp_path / f"{rank}.pt")
        assert rank_loss == pytest.approx(loss, rel=1e-5)
        for name, gradient in gradients.items():
            assert gradient.norm() > 0, name
            error = (rank_gradients[name] - gradient).norm() / gradient.norm()
            assert error <= 1e-5, f"{name}: {error}"


def test_without_a_process_group_rows_stay_as_they_are():
    rows = torch.randn(3, 2)
    assert gather_rows(rows) is rows
