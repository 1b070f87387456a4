"""The page of the demo: what was asked, what was found, and where that is; one file that needs no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from vpr.demo.answers import Answer, Heat, Match
from vpr.demo.explain import overlay
from vpr.demo.map import City, apart, length
from vpr.pages.render import html_page, jpeg_address
from vpr.pages.thumbnails import SCRIPT, Pictures, image, plain, readable, thumbnail
from vpr.report.comparison_page import SCRIPT as SORT
from vpr.retrieval.index.photo_table import Photos

# FOLDED vpr/demo/page.py: One answer as an article of the page: the photo, its matches, how sure, where, and why.


KEY = """<p class="key"><span><b style="color:var(--dot)">●</b> database</span>
<span><b style="color:var(--blue)">1</b> match</span><span><b style="color:var(--ring)">◯</b> estimate</span>{}</p>"""
OWN = '<span><b style="color:var(--own)">▢</b> the photo\'s own position</span>'


def article(number: int, answer: Answer, city: City | None, pictures: Pictures) -> str:
    """Lay out an answer; `number` counts from 1 through the page."""
    head = f'<h3 id="name{number}">{plain(answer.query.name)}</h3>'
    if answer.error:
        body = f'<div class="head">{head}</div><p class="bad">{plain(answer.error)}</p>'
    else:
        drawn = city.around(answer) if city else ""
        key = KEY.format(OWN if city and city.own(answer) else "")
        where = f'<div class="where">{drawn}{key}</div>' if drawn else ""
        said = f'<div class="head">{head}{confidence(answer)}{_where(answer)}</div>'
        query = f"<figure>{pictures.image(answer.query.path, f'Photo that is asked for: {answer.query.name}')}</figure>"
        matches = "".join(_match(rank, match, pictures) for rank, match in enumerate(answer.matches, 1))
        found = f"<ol>{matches}</ol>" if matches else '<p class="soft">No matches.</p>'
        kind = "answer placed" if drawn else "answer"
        body = f'{said}<div class="{kind}">{query}<div>{found}{_why(answer)}</div>{where}</div>'
    return f'<article id="q{number}" aria-labelledby="name{number}">{body}</article>'


def confidence(answer: Answer) -> str:
    """Say how probable it is that the first match is right, and whether that is enough; "" without calibration."""
    if answer.confidence is None:
        return ""
    sure = f"Confidence <b>{share(answer.confidence)}</b>"
    if answer.accepted is None:
        return f"<p>{sure}</p>"
    return f'<p class="good">✓ {sure}, accepted</p>' if answer.accepted else f'<p class="unsure">? {sure}, not sure</p>'


def share(value: float) -> str:
    """Say a probability in per cent, never as certain; HTML."""
    return "&gt; 99 %" if value > 0.995 else "&lt; 1 %" if value < 0.005 else f"{100 * value:.0f} %"


def off(answer: Answer) -> float | None:
    """Metres from the estimate to where the photo itself says that it was taken; None where either is unknown."""
    return apart(answer.position, answer.query.position) if answer.position and answer.query.position else None


def _where(answer: Answer) -> str:
    if not answer.position:
        return ""
    metres = off(answer)
    far = f", {length(metres)} from the photo's own position" if metres is not None else ""
    return f"<p>Estimate <b>{answer.position.lat:.5f}, {answer.position.lon:.5f}</b>{far}</p>"


def _match(rank: int, match: Match, pictures: Pictures) -> str:
    long = f"{100 * min(max(match.similarity, 0), 1):.1f}"
    name = plain(match.name)
    return f"""<li><figure>{pictures.image(match.path, f"Match {rank}: {match.name}")}<figcaption>
<span class="said"><b>{rank}</b><span><span class="soft">similarity</span> {match.similarity:.3f}</span></span>
<span class="bar" aria-hidden="true"><i style="width:{long}%"></i></span>
<span class="said soft"><span>distance</span>{match.distance:.3f}</span><span class="name" title="{name}">{name}</span>
</figcaption></figure></li>"""


def _why(answer: Answer) -> str:
    return _heat(answer, answer.heat) if answer.heat and answer.matches else ""


def _heat(answer: Answer, heat: Heat) -> str:
    figures = []
    painted = _painted(heat, answer.query.path, answer.matches[0].path)
    for source, what in zip(painted, ("the photo", "match 1"), strict=True):
        figures.append(f"<figure>{image(source, f'Heat map over {what}')}<figcaption>{what}</figcaption></figure>")
    return f"""<details><summary>Why this answer</summary><div class="heat">{"".join(figures)}</div>
