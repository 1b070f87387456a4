"""Teachers from torch.hub: published models, from a folder or from GitHub.

Their code runs here: it is kept from asking at the terminal, from waiting for ever, and from writing side by side.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from filelock import FileLock
from torch import Tensor, nn

from vpr.errors import ConfigError
from vpr.types import Preprocess

PATIENCE = 30  # seconds without a byte from the network, after which it counts as absent
NODE = "distillation.teacher.hub"
NETWORK_ERRORS = ("URLError", "HTTPError", "timeout", "TimeoutError", "ConnectionError", "internet connection")


@dataclass(frozen=True)
class HubModel:
    """Model of torch.hub, and the images that it takes: the node `distillation.teacher.hub`.

    Attributes:
        repo: a folder with a hubconf.py, or `owner/name[:branch]` on GitHub.
        model: name of the function in hubconf.py that returns the network; `args` are its arguments.
        size: (height, width) in pixels.
        mean, std, interpolation: as of `Preprocess`.
        output: the descriptors among the network's outputs: their place in a tuple, or their name in a dict; None where
            it returns nothing else.
    """

    repo: str
    model: str
    size: tuple[int, int]
    args: dict[str, Any] = field(default_factory=dict)
    mean: tuple[float, float, float] = Preprocess().mean
    std: tuple[float, float, float] = Preprocess().std
    interpolation: str = Preprocess().interpolation
    output: int | str | None = None

    @classmethod
    def of(cls, node: Mapping[str, Any]) -> HubModel:
        """Read a config node, where null is as good as nothing; ConfigError where a key is unknown or lacking."""
        keys = [each.name for each in fields(cls)]
        unknown = [str(key) for key in node if key not in keys]
        if unknown:
            raise ConfigError(f"{NODE}.{unknown[0]}: there is no such key; there are {', '.join(keys)}.")
        lacking = [key for key in ("repo", "model", "size") if not node.get(key)]
        if lacking:
            raise ConfigError(f"{NODE}.{lacking[0]}: no value given. Add {NODE}.{lacking[0]}=VALUE to the command.")
        given = {key: value for key, value in node.items() if value is not None}
        return cls(**given | {key: tuple(given[key]) for key in ("size", "mean", "std") if key in given})

    @property
    def name(self) -> str:
        """Last part of the repository's name, and the name of the model."""
        return f"{Path(self.repo.partition(':')[0]).name}/{self.model}"

    @property
    def preprocess(self) -> Preprocess:
        return Preprocess(self.size, self.mean, self.std, self.interpolation)


class HubNetwork(nn.Module):
    """Network of torch.hub as `Teacher` takes it: normalised images (n, 3, h, w) -> (n, dim), rows of unit norm.

    Raises:
        ConfigError: it does not take images of that size, or does not return descriptors.
    """

    def __init__(self, network: nn.Module, source: HubModel) -> None:
        super().__init__()
        self.network, self.source, self.preprocess = network, source, source.preprocess
        self.eval()
        height, width = source.size
        try:
            with torch.no_grad():
                outputs = network(torch.zeros(2, 3, height, width))
        except Exception as error:  # code of others
            raise ConfigError(
                f"{NODE}: {source.name} cannot describe images of {height}x{width} pixels "
                f"({type(error).__name__}: {error}). Set {NODE}.size to what it was made for; DINOv2 wants multiples "
                "of 14."
            ) from error
        self.dim = int(self._descriptors(outputs).shape[1])

    def forward(self, images: Tensor) -> Tensor:
        return F.normalize(self._descriptors(self.network(images)).float(), dim=1)

    def _descriptors(self, outputs: Any) -> Tensor:
        output = self.source.output
        descriptors = outputs
        if output is not None:
            try:
                descriptors = None if isinstance(outputs, Tensor) else outputs[output]
            except (LookupError, TypeError):
                descriptors = None
        if not isinstance(descriptors, Tensor) or descriptors.ndim != 2:
            raise ConfigError(
                f"{NODE}: {self.source.name} returns {form(outputs)}, and descriptors are one row of numbers an image. "
                f"{NODE}.output={'null' if output is None else output} should say which part of that they are: "
                "a place (0 is the first) or a name."
            )
        return descriptors


