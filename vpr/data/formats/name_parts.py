"""What a file name says besides the file: the panorama that an image was cut from, the capture that it belongs to."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vpr.errors import ConfigError, DataError


def name_parts(files: Sequence[str], pattern: str, what: str) -> list[str]:
    r"""Give the part of each name, from its start, that a regular expression matches.

    >>> name_parts(["000/000829_pitch1_yaw7.jpg"], r".+(?=_pitch)", "capture")
    ['000/000829']

    Args:
        what: name of the setting, for messages.

    Raises:
        ConfigError: no regular expression; DataError: a name that it does not match.
    """
    try:
        match = re.compile(pattern).match
    except re.error as error:
        raise ConfigError(f"{what}={pattern} is no regular expression: {error}.") from error
    parts = []
    for file in files:
        found = match(file)
        if not found:
            raise DataError(f"{what}={pattern} does not match the file name {file}. Change it, or the list of files.")
        parts.append(found.group())
    return parts
