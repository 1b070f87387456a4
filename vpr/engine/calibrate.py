"""Calibration of a model's confidence on a labelled set: described and fitted once, and kept as a json."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vpr.config.entries import data_sets, dataset_names
from vpr.config.hints import did_you_mean
from vpr.data.retrieval_set import RetrievalSet
from vpr.engine.nearby import read_entry
from vpr.errors import CheckpointError, ConfigError, DataAbsent, DataError
from vpr.models.describer import Describer
from vpr.retrieval.confidence import LEAST, WIDTH, Calibration, lowest
from vpr.retrieval.describe import describe_fn
from vpr.retrieval.evaluate import evaluate
from vpr.retrieval.reliability import calibration_error, cross_validated
from vpr.retrieval.search import Neighbours

log = logging.getLogger(__name__)

FORMAT = 1


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A calibration, and how it did on queries that it had not seen.

    Attributes:
        calibration: fitted to all queries of the set; its threshold is taken from `confidence`.
        protocol: id of the labelled set's protocol.
        confidence, right: (Q,) of its queries, cross-validated: each by a fit to others; whether the answer was right.
        path: the json.
    """

    calibration: Calibration
    protocol: str
    confidence: np.ndarray
    right: np.ndarray
    path: Path

    @property
    def error(self) -> float:
        """Expected calibration error, cross-validated, 0..1."""
        return calibration_error(self.confidence, self.right)

    def asking(self, precision: float) -> Calibrated:
        """Return it with the threshold for another share of accepted answers that should be right."""
        threshold = lowest(self.confidence, self.right, precision)
        return replace(self, calibration=replace(self.calibration, threshold=threshold, precision=precision))

    def sentence(self) -> str:
        """Say what it is worth."""
        found, queries = self.calibration, len(self.right)
        known = f"Confidence is calibrated on {queries:,} queries of {self.protocol}, {100 * self.right.mean():.1f} %"
        known += f" of them answered right (expected calibration error {self.error:.3f}, cross-validated)."
        if not math.isfinite(found.threshold):
            return f"{known} No threshold makes {100 * found.precision:g} % of its answers right: none is accepted."
        accepted = self.right[self.confidence >= found.threshold]
        return (
            f"{known} Answers are accepted from {found.threshold:.3f} on: there {len(accepted):,}, of which "
            f"{accepted.sum():,} are right."
        )


def calibration(
    name: str,
    folder: Path,
    describer: Describer,
    model: str,
    *,
    data: str = "data",
    precision: float = 0.95,
    numbers: str = "32-true",
    batch_size: int = 32,
    num_workers: int = 0,
) -> Calibrated:
    """Return the calibration of a model on a labelled set, fitted now or before.

    The set goes through the ordinary evaluation, and counts the queries that its protocol counts.

    Args:
        name: of a set in conf/dataset, or the path of a `.json` that this function wrote.
        folder: where `calibration_<set>_<8 hex of the model>.json` is, or comes to be.
        describer: on its device, in evaluation mode.
        model: its digest (`vpr.checkpoint.digest`).
        data: `paths.data`, below which most sets lie.
        precision: the share of accepted answers that should be right.
        numbers: `32-true`, `16-mixed` or `bf16-mixed`.

    Raises:
        ConfigError: no such set, several sets under this name, one without evaluation, or no share.
        CheckpointError: the json is damaged, or of another model.
        DataError: the set is not there or cannot be read, its ground truth is unknown, or it has too few queries.
    """
    if not 0 < precision <= 1:
        raise ConfigError(f"precision={precision} must be above 0 and at most 1, for example 0.95.")
    if name.endswith(".json"):
        return _read(Path(name), model).asking(precision)
    path = folder / f"calibration_{name}_{model[:8]}.json"
    try:
        retrieval_set = _labelled(name, data)
    except DataAbsent as error:
        if not path.is_file():
            raise
        log.warning("%s What was calibrated on it before is used.", error)
        return _read(path, model).asking(precision)
    digest = _digest(retrieval_set)
    if path.is_file() and _content(path).get("data") == digest:
        return _read(path, model).asking(precision)
    result = evaluate(
        describe_fn(describer, describer.mean.device, numbers),
        describer.dim,
        describer.preprocess,
        retrieval_set,
        ks=[1, WIDTH],
        batch_size=batch_size,
        num_workers=num_workers,
        fixed_size=describer.fixed_size,
    )
    asked = result.counted
    if asked.sum() < LEAST:
        raise DataError(
            f"{result.protocol} has {asked.sum():,} queries whose answer is known; a calibration needs {LEAST} or more."
        )
    neighbours = Neighbours(*(values[asked] for values in result.neighbours))
    right = result.hits[asked, 0]
    if right.all() or not right.any():
        log.warning(
            "%s of the %d first matches of %s are right: from such a set a confidence cannot tell the two apart.",
            *("All" if right.all() else "None", len(right), result.protocol),
        )
    fitted = Calibration.fit(neighbours, right, precision)
    found = Calibrated(fitted, result.protocol, cross_validated(neighbours, right), right, path).asking(precision)
    _write(found, {"model": model, "dataset": name, "data": digest, "counts": result.counts})
    return found


