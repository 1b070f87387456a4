"""Checkpoints: what is saved comes back; everything else is refused with a message and executes nothing."""

from __future__ import annotations

import errno
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import get_object
from omegaconf import OmegaConf
from torch import nn

import vpr
from vpr import checkpoint
from vpr.errors import CheckpointError, DiskError
from vpr.evaluation.remeasure import remeasure
from vpr.interop.mixvpr import convert
from vpr.models import weights
from vpr.models.describer import build_describer
from vpr.retrieval.pca import PCA

CONFIG = {
    "backbone": {
        "_target_": "vpr.models.backbones.mobilenet_v2.MobileNetV2",
        "name": "mobilenet_v2",
        "weights": "none",
    },
    "agg": {"_target_": "vpr.models.aggregators.gem.GeM", "_partial_": True, "p": 3.0},
    "image": {"size": [64, 96], "interpolation": "bicubic"},
    "seed": 1,
}
METRICS = {"toycity@25m": {"R@1": 0.5}}


@pytest.fixture(scope="module")
def describer():
    return build_describer(CONFIG["backbone"], CONFIG["agg"], CONFIG["image"]).eval()


@pytest.fixture
def path(tmp_path, describer) -> Path:
    target = tmp_path / "epoch=3 R1[0.91] channels(1024).ckpt"
    checkpoint.save(target, describer, CONFIG, METRICS)
    return target


def rewrite(path: Path, change) -> Path:
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    return path


def test_what_is_saved_comes_back(path, describer):
    loaded = vpr.load(str(path))
    images = torch.randn(2, 3, 64, 96)
    assert torch.equal(loaded(images), describer(images))
    assert loaded.preprocess == describer.preprocess
    assert not any(module.training for module in loaded.modules())
    content = checkpoint.read(path)
    assert set(content) == {"format", "config", "weights", "preprocess", "metrics", "versions"}
    assert content["config"] == CONFIG
    assert content["metrics"] == METRICS
    assert content["versions"]["vpr"] == vpr.__version__


def test_digests_of_the_training_images_travel_with_it(path, tmp_path, describer):
    digests = np.array([-5, 3, 2**62], np.int64)
    checkpoint.save(tmp_path / "a.ckpt", describer, CONFIG, METRICS, digests)
    plain, content = checkpoint.read(path), checkpoint.read(tmp_path / "a.ckpt")
    assert checkpoint.training_images(content).tolist() == digests.tolist()
    assert checkpoint.training_images(plain).shape == checkpoint.training_images(None).shape == (0,)
    assert checkpoint.digest(content) == checkpoint.digest(plain)
    projected = PCA(torch.zeros(4), torch.eye(4)[:, :2], torch.ones(2)).projection().behind(content)
    assert checkpoint.training_images(projected).tolist() == digests.tolist()


@pytest.mark.parametrize("images", [[1, 2], "x", None, torch.tensor([1.5]), torch.tensor(7)])
def test_damaged_digests_are_refused(path, images):
    with pytest.raises(CheckpointError, match="its entry images is not what it should be"):
        checkpoint.read(rewrite(path, lambda content: content.update(images=images)))


def test_loading_never_downloads_and_freezes_without_a_warning(tmp_path, monkeypatch, caplog):
    def refuse(*_args, **_options):
        raise AssertionError("tried to download")

    monkeypatch.setattr(weights, "_fetch", refuse)
    options = {"name": "resnet18", "crop": [3, 4], "freeze": 1}
    target = "vpr.models.backbones.resnet.ResNet"
    made = build_describer({"_target_": target, **options, "weights": "checkpoint"}, CONFIG["agg"], CONFIG["image"])
    config = {**CONFIG, "backbone": {"_target_": target, **options, "weights": "default"}}
    checkpoint.save(tmp_path / "a.ckpt", made, config)
    loaded = checkpoint.load(tmp_path / "a.ckpt")
    assert {n for n, p in loaded.named_parameters() if p.requires_grad} == {
        n for n, p in made.named_parameters() if p.requires_grad
    }
    assert not loaded.backbone.model.conv1.weight.requires_grad
    assert caplog.text == ""


def test_compiled_models_are_saved_under_plain_names(tmp_path, describer):
    checkpoint.save(tmp_path / "a.ckpt", torch.compile(describer), CONFIG)
    assert checkpoint.read(tmp_path / "a.ckpt")["weights"].keys() == describer.state_dict().keys()


