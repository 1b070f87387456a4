"""What ranks tell each other; without a process group there is one rank, and it talks to itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch.distributed as dist

from vpr.errors import VPRError

T = TypeVar("T")

PATIENCE = timedelta(days=1)
"""How long ranks wait for one another: the first searches, and fits PCA, alone, for longer than the ten minutes that
NCCL would wait. Where a rank dies, torchrun or Lightning ends the others, and `vpr.engine.orphan` where the dead one
had started them itself."""


def active() -> bool:
    """Whether a process group is initialised."""
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """This process' number, 0 without a process group."""
    return dist.get_rank() if active() else 0


def world() -> int:
    """Number of processes, 1 without a process group."""
    return dist.get_world_size() if active() else 1


def gather(value: T) -> list[T]:
    """Collect `value` of all ranks on all ranks, by rank; everybody waits for everybody."""
    if not active():
        return [value]
    values: list[T | None] = [None] * world()
    dist.all_gather_object(values, value)
    return values  # type: ignore[return-value]


def broadcast(value: T) -> T:
    """Give rank 0's `value` to all ranks."""
    if not active():
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


@contextmanager
def together() -> Iterator[None]:
    """Raise on all ranks what one of them raises inside: they would wait for it.

    All leave at the same time. No collective inside: one that has raised would miss it. An error that is none of
    `vpr.errors` is a RuntimeError on the others, as not each can be pickled.
    """
    error: Exception | None = None
    try:
        yield
    except Exception as caught:
        error = caught
    told = error if error is None or isinstance(error, VPRError) else RuntimeError(f"{type(error).__name__}: {error}")
    first = next((found for found in gather(told) if found is not None), None)
    if first is not None:
        raise error or first


def on_first(work: Callable[[], T]) -> T:
    """Have rank 0 do `work` alone, and give its result, or what it raises, to all ranks."""
    box: list[T] = []
    with together():
        if rank() == 0:
            box.append(work())
    return broadcast(box)[0]
