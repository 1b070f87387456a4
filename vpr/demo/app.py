"""A run of the demo: a model is loaded, the index follows its photos, queries are answered, the answers are written."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np
from rich.markup import escape
from rich.table import Table

from vpr.checkpoint import versions
from vpr.data.formats.folders import require_folder
from vpr.data.loading import loader_workers
from vpr.demo.answers import Answer, Heat, Query, answer, with_heat, with_points
from vpr.demo.database import DATABASE, index_folder, open_index
from vpr.demo.explain import heat_maker
from vpr.demo.outputs import write_matches, write_strips
from vpr.demo.page import page
from vpr.demo.reranking import Reranking
from vpr.errors import DataError
from vpr.evaluation.calibrate import calibration
from vpr.files import write_text
from vpr.models.describer import Describer
from vpr.retrieval.calibration import Calibration
from vpr.retrieval.extractor import Extractor
from vpr.retrieval.index.codecs import Codec
from vpr.retrieval.index.place_index import Change, ExtractPaths, PlaceIndex, path_extractor
from vpr.retrieval.scoring import Rerank

if TYPE_CHECKING:
    from vpr.demo.reliability_plot import Reliability

SETTINGS: tuple[str, ...] = (
    "query",
    "positions",
    "k",
    "calibrate",
    "accept",
    "every",
    "heat",
    "watch",
    "batch_size",
    "precision",
    "rerank",
)
COMPARED = 1000  # queries that are searched exactly, too
ROWS = 10  # queries in the table on the screen


@dataclass
class Session:
    """All answers of a run so far, and where they are written.

    Attributes:
        extract_paths: of the model of `index`.
        k: matches a query.
        out: folder of what is written.
        title, facts, reliability: as for `vpr.demo.page.page`.
        about: as for `write_matches`.
        calibration: of that model; None: answers have no confidence.
        heat: makes heat maps of two photos; None: none are shown.
        shown: queries in the page, and so those with heat maps.
        reranking: orders the matches anew; None: they stay as the search finds them.
        compared: of a coded index, so many queries are searched exactly, too, to tell how often it agrees.
        newest_first: show the last answers, the newest on top, instead of the first.
        seconds: taken by searches so far, re-ranking and the description of the queries included.
        answers: by the query's name.
    """

    index: PlaceIndex
    extract_paths: ExtractPaths
    k: int
    out: Path
    title: str
    facts: Mapping[str, str]
    about: Mapping[str, Any]
    calibration: Calibration | None = None
    reliability: Reliability | None = None
    heat: Callable[[Path, Path], Heat] | None = None
    shown: int = 200
    newest_first: bool = False
    compared: int = 0
    reranking: Reranking | None = None
    seconds: float = 0.0
    answers: dict[str, Answer] = field(default_factory=dict)

    @property
    def page(self) -> Path:
        return self.out / "index.html"

    def ask(self, queries: Sequence[Query]) -> list[Answer]:
        """Answer queries; one that was asked before is answered anew, and is the newest."""
        began = time.perf_counter()
        answers = answer(
            self.index,
            queries,
            self.extract_paths,
            self.k,
            self.calibration,
            compared=self.compared,
            reranking=self.reranking,
        )
        self.seconds += time.perf_counter() - began
        if self.reranking and self.reranking.width:
            answers = with_points(answers, self.reranking.points)
        if self.heat:
            shown = slice(-self.shown, None) if self.newest_first else slice(max(0, self.shown - len(self.answers)))
            answers[shown] = with_heat(answers[shown], self.heat)
        for one in answers:
            self.answers.pop(one.query.name, None)
            self.answers[one.query.name] = one
        return answers

    def write(self, new: Sequence[Answer]) -> None:
        """Write matches.csv and matches.json of all answers, index.html, and strips of the new ones that it shows.

        Raises:
            DataError: the folder cannot be written.
        """
        answers, names = list(self.answers.values()), {one.query.name for one in new}
        shown = answers[::-1][: self.shown] if self.newest_first else answers[: self.shown]
        try:
            write_matches(answers, self.out, self.about)
            write_strips([one for one in shown if one.query.name in names], self.out / "strips")
            html = page(shown, self.index.photos, self.title, self.facts, self.reliability)
            write_text(self.page, html, "replace")
        except OSError as error:
            raise DataError(f"Answers cannot be written to out={self.out} ({error.strerror or error}).") from error

    def message(self, seconds: float) -> str:
        """Say how many were answered, and where to look."""
        answers = self.answers.values()
        unread = [one for one in answers if one.error]
        text = f"{len(answers) - len(unread):,} of {len(answers):,} photos answered in {seconds:,.1f} s"
        if any(one.accepted is not None for one in answers):
            text += f", {sum(one.accepted is True for one in answers):,} accepted"
        text += "."
        if unread:
            text += f" {len(unread):,} cannot be read (first: {unread[0].error.rstrip('.')})."
        text += f" The page is {self.page}; matches.csv, matches.json and strips are beside it."
        if len(answers) > self.shown:
            text += f" Page and strips show {self.shown:,} of them (page_queries)."
        if self.reranking and answers:
            text += f" {self.reranking.rerank.id}: {1000 * self.seconds / len(answers):,.0f} ms a photo."
        same = [one.exact for one in answers if one.exact is not None]
        if same:
            share = f"{sum(same):,} of {len(same):,} photos"
            text += f" {self.index.codec.id}: the first match of {share} is that of the exact search."
        return text

    def check_answered(self) -> None:
        """Raise DataError where no query could be read."""
        errors = [one.error for one in self.answers.values() if one.error]
        if errors and len(errors) == len(self.answers):
            raise DataError(f"None of {len(errors):,} queries can be read (first: {errors[0].rstrip('.')}).")


def begin(
    settings: Mapping[str, Any], codec: Codec, say: Callable[[str], None], rerank: Rerank | None = None
) -> Session:
    """Return a session that has no answers yet.

    Args:
        settings: conf/demo.yaml, resolved, as plain values.
        codec: of the index.
        say: shows a message.
        rerank: orders matches anew.

    Raises:
        VPRError: as of `Extractor.load`, `open_index` and `calibration`.
    """
    workers, out = loader_workers(settings["num_workers"]), Path(settings["out"])
    database, runs = settings["database"], settings["paths"]["runs"]
    extractor = Extractor.load(settings["ckpt"], settings["device"], settings["precision"])
    extract_paths = path_extractor(extractor, settings["batch_size"], workers)
    reranking = Reranking(rerank, extractor.device) if rerank else None  # before hours of describing
    require_folder(database, DATABASE)  # before a calibration, which comes before hours of describing
    calibrated, reliability = None, None
    if settings["calibrate"]:
        calibrated = calibration(
            settings["calibrate"],
            Path(runs) / "calibrations",
            extractor,
            data=settings["paths"]["data"],
            precision=settings["accept"],
            batch_size=settings["batch_size"],
            num_workers=workers,
        )
    index, change = open_index(
        settings["index"]["folder"] or index_folder(database, runs),
        database,
        settings["positions"],
        extract_paths,
        extractor.dim,
        extractor.digest,
        settings["ckpt"],
        codec,
        settings["index"]["rebuild"],
        settings["index"]["verify"],
    )
    say(index_message(index, change))
    if calibrated:
        from vpr.demo.reliability_plot import draw_reliability, write_png  # matplotlib, a second that others need not

        say(calibrated.message())
        reliability = draw_reliability(calibrated)
        write_png(calibrated, out / "reliability.png")
    heat = None
    if settings["heat"] and isinstance(extractor.describer, Describer):
        heat = heat_maker(extractor.describer, extractor.device)
    elif settings["heat"]:
        say(f"Heat maps need the layers of the network, and {settings['ckpt']} is exported: they are left out.")
    made = time.strftime("%Y-%m-%d %H:%M:%S")
    return Session(
        index,
        extract_paths,
        settings["k"],
        out,
        title=f"Places of {Path(os.path.abspath(settings['query'])).name}",
        facts={
            "model": f"{extractor.name} ({index.model[:12]})",
            "database": f"{len(index):,} photos in {index.photos.root}",
            "index": f"{index.codec.id}, {_counts(change)}",
            **({"re-ranked": rerank.id} if rerank else {}),
            "made": made,
        },
        about={
            **_about(index, change),
            "calibration": calibrated.calibration.plain() if calibrated else None,
            "settings": {key: settings[key] for key in SETTINGS} | {"device": str(extractor.device)},
            "made": made,
            "versions": versions() | {"faiss": faiss.__version__, "numpy": np.__version__},
        },
        calibration=calibrated.calibration if calibrated else None,
        reliability=reliability,
        heat=heat,
        shown=settings["page_queries"],
        newest_first=settings["watch"],
        compared=0 if settings["watch"] else COMPARED,  # not for each photo that comes
        reranking=reranking,
    )


def index_message(index: PlaceIndex, change: Change) -> str:
    """Say what became of the index."""
    removed = f", removed {len(change.removed):,}" if change.removed else ""
    text = f"{len(index):,} photos in the index {index.folder}: {_counts(change)}{removed}."
    placed = int(np.isfinite(index.photos.positions).all(axis=1).sum())
    if not placed:
        text += " None has a position, so there is no map and no estimate."
    elif placed < len(index):
        text += f" {placed:,} of them have a position."
    if change.bad:
        first = next(iter(change.bad.values())).rstrip(".")
        text += f" Photos that cannot be read and are left out: {len(change.bad):,} (first: {first})."
    return text


def _counts(change: Change) -> str:
    return f"described {len(change.described):,}, kept {change.kept:,}"


def _about(index: PlaceIndex, change: Change) -> dict[str, Any]:
    """Return the model, the index and its photos, for matches.json."""
    return {
        "model": {"ckpt": index.schema.get("ckpt"), "digest": index.model, "dim": index.dim},
        "index": {"folder": str(index.folder), "kind": index.codec.id, "photos": len(index)},
        "database": {
            "folder": str(index.photos.root),
            "described": len(change.described),
            "kept": change.kept,
            "removed": change.removed,
            "unreadable": change.bad,
        },
    }


def table(answers: Sequence[Answer]) -> Table:
    """Lay out the first answers for a terminal."""
    more = f"and {len(answers) - ROWS:,} more" if len(answers) > ROWS else None
    grid = Table(caption=more, caption_justify="left")
    for name in ("query", "best match"):
        grid.add_column(name, overflow="fold")
    for name in ("similarity", "confidence", "estimate"):
        grid.add_column(name, justify="right", no_wrap=True)
    for one in answers[:ROWS]:
        grid.add_row(*(escape(cell) for cell in _cells(one)))
    return grid


def _cells(one: Answer) -> Iterable[str]:
    if one.error or not one.matches:
        return one.query.name, one.error or "no match", "", "", ""
    sure = "" if one.confidence is None else f"{one.confidence:.2f} {'yes' if one.accepted else 'not sure'}"
    place = f"{one.position.lat:.5f}, {one.position.lon:.5f}" if one.position else ""
    return one.query.name, one.matches[0].name, f"{one.matches[0].similarity:.3f}", sure, place
