"""The global batch under data-parallel training."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.nn.functional import all_gather


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
