"""What a run remembers of an evaluation."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from vpr.retrieval.evaluate import Evaluation
from vpr.retrieval.examples import choose

# Misses, and as many hits, that a run keeps to show them when it ends.
EXAMPLES = 6
Shots = list[tuple[str, str, bool | None]]


class Measured(NamedTuple):
    """Recalls of one set (0..1) by name, and per counted query whether its first neighbour is right: (Q,) bool.

    `examples` are a few queries and their first matches: a note and (path, caption, right) of each photo.
    """

    protocol: str
    counts: dict[str, int]
    metrics: dict[str, float]
    hits: torch.Tensor
    examples: list[tuple[str, Shots]]

    @classmethod
    def of(cls, result: Evaluation) -> Measured:
        """Take from an evaluation what training needs; its smallest k is 1."""
        first = torch.from_numpy(result.hits[result.counted, 0].copy())
        examples = [
            (example.note, [(str(shot.path), shot.caption, shot.right) for shot in example.shots])
            for column in choose(result, count=EXAMPLES).values()
            for example in column
        ]
        return cls(result.protocol, result.counts, result.metrics(), first, examples)


def to_state(measured: dict[str, Measured]) -> dict[str, dict[str, Any]]:
    """Return plain containers and tensors, for a checkpoint."""
    return {name: value._asdict() for name, value in measured.items()}


def from_state(state: dict[str, dict[str, Any]]) -> dict[str, Measured]:
    """Return what `to_state` was given."""
    return {name: Measured(**value) for name, value in state.items()}
