"""Every aggregator of conf/agg; parity with the published ones; GeM by hand."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from vpr.errors import ConfigError
from vpr.models.aggregators.avg import Avg
from vpr.models.aggregators.convap import ConvAP
from vpr.models.aggregators.cosplace import CosPlace
from vpr.models.aggregators.gem import GeM, GeMPool
from vpr.models.aggregators.mixvpr import MixVPR
from vpr.models.describer import make_network
from vpr.types import Features, FeatureSpec

NAMES = sorted(path.stem for path in (Path(__file__).parents[2] / "conf" / "agg").glob("*.yaml"))
SPEC = FeatureSpec(32, 16, (7, 9))
PUBLISHED = {
    "gem": (GeM, {"p": "pool.p"}),
    "convap": (
        partial(ConvAP, out_channels=8),
        {"channel_pool.weight": "channel_proj.weight", "channel_pool.bias": "channel_proj.bias"},
    ),
    "cosplace": (partial(CosPlace, out_dim=16), {"gem.p": "pool.p"}),
    "mixvpr": (partial(MixVPR, out_channels=8, out_rows=3, mix_depth=2), {}),
    "mixvpr_ratio2": (partial(MixVPR, out_channels=8, out_rows=2, mix_depth=1, mlp_ratio=2), {}),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parity_with_the_published_aggregators(name, shared):
    golden = np.load(shared / "golden" / "aggregators_small.npz")
    make, renamed = PUBLISHED[name]
    aggregator = make(SPEC)
    prefix = f"{name}.w."
    weights = {key.removeprefix(prefix): torch.from_numpy(golden[key]) for key in golden if key.startswith(prefix)}
    aggregator.load_state_dict({renamed.get(key, key): value for key, value in weights.items()})
    with torch.no_grad():
        descriptors = aggregator(Features(torch.from_numpy(golden["x"])))
    assert aggregator.dim == descriptors.shape[1]
    np.testing.assert_allclose(descriptors, golden[f"{name}.out"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_every_config_gives_unit_rows_and_gradients(name, node):
    aggregator = make_network(node("agg", name), "agg", SPEC)
    features = torch.randn(3, 32, 7, 9, requires_grad=True)
    descriptors = aggregator(Features(features))
    assert descriptors.shape == (3, aggregator.dim)
    torch.testing.assert_close(descriptors.norm(dim=1), torch.ones(3))
    (descriptors * torch.randn_like(descriptors)).sum().backward()
    assert features.grad.abs().sum() > 0
    assert [n for n, p in aggregator.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@pytest.mark.parametrize("name", NAMES)
def test_mixed_precision_gives_nearly_the_same_float32_unit_rows(name, node):
    aggregator = make_network(node("agg", name), "agg", SPEC)
    features = torch.randn(3, 32, 7, 9)
    with torch.no_grad():
        exact = aggregator(Features(features))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = aggregator(Features(features.bfloat16()))
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed.norm(dim=1), torch.ones(3))
    assert torch.cosine_similarity(mixed, exact).min() > 0.999


def test_gem_by_hand():
    x = torch.tensor([[[[1.0, 2.0], [3.0, -4.0]]]])
    assert GeMPool(p=1, eps=1e-6)(x).item() == pytest.approx((1 + 2 + 3 + 1e-6) / 4)
    assert GeMPool(p=3, eps=1e-6)(x).item() == pytest.approx(((1 + 8 + 27) / 4) ** (1 / 3))


def test_gem_does_not_overflow_in_half_precision():
    x = torch.full((1, 2, 3, 3), 1000.0, dtype=torch.float16)  # 1000^3 is more than float16 holds
    torch.testing.assert_close(GeMPool(p=3)(x), torch.full((1, 2), 1000.0))


def test_average_by_hand():
    x = torch.tensor([[[[1.0, 5.0]], [[4.0, 4.0]]]])
    torch.testing.assert_close(Avg(FeatureSpec(2, 16))(Features(x)), torch.tensor([[0.6, 0.8]]))


def test_mixvpr_says_when_the_grid_is_another_one():
    aggregator = MixVPR(SPEC)
    assert aggregator.fixed_grid
    with pytest.raises(ConfigError, match=r"7x9 cells and got 9x7"):
        aggregator(Features(torch.zeros(1, 32, 9, 7)))
    with pytest.raises(ConfigError, match="grid"):
        MixVPR(FeatureSpec(32, 16))
