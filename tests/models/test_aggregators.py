"""Every aggregator of conf/agg; parity with the published ones; GeM by hand."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from vpr.errors import ConfigError
from vpr.models.aggregators.avg import Avg
from vpr.models.aggregators.boq import BoQ, BoQBlock
from vpr.models.aggregators.convap import ConvAP
from vpr.models.aggregators.cosplace import CosPlace
from vpr.models.aggregators.gem import GeM, GeMPool
from vpr.models.aggregators.mac import MAC
from vpr.models.aggregators.mixvpr import MixVPR
from vpr.models.aggregators.salad import SALAD, log_transport
from vpr.models.aggregators.spoc import SPoC
from vpr.models.describer import make_network
from vpr.types import Features, FeatureSpec

NAMES = sorted(path.stem for path in (Path(__file__).parents[2] / "conf" / "agg").glob("*.yaml"))
SPEC = FeatureSpec(32, 16, (7, 9))
WIDE = FeatureSpec(32, 16, (9, 10))  # more cells than the clusters of any
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


FIELD = {
    "salad": partial(SALAD, clusters=5, cluster_dim=6, token_dim=8),
    "megaloc_agg": partial(SALAD, clusters=5, cluster_dim=6, token_dim=8, hidden=24),
    "boq": partial(BoQ, channels=64, queries=6, layers=2, rows=4),
}


@pytest.fixture(scope="module")
def field(shared):
    """Function that returns an array of the second golden folder as a tensor; all of them without a name."""
    arrays = np.load(shared / "golden2" / "aggregators2_small.npz")
    return lambda name="": torch.from_numpy(arrays[name]) if name else list(arrays)


def close(ours, expected):
    np.testing.assert_allclose(ours.detach(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", FIELD)
def test_outputs_and_gradients_of_salad_megaloc_and_boq(name, field):
    aggregator = FIELD[name](FeatureSpec(16, 14, (5, 6))).eval()
    weights = {key.removeprefix(f"{name}.w."): field(key) for key in field() if key.startswith(f"{name}.w.")}
    aggregator.load_state_dict(weights)
    x, token = field("x").requires_grad_(), field("token").requires_grad_()
    descriptors = aggregator(Features(x, token))
    close(descriptors, field(f"{name}.out"))
    (descriptors * field(f"{name}.grad_out")).sum().backward()
    close(x.grad, field(f"{name}.grad_x0"))
    if name != "boq":
        close(token.grad, field(f"{name}.grad_x1"))
    stored = [key for key in field() if key.startswith(f"{name}.grad.")]
    assert stored
    for key in stored:
        close(aggregator.get_parameter(key.removeprefix(f"{name}.grad.")).grad, field(key))
    if name == "boq":
        cells = aggregator.cells(Features(x))
        for number, block in enumerate(aggregator.boqs):
            cells, _ = block(cells)
            close(block.attention(cells), field(f"boq.attention{number}"))


@pytest.mark.parametrize("iterations", [1, 3, 10])
def test_transport_plans(iterations, field):
    plan = log_transport(field("salad.scores"), field("salad.w.dust_bin"), iterations).exp()
    close(plan, field(f"salad.plan_{iterations}"))
    close(plan.sum(dim=1), torch.ones(2, 30))


def test_a_block_of_boq_with_several_heads(field):
    block = BoQBlock(32, 5, int(field("boq_block.heads"))).eval()
    prefix = "boq_block.w."
    block.load_state_dict({key.removeprefix(prefix): field(key) for key in field() if key.startswith(prefix)})
    encoded, answers = block(field("boq_block.x"))
    close(encoded, field("boq_block.encoded"))
    close(answers, field("boq_block.out"))
    close(block.attention(encoded), field("boq_block.attention"))


def test_salad_says_when_the_cells_are_too_few():
    with pytest.raises(ConfigError, match=r"64 clusters .* 8x8 has 64.*image.size=\[126,126\].*agg.clusters"):
        SALAD(FeatureSpec(32, 14, (8, 8)))
    aggregator = SALAD(FeatureSpec(32, 14))
    with pytest.raises(ConfigError, match="7x9 has 63"):
        aggregator(Features(torch.zeros(1, 32, 7, 9)))
    assert aggregator(Features(torch.zeros(1, 32, 5, 13))).isfinite().all()


def test_salad_without_a_class_token_takes_the_mean_of_the_cells():
    aggregator, x = SALAD(WIDE).eval(), torch.randn(2, 32, 9, 10)
    torch.testing.assert_close(aggregator(Features(x)), aggregator(Features(x, x.mean(dim=(2, 3)))))


def test_boq_says_when_the_heads_do_not_fit():
    with pytest.raises(ConfigError, match="agg.channels=100: 7 heads"):
        BoQ(SPEC, channels=100, heads=7)
    assert BoQ(SPEC, channels=48, queries=2, rows=2)(Features(torch.randn(1, 32, 3, 4))).shape == (1, 96)


def test_spoc_and_mac_by_hand():
    x = torch.tensor([[[[1.0, 5.0, 3.0]], [[4.0, 4.0, 7.0]]]])
    spec = FeatureSpec(2, 16)
    torch.testing.assert_close(SPoC(spec)(Features(x)), torch.tensor([[9.0, 15.0]]) / 306**0.5)
    torch.testing.assert_close(MAC(spec)(Features(x)), torch.tensor([[5.0, 7.0]]) / 74**0.5)
    unit = x / x.norm(dim=1, keepdim=True)
    for pooling in (SPoC, MAC):
        before = pooling(spec, l2_before=True)(Features(x))
        torch.testing.assert_close(before, pooling(spec)(Features(unit)))
    # One row of three cells: the deviation is a third of half a cell, so the centre alone is left.
    centred = SPoC(spec, centre_prior=True)(Features(x))
    torch.testing.assert_close(centred, torch.tensor([[5.0, 4.0]]) / 41**0.5, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_every_config_gives_unit_rows_and_gradients(name, node):
    aggregator = make_network(node("agg", name), "agg", WIDE)
    features = torch.randn(3, 32, 9, 10, requires_grad=True)
    descriptors = aggregator(Features(features))
    assert descriptors.shape == (3, aggregator.dim)
    torch.testing.assert_close(descriptors.norm(dim=1), torch.ones(3))
    (descriptors * torch.randn_like(descriptors)).sum().backward()
    assert features.grad.abs().sum() > 0
    assert [n for n, p in aggregator.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@pytest.mark.parametrize("name", NAMES)
def test_mixed_precision_gives_nearly_the_same_float32_unit_rows(name, node):
    aggregator = make_network(node("agg", name), "agg", WIDE).eval()
    features = torch.randn(3, 32, 9, 10)
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