<p class="soft">The brighter, the more a part of the photo has in common with the other one.</p></details>"""


@lru_cache(maxsize=1024)  # a page is written again for each photo that comes
def _painted(heat: Heat, query: Path, match: Path) -> tuple[str, str]:
    """Addresses of both photos with their heat; that of an answer is kept with it."""

    def paint(path: Path, cells: np.ndarray) -> str:
        return jpeg_address(overlay(thumbnail(path, 180, 240), cells))

    return paint(query, heat.query), paint(match, heat.match)


# FOLDED vpr/demo/page.py: How the page of the demo looks, by day and by night, in wide and in narrow windows.


STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --soft: #57606a; --line: #d0d7de; --back: #f6f8fa; --card: #fff;
  --box: #eaeef2; --good: #1a7f37; --bad: #cf222e; --unsure: #9a6700; --blue: #0969da; --on: #fff; --dot: #8c959f;
  --ring: #bf3989; --own: #bc4c00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9da7b3; --line: #3d444d; --back: #0d1117;
  --card: #161b22; --box: #21262d; --good: #56d364; --bad: #ff7b72; --unsure: #e3b341; --blue: #58a6ff; --on: #0d1117;
  --dot: #6e7681; --ring: #ff7bc0; --own: #ffa657; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 1.5rem clamp(0.8rem, 3vw, 2.5rem); background: var(--back); color: var(--ink);
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1500px; margin: 0 auto; }
h1 { margin: 0 0 0.6rem; font-size: 1.35rem; overflow-wrap: anywhere; }
h2 { margin: 1.6rem 0 0.5rem; font-size: 1.15rem; }
h3 { margin: 0; font-size: 1rem; overflow-wrap: anywhere; }
p { margin: 0.4rem 0 0; }
.card p:first-child { margin: 0 0 0.6rem; }
a { color: var(--blue); }
:focus-visible { outline: 3px solid var(--blue); outline-offset: 2px; border-radius: 3px; }
.soft { color: var(--soft); font-size: 0.85rem; }
.good { color: var(--good); } .bad { color: var(--bad); } .unsure { color: var(--unsure); }
.facts { display: flex; flex-wrap: wrap; gap: 0.6rem; margin: 0; }
.facts div { padding: 0.45rem 0.85rem; background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
.facts dt { color: var(--soft); font-size: 0.85rem; }
.facts dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
.top { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: 0 1.5rem;
  align-items: start; }
.card, article { padding: 0.8rem; background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
.scroll { max-height: 27.5rem; overflow: auto; padding: 0; }
table { border-collapse: collapse; width: 100%; font-size: 0.85rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.35rem 0.6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
td { overflow-wrap: anywhere; }
th { position: sticky; top: 0; background: var(--card); color: var(--soft); font-weight: 600; white-space: nowrap; }
th button { all: unset; cursor: pointer; }
th button:hover { text-decoration: underline; }
th button:focus-visible { outline: 3px solid var(--blue); outline-offset: 2px; }
th[aria-sort=ascending] button::after { content: " ↑"; }
th[aria-sort=descending] button::after { content: " ↓"; }
.n { text-align: right; white-space: nowrap; }
article { margin-bottom: 1rem; scroll-margin-top: 0.5rem; }
article:target { border-color: var(--blue); box-shadow: 0 0 0 1px var(--blue); }
.head { display: flex; flex-wrap: wrap; gap: 0.2rem 1.2rem; align-items: baseline; margin-bottom: 0.6rem; }
.head p { margin: 0; }
.answer { display: grid; grid-template-columns: minmax(0, 15rem) minmax(0, 1fr); gap: 1rem 1.3rem; align-items: start; }
.answer.placed { grid-template-columns: minmax(0, 15rem) minmax(0, 1fr) minmax(0, 18rem); }
ol { display: grid; grid-template-columns: repeat(auto-fit, minmax(7.8rem, 1fr)); gap: 0.8rem; margin: 0; padding: 0;
  list-style: none; }
li { max-width: 16rem; }
figure { margin: 0; min-width: 0; }
article img { display: block; width: 100%; aspect-ratio: 4 / 3; object-fit: contain; background: var(--box);
  border: 1px solid var(--line); border-radius: 4px; }
figcaption { margin-top: 0.3rem; font-size: 0.85rem; overflow-wrap: anywhere; }
.name { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; overflow: hidden;
  color: var(--soft); font-size: 0.8rem; line-height: 1.3; }
td:first-child { width: 1%; }
td .name { min-width: 5rem; color: var(--blue); }
.name:hover, .name:focus { -webkit-line-clamp: none; }
.said { display: flex; justify-content: space-between; font-variant-numeric: tabular-nums; }
.bar { display: block; height: 0.5rem; margin: 0.15rem 0 0.2rem; background: var(--box); border-radius: 3px;
  overflow: hidden; }
.bar i { display: block; height: 100%; background: var(--blue); }
details { margin-top: 0.8rem; } summary { cursor: pointer; width: fit-content; }
.heat { display: grid; grid-template-columns: repeat(2, minmax(0, 20rem)); gap: 0.8rem; margin-top: 0.5rem; }
.map { display: block; width: 100%; height: auto; font-size: 12px; }
.map text { fill: var(--ink); }
.map .paper { fill: var(--back); stroke: var(--line); }
.dots { fill: none; stroke: var(--dot); stroke-width: 3; stroke-linecap: round; }
.place .dots { stroke-width: 1.5; }
#city { vector-effect: non-scaling-stroke; }
.map .bar, .map .north { fill: none; stroke: var(--ink); stroke-width: 1.5; }
.map .north { fill: var(--ink); stroke: none; }
.map .match { fill: var(--blue); stroke: var(--card); stroke-width: 1.5; }
.map .rank { fill: var(--on); text-anchor: middle; font-weight: 700; }
.map .estimate { fill: var(--blue); stroke: var(--card); stroke-width: 1.5; }
.map .unsure { fill: var(--card); stroke: var(--blue); stroke-width: 2.5; }
.map a:hover circle { fill: var(--ring); }
.map .ring { fill: none; stroke: var(--ring); stroke-width: 3; }
.map .own { fill: none; stroke: var(--own); stroke-width: 3; stroke-linecap: round; }
.map a .own { stroke-width: 1.5; }
.map .halo { fill: none; stroke: var(--card); stroke-width: 6; stroke-linecap: round; }
.map .here { fill: none; stroke: var(--ring); stroke-width: 2; }
.key { display: flex; flex-wrap: wrap; gap: 0.1rem 0.9rem; margin-top: 0.3rem; color: var(--soft); font-size: 0.8rem; }
.key b { font-weight: 700; }
@media (max-width: 1100px) { .answer.placed { grid-template-columns: minmax(0, 15rem) minmax(0, 1fr); }
  .answer.placed .where { grid-column: 1 / -1; max-width: 30rem; } }
@media (max-width: 640px) { .answer, .answer.placed { grid-template-columns: minmax(0, 1fr); }
  ol { grid-template-columns: repeat(2, minmax(0, 1fr)); } th, td { padding: 0.35rem 0.3rem; } }
@media print { body { background: #fff; } article { break-inside: avoid; }
  .scroll { max-height: none; } }
"""


