"""Tools of the importers: reading a published file, and assembling a checkpoint of ours from its tensors.

An importer is one module of this room, listed in `recognise.IMPORTERS`. It has `LAYOUT`, the phrase that messages name
it by; `recognises(state) -> bool`, by the names of the tensors, never by the file's name, also where the backbone is
not known; and `convert_file(file: Published) -> content` of a checkpoint of ours, CheckpointError where it is not whole
or not known. No name, size or weight is guessed: `known_backbone` and `assemble` compare every tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from vpr.checkpoint import pack, read_any
from vpr.errors import CheckpointError
from vpr.models.describer import build_describer
from vpr.models.weights import without_wrappers
from vpr.types import Preprocess

State = Mapping[str, Tensor]
Known = tuple[type[Any], dict[str, Any]]
"""Class of a backbone, and the arguments with which it is the published one."""

STATES = ("state_dict", "model_state_dict")
"""Entries under which training scripts put the tensors; a bare state dict is the whole file."""

TRAINING = {"epoch": int, "global_step": int}
"""Numbers that Lightning puts beside the tensors."""

PLACES = {"conv1": 0, "bn1": 1, **{f"layer{stage}": stage + 3 for stage in range(1, 5)}}
"""Numbers of a ResNet's parts in an `nn.Sequential` of its children; the ReLU and the pooling have no tensors."""

_SCALAR: Any = np.float64(0).__reduce__()[0]
_ARRAY: Any = np.zeros(0).__reduce__()[0]
NUMBERS: list[Any] = [  # training scripts save recalls as NumPy's numbers; making one again runs no code of the file
    *(_SCALAR, (_SCALAR, "numpy.core.multiarray.scalar"), (_SCALAR, "numpy._core.multiarray.scalar")),
    *(_ARRAY, (_ARRAY, "numpy.core.multiarray._reconstruct"), (_ARRAY, "numpy._core.multiarray._reconstruct")),
    *(np.ndarray, np.dtype, *(type(np.dtype(name)) for name in ("float32", "float64", "int32", "int64"))),
]


class Published(NamedTuple):
    """Published file.

    Attributes:
        path: of the file, for messages.
        content: all that it holds; the state dict itself where that is all.
        state: its tensors.
        known: layouts that are known, for messages.
    """

    path: Path
    content: Mapping[str, Any]
    state: State
    known: str

    def unknown(self, seen: str) -> CheckpointError:
        """Return the error that names the content of the file, and what is known."""
        return CheckpointError(f"{self.path} holds {seen}. Known are {self.known}.")

    def source(self, project: str, layout: str, **kinds: Callable[[Any], Any]) -> dict[str, Any]:
        """Return the record of its origin for a checkpoint, with the numbers `kinds` that stand beside the tensors."""
        held = self.content
        numbers = {key: kind(held[key]) for key, kind in kinds.items() if isinstance(held.get(key), Real)}
        layout = "bare state dict" if held is self.state else layout
        return {"project": project, "file": self.path.name, "layout": layout, **numbers}

    def lightning_source(self, project: str) -> dict[str, Any]:
        """Return the record of its origin for a file that Lightning wrote."""
        version = self.content.get("pytorch-lightning_version", "")
        return self.source(project, f"Lightning {version}".strip(), **TRAINING)

    def at(self, *path: str) -> Any:
        """Return the entry at `path`, e.g. ("hyper_parameters", "agg_config"), None where there is none."""
        node: Any = self.content
        for key in path:
            node = node.get(key) if isinstance(node, Mapping) else None
        return node

    def whole_numbers(self, *path: str) -> dict[str, int]:
        """Return the positive whole numbers in the dict at `path`; what is odd there counts as absent."""
        settings = self.at(*path)
        items = settings.items() if isinstance(settings, dict) else ()
        return {str(key): value for key, value in items if type(value) is int and value > 0}

    def image(
        self, *paths: tuple[str, ...], size: tuple[int, int] = (320, 320), interpolation: str = "bilinear"
    ) -> dict[str, Any]:
        """Return the preprocessing: the image size at the first of `paths` that has one, `size` where none has."""
        height, width = next((size for size in (self.at(*path) for path in paths) if _is_size(size)), size)
        return image_of_size(height, width, interpolation)


def read_foreign(path: str | Path) -> Any:
    """Read tensors, plain containers and NumPy's numbers; CheckpointError where there is more, or nothing.

    A .safetensors file holds tensors alone: they are a bare state dict.
    """
    if Path(path).suffix == ".safetensors" and Path(path).is_file():
        try:
            return load_file(path)
        except Exception as error:  # safetensors' own error class is not public in all versions
            raise CheckpointError(f"{path} is damaged or no safetensors file. Copy or download it again.") from error
    with torch.serialization.safe_globals(NUMBERS):
        return read_any(path)


