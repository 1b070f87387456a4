"""The scripts as they are typed: mistakes in our own keys are answered before anything heavy is imported.

benchmarks/startup.py has the seconds.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "torchvision", "timm", "pytorch_lightning", "wandb", "matplotlib", "pandas", "scipy", "cv2", "faiss")
# Runs a script as `python SCRIPT ...` does, and prints at the end what it imported of the heavy packages.
PROBE = (
    f"import atexit, os, runpy, sys; HEAVY = {HEAVY!r}; "
    "atexit.register(lambda: print('IMPORTED', *[name for name in HEAVY if name in sys.modules])); "
    "sys.argv = sys.argv[1:]; sys.path[0] = os.path.dirname(sys.argv[0]); "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)


class Answer(NamedTuple):
    code: int
    out: str
    err: str


def type_in(script: str, *arguments: str, runs: Path) -> Answer:
    command = [sys.executable, "-c", PROBE, str(ROOT / script), *arguments]
    done = subprocess.run(command, cwd=runs, capture_output=True, text=True)
    return Answer(done.returncode, done.stdout, done.stderr)


def light(script: str, *arguments: str, runs: Path) -> Answer:
    """Type it; nothing heavy must be imported by it."""
    answer = type_in(script, *arguments, runs=runs)
    assert answer.out.splitlines()[-1] == "IMPORTED"
    return answer


@pytest.mark.parametrize(
    ("script", "arguments", "says"),
    [
        ("train.py", ["backbon=resnet18"], ["backbon: there is no such key.", "Did you mean 'backbone'?"]),
        ("train.py", ["agg=mixvrp"], ["Could not find 'agg/mixvrp'", "Did you mean 'mixvpr'?"]),
        (
            "train.py",
            ["trainer.max_epoch=3"],
            ["trainer.max_epoch: there is no", "Did you mean 'max_epochs'?"],
        ),
        ("train.py", ["seed=abc"], ["Value 'abc'", "Integer"]),
        ("train.py", ["agg.otu_channels=3"], ["Did you mean 'out_channels'?"]),
        ("train.py", ["trainer.monitor=toycty"], ["ConfigError: trainer.monitor=toycty", "Did you mean 'toycity'?"]),
        ("train.py", ["dataset=places_folder"], ["ConfigError: dataset.train.places_folder.root: no value given"]),
        ("train.py", ["seed=1", "-m", "agg=mixvpr,mixvrp"], ["Did you mean 'mixvpr'?"]),
        ("train.py", ["seed==1"], ["Error parsing override 'seed==1'"]),
        ("evaluate.py", [], ["ConfigError: ckpt: no value given (???)", "ckpt=runs/x/best.ckpt"]),
        (
            "demo.py",
            ["ckpt=x.ckpt"],
            ["ConfigError: database, query: no value given (???). Add them", "database=photos/map query=photos/new"],
        ),
        ("demo.py", ["ckpt=x", "database=a b", "query=c=d", "index.fodler=x"], ["Did you mean 'folder'?"]),
        ("demo.py", ["ckpt=x", "database=a", "query=b", "index/kind=binry"], ["Did you mean 'binary'?"]),
        ("demo.py", ["ckpt=x", "database=a", "query=b", "accept=95"], ["ConfigError: accept=95: it is the share"]),
        ("demo.py", ["ckpt=x", "database=a", "query=b", "every=0"], ["ConfigError: every=0", "Type every=1."]),
        ("demo.py", ["ckpt=x", "database=a", "query=b", "k=0"], ["ConfigError: k=0: the least is 1."]),
        ("evaluate.py", ["ckpt=x", "dataset=toycty"], ["Did you mean 'toycity'?"]),
        (
            "train.py",
            ["dataset=[pitts30k,mlsl_val]"],
            ["Could not load 'dataset/mlsl_val'", "Did you mean 'msls_val'?"],
        ),
        (
            "evaluate.py",
            ["ckpt=x", "dataset=[pitts30k,q]"],
            ["Available options in 'dataset': ", "camvid, ", ", toycity"],
        ),
    ],
)
def test_mistakes_are_answered_at_once(script: str, arguments: list[str], says: list[str], tmp_path: Path) -> None:
    answer = light(script, *arguments, runs=tmp_path)
    assert answer.code == 2
    for part in says:
        assert part in answer.err
    assert "Traceback" not in answer.err
    assert "Config search path" not in answer.err


GROUPS = ("backbone", "agg", "loss", "distillation", "dataset", "image", "trainer", "optimizer", "logger", "experiment")


@pytest.mark.parametrize(("script", "groups"), [("train.py", GROUPS), ("evaluate.py", ()), ("demo.py", ())])
def test_help_shows_groups_and_examples(script: str, groups: tuple[str, ...], tmp_path: Path) -> None:
    answer = light(script, "--help", runs=tmp_path)
    assert answer.code == 0
    assert len(re.findall(rf"^ +python {script}", answer.out, re.MULTILINE)) >= 5
    assert "dataset" in answer.out
    for group in groups:
        assert re.search(rf"^ *{group}: \w+", answer.out, re.MULTILINE), group
    assert list(tmp_path.iterdir()) == []  # nothing is written


def test_help_groups_data_sets_and_describes_experiments(tmp_path: Path) -> None:
    out = light("train.py", "--help", runs=tmp_path).out
    listed = out[out.index("dataset: ") : out.index("\nimage: ")]
    for name in (path.stem for path in (ROOT / "conf/dataset").glob("*.yaml")):
        assert re.search(rf"\b{name}\b", listed), name
    to_train, to_measure = listed.split("to measure on:")
    assert "pitts30k_train" in to_train and "pitts30k_val" not in to_train and "gsv_cities" not in to_measure
    assert re.search(r"^ +svox_night, svox_overcast, svox_rain, svox_snow, svox_sun$", to_measure, re.MULTILINE)
    assert "_readers" not in out
    for path in (ROOT / "conf/experiment").glob("*.yaml"):
        line = path.read_text().splitlines()[1].removeprefix("# ")
        assert re.search(rf"^ +{path.stem} +{re.escape(line)}$", out, re.MULTILINE) and len(line) < 110, path.stem
    assert "dev/kd_small_real, dev/small_real" in out


def test_wrong_argument_of_a_target_comes_before_data_and_weights(tmp_path: Path) -> None:
    answer = type_in("train.py", "+backbone.wieghts=none", "paths.data=data", runs=tmp_path)
    assert answer.code == 2
    assert "ConfigError: backbone.wieghts: ResNet has no argument 'wieghts'. Did you mean 'weights'?" in answer.err
    assert not (tmp_path / "data").exists()  # the drawn city would be there
