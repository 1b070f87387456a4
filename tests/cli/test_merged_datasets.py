"""Merged data sets: what one of them says holds for its own sets alone."""

from __future__ import annotations

import re

import pytest
from omegaconf import OmegaConf

from vpr.cli.checks import check_present
from vpr.cli.compose import compose
from vpr.cli.datasets import random_weights_ok
from vpr.cli.rules import check_rules
from vpr.errors import ConfigError


@pytest.mark.parametrize(
    ("dataset", "ok"),
    [
        ("toycity", True),
        ("gsv_cities", False),
        ("[gsv_cities,toycity]", False),
        ("[toycity,gsv_cities]", False),
        ("[toycity,pitts30k_val]", False),
    ],
)
def test_random_weights_are_for_the_drawn_city_alone(dataset: str, ok: bool) -> None:
    assert random_weights_ok(compose("train", [f"dataset={dataset}"]).dataset) is ok


def test_random_weights_need_a_set_that_says_so() -> None:
    assert not random_weights_ok(OmegaConf.create({"random_weights_ok": {"toycity": True}}))
    assert not random_weights_ok(OmegaConf.create({"eval": {"a": {}}, "random_weights_ok": {"a": False}}))


@pytest.mark.parametrize(
    ("dataset", "size"),
    [
        ("toycity", [128, 160]),
        ("[toycity,msls_val]", [128, 160]),  # evaluation sets have no say
        ("[msls_val,toycity]", [128, 160]),
        ("[nordland_mini,sped_thumbs,gardens_point]", [224, 224]),
    ],
)
def test_training_sets_give_the_size(dataset: str, size: list[int]) -> None:
    cfg = compose("train", [f"dataset={dataset}"])
    assert cfg.image.size == size
    check_rules(cfg)


def test_training_sets_of_different_sizes_need_one_from_the_user() -> None:
    cfg = compose("train", ["dataset=[gsv_cities,camvid]"])
    check_present(cfg)
    message = "different sizes (gsv_cities [320, 320], camvid [224, 224]). Type for example 'image.size=[320,320]'"
    with pytest.raises(ConfigError, match=re.escape(message)):
        check_rules(cfg)
    check_rules(compose("train", ["dataset=[gsv_cities,camvid]", "image.size=[224,224]"]))


@pytest.mark.parametrize("size", [None, [320, 320]])
def test_a_training_set_that_does_not_give_its_size_by_name(size: list[int] | None) -> None:
    cfg = compose("train", ["dataset=camvid"])
    cfg.dataset.image_size = size
    check_present(cfg)
    with pytest.raises(ConfigError, match=r"^image.size: the training sets \(camvid\) name no dataset.image_size: \{"):
        check_rules(cfg)
