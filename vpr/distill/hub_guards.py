"""What keeps code of others from asking, waiting and getting in each other's way while it loads."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

PATIENCE = 30  # seconds without a byte from the network, after which it counts as absent


@contextmanager
def no_questions() -> Iterator[None]:
    """Close the terminal to code that would ask; torch does, where a repository's code loads another repository."""
    before = sys.stdin
    with open(os.devnull) as nothing:
        sys.stdin = nothing
        try:
            yield
        finally:
            sys.stdin = before


@contextmanager
def no_waiting() -> Iterator[None]:
    """Give up on a network that does not answer: torch itself would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def one_at_a_time(folder: str) -> FileLock:
    """Let one process fetch into a folder, and the others find it done."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    return FileLock(Path(folder) / ".vpr.lock")
