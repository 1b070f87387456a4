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
    first, last = ["student", "teacher", "term", "seed"], ["dataset", "settings", "run"]
    costs = ["parameters, M", "GMACs", "latency, ms", "descriptor, bytes", "training, s"]
    groups = [
        ("", len(first)),
        *((protocol, len(KS)) for protocol in protocols),
        ("costs", len(costs)),
        ("", len(last)),
    ]
    top = "".join(f'<th colspan="{width}">{escape(name)}</th>' for name, width in groups)
    names = [*first, *(k for _ in protocols for k in KS), *costs, *last]
    numbers = range(len(first) - 1, len(names) - len(last))
    heads = "".join(_head(n, name, n in numbers) for n, name in enumerate(names))
    rows = []
    for run, what in zip(runs, differences(runs), strict=True):
        cells = [*map(_text, (run.student, run.teacher, run.term)), _number(run.seed, "d")]
        for protocol in protocols:
            recalls = run.recalls.get(protocol, {})
            cells += [_optional(recalls.get(k), 100, ".1f") for k in KS]
        cells += [_number(run.costs["parameters"] / 1e6, ".2f"), _number(run.costs["gmacs"], ".3g")]
        cells += [_number(run.costs["latency_ms"], ".3g"), _number(run.costs["descriptor_bytes"], ",d")]
        cells += [_number(run.summary["seconds"], ",.0f"), _text(run.dataset)]
        cells += [f'<td class="wrap long">{escape(what)}</td>', _link(run.folder, page)]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return _table(f"<tr>{top}</tr><tr>{heads}</tr>", rows, "sortable")


def gains_table(found: Sequence[Gain], pictures: Mapping[tuple[Path, Path, str], Path], page: Path) -> str:
    """Lay out one row a setting: means over the seeds, and each seed's gain with its paired interval."""
    names = ["student", "teacher", "term", "settings", "undistilled", "distilled", "gain", "± sd"]
    names += ["seed: gain [95 %]", "teacher's R@1", "of the gap"]
    heads = "".join(_head(n, name, n not in (0, 1, 2, 3, 8)) for n, name in enumerate(names))
    rows = []
    for gain in found:
        before, after = 100 * gain.average("before"), 100 * gain.average("after")
        cells = [*map(_text, (gain.run.student, gain.run.teacher, gain.run.term))]
        cells += [f'<td class="wrap">{escape(gain.what)}</td>']
        cells += [_number(before, ".1f"), _number(after, ".1f"), _gain(100 * gain.mean)]
        cells += [_optional(gain.deviation, 100, ".1f")]
        cells += [f"<td>{'<br>'.join(_seed(seed, gain.protocol, pictures, page) for seed in gain.seeds)}</td>"]
        cells += [_optional(gain.teacher, 100, ".1f"), _optional(gain.recovered, 100, ".0f", " %")]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return _table(f"<tr>{heads}</tr>", rows, "sortable")


def unfinished_table(found: Sequence[Unfinished], page: Path) -> str:
    """Lay out one row a job that has no summary."""
    heads = "".join(f"<th>{name}</th>" for name in ("run", "ended", "said last", "overrides"))
    rows = [
        f'<tr>{_link(job.folder, page)}{_text(job.ending)}<td class="wrap">{escape(job.line)}</td>'
        f'<td class="wrap"><details><summary>{len(job.overrides)}</summary>{escape(" ".join(job.overrides))}</details>'
        "</td></tr>"
        for job in found
    ]
    return _table(f"<tr>{heads}</tr>", rows)


def link(target: Path, page: Path) -> str:
    """Return the address of a file or folder as seen from the page."""
    return quote(os.path.relpath(target.resolve(), page.resolve().parent))


def _seed(seed: SeedGain, protocol: str, pictures: Mapping[tuple[Path, Path, str], Path], page: Path) -> str:
    bounds = f" [{100 * seed.interval[0]:+.1f}, {100 * seed.interval[1]:+.1f}]" if seed.interval else ""
    path = pictures.get((seed.plain.folder, seed.distilled.folder, protocol))
    shown = f' <a href="{link(path, page)}">pictures</a>' if path else ""
    return f"{seed.distilled.seed}: {100 * seed.gain:+.1f}{bounds}{shown}"


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
