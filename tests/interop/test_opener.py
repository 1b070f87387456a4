"""One opener for checkpoints and exported models: what uses a model takes both, or says why not."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import vpr
from tests.exported import SIZE, export, save, tiny
from vpr import checkpoint
from vpr.cli.compose import compose
from vpr.cli.rules import check_rules
from vpr.data.retrieval_set import RetrievalSet
from vpr.errors import CheckpointError, ConfigError
from vpr.evaluation.gallery import load_gallery, shares_space
from vpr.interop.opener import open_model
from vpr.models.weights import read_state
from vpr.retrieval.evaluate import EvalOptions, evaluate
from vpr.retrieval.extractor import Extractor
from vpr.retrieval.index.place_index import Photos, PlaceIndex, path_extractor
from vpr.training.distillation import make_teachers
from vpr.training.start import Start
from vpr.types import Protocol


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, its model.onnx, a model.int8.onnx with the same graph, another model, and 8 photos."""
    folder = tmp_path_factory.mktemp("models")
    network = tiny()
    digest = save(folder / "best.ckpt", network)
    export(folder / "model.onnx", network, digest=digest)
    export(folder / "model.int8.onnx", network, digest=digest, precision="int8")
    export(folder / "other.onnx", tiny(1), digest="1" * 64, name="other")
    rng = np.random.default_rng(0)
    for number in range(8):
        pixels = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((200, 150))
        pixels.save(folder / f"{number}.jpg", quality=90)
    return folder


