"""The bar that moves while one waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vpr.retrieval import ranks


@contextmanager
def image_progress(title: str, total: int, show: bool = True) -> Iterator[Callable[[int], None] | None]:
    """Yield `advance(images of this rank's batch)`, or None on other ranks and where nothing is to be shown.

    Rank 0 shows its own share as the whole, since the ranks work alike. A log file gets no bar.
    """
    with progress(title, total, show and ranks.rank() == 0) as advance:
        yield advance and (lambda images: advance(images * ranks.world()))


@contextmanager
def progress(title: str, total: int, show: bool = True) -> Iterator[Callable[[int], None] | None]:
    """Yield `advance(steps)`, or None where nothing is to be shown: without `show`, and where there is no terminal."""
    console = Console(stderr=True)
    if not show or not console.is_terminal:
        yield None
        return
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title.replace("[", r"\["), total=total)
        yield lambda steps: bar.advance(task, steps)
