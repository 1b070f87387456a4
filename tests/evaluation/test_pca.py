"""`evaluate.py pca.dim=...`: fitted once to training photos, kept beside the checkpoint, never another model's."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf, open_dict

from vpr import checkpoint
from vpr.catalog.resolve import evaluation_sets, training_images
from vpr.cli.compose import compose
from vpr.cli.rules import check_rules
from vpr.data.geotagged import GeotaggedImages
from vpr.data.retrieval_set import ImageDataset, RetrievalSet, collate_images
from vpr.data.tuples import WeakSet
from vpr.errors import CheckpointError, ConfigError, DataAbsent
from vpr.evaluation.pca import with_pca
from vpr.models.describer import build_describer
from vpr.retrieval.extractor import Extractor
from vpr.retrieval.pca import PCA, read_origin
from vpr.types import Features

Evaluate = Callable[[Sequence[str]], DictConfig]
PARTS = {
    "backbone": {
        "_target_": "vpr.models.backbones.resnet.ResNet",
        **{"name": "resnet18", "weights": "none", "crop": [4]},
    },
    "agg": {"_target_": "vpr.models.aggregators.gem.GeM"},
}


def save(path: Path, seed: int, **config: object) -> Path:
    """Write a model of 256-d descriptors at 48x48 pixels."""
    torch.manual_seed(seed)
    checkpoint.save(path, build_describer(**PARTS, image={"size": [48, 48]}), PARTS | config)
    return path


@pytest.fixture
def ckpt(tmp_path: Path) -> Path:
    return save(tmp_path / "best.ckpt", 1, name="big", dataset={"train": {"tiny": {}}})


@pytest.fixture
def typed(photos: Path, ckpt: Path) -> Evaluate:
    """Compose `evaluate.py ckpt=... dataset=tiny` on `photos`, with more overrides."""

    def make(overrides: Sequence[str] = ()) -> DictConfig:
        cfg = compose("evaluate", [f"ckpt={ckpt}", "num_workers=0", f"paths.data={photos}", *overrides])
        reader = "vpr.data.formats"
        with open_dict(cfg):
            cfg.dataset = OmegaConf.create(
                {
                    "train": {"tiny": {"_target_": f"{reader}.place_lists.read_folder", "root": f"{photos}/train"}},
                    "eval": {
                        "tiny": {
                            "_target_": f"{reader}.pairs.read",
                            "root": str(photos),
                            "protocol": {"_target_": "vpr.types.Protocol", "id": "tiny@0f"},
                            **{"database": "database", "queries": "queries", "tolerance": 0},
                        }
                    },
                }
            )
        return cfg

    return make


def run(cfg: DictConfig) -> tuple[dict, dict[str, RetrievalSet]]:
    """Return the content of the checkpoint that the model with PCA would be, and its sets."""
    check_rules(cfg)
    extractor, sets = with_pca(cfg, Extractor.load(cfg.ckpt, "cpu"), evaluation_sets(cfg.dataset))
    return extractor.content(), sets


def described(content: dict, paths: Sequence[Path]) -> torch.Tensor:
    model = checkpoint.unpack(content)
    images, _, _ = collate_images([ImageDataset(paths, model.preprocess)[row] for row in range(len(paths))])
    with torch.no_grad():
        return model(model.normalise(images))


def test_without_it_nothing_changes(typed: Evaluate, tmp_path: Path) -> None:
    content, sets = run(typed([]))
    assert [s.protocol.id for s in sets.values()] == ["tiny@0f"] and checkpoint.unpack(content).dim == 256
    assert not list(tmp_path.glob("*.h5"))


def test_whitened_descriptors(typed: Evaluate, tmp_path: Path, photos: Path) -> None:
    content, sets = run(typed(["pca.dim=16"]))
    assert sets["tiny"].protocol.id == "tiny@0f[whitened-16]"
    assert content["config"]["name"] == "big-pca16"
    # By definition: with numpy's own decomposition of the training photos' descriptors.
    train = sorted((photos / "train").rglob("*.jpg"))
    rows = described(checkpoint.read(tmp_path / "best.ckpt"), train).double().numpy()
    centred = rows - rows.mean(0)
    _, values, directions = np.linalg.svd(centred, full_matrices=False)
    white = centred @ directions[:16].T / values[:16] * 47**0.5
    white /= np.linalg.norm(white, axis=1, keepdims=True)
    found = described(content, train).numpy()
    np.testing.assert_allclose(found @ found.T, white @ white.T, atol=1e-4)
    # The published layout, and where it comes from.
    path = tmp_path / "pca_params_best.h5"
    with h5py.File(path) as file:
        assert {name: file[name].shape for name in file} == {
            **{"U": (256, 16), "lams": (16,), "mu": (256, 1), "Utmu": (16, 1)}
        }
    origin = read_origin(path)
    assert origin["model"] == checkpoint.digest(checkpoint.read(tmp_path / "best.ckpt"))
    assert (origin["dataset"], origin["samples"], origin["seed"]) == ("tiny", 10_000, 0)


def test_without_whitening_it_only_turns(typed: Evaluate, tmp_path: Path, photos: Path) -> None:
    content, sets = run(typed(["pca.dim=47", "pca.whiten=false"]))
    assert sets["tiny"].protocol.id == "tiny@0f[pca-47]"
    train = sorted((photos / "train").rglob("*.jpg"))  # 47 directions hold all of 48 photos
    rows = described(checkpoint.read(tmp_path / "best.ckpt"), train)
    centred = torch.nn.functional.normalize(rows - rows.mean(0))
    found = described(content, train)
    torch.testing.assert_close(found @ found.T, centred @ centred.T, atol=1e-4, rtol=0)


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of components, one for each fit."""
    dims: list[int] = []
    of_images = PCA.of_images

    def watched(*args, **options):  # type: ignore[no-untyped-def]
        dims.append(args[2])
        return of_images(*args, **options)

    monkeypatch.setattr(PCA, "of_images", watched)
    return dims


