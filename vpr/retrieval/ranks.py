"""What ranks tell each other; without a process group there is one rank, and it talks to itself."""

from __future__ import annotations

from typing import TypeVar

import torch.distributed as dist

T = TypeVar("T")


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
