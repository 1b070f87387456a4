"""WAKD against the published computation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vpr.distill.teacher import Outputs, Shape
from vpr.distill.terms.wakd import WAKD, attention_maps, channel_weights
from vpr.errors import ConfigError

LABELS = torch.zeros(9, dtype=torch.int64)


@pytest.fixture(params=["wakd_full_step", "wakd_full_step_diverse"])
def golden(request: pytest.FixtureRequest, shared: Path) -> dict[str, Tensor]:
    stored = np.load(shared / "golden" / f"{request.param}.npz")
    return {key: torch.from_numpy(np.asarray(stored[key])) for key in stored.files}


def vlad(golden: dict[str, Tensor], network: str) -> Tensor:
    """NetVLAD of the 9 images, intra-normalised and L2-normalised, from its formula."""
    x = F.normalize(golden[f"feat_{network}"], dim=1).flatten(2)
    weight, centroids = (golden[f"w.{network}.net_vlad.{key}"] for key in ("conv.weight", "centroids"))
    assigned = (weight.flatten(1) @ x).softmax(1)
    residuals = assigned @ x.transpose(1, 2) - assigned.sum(2, keepdim=True) * centroids
    return F.normalize(F.normalize(residuals, dim=2).flatten(1))


def outputs(golden: dict[str, Tensor], network: str) -> Outputs:
    return Outputs(vlad(golden, network), golden[f"feat_{network}"])


@pytest.mark.parametrize("network", ["student", "teacher"])
def test_attention_maps_and_weights(golden: dict[str, Tensor], network: str):
    features, expected = golden[f"feat_{network}"], golden[f"att_map_{network}"]
    torch.testing.assert_close(attention_maps(features), expected, rtol=1e-4, atol=1e-4)
    # Weights are the published ones but for a positive factor of each image.
    theirs = golden[f"att_weight_{network}"].flatten(1)
    ours = channel_weights(features.relu())
    torch.testing.assert_close(ours, theirs / theirs.amax(1, keepdim=True), rtol=1e-4, atol=1e-5)


def test_loss(golden: dict[str, Tensor]):
    student, teacher = outputs(golden, "student"), outputs(golden, "teacher")
    for term, key in [
        (WAKD(descriptors=0), "att_gram_mse"),
        (WAKD(maps=0), "vlad_gram_mse"),
        (WAKD(), "kd_attention_total"),
    ]:
        value = term(student, [teacher], LABELS).item()
        tiny = golden[key] < 1e-6  # a value near the rounding of float32
        assert value == pytest.approx(golden[key].item(), rel=1e-3 if tiny else 1e-4, abs=0 if tiny else 1e-6), key


def test_the_weights_are_the_gradient_of_the_strongest_channel():
    active = torch.rand(2, 5, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    active.requires_grad_()
    score = active.mean((2, 3)).softmax(1).amax(1).sum()
    published = torch.autograd.grad(score, active)[0].mean((2, 3))
    expected = published / published.amax(1, keepdim=True)
    torch.testing.assert_close(channel_weights(active), expected, rtol=1e-9, atol=0)


def test_maps_where_one_channel_outshines_all_others():
    # s = 1 in float32: the published weights vanish, and with them the map.
    features = torch.rand(1, 3, 2, 2)
    features[0, 1] += 200
    others = features[0, [0, 2]]
    weights = others.mean((1, 2)).softmax(0)
    expected = features[0, 1] - (weights[:, None, None] * others).sum(0)
    torch.testing.assert_close(attention_maps(features)[0], expected / expected.max())


def test_blank_maps_give_a_finite_loss_and_gradient():
    blank = torch.full((3, 4, 2, 2), -1.0)
    blank[1:] = torch.rand(2, 4, 2, 2, generator=torch.manual_seed(0))
    blank.requires_grad_()
    assert attention_maps(blank)[:1].abs().max() == 0
    rows = F.normalize(torch.rand(3, 5))
    value = WAKD()(Outputs(rows, blank), [Outputs(rows, torch.rand(3, 7, 3, 3))], LABELS[:3])
    value.backward()
    assert value.isfinite() and value > 0
    assert blank.grad is not None and blank.grad.isfinite().all() and blank.grad[1:].abs().sum() > 1e-3


def test_zero_for_a_student_that_equals_its_teacher(golden: dict[str, Tensor]):
    same = outputs(golden, "student")
    assert WAKD()(same, [same], LABELS).item() == 0


def test_maps_are_needed_only_where_they_count():
    hub = [Shape(5, None, "hub")]
    WAKD(maps=0).connect("wakd", Shape(5, 4, "student"), hub)
    with pytest.raises(ConfigError, match="terms.wakd compares feature maps, and the teacher hub"):
        WAKD().connect("wakd", Shape(5, 4, "student"), hub)
