"""The examples of docs/adding.md: written as they stand there, each composes, passes all checks and runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

REPO = Path(__file__).parents[1]
TEXT = (REPO / "docs" / "adding.md").read_text()
FILES = dict(re.findall(r"`((?:vpr|conf)/\S+?\.(?:py|yaml))`:?\n```\w+\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL))
COMMANDS = re.findall(r"^    python (train|evaluate)\.py (.+)$", TEXT, re.MULTILINE)
COMMANDS += re.findall(r"`python (train|evaluate)\.py (?!--)([^`]+)`", TEXT)
# In the copy, so that the new files are found: composes and checks each command line, makes its parts and calls them.
RUN = """
import json
import shlex
import sys
import traceback
import torch
from hydra.utils import instantiate
from vpr.cli.checks import check_present, check_targets
from vpr.cli.compose import compose, plain
from vpr.cli.rules import check_rules
from vpr.distill.teacher import Outputs
from vpr.models.describer import build_describer


def run(script, line):
    cfg = compose(script, shlex.split(line, comments=True))
    check_present(cfg)
    check_rules(cfg)
    check_targets(cfg)
    if script == "evaluate":
        (dataset,) = (instantiate(node) for node in cfg.dataset.eval.values())
        return [len(dataset.database), len(dataset.queries), [rows.tolist() for rows in dataset.positives]]
    else:
        backbone = {**plain(cfg.backbone), "weights": "none"}
        describer = build_describer(backbone, plain(cfg.agg), {**plain(cfg.image), "size": [64, 64]}).eval()
        images = torch.rand(4, 3, 64, 64, generator=torch.manual_seed(0))
        descriptors = describer(images)
        assert descriptors.shape == (4, describer.dim)
        assert torch.allclose(descriptors.norm(dim=1), torch.ones(4), atol=1e-4)
        loss = instantiate(cfg.loss)(descriptors, torch.tensor([0, 0, 1, 1]))
        assert loss.value.isfinite()
        for term in (instantiate(node) for node in cfg.distillation.terms.values()):
            outputs = Outputs(descriptors=descriptors, map=None)
            assert term(outputs, [outputs], torch.tensor([0, 0, 1, 1])).item() == 0  # the student is the teacher
        return describer.dim


answers = []
for script, line in json.load(sys.stdin):
    try:
        answers.append([run(script, line), None])
    except Exception:
        answers.append([None, traceback.format_exc()])
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with the files of the page."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("vpr", "conf"):
        shutil.copytree(REPO / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in FILES.items():
        assert not (folder / name).exists(), f"{name} is there already"
        (folder / name).write_text(text)
    for side, positions in (("database", [(0, 0), (100, 0)]), ("queries", [(3, 4)])):
        (folder / "data/our_town" / side).mkdir(parents=True)
        for east, north in positions:
            Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / f"data/our_town/{side}/@{east}@{north}@.jpg")
    return folder


def test_the_page_has_the_parts() -> None:
    groups = {Path(name).parent.name for name in FILES if name.endswith(".yaml")}
    assert groups >= {"backbone", "agg", "loss", "distillation", "dataset"}
    assert len(COMMANDS) > 6


@pytest.fixture(scope="module")
def answers(clone: Path) -> dict[tuple[str, str], tuple[Any, str | None]]:
    """What each command line gives, and the error that ended it; all by one process."""
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        cwd=clone,
        env={**os.environ, "PYTHONPATH": str(clone)},
        input=json.dumps(COMMANDS),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(zip(COMMANDS, json.loads(done.stdout.splitlines()[-1]), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(("script", "line"), COMMANDS)
def test_an_example_runs(script: str, line: str, answers: dict[tuple[str, str], tuple[Any, str | None]]) -> None:
    answer, error = answers[script, line]
    assert not error, error
    if script == "evaluate":
        assert answer == [2, 1, [[0]]]
