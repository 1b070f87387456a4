"""Errors that a user can cause and mend. Each message says what was found, where, and what to do about it."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence

MISUSED, INTERRUPTED = 2, 130
"""Exit codes after an error that the user can mend, and after Ctrl-C."""

Main = Callable[[Sequence[str] | None], int]


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


class CheckpointError(VPRError):
    """A checkpoint is missing, damaged, from elsewhere, or does not fit the model."""


def ends_with_a_message(main: Main) -> Main:
    """Make the function of a `python -m` print the message of an error that the user can mend, and return 2."""

    @functools.wraps(main)
    def script(arguments: Sequence[str] | None = None) -> int:
        from vpr.files import disk_error  # which imports this file

        try:
            return main(arguments)
        except KeyboardInterrupt:
            print("Interrupted.", file=sys.stderr)
            return INTERRUPTED
        except (VPRError, OSError) as error:
            mended = error if isinstance(error, VPRError) else disk_error(error, None)
            if mended is None:
                raise
            print(f"{type(mended).__name__}: {mended}", file=sys.stderr)
            return MISUSED

    return script
