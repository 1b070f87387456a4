"""Checkpoint: one file that holds a whole describer, written by training and by the importers, read by all else.

Plain containers and tensors only: `format` (1), `config` (`backbone`, `agg`, `image`, and the rest of the run),
`weights` (the student's alone), `preprocess`, `metrics` ({protocol id: {R@1: 0..1}}), `versions`; and `images`, the
digests of the training images (vpr.data.image_digests), where training noted them down. `save` is `pack` then `write`,
`load` is `read` then `unpack`. Reading executes nothing (`weights_only=True`), loading is strict and never downloads.
`best.ckpt` of a run is such a file; its `last.ckpt` is Lightning's, for resuming, with the same content under
`describer`, so `read` and `load` take both. Names in the config that have moved since it was written are mapped.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import platform
import re
import zipfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torch import Tensor, nn

import vpr
from vpr.errors import CheckpointError, TrainingDiverged
from vpr.files import atomic_write, check_archive
from vpr.models.describer import Describer, build_describer
from vpr.models.onnx_describer import is_exported
from vpr.models.weights import unusable
from vpr.types import Preprocess

FORMAT = 1
PLAIN = (str, int, float, bool, type(None))
DEEP, MOST_VALUES = 50, 1_000_000  # levels and values of a config
KEYS = ("format", "config", "weights", "preprocess", "metrics", "versions")
IMPORT_HINT = "Files that other projects published are converted by `python -m vpr.interop PATH out.ckpt`."

# Dotted names that stand in `_target_`s of stored configs, and where the same thing is now; of several that fit, the
# longest counts. Whoever moves or renames something that a configuration can name adds it here, for good.
MOVED = {
    "vpr.config": "vpr.cli",
    "vpr.config.sweep": "vpr.cli.sweeps.multirun",
    "vpr.data.candidates": "vpr.data.tuples",
    "vpr.data.color_jitter": "vpr.data.augment",
    "vpr.data.formats.frames": "vpr.data.formats.pairs",
    "vpr.data.formats.ground_truth": "vpr.data.formats.pairs",
    "vpr.data.formats.layout": "vpr.data.formats.folders",
    "vpr.data.formats.mat": "vpr.data.formats.dbstruct",
    "vpr.data.formats.msls_csv": "vpr.data.formats.msls",
    "vpr.data.formats.place_csv": "vpr.data.formats.place_lists",
    "vpr.data.formats.place_csv.read": "vpr.data.formats.place_lists.read_csv",
    "vpr.data.formats.place_folder": "vpr.data.formats.place_lists",
    "vpr.data.formats.place_folder.read": "vpr.data.formats.place_lists.read_folder",
    "vpr.data.formats.rows": "vpr.data.formats.place_lists",
    "vpr.data.formats.sides": "vpr.data.formats.folders",
    "vpr.data.formats.walk": "vpr.data.formats.folders",
    "vpr.data.grouping": "vpr.data.places",
    "vpr.data.image_ops": "vpr.data.augment",
    "vpr.data.positioned": "vpr.data.geotagged",
    "vpr.data.positives": "vpr.data.retrieval_set",
    "vpr.data.query_order": "vpr.data.tuple_sampler",
    "vpr.data.randaugment": "vpr.data.augment",
    "vpr.data.sampler": "vpr.data.places",
    "vpr.data.toycity": "vpr.toycity",
    "vpr.data.toycity.plan": "vpr.toycity.survey",
    "vpr.data.toycity.specs": "vpr.toycity.spec",
    "vpr.data.toycity.write": "vpr.toycity.writer",
    "vpr.data.weak": "vpr.data.tuples",
    "vpr.distill.cache": "vpr.distill.cached_teacher",
    "vpr.engine": "vpr.training",
    "vpr.engine.bad_images": "vpr.training.callbacks.bad_images",
    "vpr.engine.datamodule": "vpr.training.places",
    "vpr.engine.last": "vpr.training.callbacks.checkpointing",
    "vpr.engine.nearby": "vpr.catalog.resolve",
    "vpr.engine.photos": "vpr.data.image_paths",
    "vpr.engine.recall": "vpr.training.callbacks.evaluation",
    "vpr.engine.region_objective": "vpr.training.generations",
    "vpr.engine.speed": "vpr.training.callbacks.throughput",
    "vpr.engine.targets": "vpr.training.teacher_cache",
    "vpr.engine.top": "vpr.training.callbacks.checkpointing",
    "vpr.engine.training_photos": "vpr.catalog.resolve",
    "vpr.engine.tuples_data": "vpr.training.tuples",
    "vpr.engine.tuples_mine": "vpr.training.tuple_mining",
    "vpr.engine.tuples_refresh": "vpr.training.tuple_mining",
    "vpr.engine.whitened": "vpr.training.teacher_whitening",
    "vpr.losses.mined": "vpr.losses.pairs",
    "vpr.losses.sare": "vpr.losses.tuples",
    "vpr.losses.tuple_loss": "vpr.losses.tuples",
    "vpr.models.build": "vpr.models.describer",
    "vpr.models.similarity_map": "vpr.models.saliency",
    "vpr.retrieval.index.PlaceIndex": "vpr.retrieval.index.place_index.PlaceIndex",
    "vpr.retrieval.index_kinds": "vpr.retrieval.index.codecs",
    "vpr.retrieval.reciprocal": "vpr.retrieval.kreciprocal",
    "vpr.retrieval.rerank": "vpr.retrieval.kreciprocal",
}


def save(
    path: str | Path,
    describer: nn.Module,
    config: Mapping[str, Any],
    metrics: Mapping[str, Mapping[str, float]] | None = None,
    images: np.ndarray | None = None,
) -> None:
    """Write a describer to one file; a file of that name is replaced only when the new one is complete.

    Args:
        config: plain containers with at least the nodes `backbone` and `agg` of the run.
        metrics: recalls by protocol id.
        images: as of `pack`.

    Raises:
        CheckpointError: something in config or metrics is not plain, or the file cannot be written.
    """
    write(path, pack(describer, config, metrics, images))


def pack(
    describer: nn.Module,
    config: Mapping[str, Any],
    metrics: Mapping[str, Mapping[str, float]] | None = None,
    images: np.ndarray | None = None,
) -> dict[str, Any]:
    """Return the content of a checkpoint: plain containers and tensors on the CPU, names without torch.compile's.

    Args:
        images: digests of the images that it was trained on, (n,) int64, by which evaluations see whether they share
            any (`vpr.data.image_digests.image_digests`); None: they are not noted down.

    Raises:
        CheckpointError: something in config or metrics is not plain.
        TrainingDiverged: weights are NaN or infinite.
    """
    content: dict[str, Any] = {
        "format": FORMAT,
        "config": dict(config),
        "weights": {k.replace("_orig_mod.", ""): v.detach().cpu() for k, v in describer.state_dict().items()},
        "preprocess": _plain_preprocess(describer.preprocess),  # type: ignore[arg-type]
        "metrics": dict(metrics or {}),
        "versions": versions(),
    }
    for key in ("config", "metrics"):
        _check_plain(content[key], key)
    bad = [name for name, value in content["weights"].items() if not value.isfinite().all()]
    if bad:
        raise TrainingDiverged(
            f"{len(bad)} tensors of the model are NaN or infinite (first: {bad[0]}): training has diverged, and they "
            "are not saved. Go on from an earlier checkpoint with a smaller optimizer.lr."
        )
    return content if images is None else content | {"images": torch.from_numpy(np.array(images, np.int64))}


def training_images(content: Mapping[str, Any] | None) -> np.ndarray:
    """Return the digests of the images that a model was trained on, (n,) int64; empty where they are not known."""
    images = (content or {}).get("images")
    return np.empty(0, np.int64) if images is None else images.numpy()


def write(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write what `pack` returned, completely or not at all.

    Raises:
        DiskError: the folder cannot be written, or the disk is full.
    """
    with atomic_write(path) as temporary:
        torch.save(dict(content), temporary)