FEW = 3
"""So many answers need no table of contents, and no map of all: each has a map of its own."""
EMPTY = '<td class="n" data-value=""></td>'


def page(answers: Sequence[Answer], photos: Photos, title: str, facts: Mapping[str, str], reliability: str = "") -> str:
    """Return the HTML.

    Args:
        photos: of the database; their positions are the map.
        title, facts: plain text; the facts stand on top, beside the counts.
        reliability: HTML, of the confidence in general.
    """
    city, pictures = _city(photos), Pictures()
    parts = [f"<h1>{plain(title)}</h1>", _facts(answers, facts)]
    many = len(answers) > FEW
    contents = _contents(answers) if many else ""
    if city and many:
        parts.append(f'<div class="top">{_map(answers, city)}{contents}</div>')
    elif not city:
        parts.append(f'{contents}<p class="soft">There is no map: the photos of the database have no positions.</p>')
    if reliability:
        parts.append(f'<section><h2>How far the confidence can be trusted</h2><div class="card">{reliability}</div>'
                     "</section>")  # fmt: skip
    articles = (article(number, answer, city, pictures) for number, answer in enumerate(answers, 1))
    parts.append(f"<section><h2>Answers</h2>{''.join(articles)}</section>")
    return html_page(readable(title), STYLE, f"<main>\n{''.join(parts)}\n</main>", SCRIPT + SORT)


