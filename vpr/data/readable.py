"""What the system refuses, as a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vpr.errors import DataError


@contextmanager
def readable(where: object = "") -> Iterator[None]:
    """Turn a refusal of the system (no permission, a broken link, a lost disk) into a DataError that names the path.

    Args:
        where: the path, for errors that do not name one themselves.
    """
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{error.filename or where} cannot be read: {error.strerror or error}. "
            "Look at its permissions and at the disk or link that it is on."
        ) from error
