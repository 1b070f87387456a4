"""Callbacks of a run from the entries of its config group `callbacks`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from pytorch_lightning.callbacks import Callback

from vpr.errors import ConfigError
from vpr.training.callbacks.bad_images import BadImages
from vpr.training.callbacks.checkpointing import ResumeCheckpoint
from vpr.training.callbacks.evaluation import RecallEvaluation

NEEDED: dict[str, type[Callback]] = {
    "bad_images": BadImages,
    "checkpoints": ResumeCheckpoint,
    "evaluation": RecallEvaluation,
}
FIRST, LAST = ("bad_images",), ("checkpoints", "evaluation", "throughput")


def check_callbacks(entries: Mapping[str, Any]) -> None:
    """Make sure that each entry is a callback, or makes one of the objects of a run.

    Args:
        entries: name -> callback, or a partial of one (`_partial_: true`).

    Raises:
        ConfigError: an entry is something else.
    """
    for name, entry in entries.items():
        kind = entry.func if isinstance(entry, partial) else type(entry)
        if not (isinstance(kind, type) and issubclass(kind, NEEDED.get(name, Callback))):
            expected = f"a {NEEDED[name].__name__}" if name in NEEDED else "a callback of pytorch_lightning"
            raise ConfigError(
                f"callbacks.{name}: {getattr(kind, '__name__', kind)} is not {expected}. Name another class in "
                f"callbacks.{name}._target_, or leave it out."
            )


def complete(
    entries: Mapping[str, Any], given: Mapping[str, Mapping[str, Any]], prepared: Sequence[Callback]
) -> list[Callback]:
    """Return the callbacks of a run in the order in which they are called.

    Ours come at fixed places. All others are called before `last.ckpt` is written and before an evaluation, so that
    what they change in a step is in both.

    Args:
        entries: as `check_callbacks` takes them.
        given: name of a partial entry -> the objects of the run that it takes.
        prepared: more callbacks that the run has made itself; they come before those of the user.
    """
    made: dict[str, Callback] = {
        name: entry(**given.get(name, {})) if isinstance(entry, partial) else entry for name, entry in entries.items()
    }
    others = [callback for name, callback in made.items() if name not in FIRST + LAST]
    first, last = ([made[name] for name in names if name in made] for names in (FIRST, LAST))
    return [*first, *prepared, *others, *last]
