"""Published models as teachers: what the ready settings say, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from vpr.cli.checks import check_targets
from vpr.cli.compose import CONF, compose
from vpr.cli.rules import check_rules
from vpr.distill.hub import HubModel
from vpr.errors import ConfigError

PRESETS = sorted(path.stem for path in (CONF / "distillation/teacher").glob("*.yaml") if "\nhub:\n" in path.read_text())


def test_there_are_five() -> None:
    assert PRESETS == ["boq_hub", "cosplace_hub", "eigenplaces_hub", "megaloc_hub", "salad_hub"]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_complete(name: str) -> None:
    cfg = compose("train", ["distillation=similarity", f"distillation/teacher={name}"])
    check_rules(cfg)
    check_targets(cfg)
    source = HubModel.of(OmegaConf.to_container(cfg.distillation.teacher.hub))  # type: ignore[arg-type]
    dinov2 = name in ("boq_hub", "megaloc_hub", "salad_hub")
    assert not any(side % 14 for side in source.size) or not dinov2
    assert (source.output is not None) == (name == "boq_hub")
    assert "Executes the code" in Path(CONF / f"distillation/teacher/{name}.yaml").read_text()


def test_a_clone_instead_of_github() -> None:
    options = ["distillation=rkd", "distillation/teacher=boq_hub", "distillation.teacher.hub.repo=/clones/boq"]
    hub = compose("train", options).distillation.teacher.hub
    assert hub.repo == "/clones/boq" and hub.args.output_dim == 12288 and hub.interpolation == "bicubic"


def test_one_kind_of_teacher() -> None:
    overrides = ["distillation=rkd", "distillation/teacher=salad_hub", "distillation.teacher.ckpt=a.ckpt"]
    with pytest.raises(ConfigError, match="has a ckpt and a hub, and can be only one"):
        check_rules(compose("train", overrides))


def test_none_has_no_teacher() -> None:
    with pytest.raises(ConfigError, match="distillation=none has a teacher"):
        check_rules(compose("train", ["distillation/teacher=salad_hub"]))


def test_it_can_be_typed_as_one() -> None:
    hub = "distillation.teacher.hub={repo: /clones/mine, model: net, size: [224,224], args: {dim: 64}, output: 1}"
    cfg = compose("train", ["distillation=rkd", hub])
    check_rules(cfg)
    source = HubModel.of(OmegaConf.to_container(cfg.distillation.teacher.hub))  # type: ignore[arg-type]
    assert source == HubModel("/clones/mine", "net", (224, 224), {"dim": 64}, output=1)
