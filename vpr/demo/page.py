"""The page of the demo: what was asked, what was found, and where that is; one file that needs no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from vpr.demo.answers import Answer
from vpr.demo.article import article, off, share
from vpr.demo.map import City
from vpr.demo.page_style import STYLE
from vpr.demo.pictures import SCRIPT, Pictures, plain, readable
from vpr.demo.plane import length
from vpr.report.look import SCRIPT as SORT
from vpr.retrieval.index_photos import Photos
from vpr.viz_html import html_page

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
