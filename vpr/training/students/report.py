"""Report of a selection of students: costs and agreement of each candidate, as a table, report.md and report.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from vpr.files import write_text
from vpr.pages.screen import Screen
from vpr.retrieval.agreement import Agreement
from vpr.training.students.candidates import Candidate, in_units, in_words
from vpr.training.students.comparison import Images

COLUMNS = ("", "pixels", "ms", "MB", "Mparams", "teacher's first match, % [95 %]", "")


@dataclass
class Report:
    """Report of what was chosen, and why.

    Attributes:
        settings: the configuration of distil.py, plain.
        images: that were learned from and held out.
        candidates: all of them.
        teacher_costs: as `costs_of` returns them.
        brief: agreement after the brief run, by candidate that fits; empty where only one does.
        chosen: the candidate that was trained fully.
        full: its agreement after that.
    """

    settings: Mapping[str, Any]
    images: Images
    candidates: Sequence[Candidate]
    teacher_costs: Mapping[str, Any]
    brief: Mapping[str, Agreement]
    chosen: Candidate
    full: Agreement

    def write(self, out: Path) -> None:
        """Write report.json and report.md into a folder, and print the table."""
        content = {
            "settings": dict(self.settings),
            "images": {"train": len(self.images.train), "held_out": len(self.images.held_out)},
            "teacher": {"costs": dict(self.teacher_costs)},
            "candidates": {
                c.name: {
                    **{"words": list(c.words), "costs": c.costs, "note": c.reason or self._note(c)},
                    "agreement": self.brief[c.name].plain() if c.name in self.brief else None,
                }
                for c in self.candidates
            },
            "chosen": self.chosen.name,
            "agreement": self.full.plain(),
        }
        write_text(out / "report.json", json.dumps(content, indent=2, ensure_ascii=False) + "\n")
        rows, lines = self._rows(), self._lines(out)
        grid = ["| " + " | ".join(row) + " |" for row in (COLUMNS, ["---"] * len(COLUMNS), *rows)]
        write_text(out / "report.md", "\n".join(["# Student", "", *grid, "", *lines]) + "\n")
        table, console = Table(title="Students"), Screen()
        for heading in COLUMNS:
            table.add_column(heading)
        for row in rows:
            table.add_row(*row)
        console.print(table)
        console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)

    def _rows(self) -> list[list[str]]:
        """Return a row for each candidate, one for the chosen one after its full training, and one for the teacher."""
        brief, full = (f"after {self.settings[stage]} steps" for stage in ("brief", "full"))
        rows = []
        for c in self.candidates:
            agreement = self.brief.get(c.name)
            rows.append([c.name, *_costs(c.costs), _percent(agreement), brief if agreement else self._note(c)])
        rows.append([f"{self.chosen.name}, chosen", *_costs(self.chosen.costs), _percent(self.full), full])
        return [*rows, ["teacher", *_costs(self.teacher_costs), "", ""]]

    def _lines(self, out: Path) -> list[str]:
        best, full = out / "best.ckpt", self.full
        return [
            f"{len(full.same)} held-out images, compared with {full.database} others. Rank correlation of the "
            f"teacher's first {full.ranked} matches: {full.rank_correlation:.3f}.",
            f"{best}: {self.chosen.name}, {in_words(self.chosen.costs or {})}.",
            f"Next: python demo.py ckpt={best} database=/my/map query=/my/photos",
        ]

    def _note(self, candidate: Candidate) -> str:
        if candidate.costs is None:
            return f"left out: {candidate.reason.partition('. ')[0].rstrip('.')}"
        fits = candidate.name in self.brief or candidate is self.chosen
        return "" if fits else "does not fit"


def _costs(costs: Mapping[str, Any] | None) -> list[str]:
    if costs is None:
        return [""] * 4
    return ["x".join(map(str, costs["image_size"])), *(f"{value:.3g}" for value in in_units(costs).values())]


def _percent(agreement: Agreement | None) -> str:
    if agreement is None:
        return ""
    low, high = agreement.first_match_interval
    return f"{100 * agreement.first_match:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
