"""Region descriptors against golden numbers and against VLADs of the regions by themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vpr.errors import ConfigError
from vpr.models.aggregators.netvlad import NetVLAD
from vpr.models.regions import check_regions, regions
from vpr.types import Features, FeatureSpec


def netvlad(channels: int = 4, clusters: int = 3) -> NetVLAD:
    torch.manual_seed(0)
    return NetVLAD(FeatureSpec(channels, 16), clusters, allow_random_init=True)


def maps(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.manual_seed(1))


@pytest.mark.parametrize(("grid", "project"), [(3, "wakd"), (2, "openibl")])
def test_golden(shared: Path, grid: int, project: str):
    stored = np.load(shared / "golden" / "region_sim.npz")
    golden = {key: torch.from_numpy(stored[key]) for key in stored.files}
    net = netvlad(16, 8)
    net.load_state_dict({"centroids": golden["centroids"], "conv.weight": golden["conv_weight"]}, strict=False)
    anchor, pairs = (regions(net, golden[f"feat_{which}"], grid) for which in ("anchor", "pairs"))
    torch.testing.assert_close(anchor, golden[f"{project}_vlad_anchor"][0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(pairs, golden[f"{project}_vlad_pairs"][0], rtol=1e-4, atol=1e-5)
    score = torch.einsum("ad,pbd->pab", anchor[0], pairs)
    torch.testing.assert_close(score, golden[f"{project}_score"][0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("grid", "parts"),
    [
        (2, [np.s_[0:4, :], np.s_[4:8, :], np.s_[:, 0:6], np.s_[:, 6:12]]
         + [np.s_[y : y + 4, x : x + 6] for y in (0, 4) for x in (0, 6)]),
        (3, [np.s_[y : y + 3, :] for y in (0, 3, 6)] + [np.s_[:, x : x + 4] for x in (0, 4, 8)]),
    ],
)  # fmt: skip
def test_each_region_is_what_the_network_says_of_that_part_of_the_map(grid: int, parts: list):
    net, map = netvlad(), maps(2, 4, 9 if grid == 3 else 8, 12)
    expected = [net(Features(map))] + [net(Features(map[:, :, part[0], part[1]])) for part in parts]
    parts = regions(net, map, grid)
    assert parts.shape == (2, len(expected), 12)
    torch.testing.assert_close(parts, torch.stack(expected, 1), rtol=1e-5, atol=1e-6)


def test_the_gradient_is_that_of_the_parts():
    net, map = netvlad(), maps(1, 4, 4, 6)
    weights = maps(9, 12)
    whole, top, part = map.clone().requires_grad_(), np.s_[:, :, 0:2, :], map.clone().requires_grad_()
    (regions(net, whole, 2)[0, 1] * weights[1]).sum().backward()
    (net(Features(part[top]))[0] * weights[1]).sum().backward()
    torch.testing.assert_close(whole.grad, part.grad, rtol=1e-5, atol=1e-6)


def test_half_precision_around_it_changes_nothing():
    net, map = netvlad(), maps(2, 4, 6, 6)
    with torch.autocast("cpu", torch.bfloat16):
        parts = regions(net, map, 3)
    assert parts.dtype == torch.float32 and torch.equal(parts, regions(net, map, 3))


def test_a_map_that_the_grid_does_not_divide_is_told_with_what_would_do():
    with pytest.raises(ConfigError, match=r"3 x 3 cells cannot be cut from a map of 4 x 6.*\[3,6\] or \[6,6\]"):
        regions(netvlad(), maps(1, 4, 4, 6), 3)
    # VGG16 at 480x640: a map of 30x40.
    with pytest.raises(ConfigError, match=r"Type image.size=\[480,624\] or \[480,672\]\."):
        check_regions((30, 40), 3, stride=16)
    check_regions((30, 42), 3, stride=16)
    with pytest.raises(ConfigError, match=r"map of 1 x 2. Type image.size=\[96,96\]\.$"):
        check_regions((1, 2), 3, stride=32)


def test_other_grids_are_told():
    with pytest.raises(ConfigError, match="Regions of 4 x 4 cells: there are 2 or 3"):
        regions(netvlad(), maps(1, 4, 4, 8), 4)
