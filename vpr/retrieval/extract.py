"""Describe the images of a loader into an array, by index; several ranks fill one file together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from vpr.data.retrieval_set import ImageDataset, collate_images
from vpr.errors import DataError
from vpr.retrieval import ranks
from vpr.retrieval.describe import Describe
from vpr.types import Preprocess


def image_loader(
    paths: Sequence[Path],
    preprocess: Preprocess,
    batch_size: int = 32,
    num_workers: int = 0,
    short_side: int | None = None,
    rows: np.ndarray | None = None,
) -> DataLoader:
    """Load this rank's share of `paths`: every world-size-th batch. `short_side` is that of `EvalTransform`.

    `rows` (int64) are the paths to load; None: all. Whole batches are dealt out, so that each image is described in the
    same company, and to the same last bit, as by one process; no row is padded or repeated. There are no more workers
    than batches, and none for a single one.
    """
    wanted = list(range(len(paths))) if rows is None else rows.tolist()
    batches = [wanted[start : start + batch_size] for start in range(0, len(wanted), batch_size)]
    mine = batches[ranks.rank() :: ranks.world()]
    return DataLoader(
        ImageDataset(paths, preprocess, short_side),
        batch_sampler=mine,
        num_workers=min(num_workers, len(mine)) if len(mine) > 1 else 0,
        collate_fn=collate_images,
        pin_memory=torch.cuda.is_available(),
    )


def extract(
    describe: Describe,
    loader: Iterable[tuple[Tensor, Tensor, Sequence[str]]],
    out: np.ndarray,
    progress: Callable[[int], object] | None = None,
) -> dict[int, str]:
    """Write `out[index] = describe(image)` for the loader's (images uint8, indices, errors); return {index: error}.

    `describe: (B, 3, H, W) uint8 -> (B, D)`; `out`: (N, D) array or memmap, float16 or float32. Images with an
    error are not described. The errors of all ranks are returned to all ranks, after all have written. `progress` is
    called with the number of images after each batch. DataError where a descriptor is NaN or infinite.
    """
    bad: dict[int, str] = {}
    broken: list[int] = []
    with ranks.together():
        for images, indices, errors in loader:
            good = torch.tensor([not error for error in errors])
            bad |= {int(row): error for row, error in zip(indices, errors, strict=True) if error}
            if good.any():
                rows = indices[good].numpy()
                described = describe(images if good.all() else images[good])
                broken += rows[~torch.isfinite(described).all(dim=1).cpu().numpy()].tolist()
                out[rows] = described.float().cpu().numpy()
            if progress:
                progress(len(errors))
        if isinstance(out, np.memmap) and ranks.world() > 1:
            out.flush()  # other machines see only what has reached the shared disk
    told = ranks.gather((bad, broken))
    _check_finite(sorted(row for _, rows in told for row in rows), len(out), loader)
    return dict(sorted(item for errors, _ in told for item in errors.items()))


def _check_finite(broken: Sequence[int], total: int, loader: object) -> None:
    if broken:
        paths = getattr(getattr(loader, "dataset", None), "paths", None)
        first = f"row {broken[0]}" if paths is None else str(paths[broken[0]])
        raise DataError(
            f"{len(broken):,} of {total:,} descriptors are NaN or infinite (first: {first}). The weights have "
            "diverged, or 16-bit arithmetic overflows: try precision=32-true, and look at the loss of their training."
        )
