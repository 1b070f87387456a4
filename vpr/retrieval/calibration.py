"""Confidence of a first match: its calibration, the reliability of that, and the json that keeps both.

Confidence is the probability that the first match of a query is right, from the similarities of its list alone.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.integrate import trapezoid
from scipy.optimize import minimize
from scipy.special import expit

from vpr.errors import CheckpointError, ConfigError, DataError
from vpr.files import write_text
from vpr.retrieval.scoring import Evaluation
from vpr.retrieval.search import Neighbours

log = logging.getLogger(__name__)

WIDTH = 5  # similarities of a list that count; search for so many, also where fewer are shown
LEAST = 20  # queries that a calibration is fitted to: with fewer it would be a guess
BINS = 15  # of confidence, for the expected calibration error
FORMAT = 1  # of the json


@dataclass(frozen=True)
class Calibration:
    """Logistic regression p = 1 / (1 + exp(-(offset + similarity s1 + margin (s1 - mean(s2, s3, s4, s5))))).

    s1, s2 ... are the similarities of a query's list. The fit holds for one model, and for images and a database like
    those it was fitted to: in a much larger database, or one with other numbers of images a place, similarities differ.

    Attributes:
        offset, similarity, margin: fitted weights.
        threshold: the lowest confidence with which an answer is accepted; inf: none is.
        precision: the share of accepted answers that should be right.
        queries, right: number of queries it was fitted to, and of those whose first match was right.
    """

    offset: float
    similarity: float
    margin: float
    threshold: float
    precision: float
    queries: int
    right: int

    @classmethod
    def fit(cls, neighbours: Neighbours, right: np.ndarray, precision: float = 0.95, least: int = LEAST) -> Calibration:
        """Fit to queries whose answers are known.

        Logistic regression with the targets (R + 1) / (R + 2) for the R right ones and 1 / (W + 2) for the W wrong ones
        (Platt 1999), which keep it finite where similarities tell all of them apart, or all are right, or none is. No
        slope is negative: a more similar image is never less likely to be right. The threshold is the lowest confidence
        such that, of the queries with it or a higher one, at least the share `precision` is right.

        Args:
            neighbours: of Q queries, `WIDTH` of each or more.
            right: (Q,) bool, whether the first match is right.
            least: queries that are enough.

        Raises:
            ConfigError: `precision` is no share above 0.
            DataError: too few queries.
        """
        if not 0 < precision <= 1:
            raise ConfigError(f"precision={precision} must be above 0 and at most 1, for example 0.95.")
        right = np.asarray(right, bool)
        if len(right) < least:
            raise DataError(
                f"A confidence cannot be calibrated on {len(right)} labelled queries: give a set of {least} or more."
            )
        offset, similarity, margin = _logistic(features(neighbours), right)
        fitted = cls(offset, similarity, margin, math.inf, precision, len(right), int(right.sum()))
        return replace(fitted, threshold=lowest(fitted.probability(neighbours), right, precision))

    def probability(self, neighbours: Neighbours) -> np.ndarray:
        """Return (Q,) float64 in 0..1 for the lists of Q queries; 0 for a query without a match.

        Of a list of more than `WIDTH` the first count; of a shorter one it is lower, if anything.
        """
        x = features(neighbours)
        probability = expit(self.offset + x @ np.array([self.similarity, self.margin]))
        return np.where(np.isfinite(neighbours.similarities[:, 0]), probability, 0.0)

    def plain(self) -> dict[str, Any]:
        """Return it as plain values for a json; a threshold that accepts nothing is None."""
        return asdict(self) | {"threshold": self.threshold if math.isfinite(self.threshold) else None}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Calibration:
        """Make it again from what `plain` returned, among other entries; CheckpointError where it is not that."""
        try:
            given = {name: plain[name] for name in cls.__dataclass_fields__}
            numbers = {name: float(value) for name, value in given.items() if name != "threshold"}
            threshold = math.inf if given["threshold"] is None else float(given["threshold"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"This is no calibration, or a damaged one: {error!r}.") from error
        counts = {name: int(numbers[name]) for name in ("queries", "right")}
        return cls(**numbers | counts, threshold=threshold)  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class Calibrated:
    """Calibration with its confidences of queries that it had not seen.

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

    def with_precision(self, precision: float) -> Calibrated:
        """Return the same with the threshold for another share of accepted answers that should be right."""
        threshold = lowest(self.confidence, self.right, precision)
        return replace(self, calibration=replace(self.calibration, threshold=threshold, precision=precision))

    def message(self) -> str:
        """Return a text for the user: calibration error, threshold, and the accepted answers."""
        threshold, precision, queries = self.calibration.threshold, self.calibration.precision, len(self.right)
        text = f"Confidence is calibrated on {queries:,} queries of {self.protocol}, {100 * self.right.mean():.1f} %"
        text += f" of them answered right (expected calibration error {self.error:.3f}, cross-validated)."
        text += " It holds for photos and a database like these."
        if not math.isfinite(threshold):
            return f"{text} No threshold makes {100 * precision:g} % of its answers right: none is accepted."
        accepted = self.right[self.confidence >= threshold]
        return (
            f"{text} Answers are accepted from {threshold:.3f} on: there {len(accepted):,}, of which "
            f"{accepted.sum():,} are right."
        )