def test_a_training_checkpoint_is_read_too(tmp_path, describer):
    last = {"epoch": 3, "state_dict": {}, "describer": checkpoint.pack(describer, CONFIG)}
    torch.save(last, tmp_path / "last.ckpt")
    images = torch.randn(1, 3, 64, 96)
    assert torch.equal(checkpoint.load(tmp_path / "last.ckpt")(images), describer(images))


def test_saving_replaces_a_file_completely_or_not_at_all(path, describer, monkeypatch):
    before = path.read_bytes()

    def fill_disk(_content, file):
        Path(file).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint.torch, "save", fill_disk)
    with pytest.raises(DiskError, match="the disk is full"):
        checkpoint.save(path, describer, CONFIG)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({**CONFIG, "extra": OmegaConf.create({"a": 1})}, "config.extra is a DictConfig"),
        ({**CONFIG, "paths": [Path("x")]}, r"config.paths\[0\] is a \w*Path"),
    ],
)
def test_only_plain_containers_are_saved(tmp_path, describer, config, says):
    with pytest.raises(CheckpointError, match=says):
        checkpoint.save(tmp_path / "a.ckpt", describer, config)
    assert list(tmp_path.iterdir()) == []


def test_missing_folder_and_empty_files(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        checkpoint.load(tmp_path / "none.ckpt")
    with pytest.raises(CheckpointError, match="is a folder"):
        checkpoint.load(tmp_path)
    (tmp_path / "empty.ckpt").touch()
    with pytest.raises(CheckpointError, match="0 bytes"):
        checkpoint.load(tmp_path / "empty.ckpt")


@pytest.mark.parametrize("part", [0.001, 0.5, 0.99])
def test_truncated_files(path, part):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.load(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_file_with_wrong_bytes_is_read_or_refused(tmp_path, zipped):
    content = {"format": 1, "config": {"backbone": {"name": "x"}, "agg": {}}, "weights": {"w": torch.arange(4.0)}}
    whole, file = tmp_path / "whole.ckpt", tmp_path / "mutated.ckpt"
    torch.save(
        {**content, "preprocess": {}, "metrics": {}, "versions": {}}, whole, _use_new_zipfile_serialization=zipped
    )
    rng, refused = random.Random(0), 0
    for _ in range(300):  # of these, torch's reader meets some with IndexError, AssertionError and TypeError
        mutated = bytearray(whole.read_bytes())
        for _ in range(rng.randint(1, 4)):
            mutated[rng.randrange(len(mutated))] = rng.randrange(256)
        file.write_bytes(mutated)
        try:
            checkpoint.digest(checkpoint.read(file))
        except CheckpointError as error:
            refused += 1
            assert str(file) in str(error)
        with pytest.raises(CheckpointError):
            convert(file)
    assert refused > 50


def test_text_is_no_checkpoint(tmp_path):
    (tmp_path / "a.ckpt").write_text("<html>404 not found</html>")
    with pytest.raises(CheckpointError, match="damaged or not a checkpoint"):
        checkpoint.load(tmp_path / "a.ckpt")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"a.weight": torch.zeros(2)}, "a bare state dict of 1 tensors"),
        ({"epoch": 1, "state_dict": {}, "pytorch-lightning_version": "1.8.3"}, "a Lightning checkpoint"),
        ({"epoch": 1, "generation": 2}, "a dict with epoch, generation"),
        (torch.zeros(3), "a Tensor"),
    ],
)
def test_files_from_elsewhere_point_to_the_importer(tmp_path, content, says):
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match=f"{says}.*python -m vpr.interop PATH out.ckpt"):
        checkpoint.load(tmp_path / "a.ckpt")


@pytest.mark.filterwarnings("ignore:Validating sparse tensor")
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c.update(format=2), "has format 2; vpr .* reads format 1"),
        (lambda c: c.update(format=torch.tensor([1, 1])), r"has format tensor\(\[1, 1\]\)"),
        (lambda c: c["weights"].update({3: torch.zeros(1)}), "entry 3 is not what"),
        (lambda c: c["config"].update(seed=torch.zeros(1)), "damaged: config.seed is a Tensor"),
        (
            lambda c: c["weights"].update({"aggregator.pool.p": torch.zeros(1).to_sparse()}),
            "damaged: its weights cannot be used",
        ),
        (lambda c: c.pop("preprocess"), "lacks the entries preprocess"),
        (lambda c: c.update(weights=[1]), "entry weights is not what"),
        (lambda c: c["weights"].update({"aggregator.pool.p": 3.0}), "entry aggregator.pool.p is not what"),
        (
            lambda c: c["weights"].pop("aggregator.pool.p"),
            r"it lacks aggregator.pool.p\. Written with .*torch.*read with",
        ),
        (lambda c: c["weights"].update(more=torch.zeros(1)), "it has more, which the model has not"),
        (
            lambda c: c["weights"].update({"aggregator.pool.p": torch.zeros(2)}),
            r"aggregator.pool.p of shape \(2,\), the model \(1,\)",
        ),
        (lambda c: c["config"].pop("agg"), "cannot be built: 'agg'"),
        (lambda c: c["config"]["agg"].update(p="three"), "cannot be built"),
        (lambda c: c["config"]["agg"].update(_target_="os.system"), "only networks of vpr.models"),
        (lambda c: c["config"]["backbone"].update(_target_="torch.nn.Linear"), "only networks of vpr.models"),
        (lambda c: c["preprocess"].update(size="big"), "image.size=big"),
    ],
)
def test_contents_that_do_not_fit(path, change, says):
    with pytest.raises(CheckpointError, match=says):
        checkpoint.load(rewrite(path, change))


