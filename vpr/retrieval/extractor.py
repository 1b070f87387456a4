"""The callable that extraction calls: uint8 images in, descriptors out."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.data import DataLoader

from vpr import distributed
from vpr.data.retrieval_set import ImageDataset, collate_images
from vpr.errors import ConfigError, DataError
from vpr.files import write_text
from vpr.types import Preprocess

AUTOCAST = {"32": None, "32-true": None, "16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}

Describe = Callable[[Tensor], Tensor]


class DescriberLike(Protocol):
    """What `describe_fn` needs of a model, which lies on its device already."""

    def normalise(self, images: Tensor) -> Tensor: ...

    def __call__(self, images: Tensor) -> Tensor: ...


def describe_fn(
    describer: DescriberLike, device: torch.device | str, precision: str = "32-true", channels_last: bool = False
) -> Describe:
    """Make `describe(images: (B, 3, H, W) uint8, anywhere) -> (B, D) float32 on device` of a describer in eval mode.

    `precision` takes Lightning's names: 32-true, 16-mixed, bf16-mixed; ConfigError for another one.
    """
    if str(precision) not in AUTOCAST:
        raise ConfigError(f"precision={precision} cannot be used to describe images; choose {', '.join(AUTOCAST)}.")
    device, dtype = torch.device(device), AUTOCAST[str(precision)]
    layout = torch.channels_last if channels_last else torch.contiguous_format

    def describe(images: Tensor) -> Tensor:
        if getattr(describer, "training", False):
            raise RuntimeError("the describer is in training mode: call .eval() first")
        context = torch.autocast(device.type, dtype) if dtype else nullcontext()
        with torch.inference_mode(), context:
            batch = describer.normalise(images.to(device, non_blocking=True)).contiguous(memory_format=layout)
            return describer(batch).float()

    return describe


def pick_device(name: str) -> torch.device:
    """Turn `auto`, `cpu`, `cuda` or `cuda:N` into a device; ConfigError where it is not one of this machine."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"device={name}, but torch finds no CUDA device here. Pass device=cpu or device=auto.")
    try:
        return torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device={name} is not a device; choose auto, cpu or cuda.") from None


# FOLDED vpr/retrieval/extractor.py: Describe the images of a loader into an array, by index; several ranks fill one
# file together.


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
    mine = batches[distributed.rank() :: distributed.world_size()]
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
    with distributed.raise_on_all_ranks():
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
        if isinstance(out, np.memmap) and distributed.world_size() > 1:
            out.flush()  # other machines see only what has reached the shared disk
    told = distributed.gather_objects((bad, broken))
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


# FOLDED vpr/retrieval/extractor.py: The bar that moves while one waits.


@contextmanager
def image_progress(title: str, total: int, show: bool = True) -> Iterator[Callable[[int], None] | None]:
    """Yield `advance(images of this rank's batch)`, or None on other ranks and where nothing is to be shown.

    Rank 0 shows its own share as the whole, since the ranks work alike. A log file gets no bar.
    """
    with progress(title, total, show and distributed.rank() == 0) as advance:
        yield advance and (lambda images: advance(images * distributed.world_size()))


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


# FOLDED vpr/retrieval/extractor.py: Descriptors on disk: one mapped file that is filled by index, and a small JSON
# that says what lies in it.


DTYPES = ("float16", "float32")


@contextmanager
def working_folder(given: Path | None = None) -> Iterator[Path]:
    """Give all ranks one folder: the given one, or else one of ours, which rank 0 removes when all are done with it."""
    if given is not None:
        yield Path(given)
        return
    temporary = tempfile.TemporaryDirectory(prefix="vpr-") if distributed.rank() == 0 else None
    try:
        yield Path(distributed.broadcast_object(temporary.name if temporary else ""))
    finally:
        if temporary:
            temporary.cleanup()


def create(folder: Path, rows: int, dim: int, dtype: str = "float16") -> np.memmap:
    """Make `folder/descriptors.npy` of (rows, dim) and map it for writing; what was there before is replaced.

    DataError where the disk is too small.
    """
    folder.mkdir(parents=True, exist_ok=True)
    needed, free = rows * dim * np.dtype(dtype).itemsize, shutil.disk_usage(folder).free
    if needed > free:  # a mapped file that outgrows its disk would end the process without a word
        raise DataError(
            f"The descriptors of {rows:,} images need {needed / 1e9:,.1f} GB; {folder} has {free / 1e9:,.1f} GB free. "
            "Free some, or set TMPDIR to a folder on a larger disk."
        )
    (folder / "schema.json").unlink(missing_ok=True)  # it appears again when the rows are all written
    return np.lib.format.open_memmap(folder / "descriptors.npy", "w+", np.dtype(dtype), (rows, dim))


def attach(folder: Path) -> np.memmap:
    """Map the file that another rank has made, for writing."""
    try:
        return np.lib.format.open_memmap(folder / "descriptors.npy", "r+")
    except OSError as error:
        raise DataError(
            f"{folder / 'descriptors.npy'} cannot be opened by this rank ({error}). "
            "With several machines set TMPDIR, or the working folder, to a disk that all of them share."
        ) from error


def seal(folder: Path, descriptors: np.ndarray, database: int, queries: int, model: str = "") -> None:
    """Write `schema.json`: the first `database` rows are the database's, the next `queries` rows the queries'."""
    schema = {"dim": descriptors.shape[1], "dtype": str(descriptors.dtype), "database": database, "queries": queries}
    text = json.dumps(schema | {"model": model}, indent=2)
    write_text(folder / "schema.json", text + "\n")


def compact(descriptors: np.ndarray, rows: np.ndarray, chunk: int = 4096) -> None:
    """Move `rows` (ascending) to the front, in place and a chunk at a time."""
    for start in range(0, len(rows), chunk):
        part = rows[start : start + chunk]
        descriptors[start : start + len(part)] = descriptors[part]
