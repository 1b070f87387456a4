"""Messages of readers name their settings as they are typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from vpr.catalog.resolve import training_images, training_places
from vpr.cli.compose import compose
from vpr.errors import ConfigError, DataError


def test_a_reader_s_settings_have_their_whole_key(tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / f"{number}.jpg").write_bytes(b"x")
    (tmp_path / "a.csv").write_text("path,lat,lon\n0.jpg,1,2\n1.jpg,1,2\n")
    words = [f"dataset.train.my_city.photos.root={tmp_path}", "dataset.train.my_city.photos.csv=a.csv"]
    cfg = compose("train", ["dataset=my_city", *words, "dataset.train.my_city.cell=0"])
    with pytest.raises(ConfigError, match=r"dataset\.train\.my_city\.cell=0, dataset\.train\.my_city\.angle=60"):
        training_places(cfg.dataset)
    cfg = compose("train", ["dataset=my_city", *words])
    with pytest.raises(
        DataError, match=r"no place has 4 images .* type dataset\.train\.my_city\.min_images_per_place=2"
    ):
        training_places(cfg.dataset)


def test_a_set_of_the_user_s_own_says_where_its_root_is_typed() -> None:
    cfg = compose("train", ["dataset=toycity"])
    with pytest.raises(
        ConfigError, match=r"pca\.dataset=places_folder: dataset\.train\.places_folder\.root is not given"
    ):
        training_images(["places_folder"], cfg, "pca.dataset")
