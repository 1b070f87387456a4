"""Calibration on a labelled set: described once, kept with its evidence, never another model's or another set's."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import vpr.evaluation.calibrate as calibrate_module
from vpr.errors import CheckpointError, ConfigError, DataAbsent, DataError
from vpr.evaluation.calibrate import calibration
from vpr.models.describer import build_describer
from vpr.retrieval.calibration import Calibrated, calibration_error
from vpr.retrieval.extractor import Extractor

PLACES, ALONE, MODEL = 16, 8, "0123456789abcdef" * 4
FILE = "calibration_utm_folder_01234567.json"
PARTS = {
    "backbone": {
        "_target_": "vpr.models.backbones.resnet.ResNet",
        **{"name": "resnet18", "weights": "none", "crop": [3, 4]},
    },
    "agg": {"_target_": "vpr.models.aggregators.gem.GeM"},
}


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    torch.manual_seed(0)
    return Extractor(build_describer(**PARTS, image={"size": [32, 32]}).eval(), "cpu", digest=MODEL)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 places 100 m apart with a photo and a query each, the query a little noisier; 8 queries of places unknown."""
    root, rng = tmp_path_factory.mktemp("labelled"), np.random.default_rng(0)
    for place in range(PLACES + ALONE):
        photo = cv2.resize(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8), (32, 32))
        noisy = cv2.add(photo, rng.integers(0, 60, photo.shape, dtype=np.uint8))
        for folder, image in (("database", photo), ("queries", noisy)):
            (root / folder).mkdir(exist_ok=True)
            if folder == "queries" or place < PLACES:
                cv2.imwrite(str(root / folder / f"@{500000 + 100 * place}.00@4000000.00@{place}@.png"), image)
    return root


Calibrate = Callable[..., Calibrated]


@pytest.fixture
def calibrate(drawn: Path, tmp_path: Path, extractor: Extractor) -> Calibrate:
    """Calibrate on a copy of `drawn` in tmp_path/set, keeping it in tmp_path/kept."""
    shutil.copytree(drawn, tmp_path / "set")

    def call(name: str = "utm_folder", digest: str = MODEL, **options: object) -> Calibrated:
        root = f"dataset.eval.utm_folder.root={tmp_path / 'set'}"
        model = Extractor(extractor.model, "cpu", digest=digest)
        return calibration(name, tmp_path / "kept", model, overrides=[root], batch_size=64, **options)  # type: ignore[arg-type]

    return call


