"""The best checkpoints of a run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Kept(NamedTuple):
    """A describer on disk and its recall@k (0..1) under the monitored protocol."""

    score: float
    path: Path


class TopCheckpoints:
    """Keep the describers with the highest score, and `best.ckpt`, a copy of the first of them.

    All ranks keep the books, so that all know what is best; one of them writes.

    Args:
        directory: where they go.
        keep: how many; the earlier one wins a tie.
        k: of the recall@k that decides; it stands in the names.
    """

    def __init__(self, directory: Path, keep: int = 3, k: int = 1) -> None:
        self.directory = directory
        self.keep = keep
        self.k = k
        self.kept: list[Kept] = []

    @property
    def best(self) -> Kept | None:
        """The checkpoint with the highest score, as `best.ckpt`."""
        return Kept(self.kept[0].score, self.directory / "best.ckpt") if self.kept else None

    def offer(self, score: float, epoch: int, save: Callable[[Path], None] | None) -> bool:
        """Enter the describer of this epoch if it is among the best; return whether it is the very best.

        Args:
            score: recall@k (0..1), the same on all ranks.
            save: writes the describer; None on ranks that only keep the books.
        """
        path = self.directory / f"epoch{epoch:02d}_R{self.k}-{score:.4f}.ckpt"
        others = [kept for kept in self.kept if kept.path.name != path.name]
        ranked = sorted([*others, Kept(score, path)], key=lambda kept: -kept.score)
        self.kept, dropped = ranked[: self.keep], ranked[self.keep :]
        first = self.kept[0].path == path
        if save is not None:
            if any(kept.path == path for kept in self.kept):
                save(path)
            for kept in dropped:
                if kept.path.parent == self.directory:  # files of a run that was resumed stay with it
                    kept.path.unlink(missing_ok=True)
            if first:
                self.copy_best()
        return first

    def copy_best(self) -> None:
        """Write `best.ckpt`, a copy of the first of those kept, whole or not at all."""
        if self.kept:
            partial = self.directory / "best.partial"
            self.directory.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.kept[0].path, partial)
            partial.replace(self.directory / "best.ckpt")

    def state_dict(self) -> list[dict[str, Any]]:
        """Return what a resumed run needs to know of the files kept so far."""
        return [{"score": kept.score, "path": str(kept.path.resolve())} for kept in self.kept]

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        """Take over the files of the run that is resumed."""
        self.kept = [Kept(entry["score"], Path(entry["path"])) for entry in state if Path(entry["path"]).is_file()]
