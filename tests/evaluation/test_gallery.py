"""A student that keeps its projection is searched in its teacher's gallery."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from tests.processes import run_script
from vpr import checkpoint
from vpr.checkpoint import model_name
from vpr.errors import CheckpointError, ConfigError
from vpr.evaluation.gallery import load_gallery, shares_space
from vpr.models.describer import build_describer
from vpr.retrieval.extractor import Extractor
from vpr.training.run import fit

ROOT = Path(__file__).parents[2]
KEEP = ["distillation=descriptor", "distillation.terms.descriptor.keep=true"]
PARTS = {
    "backbone": {"_target_": "vpr.models.backbones.resnet.ResNet", "name": "resnet18", "weights": "none", "crop": [4]},
    "agg": {"_target_": "vpr.models.aggregators.gem.GeM"},
}

Tiny = Callable[[Sequence[str]], DictConfig]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """256-d descriptors at 64x64 pixels."""
    path = tmp_path_factory.mktemp("teachers") / "best.ckpt"
    torch.manual_seed(1)
    config = PARTS | {"name": "big one/of mine"}
    checkpoint.save(path, build_describer(**PARTS, image={"size": [64, 64]}), config)
    return path


def train_student(cfg: DictConfig, directory: Path) -> Path:
    fit(cfg, directory)
    return directory / "best.ckpt"


def test_the_projection_is_in_the_checkpoint(tiny: Tiny, tmp_path: Path, teacher: Path) -> None:
    student = train_student(tiny([*KEEP, f"distillation.teacher.ckpt={teacher}", "trainer.max_epochs=1"]), tmp_path)
    content = checkpoint.read(student)
    assert content["config"]["agg"]["dim"] == 256 and content["config"]["agg"]["agg"]["_target_"].endswith("GeM")
    assert content["weights"]["aggregator.projection.weight"].shape == (256, 128)
    loaded, last = checkpoint.load(student), checkpoint.load(student.parent / "last.ckpt")
    images = torch.randint(0, 256, (2, 3, 48, 48), dtype=torch.uint8)
    with torch.no_grad():
        found = loaded(loaded.normalise(images))
        assert torch.equal(found, last(last.normalise(images)))
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2))
    state = torch.load(student.parent / "last.ckpt", weights_only=True)["state_dict"]
    assert not [name for name in state if name.startswith("distiller.")]
    assert shares_space(Extractor.load(student, "cpu"), Extractor.load(teacher, "cpu"))


def test_a_run_that_keeps_goes_on_as_the_same_run(tiny: Tiny, tmp_path: Path, teacher: Path) -> None:
    runs = tmp_path / "runs" / "tiny"
    options = [*KEEP, f"distillation.teacher.ckpt={teacher}", "trainer.eval_every=0", "schedule=constant"]
    fit(tiny([*options, "trainer.max_epochs=2"]), tmp_path / "straight")
    fit(tiny([*options, "trainer.max_epochs=1"]), runs / "first")
    fit(tiny([*options, "trainer.max_epochs=2", "ckpt_path=last"]), runs / "second")
    straight, resumed = (checkpoint.read(path / "last.ckpt") for path in (tmp_path / "straight", runs / "second"))
    assert straight["config"]["agg"] == resumed["config"]["agg"]
    assert all(torch.equal(value, resumed["weights"][name]) for name, value in straight["weights"].items())
    with pytest.raises(ConfigError, match="a run with agg="):
        fit(tiny([*options, "agg=avg", "ckpt_path=last"]), runs / "third")
    with pytest.raises(ConfigError, match="a run with distillation.terms="):
        fit(tiny([*options, "distillation.terms.descriptor.keep=false", "ckpt_path=last"]), runs / "third")


def test_other_lengths_are_named_with_the_way_out(tmp_path: Path, teacher: Path) -> None:
    parts = PARTS | {"backbone": {**PARTS["backbone"], "crop": [3, 4]}}
    checkpoint.save(tmp_path / "s.ckpt", build_describer(**parts, image={"size": [48, 48]}), parts)
    message = r"s.ckpt describes with 128 numbers and gallery_ckpt=.*best.ckpt with 256.*keep=true .*teacher.ckpt="
    with pytest.raises(CheckpointError, match=message):
        load_gallery(str(teacher), Extractor.load(tmp_path / "s.ckpt", "cpu"), str(tmp_path / "s.ckpt"))


@pytest.mark.parametrize(
    ("run", "shared"),
    [
        ({}, False),
        ({"keep": True}, True),
        ({"project": False}, True),
        ({"project": True}, False),  # that projection was left behind
        ({"project": True, "keep": True}, True),
        ({"keep": True, "by": "another"}, False),
        ({"keep": True, "pca": 64}, False),
    ],
)
def test_who_shares_a_space(teacher: Path, run: dict[str, object], shared: bool) -> None:
    content = checkpoint.read(teacher)
    term = {"_target_": "vpr.distill.terms.descriptor.Descriptor", **run} if run else {"_target_": "other"}
    record = {
        "terms": {"d": term},
        "teachers": [{"digest": run.get("by", "mine")}],
        "cache": True,
        "cache_pca": run.get("pca"),
    }
    content = {**content, "config": {**content["config"], "distillation": record}}
    student = Extractor.of_checkpoint(content, "s.ckpt", torch.device("cpu"))
    assert shares_space(student, Extractor(student.model, "cpu", digest="mine")) is shared
    assert shares_space(student, Extractor.load(teacher, "cpu"))  # the model itself


def test_names(teacher: Path) -> None:
    assert model_name(checkpoint.read(teacher), "x.ckpt") == "big-one-of-mine"
    assert model_name({"config": {}}, "runs/res net.ckpt") == "res-net"


def evaluate(photos: Path, out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        *(str(ROOT / "evaluate.py"), "dataset=gardens_point", "num_workers=0", "device=cpu"),
        *(f"dataset.eval.gardens_point.root={photos}", "dataset.eval.gardens_point.tolerance=0", f"out={out}"),
        *("dataset.eval.gardens_point.database=database", "dataset.eval.gardens_point.queries=queries"),
        "dataset.eval.gardens_point.protocol={_target_: vpr.types.Protocol, id: tiny@0f, database: 12, queries: 12}",
        *arguments,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return run_script(command, env=environment, cwd=ROOT)


@pytest.mark.slow
def test_as_typed(tiny: Tiny, photos: Path, tmp_path: Path, teacher: Path) -> None:
    """The photos are those that it was trained with: another view of each place is looked for in the first ones."""
    steady = ["trainer.max_epochs=12", "trainer.eval_every=12", "augment=none", "optimizer.lr=1e-3"]
    options = [*KEEP, "distillation.task_weight=0", "schedule=constant", f"distillation.teacher.ckpt={teacher}"]
    student = train_student(tiny([*options, *steady]), tmp_path)
    for part, view in (("database", 0), ("queries", 1)):
        (tmp_path / "seen" / part).mkdir(parents=True)
        for place in sorted((photos / "train").iterdir()):
            (tmp_path / f"seen/{part}/{place.name[-2:]}.jpg").write_bytes((place / f"{view}.jpg").read_bytes())
    odd = tmp_path / "teacher=1[2].ckpt"
    odd.write_bytes(teacher.read_bytes())
    done = evaluate(tmp_path / "seen", tmp_path / "both", f"ckpt={student}", f"gallery_ckpt={odd}")
    assert done.returncode == 0, done.stderr
    assert "was not trained into the space" not in done.stdout + done.stderr
    metrics = json.loads((tmp_path / "both/metrics.json").read_text())
    ((id, found),) = metrics["sets"].items()
    assert id == "tiny@0f[gallery-big-one-of-mine]" and f"matches_{id}.png" in os.listdir(tmp_path / "both")
    digests = [checkpoint.digest(checkpoint.read(path))[:12] for path in (student, teacher)]
    name = checkpoint.read(student)["config"]["name"]
    assert found["models"] == {"queries": f"{name} {digests[0]}", "database": f"big-one-of-mine {digests[1]}"}
    assert metrics["settings"]["gallery_ckpt"] == str(odd)
    said = " ".join(done.stdout.split())  # the caption is broken into lines
    assert f"queries described by {name} {digests[0]}, database by big-one-of-mine {digests[1]}" in said
    # Chance is 1 of 12.
    assert found["recalls"]["R@1"] > 0.7, found["recalls"]