@lru_cache(maxsize=1)  # a page is written again for each photo that comes
def _city(photos: Photos) -> City | None:
    return City.of(photos)


def _facts(answers: Sequence[Answer], facts: Mapping[str, str]) -> str:
    errors = sum(bool(answer.error) for answer in answers)
    counts = {"queries": len(answers), "answered": len(answers) - errors, "could not be read": errors}
    if any(answer.accepted is not None for answer in answers):
        counts["accepted"] = sum(answer.accepted is True for answer in answers)
    said = {**{name: f"{count:,}" for name, count in counts.items()}, **facts}
    return f'<dl class="facts">{"".join(_fact(name, value) for name, value in said.items())}</dl>'


def _fact(name: str, value: str) -> str:
    return f"<div><dt>{plain(name)}</dt><dd>{plain(value)}</dd></div>"


def _map(answers: Sequence[Answer], city: City) -> str:
    drawn, count = len(city.dots), len(city.places)
    shown = f"{drawn:,} of the {count:,}" if drawn < count else f"the {count:,}"
    note = (
        f"Grey: {shown} places of the database. Blue: where the photos were taken, by the estimate; a click leads on."
    )
    if any(answer.accepted is False for answer in answers):
        note += " Hollow: not sure."
    if any(answer.position and city.own(answer) for answer in answers):
        note += " Orange: from the photo's own position to the estimate."
    return f'<section><h2>Map</h2><div class="card">{city.overview(answers)}<p class="soft">{note}</p></div></section>'


def _contents(answers: Sequence[Answer]) -> str:
    """List the queries in a table that a click on a heading sorts; without the columns that are not known of any."""
    columns = {"similarity": [_similarity(answer) for answer in answers]}
    columns["confidence"] = [_confidence(answer) for answer in answers]
    columns["off by"] = [_off(answer) for answer in answers]
    columns = {name: cells for name, cells in columns.items() if any(cells)}
    heads = "".join(
        f'<th scope="col" data-column="{n}"{"" if name == "photo" else " class=n"}><button>{name}</button></th>'
        for n, name in enumerate(["#", "photo", *columns])
    )
    rows = []
    for number, (answer, *cells) in enumerate(zip(answers, *columns.values(), strict=True), 1):
        name = f'<a class="name" href="#q{number}">{plain(answer.query.name)}</a>'
        error = '<span class="bad">could not be read</span>' if answer.error else ""
        row = f'<td class="n">{number}</td><td>{name}{error}</td>{"".join(cell or EMPTY for cell in cells)}'
        rows.append(f"<tr>{row}</tr>")
    table = f'<table class="sortable"><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    return f'<nav aria-label="All photos"><h2>Photos</h2><div class="card scroll">{table}</div></nav>'


def _similarity(answer: Answer) -> str:
    return _cell(answer.matches[0].similarity, f"{answer.matches[0].similarity:.3f}") if answer.matches else ""


def _confidence(answer: Answer) -> str:
    mark = "" if answer.accepted is None else " ✓" if answer.accepted else " ?"
    return "" if answer.confidence is None else _cell(answer.confidence, f"{share(answer.confidence)}{mark}")


def _off(answer: Answer) -> str:
    metres = off(answer)
    return "" if metres is None else _cell(metres, length(metres))


def _cell(value: float, text: str) -> str:
    return f'<td class="n" data-value="{value}">{text}</td>'
