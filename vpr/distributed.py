"""What ranks tell each other; without a process group there is one rank, and it talks to itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from filelock import FileLock, Timeout
from torch import Tensor
from torch.distributed.nn.functional import all_gather

from vpr.errors import VPRError

log = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE = timedelta(days=1)
"""How long ranks wait for one another: the first searches, and fits PCA, alone, for longer than the ten minutes that
NCCL would wait. Where a rank dies, torchrun or Lightning ends the others, and `vpr.training.trainer` where the dead one
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


# FOLDED vpr/distributed.py: One run at a time.


LOCK_PATIENCE = 30.0
"""Seconds after which the rank that waits tells its fellows so: their collective would time out otherwise."""


@contextmanager
def alone(folder: Path, waiting: str) -> Iterator[None]:
    """Let one run at a time work in `folder`, with all its ranks; another one is waited for, and `waiting` logged.

    A run that ends in whatever way lets the folder go.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_suffix(".lock"))
    if not on_first(lambda: _acquired(lock, 0)):
        if rank() == 0:
            log.info(waiting)
        while not on_first(lambda: _acquired(lock, LOCK_PATIENCE)):
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


# FOLDED vpr/distributed.py: The global batch under data-parallel training.


def world_size() -> int:
    """Return the number of processes that train together; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


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
    padded = torch.cat([rows, padding]).contiguous()
    if rows.requires_grad:
        parts = all_gather(padded)
    else:
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
    return torch.cat([part[:n] for part, n in zip(parts, sizes, strict=True)])
