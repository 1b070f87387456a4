"""A network of torch.hub in the form that a teacher wants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vpr.errors import ConfigError
from vpr.types import Preprocess

NODE = "distillation.teacher.hub"


@dataclass(frozen=True)
class HubModel:
    """Which model of torch.hub, and how it wants its images.

    Attributes:
        repo: a folder with a hubconf.py, or `owner/name[:branch]` on GitHub.
        model: name of the function in hubconf.py that returns the network; `args` are its arguments.
        size: (height, width) in pixels.
        mean, std, interpolation: as of `Preprocess`.
        output: which item of what the network returns is the descriptors: its place in a tuple, or its name in a dict;
            None where it returns nothing else.
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
        known = [each.name for each in fields(cls)]
        unknown = [str(key) for key in node if key not in known]
        if unknown:
            raise ConfigError(f"{NODE}.{unknown[0]}: there is no such key; there are {', '.join(known)}.")
        lacking = [key for key in ("repo", "model", "size") if not node.get(key)]
        if lacking:
            raise ConfigError(f"{NODE}.{lacking[0]}: no value given. Add {NODE}.{lacking[0]}=VALUE to the command.")
        given = {key: value for key, value in node.items() if value is not None}
        return cls(**given | {key: tuple(given[key]) for key in ("size", "mean", "std") if key in given})

    @property
    def name(self) -> str:
        """Last part of the repository's name, and the model's."""
        return f"{Path(self.repo.partition(':')[0]).name}/{self.model}"

    @property
    def preprocess(self) -> Preprocess:
        return Preprocess(self.size, self.mean, self.std, self.interpolation)


class HubNetwork(nn.Module):
    """A network from elsewhere as a teacher wants it: (n, 3, h, w) normalised images -> (n, dim) rows of unit norm.

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
                found = network(torch.zeros(2, 3, height, width))
        except Exception as error:  # code of others
            raise ConfigError(
                f"{NODE}: {source.name} cannot describe images of {height}x{width} pixels "
                f"({type(error).__name__}: {error}). Set {NODE}.size to what it was made for; DINOv2 wants multiples "
                "of 14."
            ) from error
        self.dim = int(self._descriptors(found).shape[1])

    def forward(self, images: Tensor) -> Tensor:
        return F.normalize(self._descriptors(self.network(images)).float(), dim=1)

    def _descriptors(self, found: Any) -> Tensor:
        output = self.source.output
        picked = found
        if output is not None:
            try:
                picked = None if isinstance(found, Tensor) else found[output]
            except (LookupError, TypeError):
                picked = None
        if not isinstance(picked, Tensor) or picked.ndim != 2:
            raise ConfigError(
                f"{NODE}: {self.source.name} returns {form(found)}, and descriptors are one row of numbers an image. "
                f"{NODE}.output={'null' if output is None else output} should say which part of that they are: "
                "a place (0 is the first) or a name."
            )
        return picked


def form(found: Any) -> str:
    """Say in words what code of others has returned."""
    if isinstance(found, Tensor):
        return f"a tensor of shape {tuple(found.shape)}"
    if isinstance(found, Mapping):
        return f"a dict of {', '.join(f'{key} ({form(value)})' for key, value in found.items())}"
    if isinstance(found, list | tuple):
        return f"a {type(found).__name__} of {', '.join(map(form, found))}"
    return f"a {type(found).__name__}"
