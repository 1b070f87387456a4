"""Tables of the page: all runs, gains of distillation, runs that did not finish."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from vpr.report.gains import Gain, SeedGain
from vpr.report.runs import Run, Unfinished
from vpr.report.settings import differences

KS = ("R@1", "R@5", "R@10")


def runs_table(runs: Sequence[Run], protocols: Sequence[str], page: Path) -> str:
    """Lay out one row a run; a click on a heading sorts."""
    plain = ["run", "student", "teacher", "term", "dataset", "seed", "settings"]
    costs = ["parameters, M", "GMACs", "latency, ms", "descriptor, bytes", "training, s"]
    numbers = [*(k for _ in protocols for k in KS), *costs]
    groups = f'<tr><th colspan="{len(plain)}"></th>'
    groups += "".join(f'<th colspan="{len(KS)}">{escape(protocol)}</th>' for protocol in protocols)
    groups += f'<th colspan="{len(costs)}">costs</th></tr>'
    heads = "".join(_head(n, name, n >= len(plain)) for n, name in enumerate([*plain, *numbers]))
    rows = []
    for run, what in zip(runs, differences(runs), strict=True):
        cells = [_link(run.folder, page), *map(_text, (run.student, run.teacher, run.term, run.dataset))]
        cells += [_number(run.seed, "d"), f'<td class="wrap">{escape(what)}</td>']
        for protocol in protocols:
            recalls = run.recalls.get(protocol, {})
            cells += [_number(100 * recalls[k], ".1f") if k in recalls else _text("") for k in KS]
        cells += [_number(run.costs["parameters"] / 1e6, ".2f"), _number(run.costs["gmacs"], ".3g")]
        cells += [_number(run.costs["latency_ms"], ".3g"), _number(run.costs["descriptor_bytes"], ",d")]
        cells += [_number(run.summary["seconds"], ",.0f")]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return _table(groups + f"<tr>{heads}</tr>", rows, "sortable")


def gains_table(found: Sequence[Gain], pictures: Mapping[tuple[Path, Path, str], Path], page: Path) -> str:
    """Lay out one row a setting: means over the seeds, and each seed's gain with its paired interval."""
    names = ["student", "teacher", "term", "settings", "seeds", "undistilled", "distilled", "gain", "± sd", "teacher"]
    names += ["of the gap", "seed: gain [95 %]", "pictures"]
    heads = "".join(_head(n, name, 4 <= n <= 10) for n, name in enumerate(names))
    rows = []
    for gain in found:
        count = len(gain.seeds)
        before, after = (sum(100 * getattr(seed, side) for seed in gain.seeds) / count for side in ("before", "after"))
        cells = [*map(_text, (gain.run.student, gain.run.teacher, gain.run.term))]
        cells += [f'<td class="wrap">{escape(gain.what)}</td>', _number(count, "d")]
        cells += [_number(before, ".1f"), _number(after, ".1f"), _gain(100 * gain.mean)]
        cells += [_optional(gain.deviation, 100, ".1f"), _optional(gain.teacher, 100, ".1f")]
        cells += [_optional(gain.recovered, 100, ".0f", " %")]
        cells += [f"<td>{'<br>'.join(_seed(s) for s in gain.seeds)}</td>", _pictures(gain, pictures, page)]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return _table(f"<tr>{heads}</tr>", rows, "sortable")


def unfinished_table(found: Sequence[Unfinished], page: Path) -> str:
    """Lay out one row a job that has no summary."""
    heads = "".join(f"<th>{name}</th>" for name in ("run", "ended", "said last", "overrides"))
    rows = [
        f'<tr>{_link(job.folder, page)}{_text(job.ending)}<td class="wrap">{escape(job.line)}</td>'
        f'<td class="wrap">{escape(" ".join(job.overrides))}</td></tr>'
        for job in found
    ]
    return _table(f"<tr>{heads}</tr>", rows)


def link(target: Path, page: Path) -> str:
    """Return the address of a file or folder as seen from the page."""
    return quote(os.path.relpath(target.resolve(), page.resolve().parent))


def _seed(seed: SeedGain) -> str:
    bounds = f" [{100 * seed.interval[0]:+.1f}, {100 * seed.interval[1]:+.1f}]" if seed.interval else ""
    return f"{seed.distilled.seed}: {100 * seed.gain:+.1f}{bounds}"


def _pictures(gain: Gain, pictures: Mapping[tuple[Path, Path, str], Path], page: Path) -> str:
    links = []
    for seed in gain.seeds:
        path = pictures.get((seed.plain.folder, seed.distilled.folder, gain.protocol))
        if path:
            links.append(f'<a href="{link(path, page)}">seed {seed.distilled.seed}: fixed and broken</a>')
    return f"<td>{'<br>'.join(links)}</td>"


def _head(column: int, name: str, number: bool) -> str:
    kind = " class=n" if number else ""
    return f'<th data-column="{column}"{kind}><button>{escape(name)}</button></th>'


def _table(head: str, rows: Sequence[str], kind: str = "") -> str:
    body = "\n".join(rows)
    return f'<div class="scroll"><table class="{kind}"><thead>{head}</thead><tbody>\n{body}\n</tbody></table></div>'


def _link(folder: Path, page: Path) -> str:
    return f'<td><a href="{link(folder, page)}/">{escape(folder.resolve().name)}</a></td>'


def _text(value: str) -> str:
    return f"<td>{escape(value)}</td>"


def _number(value: float, style: str, unit: str = "") -> str:
    return f'<td class=n data-value="{value}">{value:{style}}{unit}</td>'


def _optional(value: float | None, factor: float, style: str, unit: str = "") -> str:
    return '<td class=n data-value=""></td>' if value is None else _number(factor * value, style, unit)


def _gain(points: float) -> str:
    kind = "good" if points > 0 else "bad" if points < 0 else ""
    return f'<td class="n {kind}" data-value="{points}"><b>{points:+.1f}</b></td>'
