"""NetVLAD by hand, against the published one, and where half precision, empty maps or a wrong file could break it."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor

from vpr.errors import CheckpointError, ConfigError
from vpr.models.aggregators.netvlad import NetVLAD, normalise
from vpr.models.cluster_file import ClusterFile, write_clusters
from vpr.types import Features, FeatureSpec

SPEC = FeatureSpec(16, 16)


def random_net(clusters: int = 6) -> NetVLAD:
    torch.manual_seed(0)
    return NetVLAD(SPEC, clusters, allow_random_init=True)


def with_values(weight: list, centroids: list) -> NetVLAD:
    net = NetVLAD(FeatureSpec(len(weight[0]), 1), len(weight), centroids="checkpoint")
    weights = {"conv.weight": torch.tensor(weight)[:, :, None, None], "centroids": torch.tensor(centroids)}
    net.load_state_dict(weights)
    return net


def test_by_hand():
    # Two cells (3, 4) and (0, 2) become (0.6, 0.8) and (0, 1). With w_1 = (ln 3 / 0.6, 0) and w_2 = 0 the first cell
    # goes to the clusters by 3 : 1, the second by halves.
    net = with_values([[math.log(3) / 0.6, 0.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 0.0]])
    features = torch.tensor([[[[3.0, 0.0]], [[4.0, 2.0]]]])
    torch.testing.assert_close(net.assign(net.descriptors(features)), torch.tensor([[[0.75, 0.5], [0.25, 0.5]]]))
    # V_1 = 0.75 (0.6 - 1, 0.8) + 0.5 (0 - 1, 1), V_2 = 0.25 (0.6, 0.8) + 0.5 (0, 1)
    vlad = torch.tensor([[[-0.8, 1.1], [0.15, 0.7]]])
    torch.testing.assert_close(net.residuals(features), vlad)
    one, two = vlad[0, 0] / math.hypot(0.8, 1.1), vlad[0, 1] / math.hypot(0.15, 0.7)
    torch.testing.assert_close(net(Features(features))[0], torch.cat([one, two]) / math.sqrt(2))


def test_it_is_the_sum_over_all_residuals_and_so_are_its_gradients():
    net, features = random_net(), torch.randn(3, 16, 5, 7, requires_grad=True)
    towards = torch.randn(3, 6, 16)

    def gradients(vlad: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad((vlad * towards).sum(), [features, *net.parameters()])

    x = net.descriptors(features)
    a = net.assign(x)
    residuals = x[:, None] - net.centroids[None, :, :, None]  # (B, K, C, N)
    expected = (a[:, :, None] * residuals).sum(-1)
    torch.testing.assert_close(net.residuals(features), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(gradients(net.residuals(features)), gradients(expected), rtol=1e-4, atol=1e-4)


def test_parts_of_the_map_add_up_to_the_whole():
    net, features = random_net(), torch.randn(2, 16, 4, 6)
    left, right = features[..., :3], features[..., 3:]
    torch.testing.assert_close(net.residuals(features), net.residuals(left) + net.residuals(right))


@pytest.mark.parametrize("arch", ["vgg16", "mobilenetv3_large"])
def test_start_from_a_published_cluster_file(arch: str, shared: Path):
    golden = np.load(shared / "golden" / f"wakd_{arch}_out.npz")
    path = shared / "golden" / f"wakd_{arch}_pitts_64_desc_cen.hdf5"
    net = NetVLAD(FeatureSpec(512, 16), 64, str(path))
    np.testing.assert_allclose(net.conv.weight.detach(), golden["conv_weight"], rtol=1e-4, atol=1e-5)
    # Each w_k has the length alpha.
    np.testing.assert_allclose(net.conv.weight.detach().flatten(1).norm(dim=1), np.full(64, golden["alpha"]), rtol=1e-5)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(net.centroids.detach(), file["centroids"][:])


@pytest.mark.parametrize("arch", ["vgg16", "mobilenetv3_large"])
def test_parity_with_the_published_layer(arch: str, shared: Path):
    golden = np.load(shared / "golden" / f"wakd_{arch}_out.npz")
    state = np.load(shared / "golden" / f"wakd_{arch}_small.npz")  # what is in the published checkpoint
    net = NetVLAD(FeatureSpec(512, 16), 64, "checkpoint")
    net.load_state_dict({key: torch.from_numpy(state[f"module.net_vlad.{key}"]) for key in net.state_dict()})
    features = torch.from_numpy(golden["feat"])
    with torch.no_grad():
        raw, vlad = net.residuals(features), net(Features(features))
    largest = np.abs(golden["netvlad_raw"]).max()
    np.testing.assert_allclose(raw, golden["netvlad_raw"], rtol=1e-4, atol=1e-4 * largest)
    np.testing.assert_allclose(vlad, golden["vlad"][:1], rtol=1e-4, atol=1e-5)


def descriptors_by_hand(tmp_path: Path, **changes: np.ndarray) -> Path:
    """Centres of unequal length along both axes; the gaps of the descriptors are 0.8 - 0.6 and 1 - 0, in mean 0.6."""
    values = {"descriptors": np.float32([[0.6, 0.8], [0.0, 1.0]]), "centroids": np.float32([[0.5, 0.0], [0.0, 0.25]])}
    write_clusters(tmp_path / "c.hdf5", ClusterFile(**{**values, **changes}))
    return tmp_path / "c.hdf5"


def test_start_by_hand(tmp_path: Path):
    net = NetVLAD(FeatureSpec(2, 1), 2, str(descriptors_by_hand(tmp_path)))
    alpha = math.log(100) / 0.6
    torch.testing.assert_close(net.conv.weight.detach()[..., 0, 0], torch.tensor([[alpha, 0.0], [0.0, alpha]]))
    torch.testing.assert_close(net.centroids.detach(), torch.tensor([[0.5, 0.0], [0.0, 0.25]]))


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({}, ConfigError, "python cluster.py backbone=... dataset=..."),
        ({"clusters": 3}, ConfigError, "holds 2 centres. Type agg.clusters=2"),
        ({"spec": FeatureSpec(5, 1)}, CheckpointError, "centres of 2 channels, and the backbone gives 5"),
    ],
)
def test_files_that_do_not_fit(options: dict, error: type[Exception], says: str, tmp_path: Path):
    path = str(descriptors_by_hand(tmp_path)) if options else None
    with pytest.raises(error, match=says.replace(".", r"\.")):
        NetVLAD(**{"spec": FeatureSpec(2, 1), "clusters": 2, "centroids": path, **options})


def test_descriptors_that_are_as_near_to_both_centres(tmp_path: Path):
    path = descriptors_by_hand(tmp_path, centroids=np.float32([[1, 0], [2, 0]]))
    with pytest.raises(CheckpointError, match="no descriptor is nearer to one centre"):
        NetVLAD(FeatureSpec(2, 1), 2, str(path))


def trained(net: NetVLAD, features: Tensor, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
    """Return descriptors and the gradients of all parameters, after a step under autocast to `dtype`."""
    net.zero_grad()
    with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
        descriptors = net(Features(features))
    (descriptors * torch.linspace(-1, 1, net.dim)).sum().backward()
    return descriptors, torch.cat([p.grad.flatten() for p in net.parameters()])


@pytest.mark.parametrize(
    "features",
    [
        torch.zeros(2, 16, 3, 4),
        torch.ones(2, 16, 3, 4),
        torch.full((2, 16, 3, 4), 1e-20),
        torch.full((2, 16, 3, 4), 1e18),
        torch.randn(2, 16, 1, 1),
    ],
    ids=["zeros", "ones", "tiny", "huge", "one cell"],
)
def test_degenerate_maps_give_finite_unit_rows_and_gradients(features: Tensor):
    features = features.clone().requires_grad_()
    descriptors, gradients = trained(random_net(), features)
    torch.testing.assert_close(descriptors.norm(dim=1), torch.ones(2))
    assert features.grad is not None and features.grad.isfinite().all() and gradients.isfinite().all()


@pytest.mark.slow
def test_the_benchmark_compares_like_with_like():
    script = Path(__file__).parents[2] / "benchmarks" / "netvlad.py"
    command = [sys.executable, str(script), "--small", "--pairs", "1", "--steps", "1"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # it ends where values differ
    assert "seconds: loop / ours" in said and "megabytes: loop / ours" in said


def test_an_empty_cluster_stays_empty():
    vlad = torch.tensor([[[3.0, 4.0], [0.0, 0.0]]], requires_grad=True)
    descriptors = normalise(vlad)
    torch.testing.assert_close(descriptors, torch.tensor([[0.6, 0.8, 0.0, 0.0]]))
    descriptors.sum().backward()
    assert vlad.grad is not None and vlad.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_under_autocast_only_the_rounding_of_the_map_is_felt(dtype: torch.dtype):
    # Values up to 300, as VGG gives them for images of 0..255: their squares are more than float16 holds.
    net, features = random_net(), (100 * torch.randn(2, 16, 8, 8)).to(dtype)
    with torch.no_grad():
        net.conv.weight *= 100  # alpha of real cluster files
    exact, gradients = trained(net, features.float())
    mixed, mixed_gradients = trained(net, features, dtype)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, exact)
    torch.testing.assert_close(mixed_gradients, gradients)
