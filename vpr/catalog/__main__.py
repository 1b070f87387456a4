"""List every data set of conf/dataset: found, incomplete or absent, with counts.

python -m vpr.catalog                                   (= make data-check)
python -m vpr.catalog dataset=[pitts30k,msls_val] paths.data=/disk --json
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import Progress

from vpr.cli.app import FAILED
from vpr.cli.datasets import data_sets, dataset_names
from vpr.errors import MISUSED, ends_with_a_message
from vpr.pages.screen import Screen
from vpr.terminal import say

T = TypeVar("T", bound=Any)  # names of data sets, and entries, which begin with one


@ends_with_a_message
def main(arguments: Sequence[str] | None = None) -> int:
    """Print the list; return 0, or 1 if a data set that was asked for by name is not found, or 2 for a wrong argument.

    Args:
        arguments: `dataset=NAME` or `dataset=[NAME,...]`, overrides as for `evaluate.py`, and `--json`.
    """
    argv = sys.argv[1:] if arguments is None else arguments
    if {"-h", "--help"} & set(argv):
        print(__doc__)
        return 0
    bare = [arg for arg in argv if "=" not in arg and arg != "--json"]
    if bare:
        say(f"ConfigError: {bare[0]} is no override. For a data set, type dataset={bare[0]}.")
        return MISUSED
    chosen = " ".join(arg.partition("=")[2] for arg in argv if arg.startswith("dataset="))
    named = [name for name in re.split(r"[][,\s\"']+", chosen) if name]
    overrides = [arg for arg in argv if arg != "--json" and not arg.startswith("dataset=")]
    sets = data_sets(named or dataset_names(), overrides, each)
    from vpr.catalog.inventory import COMPLETE, inspect_dataset, show  # imports torch

    findings = [inspect_dataset(entry, bool(named)) for entry in each(sets.entries)]
    if "--json" in argv:
        header = {"paths.data": os.path.abspath(sets.folder), "collections": sets.collections}
        print(json.dumps(header | {"sets": [asdict(finding) for finding in findings]}, indent=1))
    else:
        show(findings, sets, named, Screen())
    return FAILED if named and any(finding.state != COMPLETE for finding in findings) else 0


def each(items: Sequence[T]) -> Iterator[T]:
    """Yield the items, and show at which one it is if standard error is a terminal."""
    terminal = Console(stderr=True)
    with Progress(console=terminal, transient=True, disable=not terminal.is_terminal) as progress:
        task = progress.add_task("", total=len(items))
        for item in items:
            progress.update(task, description=item if isinstance(item, str) else item[0])
            yield item
            progress.advance(task)


if __name__ == "__main__":
    sys.exit(main())
