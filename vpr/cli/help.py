"""Help: the groups of a script and their choices, which conf/hydra/help/*.yaml shows as `${choices:}`.

Data sets are grouped by their parts and families, and each experiment has the first line of its file. Folders whose
names begin with `_` hold what several files share, and are no choices.
"""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Iterable
from pathlib import Path

import yaml
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from vpr.cli.datasets import parts_of

PARTS = {
    "train": "to train on, images with the number of their place",
    "weak": "to train on, images with their position alone (supervision=tuples)",
    "images": "to learn from a teacher alone, images without labels (supervision=unlabelled)",
    "eval": "to measure on",
}


def choices(*, _root_: DictConfig) -> str:
    """Return a paragraph for each group that stands in the defaults list of the running script."""
    folders = [Path(source.path) for source in GlobalHydra.instance().config_loader().get_sources() if source.path]
    files = (folder / f"{_root_.hydra.job.config_name}.yaml" for folder in folders)
    defaults = yaml.safe_load(next(file for file in files if file.is_file()).read_text())["defaults"]
    groups = [
        group for line in defaults if isinstance(line, dict) for group in line if not group.startswith("override")
    ]
    return "\n".join(_paragraph(group, folders) for group in groups)


def first_line(file: Path) -> str:
    """Return the first comment of a file of conf/, its `@package` directive left out."""
    lines = (line.removeprefix("# ") for line in file.read_text().splitlines() if line.startswith("# "))
    return next((line for line in lines if not line.startswith("@package")), "")


def families(names: Iterable[str]) -> list[list[str]]:
    """Return names with the same first word together; the first list has those that have none in common.

    >>> families(["essex", "msls_val", "pitts250k", "pitts30k", "svox", "svox_sun"])
    [['essex', 'msls_val'], ['pitts250k', 'pitts30k'], ['svox', 'svox_sun']]
    """
    groups = [list(group) for _, group in itertools.groupby(sorted(names), lambda name: re.match("[a-z]*", name)[0])]  # type: ignore[index]
    singles = [name for group in groups if len(group) == 1 for name in group]
    return [singles] * bool(singles) + [group for group in groups if len(group) > 1]


def _paragraph(group: str, folders: Iterable[Path]) -> str:
    files = {file.stem: file for folder in folders for file in sorted((folder / group).glob("*.yaml"))}
    if group == "dataset":
        parts = [(text, [name for name in files if part in parts_of(files[name])]) for part, text in PARTS.items()]
        together = sorted(set(files) - {name for _, names in parts for name in names})
        lines = ["dataset: one, or several as [a,b]; `make data-check` lists those on this machine"]
        for text, names in [*parts, ("several in one word", together)]:
            lines += [f"  {text}:", *(_wrap("    ", family) for family in families(names))]
        return "\n".join(lines)
    if group == "experiment":
        lines = ["experiment: a whole run in one word"]
        lines += [f"  {name:<30} {first_line(file)}" for name, file in files.items()]
        dev = sorted(file.stem for folder in folders for file in (folder / group / "dev").glob("*.yaml"))
        return "\n".join([*lines, _wrap("  of docs/results.md alone: ", [f"dev/{name}" for name in dev])])
    return _wrap(f"{group}: ", files)


def _wrap(start: str, names: Iterable[str]) -> str:
    return textwrap.fill(
        start + ", ".join(names), width=120, subsequent_indent="      ", break_on_hyphens=False, break_long_words=False
    )


OmegaConf.register_new_resolver("choices", choices, replace=True)
