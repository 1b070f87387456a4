"""`batch.chunk`: the activations of a chunk at a time, and the gradients of the whole batch."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor, nn

from tests.processes import spawn
from vpr.distill.distiller import Distiller
from vpr.distill.teacher import Shape, Teacher
from vpr.errors import ConfigError
from vpr.losses.objective import PlacesObjective
from vpr.models.describer import Describer, build_describer
from vpr.training.module import describe_in_chunks
from vpr.training.run import fit
from vpr.types import PlaceBatch

CONF = Path(__file__).parents[2] / "conf"
RESNET = {"_target_": "vpr.models.backbones.resnet.ResNet", "name": "resnet18", "weights": "none", "crop": [3, 4]}
GEM = {"_target_": "vpr.models.aggregators.gem.GeM"}
MIXVPR = {"_target_": "vpr.models.aggregators.mixvpr.MixVPR", "out_channels": 16, "out_rows": 2, "mix_depth": 1}
TERMS = ("descriptor", "similarity", "attention")  # the last compares maps
GLOBAL = TERMS[:2]  # they see the descriptors of all ranks, so that the value is the same on each


class Step(nn.Module):
    """Images to the loss of a step with terms of distillation; BatchNorm is frozen unless `held` is False."""

    def __init__(self, chunk: int | None, held: bool = True, names: tuple[str, ...] = TERMS) -> None:
        super().__init__()
        torch.manual_seed(0)
        teacher = build_describer(RESNET, GEM, {"size": [48, 48]})
        self.describer, self.chunk = build_describer(RESNET, MIXVPR, {"size": [48, 48]}).train(), chunk
        if held:
            self.describer.backbone.hold_batchnorm()
        self.objective = PlacesObjective(instantiate(OmegaConf.load(CONF / "loss" / "multi_similarity.yaml")))
        terms = {name: instantiate(OmegaConf.load(CONF / f"distillation/{name}.yaml").terms[name]) for name in names}
        self.distiller = Distiller(terms, [Teacher(teacher, "teacher")])
        self.distiller.connect(Shape(self.describer.dim, 128, "student"))

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        features, descriptors = describe_in_chunks(self.describer, self.describer.normalise(images), self.chunk)
        batch = PlaceBatch(images, labels)
        task, terms = self.objective(features, descriptors, batch), self.distiller(features, descriptors, batch)
        return self.distiller.total(task.value, terms)


def a_batch(places: int = 5) -> tuple[Tensor, Tensor]:
    images = torch.randint(0, 256, (2 * places, 3, 48, 48), generator=torch.Generator().manual_seed(1))
    return images.to(torch.uint8), torch.arange(places).repeat_interleave(2)


def gradients(step: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, dict[str, Tensor]]:
    loss = step(images, labels)
    loss.backward()
    return loss.item(), {n.removeprefix("module."): p.grad for n, p in step.named_parameters() if p.grad is not None}


def error(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Largest difference of a tensor relative to its norm."""
    assert one.keys() == other.keys() and len(one) > 30
    assert all(gradient.norm() > 0 for gradient in one.values())
    return max(float((one[key] - other[key]).norm() / one[key].norm()) for key in one)


