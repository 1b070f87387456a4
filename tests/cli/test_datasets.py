"""Data sets of conf/dataset, each composed by itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from vpr.cli import datasets
from vpr.cli.compose import CONF
from vpr.cli.datasets import data_sets, dataset_names
from vpr.errors import ConfigError


def test_each_entry_stands_once_under_the_set_of_its_name() -> None:
    names = ["gsv_cities", "pitts30k_val", "gardens_point", "gardens_point_split"]
    assert [entry[:3] for entry in data_sets(names).entries] == [
        ("gsv_cities", "train", "gsv_cities"),  # its pitts30k_val is the next
        ("pitts30k_val", "eval", "pitts30k_val"),
        ("gardens_point", "eval", "gardens_point"),
        ("gardens_point_split", "train", "gardens_point"),
        ("gardens_point_split", "eval", "gardens_point_split"),
    ]
    by_itself = data_sets(["gsv_cities"]).entries
    assert [entry.key for entry in by_itself] == ["dataset.train.gsv_cities", "dataset.eval.pitts30k_val"]


def test_a_set_that_has_no_entry_of_its_own_is_a_collection() -> None:
    sets = data_sets(["svox", "svox_sun", "svox_rain", "svox_night", "svox_snow", "svox_overcast"])
    assert [entry.dataset for entry in sets.entries] == [
        *("svox_sun", "svox_rain", "svox_night", "svox_snow", "svox_overcast")
    ]
    assert set(sets.collections) == {"svox"}
    assert sorted(sets.collections["svox"]) == ["svox_night", "svox_overcast", "svox_rain", "svox_snow", "svox_sun"]
    assert {entry.dataset for entry in data_sets(["svox"]).entries} == {"svox"}


def test_overrides_go_where_they_fit() -> None:
    sets = data_sets(
        ["pitts30k", "camvid"],
        ["paths.data=/a b", "dataset.eval.pitts30k.root=/disk/x=(1),y", "dataset.on_bad_image=skip"],
    )
    pitts, camvid = sets.entries
    assert sets.folder == "/a b"
    assert (pitts.node.root, pitts.node.missing, camvid.node.root) == ("/disk/x=(1),y", "skip", "/a b/camvid")


@pytest.mark.parametrize(
    ("names", "override", "says"),
    [
        (["mlsl_val"], "seed=1", "dataset=mlsl_val: there is no such data set. Did you mean 'msls_val'?"),
        (["pitts30k"], "dataset.eval.pitts300.root=x", "none of these data sets has dataset.eval.pitts300"),
        (["pitts30k"], "dataset.eval.pitts30k.rooot=x", "Did you mean 'root'?"),
        (["pitts30k"], "path.data=x", "Did you mean 'paths'?"),
        (["pitts30k"], "seed==1", "Error parsing override 'seed==1'"),
    ],
)
def test_what_fits_nowhere_is_said(names: list[str], override: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        data_sets(names, [override])
    assert says in str(caught.value)


def test_a_file_that_cannot_be_composed_does_not_end_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(CONF, tmp_path / "conf")
    (tmp_path / "conf" / "dataset" / "camera.yaml").write_text("eval: {camera: [\n")
    (tmp_path / "conf" / "dataset" / "camfar.yaml").write_text("defaults: [camvod, _self_]\n")
    monkeypatch.setattr(datasets, "CONF", tmp_path / "conf")
    assert "camera" in dataset_names()
    camera, camfar, camvid = data_sets(["camera", "camfar", "camvid"]).entries
    assert "camera.yaml" in camera.error and camera.part == ""
    assert "'dataset/camvod'" in camfar.error and "Did you mean 'camvid'?" in camfar.error
    assert (camvid.key, camvid.error) == ("dataset.train.camvid", "")


def test_inside_a_job_its_own_hydra_is_back_afterwards() -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        before = GlobalHydra.instance().hydra
        assert [
            entry.key for entry in data_sets(["gsv_cities"], ["paths.data=/a (b)"]).entries if entry.part == "train"
        ]
        assert GlobalHydra.instance().hydra is before is not None
    assert not GlobalHydra.instance().is_initialized()
