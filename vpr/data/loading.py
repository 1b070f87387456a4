"""Loading images in worker processes: their number, their threads, and the count of images that cannot be read."""

from __future__ import annotations

import os
from collections.abc import Sequence

import cv2
from torch.utils.data import get_worker_info

from vpr.errors import DataError


def loader_workers(configured: int, ranks: int = 1, limit: int = 16) -> int:
    """Return the number of loader processes of each rank; -1 is one a core, less one for the rank itself.

    Args:
        configured: taken as it is unless negative.
        ranks: processes that share this machine's cores.
        limit: more of them than this do not help.
    """
    if configured >= 0:
        return configured
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(limit, cores // ranks - 1))


def one_opencv_thread_in_a_worker() -> None:
    """Keep OpenCV from starting threads of its own in a loader process; elsewhere nothing changes.

    Workers are as many as there are cores, so that such threads would only fight. To be called where OpenCV is used,
    not at import: the thread count is lost in a fork, and the main process keeps what it had.
    """
    if get_worker_info() is not None and cv2.getNumThreads() > 1:
        cv2.setNumThreads(0)


class BadImageTally:
    """Counts unreadable images over the batches of a run, each once however many workers report it; ends bad runs.

    Args:
        where: the setting that says where they lie, e.g. `dataset.weak.*`; for the message.
        limit: share of bad images among all images seen that a run may skip.
        minimum: images that must have been seen before the share is judged.
        allowance: images that the share is taken of as long as fewer were seen: two bad ones in the first hundred
            would be chance where one in 200 is bad.
    """

    def __init__(self, where: str, limit: float = 0.01, minimum: int = 100, allowance: int = 500) -> None:
        self.where = where
        self.limit = limit
        self.minimum = minimum
        self.allowance = allowance
        self.seen = 0
        self.bad: dict[str, None] = {}

    def add(self, good: int, bad: Sequence[str]) -> None:
        """Count one batch: `good` images, and a message for each bad one.

        Raises:
            DataError: more images than `limit` allows, or all images so far, cannot be read.
        """
        new = [message for message in bad if message not in self.bad]
        self.bad.update(dict.fromkeys(new))
        self.seen += good + len(new)
        count = len(self.bad)
        too_many = self.seen >= self.minimum and count > self.limit * max(self.seen, self.allowance)
        if too_many or (count and count == self.seen):
            first = "; ".join(list(self.bad)[:3])
            raise DataError(
                f"{count:,} of {self.seen:,} training images cannot be read, more than {self.limit:.0%} "
                f"(first: {first}). Extract the archive again, or check {self.where}."
            )
