"""Stops a training that skips too many unreadable photos."""

from __future__ import annotations

from collections.abc import Sequence

from vpr.errors import DataError


class BadImageTally:
    """Counts unreadable photos over the batches of a run, each photo once however many workers report it.

    Args:
        where: what says where they lie, e.g. `dataset.weak.*`; for the message.
        limit: share of bad photos among all photos seen that a run may skip.
        minimum: photos that must have been seen before the share is judged.
        allowance: photos that the share is taken of as long as fewer were seen: two bad ones in the first hundred
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
        """Count one batch: `good` photos, and a sentence for each bad one.

        Raises:
            DataError: more photos than `limit` allows, or all photos so far, cannot be read.
        """
        new = [sentence for sentence in bad if sentence not in self.bad]
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
