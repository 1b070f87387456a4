"""SARE and triplets: the published values and gradients, and the formulas by hand."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch

from vpr.losses.tuples import TupleLoss, sare_independent, sare_joint, triplet

EUCLIDEAN = {
    "triplet": triplet,
    "sare_joint": partial(sare_joint, temperature=None),
    "sare_ind": partial(sare_independent, temperature=None),
}
DOT = {"triplet": triplet, "sare_joint": sare_joint, "sare_ind": sare_independent}
PUBLISHED = {"openibl": EUCLIDEAN, "wakd": DOT, "sfrs": DOT}


@pytest.mark.parametrize("name", ["triplet", "sare_joint", "sare_ind"])
@pytest.mark.parametrize("project", PUBLISHED)
def test_values_and_gradients_are_the_published_ones(shared, project: str, name: str):
    golden = np.load(shared / "golden" / "sare_losses.npz")
    tuples = torch.from_numpy(golden["emb"]).requires_grad_()
    loss = PUBLISHED[project][name](tuples[:, 0], tuples[:, 1], tuples[:, 2:])
    np.testing.assert_allclose(loss.item(), golden[f"{project}_{name}"], rtol=1e-6, atol=1e-6)
    if project != "sfrs":  # of which there are values only
        loss.backward()
        np.testing.assert_allclose(tuples.grad, golden[f"{project}_{name}_grad"], rtol=1e-4, atol=1e-5)


# One tuple in the plane: the positive at 60 degrees from the anchor, negatives at 90 and at 0 degrees.
ANCHOR, POSITIVE = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.5, math.sqrt(0.75)]])
NEGATIVES = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
EXPECTED = [
    # dot products 0.5; 0, 1, at temperature 0.5
    (partial(sare_independent, temperature=0.5), (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(1))) / 2),
    (partial(sare_joint, temperature=0.5), math.log(1 + math.exp(-1) + math.exp(1))),
    # squared distances 1; 2, 0
    (partial(sare_independent, temperature=None), (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(1))) / 2),
    (partial(sare_joint, temperature=None), math.log(1 + math.exp(-1) + math.exp(1))),
    # distances 1; sqrt(2), 0
    (partial(triplet, margin=0.5), ((1 - math.sqrt(2) + 0.5) + (1 - 0 + 0.5)) / 2),
]


@pytest.mark.parametrize(("formula", "expected"), EXPECTED)
def test_formulas_by_hand(formula, expected: float):
    assert formula(ANCHOR, POSITIVE, NEGATIVES).item() == pytest.approx(expected, abs=1e-5)


def test_a_tuple_loss_counts_tuples_whose_negative_is_nearer():
    far = torch.tensor([[[0.0, 1.0], [-1.0, 0.0]]])
    double = [torch.cat([x, x]).half() for x in (ANCHOR, POSITIVE)]
    result = TupleLoss(triplet)(*double, torch.cat([NEGATIVES, far]).half())
    assert result.mined == 0.5
    assert result.value.dtype == torch.float32