def photos(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jpg"))


def retrieval_set(folder: Path) -> RetrievalSet:
    paths = photos(folder)
    positives = [np.array([row]) for row in range(4)]
    return RetrievalSet(Protocol("drawn@0f"), paths[:4], paths[4:], positives)


def test_one_opener(folder: Path) -> None:
    ckpt, onnx, int8 = (open_model(folder / name) for name in ("best.ckpt", "model.onnx", "model.int8.onnx"))
    assert (ckpt.name, onnx.name, int8.name) == ("tiny", "tiny", "tiny-int8")
    assert ckpt.digest == onnx.record["origin"] == checkpoint.digest(checkpoint.read(folder / "best.ckpt"))
    assert onnx.digest == hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    assert len({ckpt.digest, onnx.digest, int8.digest}) == 3
    assert ckpt.config["name"] == "tiny" and onnx.config == {}


def test_load_describes_photos(folder: Path) -> None:
    ckpt, onnx = vpr.load(folder / "best.ckpt"), vpr.load(folder / "model.onnx", device="auto")
    expected, actual = ckpt.describe(photos(folder)), onnx.describe(photos(folder), batch_size=3)
    assert actual.shape == (8, 64) and np.abs(expected - actual).max() < 1e-5
    assert np.abs(expected[0] - expected[1]).max() > 0.01  # else all would agree
    with pytest.raises(ConfigError, match="device=cuda with .*: an exported model is run on the CPU. Type device=auto"):
        onnx.describe(photos(folder), device="cuda")
    with pytest.raises(ConfigError, match="an exported model is run on the CPU"):
        vpr.load(folder / "model.onnx", device="cuda:0")


def test_evaluation(folder: Path) -> None:
    ckpt, onnx = (Extractor.load(folder / name, "cpu") for name in ("best.ckpt", "model.int8.onnx"))
    plain = EvalOptions(ks=[1], progress=False)
    results = [evaluate(model, retrieval_set(folder), options=plain) for model in (ckpt, onnx)]
    assert results[0].recalls == results[1].recalls
    assert results[1].models["queries"] == f"tiny-int8 {onnx.digest[:12]}"
    mixed = evaluate(onnx, retrieval_set(folder), gallery=ckpt, options=plain)
    assert mixed.protocol == "drawn@0f[gallery-tiny]" and mixed.recalls == results[0].recalls
    other = evaluate(ckpt, retrieval_set(folder), gallery=onnx, options=plain)
    assert other.protocol == "drawn@0f[gallery-tiny-int8]"


def test_it_says_that_it_was_trained_on_the_set(folder: Path, tmp_path: Path) -> None:
    from vpr.data.image_digests import image_digests

    images = image_digests(photos(folder)[:2])
    export(tmp_path / "model.onnx", tiny(), training_images=len(images))
    np.save(tmp_path / "training_images.npy", images)
    result = evaluate(
        Extractor.load(tmp_path / "model.onnx", "cpu"),
        retrieval_set(folder),
        options=EvalOptions(ks=[1], progress=False),
    )
    assert "[map]" in result.protocol or "[queries]" in result.protocol


def test_a_gallery(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    int8 = Extractor.load(folder / "model.int8.onnx", "cpu")
    gallery = load_gallery(str(folder / "best.ckpt"), int8, "model.int8.onnx")
    assert shares_space(int8, gallery) and shares_space(gallery, int8) and not caplog.text
    load_gallery(str(folder / "other.onnx"), int8, "model.int8.onnx")
    assert "was not trained into the space of" in caplog.text


def test_a_student_of_an_exported_teacher_shares_its_space(folder: Path, tmp_path: Path) -> None:
    teacher = Extractor.load(folder / "other.onnx", "cpu")
    term = {"_target_": "vpr.distill.terms.descriptor.Descriptor", "keep": True}
    config = {"distillation": {"terms": {"d": term}, "teachers": [{"digest": teacher.digest}]}}
    save(tmp_path / "student.ckpt", tiny(), config)
    assert shares_space(Extractor.load(tmp_path / "student.ckpt", "cpu"), teacher)
    export(tmp_path / "student.onnx", tiny(), config=config)
    student = Extractor.load(tmp_path / "student.onnx", "cpu")
    assert shares_space(student, teacher) and not shares_space(student, Extractor.load(folder / "model.onnx", "cpu"))


def test_an_index_refuses_another_file(folder: Path, tmp_path: Path) -> None:
    onnx = Extractor.load(folder / "model.onnx", "cpu")
    listed = Photos.on_disk(folder, [path.name for path in photos(folder)])
    PlaceIndex.build(tmp_path / "index", listed, path_extractor(onnx, show=False), onnx.dim, onnx.digest)
    assert len(PlaceIndex.open(tmp_path / "index", onnx.digest)) == 8
    for name in ("model.int8.onnx", "best.ckpt"):
        with pytest.raises(CheckpointError, match="was made with the model .*cannot be compared"):
            PlaceIndex.open(tmp_path / "index", Extractor.load(folder / name, "cpu").digest)


def teacher_node(path: Path, **settings: object) -> dict[str, object]:
    node = {"ckpt": str(path), "share": None, "size": None, "precision": "auto", "backbone": None, "hub": None}
    return {**node, **settings}


def test_a_teacher(folder: Path) -> None:
    images = torch.randint(0, 256, (3, 3, *SIZE), dtype=torch.uint8)
    (ckpt,), (onnx,) = (make_teachers(teacher_node(folder / name), {}, "cpu") for name in ("best.ckpt", "model.onnx"))
    torch.testing.assert_close(onnx(images).descriptors, ckpt(images).descriptors, atol=1e-5, rtol=0)
    smaller = images[..., :32, :40]  # as a student's own size may be: rounded to whole values first
    assert torch.nn.functional.cosine_similarity(onnx(smaller).descriptors, ckpt(smaller).descriptors).min() > 0.999
    assert onnx.digest == open_model(folder / "model.onnx").digest != ckpt.digest
    assert onnx.shape.channels is None and onnx(images).map is None
    with pytest.raises(
        ConfigError, match=r"teacher.precision=16-mixed: .* is exported, and computes as it was \(fp32\)"
    ):
        make_teachers(teacher_node(folder / "model.onnx", precision="16-mixed"), {}, "cpu")
    with pytest.raises(ConfigError, match=r"teacher.size=\[64, 64\]: .* exported for images of \[48, 64\]"):
        make_teachers(teacher_node(folder / "model.onnx", size=[64, 64]), {}, "cpu")


def test_it_cannot_be_trained(folder: Path) -> None:
    message = "model.onnx is an exported model.*Give the checkpoint that it was made from"
    path = str(folder / "model.onnx")
    with pytest.raises(CheckpointError, match=message):
        Start.read(path)  # init
    with pytest.raises(CheckpointError, match=message):
        checkpoint.read(path)  # ckpt_path, distil.py, python -m vpr.interop
    with pytest.raises(ConfigError, match=message):
        read_state(Path(path))  # backbone.weights


def test_what_needs_the_network_is_refused(folder: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"precision=16-mixed with .*model.onnx: an exported model computes as it was"
    ):
        Extractor.load(folder / "model.onnx", "cpu", "16-mixed")
    with pytest.raises(ConfigError, match="needs the layers of the network, and .*model.onnx is exported"):
        Extractor.load(folder / "model.onnx", "cpu").content()


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["precision=bf16-mixed"], "precision=bf16-mixed with ckpt=.*an exported model computes as it was exported"),
        (["device=cuda"], "device=cuda with ckpt=.*is run on the CPU"),
        (["pca.dim=32"], "pca with ckpt=.*pca.dim=32 pca.save=OUT.ckpt"),
    ],
)
def test_the_command_line_says_so_first(typed: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_rules(compose("evaluate", ["ckpt=a/model.onnx", *typed]))


def test_a_gallery_may_be_exported_too() -> None:
    with pytest.raises(ConfigError, match="device=cuda with gallery_ckpt=b.ONNX"):
        check_rules(compose("evaluate", ["ckpt=a.ckpt", "gallery_ckpt=b.ONNX", "device=cuda"]))
    check_rules(compose("evaluate", ["ckpt=a.ckpt", "gallery_ckpt=b.onnx"]))


def test_an_onnx_file_moved_away_still_opens(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "model.onnx", tmp_path / "moved.onnx")
    assert open_model(tmp_path / "moved.onnx").digest == open_model(folder / "model.onnx").digest