def load(path: str | Path) -> Describer:
    """Return the describer of a checkpoint, in evaluation mode, on the CPU. Never downloads.

    Raises:
        CheckpointError: as `read`, or weights and config do not fit each other.
    """
    return unpack(read(path), str(path))


def read(path: str | Path) -> dict[str, Any]:
    """Return the content of a checkpoint; of a training checkpoint (last.ckpt) the describer in it.

    Raises:
        CheckpointError: the file is missing, damaged, from elsewhere or of a newer format. Nothing in it is executed.
    """
    return checked(read_any(path), path)


def checked(stored: Any, path: str | Path) -> dict[str, Any]:
    """Return the content of a checkpoint that `read_any` returned, the `_target_`s in its config as they are now.

    Raises:
        CheckpointError: as of `read`.
    """
    content = _describer_in(stored)
    if not is_ours(stored):
        raise CheckpointError(f"{path} is not a checkpoint of this project: it is {_kind(stored)}. {IMPORT_HINT}")
    if type(content["format"]) is not int or content["format"] != FORMAT:
        raise CheckpointError(f"{path} has format {content['format']}; vpr {vpr.__version__} reads format {FORMAT}.")
    missing_keys = [key for key in KEYS if key not in content]
    if missing_keys:
        raise CheckpointError(f"{path} lacks the entries {', '.join(missing_keys)}: it is not complete.")
    damaged = [key for key in KEYS[1:] if not isinstance(content[key], dict)]
    if not damaged:
        damaged = [k for k, v in content["weights"].items() if not (isinstance(k, str) and isinstance(v, Tensor))]
    if not _is_list_of_digests(content.get("images", torch.empty(0, dtype=torch.int64))):
        damaged.append("images")
    if damaged:
        raise CheckpointError(f"{path} is damaged: its entry {damaged[0]} is not what it should be.")
    for key in ("config", "preprocess", "metrics", "versions"):
        try:
            _check_plain(content[key], key)
        except CheckpointError as error:
            raise CheckpointError(f"{path} is damaged: {error}") from None
    return {**content, "config": with_moved_targets(content["config"])}


