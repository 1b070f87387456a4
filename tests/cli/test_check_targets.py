"""A `_target_` is checked against the signature of what it names, before it is called."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from omegaconf import OmegaConf

from vpr.cli.checks import check_targets
from vpr.cli.compose import compose
from vpr.errors import ConfigError

HERE = __name__


class Mixer:
    made = 0

    def __init__(self, spec: Any, out_channels: int, out_rows: int = 4) -> None:
        Mixer.made += 1


def anything(first: int, **options: Any) -> None: ...


def check(**node: Any) -> None:
    check_targets(OmegaConf.create(node))


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    # importlib mode keeps test modules out of sys.modules under an importable name
    import sys

    monkeypatch.setitem(sys.modules, "targets_under_test", sys.modules[HERE])


MIXER = "targets_under_test.Mixer"


def test_misspelt_argument() -> None:
    message = "agg.otu_channels: Mixer has no argument 'otu_channels'. Did you mean 'out_channels'?"
    with pytest.raises(ConfigError) as error:
        check(agg={"_target_": MIXER, "_partial_": True, "otu_channels": 3})
    assert str(error.value) == message


def test_callbacks_are_checked_too() -> None:
    swa = "pytorch_lightning.callbacks.StochasticWeightAveraging"
    with pytest.raises(ConfigError, match="callbacks.swa.swa_lr: .* has no argument 'swa_lr'. Did you mean 'swa_lrs'?"):
        check_targets(compose("train", [f"+callbacks.swa._target_={swa}", "+callbacks.swa.swa_lr=1e-4"]))


def test_far_off_argument_lists_what_there_is() -> None:
    with pytest.raises(ConfigError, match="It takes spec, out_channels, out_rows"):
        check(agg={"_target_": MIXER, "_partial_": True, "zzz": 3})


def test_required_argument_is_required_unless_partial() -> None:
    with pytest.raises(ConfigError, match=r"^agg: Mixer needs 'out_channels'. Add \+agg.out_channels=VALUE"):
        check(agg={"_target_": MIXER, "spec": 1})
    check(agg={"_target_": MIXER, "_partial_": True})
    check(agg={"_target_": MIXER, "_args_": [1, 2]})


def test_open_ended_target_takes_any_key_but_still_needs_its_own() -> None:
    check(x={"_target_": "targets_under_test.anything", "first": 1, "whatever": 2})
    with pytest.raises(ConfigError, match="needs 'first'"):
        check(x={"_target_": "targets_under_test.anything", "whatever": 2})


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("targets_under_test.Mixr", "the module targets_under_test has no 'Mixr'. Did you mean 'Mixer'?"),
        ("vpr.modles.mix.Mixer", "the module vpr has no 'modles'"),
        ("no_such_package.x.Y", "no_such_package"),
    ],
)
def test_target_that_is_not_there(target: str, message: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConfigError, match=r"^agg._target_: ") as error:
        check(agg={"_target_": target})
    assert message in str(error.value)
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]  # Hydra's own line is kept quiet


def test_module_that_lacks_a_package(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "half_installed.py").write_text("import surely_not_installed\nX = 1\n")
    (tmp_path / "broken_module.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match="half_installed needs the package 'surely_not_installed'"):
        check(x={"_target_": "half_installed.X"})
    with pytest.raises(ConfigError, match="broken_module cannot be imported: ZeroDivisionError"):
        check(x={"_target_": "broken_module.X"})


def test_every_depth_is_walked_and_nothing_is_made() -> None:
    good = {"_target_": MIXER, "spec": 1, "out_channels": 2}
    Mixer.made = 0
    check(a={"b": [good, good]}, c=good)
    assert Mixer.made == 0
    with pytest.raises(ConfigError, match=r"^a.b.1.outrows: "):
        check(a={"b": [good, {**good, "outrows": 1}]})


def test_missing_value_counts_before_any_import() -> None:
    with pytest.raises(ConfigError, match=r"^data.root: no value given"):
        check(data={"_target_": "no.such.thing", "root": "???"})
