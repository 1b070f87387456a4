"""Exports as they are measured: int8 and fp16 beside fp32, the gate, photos that must not meet, the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.export.conftest import GEM
from tests.processes import run_script
from vpr.cli.compose import compose
from vpr.cli.rules import check_rules
from vpr.data.retrieval_set import RetrievalSet
from vpr.errors import ConfigError
from vpr.export import quantise
from vpr.export.exporter import Bounds, Change, Exporter, Written
from vpr.export.folder import pixels_of
from vpr.export.graph import BACKBONE, deployed, to_onnx
from vpr.export.parity import Parity
from vpr.retrieval.evaluate import EvalOptions, evaluate
from vpr.retrieval.extractor import Extractor
from vpr.types import Preprocess, Protocol

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def places(photos: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with `calibration/`, and `verify/database/`, `verify/queries/` that show the same places."""
    root = tmp_path_factory.mktemp("places")
    for number, data in enumerate(photos):
        part = "calibration" if number < 8 else "verify/database"
        (root / part).mkdir(parents=True, exist_ok=True)
        (root / part / f"{number:02d}.jpg").write_bytes(data)
        if number >= 8:
            (root / "verify/queries").mkdir(exist_ok=True)
            (root / "verify/queries" / f"{number:02d}.jpg").write_bytes(data + b"\0")
    return root


@pytest.fixture(scope="module")
def labelled(places: Path) -> RetrievalSet:
    sides = [sorted((places / "verify" / side).iterdir()) for side in ("database", "queries")]
    positives = [np.array([row]) for row in range(8)]
    return RetrievalSet(Protocol("drawn@0f"), sides[0], sides[1], positives)


@pytest.fixture(scope="module")
def exported(small_ckpt: Path, places: Path, labelled: RetrievalSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "small"
    calibration = sorted((places / "calibration").iterdir())
    exporter = Exporter(
        Extractor.load(small_ckpt, "cpu"),
        ["int8", "fp16"],
        bounds=Bounds(cosine=0.9),
        calibration=calibration,
        sets=[labelled],
        options=EvalOptions(progress=False),
    )
    report = exporter.write(out)
    assert report.refused == [] and report.files == ["model.onnx", "model.fp16.onnx", "model.int8.onnx"]
    assert any("% of fp32" in line for line in report.lines)
    return out


def test_each_file_says_what_was_measured_on_it(exported: Path, labelled: RetrievalSet) -> None:
    facts = json.loads((exported / "model.json").read_text())
    assert facts["checkpoint"]["protocols"]["drawn@0f"]["R@1"] == 1
    for name, precision in (("model.onnx", "fp32"), ("model.fp16.onnx", "fp16"), ("model.int8.onnx", "int8")):
        stored = {entry.key: entry.value for entry in onnx.load(exported / name).metadata_props}
        file = facts["files"][name]
        assert stored["precision"] == file["precision"] == precision
        assert json.loads(stored["protocols"]) == file["protocols"] and json.loads(stored["parity"]) == file["parity"]
        assert file["parity"]["images"] == 16 and file["parity"]["cosine"] > 0.98
        assert file["cpu_ms"] > 0 and file["bytes"] == (exported / name).stat().st_size
        measured = evaluate(Extractor.load(exported / name, "cpu"), labelled, options=EvalOptions(progress=False))
        assert measured.metrics() == file["protocols"]["drawn@0f"]
        rows = np.load(exported / "golden" / f"{name.replace('model', 'descriptors').replace('.onnx', '')}.npy")
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-3)
    sizes = {name: file["bytes"] for name, file in facts["files"].items()}
    assert sizes["model.int8.onnx"] < 0.8 * sizes["model.onnx"] and sizes["model.fp16.onnx"] < 0.6 * sizes["model.onnx"]
    assert facts["files"]["model.int8.onnx"]["calibration_images"] == 8


def test_int8_is_of_the_backbone_alone(exported: Path) -> None:
    nodes = onnx.load(exported / "model.int8.onnx").graph.node
    quantised = {name for node in nodes if node.op_type == "QuantizeLinear" for name in node.input}
    outside = {name for node in nodes if not node.name.startswith(BACKBONE) for name in node.output} - quantised
    producers = {name: node.name for node in nodes for name in node.output}
    assert quantised and all(
        producers.get(name, "").startswith((BACKBONE, "/Div")) for name in quantised if name in producers
    )
    assert any("aggregator" in name for name in outside)


