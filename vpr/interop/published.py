"""What importers of other projects' checkpoints share: reading a file, and saying what is known where it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from vpr.checkpoint import pack, read_any
from vpr.errors import CheckpointError
from vpr.models.describer import build_describer
from vpr.types import Preprocess

State = Mapping[str, Tensor]
Known = tuple[type[Any], dict[str, Any]]
"""A backbone's class, and the arguments with which it is the published one."""

STATES = ("state_dict", "model_state_dict")
"""Where training scripts put the tensors; a bare state dict is the whole file."""

_SCALAR: Any = np.float64(0).__reduce__()[0]
_ARRAY: Any = np.zeros(0).__reduce__()[0]
NUMBERS: list[Any] = [  # training scripts save recalls as NumPy's numbers; making one again runs no code of the file
    *(_SCALAR, (_SCALAR, "numpy.core.multiarray.scalar"), (_SCALAR, "numpy._core.multiarray.scalar")),
    *(_ARRAY, (_ARRAY, "numpy.core.multiarray._reconstruct"), (_ARRAY, "numpy._core.multiarray._reconstruct")),
    *(np.ndarray, np.dtype, *(type(np.dtype(name)) for name in ("float32", "float64", "int32", "int64"))),
]


class Published(NamedTuple):
    """A file: its path, all that it holds, the state dict in it, and what layouts are known, for messages."""

    path: Path
    found: Mapping[str, Any]
    state: State
    known: str

    def unknown(self, seen: str) -> CheckpointError:
        """Return the error that says what the file holds, and what is known."""
        return CheckpointError(f"{self.path} holds {seen}. Known are {self.known}.")

    def source(self, project: str, layout: str, **kinds: Callable[[Any], Any]) -> dict[str, Any]:
        """Return what the checkpoint records of its origin, with the numbers `kinds` that stand beside the tensors."""
        numbers = {key: kind(self.found[key]) for key, kind in kinds.items() if isinstance(self.found.get(key), Real)}
        bare = self.found is self.state
        return {"project": project, "file": self.path.name, "layout": "bare state dict" if bare else layout, **numbers}


def read_foreign(path: str | Path) -> Any:
    """Read tensors, plain containers and NumPy's numbers; CheckpointError where there is more, or nothing."""
    with torch.serialization.safe_globals(NUMBERS):
        return read_any(path)


def read_published(path: str | Path, known: str) -> Published:
    """Read a bare state dict, or a file that holds one under one of STATES.

    Raises:
        CheckpointError: the file cannot be read, or holds no state dict.
    """
    return as_published(read_foreign(path), path, known)


def as_published(found: Any, path: str | Path, known: str) -> Published:
    """Do the same with what has been read."""
    whole = found if isinstance(found, dict) else {}
    state = next((whole[key] for key in STATES if key in whole), whole)
    file = Published(Path(path), whole, state if isinstance(state, dict) else {}, known)
    if not state or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in file.state.items()):
        entries = f"its entries are {', '.join(map(str, list(whole)[:6]))}" if whole else f"it is a {_kind(found)}"
        raise file.unknown(f"no state dict ({entries})")
    return file


def node_of(network: type[Any], **options: Any) -> dict[str, Any]:
    """Return the config node from which `network(**options)` is built."""
    return {"_target_": f"{network.__module__}.{network.__name__}", **options}


def image_of_size(height: int, width: int) -> dict[str, Any]:
    """Return how images of this size are prepared, with ImageNet's mean and deviation."""
    fields = Preprocess(size=(height, width))._asdict()
    return {key: list(value) if isinstance(value, tuple) else value for key, value in fields.items()}


def known_backbone(
    file: Published, theirs: State, known: Iterable[Known], rename: Callable[[str], str] = str
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the node of the backbone that has exactly these tensors, and the tensors under its own names.

    `rename` turns a name of ours into that in `theirs`. CheckpointError where none of the known ones fits.
    """
    shapes = {key: value.shape for key, value in theirs.items()}
    for family, options in known:
        with torch.device("meta"):
            ours = {key: value.shape for key, value in family(weights="none", **options).state_dict().items()}
        if {rename(key): shape for key, shape in ours.items()} == shapes:
            node = node_of(family, weights="none", **options)
            return node, {f"backbone.{key}": theirs[rename(key)] for key in ours}
    its = {id(value) for value in theirs.values()}
    first = [f"{key} {tuple(value.shape)}" for key, value in file.state.items() if id(value) in its][:2]
    raise file.unknown(f"a backbone of {len(theirs)} tensors (first: {', '.join(first) or 'none'})")


def names(known: Iterable[Known]) -> str:
    """Return the names of the known backbones, each once."""
    return ", ".join(dict.fromkeys(options["name"] for _, options in known))


def assemble(
    file: Published,
    backbone: Mapping[str, Any],
    agg: Mapping[str, Any],
    image: Mapping[str, Any],
    weights: State,
    source: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the content of a checkpoint of ours: the describer of these nodes, with `weights` under its own names.

    Raises:
        CheckpointError: the nodes make no describer, or the weights are not exactly its own.
    """
    config = {"backbone": dict(backbone), "agg": dict(agg), "image": dict(image), "source": dict(source)}
    try:
        describer = build_describer({**backbone, "weights": "checkpoint"}, agg, image)
    except Exception as error:  # sizes read off damaged tensors can be wrong in any way
        raise file.unknown(f"an aggregator of impossible sizes ({error})") from error
    misfit = _fill(describer, weights)
    if misfit:
        height, width = image["size"]
        raise file.unknown(f"tensors that do not fit each other at {height}x{width} pixels ({misfit})")
    config["source"]["dim"] = describer.dim
    return pack(describer, config)


def _fill(module: nn.Module, state: State) -> str:
    """Load `state` strictly; return what did not fit, empty where all did."""
    try:
        module.load_state_dict(dict(state), strict=True)
    except RuntimeError as error:
        return " ".join(str(error).split())
    return ""


def _kind(found: object) -> str:
    return "dict without entries" if isinstance(found, dict) else type(found).__name__
