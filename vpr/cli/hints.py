"""Did-you-mean for what Hydra and OmegaConf find wrong."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path

from hydra.errors import MissingConfigException
from omegaconf import DictConfig


def did_you_mean(word: str, words: Iterable[object]) -> str:
    """Return " Did you mean 'x'?" for the nearest of `words`, or nothing where none is near.

    >>> did_you_mean("otu_channels", ["out_channels", "out_rows"])
    " Did you mean 'out_channels'?"
    """
    near = difflib.get_close_matches(word, [str(w) for w in words], n=1)
    return f" Did you mean '{near[0]}'?" if near else ""


EXTRAS = {"hydra_joblib_launcher": "joblib", "hydra_submitit_launcher": "slurm", "hydra_ray_launcher": "ray"}


def missing_launcher(error: BaseException) -> str:
    """Return what to install where Hydra does not know the launcher of a sweep; empty for any other error."""
    found = re.search(r"Unknown plugin class : 'hydra_plugins\.(\w+)", str(error))
    extra = EXTRAS.get(found[1]) if found else None
    return f'hydra/launcher: this one is not installed. Type pip install -e ".[{extra}]".' if extra else ""


def sentences(error: BaseException) -> str:
    """Return what an error of composing says, its cause included, and what may have been meant."""
    lines: list[str] = []
    hint = ""
    cause: BaseException | None = error
    while cause is not None:
        text = str(cause).partition("\nConfig search path:")[0].strip()
        if text and text not in "\n".join(lines):
            lines.append(text)
        hint = hint or _hint(cause)
        cause = cause.__cause__
    return "\n".join(lines) + (f"\n{hint.strip()}" if hint else "")


def _hint(error: BaseException) -> str:
    if isinstance(error, MissingConfigException):
        folder, _, choice = (error.missing_cfg_file or "").rpartition("/")
        found = re.search(r"Available options in '[^']*':\n(.*)", str(error), re.DOTALL)
        options = error.options or (found[1].split() if found else [])
        if options or not folder:
            return did_you_mean(choice, options)
        # Hydra says nothing of the options where the name stands in a list, such as dataset=[pitts30k,mlsl_val].
        places = re.findall(r"path=file://(.*)", str(error))
        options = sorted(path.stem for place in places for path in Path(place, folder).glob("*.yaml"))
        return did_you_mean(choice, options) or f"Available options in '{folder}': {', '.join(options)}"
    parent = getattr(error, "parent_node", None)
    key = getattr(error, "key", None)
    if isinstance(parent, DictConfig) and isinstance(key, str) and key not in parent:
        return did_you_mean(key, parent.keys())
    return ""
