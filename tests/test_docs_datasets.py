"""docs/datasets.md has a row for each data set, with the id and the counts that its YAML says."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from vpr.cli.compose import CONF, compose

PAGE = (Path(__file__).parents[1] / "docs" / "datasets.md").read_text()
MEASURE, TRAIN = (part.split("\n## ")[0] for part in re.split(r"\n## To (?:measure|train)\n", PAGE)[1:])
NAMES = sorted(path.stem for path in (CONF / "dataset").glob("*.yaml"))
MEASURED = [name for name in NAMES if name in (compose("train", [f"dataset={name}"]).dataset.get("eval") or {})]


def rows(text: str, name: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("| `") and name in names(line)]


def names(line: str) -> list[str]:
    return re.findall(r"`([a-z0-9_]+)`", line.split("|")[1])


@pytest.mark.parametrize("name", NAMES)
def test_each_data_set_has_its_rows(name: str) -> None:
    dataset = compose("train", [f"dataset={name}"]).dataset
    assert name not in MEASURED or len(rows(MEASURE, name)) == 1
    assert not dataset.get("train") or len(rows(TRAIN, name)) == 1
    assert rows(MEASURE, name) or rows(TRAIN, name)


@pytest.mark.parametrize("name", MEASURED)
def test_ids_and_counts_are_those_of_the_yaml(name: str) -> None:
    (row,) = rows(MEASURE, name)
    protocol = compose("train", [f"dataset={name}"]).dataset.eval[name].get("protocol")
    if "as above" in row.split("|")[2] or protocol is None:  # another form of the set above; a set that makes its own
        return
    assert protocol.id in row or "..." in row.split("|")[2]
    for count in (protocol.get("database"), protocol.get("queries")):
        assert count is None or f"{count:,}" in row


def test_no_row_speaks_of_a_set_that_is_not_there() -> None:
    lines = [line for line in (MEASURE + TRAIN).splitlines() if line.startswith("| `")]
    assert {name for line in lines for name in names(line)} - {"dataset"} <= set(NAMES)


def test_the_readers_of_the_table_exist() -> None:
    table = PAGE.split("\n## Readers\n")[1]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `") and "_target_" not in line]
    assert rows
    for row in rows:
        module, first = re.findall(r"`(\w+)\.(\w+)`", row)[0]
        for name in [first, *re.findall(r"`\.(\w+)`", row)]:
            assert callable(getattr(import_module(f"vpr.data.formats.{module}"), name))
