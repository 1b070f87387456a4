"""A protocol id says within what distance a database image is right; the distance that is used must be that one."""

from __future__ import annotations

import re

from vpr.errors import ConfigError
from vpr.types import Protocol

UNITS = {"radius": "m", "tolerance": "f"}  # metres, frames


def check_distance(protocol: Protocol, option: str, value: float) -> None:
    """Look whether `radius` or `tolerance` can be one, and is the `@25m` or `@2f` of the id if that has one.

    Raises:
        ConfigError: it is negative or no number, or the id says another one.
    """
    if not value >= 0:
        raise ConfigError(f"{protocol.id}: {option}={value:g} must be 0 or more.")
    unit = UNITS[option]
    said = re.search(rf"@(\d+(?:\.\d+)?){unit}(?![^\W_])", protocol.id)
    if said and float(said[1]) != value:
        other = f"{protocol.id[: said.start()]}@{value:g}{unit}{protocol.id[said.end() :]}"
        raise ConfigError(
            f"{option}={value:g} does not fit the id {protocol.id}, under which the number would stand. "
            f"Give both: protocol.id={other}."
        )
