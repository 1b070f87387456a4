"""Budgets as they are typed, and what they say of a model's costs."""

from __future__ import annotations

import pytest

from vpr.cli.budget import Budget
from vpr.cli.compose import compose
from vpr.cli.rules import check_rules
from vpr.errors import ConfigError

COSTS = {"ms": 12.34, "MB": 1.19, "Mparams": 0.298}
DISTIL = ["teacher=runs/big/best.ckpt", "images=/my/photos"]


@pytest.mark.parametrize(
    ("typed", "limits"),
    [
        ("10ms", {"ms": 10}),
        (" 2.5 mb", {"MB": 2.5}),
        (".5Mparams,10ms", {"Mparams": 0.5, "ms": 10}),
        (["3MB", "10MS"], {"MB": 3, "ms": 10}),
    ],
)
def test_limits(typed: str | list[str], limits: dict[str, float]) -> None:
    assert Budget.parse(typed).limits == limits


@pytest.mark.parametrize("typed", ["10", "ms", "10s", "0ms", "-3MB", "10ms,,2MB", "10ms,20ms", "1e1ms", [], [10]])
def test_what_is_no_limit(typed: str | list[str]) -> None:
    with pytest.raises(ConfigError, match=r"^budget=.*Type for example budget=10ms"):
        Budget.parse(typed)


def test_the_limit_that_is_most_exceeded_counts() -> None:
    assert Budget.parse("6.17ms,2MB").excess(COSTS) == pytest.approx(2)
    assert Budget.parse("1.19MB").excess(COSTS) == 1


@pytest.mark.parametrize(
    ("typed", "taking"),
    [("10ms", "budget=13ms"), ("10ms,2MB", "'budget=[13ms,2MB]'"), ("0.1Mparams", "budget=0.3Mparams")],
)
def test_the_budget_that_takes_a_model(typed: str, taking: str) -> None:
    assert Budget.parse(typed).taking(COSTS) == taking
    assert Budget.parse(taking.strip("'").removeprefix("budget=").strip("[]")).excess(COSTS) <= 1


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["budget=10ms"], "big-photos-10ms"),
        (["budget=[10ms,2MB]", "images=[/a/x,/b/walk.mp4]"], "big-x+walk-10ms+2MB"),
    ],
)
def test_the_name_of_what_distil_makes(words: list[str], name: str) -> None:
    cfg = compose("distil", [*DISTIL, *words])
    check_rules(cfg)
    assert cfg.name == name


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["budget=10"], "budget=10: 10 is no limit of its own"),
        (["budget=2MB", "held_out.share=0"], "above 0 and at most 0.5"),
        (["budget=2MB", "every=0"], "seconds between two frames"),
        (["budget=2MB", "candidates.own-128=''"], "candidates.own-128=: it has no words of train.py"),
        (["budget=2MB", "brief=0"], "brief=0: the least is 1"),
        (["budget=2MB", "full=0"], "full=0: the least is 1"),
    ],
)
def test_rules_of_distil(words: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        check_rules(compose("distil", [*DISTIL, *words]))
