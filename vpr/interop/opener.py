"""The one opener of model files: checkpoints of ours, files that other projects published, exported .onnx files."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from vpr import checkpoint
from vpr.interop.published import read_foreign
from vpr.interop.recognise import convert_content
from vpr.interop.zoo import local_file
from vpr.models.describer import Describer
from vpr.models.onnx_describer import OnnxDescriber, file_digest, is_exported


class OpenedModel(NamedTuple):
    """Model of a file, in evaluation mode, on the CPU.

    Attributes:
        describer: the network.
        name: for tables and protocol ids, in characters that may stand in a file's name.
        digest: its identity, for caches and indices: of a checkpoint `vpr.checkpoint.digest`, of an exported model that
            of the file's bytes.
        record: entries of its checkpoint but the weights; of an exported model those that its metadata keep.
    """

    describer: Describer | OnnxDescriber
    name: str
    digest: str
    record: Mapping[str, Any]

    @property
    def config(self) -> Mapping[str, Any]:
        """The configuration of its run, plain; empty where it is not known."""
        return self.record.get("config") or {}


def open_model(path: str | PathLike[str]) -> OpenedModel:
    """Open the model of a file of any of the three kinds.

    Raises:
        CheckpointError: the file is missing, damaged or from elsewhere. Nothing in it is executed.
        ConfigError: an exported model, and onnxruntime is not installed.
    """
    return _open_exported(Path(path)) if is_exported(path) else of_content(read_content(path), str(path))


def read_content(path: str | PathLike[str]) -> dict[str, Any]:
    """Return what `vpr.checkpoint.read` returns, also of a file that another project published.

    Args:
        path: of the file, or a name of `vpr.interop.zoo`, whose file is downloaded at first use.

    Raises:
        CheckpointError: the file is missing, damaged or from elsewhere. Nothing in it is executed.
    """
    file = local_file(path)
    content = read_foreign(file)
    return checkpoint.checked(content, file) if checkpoint.is_ours(content) else convert_content(content, file)


def of_content(content: Mapping[str, Any], path: str) -> OpenedModel:
    """Open the model of what `read_content` returned; `path` is for its name and for messages."""
    record = {key: value for key, value in content.items() if key != "weights"}
    name, digest = checkpoint.model_name(content, path), checkpoint.digest(content)
    return OpenedModel(checkpoint.unpack(content, path), name, digest, record)


def _open_exported(path: Path) -> OpenedModel:
    model = OnnxDescriber(path)
    record = {"config": model.info.metadata.get("config") or {}, "origin": model.info.origin}
    name = checkpoint.model_name({"config": {"name": model.info.label}}, str(path))
    return OpenedModel(model, name, file_digest(path), record)