def load_hub(node: Mapping[str, Any]) -> HubNetwork:
    """Return a model of torch.hub. This executes the repository's code: name only those that you trust.

    A folder needs no network where its code needs none. From GitHub, code and weights are fetched once, into torch's
    folder for such (TORCH_HOME). Nothing asks at the terminal, and nothing waits for a network that is not there.

    Raises:
        ConfigError: the node is not complete, the repository or the model cannot be had, or it does not describe.
    """
    source = HubModel.of(node)
    folder = Path(source.repo).expanduser()
    local = os.path.isdir(folder)
    if local and not (folder / "hubconf.py").is_file():
        raise ConfigError(f"{NODE}.repo={source.repo}: this folder has no hubconf.py. Name the root of the clone.")
    if not local and not re.fullmatch(r"[\w.-]+/[\w.-]+(:[\w./-]+)?", source.repo):
        raise ConfigError(f"{NODE}.repo={source.repo}: there is no such folder, and it is no owner/name on GitHub.")
    try:
        with no_questions(), no_waiting(), nullcontext() if local else one_at_a_time(torch.hub.get_dir()):
            network = torch.hub.load(
                str(folder) if local else source.repo,
                source.model,
                source="local" if local else "github",
                trust_repo=True,  # who names a repository in the settings has decided; torch would ask at the terminal
                verbose=False,
                **source.args,
            )
    except (Exception, SystemExit) as error:  # code of others
        raise ConfigError(_failure(source, local, error)) from error
    if not isinstance(network, nn.Module):
        raise ConfigError(f"{NODE}.model={source.model} of {source.repo} returns {form(network)}, and no network.")
    return HubNetwork(network, source)


def _failure(source: HubModel, local: bool, error: BaseException) -> str:
    reason = f"{type(error).__name__}: {error}"
    message = f"{NODE}: {source.model} of {source.repo} cannot be loaded ({reason})."
    if isinstance(error, ModuleNotFoundError) or "Missing dependencies" in reason:
        return f"{message} Install what it needs with pip."
    if any(word in reason for word in NETWORK_ERRORS):
        clone = "" if local else f", or clone the repository and type {NODE}.repo=FOLDER"
        return (
            f"{message} Without a network: load it once on a machine that has one and copy its folder "
            f"{torch.hub.get_dir()} here (or set TORCH_HOME to the copy){clone}."
        )
    return f"{message} Look into its hubconf.py for the models and their arguments ({NODE}.model, {NODE}.args)."


def form(outputs: Any) -> str:
    """Name the type and the shapes of a network's outputs, for messages."""
    if isinstance(outputs, Tensor):
        return f"a tensor of shape {tuple(outputs.shape)}"
    if isinstance(outputs, Mapping):
        return f"a dict of {', '.join(f'{key} ({form(value)})' for key, value in outputs.items())}"
    if isinstance(outputs, list | tuple):
        return f"a {type(outputs).__name__} of {', '.join(map(form, outputs))}"
    return f"a {type(outputs).__name__}"


@contextmanager
def no_questions() -> Iterator[None]:
    """Close the terminal to code that would ask; torch does, where a repository's code loads another repository."""
    terminal = sys.stdin
    with open(os.devnull) as nothing:
        sys.stdin = nothing
        try:
            yield
        finally:
            sys.stdin = terminal


@contextmanager
def no_waiting() -> Iterator[None]:
    """Give up on a network that does not answer: torch itself would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def one_at_a_time(folder: str) -> FileLock:
    """Let one process fetch into a folder, and the others find it done."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    return FileLock(Path(folder) / ".vpr.lock")
