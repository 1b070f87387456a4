"""What importers of other projects' checkpoints share: reading a file, and saying what is known where it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from vpr.checkpoint import read_any
from vpr.errors import CheckpointError

State = Mapping[str, Tensor]
Known = tuple[type[Any], dict[str, Any]]
"""A backbone's class, and the arguments with which it is the published one."""

_SCALAR: Any = np.float64(0).__reduce__()[0]
NUMBERS: list[Any] = [  # training scripts save recalls as NumPy's numbers; making one again runs no code of the file
    *(_SCALAR, (_SCALAR, "numpy.core.multiarray.scalar"), (_SCALAR, "numpy._core.multiarray.scalar")),
    *(np.dtype, *(type(np.dtype(name)) for name in ("float32", "float64", "int32", "int64"))),
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


def read_published(path: str | Path, known: str) -> Published:
    """Read a bare state dict, or a file that holds one under `state_dict`.

    Raises:
        CheckpointError: the file cannot be read, or holds no state dict.
    """
    with torch.serialization.safe_globals(NUMBERS):
        found = read_any(path)
    state = found.get("state_dict", found) if isinstance(found, dict) else None
    file = Published(Path(path), found, state if isinstance(state, dict) else {}, known)
    if not state or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in file.state.items()):
        raise file.unknown("no state dict")
    return file


def backbone_node(theirs: State, known: Iterable[Known], rename: Callable[[str], str] = str) -> dict[str, Any] | None:
    """Return the node of the known backbone whose tensors, once renamed, are exactly these, or None."""
    shapes = {key: value.shape for key, value in theirs.items()}
    for family, options in known:
        with torch.device("meta"):
            ours = {rename(key): value.shape for key, value in family(weights="none", **options).state_dict().items()}
        if ours == shapes:
            return {"_target_": f"{family.__module__}.{family.__name__}", "weights": "none", **options}
    return None


def names(known: Iterable[Known]) -> str:
    """Return the names of the known backbones, each once."""
    return ", ".join(dict.fromkeys(options["name"] for _, options in known))


def fill(module: nn.Module, state: State) -> str:
    """Load `state` strictly; return what did not fit, empty where all did."""
    try:
        module.load_state_dict(dict(state), strict=True)
    except RuntimeError as error:
        return " ".join(str(error).split())
    return ""
