"""From a configuration of `demo.py` to a session: the model is loaded, the index follows its photos."""

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
from vpr.demo.answers import Answer, Heat, Query, answer, with_heat
from vpr.demo.database import DATABASE, index_folder, open_index
from vpr.demo.explain import heat_maker
from vpr.demo.outputs import write_matches, write_strips
from vpr.demo.page import page
from vpr.errors import DataError
from vpr.evaluation.calibrate import calibration
from vpr.files import write_text
from vpr.pages.render import readable
from vpr.retrieval.calibration import Calibration
from vpr.retrieval.extractor import Extractor
from vpr.retrieval.index.codecs import Codec
from vpr.retrieval.index.place_index import Change, ExtractPaths, PlaceIndex, path_extractor

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from vpr.demo.reliability_plot import Reliability

# FOLDED vpr/demo/app.py: What a run of the demo says about itself: on the screen, on its page and in matches.json.


def sentence(index: PlaceIndex, change: Change) -> str:
    """Say what became of the index."""
    removed = f", removed {len(change.removed):,}" if change.removed else ""
    said = f"{len(index):,} photos in the index {index.folder}: {_counts(change)}{removed}."
    placed = int(np.isfinite(index.photos.positions).all(axis=1).sum())
    if not placed:
        said += " None has a position, so there is no map and no estimate."
    elif placed < len(index):
        said += f" {placed:,} of them have a position."
    if change.bad:
        first = next(iter(change.bad.values())).rstrip(".")
        said += f" Photos that cannot be read and are left out: {len(change.bad):,} (first: {first})."
    return said


def facts(index: PlaceIndex, change: Change, model: str, when: str) -> dict[str, str]:
    """Return what stands on top of the page; `model` is its name."""
    return {
        "model": f"{model} ({index.model[:12]})",
        "database": f"{len(index):,} photos in {index.photos.root}",
        "index": f"{index.codec.id}, {_counts(change)}",
        "made": when,
    }


def plain(
    index: PlaceIndex,
    change: Change,
    settings: Mapping[str, Any],
    when: str,
    calibration: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what matches.json says beside the answers."""
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
        "calibration": None if calibration is None else dict(calibration),
        "settings": dict(settings),
        "made": when,
        "versions": versions() | {"faiss": faiss.__version__, "numpy": np.__version__},
    }


def _counts(change: Change) -> str:
    return f"described {len(change.described):,}, kept {change.kept:,}"


# FOLDED vpr/demo/app.py: One run of the demo: queries in, answers out, and the files that show them.


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
        compared: of a coded index, so many queries are searched exactly, too, to tell how often it agrees.
        newest_first: show the last answers, the newest on top, instead of the first.
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
    answers: dict[str, Answer] = field(default_factory=dict)

    def ask(self, queries: Sequence[Query]) -> list[Answer]:
        """Answer queries; one that was asked before is answered anew, and is the newest."""
        found = answer(self.index, queries, self.extract_paths, self.k, self.calibration, compared=self.compared)
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
            html = page(shown, self.index.photos, self.title, self.facts, self.reliability)
            write_text(self.page, html, "replace")
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
        codec, known = self.index.codec.id, f"{sum(same):,} of {len(same):,} photos"
        return f" {codec}: the first match of {known} is that of the exact search." if same else ""

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


SETTINGS = ("query", "positions", "k", "calibrate", "accept", "every", "heat", "watch", "batch_size", "precision")
COMPARED = 1000  # queries that are searched exactly, too


def begin(cfg: DictConfig, codec: Codec, say: Callable[[str], None]) -> Session:
    """Return a session that has no answers yet.

    Args:
        codec: how the index is searched, `cfg.index.kind`.
        say: shows a sentence.

    Raises:
        VPRError: as of `vpr.api.load`, `open_index` and `calibration`.
    """
    workers = loader_workers(cfg.num_workers)
    extractor = Extractor.load(cfg.ckpt, cfg.device, cfg.precision)
    extract_paths = path_extractor(extractor, cfg.batch_size, workers)
    require_folder(cfg.database, DATABASE)  # before a calibration, which comes before hours of describing
    known, reliability = None, None
    if cfg.calibrate:
        known = calibration(
            cfg.calibrate,
            Path(cfg.paths.runs) / "calibrations",
            extractor,
            data=cfg.paths.data,
            precision=cfg.accept,
            batch_size=cfg.batch_size,
            num_workers=workers,
        )
    index, change = open_index(
        cfg.index.folder or index_folder(cfg.database, cfg.paths.runs),
        cfg.database,
        cfg.positions,
        extract_paths,
        extractor.dim,
        extractor.digest,
        cfg.ckpt,
        codec,
        cfg.index.rebuild,
    )
    say(sentence(index, change))
    if known:
        from vpr.demo.reliability_plot import draw_reliability, write_png  # matplotlib, a second that others need not

        say(known.sentence())
        reliability = draw_reliability(known)
        write_png(known, Path(cfg.out) / "reliability.png")
    when = time.strftime("%Y-%m-%d %H:%M:%S")
    settings = {key: cfg[key] for key in SETTINGS} | {"device": str(extractor.device)}
    return Session(
        index,
        extract_paths,
        cfg.k,
        Path(cfg.out),
        f"Places of {Path(os.path.abspath(cfg.query)).name}",
        facts(index, change, extractor.name, when),
        plain(index, change, settings, when, known.calibration.plain() if known else None),
        known.calibration if known else None,
        reliability,
        heat_maker(extractor.describer, extractor.device) if cfg.heat else None,
        cfg.page_queries,
        cfg.watch,
        0 if cfg.watch else COMPARED,  # not for each photo that comes
    )