def counted_answers(result: Evaluation) -> tuple[Neighbours, np.ndarray]:
    """Return the neighbours of the Q queries that the protocol counts, and whether the first match is right, (Q,)."""
    return result.neighbours.of(result.counted), result.hits[result.counted, 0]


def calibrate(result: Evaluation, precision: float) -> Calibrated:
    """Calibrate on an evaluation, whose first k is 1 and whose last is `vpr.retrieval.calibration.WIDTH` or more.

    Raises:
        DataError: too few queries whose answer is known.
    """
    neighbours, right = counted_answers(result)
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
    return Calibrated(fitted, result.protocol, cross_validated(neighbours, right), right).with_precision(precision)


def write_calibration(path: Path, calibrated: Calibrated, facts: Mapping[str, Any]) -> None:
    """Write a json, completely or not at all, with `facts` in front: the `model`'s digest, the `dataset`'s name ..."""
    content = {"format": FORMAT, **facts, "protocol": calibrated.protocol, "calibration_error": calibrated.error}
    content |= {"calibration": calibrated.calibration.plain(), "confidence": calibrated.confidence.tolist()}
    content |= {"right": calibrated.right.astype(int).tolist()}
    write_text(path, json.dumps(content) + "\n")


def read_facts(path: Path) -> dict[str, Any]:
    """Return all entries of a calibration's json, with `model`, `dataset` and `data`; errors as `read_calibration`."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']}, and {FORMAT} is read here")
        return content | {key: str(content[key]) for key in ("model", "dataset", "data", "protocol")}
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such file (looked in {path.absolute().parent}).") from None
    except (OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise _damaged(path, error) from error


def read_calibration(path: Path, model: str) -> Calibrated:
    """Return the calibration that was written for the model of this digest.

    Raises:
        CheckpointError: the file is missing, damaged or of another model.
    """
    content = read_facts(path)
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


def calibrations_of(folder: Path, model: str) -> dict[Path, Calibrated]:
    """Return the calibrations in a folder that were written for the model of this digest; damaged ones are passed over.

    They are those of float32: another precision has similarities of its own.
    """
    kept = {}
    for path in sorted(folder.glob(f"calibration_*_{model[:8]}.json")):
        with suppress(CheckpointError):
            if read_facts(path).get("numbers", "32-true") in ("32", "32-true"):
                kept[path] = read_calibration(path, model)
    return kept


def _damaged(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path} is damaged, or no calibration ({type(error).__name__}: {error}). Delete it, and name a labelled set: "
        "calibrate=NAME."
    )


class Bins(NamedTuple):
    """Bins of confidence that hold any answers: mean `confidence`, `share` right, `answers`, (B,) each."""

    confidence: np.ndarray
    share: np.ndarray
    answers: np.ndarray


class PrecisionRecall(NamedTuple):
    """Precision and recall at each confidence as a threshold, falling; (T,) each.

    Attributes:
        thresholds: confidences; answers at or above one are accepted.
        precision: share of the accepted answers that is right.
        recall: right and accepted answers, as a share of all queries.
        answered: accepted answers, as a share of all queries.
    """

    thresholds: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    answered: np.ndarray

    @property
    def area(self) -> float:
        """Area under precision against recall, by trapezoids from precision 1 at recall 0, as VPR-Bench measures it.

        It is at most the recall that the curve ends at, which is R@1.
        """
        return float(trapezoid(np.append(1.0, self.precision), np.append(0.0, self.recall)))

    @property
    def recall_without_error(self) -> float:
        """Highest recall at 100 % precision; 0 where the most confident answer is wrong."""
        return float(self.recall[self.precision == 1].max(initial=0.0))


def reliability(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> Bins:
    """Put (Q,) answers into `bins` of equal width, ((m - 1) / bins, m / bins], of their confidence in 0..1."""
    number = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(number, minlength=bins)
    held = count > 0
    means = [np.bincount(number, values, bins)[held] / count[held] for values in (confidence, right)]
    return Bins(means[0], means[1], count[held])


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """Return the expected calibration error, 0..1 (Guo et al., ICML 2017, eq. 3).

    It is the difference between mean confidence and share of right answers in a bin, averaged over the (Q,) answers.

    >>> calibration_error(np.array([0.9, 0.9, 0.1]), np.array([True, False, False]), bins=2)  # (2 x 0.4 + 0.1) / 3
    0.3
    """
    held = reliability(confidence, right, bins)
    return float(np.average(np.abs(held.confidence - held.share), weights=held.answers))


def precision_recall(confidence: np.ndarray, right: np.ndarray) -> PrecisionRecall:
    """Return precision and recall of the first match for each of its confidences (Q,) as a threshold.

    Recall counts all queries that are given, as Schubert et al. (2023) do, and ends at R@1. VPR-Bench (Zaffar et al.
    2021) counts those whose first match is right: its recall is this one divided by R@1.
    """
    order = np.argsort(-confidence, kind="stable")
    falling = confidence[order]
    last = np.append(np.diff(falling) != 0, True)  # those of one confidence are accepted together
    accepted, hits = (np.arange(1, len(order) + 1)[last], np.cumsum(right[order])[last])
    return PrecisionRecall(falling[last], hits / accepted, hits / len(order), accepted / len(order))


def interval(
    statistic: Callable[[np.ndarray, np.ndarray], float],
    confidence: np.ndarray,
    right: np.ndarray,
    seed: int = 0,
    draws: int = 1000,
    level: float = 0.95,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval over queries (Efron 1979) of a statistic of (Q,) confidence and right.

    Resampling adds noise, and noise adds to a calibration error: its interval lies high, and may lie above the value.
    """
    rng = np.random.default_rng(seed)
    rows = (rng.integers(0, len(right), len(right)) for _ in range(draws))
    low, high = np.quantile([statistic(confidence[r], right[r]) for r in rows], [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def by_chance(confidence: np.ndarray, seed: int = 0, draws: int = 1000, level: float = 0.95) -> float:
    """Return the calibration error below which a true confidence (Q,) would stay with the probability `level`.

    Whether each answer is right is drawn with its confidence (consistency resampling, Broecker & Smith 2007). An error
    that is not above this one says nothing against the calibration; few queries give a high one.
    """
    rng = np.random.default_rng(seed)
    drawn = (rng.random(len(confidence)) < confidence for _ in range(draws))
    return float(np.quantile([calibration_error(confidence, right) for right in drawn], level))


def cross_validated(neighbours: Neighbours, right: np.ndarray, folds: int = 10, seed: int = 0) -> np.ndarray:
    """Return the confidence (Q,) of each query by a calibration that was fitted to those of the other folds."""
    fold = np.random.default_rng(seed).permutation(len(right)) % folds
    confidence = np.empty(len(right))
    for held_out in np.unique(fold):
        rest, judged = fold != held_out, fold == held_out
        calibration = Calibration.fit(neighbours.of(rest), right[rest], least=1)
        confidence[judged] = calibration.probability(neighbours.of(judged))
    return confidence


def lowest(confidence: np.ndarray, right: np.ndarray, precision: float) -> float:
    """Return the lowest confidence from which on the share `precision` of (Q,) answers is right; inf: there is none.

    >>> lowest(np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, True, False, True]), 0.75)
    0.6
    """
    order = np.argsort(-confidence, kind="stable")
    share = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    whole = np.append(np.diff(confidence[order]) != 0, True)  # those of one confidence are accepted together
    enough = np.flatnonzero(whole & (share >= precision))
    return float(confidence[order[enough[-1]]]) if len(enough) else math.inf


def features(neighbours: Neighbours) -> np.ndarray:
    """Return (Q, 2) float64: the first similarity, and how far it is above the mean of the next four.

    Of a shorter list those that are there count. Of one image the difference is 0: nothing says that it stands out.
    """
    similarities = np.asarray(neighbours.similarities[:, :WIDTH], np.float64)
    matched = np.isfinite(similarities)
    first = np.where(matched[:, 0], similarities[:, 0], 0.0)
    next_ones, count = np.where(matched, similarities, 0.0)[:, 1:].sum(axis=1), matched[:, 1:].sum(axis=1)
    return np.stack([first, np.where(count > 0, first - next_ones / np.maximum(count, 1), 0.0)], axis=1)


def _logistic(x: np.ndarray, right: np.ndarray) -> tuple[float, ...]:
    """Return the offset and the slopes of the features (Q, F), none of them negative."""
    centre, scale = x.mean(axis=0), x.std(axis=0)
    scale[scale < 1e-12] = 1.0  # one that never varies
    rows = np.column_stack([np.ones(len(x)), (x - centre) / scale])
    hits = right.sum()
    target = np.where(right, (hits + 1) / (hits + 2), 1 / (len(right) - hits + 2))

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        z = rows @ weights
        return float(np.mean(np.logaddexp(0, z) - target * z)), rows.T @ (expit(z) - target) / len(rows)

    bounds = [(None, None)] + [(0, None)] * x.shape[1]
    minimum = minimize(
        loss, np.zeros(rows.shape[1]), jac=True, method="L-BFGS-B", bounds=bounds, options={"gtol": 1e-8}
    )
    slopes = minimum.x[1:] / scale
    return (float(minimum.x[0] - slopes @ centre), *map(float, slopes))
