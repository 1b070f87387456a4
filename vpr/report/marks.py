"""Colours and marks: the same student has one colour, and the same teaching one mark, in all plots of a page."""

from __future__ import annotations

from collections.abc import Sequence

from vpr.report.runs import Run

# Okabe and Ito 2008: told apart by colour-blind readers, too; the yellow is left out, which is faint on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
# matplotlib's marks, the signs that look like them, and line styles; the first is of undistilled runs.
MARKS = (("o", "○"), ("o", "●"), ("s", "■"), ("^", "▲"), ("D", "◆"), ("v", "▼"), ("P", "✚"), ("X", "✖"))
LINES = ("--", "-", "-.", ":")
UNDISTILLED = "undistilled"


class Marks:
    """How each of these runs is drawn."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.students = list(dict.fromkeys(run.student for run in sorted(runs, key=lambda run: run.student)))
        taught = dict.fromkeys(teaching(run) for run in sorted(runs, key=teaching) if run.teacher)
        self.teachings = [UNDISTILLED, *taught]

    def colour(self, run: Run) -> str:
        """Return its colour as #rrggbb."""
        return COLOURS[self.students.index(run.student) % len(COLOURS)]

    def mark(self, run: Run) -> str:
        """Return matplotlib's name of its mark."""
        return MARKS[self._number(run)][0]

    def line(self, run: Run) -> str:
        """Return matplotlib's name of its line style."""
        return LINES[min(self._number(run), len(LINES) - 1)]

    def legend(self) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """Return (colour, student) and (sign, teaching)."""
        students = [(COLOURS[n % len(COLOURS)], name) for n, name in enumerate(self.students)]
        return students, [(MARKS[self._of(name)][1], name) for name in self.teachings]

    def _number(self, run: Run) -> int:
        return self._of(teaching(run))

    def _of(self, name: str) -> int:
        number = self.teachings.index(name)
        return (number - 1) % (len(MARKS) - 1) + 1 if number else 0


def teaching(run: Run) -> str:
    """Return who taught a run what."""
    return f"{run.teacher}, {run.term}" if run.teacher else UNDISTILLED
