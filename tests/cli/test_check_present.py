"""Missing values and broken interpolations are named, with what to type."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from vpr.cli.checks import check_present
from vpr.errors import ConfigError


def test_missing_value_is_named_with_an_example() -> None:
    cfg = OmegaConf.create({"ckpt": "???"})
    with pytest.raises(ConfigError, match=r"^ckpt: no value given.*ckpt=runs/x/best.ckpt"):
        check_present(cfg)


def test_the_missing_value_is_named_not_what_points_to_it() -> None:
    cfg = OmegaConf.create({"eval": {"root": "${data.root}"}, "list": [{"k": 1}], "data": {"root": "???"}})
    with pytest.raises(ConfigError, match=r"^data.root: no value given"):
        check_present(cfg)


def test_interpolation_that_leads_nowhere() -> None:
    cfg = OmegaConf.create({"a": [{"b": "${nowhere}"}]})
    with pytest.raises(ConfigError, match=r"^a.0.b: .*nowhere"):
        check_present(cfg)


def test_unset_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VPR_NOT_SET", raising=False)
    with pytest.raises(ConfigError, match=r"^root: .*VPR_NOT_SET.*root=VALUE"):
        check_present(OmegaConf.create({"root": "${oc.env:VPR_NOT_SET}"}))


def test_complete_configuration_passes() -> None:
    check_present(OmegaConf.create({"a": {"b": 1}, "c": "${a.b}", "d": None, "e": []}))
