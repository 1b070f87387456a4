"""Learning-rate schedules, against the published run's rates and by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from vpr.training.schedules import constant, linear, warmup_cosine, warmup_multistep


def rates(make, total: int, steps_per_epoch: int, base: float = 0.05, **options) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=base)
    scheduler = make(optimizer, steps_per_epoch, total, **options)
    out = []
    for _ in range(total):
        out.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return out


@pytest.mark.parametrize(
    ("key", "steps_per_epoch", "epochs", "warmup"),
    [("spe10_epochs12_warm25", 10, 12, 25), ("spe4_epochs8_warm26_overlaps_milestone", 4, 8, 26)],
)
def test_each_step_has_the_published_rate(shared: Path, key: str, steps_per_epoch: int, epochs: int, warmup: int):
    golden = json.loads((shared / "golden" / "mixvpr_lr_schedule.json").read_text())[key]
    ours = rates(warmup_multistep, steps_per_epoch * epochs, steps_per_epoch, warmup_steps=warmup)
    assert ours == pytest.approx(golden, rel=1e-9)


def test_a_published_length_run_ends_each_epoch_at_the_published_rate(shared: Path):
    golden = json.loads((shared / "golden" / "mixvpr_lr_schedule.json").read_text())
    expected = golden["epoch_end_lr_spe1954_epochs80_warm650"]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.05)
    factor = warmup_multistep(optimizer, 1954, 1954 * 80).lr_lambdas[0]
    # The file holds the rate of each epoch's last step.
    assert [0.05 * factor(1954 * (epoch + 1) - 1) for epoch in range(80)] == pytest.approx(expected, rel=1e-9)


def test_multistep_by_hand():
    # Two steps an epoch, drops at the starts of epochs 1 and 3, no warm-up.
    ours = rates(warmup_multistep, 8, 2, base=1.0, warmup_steps=0, milestones=[1, 3], gamma=0.5)
    assert ours == [1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]


def test_a_warm_up_in_epochs():
    in_epochs, in_steps = ({"warmup_epochs": 1.5}, {"warmup_steps": 6})
    rest = {"milestones": [2], "gamma": 0.1}
    assert rates(warmup_multistep, 12, 4, **in_epochs, **rest) == rates(warmup_multistep, 12, 4, **in_steps, **rest)
    # BoQ's first milestone is the end of its warm-up: the rate falls there.
    assert rates(warmup_multistep, 6, 2, base=1.0, warmup_epochs=2, milestones=[2], gamma=0.1)[3:5] == [1, 0.1]


def test_linear_by_hand():
    expected = [1, 0.8, 0.6, 0.4, 0.2, 0.2]
    assert rates(linear, 6, 3, base=1.0, steps=4, final_factor=0.2) == pytest.approx(expected)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.2, total_iters=4)
    for rate in expected:
        assert theirs.get_last_lr() == pytest.approx([rate])
        optimizer.step()
        theirs.step()


def test_cosine_by_hand():
    ours = rates(warmup_cosine, 7, 7, base=2.0, warmup_steps=2, final_factor=0.1)
    cosine = [0.1 + 0.9 * (1 + math.cos(math.pi * k / 5)) / 2 for k in range(5)]
    assert ours == pytest.approx([1.0, 2.0, *(2 * c for c in cosine)])


def test_constant_warms_up_and_stays():
    assert rates(constant, 4, 4, base=1.0, warmup_steps=2) == [0.5, 1, 1, 1]
