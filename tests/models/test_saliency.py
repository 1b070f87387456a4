"""Similarity maps: the share of each cell, by hand, with every aggregator, and on images that share one patch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vpr.models.aggregators.avg import Avg
from vpr.models.aggregators.gem import GeM
from vpr.models.aggregators.mixvpr import MixVPR
from vpr.models.aggregators.netvlad import NetVLAD, normalise
from vpr.models.aggregators.projected import Projected
from vpr.models.backbones.base import Backbone
from vpr.models.describer import Describer, make_network
from vpr.models.saliency import similarity_maps
from vpr.types import Features, FeatureSpec, Preprocess

NAMES = sorted(path.stem for path in (Path(__file__).parents[2] / "conf" / "agg").glob("*.yaml"))


class Pixels(Backbone):
    """The image itself as a feature map, with a class token."""

    spec = FeatureSpec(3, 1, (6, 6))

    def forward(self, images: Tensor) -> Features:
        return Features(images, images.mean((-2, -1)))


class Edges(Backbone):
    """Random filters of 4 x 4 pixels and ReLU."""

    spec = FeatureSpec(64, 4, (8, 8))

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 64, 4, stride=4)

    def forward(self, images: Tensor) -> Features:
        return Features(self.conv(images).relu())


def describer(backbone: Backbone, aggregator: nn.Module) -> Describer:
    return Describer(backbone, aggregator, Preprocess()).eval()


def positive(seed: int, *shape: int) -> Tensor:
    return torch.rand(1, 3, *shape, generator=torch.Generator().manual_seed(seed)) + 0.01


def test_average_pooling_by_hand() -> None:
    first = torch.tensor([[[[3.0, 1.0]], [[0.0, 4.0]], [[0.0, -2.0]]]])
    second = torch.tensor([[[[1.0]], [[2.0]], [[2.0]]]])
    ours, theirs = similarity_maps(describer(Pixels(), Avg(Pixels.spec)), first, second)
    # Means (2, 2, -1) and (1, 2, 2), both of norm 3; their product 4. Each of two cells has half of its own product
    # with (1, 2, 2), which are 3 and 1 + 8 - 4 = 5, and 3 / 2 + 5 / 2 = 4. The one cell of the second has all of it.
    torch.testing.assert_close(ours, torch.tensor([[3 / 2 / 9, 5 / 2 / 9]]))
    torch.testing.assert_close(theirs, torch.tensor([[4 / 9]]))


def test_what_lowers_the_similarity_counts_as_nothing() -> None:
    first = torch.tensor([[[[4.0, -2.0]], [[0.0, 0.0]], [[0.0, 0.0]]]])
    second = torch.tensor([[[[1.0]], [[0.0]], [[0.0]]]])
    ours, _ = similarity_maps(describer(Pixels(), Avg(Pixels.spec)), first, second)
    torch.testing.assert_close(ours, torch.tensor([[2.0, 0.0]]))  # 4 / 2 and -2 / 2 of a mean of 1, which is all


def mixvpr() -> MixVPR:
    """Untrained but for larger weights, by which the mixed part counts, and without the biases of linear layers."""
    torch.manual_seed(0)
    net = MixVPR(Pixels.spec, 8, 2)
    for name, parameter in net.named_parameters():
        nn.init.zeros_(parameter) if name.endswith("bias") else nn.init.normal_(parameter, std=0.3)
    return net


@pytest.mark.parametrize("aggregator", [GeM(Pixels.spec), GeM(Pixels.spec, l2_before=True), Avg(Pixels.spec), mixvpr()])
def test_the_cells_add_up_to_the_similarity(aggregator: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    fixed = isinstance(aggregator, MixVPR)
    model, first, second = (
        describer(Pixels(), aggregator),
        positive(1, 6, 6),
        positive(2, *((6, 6) if fixed else (5, 7))),
    )
    with torch.no_grad():
        similarity = (model(first) * model(second)).sum()
    monkeypatch.setattr(Tensor, "clamp", lambda values, min: values)
    for cells, image in zip(similarity_maps(model, first, second), (first, second), strict=True):
        assert cells.shape == image.shape[-2:]
        torch.testing.assert_close(cells.sum(), similarity)


def test_netvlad_counts_the_residuals_of_a_cell() -> None:
    torch.manual_seed(0)
    net = NetVLAD(Pixels.spec, 4, allow_random_init=True).eval()
    projected = Projected(Pixels.spec, net, 12)
    nn.init.eye_(projected.projection.weight)
    first, second = positive(1, 6, 6), positive(2, 6, 6)
    with torch.no_grad():
        net.centroids.copy_(net.descriptors(first)[0, :, :4].T)  # amid the cells, so that residuals point everywhere
        net.conv.weight.copy_(10 * net.centroids[:, :, None, None])
        vlad, x = net.residuals(first), net.descriptors(first)
        norms = vlad.norm(dim=2, keepdim=True) * 2  # of each of the 4 clusters, and sqrt(4) of all together
        residuals = x[:, None] - net.centroids[None, :, :, None]  # (1, K, C, N)
        towards = normalise(net.residuals(second)).view_as(vlad) / norms
        expected = (net.assign(x) * (residuals * towards[..., None]).sum(2)).sum(1).view(6, 6)
        similarity = (net(Features(first)) * net(Features(second))).sum()
    assert expected.min() < 0 < expected.max()
    torch.testing.assert_close(expected.sum(), similarity)
    for aggregator in (net, projected):
        ours, _ = similarity_maps(describer(Pixels(), aggregator), first, second)
        torch.testing.assert_close(ours, expected.clamp(min=0), rtol=1e-4, atol=1e-6)


def test_the_patch_that_two_images_share_is_the_hottest() -> None:
    first, second = torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32)
    # Clutter on channels of its own, so that nothing but the patch is common
    first[:, 0], second[:, 1] = positive(1, 32, 32)[:, 0] / 4, positive(2, 32, 32)[:, 0] / 4
    patch = positive(3, 4, 4) * 2
    first[..., 8:12, 20:24] = second[..., 24:28, 4:8] = patch
    ours, theirs = similarity_maps(describer(Edges(), GeM(Edges.spec)), first, second)
    assert divmod(int(ours.argmax()), 8) == (2, 5)
    assert divmod(int(theirs.argmax()), 8) == (6, 1)
    assert ours[2, 5] > 3 * ours.flatten().topk(2).values[1]


def test_an_image_is_similar_to_itself_everywhere() -> None:
    image = positive(1, 6, 6)
    ours, theirs = similarity_maps(describer(Pixels(), GeM(Pixels.spec)), image, image)
    torch.testing.assert_close(ours, theirs)
    assert ours.min() > 0  # where the plain gradient of the cosine is nothing


@pytest.mark.parametrize("name", NAMES)
def test_every_aggregator_under_no_grad_and_frozen(name: str, node: Any) -> None:
    agg = node("agg", name)
    if name in ("salad", "megaloc"):
        agg.get("agg", agg)["clusters"] = 8  # fewer than the 36 cells
    model = describer(Pixels(), make_network(agg, "agg", Pixels.spec))
    first, second = positive(1, 6, 6), positive(2, 6, 6)
    free = similarity_maps(model, first, second)
    assert all(parameter.grad is None for parameter in model.parameters())
    model.requires_grad_(False)
    for off in (torch.no_grad, torch.inference_mode):
        with off():
            maps = similarity_maps(model, first.clone(), second.clone())
        for ours, expected in zip(maps, free, strict=True):
            torch.testing.assert_close(ours, expected)
            assert ours.shape == (6, 6) and ours.dtype == torch.float32 and not ours.requires_grad
            assert ours.min() >= 0 and ours.max() > 0


def test_not_while_training() -> None:
    with pytest.raises(RuntimeError, match=r"call \.eval\(\)"):
        similarity_maps(describer(Pixels(), Avg(Pixels.spec)).train(), positive(1, 6, 6), positive(2, 6, 6))