@pytest.fixture
def evaluations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The protocol of each set that was described."""
    seen: list[str] = []
    real = calibrate_module.evaluate

    def watched(*args, **options):  # type: ignore[no-untyped-def]
        seen.append(args[1].protocol.id)
        return real(*args, **options)

    monkeypatch.setattr(calibrate_module, "evaluate", watched)
    return seen


def test_fitted_once_and_kept_with_its_evidence(calibrate: Calibrate, tmp_path: Path, evaluations: list[str]) -> None:
    found = calibrate()
    assert len(found.confidence) == PLACES + ALONE and not found.right[-1]  # without positives: counted as wrong
    assert 0.5 < found.right.mean() <= PLACES / (PLACES + ALONE)
    assert found.confidence[found.right].mean() > found.confidence[~found.right].mean() + 0.1
    kept = json.loads((tmp_path / "kept" / FILE).read_text())
    assert kept["model"] == MODEL and kept["dataset"] == "utm_folder" and kept["protocol"] == "utm-folder@25m"
    assert kept["counts"]["queries"] == 24 and kept["counts"]["queries_without_positives"] == ALONE
    assert kept["calibration_error"] == pytest.approx(calibration_error(found.confidence, found.right))
    assert kept["calibration"]["queries"] == 24 and kept["calibration"]["precision"] == 0.95
    again = calibrate()
    assert evaluations == ["utm-folder@25m"]
    assert again.calibration == found.calibration and again.message() == found.message()
    np.testing.assert_array_equal(again.confidence, found.confidence)


def test_a_folder_of_own_photos_is_a_labelled_set(drawn: Path, tmp_path: Path, extractor: Extractor) -> None:
    own = shutil.copytree(drawn, tmp_path / "my photos, (new)=1")
    rows = ["path,lat,lon"]
    for folder in ("database", "queries"):
        for number, path in enumerate(sorted((own / folder).iterdir())):
            rows.append(f"{folder}/{path.name},{-33 - 0.001 * (number % PLACES)},179.9999")  # 111 m apart
    (own / "positions.csv").write_text("\n".join(rows))
    found = calibration(str(own), tmp_path / "kept", extractor, batch_size=64)
    assert found.protocol == "own-photos@25m" and len(found.confidence) == PLACES + ALONE
    assert 0.5 < found.right.mean() <= PLACES / (PLACES + ALONE), "the last photos stand where they were not taken"
    assert (tmp_path / "kept" / "calibration_image_folder_01234567.json").is_file()


def test_another_share_needs_no_new_fit(calibrate: Calibrate, evaluations: list[str]) -> None:
    strict, mild = calibrate(precision=0.95), calibrate(precision=0.5)
    assert len(evaluations) == 1
    assert mild.calibration.threshold < strict.calibration.threshold
    accepted = mild.right[mild.confidence >= mild.calibration.threshold]
    assert accepted.mean() >= 0.5 and mild.calibration.precision == 0.5
    assert f"there {len(accepted)}, of which {accepted.sum()} are right" in mild.message()


def test_other_numbers_are_another_fit(calibrate: Calibrate, tmp_path: Path, evaluations: list[str]) -> None:
    calibrate()
    path = tmp_path / "kept" / FILE
    kept = json.loads(path.read_text())
    assert kept["numbers"] == "32-true"
    for earlier in (kept | {"numbers": "bf16-mixed"}, {key: kept[key] for key in kept if key != "numbers"}):
        path.write_text(json.dumps(earlier))
        calibrate()
        assert json.loads(path.read_text()) == kept
    assert len(evaluations) == 3


def test_a_file_is_enough_but_not_for_another_model(calibrate: Calibrate, tmp_path: Path, extractor: Extractor) -> None:
    found, path = calibrate(), tmp_path / "kept" / FILE
    shutil.rmtree(tmp_path / "set")
    assert calibration(str(path), tmp_path, extractor).calibration == found.calibration
    with pytest.raises(CheckpointError, match="for the model 0123456789ab, and this is ffffffffffff: .*=utm_folder"):
        calibration(str(path), tmp_path, Extractor(extractor.model, "cpu", digest="f" * 64))
    with pytest.raises(CheckpointError, match="for the model 0123456789ab"):  # the same 8 digits
        calibrate(digest=MODEL[:8] + "f" * 56)


def test_a_set_that_has_changed_is_described_again(
    calibrate: Calibrate, tmp_path: Path, evaluations: list[str]
) -> None:
    calibrate()
    first = next((tmp_path / "set" / "queries").glob("*@0@.png"))
    first.rename(first.with_name("@990000.00@4000000.00@0@.png"))  # it was taken somewhere else
    assert calibrate().calibration.right < PLACES + ALONE and len(evaluations) == 2


def test_a_set_that_is_gone(calibrate: Calibrate, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = calibrate()
    shutil.rmtree(tmp_path / "set")
    with caplog.at_level(logging.WARNING, "vpr"):
        assert calibrate().calibration == found.calibration
    assert "The calibration that was made of it before is used." in caplog.text
    (tmp_path / "kept" / FILE).unlink()
    with pytest.raises(Exception) as raised:  # Hydra's, around ours
        calibrate()
    assert isinstance(raised.value.__cause__ or raised.value, DataAbsent)


def test_no_threshold_is_said(calibrate: Calibrate, tmp_path: Path) -> None:
    for photo in (tmp_path / "set" / "queries").iterdir():  # none where it was: all wrong
        photo.rename(photo.with_name(photo.name.replace("@4000000", "@4100000")))
    found = calibrate()
    assert not found.right.any() and found.calibration.threshold == np.inf
    assert "No threshold makes 95 % of its answers right: none is accepted." in found.message()
    assert calibrate().calibration == found.calibration  # written and read


def test_too_few_queries(calibrate: Calibrate, tmp_path: Path) -> None:
    for photo in sorted((tmp_path / "set" / "queries").iterdir())[19:]:
        photo.unlink()
    with pytest.raises(DataError, match="utm-folder@25m has 19 queries .* needs 20 or more"):
        calibrate()
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("toycitty", "calibrate=toycitty: there is no data set toycitty .* mean 'toycity'"),
        ("my_city", "calibrate=my_city: it has no evaluation set. Name one labelled set"),
        ("svox", "calibrate=svox: it holds svox_night, .* Name one labelled set"),
        ("image_folder", "calibrate=image_folder: dataset.eval.image_folder.root is not given"),
    ],
)
def test_sets_that_cannot_be_calibrated_on(name: str, message: str, tmp_path: Path, extractor: Extractor) -> None:
    with pytest.raises(ConfigError, match=message):
        calibration(name, tmp_path, extractor)


def test_no_share(calibrate: Calibrate) -> None:
    with pytest.raises(ConfigError, match="95 is not a share of accepted answers that should be right"):
        calibrate(precision=95)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', '{"format": 1}'])
def test_a_damaged_file_is_refused(text: str, calibrate: Calibrate, tmp_path: Path) -> None:
    path = tmp_path / "odd.json"
    path.write_text(text)
    with pytest.raises(CheckpointError, match="is damaged, or no calibration .* Delete it, and name a labelled set"):
        calibrate(str(path))


def test_a_file_with_half_its_evidence_or_none(calibrate: Calibrate, tmp_path: Path) -> None:
    calibrate()
    path = tmp_path / "kept" / FILE
    content = json.loads(path.read_text())
    for wrong in ({"right": []}, {"confidence": content["confidence"][1:]}, {"calibration": {}}):
        path.write_text(json.dumps(content | wrong))
        with pytest.raises(CheckpointError, match="is damaged"):
            calibrate()
    with pytest.raises(CheckpointError, match="there is no such file"):
        calibrate(str(tmp_path / "absent.json"))
