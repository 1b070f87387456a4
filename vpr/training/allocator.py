"""Memory of a training process on a CPU."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of glibc's malloc.h


def keep_freed_memory() -> bool:
    """Keep what tensors free for the next ones, instead of giving it back to the kernel; False without glibc.

    glibc maps each block of more than 32 MB anew, and the kernel fills its pages with zeros. A step of training asks for
    the same blocks as the one before it: a third of the time of small networks on a CPU went into that. The process
    keeps the memory of its largest step until it ends. The values computed are the same.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return False
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, 2**31 - 1))
