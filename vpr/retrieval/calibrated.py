"""A calibration with the evidence for it, made of an evaluation and kept as a json."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vpr.errors import CheckpointError, DataError
from vpr.retrieval.confidence import LEAST, Calibration, lowest
from vpr.retrieval.reliability import calibration_error, cross_validated
from vpr.retrieval.score import Evaluation
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
    """

    calibration: Calibration
    protocol: str
    confidence: np.ndarray
    right: np.ndarray

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
        known += " It holds for photos and a database like these."
        if not math.isfinite(found.threshold):
            return f"{known} No threshold makes {100 * found.precision:g} % of its answers right: none is accepted."
        accepted = self.right[self.confidence >= found.threshold]
        return (
            f"{known} Answers are accepted from {found.threshold:.3f} on: there {len(accepted):,}, of which "
            f"{accepted.sum():,} are right."
        )


def known_answers(result: Evaluation) -> tuple[Neighbours, np.ndarray]:
    """Return the neighbours of the Q queries that the protocol counts, and whether the first match is right, (Q,)."""
    asked = result.counted
    return Neighbours(*(values[asked] for values in result.neighbours)), result.hits[asked, 0]


def calibrated(result: Evaluation, precision: float) -> Calibrated:
    """Calibrate on an evaluation, whose first k is 1 and whose last is `vpr.retrieval.confidence.WIDTH` or more.

    Raises:
        DataError: too few queries whose answer is known.
    """
    neighbours, right = known_answers(result)
    if len(right) < LEAST:
        raise DataError(
            f"{result.protocol} has {len(right):,} queries whose answer is known; a calibration needs {LEAST} or more."
        )
    if right.all() or not right.any():
        log.warning(
            "%s of the %d first matches of %s is right: a confidence learned from it tells nothing apart.",
            *("Each" if right.all() else "None", len(right), result.protocol),
        )
    fitted = Calibration.fit(neighbours, right, precision)
    return Calibrated(fitted, result.protocol, cross_validated(neighbours, right), right).asking(precision)


def write(path: Path, found: Calibrated, facts: Mapping[str, Any]) -> None:
    """Write a json, completely or not at all, with `facts` in front: the `model`'s digest, the `dataset`'s name ..."""
    content = {"format": FORMAT, **facts, "protocol": found.protocol, "calibration_error": found.error}
    content |= {"calibration": found.calibration.plain(), "confidence": found.confidence.tolist()}
    content |= {"right": found.right.astype(int).tolist()}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def facts(path: Path) -> dict[str, Any]:
    """Return the facts about a json of `write`: `model`, `dataset`, `data` and all else; CheckpointError as `read`."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']}, and {FORMAT} is read here")
        return content | {key: str(content[key]) for key in ("model", "dataset", "data", "protocol")}
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such file (looked in {path.absolute().parent}).") from None
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error


def read(path: Path, model: str) -> Calibrated:
    """Return what `write` wrote for the model of this digest.

    Raises:
        CheckpointError: the file is missing, damaged or of another model.
    """
    content = facts(path)
    if content["model"] != model:
        raise CheckpointError(
            f"{path} was calibrated for the model {content['model'][:12]}, and this is {model[:12]}: their "
            f"similarities mean different things. Type calibrate={content['dataset']}: this one is calibrated on the "
            "same set."
        )
    try:
        confidence, right = np.array(content["confidence"], float), np.array(content["right"], bool)
        if not 0 < len(right) == len(confidence):
            raise ValueError("its lists are not of one length")
        return Calibrated(Calibration.of(content["calibration"]), content["protocol"], confidence, right)
    except (KeyError, TypeError, ValueError, CheckpointError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path} is damaged, or no calibration ({type(error).__name__}: {error}). Delete it, and name a labelled set: "
        "calibrate=NAME."
    )
