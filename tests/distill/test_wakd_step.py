"""A whole training step of WAKD against the published one: hard, soft and distillation losses, and the gradients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vpr.distill.teacher import Outputs
from vpr.distill.terms.wakd import WAKD
from vpr.losses.soft_labels import hardest_regions, soft_labels
from vpr.losses.tuples import sare_independent, sare_joint, triplet
from vpr.models.aggregators.netvlad import NetVLAD
from vpr.models.regions import regions
from vpr.types import Features, FeatureSpec

TEMPERATURES = 0.07, 0.07, 0.06, 0.05
HARD = {
    "sare_ind": lambda *tuples: sare_independent(*tuples, temperature=0.07),
    "sare_joint": lambda *tuples: sare_joint(*tuples, temperature=0.07),
    "triplet": triplet,
}


class Network(nn.Module):
    """The tiny network of the golden files."""

    def __init__(self, golden: dict[str, Tensor], name: str, stride: int) -> None:
        super().__init__()
        weights = {key: value for key, value in golden.items() if key.startswith(f"w.{name}.")}
        channels = len(weights[f"w.{name}.base_model.c1.bias"])
        self.c1, self.c2 = nn.Conv2d(3, channels, 3, stride, 1), nn.Conv2d(channels, channels, 3, padding=1)
        self.net_vlad = NetVLAD(FeatureSpec(channels, stride), 6, allow_random_init=True)
        self.load_state_dict({key.split(".", 2)[2].removeprefix("base_model."): v for key, v in weights.items()})

    def map(self, images: Tensor) -> Tensor:
        return self.c2(self.c1(images).relu())

    def outputs(self, map: Tensor) -> Outputs:
        return Outputs(self.net_vlad(Features(map)), map)


class Step:
    """One tuple, described by student, teacher and the generation before."""

    def __init__(self, shared: Path, name: str) -> None:
        stored = np.load(shared / "golden" / f"{name}.npz")
        self.golden = {key: torch.from_numpy(np.asarray(stored[key])) for key in stored.files}
        # Two of the nine images are the same query: it is described once and compared twice.
        self.easy, self.difficult = self.golden["easy_index"], self.golden["diff_index"]
        self.nine = torch.cat([self.easy, self.difficult])
        self.student, self.earlier = (Network(self.golden, name, 2) for name in ("student", "cache"))
        self.teacher = Network(self.golden, "teacher", 1)
        images = self.golden["imgs"][0]
        self.map = self.student.map(images)
        self.parts = regions(self.student.net_vlad, self.map, 3)
        with torch.no_grad():
            self.their_parts = regions(self.earlier.net_vlad, self.earlier.map(images), 3)
            self.target = self.teacher.outputs(self.teacher.map(images)[self.nine])

    def hard(self, loss: str, generation: int) -> Tensor:
        if generation == 0:
            whole = self.student.outputs(self.map).descriptors[self.easy]
            return HARD[loss](whole[:1], whole[1:2], whole[None, 2:])
        anchor, positive, negatives = self.parts[:1, 0], self.parts[1:2, 0], self.parts[None, self.easy[2:]]
        return HARD[loss](anchor, positive, hardest_regions(anchor, negatives))

    def soft(self, generation: int) -> Tensor:
        ours, theirs = ((parts[:1, 0], parts[None, self.difficult[1:]]) for parts in (self.parts, self.their_parts))
        return soft_labels(ours, theirs, TEMPERATURES[generation], TEMPERATURES[0]).mean()

    def distilled(self, term: WAKD) -> Tensor:
        ours = self.student.outputs(self.map[self.nine])
        return term(ours, [self.target], torch.zeros(9, dtype=torch.int64))


@pytest.fixture(params=["wakd_full_step", "wakd_full_step_diverse"], scope="module")
def step(request: pytest.FixtureRequest, shared: Path) -> Step:
    return Step(shared, request.param)


def check(found: Tensor, golden: Tensor) -> None:
    tiny = bool(golden < 1e-6)  # a value near the rounding of float32
    torch.testing.assert_close(found, golden, rtol=1e-3 if tiny else 1e-6, atol=0 if tiny else 1e-6)


@pytest.mark.parametrize("generation", [0, 1, 2])
@pytest.mark.parametrize("loss", HARD)
def test_hard_losses(step: Step, loss: str, generation: int):
    check(step.hard(loss, generation), step.golden[f"gen{generation}_{loss}_hard"])


@pytest.mark.parametrize("generation", [0, 1, 2])
def test_soft_labels(step: Step, generation: int):
    check(step.soft(generation), step.golden[f"gen{generation}_soft"])


@pytest.mark.parametrize(
    ("term", "key"),
    [(WAKD(), "kd_attention_total"), (WAKD(maps=0), "kd_feature_only"), (WAKD(descriptors=0), "att_gram_mse")],
)
def test_distillation(step: Step, term: WAKD, key: str):
    check(step.distilled(term), step.golden[key])


def test_total_and_gradients(step: Step):
    total = step.hard("sare_ind", 1) + 0.5 * step.soft(1) + 100 * step.distilled(WAKD())
    check(total, step.golden["gen1_total"])
    step.student.zero_grad()
    total.backward()
    found = dict(step.student.named_parameters())
    expected = {key.removeprefix("grad."): value for key, value in step.golden.items() if key.startswith("grad.")}
    assert len(expected) == len(found)
    for key, value in expected.items():
        torch.testing.assert_close(found[key.removeprefix("base_model.")].grad, value, rtol=1e-4, atol=1e-5)
    assert all(p.grad is None for network in (step.teacher, step.earlier) for p in network.parameters())
