"""How many processes load images, and how many threads each has."""

from __future__ import annotations

import os

import cv2
from torch.utils.data import get_worker_info


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


def one_opencv_thread_in_a_worker() -> None:
    """Keep OpenCV from starting threads of its own in a loader process; elsewhere nothing changes.

    Workers are as many as there are cores, so that such threads would only fight. To be called where OpenCV is used,
    not at import: the thread count is lost in a fork, and the main process keeps what it had.
    """
    if get_worker_info() is not None and cv2.getNumThreads() > 1:
        cv2.setNumThreads(0)
