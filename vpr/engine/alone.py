"""One run at a time."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from vpr.retrieval import ranks

log = logging.getLogger(__name__)

PATIENCE = 30.0
"""Seconds after which the rank that waits tells its fellows so: their collective would time out otherwise."""


@contextmanager
def alone(folder: Path, waiting: str) -> Iterator[None]:
    """Let one run at a time work in `folder`, with all its ranks; another one is waited for, and `waiting` logged.

    A run that ends in whatever way lets the folder go.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_suffix(".lock"))
    if not ranks.on_first(lambda: _acquired(lock, 0)):
        if ranks.rank() == 0:
            log.info(waiting)
        while not ranks.on_first(lambda: _acquired(lock, PATIENCE)):
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
