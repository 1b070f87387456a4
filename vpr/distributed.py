"""Distributed helpers: rank and world size, gather, broadcast, work of rank 0, and a lock around a run.

Without a process group there is one rank, and each function works as for a world of one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from filelock import FileLock, Timeout
from torch import Tensor

from vpr.errors import VPRError

log = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE = timedelta(days=1)
"""Time that ranks wait for one another: rank 0 searches, and fits PCA, alone, for longer than the ten minutes that NCCL
would wait. Where a rank dies, torchrun or Lightning ends the others, and `vpr.training.trainer` where the dead one had
started them itself."""

LOCK_PATIENCE = 30.0
"""Seconds after which the rank that waits for a lock tells the others so: their collective would time out otherwise."""


def active() -> bool:
    """Tell whether a process group is initialised."""
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """Return this process' number, 0 without a process group."""
    return dist.get_rank() if active() else 0


def world_size() -> int:
    """Return the number of processes, 1 without a process group."""
    return dist.get_world_size() if active() else 1


def gather_objects(value: T) -> list[T]:
    """Return the `value` of all ranks on all ranks, by rank; a barrier."""
    if not active():
        return [value]
    values: list[T | None] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values  # type: ignore[return-value]


def broadcast_object(value: T) -> T:
    """Return rank 0's `value` on all ranks."""
    if not active():
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


@contextmanager
def raise_on_all_ranks() -> Iterator[None]:
    """Raise on all ranks what one of them raises inside: they would wait for it.

    All leave at the same time. No collective inside: one that has raised would miss it. An error that is none of
    `vpr.errors` is a RuntimeError on the others, as not each can be pickled.
    """
    error: Exception | None = None
    try:
        yield
    except Exception as caught:
        error = caught
    sent = error if error is None or isinstance(error, VPRError) else RuntimeError(f"{type(error).__name__}: {error}")
    first = next((received for received in gather_objects(sent) if received is not None), None)
    if first is not None:
        raise error or first


def on_rank_zero(work: Callable[[], T]) -> T:
    """Have rank 0 do `work` alone, and give its result, or what it raises, to all ranks."""
    box: list[T] = []
    with raise_on_all_ranks():
        if rank() == 0:
            box.append(work())
    return broadcast_object(box)[0]


@contextmanager
def exclusive_lock(folder: Path, waiting: str) -> Iterator[None]:
    """Let one run at a time work in `folder`, with all its ranks; another one is waited for, and `waiting` logged.

    A run that ends in whatever way lets the folder go.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_suffix(".lock"))
    if not on_rank_zero(lambda: _acquired(lock, 0)):
        if rank() == 0:
            log.info(waiting)
        while not on_rank_zero(lambda: _acquired(lock, LOCK_PATIENCE)):
            pass
    try:
        yield
    finally:
        lock.release()


def _acquired(lock: FileLock, seconds: float) -> bool:
    try:
        lock.acquire(timeout=seconds)
    except Timeout:
        return False
    return True


def gather_rows(rows: Tensor) -> Tensor:
    """Stack the rows of all ranks, in the order of the ranks; ranks may have different numbers of rows.

    The gradient comes back to the rank that a row came from, summed over all ranks. A loss of the gathered rows is the
    same on each rank, so after DistributedDataParallel has averaged over the ranks the parameters get the gradient of
    one process with the whole batch.

    Args:
        rows: (n, ...) on this rank.

    Returns:
        (sum of all n, ...); `rows` itself without a process group.
    """
    if world_size() == 1:
        return rows
    count = torch.tensor([len(rows)], device=rows.device)
    counts = [torch.zeros_like(count) for _ in range(world_size())]
    dist.all_gather(counts, count)
    sizes = [int(n) for n in counts]
    # Collectives need equal shapes: fill up to the longest and cut the filling off again.
    padding = rows.new_zeros((max(sizes) - len(rows), *rows.shape[1:]))
    parts: Tensor = _AllGather.apply(torch.cat([rows, padding]).contiguous())
    return torch.cat([part[:n] for part, n in zip(parts, sizes, strict=True)])


class _AllGather(torch.autograd.Function):
    """All-gather (n, ...) -> (ranks, n, ...) whose backward pass sums the gradients of all ranks."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(world_size())]
        dist.all_gather(parts, rows)
        return torch.stack(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].contiguous()
        dist.all_reduce(gradient)
        return gradient[rank()]