class Trap:
    def __reduce__(self):
        return Path.touch, (Path("executed"),)


@pytest.mark.parametrize("way", ["in the config", "in the weights", "plain pickle"])
def test_a_pickle_executes_nothing(path, monkeypatch, way):
    monkeypatch.chdir(path.parent)
    if way == "plain pickle":
        path.write_bytes(pickle.dumps(Trap(), protocol=2))
    else:
        part = "config" if way == "in the config" else "weights"
        rewrite(path, lambda content: content[part].update(trap=Trap()))
    with pytest.raises(CheckpointError, match=r"objects (\(\w+\) )?that would have to be executed|damaged"):
        checkpoint.load(path)
    assert not Path("executed").exists()


def test_the_digest_follows_what_decides_the_descriptors(describer):
    def digest_of(model: nn.Module, config: dict) -> str:
        return checkpoint.digest(checkpoint.pack(model, config))

    first = digest_of(describer, CONFIG)
    assert first == digest_of(
        describer, {**CONFIG, "seed": 2, "backbone": {**CONFIG["backbone"], "weights": "default"}}
    )
    assert first != digest_of(describer, {**CONFIG, "agg": {**CONFIG["agg"], "eps": 1e-3}})
    other = build_describer(CONFIG["backbone"], CONFIG["agg"], CONFIG["image"])
    assert first != digest_of(other, CONFIG)


# What stood as `_target_` in conf/ before the modules moved: stored configs name these for ever.
OLD_TARGETS = (Path(__file__).parent / "old_targets.txt").read_text().split()


@pytest.mark.parametrize("target", OLD_TARGETS)
def test_a_name_in_an_old_config_is_found_where_the_thing_is_now(target: str) -> None:
    new = checkpoint.moved(target)
    assert callable(get_object(new)), new
    assert checkpoint.moved(new) == new


@pytest.mark.parametrize(("old", "new"), checkpoint.MOVED.items())
def test_what_has_moved_is_not_in_both_places(old: str, new: str) -> None:
    assert get_object(new) is not None
    with pytest.raises(ImportError):
        get_object(old)


def test_names_in_stored_configs_follow_at_any_depth() -> None:
    stored = {"_target_": "vpr.config.sweep.Sweep", "a": [{"_target_": "vpr.data.weak.read", "b": "vpr.data.weak"}]}
    assert checkpoint.with_moved_targets(stored) == {
        "_target_": "vpr.cli.sweeps.multirun.Sweep",
        "a": [{"_target_": "vpr.data.tuples.read", "b": "vpr.data.weak"}],
    }
    assert checkpoint.moved("vpr.data.weaker.read") == "vpr.data.weaker.read"


def test_a_checkpoint_with_old_names_is_evaluated_again(tmp_path: Path, describer: nn.Module) -> None:
    drawn = {"_target_": "vpr.data.toycity.dataset.test_set", "root": str(tmp_path), "database": 12, "queries": 4}
    loss = {"_target_": "vpr.losses.mined.MinedLoss"}
    packed = checkpoint.pack(describer, CONFIG | {"loss": loss, "dataset": {"eval": {"toycity": drawn}}})
    torch.save(packed, tmp_path / "best.ckpt")
    torch.save({"position": {}, "describer": packed}, tmp_path / "last.ckpt")
    for name in ("best.ckpt", "last.ckpt"):
        assert checkpoint.read(tmp_path / name)["config"]["loss"] == {"_target_": "vpr.losses.pairs.MinedLoss"}
        (result,) = remeasure(tmp_path / name, "cpu").values()
        assert (result.counts["database"], result.counts["queries"]) == (12, 4)
