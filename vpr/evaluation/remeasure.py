"""Evaluation of a run's checkpoint once more, on the sets that the run was evaluated on, for the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hydra.utils import get_object

from vpr import checkpoint
from vpr.catalog.resolve import evaluation_sets
from vpr.data.loading import loader_workers
from vpr.errors import CheckpointError
from vpr.retrieval.evaluate import EvalOptions, Evaluation, evaluate
from vpr.retrieval.extractor import Extractor, pick_device

# A checkpoint may come from anyone: only what was written to read data is called because it says so.
READERS = ("vpr.data.formats", "vpr.data.cells", "vpr.toycity.dataset", "vpr.types.Protocol")


def remeasure(path: Path, device: str = "auto") -> dict[str, Evaluation]:
    """Return {protocol id: evaluation} of a describer on the evaluation sets of its own configuration.

    Raises:
        CheckpointError: its configuration has no evaluation sets, or names something that does not read data.
        DataError: a set is not there any more.
    """
    content = checkpoint.read(path)
    extractor = Extractor.of_checkpoint(content, str(path), pick_device(device))
    config = content["config"]
    dataset = config.get("dataset") or {}
    if not dataset.get("eval"):
        raise CheckpointError(f"{path}: its configuration has no evaluation sets, so there is nothing to evaluate.")
    for target in _targets(dataset["eval"]):
        if not _reads_data(target):
            raise CheckpointError(f"{path}: {target} in its data sets is no reader of vpr.data; nothing was called.")
    options = EvalOptions(
        num_workers=loader_workers(-1, 1), on_bad_image=dataset.get("on_bad_image", "raise"), progress=False
    )
    sets = evaluation_sets(dataset).values()
    results = [evaluate(extractor, retrieval_set, options=options) for retrieval_set in sets]
    return {result.protocol: result for result in results}


def _reads_data(target: object) -> bool:
    """Tell whether a target is defined by a reader's module, and not only imported there."""
    if not _is_reader(str(target)):
        return False
    try:
        reader = get_object(str(target))
        return _is_reader(f"{reader.__module__}.{reader.__qualname__}")
    except Exception:  # there is no such thing, in one of many ways
        return False


def _is_reader(name: str) -> bool:
    return any(name == reader or name.startswith(f"{reader}.") for reader in READERS)


def _targets(node: Any) -> Iterator[Any]:
    if isinstance(node, Mapping):
        yield from (value for key, value in node.items() if key == "_target_")
        for value in node.values():
            yield from _targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from _targets(value)
