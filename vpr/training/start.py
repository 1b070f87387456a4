"""Checkpoints that a run starts from: a whole model (`init`), or the backbone of one (`backbone.weights`)."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vpr import checkpoint
from vpr.catalog.resolve import trained_on
from vpr.errors import CheckpointError, ConfigError
from vpr.interop.opener import read_content
from vpr.models.aggregators.projected import inner_node
from vpr.models.backbones.base import Backbone
from vpr.models.describer import Describer
from vpr.models.weights import NO_FILES

log = logging.getLogger(__name__)

NODES = ("backbone", "agg", "image")
# Settings of a backbone that are none of its network: they may differ from those that it was trained with.
OF_TRAINING = (
    *("weights", "freeze", "unfreeze", "train_blocks", "any_size", "package", "crop"),
    *("_convert_", "_recursive_", "_partial_"),
)


class Start(NamedTuple):
    """The model that a run starts from.

    Attributes:
        path: of its file: ours, or one that another project published.
        content: of its checkpoint.
        typed: words of the command line about backbone, aggregator and images, which go before what the file says.
    """

    path: str
    content: Mapping[str, Any]
    typed: Sequence[str] = ()

    @classmethod
    def read(cls, path: str, typed: Sequence[str] = ()) -> Start:
        """Read the file of `init`.

        Raises:
            CheckpointError: it is missing, damaged or from elsewhere. Nothing in it is executed.
        """
        return cls(path, read_content(path), typed)

    def nodes(self, nodes: Mapping[str, Any]) -> dict[str, Any]:
        """Return the nodes `backbone`, `agg` and `image` of the model, with the values that were typed.

        Args:
            nodes: the configuration, plain.

        Raises:
            ConfigError: another network was typed beside it.
        """
        config = self.content["config"]
        model_nodes = {
            "backbone": {**config["backbone"], "weights": "checkpoint"},
            "agg": dict(config["agg"]),
            "image": dict(self.content["preprocess"]),
        }
        for word in self.typed:
            key = word.partition("=")[0].lstrip("+~")
            name, _, inner = key.partition(".")
            if not inner or key == "backbone.weights":
                self._check_same(word, name, nodes[name], model_nodes)
                continue
            setting = inner.partition(".")[0]
            changed = {setting: nodes[name].get(setting)}
            if name == "agg" and inner_node(model_nodes["agg"]) is not model_nodes["agg"]:
                model_nodes["agg"] = {**model_nodes["agg"], "agg": {**inner_node(model_nodes["agg"]), **changed}}
            else:
                model_nodes[name] |= changed
        return model_nodes

    def _check_same(self, word: str, name: str, node: Mapping[str, Any], model_nodes: Mapping[str, Any]) -> None:
        """Refuse a group, or weights, that are not those of the model."""
        ours = inner_node(model_nodes[name]) if name == "agg" else model_nodes[name]
        keys = {"backbone": ("_target_", "name"), "agg": ("_target_",), "image": ()}[name]
        if not word.startswith(f"{name}.") and keys and all(node.get(key) == ours.get(key) for key in keys):
            return
        backbone, agg = model_nodes["backbone"], inner_node(model_nodes["agg"])
        network, size = backbone.get("name") or backbone["_target_"].rpartition(".")[2], model_nodes["image"]["size"]
        raise ConfigError(
            f"{word} with init={self.path}: that model has a backbone, an aggregator and a size of images of its own "
            f"({network}, {agg['_target_'].rpartition('.')[2]}, {size}), and its weights. Leave "
            f"{word.partition('=')[0]} out; or leave init out, and take its backbone alone: backbone={network} "
            f"backbone.weights={self.path}"
        )

    def describer(self, nodes: Mapping[str, Any]) -> tuple[Describer, dict[str, Any]]:
        """Return the describer with these nodes and the weights of the model, and what a checkpoint keeps of them.

        Raises:
            CheckpointError: its weights and its configuration do not fit each other.
            ConfigError: they do not fit what was typed.
        """
        parts = {name: dict(nodes[name]) for name in NODES}
        config = {**self.content["config"], "backbone": parts["backbone"], "agg": parts["agg"]}
        try:
            describer = checkpoint.unpack({**self.content, "config": config, "preprocess": parts["image"]}, self.path)
        except CheckpointError as error:
            if not self.typed:
                raise
            raise ConfigError(f"init={self.path} with {' '.join(self.typed)}: {error}") from error
        return describer.train(), parts | {"init": self.record()}

    def record(self) -> dict[str, Any]:
        """Return what a checkpoint says of it."""
        return origin(self.content, self.path)


def origin(content: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return the name and the digest of a model that another one started from, and the sets that it was trained on."""
    config = content["config"]
    before = [config.get(key) or {} for key in ("init", "backbone_from")]
    sets = {*trained_on(content), *(name for model in before for name in model.get("trained_on", ()))}
    return {
        "name": checkpoint.model_name(content, path),
        "digest": checkpoint.digest(content),
        "trained_on": sorted(sets),
    }


def own_checkpoint(weights: str) -> dict[str, Any] | None:
    """Return the content of the checkpoint of this project that `backbone.weights` names; None for all else.

    Raises:
        CheckpointError: it is one, and damaged.
    """
    path = Path(weights).expanduser()
    if weights in NO_FILES or path.suffix == ".safetensors" or not zipfile.is_zipfile(path):
        return None
    try:
        stored = checkpoint.read_any(path)
    except CheckpointError:
        return None  # vpr.models.weights says what is wrong with it
    return checkpoint.checked(stored, path) if checkpoint.is_ours(stored) else None


def take_backbone(network: Backbone, node: Mapping[str, Any], content: Mapping[str, Any]) -> None:
    """Put the weights of a checkpoint's backbone into another one, which may be cropped further.

    Args:
        network: the backbone, built with random values.
        node: its node; `weights` is the path of the checkpoint.
        content: of the checkpoint.

    Raises:
        ConfigError: they are not the same network.
    """
    path, theirs = node["weights"], content["config"]["backbone"]
    shared = (node.keys() & theirs.keys()) - set(OF_TRAINING)
    faults = [
        f"it has {key}={theirs[key]}, and this one {node[key]}" for key in sorted(shared) if node[key] != theirs[key]
    ]
    state = {k.removeprefix("backbone."): v for k, v in content["weights"].items() if k.startswith("backbone.")}
    ours = network.state_dict()
    if not faults:
        faults = [f"it lacks {key}" for key in ours if key not in state]
        faults += [
            f"it has {key} of shape {tuple(state[key].shape)}, and this one {tuple(value.shape)}"
            for key, value in ours.items()
            if key in state and state[key].shape != value.shape
        ]
        if len(node.get("crop") or ()) <= len(theirs.get("crop") or ()):
            faults += [f"it has {key}, and this one has not" for key in state if key not in ours]
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise ConfigError(
            f"backbone.weights={path}: its backbone is another network: {faults[0]}{more}. Choose the same one: "
            f"backbone={theirs.get('name', '...')} with its settings; or type init={path} for the whole model."
        )
    network.load_state_dict({key: state[key] for key in ours})
    network.random_layers = ()