def is_ours(stored: object) -> bool:
    """Tell whether the object that `read_any` returned is meant as a checkpoint of this project."""
    content = _describer_in(stored)
    return isinstance(content, dict) and "format" in content


def read_any(path: str | Path) -> Any:
    """Read a file that torch.save wrote, tensors and plain containers only.

    Raises:
        CheckpointError: the file is missing, empty or damaged, or holds other objects, none of which is made; or it is
            an exported model.
    """
    source = Path(path)
    if os.path.isdir(source):  # not Path.is_dir, to which a name that is too long is an error
        raise CheckpointError(f"{source} is a folder. Give the path of a file, e.g. {source / 'best.ckpt'}.")
    if not os.path.isfile(source):
        raise CheckpointError(f"{source}: there is no such file (looked in {source.absolute().parent}).")
    if is_exported(source):
        raise CheckpointError(
            f"{source} is an exported model: it describes images, and its weights can be neither trained nor changed. "
            "Give the checkpoint that it was made from."
        )
    if source.stat().st_size == 0:
        raise CheckpointError(f"{source} is empty (0 bytes). Copy or download it again.")
    try:
        if zipfile.is_zipfile(source):
            check_archive(source)
        return torch.load(source, map_location="cpu", weights_only=True)
    except (ValueError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{source} is damaged: {error}. Copy or download it again.") from error
    except pickle.UnpicklingError as error:
        if zipfile.is_zipfile(source):
            named = re.search(r"GLOBAL ([\w.]+)", str(error))
            kind = f" ({named[1]})" if named else ""
            raise CheckpointError(
                f"{source} holds Python objects{kind} that would have to be executed to be read; nothing was loaded. "
                "Only tensors and plain containers are read. If you trust its author, save its tensors alone where the "
                "packages of that author are installed: torch.save(torch.load(FILE, weights_only=False)['state_dict'], "
                "'weights.pth'), and give weights.pth."
            ) from error
        raise CheckpointError(f"{source} is damaged or not a checkpoint at all.") from error
    except Exception as error:  # torch's reader meets a damaged file with all sorts, struct.error and IndexError too
        raise CheckpointError(
            f"{source} ({source.stat().st_size} bytes) is damaged or no checkpoint at all. Copy or download it again."
        ) from error


def unpack(content: Mapping[str, Any], path: str = "checkpoint") -> Describer:
    """Make the describer of the content that `read` returned; `path` is for messages.

    Raises:
        CheckpointError: weights and config do not fit each other.
    """
    config = content["config"]
    try:
        backbone = {**config["backbone"], "weights": "checkpoint"}
        describer = build_describer(backbone, config["agg"], content["preprocess"])
    except Exception as error:  # a file's config can be wrong in any way
        raise CheckpointError(f"{path}: the model in its config cannot be built: {error}") from error
    _check_weights(describer.state_dict(), content["weights"], content["versions"], path)
    try:
        describer.load_state_dict(content["weights"], strict=True)
    except Exception as error:  # tensors of the right shape can still be sparse or without data
        raise CheckpointError(f"{path} is damaged: its weights cannot be used: {error}") from error
    return describer.eval()


def with_moved_targets(node: Any) -> Any:
    """Return a stored config in which each `_target_` names the place where the thing is now, by `MOVED`."""
    if isinstance(node, dict):
        return {key: moved(v) if key == "_target_" else with_moved_targets(v) for key, v in node.items()}
    if isinstance(node, list | tuple):
        return type(node)(map(with_moved_targets, node))
    return node


def moved(target: Any) -> Any:
    """Return the dotted name that a thing has now.

    >>> moved("vpr.losses.mined.MinedLoss"), moved("vpr.losses.tuples.TupleLoss")
    ('vpr.losses.pairs.MinedLoss', 'vpr.losses.tuples.TupleLoss')
    """
    parts = str(target).split(".")
    for end in range(len(parts), 0, -1):
        new = MOVED.get(".".join(parts[:end]))
        if new:
            return ".".join([new, *parts[end:]])
    return target


def digest(content: Mapping[str, Any]) -> str:
    """Return a SHA-256 of weights, preprocessing and model config, which decide the descriptors: a key for caches."""
    model = {name: dict(content["config"][name]) for name in ("backbone", "agg")}
    model["backbone"].pop("weights", None)
    result = hashlib.sha256(json.dumps([model, content["preprocess"]], sort_keys=True).encode())
    for name, value in sorted(content["weights"].items()):
        result.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        result.update(value.contiguous().view(-1).view(torch.uint8).numpy().data)
    return result.hexdigest()


def model_name(content: Mapping[str, Any], path: str) -> str:
    """Return the name of a checkpoint's run, or of its file, in characters that may stand in a file's name."""
    name = str(content["config"].get("name") or Path(path).stem)
    return re.sub(r"[^\w.+-]+", "-", name, flags=re.ASCII).strip("-.") or "unnamed"


def versions() -> dict[str, str]:
    """Return the versions of this package and of those that it computes with, as a checkpoint records them."""
    return {
        **{"vpr": vpr.__version__, "python": platform.python_version(), "torch": str(torch.__version__)},
        **{"torchvision": str(torchvision.__version__), "timm": metadata.version("timm")},
    }


def _check_weights(model: Mapping[str, Tensor], stored: Mapping[str, Tensor], written: object, path: str) -> None:
    faults = [f"lacks {k}" for k in model if k not in stored]
    faults += [f"has {k}, which the model has not" for k in stored if k not in model]
    faults += [
        f"has {k} of shape {tuple(stored[k].shape)}, the model {tuple(model[k].shape)}"
        for k in model
        if k in stored and model[k].shape != stored[k].shape
    ]
    faults = faults or [f"has {fault}" for fault in unusable(model, stored)]
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise CheckpointError(
            f"{path} does not fit the model of its config: it {'; it '.join(faults[:3])}{more}. "
            f"Written with {written}, read with {versions()}."
        )


def _is_list_of_digests(value: object) -> bool:
    plain = isinstance(value, Tensor) and value.layout == torch.strided
    return plain and value.dtype == torch.int64 and value.ndim == 1  # type: ignore[attr-defined]


def _check_plain(value: object, name: str) -> None:
    """Raise CheckpointError where something is not plain, or nested without end: it may hold itself."""
    left = MOST_VALUES

    def check(value: object, name: str, depth: int) -> None:
        nonlocal left
        left -= 1
        if not depth or not left:
            raise CheckpointError(f"{name[:80]} is nested too deep, or holds itself.")
        if isinstance(value, dict):
            for key, item in value.items():
                if type(key) not in PLAIN:
                    raise CheckpointError(f"{name} has a {type(key).__name__} for a key: a checkpoint takes words.")
                check(item, f"{name}.{key}", depth - 1)
        elif type(value) in (list, tuple):
            for i, item in enumerate(value):  # type: ignore[arg-type]
                check(item, f"{name}[{i}]", depth - 1)
        elif type(value) not in PLAIN:
            raise CheckpointError(f"{name} is a {type(value).__name__}: a checkpoint takes plain containers only.")

    check(value, name, DEEP)


def _plain_preprocess(preprocess: Preprocess) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in preprocess._asdict().items()}


def _describer_in(stored: Any) -> Any:
    return stored.get("describer", stored) if isinstance(stored, dict) else stored


def _kind(stored: object) -> str:
    if not isinstance(stored, dict):
        return f"a {type(stored).__name__}"
    if "pytorch-lightning_version" in stored:
        return "a Lightning checkpoint"
    if stored and all(isinstance(value, Tensor) for value in stored.values()):
        return f"a bare state dict of {len(stored)} tensors"
    return f"a dict with {', '.join(list(map(str, stored))[:6]) or 'nothing'}"