def test_fitted_once_for_all_that_it_can_give(typed: Evaluate, fitted: list[int]) -> None:
    first, _ = run(typed(["pca.dim=12"]))
    again, _ = run(typed(["pca.dim=12"]))
    assert fitted == [12] and checkpoint.digest(first) == checkpoint.digest(again)
    fewer, _ = run(typed(["pca.dim=5", "pca.whiten=false"]))
    assert fitted == [12] and checkpoint.unpack(fewer).dim == 5
    run(typed(["pca.dim=13"]))
    assert fitted == [12, 13]


def test_that_of_another_model_is_replaced_and_says_so(
    typed: Evaluate, fitted: list[int], ckpt: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(typed(["pca.dim=8"]))
    save(ckpt, 2, dataset={"train": {"tiny": {}}})  # trained again in the same folder
    with caplog.at_level(logging.WARNING, "vpr"):
        run(typed(["pca.dim=8"]))
    assert len(fitted) == 2 and "was fitted with other model: it is replaced" in caplog.text
    run(typed(["pca.dim=8", "pca.seed=1"]))
    run(typed(["pca.dim=8", "pca.seed=1", "pca.samples=20"]))
    assert len(fitted) == 4 and "other samples" in caplog.text
    run(typed(["pca.dim=8", "pca.seed=1", "pca.samples=20"]))
    assert len(fitted) == 4


def test_other_photos_of_the_same_name(typed: Evaluate, fitted: list[int], tmp_path: Path, photos: Path) -> None:
    run(typed(["pca.dim=8"]))
    cfg = typed(["pca.dim=8"])
    with open_dict(cfg):
        cfg.dataset.train.tiny.min_images_per_place = 3
    run(cfg)
    assert len(fitted) == 1  # all places have four
    (tmp_path / "some").mkdir()
    for place in sorted((photos / "train").iterdir())[:6]:
        (tmp_path / "some" / place.name).symlink_to(place)
    cfg.dataset.train.tiny.root = str(tmp_path / "some")
    run(cfg)
    assert len(fitted) == 2


def test_a_file_of_others_is_used_when_it_is_given(typed: Evaluate, tmp_path: Path) -> None:
    ours, _ = run(typed(["pca.dim=8"]))
    kept, theirs = tmp_path / "pca_params_best.h5", tmp_path / "theirs=1.h5"
    with h5py.File(kept, "r+") as file:
        file.attrs.clear()
    with pytest.raises(ConfigError, match="does not say of which model it is, and was not used. Type pca.file="):
        run(typed(["pca.dim=8"]))
    kept.rename(theirs)
    found, sets = run(typed([f"pca.file='{theirs}'"]))  # all of its components
    assert checkpoint.digest(found) == checkpoint.digest(ours) and sets["tiny"].protocol.id.endswith("[whitened-8]")
    assert checkpoint.unpack(run(typed([f"pca.file='{theirs}'", "pca.dim=3"]))[0]).dim == 3
    with pytest.raises(ConfigError, match="pca.dim=9: .* has 8 components. Type pca.dim=8"):
        run(typed([f"pca.file='{theirs}'", "pca.dim=9"]))
    with pytest.raises(CheckpointError, match="no such file"):
        run(typed(["pca.file=none.h5"]))


def test_a_given_file_of_another_model_is_refused(typed: Evaluate, tmp_path: Path, ckpt: Path) -> None:
    run(typed(["pca.dim=8"]))
    save(ckpt, 2)
    with pytest.raises(ConfigError, match="is of another model than ckpt="):
        run(typed([f"pca.file={tmp_path}/pca_params_best.h5"]))
    pca = PCA.read(tmp_path / "pca_params_best.h5")
    PCA(pca.mean[:8], torch.eye(8), pca.variances).write(tmp_path / "theirs.h5", {})
    with pytest.raises(ConfigError, match="of an unknown one with descriptors of 8 numbers"):
        run(typed([f"pca.file={tmp_path}/theirs.h5"]))


def test_saved_as_a_checkpoint(typed: Evaluate, tmp_path: Path, photos: Path) -> None:
    content, _ = run(typed(["pca.dim=8", f"pca.save={tmp_path}/small.ckpt"]))
    model = checkpoint.load(tmp_path / "small.ckpt")
    paths = sorted((photos / "queries").iterdir())
    assert model.dim == 8
    kept = checkpoint.read(tmp_path / "small.ckpt")
    torch.testing.assert_close(described(kept, paths), described(content, paths))
    assert kept["config"]["pca"]["dataset"] == "tiny" and kept["config"]["pca"]["whiten"] is True


def test_half_precision_whitens_in_float32(typed: Evaluate, photos: Path) -> None:
    content, _ = run(typed(["pca.dim=8"]))
    layer = checkpoint.unpack(content).aggregator
    layer.aggregator.forward = lambda features: features.map  # descriptors as they are
    rows = torch.nn.functional.normalize(torch.rand(4, 256))
    expected = layer(Features(rows))
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(layer(Features(rows)), expected)


def test_which_photos_it_is_fitted_to(typed: Evaluate, tmp_path: Path) -> None:
    save(tmp_path / "best.ckpt", 1)
    with pytest.raises(ConfigError, match="does not say on what it was trained.*pca.dataset=pitts30k_train"):
        run(typed(["pca.dim=8"]))
    run(typed(["pca.dim=8", "pca.dataset=tiny"]))
    assert read_origin(tmp_path / "pca_params_best.h5")["dataset"] == "tiny"
    with pytest.raises(ConfigError, match="there is no data set nowhere in conf/dataset. Name one"):
        run(typed(["pca.dim=8", "pca.dataset=nowhere"]))
    with pytest.raises(ConfigError, match="pitts30k: it has no training images. Type pca.dataset=pitts30k_train"):
        run(typed(["pca.dim=8", "pca.dataset=pitts30k"]))
    with pytest.raises(DataAbsent, match="pitts30k_train.mat"):
        run(typed(["pca.dim=8", "pca.dataset=pitts30k_train"]))


def test_what_was_fitted_before_is_named_where_the_photos_are_gone(typed: Evaluate, tmp_path: Path) -> None:
    run(typed(["pca.dim=8"]))
    cfg = typed(["pca.dim=8"])
    cfg.dataset.train.tiny.root = str(tmp_path / "gone")
    with pytest.raises(DataAbsent, match=rf"type pca.file={tmp_path}/pca_params_best.h5"):
        run(cfg)


def test_too_many_dimensions(typed: Evaluate, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="PCA to 48 dimensions: 48 descriptors of 256 numbers give 47 at most"):
        run(typed(["pca.dim=48"]))
    with pytest.raises(ConfigError, match="20 descriptors of 256 numbers give 19 at most"):
        run(typed(["pca.dim=20", "pca.samples=20"]))
    assert not list(tmp_path.glob("*.h5"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["pca.dim=0"], "pca.dim=0: the least is 1"),
        (["pca.save=x.ckpt"], "pca.save=x.ckpt without pca.dim"),
        (["pca.dataset=tiny"], "pca.dataset=tiny without pca.dim"),
        (["pca.whiten=false"], "pca.whiten=False without pca.dim"),
        (["pca.samples=500"], "pca.samples=500 without pca.dim"),
        (["pca.dim=8", "gallery_ckpt=x.ckpt"], "components are those of one model"),
        (["pca.file=x.h5", "pca.dataset=tiny"], "a file has been fitted already"),
        (["pca.file=x.h5", "pca.samples=500"], "a file has been fitted already"),
    ],
)
def test_rules(typed: Evaluate, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_rules(typed(overrides))


def test_all_photos_with_positions(typed: Evaluate, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gallery and queries of a weakly labelled set, one that is both only once, and not the places made of them."""

    def some(*files: str) -> GeotaggedImages:
        n = len(files)
        return GeotaggedImages("x", photos, files, np.zeros((n, 2)), np.zeros(n), np.zeros(n, np.int64))

    weak = WeakSet(some("q.jpg", "b.jpg"), some("a.jpg", "b.jpg"), [], [], np.zeros(2), np.zeros(2))
    monkeypatch.setattr("vpr.catalog.resolve.read_entry", lambda node, key: {"dataset.weak.tiny": weak}[key])
    cfg = typed([])
    with open_dict(cfg):
        cfg.dataset.weak = {"tiny": {"_target_": "read"}}
    found = training_images(["tiny"], cfg, "pca.dataset")
    assert [path.name for path in found] == ["a.jpg", "b.jpg", "q.jpg"]


def test_components_are_kept_in_float32(typed: Evaluate, tmp_path: Path) -> None:
    run(typed(["pca.dim=4"]))
    pca = PCA.read(tmp_path / "pca_params_best.h5")
    assert {part.dtype for part in (pca.mean, pca.basis, pca.variances)} == {torch.float32}