@pytest.mark.parametrize("chunk", [2, 3, 4])
def test_gradients_are_those_of_the_whole_step(chunk: int) -> None:
    loss, whole = gradients(Step(None), *a_batch())
    seen: list[int] = []
    step = Step(chunk)
    step.describer.backbone.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    chunked_loss, chunked = gradients(step, *a_batch())
    assert chunked_loss == pytest.approx(loss, rel=1e-5)
    assert error(whole, chunked) <= 1e-5
    parts = -(-10 // chunk)  # each is computed twice, and none is larger than asked
    assert len(seen) == 2 * parts and sum(seen) == 20 and max(seen) <= chunk and max(seen) - min(seen) <= 1


def test_in_mixed_precision() -> None:
    def mixed(chunk: int | None) -> tuple[float, dict[str, Tensor]]:
        step = Step(chunk)
        with torch.autocast("cpu", torch.bfloat16):
            loss = step(*a_batch())
        loss.backward()
        return loss.item(), {name: p.grad for name, p in step.named_parameters() if p.grad is not None}

    (loss, whole), (chunked_loss, chunked) = mixed(None), mixed(5)
    assert chunked_loss == pytest.approx(loss, rel=1e-2)
    assert error(whole, chunked) < 0.05  # bfloat16 has 8 bits, and other batch sizes round otherwise


def test_a_chunk_of_the_whole_batch_is_the_plain_step() -> None:
    seen: list[int] = []
    step = Step(10)
    step.describer.backbone.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    gradients(step, *a_batch())
    assert seen == [10]


def test_statistics_follow_each_chunk_once() -> None:
    step, expected = Step(4, held=False), Step(None, held=False)
    images, labels = a_batch()
    gradients(step, images, labels)
    with torch.no_grad():
        for part in expected.describer.normalise(images).tensor_split(3):
            expected.describer(part)
    assert int(expected.describer.backbone.model.bn1.num_batches_tracked) == 3
    for name, value in expected.describer.named_buffers():
        torch.testing.assert_close(step.describer.get_buffer(name), value, msg=name)
    assert step.describer.backbone.model.bn1.momentum == 0.1


def test_a_chunk_is_computed_from_the_same_random_numbers() -> None:
    """Dropout: the gradient is that of the masks of the first computation, kept without chunks of our own."""

    def step(chunked: bool) -> tuple[float, dict[str, Tensor]]:
        describer: Describer = Step(None).describer
        describer.aggregator = nn.Sequential(describer.aggregator, nn.Dropout(0.5))
        x = describer.normalise(a_batch()[0])
        torch.manual_seed(3)
        if chunked:
            descriptors = describe_in_chunks(describer, x, 4)[1]
        else:
            descriptors = torch.cat([describer(part) for part in x.tensor_split(3)])
        weights = torch.linspace(-1, 1, descriptors.numel()).view_as(descriptors)
        loss = (weights * descriptors).sum()
        loss.backward()
        return loss.item(), {name: p.grad for name, p in describer.named_parameters() if p.grad is not None}

    (plain_loss, plain), (loss, chunked) = step(False), step(True)
    assert loss == pytest.approx(plain_loss, rel=1e-5)
    assert error(plain, chunked) <= 1e-5


def rank_main(rank: int, port: int, out: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    mine = slice(0, 6) if rank == 0 else slice(6, None)  # 3 places and 2, so 3 chunks and 2
    images, labels = a_batch()
    step = nn.parallel.DistributedDataParallel(Step(2, names=GLOBAL))
    torch.save(gradients(step, images[mine], labels[mine]), f"{out}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_with_chunks_equal_one_process_without(tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    spawn(rank_main, (port, str(tmp_path)), nprocs=2)
    loss, whole = gradients(Step(None, names=GLOBAL), *a_batch())
    for rank in range(2):
        rank_loss, chunked = torch.load(tmp_path / f"{rank}.pt")
        assert rank_loss == pytest.approx(loss, rel=1e-5)
        assert error(whole, chunked) <= 1e-5


def test_a_run_in_chunks_learns_what_the_run_without_does(tiny, tmp_path: Path, steps) -> None:
    settings = ["trainer.max_epochs=1", "finetune.backbone_bn=false", "backbone.weights=checkpoint"]
    losses = []
    for chunk in ("null", "3"):
        steps.clear()
        fit(tiny([*settings, f"batch.chunk={chunk}"]), tmp_path / chunk)
        losses.append([loss for _, loss in steps])
    assert len(losses[0]) == 3 and losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_a_chunk_of_one_image_is_refused(tiny) -> None:
    from vpr.cli.rules import check_rules

    with pytest.raises(ConfigError, match=r"batch\.chunk=1: the least is 2\. BatchNorm needs two images"):
        check_rules(tiny(["batch.chunk=1"]))
