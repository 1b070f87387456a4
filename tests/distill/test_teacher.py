"""A teacher is frozen for good and sees images as it was trained to."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from vpr.distill.teacher import Shape, Teacher
from vpr.types import PlaceBatch, Preprocess

Make = Callable[..., Teacher]


def test_it_stays_in_evaluation_mode_and_moves_no_statistics(teacher: Make, batch: PlaceBatch):
    frozen = teacher().train()
    assert not any(module.training for module in frozen.modules())
    before = {name: value.clone() for name, value in frozen.state_dict().items()}
    assert any("running_mean" in name for name in before)
    frozen(batch.images)
    assert all(torch.equal(value, before[name]) for name, value in frozen.state_dict().items())


def test_nothing_of_it_asks_for_gradients(teacher: Make, batch: PlaceBatch):
    frozen = teacher()
    assert not any(p.requires_grad for p in frozen.parameters())
    descriptors, features, _ = frozen(batch.images)
    assert not descriptors.requires_grad and features is not None and not features.requires_grad
    # A student multiplies by its outputs and goes backwards, which outputs of inference mode forbid.
    weight = torch.ones((), requires_grad=True)
    (weight * descriptors).sum().backward()


def test_it_has_its_own_size_mean_and_deviation(teacher: Make, batch: PlaceBatch):
    frozen = teacher()
    assert frozen.preprocess.size == (64, 64) and batch.images.shape[-1] == 48
    x = torch.nn.functional.interpolate(batch.images.float(), (64, 64), mode="bilinear", antialias=True)
    std = torch.tensor(Preprocess().std).view(3, 1, 1)
    x = (x / 255 - torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)) / std
    torch.testing.assert_close(frozen.prepare(batch.images), x)
    with torch.no_grad():
        torch.testing.assert_close(frozen(batch.images).descriptors, frozen.network(x))


def test_images_of_its_size_are_the_ones_it_describes(teacher: Make):
    frozen = teacher(share=0.5)
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    found = frozen(images)
    with torch.no_grad():
        torch.testing.assert_close(found.descriptors, frozen.network(frozen.network.normalise(images)))
        torch.testing.assert_close(found.map, frozen.network.features(frozen.network.normalise(images)).map)
    assert found.share == 0.5
    assert frozen.shape == Shape(256, 256, "teacher1")


def test_another_size_may_be_asked_for(teacher: Make, batch: PlaceBatch):
    features = teacher(size=(32, 96))(batch.images).map
    assert features is not None and features.shape[-2:] == (2, 6)


def test_mixed_precision_is_its_own(teacher: Make, batch: PlaceBatch):
    exact, rounded = teacher()(batch.images), teacher(dtype=torch.bfloat16)(batch.images)
    with torch.autocast("cpu", torch.bfloat16):
        still_exact = teacher()(batch.images)
    assert rounded.descriptors.dtype == rounded.map.dtype == torch.float32  # type: ignore[union-attr]
    assert torch.equal(exact.descriptors, still_exact.descriptors)
    difference = (exact.descriptors - rounded.descriptors).abs().max()
    assert 0 < difference < 0.05


class Foreign(nn.Module):
    """A network from elsewhere: mean colours as descriptors."""

    preprocess, dim = Preprocess(size=(8, 8)), 3

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(images.mean((2, 3)))


def test_a_network_from_elsewhere_gives_descriptors_only(batch: PlaceBatch):
    foreign = Teacher(Foreign(), "hub")
    assert foreign.shape == Shape(3, None, "hub")
    descriptors, features, _ = foreign(batch.images)
    assert descriptors.shape == (8, 3) and features is None


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_resized_images_stay_in_range(interpolation: str):
    network = Foreign()
    network.preprocess = Preprocess((8, 8), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), interpolation)
    stripes = torch.tensor([0, 255] * 4, dtype=torch.uint8).repeat_interleave(2).expand(1, 3, 16, 16)
    x = Teacher(network, "x").prepare(stripes)
    assert x.min() >= 0 and x.max() <= 1