def read_published(path: str | Path, known: str) -> Published:
    """Read a bare state dict, or a file that holds one under one of STATES.

    Raises:
        CheckpointError: the file cannot be read, or holds no state dict.
    """
    return as_published(read_foreign(path), path, known)


def as_published(content: Any, path: str | Path, known: str) -> Published:
    """Return the same of what `read_foreign` has read; errors as of `read_published`."""
    whole = content if isinstance(content, dict) else {}
    state = next((whole[key] for key in STATES if key in whole), whole)
    file = Published(Path(path), whole, state if isinstance(state, dict) else {}, known)
    if not state or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in file.state.items()):
        entries = f"its entries are {', '.join(map(str, list(whole)[:6]))}" if whole else f"it is a {_kind(content)}"
        raise file.unknown(f"no state dict ({entries})")
    bare = file.state is whole
    plain = without_wrappers(file.state)
    return file._replace(state=plain, content=plain if bare else whole)


def parts_of(file: Published, *prefixes: str) -> list[dict[str, Tensor]]:
    """Return the tensors below each of `prefixes`, such as `aggregator`, under the rest of their names.

    Raises:
        CheckpointError: a tensor stands below none of them.
    """
    parts: list[dict[str, Tensor]] = [{} for _ in prefixes]
    for key, value in file.state.items():
        place = next((i for i, prefix in enumerate(prefixes) if key.startswith(f"{prefix}.")), None)
        if place is None:
            below = " nor ".join(f"under {prefix}.*" for prefix in prefixes)
            raise file.unknown(f"a tensor {key}, which is neither {below}")
        parts[place][key.removeprefix(f"{prefixes[place]}.")] = value
    return parts


def node_of(network: type[Any], **options: Any) -> dict[str, Any]:
    """Return the config node from which `network(**options)` is built."""
    return {"_target_": f"{network.__module__}.{network.__name__}", **options}


def image_of_size(height: int, width: int, interpolation: str = "bilinear") -> dict[str, Any]:
    """Return the preprocessing of images of this size, with ImageNet's mean and deviation."""
    fields = Preprocess(size=(height, width), interpolation=interpolation)._asdict()
    return {key: list(value) if isinstance(value, tuple) else value for key, value in fields.items()}


def known_backbone(
    file: Published, theirs: State, known: Iterable[Known], rename: Callable[[str], str] = str
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the node of the backbone that has exactly these tensors, and the tensors under the describer's names.

    Args:
        theirs: tensors of the backbone under their published names.
        known: backbones that they can be of.
        rename: turns a name of ours into that in `theirs`.

    Raises:
        CheckpointError: none of the known ones has these tensors.
    """
    shapes = {key: value.shape for key, value in theirs.items()}
    for family, options in known:
        with torch.device("meta"):
            ours = {key: value.shape for key, value in family(weights="none", **options).state_dict().items()}
        if {rename(key): shape for key, shape in ours.items()} == shapes:
            node = node_of(family, weights="none", **options)
            return node, {f"backbone.{key}": theirs[rename(key)] for key in ours}
    tensors = {id(value) for value in theirs.values()}
    first = [f"{key} {tuple(value.shape)}" for key, value in file.state.items() if id(value) in tensors][:2]
    raise file.unknown(f"a backbone of {len(theirs)} tensors (first: {', '.join(first) or 'none'})")


def name_in_sequential(key: str) -> str:
    """Turn our name of a tensor of a torchvision network into that in an `nn.Sequential` of the network's layers.

    Several projects keep a network so, its layers numbered. Those of a VGG have numbers in both.

    >>> name_in_sequential("model.layer1.0.conv1.weight"), name_in_sequential("features.28.weight")
    ('4.0.conv1.weight', '28.weight')
    """
    trunk, _, rest = key.partition(".")
    if trunk == "features":
        return rest
    part, _, tensor = rest.partition(".")
    return f"{PLACES[part]}.{tensor}"


def is_alexnet(theirs: State) -> bool:
    """Tell whether these tensors, numbered as its layers are, begin as AlexNet's do."""
    return "0.weight" in theirs and theirs["0.weight"].shape == (64, 3, 11, 11)


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
    """Return the content of a checkpoint of ours: the describer of these nodes, with `weights` under its names.

    Raises:
        CheckpointError: the nodes make no describer, or the weights are not exactly those that it has.
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
    """Load `state` strictly; return a message about what did not fit, empty where all did."""
    try:
        module.load_state_dict(dict(state), strict=True)
    except RuntimeError as error:
        return " ".join(str(error).split())
    return ""


def _kind(content: object) -> str:
    return "dict without entries" if isinstance(content, dict) else type(content).__name__


def _is_size(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(type(x) is int and x > 0 for x in value)
