"""Teachers from torch.hub: published models, from a folder or from GitHub."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vpr.distill.hub_guards import no_questions, no_waiting, one_at_a_time
from vpr.distill.hub_network import NODE, HubModel, HubNetwork, form
from vpr.errors import ConfigError

NETWORK_ERRORS = ("URLError", "HTTPError", "timeout", "TimeoutError", "ConnectionError", "internet connection")


def load_hub(node: Mapping[str, Any]) -> HubNetwork:
    """Return a model of torch.hub. This executes the repository's code: name only those that you trust.

    A folder needs no network where its code needs none. From GitHub, code and weights are fetched once, into torch's
    folder for such (TORCH_HOME). Nothing asks at the terminal, and nothing waits for a network that is not there.

    Raises:
        ConfigError: the node is not complete, the repository or the model cannot be had, or it does not describe.
    """
    source = HubModel.of(node)
    folder = Path(source.repo).expanduser()
    local = folder.is_dir()
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
        raise ConfigError(_what_went_wrong(source, local, error)) from error
    if not isinstance(network, nn.Module):
        raise ConfigError(f"{NODE}.model={source.model} of {source.repo} returns {form(network)}, and no network.")
    return HubNetwork(network, source)


def _what_went_wrong(source: HubModel, local: bool, error: BaseException) -> str:
    said = f"{type(error).__name__}: {error}"
    message = f"{NODE}: {source.model} of {source.repo} cannot be loaded ({said})."
    if isinstance(error, ModuleNotFoundError) or "Missing dependencies" in said:
        return f"{message} Install what it needs with pip."
    if any(word in said for word in NETWORK_ERRORS):
        clone = "" if local else f", or clone the repository and type {NODE}.repo=FOLDER"
        return (
            f"{message} Without a network: load it once on a machine that has one and copy its folder "
            f"{torch.hub.get_dir()} here (or set TORCH_HOME to the copy){clone}."
        )
    return f"{message} Look into its hubconf.py for the models and their arguments ({NODE}.model, {NODE}.args)."
