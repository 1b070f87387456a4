"""Costs of a describer: counts by hand, latency by a clock that the test sets."""

from __future__ import annotations

import pytest
import torch

from vpr.models import costs
from vpr.models.describer import Describer, build_describer

GEM = {"_target_": "vpr.models.aggregators.gem.GeM"}


def describer(target: str, name: str, size: list[int], agg: dict | None = None) -> Describer:
    backbone = {"_target_": f"vpr.models.backbones.{target}", "name": name, "weights": "none"}
    return build_describer(backbone, agg or GEM, {"size": size})


@pytest.mark.parametrize(
    ("target", "name", "millions", "gmacs"),
    [
        # As torchvision publishes them for 224x224, classifier included: 11.69 M and 1.81, 3.50 M and 0.30.
        # Without it: - 513 * 1000 and - 1281 * 1000 parameters; GeM adds its exponent.
        ("resnet.ResNet", "resnet18", 11.689512 - 0.513 + 1e-6, 1.814 - 512e-6),
        ("mobilenet_v2.MobileNetV2", "mobilenet_v2", 3.504872 - 1.281 + 1e-6, 0.301 - 1280e-6),
    ],
)
def test_published_networks(target: str, name: str, millions: float, gmacs: float):
    measured = costs.measure(describer(target, name, [224, 224]), "cpu", runs=1)
    assert measured.parameters / 1e6 == pytest.approx(millions, abs=1e-9)
    assert measured.gmacs == pytest.approx(gmacs, abs=6e-4)
    assert measured.image_size == (224, 224) and measured.threads == torch.get_num_threads()


def test_attention_counts():
    """ViT-S/14 at 28x28: 4 patches and the class token, 12 blocks of 384 channels, by hand."""
    model = describer("dinov2.DINOv2", "vit_small_patch14_dinov2.lvd142m", [28, 28])
    n, d = 5, 384
    patches = 4 * 3 * 14 * 14 * d
    block = n * d * 3 * d + 2 * n * n * d + n * d * d + 2 * n * d * 4 * d  # qkv, two products, projection, MLP
    measured = costs.measure(model, "cpu", runs=1)
    assert measured.gmacs == pytest.approx((patches + 12 * block) / 1e9, abs=1e-6)
    assert measured.descriptor_bytes == 4 * 384


def test_a_network_of_fixed_size_is_measured_at_it():
    mixer = {"_target_": "vpr.models.aggregators.mixvpr.MixVPR", "out_channels": 8, "out_rows": 2, "mix_depth": 1}
    measured = costs.measure(describer("resnet.ResNet", "resnet18", [64, 96], mixer), "cpu", runs=1)
    assert measured.image_size == (64, 96) and measured.descriptor_bytes == 4 * 16


def test_message():
    measured = costs.Costs(2_500_000, 0.0312, 2048, 7.512, 30, 2, "cpu (x86_64)", (48, 64))
    assert measured.message() == (
        "2.50 M parameters, 0.0312 GMACs, 7.51 ms an image of 48x64 (median of 30 on cpu (x86_64), 2 threads, "
        "float32), 2,048 bytes a descriptor"
    )


class Sleeper:
    """Takes 0.02 s a call, and 0.2 s for the first two, on a clock of its own."""

    def __init__(self) -> None:
        self.calls = 0
        self.now = 100.0

    def __call__(self) -> None:
        self.calls += 1
        self.now += 0.2 if self.calls <= 2 else 0.02

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def sleeper(monkeypatch: pytest.MonkeyPatch) -> Sleeper:
    run = Sleeper()
    monkeypatch.setattr(costs, "time", run)
    return run


def test_latency_is_taken_after_a_warm_up(sleeper: Sleeper):
    assert costs._times(sleeper, torch.device("cpu"), runs=4, seconds=60) == pytest.approx([0.02] * 4)
    assert sleeper.calls == 5 + 4


def test_a_slow_device_ends_early(sleeper: Sleeper):
    assert costs._times(sleeper, torch.device("cpu"), runs=1000, seconds=0.1) == pytest.approx([0.2])
    assert sleeper.calls == 1


def test_it_is_left_in_evaluation_mode_and_its_statistics_do_not_move():
    model = describer("resnet.ResNet", "resnet18", [32, 32]).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    measured = costs.measure(model, "cpu")
    assert measured.latency_ms > 0 and measured.latency_runs == 30
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
