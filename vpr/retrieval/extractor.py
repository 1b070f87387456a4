"""Extraction: uint8 images in, descriptors out, into arrays that several ranks fill together."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.data import DataLoader

from vpr import checkpoint, distributed
from vpr.data.npy import map_npy
from vpr.data.retrieval_set import ImageDataset, collate_images
from vpr.errors import ConfigError, DataError, DiskError
from vpr.files import reserved, write_text
from vpr.interop.opener import OpenedModel, of_content, open_model
from vpr.models.describer import Describer
from vpr.models.onnx_describer import OnnxDescriber, is_exported
from vpr.terminal import readable
from vpr.types import Preprocess

if TYPE_CHECKING:
    from vpr.retrieval.pca import PCA

AUTOCAST = {"32": None, "32-true": None, "16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}
TEMPORARY = "vpr-"  # beginning of the names of our folders in TMPDIR
DTYPES = ("float16", "float32")  # of descriptors on disk


class Model(Protocol):
    """Network that an extractor runs: a `Describer`, an exported model, or what acts as one.

    Attributes:
        dim: dimensions of a descriptor.
        preprocess: size and interpolation of its images; `normalise` does the rest.
        fixed_size: images of other sizes than `preprocess.size` cannot be described.
    """

    @property
    def dim(self) -> int: ...

    @property
    def preprocess(self) -> Preprocess: ...

    @property
    def fixed_size(self) -> bool: ...

    def normalise(self, images: Tensor) -> Tensor:
        """Turn uint8 images (B, 3, H, W) into the floats that the network takes."""
        ...

    def __call__(self, images: Tensor) -> Tensor:
        """Return descriptors (B, dim) of unit norm."""
        ...


class Extractor:
    """Model in use: uint8 images (B, 3, H, W), wherever they are, in; descriptors (B, dim) float32 on its device out.

    Args:
        model: on `device`, in evaluation mode whenever the extractor is called.
        device: where the model computes.
        precision: 32-true, 16-mixed or bf16-mixed, as Lightning names them.
        channels_last: memory layout of the images.
        name: short, for protocol ids and results: letters, digits and `._+-`.
        digest: of the model (`vpr.interop.opener.OpenedModel`), for caches and indices; empty where it is not known.
        record: entries of the model's checkpoint but the weights; None for a model that comes from no checkpoint.

    Raises:
        ConfigError: an unknown precision, or another one than the model was exported with.
    """

    def __init__(
        self,
        model: Model,
        device: torch.device | str,
        precision: str = "32-true",
        channels_last: bool = False,
        name: str = "",
        digest: str = "",
        record: Mapping[str, Any] | None = None,
    ) -> None:
        self.precision = str(precision)
        if self.precision not in AUTOCAST:
            choices = ", ".join(AUTOCAST)
            raise ConfigError(f"precision={precision} cannot be used to describe images; choose {choices}.")
        if isinstance(model, OnnxDescriber) and AUTOCAST[self.precision] is not None:
            raise ConfigError(
                f"precision={precision} with {model.path}: an exported model computes as it was exported "
                f"({model.info.precision}). Leave precision out."
            )
        self.model, self.device, self.channels_last = model, torch.device(device), channels_last
        self.name, self.digest, self.record = name, digest, record

    @classmethod
    def load(
        cls, path: str | PathLike[str], device: str | torch.device = "auto", precision: str = "32-true"
    ) -> Extractor:
        """Open a checkpoint, a file that another project published, or an exported model, by its path.

        A published model may be named instead, as in `vpr.interop.zoo`.

        Args:
            device: of an exported model `auto` or `cpu`; one that has been picked already gives way to the CPU.

        Raises:
            CheckpointError: the file is missing, damaged or from elsewhere. Nothing in it is executed.
            ConfigError: there is no such device, an unknown precision, or one that an exported model has not.
        """
        place = model_device(path, device)
        return cls.of(open_model(path), place, precision)

    @classmethod
    def of(cls, opened: OpenedModel, device: torch.device, precision: str = "32-true") -> Extractor:
        """Make an extractor of an opened model."""
        model = opened.describer.to(device)
        return cls(model, device, precision, name=opened.name, digest=opened.digest, record=opened.record)

    @classmethod
    def of_checkpoint(
        cls, content: Mapping[str, Any], path: str, device: torch.device, precision: str = "32-true"
    ) -> Extractor:
        """Make an extractor of what `vpr.checkpoint.read` returned; `path` is for its name and for messages."""
        return cls.of(of_content(content, path), device, precision)

    def with_pca(self, pca: PCA, dim: int | None = None, whiten: bool = True) -> Extractor:
        """Return the extractor of its model, no exported one, with PCA at the end: `dim` dimensions, or all."""
        content = pca.projection(dim, whiten).behind(self.content())
        return self.of_checkpoint(content, f"{self.name}.ckpt", self.device, self.precision)

    def content(self) -> dict[str, Any]:
        """Return the content of a checkpoint of its model, weights on the CPU, as `vpr.checkpoint.read` does."""
        assert self.record is not None
        network = self.network("A checkpoint", "Give the checkpoint that it was made from.")
        weights = {name: value.detach().cpu() for name, value in network.state_dict().items()}
        return {**self.record, "weights": weights}

    @property
    def origin(self) -> str:
        """Digest of the checkpoint that it was exported from; of any other model its own."""
        return str((self.record or {}).get("origin") or self.digest)

    @property
    def training_images(self) -> np.ndarray:
        """Digests of the images that it was trained on, (n,) int64; empty where its checkpoint does not say.

        CheckpointError where those of an exported model are not beside it.
        """
        if isinstance(self.model, OnnxDescriber):
            return self.model.training_images()
        return checkpoint.training_images(self.record)

    @property
    def describer(self) -> Describer | OnnxDescriber:
        """The network; TypeError where the model is none of ours."""
        if not isinstance(self.model, Describer | OnnxDescriber):
            raise TypeError(f"{type(self.model).__name__} is no describer")
        return self.model

    def network(self, purpose: str, advice: str) -> Describer:
        """Return the network for what needs its layers.

        Args:
            purpose, advice: for the message: what needs them, and what to do instead.

        Raises:
            ConfigError: an exported model, which has none.
        """
        if isinstance(self.describer, OnnxDescriber):
            raise ConfigError(f"{purpose} needs the layers of the network, and {self.describer.path} is exported. "
                              f"{advice}")  # fmt: skip
        return self.describer

    @property
    def dim(self) -> int:
        """Dimensions of a descriptor."""
        return self.model.dim

    @property
    def preprocess(self) -> Preprocess:
        """Size and interpolation of the images that it takes."""
        return self.model.preprocess

    @property
    def fixed_size(self) -> bool:
        """Whether images of other sizes than `preprocess.size` cannot be described."""
        return self.model.fixed_size

    def __call__(self, images: Tensor) -> Tensor:
        """Return descriptors; RuntimeError where the model is in training mode."""
        if getattr(self.model, "training", False):
            raise RuntimeError("the describer is in training mode: call .eval() first")
        dtype = AUTOCAST[self.precision]
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        with torch.inference_mode(), torch.autocast(self.device.type, dtype) if dtype else nullcontext():
            batch = self.model.normalise(images.to(self.device, non_blocking=True)).contiguous(memory_format=layout)
            return self.model(batch).float()


def model_device(path: str | PathLike[str], device: str | torch.device) -> torch.device:
    """Return the device for the model of a file: an exported one is run on the CPU.

    Args:
        path: of the file, or a name of `vpr.interop.zoo`, whose file is downloaded at first use.

    Raises:
        ConfigError: there is no such device, or another one is named for an exported model.
    """
    if not is_exported(path):
        return pick_device(device) if isinstance(device, str) else device
    if isinstance(device, str) and device not in ("auto", "cpu"):
        raise ConfigError(f"device={device} with {path}: an exported model is run on the CPU. Type device=auto.")
    return torch.device("cpu")


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
    numbers = list(range(len(paths))) if rows is None else rows.tolist()
    batches = [numbers[start : start + batch_size] for start in range(0, len(numbers), batch_size)]
    mine = batches[distributed.rank() :: distributed.world_size()]
    return DataLoader(
        ImageDataset(paths, preprocess, short_side),
        batch_sampler=mine,
        num_workers=min(num_workers, len(mine)) if len(mine) > 1 else 0,
        collate_fn=collate_images,
        pin_memory=torch.cuda.is_available(),
    )


def extract(
    extractor: Callable[[Tensor], Tensor],
    loader: Iterable[tuple[Tensor, Tensor, Sequence[str]]],
    out: np.ndarray,
    progress: Callable[[int], object] | None = None,
) -> dict[int, str]:
    """Write `out[index] = extractor(image)` for the loader's (images uint8, indices, errors); return {index: error}.

    Ranks write disjoint rows. The errors of all ranks are returned to all ranks, after all have written.

    Args:
        extractor: (B, 3, H, W) uint8 -> (B, D). Images with an error are not given to it.
        out: (N, D) array or memmap, float16 or float32.
        progress: called with the number of images after each batch.

    Raises:
        DataError: a descriptor is NaN or infinite.
    """
    bad: dict[int, str] = {}
    not_finite: list[int] = []
    with distributed.raise_on_all_ranks():
        for images, indices, errors in loader:
            good = torch.tensor([not error for error in errors])
            bad |= {int(row): error for row, error in zip(indices, errors, strict=True) if error}
            if good.any():
                rows = indices[good].numpy()
                described = extractor(images if good.all() else images[good])
                not_finite += rows[~torch.isfinite(described).all(dim=1).cpu().numpy()].tolist()
                out[rows] = described.float().cpu().numpy()
            if progress:
                progress(len(errors))
        if isinstance(out, np.memmap) and distributed.world_size() > 1:
            out.flush()  # other machines see only what has reached the shared disk
    of_ranks = distributed.gather_objects((bad, not_finite))
    _check_finite(sorted(row for _, rows in of_ranks for row in rows), len(out), loader)
    return dict(sorted(item for errors, _ in of_ranks for item in errors.items()))


def _path(loader: object, row: int) -> str:
    paths = getattr(getattr(loader, "dataset", None), "paths", None)
    return f"row {row}" if paths is None else str(paths[row])


def _check_finite(not_finite: Sequence[int], total: int, loader: object) -> None:
    if not_finite:
        first = _path(loader, not_finite[0])
        raise DataError(
            f"{len(not_finite):,} of {total:,} descriptors are NaN or infinite (first: {first}). The weights have "
            "diverged, or 16-bit arithmetic overflows: try precision=32-true, and look at the loss of their training."
        )


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
        task = bar.add_task(readable(title).replace("[", r"\["), total=total)
        yield lambda steps: bar.advance(task, steps)


@contextmanager
def working_folder(given: Path | None = None) -> Iterator[Path]:
    """Give all ranks one folder: the given one, or else one of ours, which rank 0 removes when all are done with it."""
    if given is not None:
        yield Path(given)
        return
    with distributed.raise_on_all_ranks():
        temporary = _temporary_folder() if distributed.rank() == 0 else None
    try:
        yield Path(distributed.broadcast_object(temporary.name if temporary else ""))
    finally:
        if temporary:
            temporary.cleanup()


def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix=TEMPORARY)
    except OSError as error:
        raise DiskError(
            f"No temporary folder can be made ({error.strerror or error}). Free some space, or set TMPDIR to a "
            "folder on another disk."
        ) from error


def create(folder: Path, rows: int, dim: int, dtype: str = "float16") -> np.memmap:
    """Make `folder/descriptors.npy` of (rows, dim) and map it for writing; what was there before is replaced.

    DiskError where the disk is too small or read-only.
    """
    path, size = folder / "descriptors.npy", rows * dim * np.dtype(dtype).itemsize
    try:
        with reserved(path, size):
            (folder / "schema.json").unlink(missing_ok=True)  # it appears again when the rows are all written
            return np.lib.format.open_memmap(path, "w+", np.dtype(dtype), (rows, dim))
    except DiskError as error:
        ours = folder.name.startswith(TEMPORARY) and path.is_relative_to(tempfile.gettempdir())
        raise DiskError(f"{error} Set TMPDIR to a folder on a larger disk." if ours else str(error)) from error


def attach(folder: Path) -> np.memmap:
    """Map the file that another rank has made, for writing."""
    try:
        return map_npy(folder / "descriptors.npy", "r+")
    except (OSError, ValueError) as error:
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
