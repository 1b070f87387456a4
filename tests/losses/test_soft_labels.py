"""Region losses against golden numbers and sums by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vpr.losses.soft_labels import hardest_regions, soft_labels


def rows(*shape: int, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.manual_seed(seed)), dim=-1)


def test_the_hardest_region_of_each_negative_by_hand():
    anchor = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    a, b, c = [1.0, 0.0], [0.6, 0.8], [-1.0, 0.0]
    regions = torch.tensor([[[a, b], [c, b]], [[a, b], [c, a]]])
    expected = torch.tensor([[a, b], [b, c]])  # of equally near ones the first
    assert torch.equal(hardest_regions(anchor, regions), expected)


def test_golden_hard_losses(shared: Path):
    from vpr.losses.tuples import sare_independent, sare_joint, triplet

    stored = np.load(shared / "golden" / "sare_losses.npz")
    golden = {key: torch.from_numpy(np.asarray(stored[key])) for key in stored.files}
    anchor, positive = golden["hard_anchor"][None], golden["hard_positive"][None]
    # The scores that choose are numbers of their own there.
    chosen = golden["hard_negatives"][torch.arange(5), golden["hard_scores"].argmax(1)][None]
    triple = anchor, positive, chosen
    assert sare_independent(*triple, temperature=0.07).item() == pytest.approx(golden["hard_sare_ind"].item(), 1e-6)
    assert sare_joint(*triple, temperature=0.07).item() == pytest.approx(golden["hard_sare_joint"].item(), 1e-6)
    assert triplet(*triple).item() == pytest.approx(golden["hard_triplet"].item(), 1e-6)


def test_only_the_chosen_regions_get_a_gradient():
    anchor, regions = rows(2, 4), rows(2, 3, 5, 4, seed=1).requires_grad_()
    hardest_regions(anchor.requires_grad_(), regions).sum().backward()
    touched = regions.grad.abs().sum(3) > 0
    assert touched.sum(2).tolist() == [[1] * 3] * 2
    assert torch.equal(touched.int().argmax(2), torch.einsum("td,tnrd->tnr", anchor, regions).argmax(2))
    assert anchor.grad is None


def test_soft_labels_by_hand():
    # Likenesses 1 and 0 by the earlier generation, 0.6 and 0.8 by the student; one difficult positive, two regions.
    anchor = torch.tensor([[1.0, 0.0]])
    earlier = anchor, torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]])
    student = anchor, torch.tensor([[[[0.6, 0.8], [0.8, 0.6]]]])
    first = math.exp(1 / 0.5) / (math.exp(1 / 0.5) + 1)
    of_student = 1 / (1 + math.exp((0.8 - 0.6) / 0.1))
    expected = -first * math.log(of_student) - (1 - first) * math.log(1 - of_student)
    assert soft_labels(student, earlier, 0.5, 0.1).item() == pytest.approx(expected, rel=1e-6)


def test_each_tuple_for_itself_and_networks_of_other_lengths():
    student, earlier = (rows(2, 4), rows(2, 3, 7, 4, seed=1)), (rows(2, 6, seed=2), rows(2, 3, 7, 6, seed=3))
    both = soft_labels(student, earlier, 0.06, 0.07)
    for i in range(2):
        ours, theirs = ((anchor[i : i + 1], parts[i : i + 1]) for anchor, parts in (student, earlier))
        torch.testing.assert_close(both[i : i + 1], soft_labels(ours, theirs, 0.06, 0.07))


def test_absent_difficult_positives_do_not_count():
    anchor, regions = rows(3, 4), rows(3, 2, 7, 4, seed=1)
    theirs = rows(3, 4, seed=2), rows(3, 2, 7, 4, seed=3)
    present = torch.tensor([[True, True], [True, False], [False, False]])
    filled = regions.clone()
    filled[1, 1], filled[2] = 0, 0
    filled.requires_grad_()
    value = soft_labels((anchor, filled), theirs, 0.06, 0.07, present)
    both = soft_labels((anchor[:1], regions[:1]), (theirs[0][:1], theirs[1][:1]), 0.06, 0.07)
    one = soft_labels((anchor[1:2], regions[1:2, :1]), (theirs[0][1:2], theirs[1][1:2, :1]), 0.06, 0.07)
    torch.testing.assert_close(value, torch.cat([both, one]))
    value.sum().backward()
    assert filled.grad.isfinite().all() and filled.grad[present].abs().amax((1, 2)).min() > 0
    assert filled.grad[~present].abs().max() == 0


@pytest.mark.parametrize("difficult", [0, 2])
def test_tuples_without_any_difficult_positive_give_nothing_and_keep_the_graph(difficult: int):
    anchor, regions = rows(2, 4).requires_grad_(), rows(2, difficult, 7, 4)
    present = torch.zeros(2, difficult, dtype=torch.bool)
    value = soft_labels((anchor, regions), (anchor, regions), 0.06, 0.07, present)
    value.sum().backward()
    assert value.shape == (0,) and anchor.grad is not None and anchor.grad.abs().max() == 0


def test_labels_have_no_gradient():
    student, earlier = (rows(1, 4), rows(1, 2, 7, 4, seed=1)), (rows(1, 4, seed=2), rows(1, 2, 7, 4, seed=3))
    for tensor in (*student, *earlier):
        tensor.requires_grad_()
    soft_labels(student, earlier, 0.06, 0.07).backward()
    assert all(t.grad is not None and t.grad.abs().max() > 0 for t in student)
    assert all(t.grad is None for t in earlier)
