"""Gains of distillation: each distilled run against an undistilled one of the same student, data and seed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vpr.report.runs import Run, differences, same_training, setting
from vpr.retrieval.metrics import paired_interval


@dataclass(frozen=True, eq=False)
class SeedGain:
    """Recall@1 (0..1) of two runs of one seed, and the 95 % interval of their difference, where hits are known."""

    plain: Run
    distilled: Run
    before: float
    after: float
    interval: tuple[float, float] | None

    @property
    def gain(self) -> float:
        return self.after - self.before


@dataclass(frozen=True, eq=False)
class Gain:
    """The gain of one setting on one protocol, over its seeds.

    Attributes:
        difference: of the setting from others of the same student, teacher and term, in words.
        teacher: recall@1 (0..1) of the teacher, where it is one of the runs.
    """

    protocol: str
    difference: str
    seeds: tuple[SeedGain, ...]
    teacher: float | None

    @property
    def run(self) -> Run:
        """Any of the distilled runs, for what they share."""
        return self.seeds[0].distilled

    def average(self, number: Literal["before", "after", "gain"]) -> float:
        """Return the mean over the seeds."""
        return float(np.mean([getattr(seed, number) for seed in self.seeds]))

    @property
    def mean(self) -> float:
        return self.average("gain")

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation over the seeds; None of one seed."""
        return float(np.std([seed.gain for seed in self.seeds], ddof=1)) if len(self.seeds) > 1 else None

    @property
    def recovered(self) -> float | None:
        """Share of the gap between student and teacher that the gain closes; None where there is no such gap."""
        gap = (self.teacher or 0) - self.average("before")
        return self.mean / gap if self.teacher is not None and gap > 0 else None


def gains(runs: Sequence[Run]) -> list[Gain]:
    """Return the gains by protocol, the largest first.

    Of several undistilled runs that fit (other learning rates, schedules or losses) the one with the highest recall@1
    counts, which makes the gain the smallest. Runs of another number of steps do not fit.
    """
    plain: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        if not run.teacher:
            plain[same_training(run)].append(run)
    settings: dict[tuple[str, str], list[SeedGain]] = defaultdict(list)
    for run in runs:
        for protocol in run.recalls if run.teacher else ():
            fitting = [other for other in plain[same_training(run)] if protocol in other.recalls]
            if fitting:
                best = max(fitting, key=lambda other: other.recalls[protocol]["R@1"])
                settings[protocol, setting(run)].append(_between(best, run, protocol))
    difference = dict(zip(map(id, runs), differences(runs), strict=True))
    recalls_by_digest = {run.summary["digest"]: run.recalls for run in runs}
    result = []
    for (protocol, _), seeds in settings.items():
        first = seeds[0].distilled
        digests = [teacher["digest"] for teacher in first.config["distillation"]["teachers"]]
        recalls = [recalls_by_digest.get(digest, {}).get(protocol) for digest in digests]
        teacher = max((values["R@1"] for values in recalls if values), default=None)
        ordered = tuple(sorted(seeds, key=lambda seed: seed.distilled.seed))
        result.append(Gain(protocol, difference[id(first)], ordered, teacher))
    return sorted(result, key=lambda gain: (gain.protocol, -gain.mean))


def _between(plain: Run, distilled: Run, protocol: str) -> SeedGain:
    first, second = plain.hits.get(protocol), distilled.hits.get(protocol)
    same = first is not None and second is not None and first.shape == second.shape
    interval = paired_interval(first, second) if same else None  # type: ignore[arg-type]
    before, after = (run.recalls[protocol]["R@1"] for run in (plain, distilled))
    return SeedGain(plain, distilled, before, after, interval)
