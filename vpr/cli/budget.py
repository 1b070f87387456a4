"""Budgets: what a model may cost, as it is typed: `10ms` an image, `2MB` of weights, `3Mparams`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from vpr.errors import ConfigError

UNITS = ("ms", "MB", "Mparams")
"""Milliseconds an image, 10^6 bytes of weights and buffers in float32, 10^6 parameters."""


class Budget(NamedTuple):
    """Upper limits of the costs of a model.

    Attributes:
        limits: unit -> limit, at least one.
    """

    limits: Mapping[str, float]

    @classmethod
    def parse(cls, typed: str | Sequence[str]) -> Budget:
        """Read one limit or several, such as "10ms,2MB" or ["10ms", "2MB"].

        Raises:
            ConfigError: one of them is no number with a unit, not above 0, or there are two of one unit.
        """
        words = typed.split(",") if isinstance(typed, str) else [str(word) for word in typed]
        limits: dict[str, float] = {}
        for word in words:
            parts = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([a-z]+)\s*", word, re.IGNORECASE)
            unit = next((unit for unit in UNITS if parts and unit.lower() == parts[2].lower()), None)
            if parts is None or unit is None or not float(parts[1]) > 0 or unit in limits:
                raise ConfigError(
                    f"budget={typed}: {word.strip() or 'nothing'} is no limit of its own. A limit is a number with ms, "
                    "MB or Mparams behind it. Type for example budget=10ms, or 'budget=[10ms,2MB]' for two of them."
                )
            limits[unit] = float(parts[1])
        if not limits:
            raise ConfigError(f"budget={typed}: there is no limit. Type for example budget=10ms.")
        return cls(limits)

    def excess(self, costs: Mapping[str, float]) -> float:
        """Return the largest ratio of a cost, by unit, to its limit: a model of 1 or less fits."""
        return max(costs[unit] / limit for unit, limit in self.limits.items())

    def taking(self, costs: Mapping[str, float]) -> str:
        """Return the budget, as it is typed, that is this one raised as far as these costs need."""
        raised = [f"{max(limit, _up(costs[unit])):g}{unit}" for unit, limit in self.limits.items()]
        return f"'budget=[{','.join(raised)}]'" if len(raised) > 1 else f"budget={raised[0]}"


def _up(value: float) -> float:
    """Round up to two digits."""
    unit = 10 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(round(value / unit, 6)) * unit:.6g}")
