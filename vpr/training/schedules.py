"""Learning-rate schedules: a factor per optimiser step, a pure function of the step: a resumed run goes on exactly."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

Factor = Callable[[int], float]


def constant(optimizer: Optimizer, steps_per_epoch: int, total_steps: int, *, warmup_steps: int = 0) -> LambdaLR:
    """Return the base learning rate after a linear warm-up."""
    return LambdaLR(optimizer, lambda step: _warmup(step, warmup_steps))


def linear(
    optimizer: Optimizer, steps_per_epoch: int, total_steps: int, *, steps: int = 4000, final_factor: float = 0.2
) -> LambdaLR:
    """Return the base learning rate falling in a straight line to `final_factor` of it over `steps` (SALAD, 2024)."""

    def factor(step: int) -> float:
        return 1 - (1 - final_factor) * min(1.0, step / steps)

    return LambdaLR(optimizer, factor)


def warmup_multistep(
    optimizer: Optimizer,
    steps_per_epoch: int,
    total_steps: int,
    *,
    warmup_steps: int = 650,
    warmup_epochs: float | None = None,
    milestones: Sequence[int] = (5, 10, 15, 25, 45),
    gamma: float = 0.3,
) -> LambdaLR:
    """Return a linear warm-up, then steps down by `gamma` at the start of each epoch of `milestones` (MixVPR, 2023).

    During the warm-up the rate is `(step + 1) / warmup_steps` of the base rate; `warmup_epochs` says its length in
    epochs instead. A milestone that falls into it is lost:
    the published code writes the warm-up rate over it. With `warmup_steps=0` these are plain milestones.
    """
    if warmup_epochs is not None:
        warmup_steps = round(warmup_epochs * steps_per_epoch)
    drops = [m * steps_per_epoch for m in milestones if m * steps_per_epoch >= warmup_steps]

    def factor(step: int) -> float:
        return _warmup(step, warmup_steps) * gamma ** sum(drop <= step for drop in drops)

    return LambdaLR(optimizer, factor)


def warmup_cosine(
    optimizer: Optimizer, steps_per_epoch: int, total_steps: int, *, warmup_steps: int = 0, final_factor: float = 0.0
) -> LambdaLR:
    """Return a linear warm-up, then half a cosine to `final_factor` of the base rate (Loshchilov & Hutter, 2017)."""

    def factor(step: int) -> float:
        if step < warmup_steps:
            return _warmup(step, warmup_steps)
        progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
        return final_factor + (1 - final_factor) * 0.5 * (1 + math.cos(math.pi * progress))

    return LambdaLR(optimizer, factor)


def _warmup(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / steps) if steps else 1.0
