"""How many processes load images."""

from __future__ import annotations

import os


def loader_workers(wanted: int, ranks: int = 1, limit: int = 16) -> int:
    """Return the number of loader processes of each rank; -1 is one a core, less one for the rank itself.

    Args:
        wanted: as configured; taken as it is unless negative.
        ranks: processes that share this machine's cores.
        limit: more of them than this do not help.
    """
    if wanted >= 0:
        return wanted
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(limit, cores // ranks - 1))
