"""The page: gains, recall against cost, training curves, all runs; in one file that needs no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from pathlib import Path

from vpr.report.curves import read_curves
from vpr.report.gains import Gain, gains
from vpr.report.look import SCRIPT, STYLE
from vpr.report.marks import Marks
from vpr.report.plots import COSTS, curves, gain_of_each_pair, recall_against
from vpr.report.runs import Run, Unfinished
from vpr.report.tables import gains_table, runs_table, unfinished_table
from vpr.viz_html import html_page

Pictures = Mapping[tuple[Path, Path, str], Path]


def page(title: str, runs: Sequence[Run], unfinished: Sequence[Unfinished], path: Path, pictures: Pictures) -> str:
    """Return the HTML.

    Args:
        path: where it will lie; links to runs and pictures are relative to it.
        pictures: {(undistilled run, distilled run, protocol id): page of queries}.
    """
    runs = sorted(runs, key=lambda run: (run.student, run.teacher, run.term, run.seed, str(run.folder)))
    protocols = list(dict.fromkeys(protocol for run in runs for protocol in run.recalls))
    marks, found = Marks(runs), gains(runs)
    parts = [
        f"<h1>{escape(title)}</h1><p class=soft>{_counts(runs, unfinished)}</p>",
        _gains(found, marks, pictures, path),
        _costs(runs, protocols, marks),
        _curves(runs, protocols, marks),
        _section("Runs", runs_table(runs, protocols, path), "A click on a heading sorts.") if runs else "",
        _section("Not finished", unfinished_table(unfinished, path)) if unfinished else "",
    ]
    return html_page(title, STYLE, f"<main>\n{''.join(parts)}\n</main>", SCRIPT)


def _counts(runs: Sequence[Run], unfinished: Sequence[Unfinished]) -> str:
    said = f"{len(runs)} finished runs"
    return f"{said}, {len(unfinished)} not finished (at the end of this page)." if unfinished else f"{said}."


def _gains(found: Sequence[Gain], marks: Marks, pictures: Pictures, path: Path) -> str:
    if not found:
        return ""
    parts = []
    for protocol, same in groupby(found, key=lambda gain: gain.protocol):
        rows = list(same)
        plot = f'<div class="plots wide"><figure>{gain_of_each_pair(protocol, rows, marks)}</figure></div>'
        parts.append(f"<h3>{escape(protocol)}</h3>{plot}{gains_table(rows, pictures, path)}")
    note = (
        "Points of R@1 over the undistilled run of the same student, data, epochs and seed; of several such runs "
        "(other learning rates, schedules, losses) over the best. Dots: seeds; bar: mean; line: ± one standard "
        "deviation over the seeds. Intervals: 95 %, bootstrap over the same queries. Of the gap: share of the distance "
        "to the teacher that is closed, where the teacher's run is on this page."
    )
    return _section("Gain of distillation", "".join(parts), note)


def _costs(runs: Sequence[Run], protocols: Sequence[str], marks: Marks) -> str:
    parts = []
    for protocol in protocols:
        figures = "".join(
            f"<figure>{recall_against(cost, number, protocol, runs, marks)}</figure>" for cost, number in COSTS
        )
        parts.append(f'<h3>{escape(protocol)}</h3><div class="plots">{figures}</div>')
    if not parts:
        return ""
    devices = sorted({f"{r.costs['device']}, threads: {r.costs['threads']}" for r in runs})
    sizes = sorted({"x".join(map(str, r.costs["image_size"])) for r in runs})
    least = min(r.costs["latency_runs"] for r in runs)
    note = (
        f"Large: mean over the seeds; small: each seed. Latency: median of at least {least} runs of one image "
        f"({', '.join(sizes)}) in float32 on {'; '.join(map(escape, devices))}, taken when a run ended, beside "
        "whatever else the machine did; or, if this page was made with <code>--latency</code>, of all models one after "
        "the other."
    )
    return _section("Recall against cost", _legend(marks) + "".join(parts), note)


def _curves(runs: Sequence[Run], protocols: Sequence[str], marks: Marks) -> str:
    read = [(run, read_curves(run)) for run in runs]
    figures = []
    for protocol in (*protocols, ""):
        name = f"{protocol}/R@1" if protocol else "train/loss"
        lines = [(run, found[name]) for run, found in read if name in found]
        if lines:
            caption = f"<figcaption>{escape(protocol or 'loss of the training batches')}</figcaption>"
            figures.append(f"<figure>{caption}{curves(protocol, lines, marks)}</figure>")
    note = "Dashed: undistilled; colours as above. The loss of a distilled run contains its terms."
    return _section("Training", f'<div class="plots">{"".join(figures)}</div>', note) if figures else ""


def _legend(marks: Marks) -> str:
    students, teachings = marks.legend()
    items = [f'<li><i style="color:{colour}">■</i>{escape(name)}</li>' for colour, name in students]
    items += [f"<li><i>{sign}</i>{escape(name)}</li>" for sign, name in teachings]
    return f'<ul class="legend">{"".join(items)}</ul>'


def _section(title: str, body: str, note: str = "") -> str:
    return f"<section><h2>{escape(title)}</h2>{f'<p class=soft>{note}</p>' if note else ''}{body}</section>"
