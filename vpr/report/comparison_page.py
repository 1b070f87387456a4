"""The page: gains, recall against cost, training curves, all runs; in one file that needs no other."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

from vpr.pages.render import html_page
from vpr.report.gains import Gain, SeedGain, gains
from vpr.report.plots import COSTS, Marks, curves, gain_of_each_pair, recall_against
from vpr.report.runs import Run, Unfinished, differences, read_curves

# FOLDED vpr/report/comparison_page.py: How the page looks, and the few lines that sort its tables.


STYLE = """
:root { color-scheme: light; --line: #d0d7de; --soft: #57606a; --good: #1a7f37; --bad: #cf222e; }
* { box-sizing: border-box; }
body { margin: 0; padding: 1.5rem clamp(0.8rem, 3vw, 2.5rem); background: #f6f8fa; color: #1f2328;
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1500px; margin: 0 auto; }
h1 { margin: 0 0 0.4rem; font-size: 1.35rem; overflow-wrap: anywhere; }
h2 { margin: 2rem 0 0.5rem; font-size: 1.15rem; }
h3 { margin: 1.1rem 0 0.4rem; font-size: 0.95rem; overflow-wrap: anywhere; }
p { margin: 0.3rem 0; max-width: 60rem; }
.soft { color: var(--soft); font-size: 0.85rem; }
.scroll { overflow-x: auto; background: #fff; border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: 0.85rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.35rem 0.5rem; border-bottom: 1px solid #eaeef2; text-align: left; vertical-align: top;
  white-space: nowrap; }
tbody tr:last-child td { border-bottom: 0; }
tbody tr:hover { background: #f6f8fa; }
th { background: #fff; color: var(--soft); font-weight: 600; vertical-align: bottom; }
th button { all: unset; cursor: pointer; }
th button:hover, th button:focus-visible { color: #1f2328; text-decoration: underline; }
th[aria-sort=ascending] button::after { content: " ↑"; }
th[aria-sort=descending] button::after { content: " ↓"; }
summary { cursor: pointer; }
thead tr:first-child th[colspan] { text-align: center; border-left: 1px solid #eaeef2; }
.n { text-align: right; }
.wrap { white-space: normal; min-width: 13rem; max-width: 26rem; overflow-wrap: anywhere; }
.wrap.long { min-width: 24rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 18.5rem), 1fr)); gap: 0.8rem; }
.plots.wide { grid-template-columns: minmax(0, 37rem); margin-bottom: 0.8rem; }
.plots figure { margin: 0; padding: 0.5rem; background: #fff; border: 1px solid var(--line); border-radius: 8px; }
.plots figcaption { color: var(--soft); font-size: 0.8rem; overflow-wrap: anywhere; }
.plots img { display: block; width: 100%; max-width: 36rem; height: auto; margin: 0 auto; }
.legend { display: flex; flex-wrap: wrap; gap: 0.2rem 1rem; margin: 0.4rem 0; padding: 0; list-style: none;
  font-size: 0.85rem; }
.legend i { font-style: normal; margin-right: 0.3rem; }
.good { color: var(--good); } .bad { color: var(--bad); }
"""

# A click on a heading sorts by it, the second click the other way round; cells without a number come last.
SCRIPT = """
document.querySelectorAll("table.sortable").forEach(table => {
  const heads = [...table.querySelectorAll("th[data-column]")];
  heads.forEach(head => head.querySelector("button").addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const value = row => row.cells[head.dataset.column].dataset.value ?? row.cells[head.dataset.column].textContent;
    const compare = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
      return down ? -order : order;
    };
    table.tBodies[0].append(...[...table.rows].filter(row => row.parentNode === table.tBodies[0]).sort(compare));
  }));
});
"""


# FOLDED vpr/report/comparison_page.py: Tables of the page: all runs, gains of distillation, runs that did not finish.


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
