"""Errors that a user can cause and mend. Each message says what was found, where, and what to do about it."""

from __future__ import annotations

import errno
import functools
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vpr.terminal import say

MISUSED, INTERRUPTED = 2, 130
"""Exit codes after an error that the user can mend, and after Ctrl-C."""

Main = Callable[..., int]


REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota of the disk is used up",
    errno.EFBIG: "files may not become that large there",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "there is no permission",
    errno.EPERM: "there is no permission",
    errno.EIO: "the disk does not work",
    errno.EEXIST: "a file of this name is in the way",
    errno.ENOTDIR: "a part of the path is a file",
    errno.EISDIR: "it is a folder",
    errno.ENAMETOOLONG: "the name is too long",
}
"""Errors of a disk that a user can mend, by their number, in words."""
FULL = (errno.ENOSPC, errno.EDQUOT)
PROBE = 1 << 16  # bytes


class VPRError(Exception):
    """Base of all errors whose message is shown to the user, without a traceback."""


class ConfigError(VPRError):
    """A setting is wrong or does not go with another one."""


class WeightsUnavailable(ConfigError):
    """Pretrained weights were asked for and cannot be had."""


class DiskError(VPRError, OSError):
    """A file cannot be written: its disk is full or read-only, or its folder is not the user's to write to."""


class DataError(VPRError):
    """Images, lists or ground truth are missing, damaged or not what the protocol says."""


class DataAbsent(DataError):
    """A data set is not there at all: no folder, or none of its files."""


class IndexDamaged(DataError):
    """The files of a place index cannot be read, or do not belong together: it must be built again."""


class TrainingDiverged(VPRError):
    """The loss, or the weights, have become NaN or infinite."""


class CheckpointError(VPRError):
    """A checkpoint is missing, damaged, from elsewhere, or does not fit the model."""


def disk_error(error: BaseException, path: Path | None, written: Path | None = None) -> DiskError | None:
    """Return the message about an error that a disk is the cause of; None for any other one.

    Args:
        path: the file that the user knows of; None: not known.
        written: the file that was written. Libraries (torch, HDF5, faiss) raise errors without a number where a disk is
            full: whether it is one of these, a few more bytes in this file tell.
    """
    if isinstance(error, DiskError):
        return error
    number = error.errno if isinstance(error, OSError) else None
    if number is None and written is not None:
        number = _refusal(written)
    if number not in REASONS:
        return None
    named: Any = getattr(error, "filename", None)
    ours = named is None or (written is not None and Path(os.fsdecode(named)) == written)
    where = path if ours else Path(os.fsdecode(named))
    free = f" ({readable_bytes(shutil.disk_usage(existing(where)).free)} free)" if number in FULL and where else ""
    done = "written" if written or number in (*FULL, errno.EROFS, errno.EFBIG) else "read or written"
    free_some = (
        "Free some space, or write" if number in FULL else "Write" if done == "written" else "Mend that, or take"
    )
    to = " to another folder" if done == "written" else " another one"
    return DiskError(f"{where or 'A file'} cannot be {done}: {REASONS[number]}{free}. {free_some}{to}.")


def readable_bytes(count: float) -> str:
    """Return a number of bytes in a unit that fits it.

    >>> readable_bytes(999), readable_bytes(1_500_000), readable_bytes(2e13)
    ('999 bytes', '1.5 MB', '20,000.0 GB')
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count:,.0f} bytes"


def _refusal(path: Path) -> int | None:
    """Return the number of the error of writing a few more bytes to a file; None where they can be written."""
    try:
        with open(path, "ab") as file:
            file.write(bytes(PROBE))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno
    return None


def existing(path: Path) -> Path:
    """Return the nearest folder of a path that is there."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def ends_with_a_message(main: Main) -> Main:
    """Make the function of a `python -m` print the message of an error that the user can mend, and return 2."""

    @functools.wraps(main)
    def script(arguments: Sequence[str] | None = None) -> int:
        try:
            return main(arguments)
        except KeyboardInterrupt:
            say("Interrupted.")
            return INTERRUPTED
        except (VPRError, OSError) as error:
            mended = error if isinstance(error, VPRError) else disk_error(error, None)
            if mended is None:
                raise
            say(f"{type(mended).__name__}: {mended}")
            return MISUSED

    return script
