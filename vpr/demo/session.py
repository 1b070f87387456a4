"""One run of the demo: queries in, answers out, and the files that show them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from vpr.demo.answer import answer, with_heat
from vpr.demo.answers import Answer, Heat, Query
from vpr.demo.page import page
from vpr.demo.pictures import readable
from vpr.demo.strip import write_strips
from vpr.demo.write import replaced, write_matches
from vpr.errors import DataError
from vpr.retrieval.confidence import Calibration
from vpr.retrieval.index import DescribePaths, PlaceIndex

ROWS = 10  # queries in the table on the screen


@dataclass
class Session:
    """All answers of a run so far, and where they are written.

    Attributes:
        describe_paths: of the model of `index`.
        k: matches a query.
        out: folder of what is written.
        title, facts, reliability: as for `vpr.demo.page.page`.
        about: as for `write_matches`.
        calibration: of that model; None: answers have no confidence.
        heat: makes heat maps of two photos; None: none are shown.
        shown: queries in the page, and so those with heat maps.
        compared: of a compressed kind, so many queries are searched exactly, too, to tell how often it agrees.
        newest_first: show the last answers, the newest on top, instead of the first.
    """

    index: PlaceIndex
    describe_paths: DescribePaths
    k: int
    out: Path
    title: str
    facts: Mapping[str, str]
    about: Mapping[str, Any]
    calibration: Calibration | None = None
    reliability: str = ""
    heat: Callable[[Path, Path], Heat] | None = None
    shown: int = 200
    newest_first: bool = False
    compared: int = 0
    answers: dict[str, Answer] = field(default_factory=dict)

    def ask(self, queries: Sequence[Query]) -> list[Answer]:
        """Answer queries; one that was asked before is answered anew, and is the newest."""
        found = answer(self.index, queries, self.describe_paths, self.k, self.calibration, compared=self.compared)
        if self.heat:
            free = slice(-self.shown, None) if self.newest_first else slice(max(0, self.shown - len(self.answers)))
            found[free] = with_heat(found[free], self.heat)
        for one in found:
            self.answers.pop(one.query.name, None)
            self.answers[one.query.name] = one
        return found

    def write(self, new: Sequence[Answer]) -> None:
        """Write matches.csv and matches.json of all answers, index.html, and strips of the new ones that it shows.

        DataError where the folder cannot be written.
        """
        answers, names = list(self.answers.values()), {one.query.name for one in new}
        shown = self._on_page(answers)
        try:
            write_matches(answers, self.out, self.about)
            write_strips([one for one in shown if one.query.name in names], self.out / "strips")
            with replaced(self.page, "replace") as file:
                file.write(page(shown, self.index.photos, self.title, self.facts, self.reliability))
        except OSError as error:
            raise DataError(f"Answers cannot be written to out={self.out} ({error.strerror or error}).") from error

    def sentence(self, seconds: float) -> str:
        """Say how many were answered, and where to look."""
        answers = self.answers.values()
        bad = [one for one in answers if one.error]
        said = f"{len(answers) - len(bad):,} of {len(answers):,} photos answered in {seconds:,.1f} s"
        if any(one.accepted is not None for one in answers):
            said += f", {sum(one.accepted is True for one in answers):,} accepted"
        unread = f" {len(bad):,} cannot be read (first: {bad[0].error.rstrip('.')})." if bad else ""
        few = f" Page and strips show {self.shown:,} of them (page_queries)." if len(answers) > self.shown else ""
        beside = "matches.csv, matches.json and strips are beside it."
        return f"{said}.{unread} The page is {self.page}; {beside}{few}{self._agreement()}"

    def _agreement(self) -> str:
        same = [one.exact for one in self.answers.values() if one.exact is not None]
        kind, known = self.index.kind.id, f"{sum(same):,} of {len(same):,} photos"
        return f" {kind}: the first match of {known} is that of the exact search." if same else ""

    def check_answered(self) -> None:
        """Raise DataError where no query could be read."""
        bad = [one.error for one in self.answers.values() if one.error]
        if bad and len(bad) == len(self.answers):
            raise DataError(f"None of {len(bad):,} queries can be read (first: {bad[0].rstrip('.')}).")

    @property
    def page(self) -> Path:
        return self.out / "index.html"

    def _on_page(self, answers: list[Answer]) -> list[Answer]:
        return answers[::-1][: self.shown] if self.newest_first else answers[: self.shown]


def table(answers: Sequence[Answer]) -> Table:
    """Lay out the first answers for a terminal."""
    left = f"and {len(answers) - ROWS:,} more" if len(answers) > ROWS else None
    grid = Table(caption=left, caption_justify="left")
    for name in ("query", "best match"):
        grid.add_column(name, overflow="fold")
    for name in ("similarity", "confidence", "estimate"):
        grid.add_column(name, justify="right", no_wrap=True)
    for one in answers[:ROWS]:
        grid.add_row(*(escape(readable(cell)) for cell in _cells(one)))
    return grid


def _cells(one: Answer) -> Iterable[str]:
    if one.error or not one.matches:
        return one.query.name, one.error or "no match", "", "", ""
    sure = "" if one.confidence is None else f"{one.confidence:.2f} {'yes' if one.accepted else 'not sure'}"
    place = f"{one.position.lat:.5f}, {one.position.lon:.5f}" if one.position else ""
    return one.query.name, one.matches[0].name, f"{one.matches[0].similarity:.3f}", sure, place
