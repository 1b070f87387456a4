"""conf/dataset: sets named by UTM position are read from the layout that their file describes, with its protocol."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from vpr.cli.compose import CONF, compose

READER = "vpr.data.formats.utm_folder.read"
FILES = {path.stem: path.read_text() for path in sorted((CONF / "dataset").glob("*.yaml"))}
SETS = [name for name, text in FILES.items() if READER in text]


def name_of(number: int, heading: str = "") -> str:
    return f"@{500_000 + number}@5000000@33@T@@@{number}@@{heading}@@@@@@.jpg"


def fill(folder: Path, count: int, heading: str = "") -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / name_of(number, heading)).touch()


@pytest.mark.parametrize("name", SETS)
def test_the_layout_in_the_header_is_the_one_that_is_read(name: str, tmp_path: Path) -> None:
    parts = compose("evaluate", [f"dataset={name}", f"paths.data={tmp_path}", "ckpt=x"]).dataset.eval
    for entry, part in parts.items():
        if OmegaConf.is_missing(part, "root"):
            part.root = str(tmp_path / entry)
        elif entry == name:
            layout = FILES[name].split("Layout: ")[1]
            assert all(folder in layout for folder in Path(part.root).relative_to(tmp_path).parts)
        fill(Path(part.root) / part.get("database", "database"), 3)
        fill(Path(part.root) / part.get("queries", "queries"), 2)
        found = instantiate(part, _convert_="all", missing="skip")
        assert [len(rows) for rows in found.positives] == [3, 3]
        assert found.protocol.no_positives == part.protocol.get("no_positives", "skip")
        expected = part.protocol.get("database"), part.protocol.get("queries")
        marks = [f"{n}of{count}{unit}" for n, count, unit in zip((3, 2), expected, ("db", "q"), strict=True) if count]
        assert found.protocol.id == part.protocol.id + (f"[{','.join(marks)}]" if marks else "")


@pytest.mark.parametrize("name", ["sf_xl_train", "sf_xl_small", "pitts30k_utm_train"])
def test_training_places(name: str, tmp_path: Path) -> None:
    (part,) = compose("train", [f"dataset={name}", f"paths.data={tmp_path}"]).dataset.train.values()
    fill(Path(part.photos.root) / "37.70", 10, "" if name.startswith("pitts") else "210")
    places = instantiate(part, _convert_="all")
    assert len(places) == 1 and len(places.files) == 10 and places.path(9).is_file()