def _labelled(name: str, data: str) -> RetrievalSet:
    names = dataset_names()
    if name not in names:
        raise ConfigError(
            f"calibrate={name}: there is no data set {name} in conf/dataset, and it is no .json."
            f"{did_you_mean(name, names)}"
        )
    entries = data_sets([name], [f"paths.data={data}"]).entries
    broken = [entry.error for entry in entries if entry.error]
    if broken:
        raise ConfigError(f"calibrate={name}: {broken[0]}")
    sets = [entry for entry in entries if entry.part == "eval"]
    if len(sets) != 1:
        found = f"it holds {', '.join(entry.name for entry in sets)}" if sets else "it has no evaluation set"
        raise ConfigError(f"calibrate={name}: {found}. Name one labelled set, for example calibrate=toycity.")
    return read_entry(sets[0].node, sets[0].key)


def _digest(retrieval_set: RetrievalSet) -> str:
    """Tell sets apart by their protocol, files and ground truth."""
    total = hashlib.sha256(repr(retrieval_set.protocol).encode())
    for paths in (retrieval_set.database, retrieval_set.queries):
        total.update(b"\0".join(map(os.fsencode, paths)) + b"\n")
    for rows in retrieval_set.positives:
        total.update(b"%d " % len(rows) + np.asarray(rows, "<i8").tobytes())
    return total.hexdigest()


def _write(found: Calibrated, facts: dict[str, Any]) -> None:
    content = {"format": FORMAT, **facts, "protocol": found.protocol, "calibration_error": found.error}
    content |= {"calibration": found.calibration.plain()}
    content |= {"confidence": [round(value, 6) for value in found.confidence.tolist()]}
    content |= {"right": found.right.astype(int).tolist()}
    found.path.parent.mkdir(parents=True, exist_ok=True)
    temporary = found.path.with_name(f".{found.path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")
    os.replace(temporary, found.path)
    log.info("The calibration is kept in %s", found.path)


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such file (looked in {path.absolute().parent}).") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}). Delete it; it is made again.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path} is no calibration of format {FORMAT}. Name a labelled set: calibrate=toycity.")
    return content


def _read(path: Path, model: str) -> Calibrated:
    content = _content(path)
    try:
        theirs, dataset, protocol = (str(content[key]) for key in ("model", "dataset", "protocol"))
        confidence, right = np.array(content["confidence"], float), np.array(content["right"], bool)
        found = Calibrated(Calibration.of(content["calibration"]), protocol, confidence, right, path)
        if not 0 < len(right) == len(confidence):
            raise ValueError("its lists are of different lengths")
    except (KeyError, TypeError, ValueError, CheckpointError) as error:
        raise CheckpointError(f"{path} is damaged ({error}). Delete it; it is made again.") from error
    if theirs != model:
        raise CheckpointError(
            f"{path} was calibrated for the model {theirs[:12]}, and this is {model[:12]}: their similarities mean "
            f"different things. Type calibrate={dataset}, and this one is calibrated on the same set."
        )
    return found