def test_photos_of_the_calibration_are_not_measured_on(
    small_ckpt: Path, labelled: RetrievalSet, tmp_path: Path
) -> None:
    shared = [*labelled.database[:3], *labelled.queries[:1]]
    exporter = Exporter(Extractor.load(small_ckpt, "cpu"), ["int8"], calibration=shared, sets=[labelled])
    with pytest.raises(ConfigError, match="4 of the 4 calibration photos are photos of drawn@0f"):
        exporter.write(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_bad_int8_is_refused_and_fp32_stays(small_ckpt: Path, places: Path, labelled: RetrievalSet, tmp_path: Path):
    exporter = Exporter(
        Extractor.load(small_ckpt, "cpu"),
        ["int8"],
        bounds=Bounds(cosine=0.99999),
        calibration=sorted((places / "calibration").iterdir()),
        sets=[labelled],
        options=EvalOptions(progress=False),
    )
    report = exporter.write(tmp_path / "out")
    (message,) = report.refused
    assert message.startswith("model.int8.onnx was not kept: cosine mean 0.99") and "bound.cosine=0.9" in message
    assert report.files == ["model.onnx"] and not list((tmp_path / "out").rglob("*int8*"))


def test_the_gate_by_hand() -> None:
    good, bad = Parity(100, 0.1, 0.99, 0.96, 0.9), Parity(100, 0.3, 0.95, 0.8, 0.7)

    def refusal(parity: Parity, *changes: tuple[float, float]) -> str:
        found = {f"set{i}@0f": Change(60, 55, low, high) for i, (low, high) in enumerate(changes)}
        return Written("int8", onnx.ModelProto(), {}, parity, found).refusal(Bounds())

    assert refusal(good, (-9.0, -0.9), (-1.0, 2.0)) == ""  # the interval reaches a loss that is allowed
    assert "R@1 on set1@0f 60.0 -> 55.0 (-5.0 [-9.0, -1.1])" in refusal(good, (-1, 1), (-9.0, -1.1))
    assert "cosine mean 0.95000" in refusal(bad) and "bound.cosine=0.949 keeps it" in refusal(bad)


def test_changes_are_paired_by_query(labelled: RetrievalSet, small_ckpt: Path) -> None:
    result = evaluate(Extractor.load(small_ckpt, "cpu"), labelled, options=EvalOptions(progress=False))
    same = Change.between(result, result)
    assert same == Change(100, 100, 0, 0)


def test_transformers_are_not_quantised(settled: Callable, node: Callable, photos: list[bytes]) -> None:
    model = to_onnx(deployed(settled(node("backbone", "dinov2_vits14"), GEM, (28, 42))))
    with pytest.raises(ConfigError, match="precision=fp16, which halves it"):
        quantise.to_int8(model, pixels_of(photos[:2], Preprocess((28, 42))))


def test_spread_takes_the_ends() -> None:
    assert quantise.spread(10, 4) == [0, 3, 6, 9] and quantise.spread(3, 8) == [0, 1, 2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["precision=int4"], "precision=int4: it must be one of fp32, fp16, int8"),
        (["precision=[fp32,in8]"], "precision=in8: .* Did you mean 'int8'"),
        (["precision=int8", "verify=[]"], r"verify=\[\] with precision=int8"),
        (["calibration=camvid"], "calibration=camvid with precision=fp32: only int8 is calibrated"),
        (["size=[240]"], r"size=\[240\]: it must be \[height, width\]"),
        (["calibration_images=2", "precision=int8"], "calibration_images=2: the least is 8"),
    ],
)
def test_rules(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_rules(compose("export", ["ckpt=x.ckpt", *words]))


def test_the_command_writes_a_folder_or_says_why_not(small_ckpt: Path, places: Path, tmp_path: Path) -> None:
    def typed(*words: str) -> tuple[int, str]:
        done = run_script([str(ROOT / "export.py"), f"paths.runs={tmp_path}/runs", *words], cwd=tmp_path)
        return done.returncode, done.stdout + done.stderr

    code, text = typed(f"ckpt={small_ckpt}", f"out={tmp_path}/out")
    assert code == 0 and "model.onnx: 0." in text and (tmp_path / "out/model.onnx").is_file()
    for words, message in (
        ([f"ckpt={tmp_path}/absent.ckpt"], "there is no such file"),
        ([f"ckpt={tmp_path}/out/model.onnx"], "An export needs the layers of the network"),
        ([f"ckpt={small_ckpt}", "precision=int8"], "the checkpoint does not say on what it was trained"),
        ([f"ckpt={small_ckpt}", "precision=int8", "calibration=camvd"], "neither a data set of conf/dataset nor a"),
        ([f"ckpt={small_ckpt}", "verify=[toycty]"], "Did you mean 'toycity'"),
        ([f"ckpt={small_ckpt}", f"out={places}"], "not a folder that export.py wrote"),
    ):
        code, text = typed(*words, *([] if "out=" in " ".join(words) else [f"out={tmp_path}/other"]))
        assert code == 2 and message in text and "Traceback" not in text, (words, text)
        assert not (tmp_path / "other").exists()
