"""One answer as an article of the page: the photo, its matches, how sure, where, and why."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from vpr.demo.answers import Answer, Heat, Match
from vpr.demo.heat import overlay
from vpr.demo.map import City
from vpr.demo.pictures import Pictures, image, plain
from vpr.demo.plane import apart, length
from vpr.retrieval.examples import thumbnail
from vpr.viz_html import jpeg_address

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
