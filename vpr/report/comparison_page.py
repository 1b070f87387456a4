"""The comparison page: gains of distillation, recall against cost, training curves, and all runs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from vpr.pages.figures import Plot
from vpr.pages.render import render
from vpr.report.gains import Gain, SeedGain, gains
from vpr.report.plots import COSTS, PlotStyle, curves, gain_of_each_pair, recall_against
from vpr.report.runs import Run, Unfinished, differences, read_curves

KS = ("R@1", "R@5", "R@10")
Pictures = Mapping[tuple[Path, Path, str], Path]


def page(title: str, runs: Sequence[Run], unfinished: Sequence[Unfinished], path: Path, pictures: Pictures) -> str:
    """Return the HTML.

    Args:
        path: where it will lie; links to runs and pictures are relative to it.
        pictures: {(undistilled run, distilled run, protocol id): page of queries}.
    """
    runs = sorted(runs, key=lambda run: (run.student, run.teacher, run.term, run.seed, str(run.folder)))
    protocols = list(dict.fromkeys(protocol for run in runs for protocol in run.recalls))
    style = PlotStyle(runs)
    students, teachings = style.legend()
    return render(
        "comparison",
        title=title,
        finished=len(runs),
        gains=_gains(runs, style, pictures, path),
        costs=[
            (protocol, [recall_against(cost, number, protocol, runs, style) for cost, number in COSTS])
            for protocol in protocols
        ],
        measured=_measured(runs),
        legend={"students": students, "teachings": teachings},
        curves=_curves(runs, protocols, style),
        runs=runs_table(runs, protocols, path),
        unfinished=[(job, job.folder.resolve().name, f"{link(job.folder, path)}/") for job in unfinished],
    )


def link(target: Path, page: Path) -> str:
    """Return the address of a file or folder as seen from the page."""
    return quote(os.fsencode(os.path.relpath(target.resolve(), page.resolve().parent)))


def _gains(runs: Sequence[Run], style: PlotStyle, pictures: Pictures, path: Path) -> list[dict[str, Any]]:
    by_protocol = groupby(gains(runs), lambda gain: gain.protocol)
    return [
        {
            "protocol": protocol,
            "plot": gain_of_each_pair(protocol, same := list(group), style),
            "table": gains_table(same, pictures, path),
        }
        for protocol, group in by_protocol
    ]


def _measured(runs: Sequence[Run]) -> dict[str, Any]:
    """Say on what the latencies of the runs were measured."""
    return {
        "devices": "; ".join(sorted({f"{run.costs['device']}, threads: {run.costs['threads']}" for run in runs})),
        "sizes": ", ".join(sorted({"x".join(map(str, run.costs["image_size"])) for run in runs})),
        "runs": min((run.costs["latency_runs"] for run in runs), default=0),
    }


def _curves(runs: Sequence[Run], protocols: Sequence[str], style: PlotStyle) -> list[tuple[str, Plot]]:
    """Draw the training curves, each under its caption."""
    curves_of_runs = [(run, read_curves(run)) for run in runs]
    plots = []
    for protocol in (*protocols, ""):
        name = f"{protocol}/R@1" if protocol else "train/loss"
        lines = [(run, by_name[name]) for run, by_name in curves_of_runs if name in by_name]
        if lines:
            plots.append((protocol or "loss of the training batches", curves(protocol, lines, style)))
    return plots


class Seed(NamedTuple):
    """The gain of one seed in words, and the address of its page of pictures."""

    text: str
    link: str


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        value: the number that it is sorted by; None: it is sorted by its text.
        kind: classes of base.css.
        link: address that the text leads to.
        seeds: stand below each other, in place of a text.
    """

    text: str = ""
    value: float | str | None = None
    kind: str = ""
    link: str = ""
    seeds: tuple[Seed, ...] = ()


@dataclass(frozen=True)
class Table:
    """A table that a click on a heading sorts: columns and whether they hold numbers, and groups of so many columns."""

    columns: list[tuple[str, bool]]
    rows: list[list[Cell]]
    groups: tuple[tuple[str, int], ...] = ()


def runs_table(runs: Sequence[Run], protocols: Sequence[str], page: Path) -> Table:
    """Lay out one row a run."""
    first, last = ["student", "teacher", "term", "seed"], ["dataset", "settings", "run"]
    costs = ["parameters, M", "GMACs", "latency, ms", "descriptor, bytes", "training, s"]
    names = [*first, *(k for _ in protocols for k in KS), *costs, *last]
    rows = []
    for run, difference in zip(runs, differences(runs), strict=True):
        cells = [*map(Cell, (run.student, run.teacher, run.term)), _number(run.seed, "d")]
        for protocol in protocols:
            recalls = run.recalls.get(protocol, {})
            cells += [_optional(recalls.get(k), 100, ".1f") for k in KS]
        cells += [_number(run.costs["parameters"] / 1e6, ".2f"), _number(run.costs["gmacs"], ".3g")]
        cells += [_number(run.costs["latency_ms"], ".3g"), _number(run.costs["descriptor_bytes"], ",d")]
        cells += [_number(run.summary["seconds"], ",.0f"), Cell(run.dataset), Cell(difference, kind="wrap long")]
        cells += [Cell(run.folder.resolve().name, link=f"{link(run.folder, page)}/")]
        rows.append(cells)
    numbers = range(len(first) - 1, len(names) - len(last))
    groups = (("", len(first)), *((name, len(KS)) for name in protocols), ("costs", len(costs)), ("", len(last)))
    return Table([(name, n in numbers) for n, name in enumerate(names)], rows, groups)


def gains_table(gains: Sequence[Gain], pictures: Pictures, page: Path) -> Table:
    """Lay out one row a setting: means over the seeds, and each seed's gain with its paired interval."""
    names = ["student", "teacher", "term", "settings", "undistilled", "distilled", "gain", "± sd"]
    names += ["seed: gain [95 %]", "teacher's R@1", "of the gap"]
    rows = []
    for gain in gains:
        points = 100 * gain.mean
        kind = "good" if points > 0 else "bad" if points < 0 else ""
        cells = [*map(Cell, (gain.run.student, gain.run.teacher, gain.run.term)), Cell(gain.difference, kind="wrap")]
        cells += [_number(100 * gain.average("before"), ".1f"), _number(100 * gain.average("after"), ".1f")]
        cells += [Cell(f"{points:+.1f}", points, f"n gain {kind}"), _optional(gain.deviation, 100, ".1f")]
        cells += [Cell(seeds=tuple(_seed(seed, gain.protocol, pictures, page) for seed in gain.seeds))]
        cells += [_optional(gain.teacher, 100, ".1f"), _optional(gain.recovered, 100, ".0f", " %")]
        rows.append(cells)
    return Table([(name, n not in (0, 1, 2, 3, 8)) for n, name in enumerate(names)], rows)


def _seed(seed: SeedGain, protocol: str, pictures: Pictures, page: Path) -> Seed:
    bounds = f" [{100 * seed.interval[0]:+.1f}, {100 * seed.interval[1]:+.1f}]" if seed.interval else ""
    path = pictures.get((seed.plain.folder, seed.distilled.folder, protocol))
    return Seed(f"{seed.distilled.seed}: {100 * seed.gain:+.1f}{bounds}", link(path, page) if path else "")


def _number(value: float, style: str, unit: str = "") -> Cell:
    return Cell(f"{value:{style}}{unit}", value, "n")


def _optional(value: float | None, factor: float, style: str, unit: str = "") -> Cell:
    return Cell("", "", "n") if value is None else _number(factor * value, style, unit)
