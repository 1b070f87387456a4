"""Metric losses: the published configuration's values, and the composed loss YAMLs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

CONF = Path(__file__).parents[2] / "conf" / "loss"
GOLDEN_NAME = {
    "multi_similarity": "ms",
    "supcon": "SupConLoss",
    "circle": "CircleLoss",
    "contrastive": "ContrastiveLoss",
    "lifted_structure": "Lifted",
    "fast_ap": "FastAPLoss",
    "ntxent": "NTXentLoss",
    "triplet": "TripletMarginLoss",
}


def build(name: str, **changes):
    node = OmegaConf.load(CONF / f"{name}.yaml")
    return instantiate(OmegaConf.merge(node, changes))


@pytest.mark.parametrize("name", sorted(GOLDEN_NAME))
def test_value_and_gradient_are_the_published_ones(shared: Path, name: str):
    golden = np.load(shared / "golden" / "mixvpr_losses.npz")
    embeddings = torch.tensor(golden["embeddings"], requires_grad=True)
    loss = build(name)
    if name != "multi_similarity":
        loss.miner = None  # the file holds these losses over all pairs
    result = loss(embeddings, torch.tensor(golden["labels"]))
    result.value.backward()
    key = GOLDEN_NAME[name]
    np.testing.assert_allclose(result.value.item(), golden[f"{key}_loss"], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(embeddings.grad.numpy(), golden[f"{key}_grad"], rtol=1e-4, atol=1e-5)


def test_mined_share_is_one_minus_the_published_batch_accuracy(shared: Path):
    golden = np.load(shared / "golden" / "mixvpr_losses.npz")
    result = build("multi_similarity")(torch.tensor(golden["embeddings"]), torch.tensor(golden["labels"]))
    assert result.mined == pytest.approx(1 - float(golden["ms_b_acc"]))


def test_multi_similarity_by_hand():
    # Two places, two images each, on the unit circle.
    angles = torch.tensor([0.0, 0.9, 0.5, 1.4], dtype=torch.float64)
    points = torch.stack([angles.cos(), angles.sin()], dim=1)
    labels = torch.tensor([0, 0, 1, 1])
    expected = 0.0
    for i in range(4):
        positive = [j for j in range(4) if labels[j] == labels[i] and j != i]
        negative = [j for j in range(4) if labels[j] != labels[i]]
        similarity = [float(torch.cos(angles[i] - angles[j])) for j in range(4)]
        kept_p = [j for j in positive if similarity[j] - 0.1 < max(similarity[n] for n in negative)]
        kept_n = [j for j in negative if similarity[j] + 0.1 > min(similarity[p] for p in positive)]
        expected += np.log1p(sum(np.exp(-similarity[j]) for j in kept_p))
        expected += np.log1p(sum(np.exp(50 * similarity[j]) for j in kept_n)) / 50
    result = build("multi_similarity")(points.float(), labels)
    assert result.value.item() == pytest.approx(expected / 4, rel=1e-5)


def test_the_loss_is_computed_in_float32_under_autocast():
    points = torch.nn.functional.normalize(torch.randn(8, 4, generator=torch.Generator().manual_seed(0)))
    labels = torch.arange(4).repeat_interleave(2)
    exact = build("multi_similarity")(points, labels).value
    with torch.autocast("cpu", torch.bfloat16):
        mixed = build("multi_similarity")(points, labels).value
    assert mixed.dtype == torch.float32
    assert torch.equal(exact, mixed)
